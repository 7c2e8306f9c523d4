//! What did Bedrock refuse, and which one thing makes the request acceptable?
//!
//! A client that sees a 400 loses a feature for the rest of its session, so a refusal that names
//! something we can do without is mended below it. Pure: a [`Mends`] only says how the very same
//! request is to be translated once more. What was found out about a model becomes a [`Lesson`].

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::Untranslatable;
use super::cuts::{self, Cut};
use super::json::{Edit, Object, array, text};
use super::model::Model;
use super::reader::Reader;
use super::sentence::{RefusedField, refused};
use super::table::{CAPABILITIES, Capability, Features, REFUSED, TOOLS};

/// A request is mended at most this often.
pub const MOST_MENDS: usize = 3;

/// The most fields that are cut out of a request, and the most that are learnt about a model.
const MOST_CUTS: usize = 32;

/// How a request is translated so that Bedrock takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mends {
    /// What the model does not take after all.
    lesson: Lesson,
    /// Thinking blocks of earlier turns are left out.
    pub(super) without_thinking_blocks: bool,
    /// The model is not asked to think.
    pub(super) without_thinking: bool,
    /// System messages among the messages are said in the user's place.
    pub(super) without_system_messages: bool,
    /// Claude Code's attribution line is left out of the system prompt.
    pub(super) without_attribution: bool,
}

/// What a model has been found not to take: betas and fields by the names in our own tables, and
/// fields deeper inside by their paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lesson {
    known: BTreeSet<&'static str>,
    cuts: BTreeSet<Cut>,
}

impl Lesson {
    /// What the table says about a model from the start.
    #[must_use]
    pub fn known(model: &Model) -> Self {
        Self::of(REFUSED.iter().filter(|(name, _)| *name == model.name()).map(|(_, name)| *name))
    }

    /// A lesson that was learnt elsewhere; what a mend may not take is left out.
    #[must_use]
    pub fn of<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let mut lesson = Self::default();
        for name in names {
            if let Some(known) = in_table(name) {
                lesson.known.insert(known);
            } else if let Some(cut) = Cut::named(name) {
                lesson.cut(cut);
            }
        }
        lesson
    }

    /// What is not taken: the table's names first, each part in the order of the alphabet.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.known.iter().copied().chain(self.cuts.iter().map(Cut::name))
    }

    /// The lesson as rows for the table.
    #[must_use]
    pub fn rows(&self, model: &Model) -> String {
        let row = |refused| format!("(\"{}\", \"{refused}\"),", model.name());
        self.names().map(row).collect::<Vec<_>>().join(" ")
    }

    /// Takes over what another lesson knows; false if that is nothing new.
    pub fn join(&mut self, other: &Self) -> bool {
        let before = self.len();
        self.known.extend(&other.known);
        other.cuts.iter().cloned().for_each(|cut| self.cut(cut));
        self.len() > before
    }

    /// Whether there is nothing to remember.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn len(&self) -> usize {
        self.known.len() + self.cuts.len()
    }

    fn cut(&mut self, cut: Cut) {
        if self.cuts.len() < MOST_CUTS {
            self.cuts.insert(cut);
        }
    }
}

impl Mends {
    /// Begins with what has been learnt.
    #[must_use]
    pub fn from_lesson(lesson: &Lesson) -> Self {
        Self { lesson: lesson.clone(), ..Self::default() }
    }

    /// What is worth remembering, once Bedrock has taken a request that was mended like this.
    #[must_use]
    pub fn lesson(&self) -> Lesson {
        self.lesson.clone()
    }

    /// Adds what a refusal asks for: all fields that it names; false where it asks for nothing new.
    ///
    /// `message` is Bedrock's sentence, `sent` the body that it refused.
    pub fn add(&mut self, message: &str, sent: &[u8]) -> bool {
        let before = self.clone();
        let lower = message.to_ascii_lowercase();
        if ["invalid beta flag", "anthropic-beta", "anthropic_beta"]
            .iter()
            .any(|p| lower.contains(p))
        {
            self.refuse_betas(&lower, sent);
        }
        for refused in refused(message) {
            self.refuse_field(&refused, sent);
        }
        if *self == before {
            self.refuse_by_sentence(&lower);
        }
        *self != before
    }

    /// A refusal whose whole wording is known.
    fn refuse_by_sentence(&mut self, lower: &str) {
        if lower.contains("long context beta") {
            self.lesson.known.extend(in_table("context-1m-2025-08-07"));
        } else if lower.contains("does not support the effort parameter") {
            self.lesson.known.extend(in_table("output_config.effort"));
        } else if lower.contains("x-anthropic-billing-header") {
            self.without_attribution = true;
        } else if lower.contains("expected `thinking`") {
            self.without_thinking = true;
        } else if is_about_thinking_blocks(lower) {
            self.without_thinking_blocks = true;
        } else if lower.contains("role 'system'") || lower.contains("role \"system\"") {
            self.without_system_messages = true;
        }
    }

    /// The betas that are named, else the likeliest: Bedrock mostly does not say which it is.
    fn refuse_betas(&mut self, lower: &str, sent: &[u8]) {
        let body = str::from_utf8(sent).ok().and_then(|sent| Object::read(sent).ok()?);
        let list = |key| {
            let values = body.as_ref().and_then(|body| array(body.get(key)?).ok()?);
            values.unwrap_or_default()
        };
        let sent: Vec<_> = list("anthropic_beta").into_iter().filter_map(text).collect();
        let all = CAPABILITIES.iter().flat_map(|capability| capability.betas).copied();
        let sent: Vec<_> = all.filter(|beta| sent.iter().any(|sent| sent == beta)).collect();
        let named: Vec<_> = sent.iter().copied().filter(|beta| lower.contains(beta)).collect();
        if !named.is_empty() {
            self.lesson.known.extend(named);
            return;
        }
        let kind = |tool| Object::read(tool).ok()??.text("type");
        let beta = |kind: Cow<'_, str>| TOOLS.iter().find(|tool| tool.is(&kind))?.beta;
        let needed: Vec<_> = list("tools").into_iter().filter_map(kind).filter_map(beta).collect();
        let suspects = |capability: &&Capability| {
            let is_one = |beta: &&str| sent.contains(beta) && !needed.contains(beta);
            capability.betas.iter().any(is_one)
        };
        let Some(round) = CAPABILITIES.iter().filter(suspects).map(|c| c.round).min() else {
            return;
        };
        for capability in CAPABILITIES.iter().filter(|c| c.round == round).filter(suspects) {
            self.lesson.known.extend(capability.betas);
        }
    }

    fn refuse_field(&mut self, refused: &RefusedField<'_>, sent: &[u8]) {
        let path = &refused.path;
        if let Some(known) = known_field(refused, sent) {
            self.lesson.known.insert(known);
        } else if refused.is_value && matches!(path[..], ["messages", .., "role"]) {
            self.without_system_messages = true;
        } else if let Some(cut) = Cut::at(path) {
            self.lesson.cut(cut);
        }
    }

    /// What the model accepts, as far as it is known now.
    pub(super) fn applied_to(&self, mut features: Features) -> Features {
        let refused = |capability: &&Capability| {
            let names = capability.betas.iter().chain(capability.fields);
            names.into_iter().any(|name| self.lesson.known.contains(name))
        };
        CAPABILITIES
            .iter()
            .filter(refused)
            .for_each(|capability| (capability.without)(&mut features));
        if self.without_system_messages {
            features.system_messages = false;
        }
        features
    }

    /// Whether a beta may be sent.
    pub(super) fn allows(&self, beta: &str) -> bool {
        !self.lesson.known.contains(beta)
    }

    /// Takes out of a top-level field what was refused inside it.
    pub(super) fn edit(
        &self,
        field: (&str, &str),
        reader: &Reader<'_>,
    ) -> Result<Edit, Untranslatable> {
        cuts::edit(&self.lesson.cuts, field, reader)
    }
}

/// The table's own spelling of a beta or field that can be done without.
fn in_table(name: &str) -> Option<&'static str> {
    let names = CAPABILITIES.iter().flat_map(|capability| {
        let fields = capability.fields.iter();
        capability.betas.iter().chain(fields)
    });
    names.copied().find(|known| *known == name)
}

/// The table's name of a field that a model may take or not.
fn known_field(refused: &RefusedField<'_>, sent: &[u8]) -> Option<&'static str> {
    let path = refused.path.as_slice();
    let name = match *path {
        ["metadata" | "safeguards", ..] => path[0].to_owned(),
        ["output_config", "effort"] if refused.is_value && sends_xhigh(sent) => {
            "output_config.effort.xhigh".to_owned()
        }
        [.., "cache_control", "ttl"] | [.., "cache_control", "ephemeral", "ttl"]
            if path[0] == "cache_control" || Cut::at(path).is_some() =>
        {
            "cache_control.ttl".to_owned()
        }
        ["tools", _, key] | ["tools", _, _, key] => format!("tools.{key}"),
        ["thinking", "adaptive" | "disabled" | "enabled", key] => format!("thinking.{key}"),
        [_] | [_, _] => path.join("."),
        _ => return None,
    };
    in_table(&name)
}

/// Whether the effort that was asked for is the one that not every model knows.
fn sends_xhigh(sent: &[u8]) -> bool {
    let body = str::from_utf8(sent).ok().and_then(|sent| Object::read(sent).ok()?);
    let config = body.and_then(|body| Object::read(body.get("output_config")?).ok()?);
    config.and_then(|config| config.text("effort")).as_deref() == Some("xhigh")
}

fn is_about_thinking_blocks(lower: &str) -> bool {
    lower.contains("thinking")
        && ["signature", "bound to a different conversation", "cannot be modified"]
            .iter()
            .any(|words| lower.contains(words))
}
