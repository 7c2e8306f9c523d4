//! What goes into Claude Code's settings so that it says who answers: hooks and a status line.
//!
//! With a key both take it from a variable of the settings' own `env`.

use serde_json::{Value, json};

use crate::caller::KEY_HEADER;

/// Where hooks ask, and where a status line does.
pub const NOTICE: &str = "/_proxy/notice";
pub const LINE: &str = "/_proxy/line";
/// The variable that has the proxy key.
pub const KEY_VARIABLE: &str = "CLAUDE_PROXY_KEY";

/// The hooks, each under the event that it belongs to. `url` has no slash at its end.
#[must_use]
pub fn hooks(url: &str, keyed: bool) -> [(&'static str, Value); 2] {
    let mut handler = json!({"type": "http", "url": format!("{url}{NOTICE}"), "timeout": 2});
    if keyed {
        handler["headers"] = json!({KEY_HEADER: format!("${KEY_VARIABLE}")});
        handler["allowedEnvVars"] = json!([KEY_VARIABLE]);
    }
    let failed = json!({"matcher": "rate_limit", "hooks": [handler.clone()]});
    [("Stop", json!({"hooks": [handler]})), ("StopFailure", failed)]
}

/// The status line's command: it reads the session's id off what Claude Code hands it.
#[must_use]
pub fn line_command(url: &str, keyed: bool) -> String {
    let key = if keyed { format!("-H \"{KEY_HEADER}: ${KEY_VARIABLE}\" ") } else { String::new() };
    let id = r#"$(sed -n 's/.*"session_id" *: *"\([^"]*\)".*/\1/p')"#;
    format!("curl -fsm1 {key}\"{url}{LINE}?session={id}\"")
}

/// The whole status line.
#[must_use]
pub fn status_line(url: &str, keyed: bool) -> Value {
    json!({"type": "command", "command": line_command(url, keyed), "refreshInterval": 15})
}
