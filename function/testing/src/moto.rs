//! Is there a DynamoDB that is not of our own making? Serves moto on a free port of the loopback.
//!
//! The server ends with this process, however that ends: it reads a pipe until it closes.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
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

use crate::aws::emulator;

const SERVE: &str = include_str!("moto/serve.py");

/// The address of the server; every test has tables of its own.
pub fn url() -> &'static str {
    static SERVER: OnceLock<(Child, String)> = OnceLock::new();
    &SERVER.get_or_init(start).1
}

/// The settings of AWS for the server at `url`.
pub async fn config(url: &str) -> aws_config::SdkConfig {
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
pub async fn table() -> String {
    table_at(url()).await
}

/// The same on any server.
pub async fn table_at(url: &str) -> String {
    static TABLES: AtomicU32 = AtomicU32::new(0);
    let name = format!("limits-{}", TABLES.fetch_add(1, Ordering::Relaxed));
    let client = Client::new(&config(url).await);
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
    let folder = emulator::installed();
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
