//! Which fields does a refusal name?
//!
//! Bedrock says it in four ways, and may name several fields in one sentence: Anthropic's three
//! (`thinking.display: Extra inputs are not permitted`, `…: Input should be 'a' or 'b'`,
//! `temperature is deprecated for this model`: cline/cline#10572, read 2026-11-30), and that of the
//! schema in front of old models (`#/tools/0: extraneous key [strict] is not permitted`), also
//! without its pointer (`Malformed input request: extraneous key [top_k] is not permitted`).
//! Bounds, lengths and types of values (`Input should be less than …`) are the client's own affair.

/// The most fields that are looked at in one sentence.
const MOST_FIELDS: usize = 16;

const EXTRA: &str = ": Extra inputs are not permitted";
const VALUE: &str = ": Input should be '";
const DEPRECATED: &str = " is deprecated for this model";
const SCHEMA: &str = "extraneous key [";

/// One field that a refusal names.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RefusedField<'m> {
    /// As it is written, variants and numbers included; never empty.
    pub(super) path: Vec<&'m str>,
    /// Not the field is unknown, but the value that it has.
    pub(super) is_value: bool,
}

/// The fields that a refusal names, in their order.
pub(super) fn refused(message: &str) -> impl Iterator<Item = RefusedField<'_>> {
    let mut rest = message;
    let next = move || {
        let at = |words: &&str| rest.find(words).map(|at| (at, words.len()));
        let (words, (start, length)) = [EXTRA, VALUE, DEPRECATED, SCHEMA]
            .into_iter()
            .filter_map(|words| Some((words, at(&words)?)))
            .min_by_key(|(_, (start, _))| *start)?;
        let (before, after) = (&rest[..start], &rest[start + length..]);
        rest = after;
        if words != SCHEMA {
            let path = last_word(before).split('.').collect();
            return Some(RefusedField { path, is_value: words == VALUE });
        }
        let key = after.split(']').next().unwrap_or_default();
        // Some models leave the pointer out; then the key stands at the top.
        let pointer = before.rsplit_once('#').map_or("", |(_, pointer)| pointer);
        let path = pointer
            .trim_end_matches([':', ' '])
            .split('/')
            .filter(|part| !part.is_empty())
            .chain([key])
            .collect();
        Some(RefusedField { path, is_value: false })
    };
    std::iter::from_fn(next).take(MOST_FIELDS)
}

fn last_word(text: &str) -> &str {
    let is_end = |c: char| c.is_whitespace() || "`'\",;()[]{}".contains(c);
    text.trim_end_matches(is_end).rsplit(is_end).next().unwrap_or_default()
}
