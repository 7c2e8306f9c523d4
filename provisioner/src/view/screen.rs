//! Where `status --watch` draws: a terminal is drawn over, anything else gets one block after the
//! other.
//!
//! A terminal is given back as it was found, however the command ends.

use std::io::{self, Write as _};

use crate::view::printer::Printer;
use crate::view::watch::{StyledLine, fit};

/// Another screen, without a cursor, and without lines that go on in the next one (xterm, *Control
/// Sequences*).
const ENTER: &str = "\x1b[?1049h\x1b[?25l\x1b[?7l";
const LEAVE: &str = "\x1b[?7h\x1b[?25h\x1b[?1049l";

/// To the first place; to the end of the line, and of the screen, all is cleared (ECMA-48).
const HOME: &str = "\x1b[H";
const CLEAR_LINE: &str = "\x1b[K";
const CLEAR_BELOW: &str = "\x1b[J";

/// What a terminal that does not tell its size is taken for: columns and rows.
const USUAL: (usize, usize) = (80, 24);

/// Standard output, as something that is drawn on.
#[derive(Debug)]
pub struct Screen {
    printer: Printer,
    /// The terminal is ours, and has to be given back.
    entered: bool,
    blocks: u64,
}

impl Screen {
    /// Draws nothing yet.
    #[must_use]
    pub const fn new(printer: Printer) -> Self {
        Self { printer, entered: false, blocks: 0 }
    }

    /// Shows these lines instead of those before.
    ///
    /// # Errors
    ///
    /// If nobody reads standard output any more.
    pub fn show(&mut self, lines: Vec<StyledLine>) -> io::Result<()> {
        let style = self.printer.stdout_style();
        let painted = |lines: &[StyledLine]| -> Vec<String> {
            lines.iter().map(|line| line.painted(style)).collect()
        };
        if !self.printer.redraws() {
            let gap = if self.blocks > 0 { "\n" } else { "" };
            self.blocks += 1;
            return self.printer.line(format!("{gap}{}", painted(&lines).join("\n")));
        }
        let enter = if self.entered { "" } else { ENTER };
        self.entered = true;
        let lines = painted(&fit(lines, size()));
        let text = lines.join(&format!("{CLEAR_LINE}\n"));
        let mut out = io::stdout();
        write!(out, "{enter}{HOME}{text}{CLEAR_LINE}{CLEAR_BELOW}")?;
        out.flush()
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if self.entered {
            let mut out = io::stdout();
            drop(write!(out, "{LEAVE}"));
            drop(out.flush());
        }
    }
}

/// Columns and rows of the terminal.
fn size() -> (usize, usize) {
    let size = terminal_size::terminal_size_of(io::stdout());
    size.map_or(USUAL, |(width, height)| (width.0.into(), height.0.into()))
}
