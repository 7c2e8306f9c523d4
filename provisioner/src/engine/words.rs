//! What others say (AWS, a registry, a library, another program), fit to be repeated: on one line,
//! with what would steer a terminal written out, without secrets and without a library's debug
//! text.
//!
//! Somebody else's sentence is data. Nothing is ever decided by a word in it.

/// As much of somebody else's sentence as a person is shown, in characters; `--json` and `-v` have
/// it whole.
pub const SHOWN: usize = 160;

/// The most that is kept of it, in characters: an answer may have megabytes.
const MAX_KEPT: usize = 2_000;

/// What stands in the place of a secret.
pub(super) const HIDDEN: &str = "(hidden)";

/// The digits of a digest that are shown: those of the image's tag.
pub(super) const DIGITS: usize = 12;

/// A run of letters as long as this, without a mark that names have, is a token.
const TOKEN: usize = 80;

/// What ends the name of something whose value is a secret, in lower case.
const SECRET_NAMES: [&str; 11] = [
    "access_key",
    "authorization",
    "bearer",
    "basic",
    "credential",
    "password",
    "passwd",
    "proxy_keys",
    "secret",
    "signature",
    "token",
];

/// How secrets begin: a key of this proxy, one of Anthropic's, JSON in base64 (so do JSON web
/// tokens and those of ECR).
const STARTS: [&str; 3] = ["ccp_", "sk-ant-", "eyJ"];

/// One sentence of somebody else's.
#[must_use]
pub fn quoted(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let kept: String = line.chars().take(MAX_KEPT).collect();
    clean(&without_secrets(without_debug(&kept)))
}

/// The first `most` characters, and a mark where there were more.
#[must_use]
pub fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", text[..end].trim_end()),
    }
}

/// Writes out what would move the cursor, colour, or turn the text around.
#[must_use]
pub fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for c in text.chars() {
        if steers(c) {
            cleaned.extend(c.escape_default());
        } else {
            cleaned.push(c);
        }
    }
    cleaned
}

/// As [`clean`], of what is to be printed: its lines and colours stay.
#[must_use]
pub fn unsteered(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((at, c)) = rest.char_indices().find(|(_, c)| steers(*c)) {
        out.push_str(&rest[..at]);
        let found = &rest[at..];
        let kept = if c == '\n' { 1 } else { colour(found) };
        if kept == 0 {
            out.extend(c.escape_default());
        }
        out.push_str(&found[..kept]);
        rest = &found[kept.max(c.len_utf8())..];
    }
    out + rest
}

/// How long the colour is that `text` begins with (ECMA-48, SGR); 0 where it begins with none.
fn colour(text: &str) -> usize {
    let digits = |byte: &u8| byte.is_ascii_digit() || *byte == b';';
    let inner = text.strip_prefix("\u{1b}[").map(|rest| rest.bytes().take_while(digits).count());
    let length = inner.map_or(0, |inner| 2 + inner);
    if length > 0 && text[length..].starts_with('m') { length + 1 } else { 0 }
}

/// Unicode's control characters, its line ends, and the marks of its *Bidirectional Algorithm*
/// (section 2).
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}')
}

/// Cuts off where Rust's debug form of a value begins: `Name { field:`, `Some(`, `Err(Name`.
fn without_debug(text: &str) -> &str {
    let begins = text.match_indices(['{', '(']).find_map(|(at, mark)| {
        let before = text[..at].trim_end_matches(' ');
        let spaced = before.len() < at;
        let name =
            before.rfind(|c: char| !c.is_alphanumeric() && c != '_').map_or(0, |end| end + 1);
        let is_type = before[name..].starts_with(|c: char| c.is_ascii_uppercase());
        let after = text[at + 1..].trim_start();
        let is_debug = match mark {
            "{" => after.starts_with(|c: char| c.is_ascii_lowercase() || c == '}'),
            _ => {
                !spaced
                    && after.starts_with(|c: char| c.is_ascii_uppercase() || "\"[({".contains(c))
            }
        };
        (is_type && is_debug).then_some(name)
    });
    let Some(begin) = begins else { return text };
    text[..begin].trim_end_matches([' ', ':', ',', '(', '`', '"'])
}

/// What stands between words, and what a word may be.
fn is_gap(c: char) -> bool {
    c.is_whitespace() || "\"'`,;:=&()[]{}<>\\".contains(c)
}

/// Hides the values of known names, what begins like a key, and what nobody can read anyway.
fn without_secrets(text: &str) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    let (mut label, mut gap) = ("", "");
    while !rest.is_empty() {
        let end = rest.find(|c: char| !is_gap(c)).unwrap_or(rest.len());
        let (between, after) = rest.split_at(end);
        let end = after.find(is_gap).unwrap_or(after.len());
        let (word, after) = after.split_at(end);
        out.push_str(between);
        gap = if between.is_empty() { gap } else { between };
        let secret = is_value(label, gap, word) || is_secret(word, label);
        match word {
            _ if word.is_empty() => {}
            _ if label.ends_with("sha256") && word.len() == 64 => {
                out.push_str(word.get(..DIGITS).unwrap_or_default());
            }
            _ if secret => out.push_str(HIDDEN),
            _ => out.push_str(word),
        }
        // The value may be two words (`Authorization: Basic abc`), or a list (`alice:ab,bob:cd`).
        let goes_on =
            secret && !gap.contains(' ') && ends_with_label(label) && after.starts_with([':', ',']);
        if !goes_on {
            label = word;
        }
        rest = after;
    }
    out
}

fn ends_with_label(word: &str) -> bool {
    let lower = word.to_ascii_lowercase();
    SECRET_NAMES.iter().any(|label| lower.ends_with(label))
}

/// Whether `word` is what the `label` before it names: after a sign, or after the name of a scheme.
fn is_value(label: &str, gap: &str, word: &str) -> bool {
    let scheme = ["bearer", "basic"].contains(&label.to_ascii_lowercase().as_str());
    let sign = gap.contains(['=', ':', '"']) || gap == ",";
    // "token: it has expired" names nothing.
    let told = !gap.ends_with(' ') || word.contains(|c: char| c.is_ascii_digit()) || {
        ["bearer", "basic"].contains(&word.to_ascii_lowercase().as_str())
    };
    !word.is_empty() && ((scheme && word.len() >= 4) || (ends_with_label(label) && sign && told))
}

fn is_secret(word: &str, label: &str) -> bool {
    let begins = STARTS.iter().any(|start| word.starts_with(start) && word.len() > start.len() + 8);
    let hex = word.len() >= 64 && word.bytes().all(|byte| byte.is_ascii_hexdigit());
    let has = |kind: fn(&u8) -> bool| word.as_bytes().iter().any(kind);
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let mixed =
        has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
    // A secret access key has 40.
    let key = word.len() == 40 && mixed && word.bytes().all(letters);
    let token = word.len() >= TOKEN && !word.contains("://") && mixed;
    begins || (hex && !label.ends_with("sha256")) || key || token
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIGEST: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

    #[test]
    fn no_text_can_steer_a_terminal() {
        assert_eq!(clean("a\u{1b}[31mb\nc\u{202e}d"), "a\\u{1b}[31mb\\nc\\u{202e}d");
        assert_eq!(clean("Grüße → 日本"), "Grüße → 日本");
        assert_eq!(quoted(" a\n  b\tc\u{1b}]0;x\u{7} "), "a b c\\u{1b}]0;x\\u{7}");
    }

    #[test]
    fn lines_and_colours_stay_and_nothing_else_that_steers() {
        for (text, left) in [
            ("a\n\u{1b}[1;31mb\u{1b}[0m c", "a\n\u{1b}[1;31mb\u{1b}[0m c"),
            ("\u{1b}[2Ja\u{1b}]0;x\u{7}", "\\u{1b}[2Ja\\u{1b}]0;x\\u{7}"),
            ("\u{1b}[31", "\\u{1b}[31"),
            ("a\r\tb\u{9b}31m\u{202e}\u{1b}", "a\\r\\tb\\u{9b}31m\\u{202e}\\u{1b}"),
        ] {
            assert_eq!(unsteered(text), left, "{text:?}");
        }
    }

    #[test]
    fn secrets_are_hidden_wherever_they_stand() {
        let jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N";
        let access = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY".replace("EXAMPLE", "3XAMPLE");
        let long = "aB3".repeat(40);
        for secret in [jwt, &access, &long, DIGEST, "ccp_0123456789abcdef", "sk-ant-api03-abcdefgh"]
        {
            for text in [
                format!("the token {secret} is bad"),
                format!("{{\"token\":\"{secret}\"}}"),
                format!("x={secret}&y=1"),
            ] {
                assert!(!quoted(&text).contains(&secret[..secret.len() / 2]), "{}", quoted(&text));
            }
        }
        for text in [
            "PROXY_KEYS=alice:hunter2",
            "PROXY_KEYS=alice:a,bob:hunter2",
            "Authorization: Basic hunter2",
            "authorization: Bearer hunter2",
            "{\"password\": \"hunter2\"}",
            "aws_secret_access_key = hunter2 secret=hunter2",
            "AWS_SESSION_TOKEN=hunter2",
            "Signature=hunter2",
        ] {
            assert!(!quoted(text).contains("hunter2"), "{}", quoted(text));
        }
    }

    #[test]
    fn what_is_no_secret_stays() {
        for text in [
            "The security token included in the request is expired",
            "Signature expired: 20261129T200000Z is now earlier than 20261129T210000Z",
            "User: \
             arn:aws:sts::123456789012:assumed-role/AWSReservedSSO_Admin_0123456789abcdef/al \
             is not authorized to perform: iam:PassRole on resource: \
             arn:aws:iam::123456789012:role/claude-proxy-api-role",
            "Value '{\"a\": 1}' at 'document' failed to satisfy constraint",
            "the log group /aws/lambda/claude-proxy-claude-proxy-claude-proxy-claude-api is gone",
            "A (very) good sentence (code 5) of Foo (bar)",
        ] {
            assert_eq!(quoted(text), text);
        }
        assert_eq!(quoted(&format!("x@sha256:{DIGEST}")), "x@sha256:9f86d081884c");
    }

    #[test]
    fn debug_text_is_cut_off() {
        for (text, left) in [
            ("io error: refused (DispatchFailure(DispatchFailure { source", "io error: refused"),
            ("expected X got StartEl { name: Name { prefix", "expected X got"),
            ("code Some(\"x\")", "code"),
            ("Error { code: 1 }", ""),
            ("invalid: Os { code: 2, kind: NotFound }", "invalid"),
        ] {
            assert_eq!(quoted(text), left);
        }
    }

    #[test]
    fn what_is_long_is_cut_at_a_character() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äö ü", 3), "äö…");
    }
}
