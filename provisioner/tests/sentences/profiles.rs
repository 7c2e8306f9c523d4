//! What is wrong in the AWS settings is told as what it is.

use std::path::Path;

use crate::fake::{Fake, refused};
use crate::run::{Ended, command, finish};

/// The program with these files of AWS settings, and no keys in its environment.
fn told(config: &str, words: &[&str], variables: &[(&str, &str)]) -> (Ended, String) {
    let home = tempfile::tempdir().unwrap();
    let fake = Fake::start(|asked| {
        let said = "User: u is not authorized to perform: sts:AssumeRole on resource: r";
        (asked.action == "sts.AssumeRole").then(|| refused(asked, 403, "AccessDenied", said))
    });
    let path = home.path().join("config");
    std::fs::write(&path, config).unwrap();
    let mut command = command(&[&["status"], words].concat(), &fake.url());
    command.env("AWS_CONFIG_FILE", &path).env("HOME", home.path());
    command.env_remove("AWS_ACCESS_KEY_ID").env_remove("AWS_SECRET_ACCESS_KEY");
    let ended = finish(command.envs(variables.iter().copied()));
    ended.is_fit(config);
    (ended, path.display().to_string())
}

#[track_caller]
fn names(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.code, 4, "{ended:?}");
    for word in words {
        assert!(ended.error().contains(word), "{word} is not in {}", ended.error());
    }
}

const TWO: &str = "[profile work]\nregion = eu-west-3\n[profile play]\nregion = eu-west-1\n";

#[test]
fn a_misspelt_profile_is_named_beside_those_that_there_are() {
    for (words, variables) in [
        (&["--profile", "wrok"][..], &[][..]),
        (&[], &[("AWS_PROFILE", "wrok")]),
        // Keys in the environment are no reason to go by what somebody has asked for.
        (
            &[],
            &[("AWS_PROFILE", "wrok"), ("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")],
        ),
    ] {
        let (ended, _) = told(TWO, words, variables);
        names(&ended, &["wrok", "work", "play"]);
    }
    let (ended, _) = told("", &["--profile", "work"], &[]);
    names(&ended, &["work", "aws configure sso"]);
}

#[test]
fn a_broken_file_is_named_with_its_line() {
    for config in [
        "[default]\nregion = eu-west-3\nthis is nothing\n",
        "[default\n",
        "a = b\n",
        "[default]\n = x\n",
    ] {
        for variables in [
            &[][..],
            &[("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b")],
            &[("AWS_REGION", "")],
        ] {
            let (ended, path) = told(config, &[], variables);
            names(&ended, &[&path, "line "]);
        }
    }
}

#[test]
fn a_profile_of_aws_login_says_how_its_credentials_are_handed_over() {
    let config = "[profile work]\nregion = eu-west-3\nlogin_session = arn:aws:iam::1:user/u\n";
    let (ended, _) = told(config, &["--profile", "work"], &[]);
    names(&ended, &["aws login", "export-credentials --profile work", "work"]);
}

#[test]
fn each_way_to_credentials_that_fails_is_told_by_its_cause() {
    for (config, said) in [
        (
            "[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = nobody\n",
            &["nobody", "work"][..],
        ),
        ("[profile work]\nrole_arn = arn:aws:iam::1:role/r\nsource_profile = work\n", &["work"]),
        (
            "[profile work]\nrole_arn = arn:aws:iam::1:role/r\ncredential_source = Nowhere\n",
            &["work", "Nowhere"],
        ),
        (
            "[profile work]\nsso_session = team\nsso_account_id = 1\nsso_role_name = r\n",
            &["sso", "work"],
        ),
        ("[profile work]\nregion = eu-west-3\n", &["no AWS credentials were found", "work"]),
        ("[profile work]\ncredential_process = /nowhere/program\n", &["work"]),
        ("[profile work]\ncredential_process = echo {\"SecretAccessKey\":\"canary\"}\n", &["work"]),
        (
            "[profile keys]\naws_access_key_id = a\naws_secret_access_key = b\n[profile work]\n\
             role_arn = arn:aws:iam::1:role/r\nsource_profile = keys\nregion = eu-west-3\n",
            &["work", "sts:AssumeRole", "AccessDenied"],
        ),
    ] {
        let (ended, _) = told(config, &["--profile", "work"], &[]);
        names(&ended, said);
    }
}

const KEYS: &str = "aws_access_key_id = a\naws_secret_access_key = b\n";
const SESSION: &str = "sso_account_id = 1\nsso_role_name = r\n";

/// What is wrong with a profile, by what stands in it, and not by what came of it.
#[test]
fn what_a_profile_lacks_is_named_before_anybody_is_asked() {
    let role = "role_arn = arn:aws:iam::1:role/r\n";
    for (work, others, said) in [
        (format!("sso_session = t\n{SESSION}"), String::new(), "no [sso-session t]"),
        (
            format!("sso_session = t\n{SESSION}"),
            "[sso-session t]\nsso_region = eu-west-3\n".to_owned(),
            "the sso_session t, which has no sso_start_url",
        ),
        (
            "sso_session = t\n".to_owned(),
            "[sso-session t]\nsso_region = a\nsso_start_url = https://a\n".to_owned(),
            "has no sso_account_id",
        ),
        (
            format!("sso_session = t\nsso_region = a\n{SESSION}"),
            String::new(),
            "has sso_region beside",
        ),
        (format!("sso_start_url = https://a\n{SESSION}"), String::new(), "has no sso_region"),
        (
            format!("{role}source_profile = other\n"),
            format!("[profile other]\n{role}source_profile = work\n"),
            "takes its credentials from itself, by way of work, other",
        ),
        (
            format!("{role}source_profile = other\n"),
            format!("[profile other]\n{role}source_profile = nobody\n"),
            "no profile nobody, where other takes",
        ),
        (
            format!("{role}source_profile = other\n"),
            "[profile other]\noutput = json\n".to_owned(),
            "the profile other has no credentials",
        ),
        (role.to_owned(), String::new(), "neither source_profile nor credential_source"),
        (
            format!("{role}source_profile = other\ncredential_source = Environment\n"),
            format!("[profile other]\n{KEYS}"),
            "both source_profile and credential_source",
        ),
        ("web_identity_token_file = /nowhere\n".to_owned(), String::new(), "but no role_arn"),
        ("aws_access_key_id = a\n".to_owned(), String::new(), "but no aws_secret_access_key"),
        ("aws_secret_access_key = a\n".to_owned(), String::new(), "but no aws_access_key_id"),
    ] {
        let config = format!("[profile work]\nregion = eu-west-3\n{work}{others}");
        for (words, variables) in
            [(&["--profile", "work"][..], &[][..]), (&[], &[("AWS_PROFILE", "work")])]
        {
            let (ended, _) = told(&config, words, variables);
            names(&ended, &[said, "hint: "]);
            assert!(!ended.error().contains("aws sso login"), "{ended:?}");
        }
        // Keys in the environment come first; then nobody goes by what the profile says.
        let keys =
            [("AWS_ACCESS_KEY_ID", "a"), ("AWS_SECRET_ACCESS_KEY", "b"), ("AWS_PROFILE", "work")];
        assert_eq!(told(&config, &[], &keys).0.code, 0, "{config}");
    }
}

#[test]
fn whoever_gives_credentials_is_named_where_there_are_none() {
    let role = "role_arn = arn:aws:iam::1:role/r\n";
    for (work, variables, said) in [
        (
            "credential_process = sh -c 'echo boom >&2; exit 7'\n",
            &[][..],
            &["boom", "credential_process of"][..],
        ),
        ("credential_process = echo hello\n", &[], &["credential_process of the profile work"]),
        (
            &format!("{role}web_identity_token_file = /nowhere/token\n"),
            &[],
            &["No such file", "web_identity_token_file of the profile work"],
        ),
        (
            &format!("{role}credential_source = Environment\n"),
            &[],
            &["credential_source of the profile work"],
        ),
        ("", &[("AWS_PROFILE", ""), ("AWS_ACCESS_KEY_ID", "a")], &["AWS_SECRET_ACCESS_KEY is not"]),
        ("", &[("AWS_PROFILE", ""), ("AWS_SECRET_ACCESS_KEY", "a")], &["AWS_ACCESS_KEY_ID is not"]),
        (
            "",
            &[("AWS_PROFILE", ""), ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere")],
            &["AWS_ROLE_ARN is not"],
        ),
        (
            "",
            &[
                ("AWS_PROFILE", ""),
                ("AWS_WEB_IDENTITY_TOKEN_FILE", "/nowhere/token"),
                ("AWS_ROLE_ARN", "arn:aws:iam::1:role/r"),
            ],
            &["No such file", "look at AWS_WEB_IDENTITY_TOKEN_FILE"],
        ),
        (
            "",
            &[("AWS_PROFILE", ""), ("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://127.0.0.1:1/")],
            &["nobody listens", "look at AWS_CONTAINER_CREDENTIALS_FULL_URI"],
        ),
    ] {
        let config = format!("[profile work]\nregion = eu-west-3\n{work}");
        let variables = [&[("AWS_PROFILE", "work"), ("PATH", "/usr/bin:/bin")], variables].concat();
        names(&told(&config, &[], &variables).0, said);
    }
}

/// The words that a person reads name what the role wants, and how to give it.
#[test]
fn a_second_factor_that_nobody_asks_for_is_named() {
    let config = format!(
        "[profile keys]\n{KEYS}[profile work]\nregion = eu-west-3\nsource_profile = keys\n\
         role_arn = arn:aws:iam::1:role/r\nmfa_serial = arn:aws:iam::1:mfa/u\n"
    );
    let (ended, _) = told(&config, &["--profile", "work"], &[]);
    names(&ended, &["second factor", "export-credentials --profile work", "AccessDenied"]);
}

#[test]
fn a_file_that_cannot_be_read_is_no_empty_one() {
    let home = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &[u8]| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let marked = put("marked", b"\xef\xbb\xbf[profile work]\nregion = eu-west-3\n");
    let odd = put("odd", b"[profile work]\nregion = \xff\n");
    let folder = home.path().display().to_string();
    for (path, said) in [
        (marked.as_str(), "byte-order mark"),
        (&odd, "line 2"),
        (&folder, "Is a directory"),
        ("/dev/zero", "4 MiB"),
    ] {
        for variable in ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"] {
            let (ended, _) = told("", &["--profile", "work"], &[(variable, path)]);
            names(&ended, &[said, path, "hint: "]);
        }
    }
    let (ended, _) = told(&format!("[work]\n{KEYS}"), &["--profile", "work"], &[]);
    names(&ended, &["write [profile work] in place of [work]"]);
}

#[test]
fn a_file_that_is_not_there_is_no_fault() {
    let missing = Path::new("/nowhere/config").display().to_string();
    let (ended, _) = told("", &[], &[("AWS_CONFIG_FILE", &missing)]);
    names(&ended, &["no AWS credentials were found"]);
}

/// It may ask a person for the digits of a second factor, each time.
#[test]
fn a_program_that_gives_credentials_is_asked_once() {
    let home = tempfile::tempdir().unwrap();
    let (asked, script) = (home.path().join("asked"), home.path().join("give"));
    let keys = "{\"Version\":1,\"AccessKeyId\":\"a\",\"SecretAccessKey\":\"b\"}";
    let text = format!("echo asked >> {}\necho '{keys}'\n", asked.display());
    std::fs::write(&script, text).unwrap();
    let config = home.path().join("config");
    let text = format!(
        "[profile mfa]\nregion = eu-west-3\ncredential_process = sh {}\n",
        script.display()
    );
    std::fs::write(&config, text).unwrap();
    let fake = Fake::start(|_| None);
    for words in [&["status"][..], &["plan", "--no-build"], &["doctor"]] {
        drop(std::fs::remove_file(&asked));
        let mut command = command(words, &fake.url());
        command.env("AWS_CONFIG_FILE", &config).env("PATH", "/usr/bin:/bin");
        let ended = finish(command.args(["--profile", "mfa"]));
        assert!([0, 4].contains(&ended.code), "{ended:?}");
        assert_eq!(std::fs::read_to_string(&asked).unwrap().lines().count(), 1, "{words:?}");
    }
}
