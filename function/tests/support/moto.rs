//! Is there a DynamoDB that is not of our own making? Installs moto with pip, once per machine, at
//! the versions of `moto/requirements.txt`, and serves it on a free port of the loopback.
//!
//! The server ends with this process, however that ends: it reads a pipe until it closes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    types::{
        AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
        TimeToLiveSpecification,
    },
};

const REQUIREMENTS: &str = include_str!("moto/requirements.txt");
const SERVE: &str = include_str!("moto/serve.py");
const NEED_PYTHON: &str =
    "these tests run a DynamoDB of moto's: install python3 (3.9 or newer) with venv and pip";

/// The address of the server; every test has tables of its own.
pub(crate) fn url() -> &'static str {
    static SERVER: OnceLock<(Child, String)> = OnceLock::new();
    &SERVER.get_or_init(start).1
}

/// The settings of AWS for the server at `url`.
pub(crate) async fn config(url: &str) -> aws_config::SdkConfig {
    let http = aws_smithy_http_client::Builder::new().build_http();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .endpoint_url(url)
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("AKIDEXAMPLE", "test", None, None, "test"))
        .load()
        .await
}

/// Makes a table as the contract has it, and returns its name.
pub(crate) async fn table() -> String {
    static TABLES: AtomicU32 = AtomicU32::new(0);
    let name = format!("limits-{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let client = Client::new(&config(url()).await);
    let mut creation =
        client.create_table().table_name(&name).billing_mode(BillingMode::PayPerRequest);
    for (key, kind) in [("pk", KeyType::Hash), ("sk", KeyType::Range)] {
        let attribute = AttributeDefinition::builder()
            .attribute_name(key)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .unwrap();
        let element = KeySchemaElement::builder().attribute_name(key).key_type(kind).build();
        creation = creation.attribute_definitions(attribute).key_schema(element.unwrap());
    }
    creation.send().await.unwrap();
    let ttl = TimeToLiveSpecification::builder().enabled(true).attribute_name("expires_at").build();
    client
        .update_time_to_live()
        .table_name(&name)
        .time_to_live_specification(ttl.unwrap())
        .send()
        .await
        .unwrap();
    name
}

fn start() -> (Child, String) {
    let folder = installed();
    let mut server = Command::new(folder.join("bin/python"))
        .args(["-c", SERVE])
        .env_clear()
        .env("HOME", &folder)
        .env("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
        .env("AWS_SECRET_ACCESS_KEY", "test")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut port = String::new();
    BufReader::new(server.stdout.take().unwrap()).read_line(&mut port).unwrap();
    let port: u16 = port.trim().parse().unwrap_or_else(|_| panic!("moto did not start: {port:?}"));
    (server, format!("http://127.0.0.1:{port}"))
}

/// The virtual environment, made unless the very same is there. The marker that says so is written
/// last, so that a broken install is done again.
fn installed() -> PathBuf {
    let target = Path::new(option_env!("CARGO_TARGET_TMPDIR").unwrap_or("target/tmp"));
    let (folder, marker) = (target.join("moto"), target.join("moto.installed"));
    fs::create_dir_all(target).unwrap();
    // Other test programs may want the same at the same time.
    let lock = File::create(target.join("moto.lock")).unwrap();
    lock.lock().unwrap();
    // A virtual environment cannot be moved: its place belongs to what was installed.
    let whole = format!("{}\n{REQUIREMENTS}", folder.display());
    if fs::read_to_string(&marker).is_ok_and(|known| known == whole) {
        return folder;
    }
    drop(fs::remove_file(&marker));
    drop(fs::remove_dir_all(&folder));
    step(Command::new("python3").args(["-m", "venv"]).arg(&folder));
    let requirements = folder.join("requirements.txt");
    fs::write(&requirements, REQUIREMENTS).unwrap();
    // The list is complete; what moto needs for its other services is ten times as much.
    step(
        Command::new(folder.join("bin/python"))
            .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"])
            .arg("-r")
            .arg(requirements),
    );
    fs::write(marker, whole).unwrap();
    folder
}

fn step(command: &mut Command) {
    let ended = command.stdin(Stdio::null()).output();
    let Output { status, stderr, .. } =
        ended.unwrap_or_else(|error| panic!("{NEED_PYTHON} ({command:?}: {error})"));
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "{NEED_PYTHON} ({command:?} failed:\n{stderr})");
}
