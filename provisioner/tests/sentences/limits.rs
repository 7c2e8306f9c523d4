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
