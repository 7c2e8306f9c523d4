//! `completions` and `man`: what shells and readers need, made of the definitions in `cli`. Asks
//! nobody.

use clap::CommandFactory as _;
use clap_complete::Shell;
use clap_mangen::Man;

use super::{Exit, Failure, Session};
use crate::cli::Cli;

const PROGRAM: &str = "provisioner";

pub(super) fn completions(session: &Session, shell: Shell) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), PROGRAM, &mut script);
    print(session, &script)
}

pub(super) fn page(session: &Session, command: Option<&str>) -> Result<Exit, Failure> {
    let mut all = Cli::command();
    all.build();
    let page = match command {
        None => all,
        Some(name) => all.find_subcommand(name).cloned().ok_or_else(|| {
            Failure::new(Exit::Usage, format!("there is no command {name}"))
                .hint("see provisioner --help")
        })?,
    };
    let mut text = Vec::new();
    let rendered = Man::new(page).render(&mut text);
    rendered.map_err(|error| Failure::new(Exit::Failed, error.to_string()))?;
    print(session, &text)
}

fn print(session: &Session, text: &[u8]) -> Result<Exit, Failure> {
    session.printer.data(String::from_utf8_lossy(text).trim_end());
    Ok(Exit::Done)
}
