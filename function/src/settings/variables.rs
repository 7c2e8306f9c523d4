//! Which variables are ours, what do they mean, and which look like a misspelling of one?
//!
//! [`VARIABLES`] is the table that `--help` and the README show. Variables that are not ours and
//! not nearly ours belong to somebody else: they must never be looked at.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use strsim::damerau_levenshtein;

/// One line of the table of settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Variable {
    pub name: &'static str,
    /// In Markdown, as the README shows it.
    pub default: &'static str,
    /// In Markdown, as the README shows it.
    pub meaning: &'static str,
}

/// The variables that this build obeys.
pub const VARIABLES: [Variable; 30] = [
    Variable {
        name: "RATE_LIMIT_TRACKING_ENABLED",
        default: "`true`",
        meaning: "remember limits and obey them",
    },
    Variable {
        name: "BEDROCK_FALLBACK_ENABLED",
        default: "`true`",
        meaning: "fall back to Bedrock",
    },
    Variable {
        name: "RETRY_THRESHOLD_SECONDS",
        default: "`30`",
        meaning: "a limit up to here is waited for, a longer one falls back and is remembered; \
                  0 to 21600",
    },
    Variable {
        name: "MAX_RETRY_WAIT_SECONDS",
        default: "`10`",
        meaning: "the longest wait for a short limit; 0 to 60",
    },
    Variable {
        name: "FALLBACK_ON",
        default: "`rate_limit,overloaded`",
        meaning: "comma list of `rate_limit` (429), `overloaded` (529), `server_error` (500-504), \
                  `unreachable` (no connection, no answer)",
    },
    Variable {
        name: "RATE_LIMIT_STORE",
        default: "`dynamodb` on AWS Lambda, `embedded` elsewhere",
        meaning: "where limits are remembered: `dynamodb` (a table that all instances share), \
                  `embedded` (a file) or `memory` (until the proxy stops)",
    },
    Variable {
        name: "RATE_LIMIT_TABLE_NAME",
        default: "`claude-proxy-rate-limits`",
        meaning: "table of the DynamoDB store",
    },
    Variable {
        name: "RATE_LIMIT_STORE_PATH",
        default: "`claude-proxy/limits.redb` in the platform's data directory",
        meaning: "file of the embedded store",
    },
    Variable {
        name: "RATE_LIMIT_STORE_TIMEOUT_MS",
        default: "`250`",
        meaning: "how long a request waits for the table before it goes on without it; writes, and \
                  a proxy key that was not seen lately, have four times as long. 50 to 60000",
    },
    Variable {
        name: "ANTHROPIC_UPSTREAM_URL",
        default: "`https://api.anthropic.com`",
        meaning: "where requests go first; `https` only, unless the host is loopback",
    },
    Variable {
        name: "BEDROCK_REGIONS",
        default: "the AWS region",
        meaning: "comma list in the order of trying; the next is asked when one throttles or fails",
    },
    Variable {
        name: "BEDROCK_PROFILE_PREFIX",
        default: "per model the nearest that it has, else `global`",
        meaning: "inference profile: `us`, `eu`, `apac`, `jp`, `au`, `us-gov`, `global`, `none`",
    },
    Variable {
        name: "BEDROCK_MODEL_MAP",
        default: "`{}`",
        meaning: "JSON, the client's model name → Bedrock model id, profile id or ARN; wins over \
                  the built-in table",
    },
    Variable {
        name: "BEDROCK_PROOF_MAX_AGE_SECONDS",
        default: "`900`",
        meaning: "how long Anthropic's acceptance of a credential lets it use Bedrock; 1 to 21600",
    },
    Variable {
        name: "BEDROCK_PRICES",
        default: "`{}`",
        meaning: "JSON, model → what you pay in every region, where that is not the list price: \
                  dollars per million tokens as `input`, `output`, `cache_write_5m`, \
                  `cache_write_1h`, `cache_read`",
    },
    Variable {
        name: "BEDROCK_PRICE_MULTIPLIER",
        default: "`1`",
        meaning: "what part of the list price you pay, where `BEDROCK_PRICES` does not say; \
                  0 to 100",
    },
    Variable {
        name: "BUDGET_USER_MONTH_USD",
        default: "none",
        meaning: "the most that each user may spend on Bedrock in a month, in dollars; 0 is \
                  nothing at all. Where it is used up, Anthropic's own answer is passed on",
    },
    Variable { name: "BUDGET_USER_DAY_USD", default: "none", meaning: "the same in a day" },
    Variable {
        name: "BUDGET_TOTAL_MONTH_USD",
        default: "none",
        meaning: "the most that all users together may spend on Bedrock in a month",
    },
    Variable { name: "BUDGET_TOTAL_DAY_USD", default: "none", meaning: "the same in a day" },
    Variable {
        name: "BUDGET_TIMEZONE",
        default: "`UTC`",
        meaning: "where days and months of budgets begin, such as `Europe/Berlin`; AWS bills by \
                  UTC",
    },
    Variable {
        name: "BUDGET_MESSAGE",
        default: "none",
        meaning: "what to do when a budget is used up, such as whom to ask; stands beside \
                  Anthropic's answer in `x-claude-proxy-budget-message`; one line, at most 200 \
                  characters",
    },
    Variable {
        name: "ACCESS_MODE",
        default: "on AWS Lambda `key`, else `open`",
        meaning: "who may use the proxy: `key` (whoever has a proxy key), `organization` (anyone \
                  passes through, these organizations use Bedrock), `open` (whoever reaches it)",
    },
    Variable {
        name: "PROXY_KEYS",
        default: "none",
        meaning: "for `key`: comma list of `name:sha256`, the digest of each whole key in hex",
    },
    Variable {
        name: "ALLOWED_ORGANIZATIONS",
        default: "none",
        meaning: "for `organization`: comma list of `anthropic-organization-id`",
    },
    Variable {
        name: "ACCESS_OPEN_ANYWHERE",
        default: "`false`",
        meaning: "let `open` be the mode where other machines can reach the proxy",
    },
    Variable {
        name: "DRILL_ENABLED",
        default: "`true`",
        meaning: "let `provisioner drill` have one tiny request answered by Bedrock; needs the \
                  `dynamodb` store",
    },
    Variable {
        name: "LISTEN_ADDRESS",
        default: "`127.0.0.1:8080`",
        meaning: "IP address and port; `--listen` wins over it",
    },
    Variable {
        name: "LISTEN_METRICS",
        default: "none",
        meaning: "IP address and port of `/metrics` (OpenMetrics), for everyone who reaches it; \
                  means nothing on AWS Lambda",
    },
    Variable {
        name: "LOG_LEVEL",
        default: "`info`",
        meaning: "`error`, `warn`, `info`, `debug`, `trace` or `off`",
    },
];

/// Those of them that cap what is spent.
pub(super) const CAPS: [&str; 4] = [
    "BUDGET_USER_MONTH_USD",
    "BUDGET_USER_DAY_USD",
    "BUDGET_TOTAL_MONTH_USD",
    "BUDGET_TOTAL_DAY_USD",
];

/// The variables that are set, and what was found wrong with them so far.
#[derive(Debug)]
pub(super) struct Environment {
    vars: BTreeMap<String, OsString>,
    problems: Vec<String>,
}

impl Environment {
    /// Keeps what has a readable name and is not empty: an empty variable counts as unset.
    pub(super) fn new(vars: impl IntoIterator<Item = (OsString, OsString)>) -> Self {
        let vars =
            vars.into_iter().filter_map(|(name, value)| Some((name.into_string().ok()?, value)));
        let is_set = |value: &OsString| value.to_str().is_none_or(|text| !text.trim().is_empty());
        let vars = vars.filter(|(_, value)| is_set(value)).collect();
        Self { vars, problems: Vec::new() }
    }

    pub(super) fn problem(&mut self, line: String) {
        self.problems.push(line);
    }

    pub(super) fn into_problems(self) -> Vec<String> {
        self.problems
    }

    /// Reads one variable; `None` when it is unset, or wrong, which is then a problem.
    pub(super) fn read<T>(
        &mut self,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.vars.get(name)?.clone();
        self.check(name, &value, parse)
    }

    /// Reads `value` as if it were the variable `name`.
    pub(super) fn check<T>(
        &mut self,
        name: &str,
        value: &OsString,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let parsed = match value.to_str() {
            Some(text) => parse(text.trim()),
            None => Err("is not readable text (UTF-8): write it anew".into()),
        };
        parsed.map_err(|rest| self.problem(format!("{name} {rest}"))).ok()
    }

    pub(super) fn is_set(&self, name: &str) -> bool {
        self.vars.contains_key(name)
    }

    /// Reads a path as it is, in whatever encoding the platform has.
    pub(super) fn read_path(&self, name: &str) -> Option<PathBuf> {
        self.vars.get(name).map(PathBuf::from)
    }

    /// Makes a problem of `name` being set at all. The value, perhaps a secret, is not looked at.
    pub(super) fn refuse(&mut self, name: &str, why: &str) {
        if self.vars.contains_key(name) {
            self.problem(format!("{name} is set, but {why}"));
        }
    }

    /// Makes a problem of every variable that is nearly one of ours.
    pub(super) fn refuse_misspellings(&mut self) {
        for theirs in self.vars.keys() {
            if let Some(ours) = meant(theirs) {
                self.problems.push(format!(
                    "{theirs} is not a setting: did you mean {ours}? (rename it, or unset it if \
                     it is not meant for claude-proxy)"
                ));
            }
        }
    }
}

/// Returns the variable that was probably meant by `theirs`, `None` if it is ours or unrelated.
fn meant(theirs: &str) -> Option<&'static str> {
    let ours = || VARIABLES.iter().map(|variable| variable.name);
    if ours().any(|name| name == theirs) {
        return None;
    }
    let theirs = theirs.to_uppercase().replace(['-', '.'], "_");
    let theirs = theirs.strip_prefix("CLAUDE_PROXY_").unwrap_or(&theirs);
    ours()
        .filter(|ours| is_nearly(theirs, ours))
        .min_by_key(|ours| damerau_levenshtein(theirs, ours))
}

/// Names this long are nobody else's by accident, in characters.
const TELLING: usize = 12;

/// Prefixes that people expect on a setting of ours.
const BRANDS: [&str; 4] = ["ANTHROPIC_", "AWS_", "CLAUDE_", "PROXY_"];

/// Endings that carry little meaning and are left out or mixed up.
const ENDINGS: [&str; 16] = [
    "_ENABLED",
    "_ENABLE",
    "_DISABLED",
    "_SECONDS",
    "_SECOND",
    "_SECS",
    "_SEC",
    "_S",
    "_MS",
    "_MINUTES",
    "_NAME",
    "_URL",
    "_URI",
    "_FILE",
    "_LIST",
    "_IDS",
];

/// Tells whether `theirs`, in capitals, is a misspelling of `ours`.
fn is_nearly(theirs: &str, ours: &str) -> bool {
    let branded = BRANDS.iter().filter_map(|brand| theirs.strip_prefix(brand));
    let headless = ours.split_once('_').map_or("", |(_, rest)| rest);
    is_spelled_nearly(theirs, ours)
        || is_spelled_nearly(stem(theirs), stem(ours))
        || (ours.len() >= TELLING && branded.into_iter().any(|rest| rest == ours))
        || (headless.len() >= TELLING && theirs == headless)
}

fn stem(name: &str) -> &str {
    ENDINGS.iter().find_map(|ending| name.strip_suffix(ending)).unwrap_or(name)
}

/// Compares word by word, so that a different short word is a different name: `STORE` and `SCOPE`.
fn is_spelled_nearly(theirs: &str, ours: &str) -> bool {
    let (a, b): (Vec<&str>, Vec<&str>) = (theirs.split('_').collect(), ours.split('_').collect());
    if a.len() != b.len() {
        return is_within(1, &a.concat(), &b.concat());
    }
    let is_near = |(a, b): (&&str, &&str)| {
        let is_short_for = a.len() >= 3 && b.starts_with(*a);
        is_short_for || is_within((b.len() / 4).max(1), a, b)
    };
    a.iter().zip(&b).all(is_near)
}

/// Whether at most so many letters are wrong. Most words are too long or too short for that, which
/// is quickly seen: the whole environment is compared with every name at each start.
fn is_within(most: usize, a: &str, b: &str) -> bool {
    a.chars().count().abs_diff(b.chars().count()) <= most && damerau_levenshtein(a, b) <= most
}
