//! What arithmetic knows is said before the first call, and what is said to be done mends it.

use crate::fake::Fake;
use crate::run::{Ended, command, finish};

fn told(words: &[&str]) -> (Ended, Vec<String>) {
    let fake = Fake::start(|_| None);
    let ended = finish(&mut command(words, &fake.url()));
    ended.is_fit(&format!("{:?}", words.iter().map(|w| &w[..w.len().min(80)]).collect::<Vec<_>>()));
    (ended, fake.actions())
}

#[track_caller]
fn refused(words: &[&str], said: &[&str]) {
    let (ended, asked) = told(words);
    assert_eq!(ended.code, 64, "{ended:?}");
    assert_eq!(asked, [""; 0]);
    for word in said {
        assert!(ended.error().contains(word), "{word} is not in {}", ended.error());
    }
}

/// 3,950 bytes of names and values, and more as the object that they are on the wire.
fn escaped(letters: usize) -> String {
    format!("BEDROCK_MODEL_MAP={{{}}}", {
        let model = "\"a\":\"anthropic.claude-haiku-4-5\"";
        let filler = "x".repeat(letters);
        format!("{model},\"{filler}\":\"anthropic.claude-haiku-4-5\"")
    })
}

#[test]
fn variables_are_counted_as_lambda_counts_them() {
    for command in [&["plan", "--no-build", "--env"][..], &["config", "set"]] {
        refused(&[command, &[&escaped(4_100)]].concat(), &["as JSON", "4096"]);
    }
    // Bytes that fit, and do not as JSON: every quotation mark counts twice.
    let quotes = format!("BEDROCK_MODEL_MAP={{{}}}", {
        let pairs = (0..130).map(|n| format!("\"m{n}\":\"anthropic.claude-a{n}\""));
        pairs.collect::<Vec<_>>().join(",")
    });
    assert!(quotes.len() < 4_096, "{}", quotes.len());
    refused(&["plan", "--no-build", "--env", &quotes], &["as JSON", "4096"]);
    let (fits, _) = told(&["plan", "--no-build", "--env", &escaped(3_000)]);
    assert_eq!(fits.code, 0, "{fits:?}");
}

const REGIONS: &str = "us-east-1,us-east-2,us-west-2,eu-central-1,eu-west-1,eu-west-3,eu-north-1,\
                       ap-northeast-1,ap-southeast-2,ap-south-1";

#[test]
fn a_policy_that_iam_would_refuse_is_refused_first() {
    let regions = format!("BEDROCK_REGIONS={REGIONS}");
    for command in [&["plan", "--no-build", "--env"][..], &["config", "set"]] {
        let words = [command, &[&regions]].concat();
        let (ended, asked) = told(&words);
        // Either it fits, or it is refused.
        if ended.code != 64 {
            continue;
        }
        assert_eq!(asked, [""; 0]);
        assert!(
            ended.error().contains("10240") && ended.error().contains("BEDROCK_REGIONS"),
            "{ended:?}"
        );
    }
    // What it says to do mends it.
    let fewer = REGIONS.split(',').take(4).collect::<Vec<_>>().join(",");
    let (fits, _) = told(&["plan", "--no-build", "--env", &format!("BEDROCK_REGIONS={fewer}")]);
    assert_eq!(fits.code, 0, "{fits:?}");
}

/// What stands in a tag of the role, and has to be of its account.
#[test]
fn a_boundary_that_iam_would_refuse_is_refused_first() {
    let long = format!("arn:aws:iam::123456789012:policy/{}", "a".repeat(129));
    for arn in [
        "arn:aws:iam::1:policy/x",
        "arn:aws:iam::123456789012:policy/",
        "arn:aws:iam::123456789012:policy/x y",
        "arn:aws:iam::123456789012:policy/a,b",
        "arn:aws:iam::123456789012:policy//x",
        "arn:aws:iam::123456789012:role/x",
        "arn::iam::123456789012:policy/x",
        "arn:aws:iam:us-east-1:123456789012:policy/x",
        &long,
    ] {
        let words = ["plan", "--no-build", "--permissions-boundary", arn];
        refused(&words, &["a boundary is the ARN of a policy"]);
    }
    for arn in ["arn:aws:iam::999999999999:policy/x", "arn:aws-cn:iam::123456789012:policy/x"] {
        let (ended, asked) = told(&["plan", "--no-build", "--permissions-boundary", arn]);
        assert_eq!(ended.code, 64, "{ended:?}");
        assert!(ended.error().contains("is not of this account"), "{ended:?}");
        assert_eq!(asked, ["sts.GetCallerIdentity"]);
    }
    for arn in ["arn:aws:iam::123456789012:policy/team/x", "arn:aws:iam::aws:policy/ReadOnlyAccess"]
    {
        let (ended, _) = told(&["plan", "--no-build", "--permissions-boundary", arn]);
        assert_eq!(ended.code, 0, "{ended:?}");
    }
}

#[test]
fn what_is_said_twice_and_not_the_same_is_nobody_s_guess() {
    let two = ["LOG_LEVEL=info", "LOG_LEVEL=debug"];
    refused(&["config", "set", two[0], two[1]], &["LOG_LEVEL is said twice"]);
    refused(
        &["plan", "--no-build", "--env", two[0], "--env", two[1]],
        &["LOG_LEVEL is said twice"],
    );
}

#[cfg(unix)]
#[test]
fn a_binary_without_an_end_is_none() {
    refused(&["plan", "--binary", "/dev/zero"], &["/dev/zero has more than"]);
}

/// Roles belong to all regions at once: that of the stack in another region is seen, and says where
/// the stack is. Making one here would be refused, so nobody is sent there.
#[test]
fn a_stack_in_another_region_is_found_by_its_role() {
    use provisioner::aws::Account;
    let account = |region: &str| Account {
        id: "123456789012".to_owned(),
        region: region.to_owned(),
        partition: "aws".to_owned(),
    };
    let name = "claude-proxy".parse().unwrap();
    let tags = provisioner::stack::names::tags(&name, &account("ap-northeast-2"));
    let tags: String = tags
        .pairs()
        .iter()
        .map(|(key, value)| format!("<member><Key>{key}</Key><Value>{value}</Value></member>"))
        .collect();
    let fake = Fake::start(move |asked| {
        let action = asked.action.strip_prefix("iam.")?;
        let result = match action {
            "GetRole" => "<Role><RoleName>r</RoleName><RoleId>R</RoleId><Path>/</Path><Arn>a</Arn>\
                          <CreateDate>2026-01-01T00:00:00Z</CreateDate></Role>"
                .to_owned(),
            "ListRoleTags" => format!("<Tags>{tags}</Tags><IsTruncated>false</IsTruncated>"),
            "ListRolePolicies" => "<PolicyNames/><IsTruncated>false</IsTruncated>".to_owned(),
            "ListAttachedRolePolicies" => {
                "<AttachedPolicies/><IsTruncated>false</IsTruncated>".to_owned()
            }
            _ => return None,
        };
        let body = format!(
            "<{action}Response><{action}Result>{result}</{action}Result></{action}Response>"
        );
        Some(Some((200, "text/xml", body)))
    });
    let status = finish(&mut command(&["status"], &fake.url()));
    assert_eq!(status.code, 0, "{status:?}");
    assert!(status.stdout.contains("--region ap-northeast-2"), "{}", status.stdout);
    assert!(!status.stdout.contains("provisioner up"), "{}", status.stdout);
    // What it says to do leads to the stack.
    let mut there = command(&["status", "--region", "ap-northeast-2"], &fake.url());
    let there = finish(&mut there);
    assert!(!there.stdout.contains("not ours"), "{}", there.stdout);
    let up = finish(&mut command(&["plan", "--no-build"], &fake.url()));
    assert_eq!(up.code, 3, "{up:?}");
    assert!(up.error().contains("--region"), "{}", up.error());
}
