//! Which answer is right? The contract once more, for the few things that happen here.
//!
//! Shares nothing with the proxy: it reads the plan from front to back, as a person would who has the
//! contract beside it.

use super::plan::{Plan, Reply, Word};

/// The one right answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Right {
    pub(crate) status: u16,
    pub(crate) upstream: &'static str,
    pub(crate) end: End,
    /// Who is asked, in order.
    pub(crate) asked: Vec<&'static str>,
    pub(crate) limit: Limit,
    /// The client is told to come back within 30 s.
    pub(crate) soon: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Whole,
    /// One `event: error` at the end of a stream.
    ErrorEvent,
    /// Half a JSON document, and the connection breaks.
    Broken,
    /// A refusal in the envelope.
    Envelope,
}

/// What has become of the limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// As it was.
    Same,
    Begun,
    Over,
}

pub(crate) fn right(plan: &Plan, limited: bool) -> Right {
    let mut story = Story {
        words: plan.words.iter().copied().collect(),
        replies: plan.replies.iter().copied().collect(),
        stream: plan.stream,
        asked: Vec::new(),
        limit: Limit::Same,
    };
    story.words.reverse();
    story.replies.reverse();
    if limited {
        return match story.bedrock() {
            Ok((status, end)) => story.told(status, "bedrock", end, false),
            Err(passes) => story.anthropic(Some(passes)),
        };
    }
    story.anthropic(None)
}

struct Story {
    words: Vec<Word>,
    replies: Vec<Reply>,
    stream: bool,
    asked: Vec<&'static str>,
    limit: Limit,
}

impl Story {
    fn told(self, status: u16, upstream: &'static str, end: End, soon: bool) -> Right {
        Right { status, upstream, end, asked: self.asked, limit: self.limit, soon }
    }

    /// Asks Anthropic; `failed` says that Bedrock has been asked before, and whether that passes.
    fn anthropic(mut self, failed: Option<bool>) -> Right {
        let mut waited = false;
        let status = loop {
            self.asked.push("anthropic");
            let early = if self.stream { End::ErrorEvent } else { End::Broken };
            match self.words.pop() {
                None | Some(Word::Answer(_)) => {
                    self.limit = Limit::Over;
                    return self.told(200, "anthropic", End::Whole, false);
                }
                Some(Word::CutEarly) => {
                    self.limit = Limit::Over;
                    return self.told(200, "anthropic", early, false);
                }
                Some(Word::CutLate) => {
                    self.limit = Limit::Over;
                    return self.told(200, "anthropic", End::ErrorEvent, false);
                }
                Some(Word::Refused) => {
                    self.limit = Limit::Over;
                    return self.told(401, "anthropic", End::Envelope, false);
                }
                Some(Word::Invalid) => return self.told(400, "anthropic", End::Envelope, false),
                Some(Word::ServerError) => {
                    return self.told(500, "anthropic", End::Envelope, false);
                }
                Some(Word::ShortLimit) if !waited => waited = true,
                Some(Word::ShortLimit) => break 429,
                Some(Word::Limit) => {
                    self.limit = Limit::Begun;
                    break 429;
                }
                Some(Word::Overloaded) => break 529,
                Some(Word::OverloadedLate) => {
                    self.limit = Limit::Over;
                    break 200;
                }
            }
        };
        let answer = match failed {
            Some(passes) => Err(passes),
            None => self.bedrock(),
        };
        match answer {
            Ok((status, end)) => self.told(status, "bedrock", end, false),
            Err(passes) => {
                let end = if status == 200 { End::ErrorEvent } else { End::Envelope };
                self.told(status, "anthropic", end, passes && status == 429)
            }
        }
    }

    /// Asks both regions of Bedrock; an error says whether the failure of one of them will pass.
    fn bedrock(&mut self) -> Result<(u16, End), bool> {
        let mut passes = false;
        for _ in 0..2 {
            self.asked.push("bedrock");
            match self.replies.pop() {
                None | Some(Reply::Answer(_)) => return Ok((200, End::Whole)),
                Some(Reply::Invalid) => return Ok((400, End::Envelope)),
                Some(Reply::FailsLate | Reply::CutLate) => return Ok((200, End::ErrorEvent)),
                Some(Reply::Throttled | Reply::FailsEarly) => passes = true,
                Some(Reply::Denied) => {}
            }
        }
        Err(passes)
    }
}
