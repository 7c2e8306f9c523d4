//! The line of a request as CloudWatch reads it: the same fields, and metrics made of them.
//!
//! Source: AWS, *Embedded metric format specification*. A metric's dimensions are few and their
//! values are ours: no user's name, no client's word. A person's name is a field like any other,
//! which Logs Insights can group by.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Entries, message, millis};

/// Where all metrics stand.
pub const NAMESPACE: &str = "claude-proxy";

/// Writes the line of one request.
pub(super) fn line(
    function: &str,
    (id, duration): (&str, Duration),
    entries: &Entries,
    now: Timestamp,
) -> String {
    let mut fields = fields(entries);
    let mut metrics = Metrics { fields: &mut fields, directives: Vec::new() };
    metrics.counted(
        &[],
        &[
            ("Requests", Some(1)),
            ("Fallbacks", entries.answer.reason.map(|_| 1)),
            ("LimitsRemembered", entries.tries.cooldown.map(|_| 1)),
            (
                "BedrockErrors",
                Some(entries.tries.bedrock_errors.into()).filter(|errors| *errors > 0),
            ),
            ("BedrockCostMicroUSD", entries.costs.cost.map(|cost| cost.amount.0)),
            ("AssumedCostMicroUSD", entries.costs.cost.filter(|c| c.assumed).map(|c| c.amount.0)),
            ("CostsUncounted", entries.costs.unsettled.then_some(1)),
        ],
    );
    metrics.add("Percent", &[], &[("TotalBudgetUsed", entries.costs.total_used)]);
    if entries.costs.budget.is_some_and(|said| said != "ok") {
        metrics.counted(&["budget"], &[("BudgetRefusals", Some(1))]);
    }
    if entries.answer.reason.is_some() {
        metrics.counted(&["reason"], &[("Fallbacks", Some(1))]);
    }
    if entries.answer.upstream.is_some() {
        let usage = &entries.costs.usage;
        metrics.counted(
            &["upstream"],
            &[
                ("InputTokens", usage.input),
                ("OutputTokens", usage.output),
                ("CacheReadTokens", usage.cache_read),
                ("CacheWriteTokens", usage.cache_write),
            ],
        );
        metrics.timed(
            &["upstream"],
            &[
                ("FirstByte", entries.answer.first_byte.map(millis)),
                ("Duration", Some(millis(duration))),
            ],
        );
    }
    let directives = metrics.directives;
    let aws = json!({"Timestamp": now.as_millisecond(), "CloudWatchMetrics": directives});
    fields.insert("_aws".to_owned(), aws);
    fields.insert("FunctionName".to_owned(), function.into());
    fields.insert("timestamp".to_owned(), now.to_string().into());
    fields.insert("level".to_owned(), "INFO".into());
    fields.insert("message".to_owned(), message(entries).into());
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

struct Metrics<'a> {
    fields: &'a mut Map<String, Value>,
    directives: Vec<Value>,
}

impl Metrics<'_> {
    fn counted(&mut self, dimensions: &[&str], metrics: &[(&str, Option<u64>)]) {
        self.add("Count", dimensions, metrics);
    }

    fn timed(&mut self, dimensions: &[&str], metrics: &[(&str, Option<u64>)]) {
        self.add("Milliseconds", dimensions, metrics);
    }

    fn add(&mut self, unit: &str, dimensions: &[&str], metrics: &[(&str, Option<u64>)]) {
        let known = metrics.iter().filter_map(|(name, value)| Some((*name, (*value)?)));
        let known: Vec<_> = known.collect();
        if known.is_empty() {
            return;
        }
        let names: Vec<_> =
            known.iter().map(|(name, _)| json!({"Name": name, "Unit": unit})).collect();
        let dimensions: Vec<_> = std::iter::once(&"FunctionName").chain(dimensions).collect();
        let directive =
            json!({"Namespace": NAMESPACE, "Dimensions": [dimensions], "Metrics": names});
        self.directives.push(directive);
        for (name, value) in known {
            self.fields.insert(name.to_owned(), value.into());
        }
    }
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
