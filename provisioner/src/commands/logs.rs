//! `logs`: the function's log, readable; with `--follow` until somebody says stop. Only ever reads.

use std::io;

use function::clock;
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Exit, Failure, Session};
use crate::aws::{CloudError, Kind, OrAbsent as _, Reader};
use crate::cli::LogsArgs;
use crate::proxy::events::{self, Lines, Page};
use crate::proxy::logs::{self, Event, HEAD, LogLine, LogStyle, Tail};
use crate::stack::names::Names;
use crate::view::printer::Printer;

pub(super) async fn run(session: &mut Session, args: LogsArgs) -> Result<Exit, Failure> {
    let group = Names::from(&session.global.name).log_group;
    let cloud = session.connect().await?;
    let reader = cloud.reader();
    let start = args.since.before(clock::now());
    let look = LogStyle { zone: TimeZone::system(), style: session.printer.stdout_style() };
    let mut reading = Reading {
        session,
        args: &args,
        group,
        look,
        tail: Tail::since(start.as_millisecond()),
        reached: false,
        shown: 0,
    };
    let read = reading.run(&reader).await;
    let (shown, group) = (reading.shown, reading.group);
    let is_empty = shown == 0 && Printer::unprinted().is_none();
    if is_empty && matches!(read, Ok(Exit::Done)) && !args.follow {
        session.printer.progress(&format!("{group} has nothing to show since {start}."));
    }
    read
}

struct Reading<'a> {
    session: &'a Session,
    args: &'a LogsArgs,
    group: String,
    look: LogStyle,
    tail: Tail,
    /// AWS has answered once.
    reached: bool,
    /// How many lines were shown.
    shown: u64,
}

/// How often a page is asked for, beside what the SDK does by itself.
const TRIES: u32 = 5;

/// Between two rounds, and two tries.
const PAUSE: f64 = 2.0;

impl Reading<'_> {
    /// Reads round after round; each has as many pages as there are.
    async fn run(&mut self, reader: &Reader) -> Result<Exit, Failure> {
        loop {
            let (from, mut token) = (self.tail.from(), None);
            loop {
                let Some(page) = self.page(from, token.as_deref(), reader).await? else {
                    return Ok(Exit::Interrupted);
                };
                if self.show(page.events).is_err() {
                    // Nobody reads any more.
                    return Ok(Exit::Done);
                }
                let Some(next) = page.next else { break };
                token = Some(next);
            }
            if !self.args.follow {
                return Ok(Exit::Done);
            }
            if self.rest(reader).await {
                return Ok(Exit::Interrupted);
            }
        }
    }

    /// Lets time pass. Says whether it is time to stop.
    async fn rest(&self, reader: &Reader) -> bool {
        tokio::select! {
            () = reader.rest(PAUSE) => false,
            () = self.session.stop.wait() => true,
        }
    }

    /// Reads one page; `None` if it is time to stop. Whoever follows does not give up for what
    /// passes.
    async fn page(
        &mut self,
        from: i64,
        token: Option<&str>,
        reader: &Reader,
    ) -> Result<Option<Page>, Failure> {
        let mut tries = 0;
        loop {
            let asked = self.ask(from, token, reader);
            let asked = tokio::select! {
                asked = asked => asked,
                () = self.session.stop.wait() => return Ok(None),
            };
            let error = match asked {
                Ok(Some(page)) => {
                    self.reached = true;
                    return Ok(Some(page));
                }
                Ok(None) => return Err(self.absent()),
                Err(error) => error,
            };
            tries += 1;
            let passes = matches!(error.kind, Kind::Throttled | Kind::Busy)
                || (self.args.follow && self.reached && error.kind == Kind::Unreachable);
            if !passes || (tries >= TRIES && !self.args.follow) {
                return Err(error.into());
            }
            if tries == 1 {
                self.session.printer.waiting(&format!("{error}; trying again"));
            }
            if self.rest(reader).await {
                return Ok(None);
            }
        }
    }

    async fn ask(
        &self,
        from: i64,
        token: Option<&str>,
        reader: &Reader,
    ) -> Result<Option<Page>, CloudError> {
        // The service leaves most of the others out; we look again at each line.
        let pattern = self.args.user.as_ref().map(|user| format!("\"{user}\""));
        let lines = Lines { log_group: &self.group, from, pattern: pattern.as_deref() };
        events::page(&lines, token, reader).await.or_absent()
    }

    fn absent(&self) -> Failure {
        let Self { group, session, .. } = self;
        let name = &session.global.name;
        let message = format!("there is no log group {group}: no stack named {name} is here");
        Failure::new(Exit::Failed, message)
            .hint("`up` makes one; another is named by --name, --region or --profile")
    }

    /// Prints what is new.
    ///
    /// # Errors
    ///
    /// If nobody reads it any more.
    fn show(&mut self, page: Vec<Event>) -> io::Result<()> {
        let printer = self.session.printer;
        for event in self.tail.fresh(page, clock::now().as_millisecond()) {
            let line = LogLine::parse(&event.message);
            if !self.is_asked_for(&line) {
                continue;
            }
            let at = Timestamp::from_millisecond(event.at).unwrap_or_default();
            if printer.is_json() {
                printer.line(logs::json(&line, at))?;
            } else {
                if self.shown == 0 && printer.is_terminal() {
                    printer.progress(&self.look.style.paint("1", HEAD));
                }
                printer.line(self.look.text(&line, at))?;
            }
            self.shown += 1;
        }
        Ok(())
    }

    /// What the platform says of every request is for `-v` only.
    fn is_asked_for(&self, line: &LogLine) -> bool {
        match &self.args.user {
            Some(user) => line.user() == Some(user),
            None => self.session.global.verbose || !matches!(line, LogLine::Platform { .. }),
        }
    }
}
