//! The figures as tables: medians over the rounds, ratios and differences within one round.

use std::collections::BTreeMap;

/// One target in one scenario in one round, in µs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Figures {
    /// CPU of the target for one request or one event.
    pub cpu: f64,
    /// Of whole requests, or from a request to its first event.
    pub answer: (f64, f64),
    /// From the upstream's writing of an event to its arrival.
    pub event: (f64, f64),
    /// The most memory meanwhile, in MiB.
    pub peak: f64,
    pub count: usize,
    pub wrong: usize,
}

/// How a target starts, and what it needs to be there.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// To the first right answer, in ms.
    pub took: f64,
    /// Resident, in MiB.
    pub idle: f64,
}

/// Everything that was measured, by scenario and target, round by round.
#[derive(Debug, Default)]
pub struct Report {
    pub rounds: BTreeMap<(&'static str, &'static str), Vec<Figures>>,
    pub starts: BTreeMap<&'static str, Vec<Start>>,
}

/// The anchor.
const NGINX: &str = "nginx";

impl Report {
    /// Prints all tables for these targets, in this order.
    pub fn print(&self, targets: &[(&'static str, String)]) {
        self.print_summary(targets);
        let cpu = |scenario| move |report: &Self, name: &str| report.cpu(scenario, name);
        println!("\nCPU of the proxy, µs (times nginx's):\n");
        self.table(
            targets,
            &[
                ("2 KB request, 16 connections", &cpu("16")),
                ("2 KB, 64 connections", &cpu("64")),
                ("128 KB", &cpu("128k")),
                ("1 MB", &cpu("1m")),
                ("event, 64 streams", &cpu("s64")),
                ("event, 256 streams", &cpu("s256")),
                ("event, in clumps", &cpu("clumps")),
            ],
        );
        println!("\nTime that the proxy adds, µs (times nginx's):\n");
        let answer = |scenario, nines: bool| {
            move |report: &Self, name: &str| {
                report.added(scenario, name, |f| if nines { f.answer.1 } else { f.answer.0 })
            }
        };
        let event = |scenario, nines: bool| {
            move |report: &Self, name: &str| {
                report.added(scenario, name, |f| if nines { f.event.1 } else { f.event.0 })
            }
        };
        self.table(
            targets,
            &[
                ("request, median", &answer("1", false)),
                ("request, 99 %", &answer("1", true)),
                ("first event", &answer("s1", false)),
                ("event, 64 streams, median", &event("s64", false)),
                ("event, 64 streams, 99 %", &event("s64", true)),
                ("event, 256 streams, median", &event("s256", false)),
            ],
        );
        println!("\nMemory and start:\n");
        self.table(
            targets,
            &[
                ("resident when idle, MiB", &|report, name| report.start(name, |s| s.idle)),
                ("with 256 streams, MiB", &|report, name| {
                    report.median("s256", name, |f| f.peak).map(|mib| format!("{mib:.1}"))
                }),
                ("start to first answer, ms", &|report, name| report.start(name, |s| s.took)),
                ("wrong answers", &|report, name| report.wrong(name)),
            ],
        );
    }

    /// Prints the first table of `function/docs/figures.md`. Of the upstream itself its own time is shown.
    fn print_summary(&self, targets: &[(&'static str, String)]) {
        let time = |scenario| {
            move |report: &Self, name: &str| match name {
                "direct" => report
                    .median(scenario, name, |figures| figures.answer.0)
                    .map(|own| format!("({own:.0})")),
                name => report.added(scenario, name, |figures| figures.answer.0),
            }
        };
        let shown: Vec<_> =
            targets.iter().filter(|(name, _)| *name != "claude-proxy (limited)").cloned().collect();
        println!();
        self.table(
            &shown,
            &[
                ("CPU of a request", &|report, name| report.cpu("16", name)),
                ("of an event", &|report, name| report.cpu("s64", name)),
                ("added to a request", &time("1")),
                ("to the first event", &time("s1")),
                ("MiB idle", &|report, name| report.start(name, |start| start.idle)),
                ("with 256 streams", &|report, name| {
                    report.median("s256", name, |f| f.peak).map(|mib| format!("{mib:.1}"))
                }),
                ("ms to start", &|report, name| report.start(name, |start| start.took)),
            ],
        );
    }

    fn table(
        &self,
        targets: &[(&'static str, String)],
        columns: &[(&str, &dyn Fn(&Self, &str) -> Option<String>)],
    ) {
        let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
        println!("| | {} |", names.join(" | "));
        println!("|---{}|", "|---".repeat(columns.len()));
        for (name, version) in targets {
            let cells: Vec<_> = columns.iter().map(|(_, cell)| cell(self, name)).collect();
            if cells.iter().any(Option::is_some) {
                let cells: Vec<_> = cells.into_iter().map(Option::unwrap_or_default).collect();
                println!("| {} | {} |", format!("{name} {version}").trim(), cells.join(" | "));
            }
        }
    }

    fn cpu(&self, scenario: &'static str, name: &str) -> Option<String> {
        let ours = self.column(scenario, name, |f| f.cpu);
        let ratio = self.column(scenario, NGINX, |f| f.cpu);
        let ratio = median(ours.iter().zip(&ratio).map(|(a, b)| a / b).collect());
        shown(median(ours)?, ratio)
    }

    fn added(
        &self,
        scenario: &'static str,
        name: &str,
        pick: impl Fn(&Figures) -> f64 + Copy,
    ) -> Option<String> {
        let direct = self.column(scenario, "direct", pick);
        let added = |name: &str| -> Vec<f64> {
            self.column(scenario, name, pick).iter().zip(&direct).map(|(a, b)| a - b).collect()
        };
        if name == "direct" {
            return None;
        }
        let (ours, nginx) = (added(name), added(NGINX));
        let ratio = median(ours.iter().zip(&nginx).map(|(a, b)| a / b).collect());
        shown(median(ours)?, ratio)
    }

    fn median(
        &self,
        scenario: &'static str,
        name: &str,
        pick: impl Fn(&Figures) -> f64,
    ) -> Option<f64> {
        median(self.column(scenario, name, pick)).filter(|value| *value > 0.0)
    }

    fn start(&self, name: &str, pick: impl Fn(&Start) -> f64) -> Option<String> {
        let starts = self.starts.get(name)?.iter().map(pick).collect();
        median(starts).map(|value| format!("{value:.1}"))
    }

    fn wrong(&self, name: &str) -> Option<String> {
        let all = self.rounds.iter().filter(|((_, target), _)| *target == name);
        let (mut wrong, mut count) = (0, 0);
        for figures in all.flat_map(|(_, rounds)| rounds) {
            wrong += figures.wrong;
            count += figures.count;
        }
        (count > 0).then(|| format!("{wrong} of {count}"))
    }

    /// One figure of all rounds that have one.
    pub fn column(
        &self,
        scenario: &'static str,
        name: &str,
        pick: impl Fn(&Figures) -> f64,
    ) -> Vec<f64> {
        let rounds = self.rounds.iter().find(|((s, n), _)| *s == scenario && *n == name);
        let rounds = rounds.into_iter().flat_map(|(_, rounds)| rounds);
        rounds.filter(|figures| figures.count > 0).map(pick).collect()
    }
}

fn shown(value: f64, ratio: Option<f64>) -> Option<String> {
    if value == 0.0 {
        return None;
    }
    let digits = if value < 10.0 { 2 } else { usize::from(value < 1000.0) };
    let value = format!("{value:.digits$}");
    Some(match ratio.filter(|ratio| ratio.is_finite()) {
        Some(ratio) if ratio >= 100.0 => format!("{value} ({ratio:.0})"),
        Some(ratio) => format!("{value} ({ratio:.2})"),
        None => value,
    })
}

pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() % 2 {
        _ if values.is_empty() => None,
        1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}
