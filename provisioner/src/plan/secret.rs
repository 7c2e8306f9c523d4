//! Which values are nobody's business, and what is shown in their place?
//!
//! A plan is pasted into tickets and kept in logs of build machines. A secret stands in it as its
//! first digits of SHA-256: enough to see that it changes, and to what.

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::names::hex;

/// The words by which a setting is known to hold a secret.
const WORDS: [&str; 6] = ["KEY", "SECRET", "TOKEN", "PASSWORD", "CREDENTIAL", "AUTHORIZATION"];

/// The digits that are shown of what is hidden.
const SHOWN: usize = 8;

/// Hides `value`, if the field `path` is known to hold a secret.
pub(super) fn hide(path: &str, value: Value) -> Value {
    match value.as_str() {
        Some(text) if is_secret(path) => hidden(text).into(),
        Some(_) | None => value,
    }
}

fn is_secret(path: &str) -> bool {
    let name = path.rsplit_once('.').map_or(path, |(_, name)| name).to_ascii_uppercase();
    path.starts_with("Environment.") && WORDS.iter().any(|word| name.contains(word))
}

/// Keys stay told apart by their owners, `alice:9f86d081…`; anything else is wholly hidden.
fn hidden(text: &str) -> String {
    let owned = |entry: &str| {
        let (owner, digest) = entry.trim().split_once(':')?;
        let named = !owner.is_empty() && owner.len() <= 64 && !owner.contains(['/', '=']);
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (named && is_digest).then(|| format!("{owner}:{}…", &digest[..SHOWN]))
    };
    let entries: Option<Vec<String>> = text.split(',').map(owned).collect();
    entries.map_or_else(
        || format!("(hidden, SHA-256 {}…)", &hex(&Sha256::digest(text))[..SHOWN]),
        |entries| entries.join(", "),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_told_apart_and_never_told() {
        let digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let keys = format!("alice:{digest},bob:{digest}");
        let shown = hide("Environment.PROXY_KEYS", keys.into());
        assert_eq!(shown, "alice:9f86d081…, bob:9f86d081…");
        let shown = hide("Environment.MY_API_TOKEN", "sk-ant-api03-test".into());
        assert_eq!(shown, "(hidden, SHA-256 9ef01c89…)");
    }

    #[test]
    fn what_only_looks_like_a_digest_is_hidden_whole() {
        for text in ["alice:secret", "secret", "a:b:c", &format!("https://x:{}", "a".repeat(64))] {
            let shown = hide("Environment.PROXY_KEYS", text.into());
            assert!(shown.as_str().unwrap().starts_with("(hidden, SHA-256 "), "{shown}");
        }
    }

    #[test]
    fn what_is_no_setting_is_no_secret() {
        assert_eq!(hide("KeySchema", "pk, sk".into()), "pk, sk");
        assert_eq!(hide("Environment.LOG_LEVEL", "debug".into()), "debug");
        assert_eq!(hide("Environment.PROXY_KEYS", Value::Null), Value::Null);
    }
}
