//! Where was it asked, and as whom? Seen while a call is on its way, told where it fails. And how
//! much is read of what comes back: the SDK reads an answer whole before it looks at it, and
//! whoever answers in the place of AWS could go on for ever.

use std::cell::RefCell;
use std::future::Future;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::Intercept;
use aws_smithy_runtime_api::client::interceptors::context::{
    BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::config_bag::ConfigBag;
use aws_types::region::{Region, SigningRegion};
use http::Uri;
use http_body_util::Limited;

use crate::engine::Spot;

tokio::task_local! {
    static SPOT: RefCell<Spot>;
}

/// Awaits a call, and tells where it went.
pub(super) async fn seen<T>(sent: impl Future<Output = T>) -> (T, Spot) {
    let sent = async { (sent.await, SPOT.with(RefCell::take)) };
    SPOT.scope(RefCell::default(), sent).await
}

/// The largest answer that is read, in bytes. AWS's are pages, of 1 MB where they are large.
const LARGEST_ANSWER: usize = 32 << 20;

/// Sees where calls go, and that their answers end.
#[derive(Debug, Clone)]
pub(super) struct Seeing;

impl Intercept for Seeing {
    fn name(&self) -> &'static str {
        "Seeing"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _components: &RuntimeComponents,
        config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let uri: Option<Uri> = context.request().uri().parse().ok();
        // Not with the name and password that may stand before it.
        let host = uri.as_ref().and_then(Uri::authority).map(|place| match place.port() {
            None => place.host().to_owned(),
            Some(port) => format!("{}:{port}", place.host()),
        });
        let host = host.unwrap_or_default();
        let region = config.load::<Region>().map(ToString::to_string);
        let region = region
            .or_else(|| config.load::<SigningRegion>().map(|region| region.as_ref().to_owned()));
        let spot = Spot { host, region: region.unwrap_or_default(), ..Spot::default() };
        // Whoever asks without `call` does not want to know.
        drop(SPOT.try_with(|seen| seen.replace(spot)));
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _components: &RuntimeComponents,
        _config: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response_mut();
        let body = Limited::new(answer.take_body(), LARGEST_ANSWER);
        *answer.body_mut() = SdkBody::from_body_1_x(body);
        Ok(())
    }
}
