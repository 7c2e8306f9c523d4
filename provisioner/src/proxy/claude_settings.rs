//! What goes into Claude Code's `settings.json`, and how does it get in there without disturbing
//! anything else?
//!
//! A person's settings are theirs: only where to ask and the key are put in, where they belong in
//! the text, and what says there who answers: a hook beside all others, a status line where there
//! is none.
//! Order, numbers, escapes and all that is not understood stay as they are; what is new gets a line
//! of its own. Nothing here reads or writes a file, except [`mod@file`].

pub mod file;

use function::access::ProxyKey;
use function::caller::KEY_HEADER;
use function::session::client;
use jsonc_parser::ParseOptions;
use jsonc_parser::cst::{CstInputValue, CstNode, CstObject, CstObjectProp, CstRootNode};
use serde_json::{Value, json};

/// The variable that says where requests go.
const BASE_URL: &str = "ANTHROPIC_BASE_URL";
/// The variable that holds headers, one a line.
const HEADERS: &str = "ANTHROPIC_CUSTOM_HEADERS";

/// The member that has the status line.
const STATUS_LINE: &str = "statusLine";

/// A byte order mark (Unicode, *UTF-8 Signature*).
const BOM: char = '\u{feff}';

/// Where one person's Claude Code is to ask, and with which key.
#[derive(Debug, Clone, Copy)]
pub struct ClientConfig<'a> {
    /// Without a slash at its end.
    pub url: &'a str,
    pub key: &'a ProxyKey,
    /// Without what says there who answers: hooks and status line.
    pub plain: bool,
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
    #[error("its \"{0}\" is not as Claude Code has it: mend it first, or choose --plain")]
    NotOfClaudeCode(&'static str),
    #[error("its {0} is not a text")]
    NotText(&'static str),
    #[error("it has {0} twice, and which one counts is anybody's guess: take one out")]
    Twice(&'static str),
}

impl Unfit {
    fn not_json(error: &serde_json::Error) -> Self {
        Self::NotJson { line: error.line(), column: error.column() }
    }
}

impl ClientConfig<'_> {
    /// The whole document for somebody who has none yet.
    #[must_use]
    pub fn document(&self) -> Value {
        let mut whole = json!({"env": {BASE_URL: self.url, HEADERS: self.header()}});
        if !self.plain {
            whole["env"][client::KEY_VARIABLE] = self.key.reveal().into();
            for (event, group) in client::hooks(self.url, true) {
                whole["hooks"][event] = json!([group]);
            }
            whole["statusLine"] = client::status_line(self.url, true);
        }
        whole
    }

    /// The command for whoever has a status line already.
    #[must_use]
    pub fn line_command(&self) -> String {
        client::line_command(self.url, true)
    }

    /// A line for a shell that asks for one small answer; the credential is taken from there.
    #[must_use]
    pub fn curl(&self) -> String {
        let Self { url, key, .. } = self;
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
        // Some editors mark a text by it; whoever reads the file goes by it.
        if let Some(text) = text.strip_prefix(BOM) {
            return self.merged(text).map(|merged| format!("{BOM}{merged}"));
        }
        if text.trim().is_empty() {
            return Ok(format!("{:#}\n", self.document()));
        }
        // The editor below would take more than Claude Code does, such as comments.
        serde_json::from_str::<Value>(text).map_err(|error| Unfit::not_json(&error))?;
        let root = CstRootNode::parse(text, &ParseOptions::default());
        let root = root.map_err(|_| Unfit::NotAnObject)?;
        let whole = root.object_value().ok_or(Unfit::NotAnObject)?;
        let env = match only(&whole, "env")? {
            Some(env) => env.object_value().ok_or(Unfit::EnvIsNotAnObject)?,
            None => whole.object_value_or_set("env"),
        };
        put(&env, BASE_URL, |_| self.url.to_owned())?;
        put(&env, HEADERS, |old| self.headers(old))?;
        if !self.plain {
            put(&env, client::KEY_VARIABLE, |_| self.key.reveal().to_owned())?;
            for (event, group) in client::hooks(self.url, true) {
                self.put_hook(&whole, event, &group)?;
            }
            self.put_line(&whole)?;
        }
        Ok(root.to_string())
    }

    /// Puts a hook in beside all others of its event; one of ours, known by where it asks, gets the
    /// address of today.
    fn put_hook(&self, whole: &CstObject, event: &'static str, new: &Value) -> Result<(), Unfit> {
        let hooks = match only(whole, "hooks")? {
            Some(hooks) => hooks.object_value().ok_or(Unfit::NotOfClaudeCode("hooks"))?,
            None => whole.object_value_or_set("hooks"),
        };
        let groups = match only(&hooks, event)? {
            Some(groups) => groups.array_value().ok_or(Unfit::NotOfClaudeCode(event))?,
            None => hooks.array_value_or_set(event),
        };
        let mut found = false;
        for handler in groups.elements().iter().filter_map(CstNode::as_object).flat_map(handlers) {
            if text_of(&handler, "url").is_some_and(|url| url.ends_with(client::NOTICE)) {
                put(&handler, "url", |_| format!("{}{}", self.url, client::NOTICE))?;
                found = true;
            }
        }
        if !found {
            groups.append(input(new));
        }
        Ok(())
    }

    /// Puts the status line in where there is none, or one of ours.
    fn put_line(&self, whole: &CstObject) -> Result<(), Unfit> {
        let Some(line) = only(whole, STATUS_LINE)? else {
            whole.append(STATUS_LINE, input(&client::status_line(self.url, true)));
            return Ok(());
        };
        match line.object_value().filter(is_our_line) {
            Some(line) => put(&line, "command", |_| self.line_command()),
            None => Ok(()),
        }
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

/// Whether a whole `settings.json` has a status line of somebody else's.
#[must_use]
pub fn has_other_line(text: &str) -> bool {
    let whole: Option<Value> = serde_json::from_str(text.trim_start_matches(BOM)).ok();
    let line = whole.as_ref().and_then(|whole| whole.get(STATUS_LINE));
    let command = line.and_then(|line| line["command"].as_str()).unwrap_or_default();
    line.is_some() && !command.contains(client::LINE)
}

fn is_our_line(line: &CstObject) -> bool {
    text_of(line, "command").is_some_and(|command| command.contains(client::LINE))
}

/// The handlers of one group of hooks.
fn handlers(group: CstObject) -> Vec<CstObject> {
    let handlers = group.array_value("hooks").map(|handlers| handlers.elements());
    handlers.unwrap_or_default().iter().filter_map(CstNode::as_object).collect()
}

fn text_of(object: &CstObject, name: &str) -> Option<String> {
    object.get(name)?.value()?.as_string_lit()?.decoded_value().ok()
}

/// A value as the editor takes it.
fn input(value: &Value) -> CstInputValue {
    match value {
        Value::Null => CstInputValue::Null,
        Value::Bool(value) => CstInputValue::Bool(*value),
        Value::Number(number) => CstInputValue::Number(number.to_string()),
        Value::String(text) => CstInputValue::String(text.clone()),
        Value::Array(items) => CstInputValue::Array(items.iter().map(input).collect()),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| (name.clone(), input(value)));
            CstInputValue::Object(members.collect())
        }
    }
}

/// The member of this name.
fn only(object: &CstObject, name: &'static str) -> Result<Option<CstObjectProp>, Unfit> {
    let members = object.properties().into_iter();
    let mut found = members.filter(|member| member.decoded_name().as_deref() == Some(name));
    let first = found.next();
    if found.next().is_some() { Err(Unfit::Twice(name)) } else { Ok(first) }
}

/// Puts a text in the place of the old one, or behind all else.
fn put(
    object: &CstObject,
    name: &'static str,
    new: impl FnOnce(&str) -> String,
) -> Result<(), Unfit> {
    let Some(member) = only(object, name)? else {
        object.append(name, CstInputValue::String(new("")));
        return Ok(());
    };
    let old = member.value().and_then(|value| value.as_string_lit());
    let old = old.and_then(|old| old.decoded_value().ok()).ok_or(Unfit::NotText(name))?;
    member.set_value(CstInputValue::String(new(&old)));
    Ok(())
}

#[cfg(test)]
mod tests;
