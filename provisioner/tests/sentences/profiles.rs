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
