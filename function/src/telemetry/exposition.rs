//! What has come of all requests since the start? The same figures as those of CloudWatch, added up
//! for whoever scrapes them.
//!
//! Nobody adds anything up before [`begin`]. After it a request that is over changes a few atomic
//! numbers: no lock, no memory, no name that comes from outside.

use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{self, Registry};

use super::Entries;
use super::metrics::{METRICS, Metric, NAMESPACE, Unit};

/// Upper ends of the buckets of durations, in milliseconds.
///
/// A twentieth to half of a second is what the proxy answers by itself, and small questions; up to
/// ten seconds are first bytes, which long prompts and waits for short limits make late; at 15 a
/// stream gets its head whatever happens; then come whole answers, up to the 15 minutes that Lambda
/// gives one.
pub const BOUNDS: [u64; 15] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 15_000, 30_000, 60_000, 120_000, 300_000,
    600_000, 900_000,
];

/// The most that one request adds: upstreams say how many tokens there were, and no sum may run
/// over.
const MOST: u64 = 1 << 40;
/// In the place of a gauge that nobody has told.
const UNTOLD: u64 = u64::MAX;

static TOTALS: OnceLock<Arc<Totals>> = OnceLock::new();

/// From now on figures are added up.
pub fn begin() {
    TOTALS.get_or_init(Arc::default);
}

/// Adds what a request that is over has come to.
pub(super) fn count(entries: &Entries, duration: Duration) {
    if let Some(totals) = TOTALS.get() {
        totals.count(entries, duration);
    }
}

/// How figures are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exposition {
    /// That of <https://prometheus.io/docs/specs/om/open_metrics_spec/>, 1.0.
    OpenMetrics,
    /// The older form of Prometheus, 0.0.4.
    Prometheus,
}

impl Exposition {
    /// Its media type.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }

    /// Writes all figures; those of nobody before [`begin`].
    #[must_use]
    pub fn write(self) -> String {
        let totals = TOTALS.get().cloned().unwrap_or_default();
        self.write_totals(totals)
    }

    fn write_totals(self, totals: Arc<Totals>) -> String {
        let mut registry = Registry::with_prefix(NAMESPACE.replace('-', "_"));
        registry.register_collector(Box::new(totals));
        let mut written = String::new();
        let end = match self {
            Self::OpenMetrics => text::encode(&mut written, &registry),
            Self::Prometheus => prometheus_text::encode(&mut written, &registry),
        };
        end.expect("a string takes any text");
        written
    }
}

/// A metric's name as Prometheus knows it, without the endings of a histogram's series.
#[must_use]
pub fn full_name(metric: &Metric) -> String {
    let ending = match metric.unit {
        Unit::Count => "total",
        Unit::Milliseconds => "seconds",
        Unit::Percent => "ratio",
    };
    format!("{}_{}_{ending}", NAMESPACE.replace('-', "_"), snake(metric.name))
}

/// `FirstByte` as `first_byte`, and `MicroUSD` as `micro_usd`.
fn snake(name: &str) -> String {
    let mut snake = String::new();
    let mut was_small = false;
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && was_small {
            snake.push('_');
        }
        was_small = !letter.is_ascii_uppercase();
        snake.push(letter.to_ascii_lowercase());
    }
    snake
}

/// The rows that are shown, each with its number: of several with one name that with the finest
/// dimension, as the others are its sums.
pub fn shown() -> impl Iterator<Item = (usize, &'static Metric)> {
    let is_last =
        |number: usize, name: &str| METRICS[number + 1..].iter().all(|later| later.name != name);
    METRICS.iter().enumerate().filter(move |(number, row)| is_last(*number, row.name))
}

/// All figures since the start: for each row of the list its series, in the order of its
/// dimension's values; none of a row that is not shown.
#[derive(Debug)]
struct Totals([Vec<Series>; METRICS.len()]);

/// One line of figures. What has no spread has no buckets that anybody reads.
#[derive(Debug, Default)]
struct Series {
    /// The sum, or the last one.
    value: AtomicU64,
    /// How many there were up to each bound, and beyond the last, each counted once.
    buckets: [AtomicU64; BOUNDS.len() + 1],
}

impl Default for Totals {
    fn default() -> Self {
        let mut totals = Self(METRICS.map(|_| Vec::new()));
        for (row, metric) in shown() {
            let first = if metric.unit == Unit::Percent { UNTOLD } else { 0 };
            let series = |_| Series { value: first.into(), ..Series::default() };
            totals.0[row] = metric.dimension.values().into_iter().map(series).collect();
        }
        totals
    }
}

impl Totals {
    /// Each row by a number that the compiler knows, so that its own value stands in its place: a
    /// loop that asks the list takes several times the instructions.
    fn count(&self, entries: &Entries, duration: Duration) {
        macro_rules! rows {
            ($($row:literal)*) => {
                const { assert!([$($row),*].len() == METRICS.len(), "each row has its number") };
                $(self.count_row::<$row>(entries, duration);)*
            };
        }
        rows!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    }

    #[inline(always)]
    fn count_row<const ROW: usize>(&self, entries: &Entries, duration: Duration) {
        let metric = const { &METRICS[ROW] };
        let Some(value) = metric.value(entries, duration) else { return };
        let place = metric.dimension.place(entries);
        if let Some(series) = place.and_then(|place| self.0[ROW].get(place)) {
            series.add(metric.unit, value.min(MOST));
        }
    }
}

impl Series {
    #[inline(always)]
    fn add(&self, unit: Unit, value: u64) {
        match unit {
            Unit::Count => drop(self.value.fetch_add(value, Ordering::Relaxed)),
            Unit::Percent => self.value.store(value, Ordering::Relaxed),
            Unit::Milliseconds => {
                self.value.fetch_add(value, Ordering::Relaxed);
                let bucket = BOUNDS.partition_point(|bound| *bound < value);
                self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn encode(&self, unit: Unit, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        let value = self.value.load(Ordering::Relaxed);
        match unit {
            Unit::Count => encoder.encode_counter(&value, NOTHING),
            Unit::Percent if value == UNTOLD => Ok(()),
            Unit::Percent => encoder.encode_gauge(&(value as f64 / 100.0)),
            Unit::Milliseconds => {
                let ends = BOUNDS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
                let counts = self.buckets.iter().map(|count| count.load(Ordering::Relaxed));
                let buckets: Vec<_> = ends.zip(counts).collect();
                let count = buckets.iter().map(|(_, count)| count).sum();
                encoder.encode_histogram::<NoLabelSet>(seconds(value), count, &buckets, None)
            }
        }
    }
}

/// No counter shows an example.
const NOTHING: Option<&Exemplar<NoLabelSet, u64>> = None;

fn seconds(millis: u64) -> f64 {
    Duration::from_millis(millis).as_secs_f64()
}

impl Collector for Totals {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for (row, metric) in shown() {
            let (kind, unit) = match metric.unit {
                Unit::Count => (MetricType::Counter, None),
                Unit::Milliseconds => (MetricType::Histogram, Some(registry::Unit::Seconds)),
                Unit::Percent => {
                    (MetricType::Gauge, Some(registry::Unit::Other("ratio".to_owned())))
                }
            };
            let (name, unit) = (snake(metric.name), unit.as_ref());
            let mut family = encoder.encode_descriptor(&name, metric.meaning, unit, kind)?;
            for (series, label) in self.0[row].iter().zip(metric.dimension.values()) {
                match metric.dimension.name() {
                    None => series.encode(metric.unit, family.encode_family(&NO_LABEL)?)?,
                    Some(name) => {
                        let label = [(Cow::Borrowed(name), Cow::<'_, str>::Owned(label))];
                        series.encode(metric.unit, family.encode_family(&label)?)?;
                    }
                }
            }
        }
        Ok(())
    }
}

const NO_LABEL: [(&str, &str); 0] = [];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failover::{Reason, Upstream};
    use crate::money::{Cost, MicroDollars};
    use crate::telemetry::{AnswerEntries, CostEntries, TryEntries};
    use crate::wire::usage::Usage;

    /// A request that has met everything that is counted.
    fn everything() -> Entries {
        let (tokens, cost) = (Some(u64::MAX), Cost { amount: MicroDollars(7), assumed: true });
        Entries {
            tries: TryEntries {
                bedrock_errors: 2,
                cooldown: Some(Duration::from_secs(60)),
                ..TryEntries::default()
            },
            answer: AnswerEntries {
                upstream: Some(Upstream::Bedrock),
                reason: Some(Reason::Unreachable),
                first_byte: Some(Duration::from_millis(50)),
                ..AnswerEntries::default()
            },
            costs: CostEntries {
                usage: Usage {
                    input: tokens,
                    output: tokens,
                    cache_read: tokens,
                    cache_write: tokens,
                    ..Usage::default()
                },
                cost: Some(cost),
                budget: Some("used_up"),
                total_used: Some(81),
                unsettled: true,
                ..CostEntries::default()
            },
            ..Entries::default()
        }
    }

    fn line(text: &str, name: &str) -> String {
        let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        found.unwrap_or_else(|| panic!("{name} is not in\n{text}")).to_owned()
    }

    #[test]
    fn whatever_cloudwatch_counts_is_counted_here() {
        let totals = Arc::new(Totals::default());
        totals.count(&everything(), Duration::from_millis(51));
        for form in [Exposition::OpenMetrics, Exposition::Prometheus] {
            let text = form.write_totals(Arc::clone(&totals));
            for name in shown().map(|(_, metric)| full_name(metric)) {
                let mut lines = text.lines().filter(|line| line.starts_with(&name));
                assert!(lines.any(|line| !line.ends_with(" 0")), "{name} is not counted:\n{text}");
            }
        }
    }

    #[test]
    fn what_upstreams_say_makes_no_sum_run_over() {
        let totals = Arc::new(Totals::default());
        let name = "claude_proxy_input_tokens_total{upstream=\"bedrock\"}";
        let mut before = 0_u64;
        for _ in 0..1000 {
            totals.count(&everything(), Duration::MAX);
            let text = Exposition::OpenMetrics.write_totals(Arc::clone(&totals));
            let now = line(&text, name).parse().unwrap();
            assert!(now > before, "{before}, then {now}");
            before = now;
        }
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_whose_end_it_does_not_pass() {
        let totals = Arc::new(Totals::default());
        totals.count(&everything(), Duration::from_millis(51));
        totals.count(&everything(), Duration::from_secs(901));
        let text = Exposition::OpenMetrics.write_totals(totals);
        let bucket = |name: &str, end: &str| {
            line(
                &text,
                &format!("claude_proxy_{name}_seconds_bucket{{le=\"{end}\",upstream=\"bedrock\"}}"),
            )
        };
        assert_eq!(["0.05", "0.1"].map(|end| bucket("first_byte", end)), ["2", "2"]);
        let ends = ["0.05", "0.1", "900.0", "+Inf"].map(|end| bucket("duration", end));
        assert_eq!(ends, ["0", "1", "1", "2"]);
        let sum = line(&text, "claude_proxy_duration_seconds_sum{upstream=\"bedrock\"}");
        assert_eq!(sum, "901.051");
    }

    #[test]
    fn a_name_is_written_as_prometheus_writes_names() {
        for (name, snaked) in [
            ("Requests", "requests"),
            ("FirstByte", "first_byte"),
            ("BedrockCostMicroUSD", "bedrock_cost_micro_usd"),
        ] {
            assert_eq!(snake(name), snaked);
        }
    }
}
