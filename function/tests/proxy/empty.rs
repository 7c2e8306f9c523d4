//! What is set to nothing is not set, to the program itself nor to the libraries that read the
//! environment.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::fs::File;
use std::process::{Command, Stdio};
use std::time::Duration;

use testing::world::program;

/// What the program, the AWS SDK, TLS, the runtime or a terminal's library reads.
const READ: [&str; 22] = [
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME",
    "AWS_ENDPOINT_URL_DYNAMODB",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_PROFILE",
    "AWS_CONFIG_FILE",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_CA_BUNDLE",
    "AWS_LAMBDA_RUNTIME_API",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NO_COLOR",
    "XDG_DATA_HOME",
    "TMPDIR",
    "TOKIO_WORKER_THREADS",
    "RUST_BACKTRACE",
    "LOG_LEVEL",
];

#[test]
fn what_is_set_to_nothing_is_not_set() {
    let unset = greeting(&[]);
    assert!(unset.contains("listen"), "{unset}");
    let empty = READ.map(|name| (name, ""));
    assert_eq!(greeting(&empty), unset);
    std::thread::scope(|scope| {
        for variable in READ {
            let unset = &unset;
            scope.spawn(move || assert_eq!(greeting(&[(variable, "")]), *unset, "{variable}"));
        }
    });
}

/// What it says when it starts, without what differs from start to start.
fn greeting(variables: &[(&str, &str)]) -> String {
    let home = tempfile::tempdir().unwrap();
    let heard = home.path().join("heard");
    let file = File::create(&heard).unwrap();
    let mut child = Command::new(program())
        .env_clear()
        .env("HOME", home.path())
        .env("LISTEN_ADDRESS", "127.0.0.1:0")
        .env("RATE_LIMIT_STORE", "memory")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .stdout(file.try_clone().unwrap())
        .stderr(file)
        .spawn()
        .unwrap();
    // It greets, or ends; a busy machine takes its time for either.
    let said = || std::fs::read_to_string(&heard).unwrap();
    for _ in 0..200 {
        let has_ended = child.try_wait().unwrap().is_some();
        if has_ended || said().contains("Ctrl-C stops it") {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    let said = said();
    drop(child.kill());
    drop(child.wait());
    let said = said.replace(&home.path().display().to_string(), "HOME");
    let digits = |c: char| if c.is_ascii_digit() { '#' } else { c };
    let mut calm: String = said.chars().map(digits).collect();
    while calm.contains("##") {
        calm = calm.replace("##", "#");
    }
    assert!(!calm.contains("panicked") && !calm.contains("fault of its own"), "{calm}");
    calm
}
