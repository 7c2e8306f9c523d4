//! What the proxy may cost at most: each goal, what was reached, what must be, what is aimed at.

use crate::report::{Figures, Report, median};

const OURS: &str = "claude-proxy";
const OURS_TLS: &str = "claude-proxy (TLS)";
const OURS_LIMITED: &str = "claude-proxy (limited)";
const HYPER: &str = "hyper";
const HYPER_TLS: &str = "hyper (TLS)";
const NGINX: &str = "nginx";
const NGINX_TLS: &str = "nginx (TLS)";
const NGINX_BUFFERED: &str = "nginx (buffered)";
const LITELLM: &str = "LiteLLM";

/// One figure as a ratio of two, each a target in a scenario.
struct Goal {
    what: &'static str,
    ours: (&'static str, &'static str),
    theirs: (&'static str, &'static str),
    pick: fn(&Figures) -> f64,
    /// Counted is what the proxy adds to the upstream's own.
    is_added: bool,
    must: f64,
    aim: f64,
}

fn goals() -> Vec<Goal> {
    let cpu = |what, scenario, (ours, theirs), must, aim| Goal {
        what,
        ours: (scenario, ours),
        theirs: (scenario, theirs),
        pick: |figures| figures.cpu,
        is_added: false,
        must,
        aim,
    };
    let time = |what, scenario, pick, must, aim| Goal {
        what,
        ours: (scenario, OURS),
        theirs: (scenario, NGINX),
        pick,
        is_added: true,
        must,
        aim,
    };
    let bedrock = |what, limited, passed, must, aim| Goal {
        ours: (limited, OURS_LIMITED),
        ..cpu(what, passed, (OURS, OURS), must, aim)
    };
    let (plain, tls) = ((OURS, NGINX), (OURS_TLS, NGINX_TLS));
    let buffered = (OURS, NGINX_BUFFERED);
    vec![
        cpu("CPU for a 2 KB request, 16 connections / nginx", "16", plain, 1.10, 0.85),
        cpu("the same, 64 connections", "64", plain, 1.10, 0.85),
        cpu("CPU with TLS to the upstream, 16 / nginx (TLS)", "16", tls, 0.90, 0.80),
        cpu("the same, 64 connections", "64", tls, 0.90, 0.80),
        cpu("CPU for 128 KB / nginx (buffered)", "128k", buffered, 1.05, 0.95),
        cpu("CPU for 1 MB / nginx (buffered)", "1m", buffered, 1.05, 0.95),
        time("added time, median / nginx", "1", |f| f.answer.0, 1.05, 0.95),
        time("added time, 99 % / nginx", "1", |f| f.answer.1, 1.10, 1.00),
        time("added time to the first event / nginx", "s1", |f| f.answer.0, 0.90, 0.75),
        time("added time of an event, 64 streams / nginx", "s64", |f| f.event.0, 1.40, 0.90),
        time("the same, 256 streams", "s256", |f| f.event.0, 1.40, 0.90),
        cpu("CPU for an event, 64 streams / nginx", "s64", plain, 1.05, 0.92),
        cpu("the same, 256 streams", "s256", plain, 1.05, 0.92),
        cpu("the same, in clumps", "clumps", plain, 5.00, 1.00),
        bedrock(
            "Bedrock's stream, CPU for an event / passed through",
            "s16 limited",
            "s16",
            2.0,
            1.15,
        ),
        bedrock(
            "429, then Bedrock, CPU for a request / passed through",
            "4 limited",
            "4",
            5.0,
            2.3,
        ),
    ]
}

/// Prints what is reached, and what hyper alone would reach, of which the proxy is built.
pub fn print(report: &Report) {
    println!("\n| goal | reached | hyper alone | must | aim |\n|---|---|---|---|---|");
    for goal in goals() {
        let Some(reached) = goal.reached_by(goal.ours.1, report) else { continue };
        let floor = match goal.ours.1 {
            OURS => goal.reached_by(HYPER, report),
            OURS_TLS => goal.reached_by(HYPER_TLS, report),
            _ => None,
        };
        let floor = floor.map(|floor| format!("{floor:.2}")).unwrap_or_default();
        println!("| {} | {reached:.2} | {floor} | ≤ {} | ≤ {} |", goal.what, goal.must, goal.aim);
    }
    let start = |name, pick: fn(&crate::report::Start) -> f64| {
        median(report.starts.get(name)?.iter().map(pick).collect())
    };
    let idle = |name| start(name, |s| s.idle);
    let peak = |name| median(report.column("s256", name, |figures| figures.peak));
    let took = |name| start(name, |s| s.took);
    let absolute: [(_, &dyn Fn(&'static str) -> Option<f64>, _, _); 3] = [
        ("resident when idle, MiB", &idle, 16.0, 5.0),
        ("resident with 256 streams, MiB", &peak, 34.0, 12.0),
        ("start to the first answer, ms", &took, 15.0, 3.0),
    ];
    for (what, figure, must, aim) in absolute {
        if let Some(reached) = figure(OURS) {
            let floor = figure(HYPER).map(|floor| format!("{floor:.1}")).unwrap_or_default();
            println!("| {what} | {reached:.1} | {floor} | ≤ {must} | ≤ {aim} |");
        }
    }
    let cpu = |name| median(report.column("16", name, |figures| figures.cpu));
    let than = |pick: &dyn Fn(&'static str) -> Option<f64>| Some(pick(LITELLM)? / pick(OURS)?);
    for (what, reached, must, aim) in [
        ("LiteLLM's CPU for a request / ours", than(&cpu), 400, 500),
        ("LiteLLM's memory / ours", than(&idle), 30, 70),
        ("LiteLLM's start / ours", than(&took), 500, 2000),
    ] {
        if let Some(reached) = reached {
            println!("| {what} | {reached:.0} | | ≥ {must} | ≥ {aim} |");
        }
    }
}

impl Goal {
    /// The median of the rounds' ratios, with this target in our place.
    fn reached_by(&self, name: &'static str, report: &Report) -> Option<f64> {
        let figures = |(scenario, name): (&'static str, &'static str)| {
            let mut figures = report.column(scenario, name, self.pick);
            if self.is_added {
                let direct = report.column(scenario, "direct", self.pick);
                figures = figures.iter().zip(direct).map(|(ours, direct)| ours - direct).collect();
            }
            figures
        };
        let (ours, theirs) = (figures((self.ours.0, name)), figures(self.theirs));
        median(ours.iter().zip(&theirs).map(|(ours, theirs)| ours / theirs).collect())
    }
}
