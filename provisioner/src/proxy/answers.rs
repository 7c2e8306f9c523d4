//! What has Bedrock answered? Read from the function's log, one JSON line for each request.

use function::failover::cooldown::Timestamp;
use function::money::MicroDollars;
use function::telemetry::RequestLine;

use crate::aws::{CloudError, Reader};
use crate::proxy::events::{self, Lines};

/// One answer of Bedrock's, as far as its line tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The label of the person who asked.
    pub user: Option<String>,
    /// The model, as the client named it.
    pub model: Option<String>,
    /// When its line was written, which is when it had ended.
    pub at: Timestamp,
    /// What Bedrock charges for it; nothing where its line does not say so.
    pub cost: MicroDollars,
}

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
    let pattern = Some(r#"{ $.upstream = "bedrock" }"#);
    let lines = Lines { log_group, from: since.as_millisecond(), pattern };
    let events = events::all(&lines, cloud).await?;
    Ok(events.iter().filter_map(|event| read(&event.message, event.at)).collect())
}

/// Reads a line; `None` where it is about something else. `at` is in milliseconds since 1970.
fn read(line: &str, at: i64) -> Option<Answer> {
    let RequestLine { user, model, upstream, cost_microusd, .. } = RequestLine::parse(line)?;
    let (at, cost) = (Timestamp::from_millisecond(at).ok()?, cost_microusd.unwrap_or_default());
    let cost = MicroDollars(cost);
    (upstream.as_deref() == Some("bedrock")).then_some(Answer { user, model, at, cost })
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
