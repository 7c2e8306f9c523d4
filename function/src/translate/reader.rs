//! What does reading a request cost, and is anybody still waiting for it?
//!
//! Every pass over a request reads through one [`Reader`]. An object or an array costs the length
//! of its text each time it is read, so what was read once too often is seen as a number, in a test
//! and here: a body that would cost more than its length allows is refused, whatever it looks like.

use std::cell::Cell;
use std::fmt;

use super::Untranslatable;
use super::json::{self, Object, opens_with};

/// How often a whole body may be read until it is translated.
///
/// A block that stands as deep as blocks may is read 25 times on its way, and a mend cuts through
/// what the translation has made longer.
const MOST_READINGS: usize = 100;

/// Reads JSON one level deep, and counts.
pub(super) struct Reader<'w> {
    left: Cell<usize>,
    watch: &'w dyn Fn(usize) -> bool,
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").field("left", &self.left).finish_non_exhaustive()
    }
}

impl<'w> Reader<'w> {
    /// `watch` is told before each reading how many bytes it takes; false ends the work.
    pub(super) fn new(body: &[u8], watch: &'w dyn Fn(usize) -> bool) -> Self {
        Self { left: Cell::new(body.len().saturating_mul(MOST_READINGS)), watch }
    }

    /// As [`Object::read`].
    pub(super) fn object<'a>(&self, json: &'a str) -> Result<Option<Object<'a>>, Untranslatable> {
        if !opens_with(json, '{') {
            return Ok(None);
        }
        self.spend(json)?;
        Ok(Object::read(json)?)
    }

    /// As [`json::array`].
    pub(super) fn array<'a>(&self, json: &'a str) -> Result<Option<Vec<&'a str>>, Untranslatable> {
        if !opens_with(json, '[') {
            return Ok(None);
        }
        self.spend(json)?;
        Ok(json::array(json)?)
    }

    fn spend(&self, json: &str) -> Result<(), Untranslatable> {
        if !(self.watch)(json.len()) {
            return Err(Untranslatable::Abandoned);
        }
        let left = self.left.get().checked_sub(json.len());
        self.left.set(left.ok_or(Untranslatable::Shape("it takes too much work to read"))?);
        Ok(())
    }
}
