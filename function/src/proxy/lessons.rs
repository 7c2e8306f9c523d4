//! What has been found out about models that the tables do not say.
//!
//! Bounded by the number of models; a lesson is forgotten after a day, since Bedrock learns too.
//! What other instances have found out is read every five minutes at most, and only on the way to
//! Bedrock.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::cached_store::{CachedStore, Write, elapsed};
use crate::failover::cooldown::Timestamp;
use crate::store::LESSON_LIFETIME;
use crate::translate::mend::{Lesson, Mends};
use crate::translate::model::Model;

/// What others know is not asked for again within this time.
const READ_EVERY: Duration = Duration::from_secs(5 * 60);
/// Lessons about more models than this are not kept.
const MOST: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Lessons(Mutex<BTreeMap<String, Page>>);

/// What is known about one model.
#[derive(Debug, Default)]
struct Page {
    lesson: Lesson,
    until: Timestamp,
    /// When others were asked last.
    read_at: Option<Timestamp>,
}

impl Page {
    /// Whether it holds at `now`. A lesson that would hold for longer than any was learnt while a
    /// clock was wrong.
    fn holds(&self, now: Timestamp) -> bool {
        let left = self.until.duration_since(now);
        left.is_positive() && left <= LESSON_LIFETIME
    }

    /// Adds to what still holds; false if that is nothing new.
    fn add(&mut self, lesson: &Lesson, until: Timestamp, now: Timestamp) -> bool {
        if !self.holds(now) {
            (self.until, self.lesson) = (Timestamp::UNIX_EPOCH, Lesson::default());
        }
        let news = self.lesson.join(lesson);
        if news {
            self.until = self.until.max(until);
        }
        news
    }
}

impl Lessons {
    /// How a request for a model is translated from the start.
    pub(super) fn mends(&self, model: &Model, now: Timestamp) -> Mends {
        let mut lesson = Lesson::known(model);
        if let Some(page) = self.pages().get(model.name()).filter(|page| page.holds(now)) {
            lesson.join(&page.lesson);
        }
        Mends::from_lesson(&lesson)
    }

    /// Takes over what other instances have found out, where that was not done lately.
    pub(super) async fn read(&self, model: &Model, store: &CachedStore, now: Timestamp) {
        let is_due = |page: &mut Page| {
            let due = elapsed(page.read_at, READ_EVERY, now);
            if due {
                page.read_at = Some(now);
            }
            due
        };
        // A table that has just failed is not waited for once more.
        let readable = store.is_shared() && !store.is_failing();
        if !readable || !self.write(model, now, is_due).unwrap_or(false) {
            return;
        }
        if let Some((lesson, until)) = store.lesson(model.name(), now).await {
            self.write(model, now, |page| page.add(&lesson, until, now));
        }
    }

    /// Remembers what a mended request has shown, says so where it is news, and tells the others.
    pub(super) fn learn(
        &self,
        model: &Model,
        mends: &Mends,
        store: &Arc<CachedStore>,
        now: Timestamp,
    ) -> Option<Write> {
        let lesson = mends.lesson();
        let until = now.saturating_add(LESSON_LIFETIME).unwrap_or(Timestamp::MAX);
        let learnt = self
            .write(model, now, |page| page.add(&lesson, until, now).then(|| page.lesson.clone()));
        let known = learnt.flatten()?;
        let rows = known.rows(model);
        tracing::warn!("bedrock refuses what the table says it takes; for REFUSED: {rows}");
        let tell = || store.remember_lesson(model.name().to_owned(), known);
        store.is_shared().then(tell)
    }

    /// Writes on the page of a model, if there is room for one.
    fn write<T>(
        &self,
        model: &Model,
        now: Timestamp,
        change: impl FnOnce(&mut Page) -> T,
    ) -> Option<T> {
        let mut pages = self.pages();
        if pages.len() >= MOST {
            pages.retain(|_, page| page.holds(now));
        }
        let room = pages.len() < MOST || pages.contains_key(model.name());
        room.then(|| change(pages.entry(model.name().to_owned()).or_default()))
    }

    fn pages(&self) -> MutexGuard<'_, BTreeMap<String, Page>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
