//! The services, by a client for each: one that lets nothing pass but questions, and one that notes
//! when something may have been changed.

use std::fmt;

use aws_config::SdkConfig;
use aws_config::retry::RetryConfig;
use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeSerializationInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::config_bag::ConfigBag;

use super::Stop;
use super::calls::Calls;
use super::direct::Direct;
use super::spot::Seeing;
use crate::engine::Changed;

/// One client for each service.
#[derive(Clone)]
pub struct Clients {
    pub(crate) ecr: aws_sdk_ecr::Client,
    pub(crate) iam: aws_sdk_iam::Client,
    pub(crate) dynamodb: aws_sdk_dynamodb::Client,
    pub(crate) logs: aws_sdk_cloudwatchlogs::Client,
    pub(crate) lambda: aws_sdk_lambda::Client,
    /// For what has no client here.
    pub(crate) direct: Direct,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

/// A client of one service's crate.
macro_rules! client {
    ($service:ident, $config:expr, $calls:expr, $notes:expr) => {{
        let config = $service::config::Builder::from($config).interceptor(Seeing);
        let config = match $calls {
            Some(calls) => config.interceptor(Calls::clone(calls)),
            None => config,
        };
        let config = match $notes {
            Some(notes) => {
                config.interceptor(Notes::clone(notes)).retry_config(RetryConfig::disabled())
            }
            None => config.interceptor(ReadOnly),
        };
        $service::Client::from_conf(config.build())
    }};
}

impl Clients {
    pub(super) fn new(
        config: &SdkConfig,
        partition: &str,
        calls: Option<&Calls>,
        notes: Option<&Notes>,
    ) -> Self {
        Self {
            ecr: client!(aws_sdk_ecr, config, calls, notes),
            iam: client!(aws_sdk_iam, config, calls, notes),
            dynamodb: client!(aws_sdk_dynamodb, config, calls, notes),
            logs: client!(aws_sdk_cloudwatchlogs, config, calls, notes),
            lambda: client!(aws_sdk_lambda, config, calls, notes),
            direct: Direct::new(config, partition, calls, notes),
        }
    }
}

/// Stops every call that is not a question, before it is sent.
#[derive(Debug)]
pub(super) struct ReadOnly;

impl Intercept for ReadOnly {
    fn name(&self) -> &'static str {
        "ReadOnly"
    }

    fn read_before_serialization(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let operation = config.load::<Metadata>().map_or("an unknown call", Metadata::name);
        if is_question(operation) {
            return Ok(());
        }
        Err(format!("{operation} is no question, and a reader only asks").into())
    }
}

/// Notes when a change may have been made: a broken connection may have made one, a refusal has
/// not.
#[derive(Debug, Clone)]
pub(super) struct Notes(pub(super) Changed, pub(super) Stop);

impl Intercept for Notes {
    fn name(&self) -> &'static str {
        "Notes"
    }

    fn read_before_serialization(
        &self,
        _context: &BeforeSerializationInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if !config.load::<Metadata>().is_some_and(|call| is_question(call.name())) {
            self.1.begin();
        }
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let question = config.load::<Metadata>().is_some_and(|call| is_question(call.name()));
        // A server that failed may have done it before.
        let refused = context.response().is_some_and(|answer| {
            !answer.status().is_success() && !answer.status().is_server_error()
        });
        if !question && !refused {
            self.0.note();
        }
        Ok(())
    }
}

/// Whether a call only asks.
pub(crate) fn is_question(operation: &str) -> bool {
    ["Get", "List", "Describe", "BatchGet", "BatchCheck", "Scan", "Query", "Filter", "Simulate"]
        .iter()
        .any(|start| operation.starts_with(start))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use std::time::Duration;

    use aws_config::{BehaviorVersion, Region};
    use aws_smithy_http_client::tls::Provider;
    use aws_smithy_http_client::tls::rustls_provider::CryptoMode;

    use super::*;
    use crate::aws::Kind;
    use crate::aws::direct::{Ask, CLOUDWATCH};

    #[tokio::test]
    async fn a_reader_sends_nothing_but_questions() {
        // Nobody listens there: what is sent fails otherwise.
        let config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:1")
            .build();
        let clients = Clients::new(&config, "aws", None, None);
        let refused = clients.lambda.delete_function().function_name("x").send().await;
        let refused = format!("{:?}", refused.unwrap_err());
        assert!(refused.contains("DeleteFunction is no question"), "{refused}");
        let asked = clients.lambda.get_function().function_name("x").send().await;
        let asked = format!("{:?}", asked.unwrap_err());
        assert!(!asked.contains("is no question"), "{asked}");
    }

    #[tokio::test]
    async fn what_is_asked_directly_obeys_the_same_rules() {
        let calls = Arc::new(AtomicUsize::new(0));
        let config = throttling(&calls);
        let asked = |action| Ask::action(CLOUDWATCH, action, &serde_json::json!({}));
        let reader = Clients::new(&config, "aws", None, None).direct;
        let refused = reader.call(asked("PutDashboard")).await.unwrap_err();
        assert!(refused.message.contains("PutDashboard is no question"), "{refused:?}");
        assert_eq!(calls.swap(0, Ordering::Relaxed), 0);
        reader.call(asked("GetDashboard")).await.unwrap_err();
        assert_eq!(calls.swap(0, Ordering::Relaxed), 3, "a question is asked again");
        // A change is, too, but by `persist` alone.
        let (_say, heard) = tokio::sync::watch::channel(false);
        let notes = Notes(Changed::default(), Stop::new(heard));
        let writer = Clients::new(&config, "aws", None, Some(&notes)).direct;
        let throttled = writer.call(asked("PutDashboard")).await.unwrap_err();
        assert_eq!(throttled.kind, Kind::Throttled);
        assert_eq!(calls.swap(0, Ordering::Relaxed), 1);
    }

    /// The settings of an AWS that has too much to do, and counts how often it is asked.
    fn throttling(calls: &Arc<AtomicUsize>) -> SdkConfig {
        use std::io::{Read as _, Write as _};
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::clone(calls);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                assert!(stream.read(&mut [0; 4096]).unwrap() > 0);
                calls.fetch_add(1, Ordering::Relaxed);
                let head = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 33";
                let body = r#"{"__type":"ThrottlingException"}"#;
                stream.write_all(format!("{head}\r\n\r\n{body}\n").as_bytes()).unwrap();
            }
        });
        let credentials = aws_sdk_lambda::config::Credentials::new("a", "b", None, None, "test");
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .build_https();
        let retry = RetryConfig::standard().with_initial_backoff(Duration::from_millis(1));
        SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://{address}"))
            .http_client(http)
            .credentials_provider(aws_sdk_lambda::config::SharedCredentialsProvider::new(
                credentials,
            ))
            .retry_config(retry)
            .build()
    }
}
