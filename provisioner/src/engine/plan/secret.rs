//! Which values are nobody's business, and what is shown in their place?
//!
//! A plan is pasted into tickets and kept in the logs of build machines. Of a list of proxy keys
//! the owners are shown and the first digits of each digest, of any other secret nothing.

use serde_json::Value;

use crate::engine::words::HIDDEN;

/// The words by which a setting is known to hold a secret.
const WORDS: [&str; 6] = ["KEY", "SECRET", "TOKEN", "PASSWORD", "CREDENTIAL", "AUTHORIZATION"];

/// The digits that are shown of the digest of a key.
const KEY_DIGITS: usize = 8;

/// Whether the setting `name` holds what is nobody's business.
#[must_use]
pub fn is_secret(name: &str, value: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    // What stands before the host of a URL is a credential.
    WORDS.iter().any(|word| upper.contains(word)) || value.contains('@')
}

/// The setting `name` as it may be read over somebody's shoulder.
#[must_use]
pub fn shown(name: &str, value: &str) -> String {
    if !is_secret(name, value) {
        return value.to_owned();
    }
    let owned = |entry: &str| {
        let (owner, digest) = entry.trim().split_once(':')?;
        let named = !owner.is_empty() && owner.len() <= 64 && !owner.contains(['/', '=']);
        let is_digest = digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit());
        (named && is_digest).then(|| format!("{owner}:{}…", &digest[..KEY_DIGITS]))
    };
    let entries: Option<Vec<String>> = value.split(',').map(owned).collect();
    entries.map_or_else(|| HIDDEN.to_owned(), |entries| entries.join(", "))
}

/// Both sides of the field `path`, hidden where it holds a secret.
pub(super) fn hide(path: &str, before: Value, after: Value) -> (Value, Value) {
    let Some(name) = path.strip_prefix("Environment.") else { return (before, after) };
    let hide = |value: Value| match value.as_str() {
        Some(text) => shown(name, text).into(),
        None => value,
    };
    let (before, after) = (hide(before), hide(after));
    // They differ, or they would not be shown.
    let after = if before == after { "(hidden, another one)".into() } else { after };
    (before, after)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn keys_are_told_apart_and_never_told() {
        let keys = format!("alice:{DIGEST},bob@x.org:{DIGEST}");
        assert_eq!(shown("PROXY_KEYS", &keys), "alice:9f86d081…, bob@x.org:9f86d081…");
    }

    #[test]
    fn what_only_looks_like_a_digest_is_hidden_whole() {
        let url = format!("https://x:{DIGEST}");
        for text in ["alice:secret", "secret", "a:b:c", &url, &format!("{DIGEST},")] {
            assert_eq!(shown("PROXY_KEYS", text), "(hidden)");
        }
        assert_eq!(shown("Some_Token", "sk-ant-api03-test"), "(hidden)");
        assert_eq!(shown("HTTP_PROXY", "http://user:pass@host"), "(hidden)");
    }

    #[test]
    fn what_is_no_secret_is_shown() {
        assert_eq!(shown("LOG_LEVEL", "debug"), "debug");
        let keys = (Value::Null, Value::from("pk, sk"));
        assert_eq!(hide("KeySchema", keys.0.clone(), keys.1.clone()), keys);
    }

    #[test]
    fn a_secret_that_changes_is_seen_to_change() {
        let (before, after) = hide("Environment.MY_TOKEN", "a".into(), "b".into());
        assert_eq!((before, after), ("(hidden)".into(), "(hidden, another one)".into()));
        let (before, _) = hide("Environment.MY_TOKEN", Value::Null, "b".into());
        assert_eq!(before, Value::Null);
    }
}
