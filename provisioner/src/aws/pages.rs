//! All pages of a list, or a failure: half of a list would look like all of it.

use std::error::Error;

use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use super::kinds::ServiceAction;
use super::{CloudError, Kind, call};

/// So many pages no list has that is read here.
pub(crate) const MOST_PAGES: usize = 1_000;

/// Reads them. `more` says whether a page is not the last one: the SDK ends where a page names
/// itself as the next.
///
/// # Errors
///
/// If one of them cannot be read, or there is no end of them.
pub(crate) async fn pages<P, E>(
    (service, action): ServiceAction,
    mut list: PaginationStream<Result<P, SdkError<E, HttpResponse>>>,
    more: impl Fn(&P) -> bool,
) -> Result<Vec<P>, CloudError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let mut all = Vec::new();
    while let Some(page) = call(service, action, list.try_next()).await? {
        all.push(page);
        if all.len() > MOST_PAGES {
            return Err(endless((service, action)));
        }
    }
    if all.last().is_some_and(more) { Err(endless((service, action))) } else { Ok(all) }
}

/// A list that has no end.
pub(crate) fn endless((service, action): ServiceAction) -> CloudError {
    let why = "the list has no end: its pages come again and again";
    CloudError { service, action, ..CloudError::new(Kind::Other, why) }
}
