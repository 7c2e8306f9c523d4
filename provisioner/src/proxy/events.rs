//! What stands in the function's log, page by page.

use crate::aws::{CloudError, Kind, Reader, call};
use crate::engine::Address;
use crate::proxy::logs::Event;

/// What one call gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    pub events: Vec<Event>,
    /// What the next page is asked for with; `None` is the end.
    pub next: Option<String>,
}

/// Which lines are meant.
#[derive(Debug, Clone, Copy)]
pub struct Lines<'a> {
    pub log_group: &'a str,
    /// From when on, in milliseconds since 1970.
    pub from: i64,
    /// What the service leaves the others out by; it may let some of them through.
    pub pattern: Option<&'a str>,
}

/// More pages than this are not read; one has 10,000 lines at most, and may well have none.
const MOST_LOG_PAGES: usize = 50;

/// One page; the first one without a `token`.
///
/// # Errors
///
/// If it cannot be read.
pub async fn page(
    lines: &Lines<'_>,
    token: Option<&str>,
    cloud: &Reader,
) -> Result<Page, CloudError> {
    let filter = cloud.clients().logs.filter_log_events().log_group_name(lines.log_group);
    let filter = filter.start_time(lines.from).set_next_token(token.map(str::to_owned));
    let filter = filter.set_filter_pattern(lines.pattern.map(str::to_owned)).send();
    let page = call("CloudWatch Logs", "FilterLogEvents", filter).await?;
    let events = page.events.unwrap_or_default().into_iter().map(|event| Event {
        id: event.event_id.unwrap_or_default(),
        at: event.timestamp.unwrap_or_default(),
        message: event.message.unwrap_or_default(),
    });
    // The same token again would be the same page again.
    let next = page.next_token.filter(|next| Some(next.as_str()) != token);
    Ok(Page { events: events.collect(), next })
}

/// All of them.
///
/// # Errors
///
/// If the log cannot be read, or is too long to be read: a part of it would be a wrong number.
pub async fn all(lines: &Lines<'_>, cloud: &Reader) -> Result<Vec<Event>, CloudError> {
    let at = |error: CloudError| error.at(&Address::new("log-group", lines.log_group));
    let (mut events, mut token) = (Vec::new(), None);
    for _ in 0..MOST_LOG_PAGES {
        let read = page(lines, token.as_deref(), cloud).await.map_err(at)?;
        events.extend(read.events);
        match read.next {
            Some(next) => token = Some(next),
            None => return Ok(events),
        }
    }
    Err(at(CloudError::new(Kind::Other, "there is more in it than can be counted")))
}
