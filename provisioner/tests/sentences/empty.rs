//! A variable that is set to nothing behaves as if it were not set.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::process::Command;

use crate::fake::Fake;
use crate::run::{Ended, certificates, command, finish};

/// What this program, the AWS SDK, or a library that they use reads.
const READ: [&str; 52] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_CA_BUNDLE",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_STS",
    "AWS_ENDPOINT_URL_IAM",
    "AWS_ENDPOINT_URL_ECR",
    "AWS_ENDPOINT_URL_LAMBDA",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_ENDPOINT_URL_CLOUDWATCH",
    "AWS_ENDPOINT_URL_CLOUDWATCH_LOGS",
    "AWS_ENDPOINT_URL_BEDROCK",
    "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS",
    "AWS_USE_FIPS_ENDPOINT",
    "AWS_USE_DUALSTACK_ENDPOINT",
    "AWS_MAX_ATTEMPTS",
    "AWS_RETRY_MODE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_EC2_METADATA_DISABLED",
    "AWS_SDK_UA_APP_ID",
    "AWS_REQUEST_CHECKSUM_CALCULATION",
    "AWS_ACCOUNT_ID_ENDPOINT_MODE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NO_COLOR",
    "CLICOLOR",
    "CLICOLOR_FORCE",
    "TERM",
    "CI",
    "TZ",
    "HOME",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "XDG_DATA_HOME",
    "CARGO",
    "CARGO_HOME",
    "RUSTC",
    "RUSTC_WRAPPER",
    "RUST_BACKTRACE",
    "HTTPS_PROXY",
    "TOKIO_WORKER_THREADS",
    "PROVISIONER_WAIT_UNIT_MS",
];

#[test]
fn what_is_set_to_nothing_is_not_set() {
    let fake = Fake::start(|_| None);
    // Most variables are not there anyway: without them it is the same run.
    let mut known = BTreeMap::new();
    for variable in READ {
        let mut told = |change: fn(&mut Command, &str)| {
            let mut command = command(&["plan", "--no-build"], &fake.url());
            // So that nothing is asked of AWS itself where its own address counts.
            command.env("AWS_MAX_ATTEMPTS", "1").env("SSL_CERT_FILE", "/nowhere");
            if variable == "AWS_ENDPOINT_URL" || variable == "SSL_CERT_FILE" {
                command.env_remove("AWS_REGION");
            } else if variable == "SSL_CERT_DIR" {
                command.env_remove("SSL_CERT_FILE");
            } else {
                command.env("SSL_CERT_FILE", certificates());
            }
            change(&mut command, variable);
            let set = |(name, value): (&OsStr, Option<&OsStr>)| {
                value.map(|value| (name.to_owned(), value.to_owned()))
            };
            let environment: Vec<_> = command.get_envs().filter_map(set).collect();
            let ended = known.entry(environment).or_insert_with(|| {
                let Ended { code, stdout, stderr } = finish(&mut command);
                (code, stdout, stderr)
            });
            ended.clone()
        };
        let unset = told(|command, name| {
            command.env_remove(name);
        });
        let empty = told(|command, name| {
            command.env(name, "");
        });
        assert_eq!(empty, unset, "{variable}");
    }
}

/// The SDK takes it for not set, and would ask as somebody else, somewhere else; or it panics.
#[cfg(unix)]
#[test]
fn what_is_set_to_nonsense_is_named() {
    use std::os::unix::ffi::OsStrExt as _;
    let fake = Fake::start(|_| None);
    for variable in READ.into_iter().filter(|name| name.starts_with("AWS_")) {
        let mut command = command(&["plan", "--no-build"], &fake.url());
        let ended = finish(command.env(variable, OsStr::from_bytes(b"a\xffb")));
        ended.is_fit(variable);
        assert_eq!(ended.code, 4, "{variable}: {ended:?}");
        assert!(ended.error().contains(&format!("{variable} is no text")), "{ended:?}");
    }
    let token = "AWS_SESSION_TOKEN";
    for (variable, value, said) in [
        ("AWS_REGION", "-1", "\"-1\" is no name of a region"),
        ("AWS_REGION", "eu west", "is no name of a region"),
        ("AWS_REGION", "a\nb", "is no name of a region"),
        ("AWS_ACCESS_KEY_ID", "a\nb", "characters that no AWS credentials have"),
        ("AWS_SECRET_ACCESS_KEY", "a\u{e4}", "characters that no AWS credentials have"),
        (token, "a\nb", "characters that no AWS credentials have"),
        ("AWS_ENDPOINT_URL_IAM", "http://a:99999", "is no address"),
    ] {
        let ended = finish(command(&["plan", "--no-build"], &fake.url()).env(variable, value));
        ended.is_fit(variable);
        assert_eq!(ended.code, 4, "{variable}: {ended:?}");
        assert!(ended.error().contains(said), "{ended:?}");
    }
    assert_eq!(fake.actions(), [""; 0]);
    // White space around them is no part of them.
    let mut spaced = command(&["plan", "--no-build"], &fake.url());
    spaced.env("AWS_ACCESS_KEY_ID", " a\n").env("AWS_SECRET_ACCESS_KEY", "b\n").env(token, "\n");
    assert_eq!(finish(&mut spaced).code, 0);
    let ended = finish(&mut command(&["plan", "--no-build", "--region", "a b"], &fake.url()));
    assert_eq!(ended.code, 64, "{ended:?}");
}

#[test]
fn an_empty_region_falls_through_to_the_next() {
    let fake = Fake::start(|_| None);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    std::fs::write(&config, "[default]\nregion = ap-northeast-2\n").unwrap();
    let mut command = command(&["plan", "--no-build"], &fake.url());
    command.env("AWS_CONFIG_FILE", &config).env("AWS_REGION", "").env("AWS_DEFAULT_REGION", "");
    let ended = finish(&mut command);
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(ended.stdout.contains("ap-northeast-2"), "{ended:?}");
    let ended = finish(command.env("AWS_DEFAULT_REGION", "eu-north-1"));
    assert!(ended.stdout.contains("eu-north-1"), "{ended:?}");
}

#[test]
fn certificates_that_are_not_there_are_told_with_their_file() {
    let home = tempfile::tempdir().unwrap();
    let (empty, wrong) = (home.path().join("empty.pem"), home.path().join("wrong.pem"));
    std::fs::write(&empty, "").unwrap();
    std::fs::write(&wrong, "-----BEGIN CERTIFICATE-----\ncanary\n").unwrap();
    for file in [home.path().join("missing.pem"), empty, wrong, home.path().to_owned()] {
        let mut command = command(&["status"], "https://127.0.0.1:1");
        let ended = finish(command.env("SSL_CERT_FILE", &file));
        ended.is_fit(&file.display().to_string());
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.error().contains("SSL_CERT_FILE"), "{ended:?}");
    }
}

#[test]
fn a_fault_of_the_program_itself_is_a_sentence() {
    const MARK: &str = "SENTENCES_HAS_A_FAULT";
    #[expect(clippy::disallowed_methods, reason = "the test is its own program, marked so")]
    let is_program = std::env::var_os(MARK).is_some();
    if is_program {
        let ended = function::startup::run(
            "provisioner",
            || panic!("Some(canary)"),
            || {
                provisioner::commands::tell_of_a_fault();
            },
        );
        assert_eq!(ended, std::process::ExitCode::from(1));
        return;
    }
    let name = "empty::a_fault_of_the_program_itself_is_a_sentence";
    let own = std::env::current_exe().unwrap();
    let mut again = Command::new(own);
    let ended = finish(
        again.args(["--exact", name, "--nocapture"]).env(MARK, "1").env_remove("RUST_BACKTRACE"),
    );
    assert_eq!(ended.code, 0, "{ended:?}");
    assert!(
        ended.stderr.contains("error: provisioner 0.") && ended.stderr.contains("hint: report it"),
        "{ended:?}"
    );
    assert!(ended.stdout.contains("{\"error\":{\"hint\":"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
}
