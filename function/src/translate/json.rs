//! How is JSON changed in one place and left alone, byte for byte, everywhere else?
//!
//! An object or array is read one level deep; values stay the text they were, so numbers, escapes
//! and the order of keys survive. Reading never recurses: nesting costs no stack.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// The most elements one object or array may have.
///
/// Anthropic takes at most 100,000 messages in a request (*Messages API*), and nothing else in a
/// request is as long. It bounds what a body of a few bytes per element costs in memory.
const MOST_ELEMENTS: usize = 100_000;

/// What becomes of a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Edit {
    Keep,
    Drop,
    Put(String),
}

impl Edit {
    /// Keeps or drops.
    pub(super) fn keep_if(keep: bool) -> Self {
        if keep { Self::Keep } else { Self::Drop }
    }

    /// Returns what stands in the place of `json` afterwards; `None` when it is dropped.
    pub(super) fn apply(self, json: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Keep => Some(Cow::Borrowed(json)),
            Self::Drop => None,
            Self::Put(text) => Some(Cow::Owned(text)),
        }
    }
}

/// One key and its value, both as they were written.
#[derive(Debug)]
pub(super) struct Field<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) raw_key: &'a str,
    pub(super) value: &'a str,
}

/// A JSON object in the order in which it was written; no key twice.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<Field<'a>>);

impl<'a> Object<'a> {
    /// Reads an object; `None` where `json` is another kind of value.
    ///
    /// Errors on broken JSON, on a key that comes twice (readers differ on which one counts) and on
    /// more than 100,000 keys.
    pub(super) fn read(json: &'a str) -> Result<Option<Self>, serde_json::Error> {
        opens_with(json, '{').then(|| serde_json::from_str(json)).transpose()
    }

    pub(super) fn fields(&self) -> &[Field<'a>] {
        &self.0
    }

    pub(super) fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|field| field.key == key).map(|field| field.value)
    }

    /// The text of a string value; `None` where the key is missing or holds something else.
    pub(super) fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(text)
    }

    /// Asks `edit` about every field. The object is rewritten only where something changed.
    pub(super) fn edit<E>(
        &self,
        mut edit: impl FnMut(&str, &'a str) -> Result<Edit, E>,
    ) -> Result<Edit, E> {
        let edits = self
            .0
            .iter()
            .map(|field| edit(&field.key, field.value))
            .collect::<Result<Vec<_>, E>>()?;
        if edits.iter().all(|edit| *edit == Edit::Keep) {
            return Ok(Edit::Keep);
        }
        let mut out = Writer::object(0);
        for (field, edit) in self.0.iter().zip(edits) {
            if let Some(value) = edit.apply(field.value) {
                out.field(field.raw_key, &value);
            }
        }
        Ok(Edit::Put(out.finish()))
    }
}

/// Reads an array; `None` where `json` is another kind of value.
///
/// Errors on broken JSON and on more than 100,000 elements.
pub(super) fn array(json: &str) -> Result<Option<Vec<&str>>, serde_json::Error> {
    let items =
        opens_with(json, '[').then(|| serde_json::from_str::<Array<'_>>(json)).transpose()?;
    Ok(items.map(|items| items.0))
}

/// Asks `edit` about every element. The array is rewritten only where something changed.
pub(super) fn edit_all<'a, E>(
    items: &[&'a str],
    edit: impl FnMut(&'a str) -> Result<Edit, E>,
) -> Result<Edit, E> {
    let edits = items.iter().copied().map(edit).collect::<Result<Vec<_>, E>>()?;
    if edits.iter().all(|edit| *edit == Edit::Keep) {
        return Ok(Edit::Keep);
    }
    let mut out = Writer::array();
    for (item, edit) in items.iter().zip(edits) {
        if let Some(value) = edit.apply(item) {
            out.item(&value);
        }
    }
    Ok(Edit::Put(out.finish()))
}

/// The text of a string; `None` for other values and for escapes that are no text.
pub(super) fn text(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether a value says nothing: `null`, `[]`, `{}` or `""`.
pub(super) fn is_blank(json: &str) -> bool {
    let inside = |open, close| {
        json.strip_prefix(open)
            .and_then(|rest: &str| rest.strip_suffix(close))
            .is_some_and(|inner| inner.trim_ascii().is_empty())
    };
    json == "null" || json == r#""""# || inside('[', ']') || inside('{', '}')
}

/// Writes one object or array.
#[derive(Debug)]
pub(super) struct Writer {
    out: String,
    close: char,
}

impl Writer {
    pub(super) fn object(capacity: usize) -> Self {
        let mut out = String::with_capacity(capacity.max(2));
        out.push('{');
        Self { out, close: '}' }
    }

    pub(super) fn array() -> Self {
        Self { out: String::from("["), close: ']' }
    }

    /// Writes a field; `raw_key` carries its quotes.
    pub(super) fn field(&mut self, raw_key: &str, value: &str) {
        self.item(raw_key);
        self.out.push(':');
        self.out.push_str(value);
    }

    pub(super) fn item(&mut self, value: &str) {
        if self.out.len() > 1 {
            self.out.push(',');
        }
        self.out.push_str(value);
    }

    pub(super) fn finish(mut self) -> String {
        self.out.push(self.close);
        self.out
    }
}

/// Whether a value is an object (`{`) or an array (`[`), as far as its first character tells.
pub(super) fn opens_with(json: &str, bracket: char) -> bool {
    json.trim_ascii_start().starts_with(bracket)
}

struct Array<'a>(Vec<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Array<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ItemsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Object<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<&'de RawValue, &'de RawValue>()? {
            if fields.len() == MOST_ELEMENTS {
                return Err(A::Error::custom("too many keys in one object"));
            }
            let (raw_key, value) = (key.get(), value.get());
            let key = text(raw_key).ok_or_else(|| A::Error::custom("a key that is no text"))?;
            fields.push(Field { key, raw_key, value });
        }
        let mut keys: Vec<&str> = fields.iter().map(|field| &*field.key).collect();
        keys.sort_unstable();
        if keys.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(A::Error::custom("a key twice in one object"));
        }
        Ok(Object(fields))
    }
}

struct ItemsVisitor;

impl<'de> Visitor<'de> for ItemsVisitor {
    type Value = Array<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element::<&'de RawValue>()? {
            if items.len() == MOST_ELEMENTS {
                return Err(A::Error::custom("too many elements in one array"));
            }
            items.push(item.get());
        }
        Ok(Array(items))
    }
}
