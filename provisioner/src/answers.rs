//! What has Bedrock answered? Read from the function's log, one JSON line for each request.

use function::failover::cooldown::Timestamp;
use function::telemetry::RequestLine;

use crate::cloud::{CloudError, Kind, Reader, call};
use crate::plan::Address;

/// One answer of Bedrock's, as far as its line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The label of the person who asked.
    pub user: Option<String>,
    /// The model, as the client named it.
    pub model: Option<String>,
    /// When its line was written, which is when it had ended.
    pub at: Timestamp,
}

/// More pages than this are not read; one has 10,000 lines at most, and may well have none.
const MOST_PAGES: usize = 50;

/// All answers of Bedrock since a moment.
///
/// # Errors
///
/// If the log cannot be read, or is too long to be read: a part of it would be a wrong number.
pub async fn of_bedrock(
    log_group: &str,
    since: Timestamp,
    cloud: &Reader,
) -> Result<Vec<Answer>, CloudError> {
    let at = |error: CloudError| error.at(&Address::new("log-group", log_group));
    let (mut answers, mut token) = (Vec::new(), None);
    for _ in 0..MOST_PAGES {
        let filter = cloud.clients().logs.filter_log_events().log_group_name(log_group);
        let filter = filter
            .start_time(since.as_millisecond())
            .filter_pattern(r#"{ $.upstream = "bedrock" }"#)
            .set_next_token(token.take());
        let page = call("CloudWatch Logs", "FilterLogEvents", filter.send()).await.map_err(at)?;
        answers.extend(
            page.events().iter().filter_map(|event| read(event.message()?, event.timestamp()?)),
        );
        match page.next_token {
            Some(next) => token = Some(next),
            None => return Ok(answers),
        }
    }
    Err(at(CloudError::new(Kind::Other, "there is more in it than can be counted")))
}

/// Reads a line; `None` where it is about something else. `at` is in milliseconds since 1970.
fn read(line: &str, at: i64) -> Option<Answer> {
    let RequestLine { user, model, upstream, .. } = RequestLine::parse(line)?;
    let at = Timestamp::from_millisecond(at).ok()?;
    (upstream.as_deref() == Some("bedrock")).then_some(Answer { user, model, at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_about_an_answer_of_bedrock_count() {
        let line = r#"{"request.id":"r","call":"messages","upstream":"bedrock","user":"alice",
                       "duration_ms":1}"#;
        assert_eq!(read(line, 0).unwrap().user.as_deref(), Some("alice"));
        for other in ["", "START RequestId: 1", "{}", &line.replace("bedrock", "anthropic")] {
            assert_eq!(read(other, 0), None, "{other}");
        }
    }
}
