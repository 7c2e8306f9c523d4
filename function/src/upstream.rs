//! The two services that can answer, and how a connection to one fails.
//!
//! Both are plain structs that tests point at real sockets. Neither decides anything: what a
//! failure means is judged in [`crate::failover`].

pub mod anthropic;
pub mod aws;
pub mod bedrock;
mod bounded;
mod connection;
mod connector;
mod credentials;
mod pool;
mod reread;
mod roots;
mod sdk;

use std::time::Duration;

/// Any error that may end a connection or a body.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A connection that takes longer than this does not come about.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for a response head. The head of a non-streaming answer comes when the model
/// has finished.
pub const HEAD_TIMEOUT: Duration = Duration::from_secs(600);

/// Why Anthropic gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    #[error("no connection to {host}")]
    NoConnection {
        host: String,
        #[source]
        source: BoxError,
    },
    #[error("the connection to {host} broke before the answer")]
    Broken {
        host: String,
        #[source]
        source: BoxError,
    },
    #[error("no response head from {host} within {} s", HEAD_TIMEOUT.as_secs())]
    TimedOut { host: String },
    #[error("{host} answered {} and no more", status.as_u16())]
    NoAnswer { host: String, status: http::StatusCode },
    #[error(
        "the answer of {host} has more than {} headers, or larger ones than can be read",
        reread::MOST_HEADERS
    )]
    HeadTooLarge { host: String },
}
