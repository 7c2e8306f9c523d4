//! What this process has found out about models that the tables do not say.
//!
//! Bounded by the number of models; a lesson is forgotten after a day, since Bedrock learns too.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::failover::cooldown::Timestamp;
use crate::translate::mend::{Lesson, Mends};
use crate::translate::model::Model;

/// A lesson holds this long.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Lessons about more models than this are not kept.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Lessons(Mutex<BTreeMap<String, (Lesson, Timestamp)>>);

impl Lessons {
    /// How a request for a model is translated from the start.
    pub(super) fn mends(&self, model: &Model, now: Timestamp) -> Mends {
        let mut lesson = Lesson::known(model);
        let lessons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((learnt, until)) = lessons.get(model.name())
            && *until > now
        {
            lesson.join(learnt);
        }
        Mends::from_lesson(&lesson)
    }

    /// Remembers what a mended request has shown, and says so where it is news.
    pub(super) fn learn(&self, model: &Model, mends: &Mends, now: Timestamp) {
        let lesson = mends.lesson();
        if lesson.is_empty() {
            return;
        }
        let mut lessons = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lessons.len() >= MOST {
            lessons.retain(|_, (_, until)| *until > now);
        }
        if lessons.len() >= MOST && !lessons.contains_key(model.name()) {
            return;
        }
        let (known, until) = lessons.entry(model.name().to_owned()).or_default();
        if *until <= now {
            *known = Lesson::default();
        }
        if known.join(&lesson) {
            *until = now + LIFETIME;
            let rows = known.rows(model);
            tracing::warn!("bedrock refuses what the table says it takes; for REFUSED: {rows}");
        }
    }
}
