//! What goes into Claude Code's `settings.json`, and how does it get in there without disturbing
//! anything else?
//!
//! A person's settings are theirs: only two values are put in, where they belong in the text.
//! Order, spacing and all that is not understood stay as they are, byte for byte. Nothing here
//! reads or writes a file, except [`mod@file`].

pub mod file;

use std::fmt;
use std::ops::Range;

use function::access::ProxyKey;
use function::caller::KEY_HEADER;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The variable that says where requests go.
const BASE_URL: &str = "ANTHROPIC_BASE_URL";
/// The variable that holds headers, one a line.
const HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";

/// Where one person's Claude Code is to ask, and with which key.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Without a slash at its end.
    pub url: &'a str,
    pub key: &'a ProxyKey,
}

/// Why a text cannot take the settings. Nothing of the text is repeated: it may hold secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    #[error("it is not JSON (line {line}, column {column}): mend it first")]
    NotJson { line: usize, column: usize },
    #[error("it is JSON, but not an object such as {{\"env\": {{}}}}")]
    NotAnObject,
    #[error("its \"env\" is not an object")]
    EnvIsNotAnObject,
    #[error("its {0} is not a text")]
    NotText(&'static str),
    #[error("it has {0} twice, and which one counts is anybody's guess: take one out")]
    Twice(&'static str),
}

impl Access<'_> {
    /// The whole document for somebody who has none yet.
    #[must_use]
    pub fn document(&self) -> Value {
        json!({"env": {BASE_URL: self.url, HEADERS: self.header()}})
    }

    /// A line for a shell that asks for one small answer; the credential is taken from there.
    #[must_use]
    pub fn curl(&self) -> String {
        let Self { url, key } = self;
        let key = key.reveal();
        format!(
            "curl {url}/v1/messages \\\n  -H '{KEY_HEADER}: {key}' \\\n  \
             -H \"x-api-key: $ANTHROPIC_API_KEY\" -H 'anthropic-version: 2023-06-01' \\\n  \
             -H 'content-type: application/json' \\\n  \
             -d '{{\"model\":\"claude-haiku-4-5\",\"max_tokens\":16,\
             \"messages\":[{{\"role\":\"user\",\"content\":\"hello\"}}]}}'"
        )
    }

    fn header(&self) -> String {
        format!("{KEY_HEADER}: {}", self.key.reveal())
    }

    /// Puts the two values into `text`, which is a whole `settings.json`; an empty one becomes it.
    ///
    /// # Errors
    ///
    /// [`Unfit`], where it would have to be guessed what is meant.
    pub fn merged(&self, text: &str) -> Result<String, Unfit> {
        if text.trim().is_empty() {
            return Ok(format!("{:#}\n", self.document()));
        }
        let whole = Object::read(text, text, Unfit::NotAnObject)?;
        let splices = match whole.only("env")? {
            None => {
                let env = [(BASE_URL, self.url), (HEADERS, &self.header())];
                vec![whole.with(text, "env", &whole.layout(text).object(&env))]
            }
            Some(env) => self.env_splices(text, &whole, env)?,
        };
        Ok(splice(text, splices))
    }

    fn env_splices(&self, text: &str, whole: &Object<'_>, env: &str) -> Result<Vec<Splice>, Unfit> {
        let env = Object::read(text, env, Unfit::EnvIsNotAnObject)?;
        let old = env.text_of(HEADERS)?;
        let wanted = [
            (BASE_URL, env.text_of(BASE_URL)?, self.url.to_owned()),
            (HEADERS, old.clone(), self.headers(old.as_deref().unwrap_or_default())),
        ];
        if env.members.is_empty() {
            let members = wanted.each_ref().map(|(name, _, value)| (*name, value.as_str()));
            return Ok(vec![(env.place, whole.layout(text).object(&members))]);
        }
        let (known, new): (Vec<_>, Vec<_>) =
            wanted.iter().partition(|(_, before, _)| before.is_some());
        let mut splices = Vec::new();
        for (name, _, value) in known {
            let place = env.only(name)?.map(|value| place(text, value));
            splices.extend(place.map(|place| (place, quoted(value))));
        }
        let members = new.iter().map(|(name, _, value)| env.member(text, name, &quoted(value)));
        let members: String = members.collect();
        splices.push((env.end(text), members));
        Ok(splices)
    }

    /// The headers of `old`, one a line, with ours in the place of one of the same name.
    fn headers(&self, old: &str) -> String {
        let is_ours = |line: &&str| {
            let name = line.split_once(':').map_or(*line, |(name, _)| name);
            name.trim().eq_ignore_ascii_case(KEY_HEADER)
        };
        let others = old.lines().filter(|line| !is_ours(line) && !line.trim().is_empty());
        let ours = self.header();
        others.chain([ours.as_str()]).collect::<Vec<_>>().join("\n")
    }
}

/// What replaces a part of the text.
type Splice = (Range<usize>, String);

fn splice(text: &str, mut splices: Vec<Splice>) -> String {
    splices.sort_by_key(|(place, _)| place.start);
    let mut merged = text.to_owned();
    for (place, new) in splices.into_iter().rev() {
        merged.replace_range(place, &new);
    }
    merged
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Where `part`, a piece of `text`, stands in it.
fn place(text: &str, part: &str) -> Range<usize> {
    let start = part.as_ptr().addr() - text.as_ptr().addr();
    start..start + part.len()
}

/// An object with its members in their order, each value as it is written.
#[derive(Debug)]
struct Object<'a> {
    /// From brace to brace.
    place: Range<usize>,
    members: Vec<(String, &'a str)>,
}

impl<'a> Object<'a> {
    /// Reads `part`, a piece of `text`.
    fn read(text: &str, part: &'a str, otherwise: Unfit) -> Result<Self, Unfit> {
        let broken = |error: serde_json::Error| {
            let line = error.line();
            let offset = if line == 1 { place(text, part).start } else { 0 };
            Unfit::NotJson { line, column: error.column() + offset }
        };
        let raw: &RawValue = serde_json::from_str(part).map_err(broken)?;
        if !raw.get().starts_with('{') {
            return Err(otherwise);
        }
        let Members(members) = serde_json::from_str(part).map_err(broken)?;
        Ok(Self { place: place(text, raw.get()), members })
    }

    /// The value of this name, as it is written.
    fn only(&self, name: &'static str) -> Result<Option<&'a str>, Unfit> {
        let mut found = self.members.iter().filter(|(known, _)| known == name);
        let first = found.next().map(|(_, value)| *value);
        if found.next().is_some() { Err(Unfit::Twice(name)) } else { Ok(first) }
    }

    fn text_of(&self, name: &'static str) -> Result<Option<String>, Unfit> {
        let Some(value) = self.only(name)? else { return Ok(None) };
        serde_json::from_str(value).map(Some).map_err(|_| Unfit::NotText(name))
    }

    /// What stands between the brace and the first member, and so before each new one.
    fn gap<'t>(&self, text: &'t str) -> &'t str {
        let inside = &text[self.place.start + 1..self.place.end];
        &inside[..inside.len() - inside.trim_start().len()]
    }

    /// Where a new member goes: behind the last one.
    fn end(&self, text: &str) -> Range<usize> {
        let last = self.members.last().map(|(_, value)| place(text, value).end);
        let end = last.unwrap_or(self.place.start + 1);
        end..end
    }

    fn member(&self, text: &str, name: &str, value: &str) -> String {
        let gap = self.gap(text);
        let comma = if self.members.is_empty() { "" } else { "," };
        let gap = if gap.is_empty() && !comma.is_empty() { " " } else { gap };
        format!("{comma}{gap}{}: {value}", quoted(name))
    }

    /// Adds one member.
    fn with(&self, text: &str, name: &str, value: &str) -> Splice {
        if self.members.is_empty() {
            let member = format!("{{\n  {}: {value}\n}}", quoted(name));
            return (self.place.clone(), member);
        }
        (self.end(text), self.member(text, name, value))
    }

    /// How objects inside this one, the outermost, are laid out.
    fn layout<'t>(&self, text: &'t str) -> Layout<'t> {
        let gap = if self.members.is_empty() { "\n  " } else { self.gap(text) };
        let (start, indent) = gap.rsplit_once('\n').unwrap_or(("", ""));
        let newline = if start.ends_with('\r') { "\r\n" } else { "\n" };
        Layout { newline: gap.contains('\n').then_some(newline), indent }
    }
}

/// One step of indentation, and how lines end; `None` where all is on one line.
#[derive(Debug, Clone, Copy)]
struct Layout<'a> {
    newline: Option<&'static str>,
    indent: &'a str,
}

impl Layout<'_> {
    /// An object of texts that is a member of the outermost one.
    fn object(self, members: &[(&str, &str)]) -> String {
        let members =
            members.iter().map(|(name, value)| format!("{}: {}", quoted(name), quoted(value)));
        let members: Vec<_> = members.collect();
        let Some(newline) = self.newline else { return format!("{{{}}}", members.join(", ")) };
        let indent = self.indent;
        let lines = members.join(&format!(",{newline}{indent}{indent}"));
        format!("{{{newline}{indent}{indent}{lines}{newline}{indent}}}")
    }
}

/// Names and values in their order, also where a name comes twice.
struct Members<'a>(Vec<(String, &'a str)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &'de RawValue>()? {
                    members.push((name, value.get()));
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(All)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_empty_file_becomes_a_whole_document() {
        insta::assert_snapshot!(merged(" \n").unwrap(), @r#"
        {
          "env": {
            "ANTHROPIC_BASE_URL": "https://proxy.example",
            "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
          }
        }
        "#);
    }

    #[test]
    fn everything_else_stays_byte_for_byte() {
        let text = "{\n    \"b\" : [1,2],   \"env\": {\n\t\"A\":\"\\u00e4\",\n\t\
                    \"ANTHROPIC_BASE_URL\" :  \"https://old\"  },\n \"a\":1.50e3 }";
        insta::assert_snapshot!(merged(text).unwrap(), @r#"
        {
            "b" : [1,2],   "env": {
        	"A":"\u00e4",
        	"ANTHROPIC_BASE_URL" :  "https://proxy.example",
        	"ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"  },
         "a":1.50e3 }
        "#);
    }

    #[test]
    fn a_new_env_is_laid_out_like_its_surroundings() {
        insta::assert_snapshot!(merged("{\n    \"model\": \"opus\"\n}\n").unwrap(), @r#"
        {
            "model": "opus",
            "env": {
                "ANTHROPIC_BASE_URL": "https://proxy.example",
                "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
            }
        }
        "#);
        let on_one_line = merged(r#"{"model":"opus"}"#).unwrap().replace(", \"", ",\n\"");
        insta::assert_snapshot!(on_one_line, @r#"
        {"model":"opus",
        "env": {"ANTHROPIC_BASE_URL": "https://proxy.example",
        "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"}}
        "#);
        insta::assert_snapshot!(merged("{}").unwrap(), @r#"
        {
          "env": {
            "ANTHROPIC_BASE_URL": "https://proxy.example",
            "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
          }
        }
        "#);
        insta::assert_snapshot!(merged("{\r\n  \"env\": {}\r\n}").unwrap().replace('\r', "␍"), @r#"
        {␍
          "env": {␍
            "ANTHROPIC_BASE_URL": "https://proxy.example",␍
            "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"␍
          }␍
        }
        "#);
    }

    #[test]
    fn other_headers_stay_and_an_old_key_goes() {
        let old = r"x-team: a\nX-Claude-Proxy-Key: old\n\nx-b: c:d";
        let text = format!(r#"{{"env": {{"ANTHROPIC_CUSTOM_HEADERS": "{old}"}}}}"#);
        let merged: Value = serde_json::from_str(&merged(&text).unwrap()).unwrap();
        let headers = merged["env"]["ANTHROPIC_CUSTOM_HEADERS"].as_str().unwrap();
        assert_eq!(headers, "x-team: a\nx-b: c:d\nx-claude-proxy-key: KEY");
    }

    #[test]
    fn what_would_have_to_be_guessed_is_refused() {
        let refused = |text| merged(text).unwrap_err().to_string();
        assert_eq!(refused("{\"a\": 1,}"), "it is not JSON (line 1, column 9): mend it first");
        assert_eq!(refused("// a\n{}"), "it is not JSON (line 1, column 1): mend it first");
        assert_eq!(
            refused("\n{\n  \"a\": x\n}"),
            "it is not JSON (line 3, column 8): mend it first"
        );
        assert_eq!(refused("{} {}"), "it is not JSON (line 1, column 4): mend it first");
        assert_eq!(refused("[]"), r#"it is JSON, but not an object such as {"env": {}}"#);
        assert_eq!(refused(r#"{"env": "x"}"#), r#"its "env" is not an object"#);
        assert_eq!(
            refused(r#"{"env": {"ANTHROPIC_BASE_URL": 1}}"#),
            "its ANTHROPIC_BASE_URL is not a text"
        );
        let twice = "it has env twice, and which one counts is anybody's guess: take one out";
        assert_eq!(refused(r#"{"env": {}, "env": {}}"#), twice);
    }

    proptest! {
        #[test]
        fn merging_changes_two_values_and_nothing_else(
            whole in objects(), env in proptest::option::of(objects()), pretty in any::<bool>(),
        ) {
            let mut before = whole;
            if let Some(env) = env {
                before["env"] = env;
            }
            let text = if pretty { format!("{before:#}") } else { before.to_string() };
            let mut after: Value = serde_json::from_str(&merged(&text).unwrap()).unwrap();
            let env = after["env"].as_object_mut().unwrap();
            prop_assert_eq!(env.remove(BASE_URL), Some(json!("https://proxy.example")));
            prop_assert_eq!(env.remove(HEADERS), Some(json!("x-claude-proxy-key: KEY")));
            if before.get("env").is_none() && env.is_empty() {
                after.as_object_mut().unwrap().remove("env");
            }
            prop_assert_eq!(before, after);
        }

        #[test]
        fn no_text_makes_it_panic(text in "[{}\\[\\]\":,a-z0-9 \n\\\\ä]{0,40}") {
            drop(merged(&text));
        }
    }

    fn objects() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[ -~äß\n\"\\\\]{0,8}".prop_map(Value::from),
        ];
        let value = leaf.prop_recursive(2, 8, 3, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                proptest::collection::btree_map("[a-z{},\"]{1,4}", inner, 0..3)
                    .prop_map(|all| Value::Object(all.into_iter().collect())),
            ]
        });
        proptest::collection::btree_map("[a-zA-Z{}:,\"\\\\ ]{1,6}", value, 0..4)
            .prop_map(|all| Value::Object(all.into_iter().collect()))
            .prop_filter("`env` is put in by the test", |all| all.get("env").is_none())
    }

    /// The text merged, with the key shortened.
    fn merged(text: &str) -> Result<String, Unfit> {
        let key = ProxyKey::from_random([7; 32]);
        let access = Access { url: "https://proxy.example", key: &key };
        access.merged(text).map(|merged| merged.replace(key.reveal(), "KEY"))
    }
}
