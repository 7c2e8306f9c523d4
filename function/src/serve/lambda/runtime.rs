//! How does one talk to Lambda's Runtime API?
//!
//! One HTTP/1.1 client without Nagle's delay: small chunks must leave when they are there. It
//! decides nothing and looks into no event. (AWS Lambda Developer Guide, *Using the Lambda runtime
//! API for custom runtimes*.)

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{self, Poll};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::Stream;
use http::request::Builder;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use jiff::Timestamp;
use lambda_http::Context;
use tokio::sync::oneshot;

use super::answer::{ERROR_BODY, ERROR_TYPE, error_json};

/// The platform's own limit is 6 MB; emulators may know none.
const MOST_EVENT_BYTES: usize = 64 << 20;

/// Comes with an invocation on Lambda Managed Instances, and goes back with its answer.
const INVOCATION_ID: &str = "lambda-runtime-invocation-id";

type Sent = UnsyncBoxBody<Bytes, Infallible>;

/// The client of the Runtime API.
#[derive(Debug)]
pub struct Runtime {
    client: Client<HttpConnector, Sent>,
    /// With the scheme, without a slash at its end.
    base: String,
}

/// One event to answer.
pub(super) struct Invocation {
    pub(super) event: Bytes,
    context: Context,
    invocation_id: Option<HeaderValue>,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An event holds the client's credential.
        f.debug_struct("Invocation").field("id", &self.context.request_id).finish_non_exhaustive()
    }
}

impl Invocation {
    /// When the process is killed; `None` where it is not said.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let millis = i64::try_from(self.context.deadline).ok().filter(|millis| *millis > 0);
        millis.and_then(|millis| Timestamp::from_millisecond(millis).ok())
    }
}

impl Runtime {
    /// Prepares the client of the Runtime API at `address`: `HOST:PORT`, or a URL.
    #[must_use]
    pub fn at(address: &str) -> Self {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        let scheme = if address.contains("://") { "" } else { "http://" };
        let base = format!("{scheme}{}/2018-06-01/runtime", address.trim_end_matches('/'));
        Self { client: Client::builder(TokioExecutor::new()).build(tcp), base }
    }

    /// Waits for the next event, however long that takes.
    pub(super) async fn next(&self) -> anyhow::Result<Invocation> {
        let request = Request::get(self.url("invocation/next"));
        let answer = self.ask(request, empty()).await?;
        let (mut head, body) = answer.into_parts();
        let event = Limited::new(body, MOST_EVENT_BYTES).collect().await;
        Ok(Invocation {
            context: context(&head.headers)?,
            invocation_id: head.headers.remove(INVOCATION_ID),
            event: event
                .map_err(|error| anyhow::anyhow!(error).context("cannot read the next event"))?
                .to_bytes(),
        })
    }

    /// Streams the answer to an invocation. Returns when the last byte has gone and been taken, so
    /// that nothing goes on in a frozen process.
    pub(super) async fn respond(
        &self,
        invocation: &Invocation,
        frames: impl Stream<Item = Frame<Bytes>> + Send + 'static,
    ) -> anyhow::Result<()> {
        let mut request = Request::post(
            self.url(&format!("invocation/{}/response", invocation.context.request_id)),
        )
        .header("lambda-runtime-function-response-mode", "streaming")
        .header(header::CONTENT_TYPE, "application/vnd.awslambda.http-integration-response")
        .header(header::TRAILER, ERROR_TYPE)
        .header(header::TRAILER, ERROR_BODY);
        if let Some(id) = &invocation.invocation_id {
            request = request.header(INVOCATION_ID, id);
        }
        let (watched, gone) = oneshot::channel();
        let frames = SignalOnDrop { frames: Box::pin(frames), _watched: watched };
        let answered = self.ask(request, StreamBody::new(frames).boxed_unsync()).await;
        // Some emulators answer before they have read.
        let _dropped = gone.await;
        drain(answered?).await
    }

    /// Tells that the start has failed.
    pub async fn fail_init(&self, problem: &str) {
        const KIND: &str = "Runtime.InitError";
        let request = Request::post(self.url("init/error"))
            .header(header::CONTENT_TYPE, "application/vnd.aws.lambda.error+json")
            .header(ERROR_TYPE, KIND);
        let body = Full::new(error_json(KIND, problem).into()).boxed_unsync();
        // The process ends with the same sentence; there is nobody else to tell.
        let _nobody_heard = self.ask(request, body).await;
    }

    async fn ask(&self, request: Builder, body: Sent) -> anyhow::Result<Response<Incoming>> {
        let request = request.body(body).context("the Runtime API's address is not one")?;
        let answer = self.client.request(request).await.context("the Runtime API is gone")?;
        let status = answer.status();
        if !status.is_success() {
            drain(answer).await?;
            anyhow::bail!("the Runtime API refused: {}", said(status));
        }
        Ok(answer)
    }

    fn url(&self, path: &str) -> String {
        format!("{}/{path}", self.base)
    }
}

/// Reads an answer to its end, so that its connection can be used again.
async fn drain(answer: Response<Incoming>) -> anyhow::Result<()> {
    let mut body = answer.into_body();
    while let Some(frame) = body.frame().await {
        frame.context("the Runtime API broke off")?;
    }
    Ok(())
}

fn said(status: StatusCode) -> String {
    let hint =
        if status == StatusCode::PAYLOAD_TOO_LARGE { " (the answer is too large)" } else { "" };
    format!("{status}{hint}")
}

fn empty() -> Sent {
    Full::default().boxed_unsync()
}

/// Reads what is needed of the context. The type's own constructor panics where no deadline is
/// sent, and refuses an invocation for other headers that nobody here looks at.
fn context(headers: &HeaderMap) -> anyhow::Result<Context> {
    let id = text(headers, "lambda-runtime-aws-request-id");
    let mut context = Context::default();
    id.context("the Runtime API sent an event without an id")?.clone_into(&mut context.request_id);
    let deadline = text(headers, "lambda-runtime-deadline-ms");
    context.deadline = deadline.and_then(|millis| millis.parse().ok()).unwrap_or_default();
    Ok(context)
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Frames that tell, by being dropped, that nobody reads them any more.
struct SignalOnDrop<S> {
    frames: Pin<Box<S>>,
    _watched: oneshot::Sender<Infallible>,
}

impl<S: Stream<Item = Frame<Bytes>>> Stream for SignalOnDrop<S> {
    type Item = Result<Frame<Bytes>, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Option<Self::Item>> {
        self.frames.as_mut().poll_next(cx).map(|frame| frame.map(Ok))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_read_of_whatever_the_platform_sends() {
        let read = |headers: &[(&'static str, &'static str)]| {
            let pairs = headers.iter();
            let pairs = pairs.map(|(name, value)| {
                (name.parse().expect("a name"), HeaderValue::from_static(value))
            });
            let context = context(&pairs.collect());
            let invocation =
                |context| Invocation { event: Bytes::new(), context, invocation_id: None };
            context.map(|context| invocation(context).deadline())
        };
        let id = ("lambda-runtime-aws-request-id", "8476a536");
        let millis = |text| ("lambda-runtime-deadline-ms", text);
        let at = Timestamp::from_millisecond(1_542_409_706_888).ok();
        assert_eq!(read(&[id, millis("1542409706888")]).expect("a context"), at);
        let odd = ("lambda-runtime-client-context", "no JSON");
        assert_eq!(read(&[id, odd, millis("1542409706888")]).expect("a context"), at);
        for none in ["", "0", "soon", "-1", "18446744073709551615", "18446744073709551616"] {
            assert_eq!(read(&[id, millis(none)]).expect("a context"), None, "{none}");
        }
        assert_eq!(read(&[id]).expect("a context"), None);
        assert!(read(&[millis("1542409706888")]).is_err());
    }
}
