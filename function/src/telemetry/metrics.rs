//! Which figures are kept of requests? One list, of which CloudWatch and Prometheus read the same.
//!
//! CloudWatch reads the line of a request: the same fields, and metrics made of them. Source: AWS,
//! *Embedded metric format specification*. A metric's dimensions are few and their values are ours:
//! no user's name, no client's word. A person's name is a field like any other, which Logs Insights
//! can group by.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Entries, Sentence, millis};
use crate::failover::{Reason, Upstream};

/// Where all metrics stand.
pub const NAMESPACE: &str = "claude-proxy";

/// One figure that each request adds to.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// As CloudWatch has it. A name that stands in several rows is the same figure, told apart by
    /// ever more.
    pub name: &'static str,
    pub unit: Unit,
    pub dimension: Dimension,
    /// For people, in a few words.
    pub meaning: &'static str,
    value: fn(&Entries, Duration) -> Option<u64>,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Added up.
    Count,
    /// How it is spread counts.
    Milliseconds,
    /// The last one counts.
    Percent,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Count => "Count",
            Self::Milliseconds => "Milliseconds",
            Self::Percent => "Percent",
        }
    }
}

/// What a figure is told apart by, other than the function's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dimension {
    Nothing,
    /// Why a budget kept Bedrock away.
    Budget,
    /// Why Bedrock has answered.
    Reason,
    /// Who has answered.
    Upstream,
}

/// What budgets say where they let nobody through.
const REFUSALS: [&str; 2] = ["used_up", "unavailable"];

impl Dimension {
    /// Its name, which is that of a field of the line.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::Nothing => None,
            Self::Budget => Some("budget"),
            Self::Reason => Some("reason"),
            Self::Upstream => Some("upstream"),
        }
    }

    /// All values that it can have; where it has no name there is one, which is not shown.
    #[must_use]
    pub fn values(self) -> Vec<String> {
        match self {
            Self::Nothing => vec![String::new()],
            Self::Budget => REFUSALS.map(str::to_owned).to_vec(),
            Self::Reason => Reason::ALL.map(|reason| reason.to_string()).to_vec(),
            Self::Upstream => Upstream::ALL.map(|upstream| upstream.to_string()).to_vec(),
        }
    }

    /// Which of its values a request has, if any.
    #[inline(always)]
    pub(super) fn place(self, entries: &Entries) -> Option<usize> {
        match self {
            Self::Nothing => Some(0),
            Self::Budget => REFUSALS.iter().position(|said| Some(*said) == entries.costs.budget),
            Self::Reason => {
                Reason::ALL.iter().position(|reason| Some(*reason) == entries.answer.reason)
            }
            Self::Upstream => {
                Upstream::ALL.iter().position(|upstream| Some(*upstream) == entries.answer.upstream)
            }
        }
    }
}

impl Metric {
    const fn new(
        name: &'static str,
        (unit, dimension): (Unit, Dimension),
        meaning: &'static str,
        value: fn(&Entries, Duration) -> Option<u64>,
    ) -> Self {
        Self { name, unit, dimension, meaning, value }
    }

    /// What a request that is over adds.
    #[inline(always)]
    pub(super) fn value(&self, entries: &Entries, duration: Duration) -> Option<u64> {
        (self.value)(entries, duration)
    }
}

const PLAIN: (Unit, Dimension) = (Unit::Count, Dimension::Nothing);
const TOKENS: (Unit, Dimension) = (Unit::Count, Dimension::Upstream);
const TIME: (Unit, Dimension) = (Unit::Milliseconds, Dimension::Upstream);

/// All of them. Rows of the same unit and dimension stand together.
pub const METRICS: [Metric; 16] = [
    Metric::new("Requests", PLAIN, "Requests that are over, whoever has answered.", |_, _| Some(1)),
    Metric::new("Fallbacks", PLAIN, "Requests that Bedrock has answered.", |entries, _| {
        entries.answer.reason.map(|_| 1)
    }),
    Metric::new(
        "LimitsRemembered",
        PLAIN,
        "Limits of Anthropic (429) that are remembered until they end.",
        |entries, _| entries.tries.cooldown.map(|_| 1),
    ),
    Metric::new("BedrockErrors", PLAIN, "Failures of Bedrock, in any region.", |entries, _| {
        Some(entries.tries.bedrock_errors.into()).filter(|errors| *errors > 0)
    }),
    Metric::new(
        "BedrockCostMicroUSD",
        PLAIN,
        "What Bedrock charges, in millionths of a dollar.",
        |entries, _| entries.costs.cost.map(|cost| cost.amount.0),
    ),
    Metric::new(
        "AssumedCostMicroUSD",
        PLAIN,
        "The part of it of which a price is assumed, in millionths of a dollar.",
        |entries, _| entries.costs.cost.filter(|cost| cost.assumed).map(|cost| cost.amount.0),
    ),
    Metric::new(
        "CostsUncounted",
        PLAIN,
        "Answers whose cost the store may not have counted.",
        |entries, _| entries.costs.unsettled.then_some(1),
    ),
    Metric::new(
        "TotalBudgetUsed",
        (Unit::Percent, Dimension::Nothing),
        "The used part of the cap on all users, when Bedrock was last asked.",
        |entries, _| entries.costs.total_used,
    ),
    Metric::new(
        "BudgetRefusals",
        (Unit::Count, Dimension::Budget),
        "Requests that a budget kept from Bedrock.",
        |entries, _| entries.costs.budget.filter(|said| *said != "ok").map(|_| 1),
    ),
    Metric::new(
        "Fallbacks",
        (Unit::Count, Dimension::Reason),
        "Requests that Bedrock has answered, by what was wrong with Anthropic.",
        |entries, _| entries.answer.reason.map(|_| 1),
    ),
    Metric::new("InputTokens", TOKENS, "Input tokens without cached ones.", |entries, _| {
        entries.costs.usage.input
    }),
    Metric::new("OutputTokens", TOKENS, "Output tokens.", |entries, _| entries.costs.usage.output),
    Metric::new("CacheReadTokens", TOKENS, "Tokens read from the prompt cache.", |entries, _| {
        entries.costs.usage.cache_read
    }),
    Metric::new("CacheWriteTokens", TOKENS, "Tokens written to the prompt cache.", |entries, _| {
        entries.costs.usage.cache_write
    }),
    Metric::new("FirstByte", TIME, "Until the first byte of an answer's body.", |entries, _| {
        entries.answer.first_byte.map(millis)
    }),
    Metric::new("Duration", TIME, "Until the end of an answer.", |_, duration| {
        Some(millis(duration))
    }),
];

/// Writes the line of one request.
pub(super) fn line(
    function: &str,
    (id, duration): (&str, Duration),
    entries: &Entries,
    now: Timestamp,
) -> String {
    let mut fields = fields(entries);
    let together = |a: &Metric, b: &Metric| (a.unit, a.dimension) == (b.unit, b.dimension);
    let rows = METRICS.chunk_by(together).filter(|rows| rows[0].dimension.place(entries).is_some());
    let mut directives = Vec::new();
    for rows in rows {
        let known = rows.iter().filter_map(|row| Some((row, row.value(entries, duration)?)));
        let mut names = Vec::new();
        for (row, value) in known {
            names.push(json!({"Name": row.name, "Unit": row.unit.name()}));
            fields.insert(row.name.to_owned(), value.into());
        }
        if !names.is_empty() {
            let dimensions: Vec<_> =
                std::iter::once("FunctionName").chain(rows[0].dimension.name()).collect();
            directives.push(
                json!({"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": names}),
            );
        }
    }
    let aws = json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": directives});
    fields.insert("_aws".to_owned(), aws);
    fields.insert("FunctionName".to_owned(), function.into());
    fields.insert("timestamp".to_owned(), now.to_string().into());
    fields.insert("level".to_owned(), "INFO".into());
    fields.insert("message".to_owned(), Sentence(entries).to_string().into());
    fields.insert("request.id".to_owned(), id.into());
    fields.insert("duration_ms".to_owned(), millis(duration).into());
    Value::Object(fields).to_string()
}

/// What the line says in words, numbers and labels.
fn fields(entries: &Entries) -> Map<String, Value> {
    let upstream = entries.answer.upstream.map(|upstream| upstream.to_string());
    let reason = entries.reason();
    let fields = [
        ("call", Some(entries.request.call.into())),
        ("user", entries.request.user.clone().map(Value::from)),
        ("model", entries.request.model.clone().map(Value::from)),
        ("stream", Some(entries.request.stream.into())),
        ("upstream", upstream.map(Value::from)),
        ("reason", reason.map(Value::from)),
        ("status", entries.answer.status.map(|status| status.as_u16().into())),
        ("attempts", Some(entries.tries.attempts.into())),
        ("fault", entries.answer.fault().map(Value::from)),
        ("cooldown_s", entries.tries.cooldown.map(|cooldown| cooldown.as_secs().into())),
        ("cost_microusd", entries.costs.cost.map(|cost| cost.amount.0.into())),
        ("cost_assumed", entries.costs.cost.map(|cost| cost.assumed.into())),
        ("budget", entries.costs.budget.map(Value::from)),
        ("reserved_microusd", entries.costs.reserved.map(|reserved| reserved.0.into())),
    ];
    fields.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::failover::{Reason, Upstream};
    use crate::money::{Cost, MicroDollars};
    use crate::telemetry::{AnswerEntries, CostEntries, RequestEntries, TryEntries};
    use crate::wire::usage::Usage;

    #[test]
    fn a_fallback_is_one_line_with_its_metrics() {
        let entries = Entries {
            request: RequestEntries {
                call: "messages",
                user: Some("alice".to_owned()),
                model: Some("claude-opus-5-5".to_owned()),
                stream: true,
            },
            tries: TryEntries {
                attempts: 2,
                bedrock_errors: 1,
                cooldown: Some(Duration::from_secs(120)),
            },
            answer: AnswerEntries {
                upstream: Some(Upstream::Bedrock),
                reason: Some(Reason::RateLimited),
                status: Some(StatusCode::OK),
                first_byte: Some(Duration::from_millis(16)),
                complete: true,
                ..AnswerEntries::default()
            },
            costs: CostEntries {
                usage: Usage { input: Some(12), output: Some(7), ..Usage::default() },
                cost: Some(Cost { amount: MicroDollars(12_345), assumed: true }),
                total_used: Some(81),
                ..CostEntries::default()
            },
            tallies: Vec::new(),
        };
        let line = written(&entries);
        assert_eq!(
            metrics(&line, &["FunctionName"]),
            [
                "Requests",
                "Fallbacks",
                "LimitsRemembered",
                "BedrockErrors",
                "BedrockCostMicroUSD",
                "AssumedCostMicroUSD",
                "TotalBudgetUsed"
            ]
        );
        assert_eq!(line["cost_microusd"], 12_345);
        assert_eq!(metrics(&line, &["FunctionName", "reason"]), ["Fallbacks"]);
        assert_eq!(
            metrics(&line, &["FunctionName", "upstream"]),
            ["InputTokens", "OutputTokens", "FirstByte", "Duration"]
        );
        assert_eq!(line["message"], "answered by bedrock: rate_limited");
        assert_eq!(
            (&line["reason"], &line["upstream"]),
            (&json!("rate_limited"), &json!("bedrock"))
        );
        assert_eq!(line["_aws"]["Timestamp"], 1_795_428_000_000_i64);
    }

    #[test]
    fn every_metric_and_every_dimension_that_is_declared_is_there() {
        let upstream = Some(Upstream::Anthropic);
        let answer = AnswerEntries { upstream, ..AnswerEntries::default() };
        let bare = Entries { answer, ..Entries::default() };
        for entries in [Entries::default(), bare] {
            let line = written(&entries);
            for directive in line["_aws"]["CloudWatchMetrics"].as_array().unwrap() {
                for dimension in directive["Dimensions"][0].as_array().unwrap() {
                    assert!(line[dimension.as_str().unwrap()].is_string(), "{dimension}");
                }
                for metric in directive["Metrics"].as_array().unwrap() {
                    assert!(line[metric["Name"].as_str().unwrap()].is_number(), "{metric}");
                }
            }
        }
    }

    #[test]
    fn no_name_of_a_person_or_model_is_a_dimension() {
        let entries = Entries {
            request: RequestEntries {
                user: Some("alice".to_owned()),
                model: Some("claude-opus-5-5".to_owned()),
                ..RequestEntries::default()
            },
            ..Entries::default()
        };
        let declared = written(&entries)["_aws"].to_string();
        assert!(!declared.contains("user") && !declared.contains("model"), "{declared}");
    }

    fn written(entries: &Entries) -> Value {
        let now = "2026-11-23T10:00:00Z".parse().unwrap();
        let id = ("req_proxy_1", Duration::from_millis(900));
        serde_json::from_str(&line("claude-proxy-api", id, entries, now)).unwrap()
    }

    fn metrics(line: &Value, dimensions: &[&str]) -> Vec<String> {
        let directives = line["_aws"]["CloudWatchMetrics"].as_array().unwrap();
        let ours = directives.iter().filter(|d| d["Dimensions"][0] == json!(dimensions));
        ours.flat_map(|directive| directive["Metrics"].as_array().unwrap())
            .map(|metric| metric["Name"].as_str().unwrap().to_owned())
            .collect()
    }
}
