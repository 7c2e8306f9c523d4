//! Does the dashboard for Grafana show what there is to be scraped, and does the page say it? Both are
//! made of the one list of metrics; `scripts/grafana` writes them anew.

#![expect(clippy::unwrap_used, reason = "a page that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use function::telemetry::exposition::{BOUNDS, full_name, shown};
use function::telemetry::metrics::{METRICS, Metric, Unit};
use serde_json::{Value, json};

#[test]
fn the_dashboard_is_that_of_the_metrics() {
    let text = serde_json::to_string_pretty(&dashboard()).unwrap() + "\n";
    is_current("grafana.json", |_| text.clone());
}

#[test]
fn the_table_is_that_of_the_metrics() {
    let head = "| Prometheus | CloudWatch | told apart by | what it is |\n|---|---|---|---|\n";
    let rows = metrics().map(|metric| {
        let by = metric.dimension.name().map(|name| {
            let values = metric.dimension.values().join("`, `");
            format!("{name}: `{values}`")
        });
        let by = by.unwrap_or_default();
        let (full, name, meaning) = (full_name(metric), metric.name, metric.meaning);
        format!("| `{full}` | `{name}` | {by} | {meaning} |\n")
    });
    let table = head.to_owned() + &rows.collect::<String>();
    is_current("metrics.md", |page| {
        let (before, rest) = page.split_once("## What there is\n\n").unwrap();
        let after = &rest[rest.find("\nA histogram").unwrap()..];
        format!("{before}## What there is\n\n{table}{after}")
    });
    let ends =
        BOUNDS.map(|bound| format!("{}", std::time::Duration::from_millis(bound).as_secs_f64()));
    let (last, ends) = ends.split_last().unwrap();
    let sentence = format!("end at {} and {last} s.", ends.join(", "));
    let page = fs::read_to_string(docs("metrics.md")).unwrap();
    assert!(page.contains(&sentence), "metrics.md must say: {sentence}");
}

/// Several rows of one name are one figure, told apart by more: then a sum of the last is the first.
#[test]
fn a_name_is_one_figure() {
    for (number, row) in METRICS.iter().enumerate() {
        for other in &METRICS[number + 1..] {
            if row.name == other.name {
                assert_eq!((row.unit, row.dimension.name()), (other.unit, None), "{}", row.name);
            }
        }
        assert!(row.meaning.ends_with('.'), "{}", row.meaning);
    }
    let names: BTreeSet<_> = metrics().map(full_name).collect();
    assert_eq!(names.len(), metrics().count());
}

#[test]
fn every_metric_is_on_the_dashboard_and_nothing_else_is() {
    let used: BTreeSet<_> = expressions(&dashboard()).iter().flat_map(|e| names(e)).collect();
    let mut unseen: BTreeSet<_> = metrics().map(full_name).collect();
    for name in &used {
        let of = |metric: &&Metric| {
            let full = full_name(metric);
            let parts: &[&str] = match metric.unit {
                Unit::Milliseconds => &["_bucket", "_count", "_sum"],
                Unit::Count | Unit::Percent => &[""],
            };
            parts.iter().any(|part| format!("{full}{part}") == *name)
        };
        let metric = metrics().find(of).unwrap_or_else(|| panic!("{name} is no series"));
        unseen.remove(&full_name(metric));
    }
    assert!(unseen.is_empty(), "nobody sees {unseen:?}");
}

/// Compares a file of the documentation with what it should be, or writes it.
#[expect(clippy::disallowed_methods, reason = "a script says that it is to be written")]
fn is_current(name: &str, make: impl Fn(&str) -> String) {
    let path = docs(name);
    let there = fs::read_to_string(&path).unwrap_or_default();
    let wanted = make(&there);
    if std::env::var_os("REWRITE").is_some() {
        fs::write(&path, wanted).unwrap();
        return;
    }
    assert!(there == wanted, "{} is not current: run scripts/grafana", path.display());
}

fn metrics() -> impl Iterator<Item = &'static Metric> {
    shown().map(|(_, metric)| metric)
}

fn docs(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)
}

/// All queries of a dashboard.
fn expressions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// The names of our series in a query.
fn names(expression: &str) -> Vec<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("claude_proxy_")).map(str::to_owned).collect()
}

/// One graph or figure.
struct Panel {
    kind: &'static str,
    title: &'static str,
    unit: &'static str,
    about: &'static str,
    /// Queries, each with what its lines are called. `@Name` is a metric of the list, `@Name_part` a
    /// series of a histogram, both of the instances that are chosen.
    queries: &'static [(&'static str, &'static str)],
}

const PANELS: [Panel; 12] = [
    Panel {
        kind: "stat",
        title: "Requests",
        unit: "short",
        about: "In the time that is shown.",
        queries: &[("sum(increase(@Requests[$__range]))", "requests")],
    },
    Panel {
        kind: "stat",
        title: "Answered by Bedrock",
        unit: "percentunit",
        about: "Of all requests in the time that is shown.",
        queries: &[(
            "sum(increase(@Fallbacks[$__range])) / sum(increase(@Requests[$__range]))",
            "share",
        )],
    },
    Panel {
        kind: "stat",
        title: "Bedrock has cost",
        unit: "currencyUSD",
        about: "In the time that is shown.",
        queries: &[("sum(increase(@BedrockCostMicroUSD[$__range])) / 1e6", "dollars")],
    },
    Panel {
        kind: "gauge",
        title: "Cap on all users",
        unit: "percentunit",
        about: "What of it is used, when Bedrock was last asked; the fuller of month and day.",
        queries: &[("max(@TotalBudgetUsed)", "used")],
    },
    Panel {
        kind: "timeseries",
        title: "Requests by who has answered",
        unit: "reqps",
        about: "The proxy itself answers what it refuses.",
        queries: &[
            ("sum by (upstream) (rate(@Duration_count[$__rate_interval]))", "{{upstream}}"),
            (
                "clamp_min(sum(rate(@Requests[$__rate_interval])) - \
                 sum(rate(@Duration_count[$__rate_interval])), 0)",
                "the proxy",
            ),
        ],
    },
    Panel {
        kind: "timeseries",
        title: "Limits of Anthropic, and fallbacks",
        unit: "short",
        about: "429s that are remembered, and answers of Bedrock by what was wrong with Anthropic.",
        queries: &[
            ("sum(increase(@LimitsRemembered[$__rate_interval]))", "limits remembered"),
            ("sum by (reason) (increase(@Fallbacks[$__rate_interval]))", "{{reason}}"),
        ],
    },
    Panel {
        kind: "timeseries",
        title: "First byte",
        unit: "s",
        about: "From the request to the first byte of the answer's body.",
        queries: &[
            (
                "histogram_quantile(0.5, \
                 sum by (le, upstream) (rate(@FirstByte_bucket[$__rate_interval])))",
                "{{upstream}} median",
            ),
            (
                "histogram_quantile(0.9, \
                 sum by (le, upstream) (rate(@FirstByte_bucket[$__rate_interval])))",
                "{{upstream}} 90 %",
            ),
        ],
    },
    Panel {
        kind: "timeseries",
        title: "Whole answers",
        unit: "s",
        about: "From the request to the last byte.",
        queries: &[
            (
                "histogram_quantile(0.5, \
                 sum by (le, upstream) (rate(@Duration_bucket[$__rate_interval])))",
                "{{upstream}} median",
            ),
            (
                "histogram_quantile(0.9, \
                 sum by (le, upstream) (rate(@Duration_bucket[$__rate_interval])))",
                "{{upstream}} 90 %",
            ),
        ],
    },
    Panel {
        kind: "timeseries",
        title: "Bedrock, dollars an hour",
        unit: "currencyUSD",
        about: "What is assumed has a price that nobody has published.",
        queries: &[
            ("sum(rate(@BedrockCostMicroUSD[$__rate_interval])) * 3600 / 1e6", "Bedrock"),
            ("sum(rate(@AssumedCostMicroUSD[$__rate_interval])) * 3600 / 1e6", "of it assumed"),
        ],
    },
    Panel {
        kind: "timeseries",
        title: "Bedrock not asked for want of budget",
        unit: "short",
        about: "It is used up, or the table that knows could not be read.",
        queries: &[("sum by (budget) (increase(@BudgetRefusals[$__rate_interval]))", "{{budget}}")],
    },
    Panel {
        kind: "timeseries",
        title: "Tokens a second",
        unit: "short",
        about: "Of streams, and of all answers of Bedrock.",
        queries: &[
            ("sum by (upstream) (rate(@InputTokens[$__rate_interval]))", "{{upstream}} in"),
            ("sum by (upstream) (rate(@OutputTokens[$__rate_interval]))", "{{upstream}} out"),
            (
                "sum by (upstream) (rate(@CacheReadTokens[$__rate_interval]))",
                "{{upstream}} read from the cache",
            ),
            (
                "sum by (upstream) (rate(@CacheWriteTokens[$__rate_interval]))",
                "{{upstream}} written to the cache",
            ),
        ],
    },
    Panel {
        kind: "timeseries",
        title: "Faults",
        unit: "short",
        about: "Failures of Bedrock in any region, and answers whose cost may not be counted.",
        queries: &[
            ("sum(increase(@BedrockErrors[$__rate_interval]))", "errors of Bedrock"),
            ("sum(increase(@CostsUncounted[$__rate_interval]))", "costs uncounted"),
        ],
    },
];

/// A query with the names that Prometheus knows.
fn spelled_out(query: &str) -> String {
    let (before, rest) = query.split_once('@').unwrap_or((query, ""));
    let metrics = rest.split('@').filter(|rest| !rest.is_empty()).map(|rest| {
        let (series, rest) = rest.split_at(rest.find(['[', ')']).unwrap());
        let (name, part) = series.split_once('_').unwrap_or((series, ""));
        let metric =
            metrics().find(|metric| metric.name == name).unwrap_or_else(|| panic!("{name}"));
        let part = if part.is_empty() { String::new() } else { format!("_{part}") };
        format!("{}{part}{{instance=~\"$instance\"}}{rest}", full_name(metric))
    });
    before.to_owned() + &metrics.collect::<String>()
}

/// The whole dashboard, for Grafana 10 and later.
fn dashboard() -> Value {
    let panels: Vec<_> = PANELS.iter().enumerate().map(drawn).collect();
    json!({
        "title": "claude-proxy", "uid": "claude-proxy", "tags": ["claude-proxy"],
        "description": "Who answers Claude Code, why, how fast, and what Bedrock costs.",
        "schemaVersion": 39, "version": 1, "editable": true, "graphTooltip": 1,
        "refresh": "30s", "time": {"from": "now-6h", "to": "now"}, "timezone": "browser",
        "annotations": {"list": []}, "links": [], "templating": {"list": choices()},
        "panels": panels,
    })
}

fn source() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// What is chosen above the dashboard.
fn choices() -> Value {
    let instances = format!("label_values({}, instance)", full_name(&METRICS[0]));
    json!([
        {
            "name": "datasource", "label": "Data source", "type": "datasource",
            "query": "prometheus", "hide": 0, "refresh": 1, "multi": false, "includeAll": false,
        },
        {
            "name": "instance", "label": "Instance", "type": "query", "datasource": source(),
            "query": {"query": instances, "refId": "instances"}, "definition": instances,
            "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
            "current": {"selected": true, "text": ["All"], "value": ["$__all"]},
        },
    ])
}

/// One panel in its place: four figures above graphs in two columns.
fn drawn((number, panel): (usize, &Panel)) -> Value {
    let is_graph = panel.kind == "timeseries";
    let target = |(number, (query, name)): (u8, &(&str, &str))| {
        json!({
            "refId": char::from(b'A' + number).to_string(), "expr": spelled_out(query),
            "legendFormat": name, "datasource": source(), "instant": !is_graph,
            "range": is_graph,
        })
    };
    let targets: Vec<_> = (0..).zip(panel.queries).map(target).collect();
    let (place, options) = match number.checked_sub(4) {
        Some(graph) => (
            json!({"x": graph % 2 * 12, "y": 5 + graph / 2 * 8, "w": 12, "h": 8}),
            json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc"},
            }),
        ),
        None => (
            json!({"x": number * 6, "y": 0, "w": 6, "h": 5}),
            json!({"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": false}}),
        ),
    };
    let mut defaults = json!({"unit": panel.unit, "min": 0});
    if panel.kind == "gauge" {
        defaults["max"] = 1.into();
        defaults["thresholds"] = json!({"mode": "absolute", "steps": [
            {"color": "green", "value": null}, {"color": "yellow", "value": 0.75},
            {"color": "red", "value": 0.95},
        ]});
    }
    json!({
        "id": number + 1, "type": panel.kind, "title": panel.title, "description": panel.about,
        "datasource": source(), "gridPos": place, "targets": targets, "options": options,
        "fieldConfig": {"defaults": defaults, "overrides": []},
    })
}
