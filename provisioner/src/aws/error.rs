//! Makes a call, and keeps what matters of its failure.

use std::future::Future;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::{CloudError, fault, spot};

/// Makes a call and keeps what matters of its failure.
pub(crate) fn call<T, E>(
    service: &'static str,
    action: &'static str,
    sent: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
) -> impl Future<Output = Result<T, CloudError>>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    // The SDK's futures have kilobytes each.
    let sent = Box::pin(spot::seen(sent));
    async move {
        let (answer, spot) = sent.await;
        answer.map_err(|error| fault::read((service, action), &error, spot))
    }
}
