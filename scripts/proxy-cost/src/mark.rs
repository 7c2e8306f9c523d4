//! The moment at which an event was sent, written into the event: server and client are one process.

use std::sync::OnceLock;
use std::time::Instant;

const SIGN: &[u8] = b"@@";
const DIGITS: usize = 16;
const LENGTH: usize = SIGN.len() + DIGITS;

/// Nanoseconds since the first call.
pub fn now() -> u64 {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed().as_nanos() as u64
}

/// The moment as it is written.
pub fn written() -> String {
    format!("@@{:016x}", now())
}

/// Finds marks in pieces that may cut them anywhere.
#[derive(Debug, Default)]
pub struct Finder(Vec<u8>);

impl Finder {
    /// Shows the moment of each mark that is complete now.
    pub fn push(&mut self, piece: &[u8], mut found: impl FnMut(u64)) {
        self.0.extend_from_slice(piece);
        let mut at = 0;
        while let Some(next) = memchr::memmem::find(&self.0[at..], SIGN) {
            let Some(digits) = self.0.get(at + next + SIGN.len()..at + next + LENGTH) else {
                at += next;
                self.0.drain(..at);
                return;
            };
            let digits = std::str::from_utf8(digits).ok();
            if let Some(moment) = digits.and_then(|text| u64::from_str_radix(text, 16).ok()) {
                found(moment);
            }
            at += next + LENGTH;
        }
        // A sign may have been cut in two.
        let rest = usize::from(self.0.last() == Some(&SIGN[0]) && at < self.0.len());
        self.0.drain(..self.0.len() - rest);
    }
}
