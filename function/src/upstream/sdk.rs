//! The AWS SDK's way to the network: HTTP/1.1, a connection of its own for each call under way.
//!
//! The SDK's own client puts all calls to a region on one HTTP/2 connection. That carries about a
//! hundred at a time, and three clients that do not read would hold up everybody else's answers.
//! Decides nothing: whether to ask again is the business of each service's client.

use std::fmt;
use std::time::Duration;

use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpClient, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use hyper_util::client::legacy::{self, Client};
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::bounded::BoundedBody;
use super::connector::Connector;

/// The client that all services share; nothing is read or made before the first call.
pub(super) fn client() -> SharedHttpClient {
    let client =
        Client::builder(TokioExecutor::new()).pool_timer(TokioTimer::new()).build(Connector::new());
    http_client_fn(move |settings, _| {
        // Off AWS nobody is at the instance's own address, and its client is told to notice soon.
        let connecting = settings.connect_timeout().unwrap_or(super::CONNECT_TIMEOUT);
        let within = settings.read_timeout().map(|reading| connecting + reading);
        SharedHttpConnector::new(Calls { client: client.clone(), within })
    })
}

#[derive(Clone)]
struct Calls {
    client: Client<Connector, SdkBody>,
    /// How long a head may take; the connection alone has its own limit.
    within: Option<Duration>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("within", &self.within).finish_non_exhaustive()
    }
}

impl HttpConnector for Calls {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let (answer, within) = (self.client.request(request), self.within);
        HttpConnectorFuture::new(async move {
            let answer = match within {
                Some(within) => tokio::time::timeout(within, answer)
                    .await
                    .map_err(|late| ConnectorError::timeout(late.into()))?,
                None => answer.await,
            };
            let answer = answer.map_err(failed)?;
            let (head, body) = answer.into_parts();
            let body = BoundedBody::new(head.status, &head.headers, body);
            let answer = http::Response::from_parts(head, SdkBody::from_body_1_x(body));
            HttpResponse::try_from(answer)
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// A failure of the network, unless the request itself was none.
fn failed(error: legacy::Error) -> ConnectorError {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_user) {
            return ConnectorError::user("the request is none that HTTP can carry".into());
        }
        cause = error.source();
    }
    ConnectorError::io(error.into())
}
