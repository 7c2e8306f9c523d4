//! What will create, show and remove claude-proxy in an AWS account?
//!
//! Until the commands are there this binary says so, and must do nothing else.

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;

use lexopt::Arg::{Long, Short};

/// The exit code of wrong usage (`EX_USAGE` of BSD's `sysexits.h`).
const EXIT_USAGE: u8 = 64;

const HELP: &str = "\
Creates, shows and removes claude-proxy in an AWS account

Nothing of this is built yet: there is no command, and no AWS account is touched.
Until then claude-proxy runs as a local server: cargo run -p function -- --help

Usage: provisioner --help

Options:
  -h, --help     Show this
  -V, --version  Show the version
";

const VERSION: &str = concat!("provisioner ", env!("CARGO_PKG_VERSION"), "\n");

fn main() -> ExitCode {
    let (shown, exit) = match answer(std::env::args_os().skip(1)) {
        Ok(text) => (io::stdout().write_all(text.as_bytes()), ExitCode::SUCCESS),
        Err(error) => (
            writeln!(io::stderr(), "error: {error}; see 'provisioner --help'"),
            ExitCode::from(EXIT_USAGE),
        ),
    };
    shown.map_or(ExitCode::FAILURE, |()| exit)
}

/// Returns what belongs on standard output.
fn answer(args: impl Iterator<Item = OsString>) -> Result<&'static str, lexopt::Error> {
    match lexopt::Parser::from_args(args).next()? {
        Some(Short('h') | Long("help")) => Ok(HELP),
        Some(Short('V') | Long("version")) => Ok(VERSION),
        Some(arg) => Err(arg.unexpected()),
        None => Err("there is no command yet".into()),
    }
}
