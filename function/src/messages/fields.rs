//! Which fields does a JSON object have, without reading what is in them?
//!
//! A request may be megabytes, of which two words are wanted. Nesting is counted and strings are
//! skipped, at the speed of memory; what is inside of a value may be broken. Whoever needs a value
//! reads it with a parser.

use memchr::memchr_iter;

/// The fields of one object: key and value as they are written, in their order.
///
/// `None` in the place of a field: this is no object.
#[derive(Debug)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Start,
    Within,
    End,
}

impl<'a> Fields<'a> {
    pub(super) const fn of(json: &'a [u8]) -> Self {
        Self { rest: json, state: State::Start }
    }

    fn read(&mut self) -> Option<Scanned<'a>> {
        if self.state == State::Start {
            self.take(b'{')?;
            if self.peek()? == b'}' {
                return self.close();
            }
        } else if self.peek()? == b'}' {
            return self.close();
        } else {
            self.take(b',')?;
        }
        self.state = State::Within;
        self.peek()?;
        let key = self.split(string(self.rest)?);
        self.take(b':')?;
        self.peek()?;
        let value = self.split(value(self.rest)?);
        Some(Scanned::Field(key, value))
    }

    fn close(&mut self) -> Option<Scanned<'a>> {
        self.take(b'}')?;
        self.rest.trim_ascii_start().is_empty().then_some(Scanned::End)
    }

    fn peek(&mut self) -> Option<u8> {
        self.rest = self.rest.trim_ascii_start();
        self.rest.first().copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.rest = &self.rest[1..])
    }

    fn split(&mut self, length: usize) -> &'a [u8] {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }
}

enum Scanned<'a> {
    Field(&'a [u8], &'a [u8]),
    End,
}

impl<'a> Iterator for Fields<'a> {
    type Item = Option<(&'a [u8], &'a [u8])>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.state == State::End {
            return None;
        }
        match self.read() {
            Some(Scanned::Field(key, value)) => Some(Some((key, value))),
            Some(Scanned::End) => {
                self.state = State::End;
                None
            }
            None => {
                self.state = State::End;
                Some(None)
            }
        }
    }
}

/// The length of the string at the head of `json`, with its quotes.
///
/// Looks at quotes only, and back from each: texts of code are full of escapes that are none.
fn string(json: &[u8]) -> Option<usize> {
    let text = json.strip_prefix(b"\"")?;
    let is_escaped = |at: &usize| {
        let slashes = text[..*at].iter().rev().take_while(|byte| **byte == b'\\').count();
        slashes % 2 == 1
    };
    memchr_iter(b'"', text).find(|at| !is_escaped(at)).map(|at| at + 2)
}

/// The length of the value at the head of `json`.
fn value(json: &[u8]) -> Option<usize> {
    let (mut at, mut depth) = (0, 0_usize);
    loop {
        match json.get(at)? {
            b'"' => at += string(&json[at..])?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                // One that this value did not open ends the number or the word before it.
                if depth == 0 {
                    return (at > 0).then_some(at);
                }
                depth -= 1;
                at += 1;
            }
            b',' if depth == 0 => return (at > 0).then_some(at),
            _ => {
                at += 1;
                if depth == 0 {
                    continue;
                }
            }
        }
        if depth == 0 {
            return Some(at);
        }
    }
}
