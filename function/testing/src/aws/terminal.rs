//! The tool in a terminal, as a person sees it: a pseudo-terminal, and somebody who types.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;

use super::world::World;
use crate::terminal;

/// Rows and columns: none are told.
const SIZE: (u16, u16) = (0, 0);

/// What the screen showed, as it was written, and how the tool ended.
#[derive(Debug)]
pub struct Screen {
    pub code: Option<i32>,
    pub text: String,
}

/// Starts the tool in a terminal, whose other end this is.
pub fn start(world: &World, words: &[&str], variables: &[(&str, &str)]) -> (Child, File) {
    let mut command = world.command(words);
    let master = terminal::open(&mut command, SIZE);
    command.envs(variables.iter().copied());
    // What is left open here would keep the terminal from ending: the command goes with its ends.
    (world.proxy.launch(&mut command), master)
}

/// Runs the tool; whenever it asks, `answer` is typed.
pub fn run(world: &World, words: &[&str], variables: &[(&str, &str)], answer: &str) -> Screen {
    run_with(world, words, variables, || answer)
}

/// Runs the tool; whenever it asks, `answer` says what is typed. No cap is wanted.
pub fn run_with<'a>(
    world: &World,
    words: &[&str],
    variables: &[(&str, &str)],
    answer: impl FnMut() -> &'a str,
) -> Screen {
    run_capped(world, words, variables, (answer, || "none\n"))
}

/// Runs the tool; `answer` says what is typed where it asks for a yes, `cap` where for a cap.
pub fn run_capped<'a>(
    world: &World,
    words: &[&str],
    variables: &[(&str, &str)],
    (mut answer, mut cap): (impl FnMut() -> &'a str, impl FnMut() -> &'a str),
) -> Screen {
    let (mut child, mut master) = start(world, words, variables);
    let (mut seen, mut piece, mut asked, mut capped) = (Vec::new(), [0; 4096], 0, 0);
    // It ends with an error of its own on Linux, and with nothing elsewhere.
    while let Ok(length @ 1..) = master.read(&mut piece) {
        seen.extend_from_slice(&piece[..length]);
        let text = String::from_utf8_lossy(&seen);
        let questions = text.matches("[y/N] ").count();
        let caps = text.matches("(none: no cap) ").count();
        if caps > capped {
            capped = caps;
            master.write_all(cap().as_bytes()).unwrap();
        }
        if questions > asked {
            asked = questions;
            master.write_all(answer().as_bytes()).unwrap();
        }
    }
    let code = child.wait().unwrap().code();
    let text = String::from_utf8(seen).unwrap().replace("\r\n", "\n");
    // A line that was cleared and written again shows what was written last.
    let lines = text.split('\n').map(|line| line.rsplit("\r\x1b[2K").next().unwrap_or(line));
    Screen { code, text: lines.collect::<Vec<_>>().join("\n") }
}
