//! A pseudo-terminal: one end for a program, the other for whoever looks and types.

use std::fs::{File, OpenOptions};
use std::process::{Command, Stdio};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};

/// Opens a terminal of so many rows and columns, and gives one end of it to `command`.
///
/// The command has to be dropped once it has started: an end that is left open here would keep the
/// terminal from ending.
pub fn open(command: &mut Command, (rows, columns): (u16, u16)) -> File {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(&master, size).unwrap();
    let name = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let end = || -> Stdio { OpenOptions::new().read(true).write(true).open(&name).unwrap().into() };
    command.stdin(end()).stdout(end()).stderr(end()).env("TERM", "xterm-256color");
    File::from(master)
}
