//! What `up` says at its end: where the proxy is, what to paste, what comes next, what it costs.

use serde_json::{Value, json};

use super::Scope;
use crate::engine::plan::Style;
use crate::engine::words::clean;
use crate::proxy::probe::Health;
use crate::stack::cost::{AS_OF, Estimate};
use crate::stack::settings::is_uncapped;
use crate::stack::{Declaration, Observed};
use crate::view::state;

/// The whole text. `health` is what the URL said, if it was asked.
#[must_use]
pub fn text(
    declared: &Declaration,
    there: &Observed,
    health: Option<&Health>,
    scope: &Scope<'_>,
    style: Style,
) -> String {
    let outputs = declared.stack.outputs(there);
    let get = |key: &str| outputs.get(key).and_then(Value::as_str).unwrap_or("(none)");
    let url = get("url").trim_end_matches('/');
    let health = health.map(|health| format!("  {}", state::words(health))).unwrap_or_default();
    let lines = ["function", "table", "log_group", "repository", "role", "image"]
        .map(|key| format!("  {key:<10}  {}\n", clean(get(key))));
    let title = |text: &str| style.paint("1", text);
    let health = match declared.is_stopped() {
        true => "  stopped: --reserved-concurrency 0 lets it answer nobody".to_owned(),
        false => health,
    };
    let Access { sentence, command, header } = access(declared, scope);
    let command = command.map(|command| format!("\n  {command}\n")).unwrap_or_default();
    let uncapped = is_uncapped(&declared.environment).then(|| {
        let command = scope.command("config set BUDGET_USER_MONTH_USD=50");
        format!("{}\n\n  {command}\n", title("No cap is set on what Bedrock may cost. To set one:"))
    });
    let lines = [
        format!("\n{}  {}{health}\n", title("URL"), style.paint("36", url)),
        lines.concat(),
        format!("{}\n", title("For Claude Code, in ~/.claude/settings.json:")),
        snippet(url, header),
        format!("{}{command}", title(&sentence)),
        format!("{}  {}", title("See how it is doing:"), scope.command("status")),
        format!("{}     {}\n", title("Remove all of it:"), scope.command("down")),
        title(&format!(
            "Costs, estimated from list prices (us-east-1, {AS_OF}), Bedrock's tokens apart:"
        )),
        Estimate::of(declared).map(|estimate| format!("  {estimate}\n")).unwrap_or_default(),
        uncapped.unwrap_or_default(),
        declared.noted(),
    ];
    lines.join("\n")
}

/// Who gets in, and how.
struct Access {
    sentence: String,
    command: Option<String>,
    /// The header that each request needs besides.
    header: Option<&'static str>,
}

fn access(declared: &Declaration, scope: &Scope<'_>) -> Access {
    let environment = &declared.environment;
    let get = |key: &str| environment.get(key).map(String::as_str).filter(|v| !v.is_empty());
    let without =
        |sentence: &str| Access { sentence: format!("{sentence}\n"), command: None, header: None };
    match get("ACCESS_MODE") {
        None | Some("key") => {
            let known =
                if get("PROXY_KEYS").is_some() { ", or take one of PROXY_KEYS" } else { "" };
            Access {
                sentence: format!(
                    "Everybody needs a key, in the place of KEY. Make one, it is shown once{known}:"
                ),
                command: Some(scope.command("user add NAME")),
                header: Some("x-claude-proxy-key: KEY"),
            }
        }
        Some("organization") => {
            without("Nobody needs a key: Bedrock answers members of ALLOWED_ORGANIZATIONS only.")
        }
        Some(_) => without(
            "Nobody needs a key: whoever finds the URL and has a credential of Anthropic's uses \
             Bedrock at your expense.",
        ),
    }
}

/// What is pasted, two spaces in.
fn snippet(url: &str, header: Option<&str>) -> String {
    let mut env = json!({"ANTHROPIC_BASE_URL": url});
    if let Some(header) = header {
        env["ANTHROPIC_CUSTOM_HEADERS"] = header.into();
    }
    let text = format!("{:#}", json!({"env": env}));
    text.lines().map(|line| format!("  {line}\n")).collect()
}
