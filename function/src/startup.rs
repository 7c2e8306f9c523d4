//! What a program does before everything else, and what is left to do when it has a fault.
//!
//! A variable that is set to nothing is not set: not to this program, nor to a library that reads
//! the environment itself (an empty `AWS_ENDPOINT_URL` is a panic in the AWS SDK), nor to a program
//! that is started. And whatever goes wrong, a person reads a sentence.

use std::ffi::OsString;
use std::panic::{AssertUnwindSafe, Location, catch_unwind, set_hook, take_hook};
use std::process::ExitCode;

/// How a program ends that has a fault.
const FAULT: u8 = 1;

/// Says what `program` is to say of a fault of its own: what and where, and how to report it.
#[must_use]
pub fn sentence(program: &str, at: Option<&Location<'_>>) -> [String; 2] {
    let place = at.map_or_else(String::new, |at| format!(" at {}:{}", short(at.file()), at.line()));
    let version = env!("CARGO_PKG_VERSION");
    [
        format!("{program} {version} has a fault of its own{place}: this must not happen"),
        "report it to whoever maintains claude-proxy, with what was typed and the line above; \
         RUST_BACKTRACE=1 shows more"
            .to_owned(),
    ]
}

/// Runs `main`, without the variables that are set to nothing. `broken` is asked for the rest where
/// it has a fault; what a person reads of that has been said by then.
pub fn run(
    program: &'static str,
    main: impl FnOnce() -> ExitCode,
    broken: impl FnOnce(),
) -> ExitCode {
    without_empty_variables();
    let detailed = take_hook();
    set_hook(Box::new(move |fault| {
        if wants_details() {
            detailed(fault);
        }
        let [what, hint] = sentence(program, fault.location());
        complain(&format!("error: {what}\n\nhint: {hint}"));
    }));
    catch_unwind(AssertUnwindSafe(main)).unwrap_or_else(|_| {
        broken();
        ExitCode::from(FAULT)
    })
}

/// The name of a source file, without where it lay when it was built.
fn short(file: &str) -> &str {
    let known = ["/registry/src/", "/library/"].into_iter().find_map(|mark| file.split_once(mark));
    known.map_or(file, |(_, rest)| rest)
}

/// Starts this program anew where any variable is set to nothing: the environment of a process that
/// runs cannot be changed safely. It keeps its number and everything that was typed.
#[cfg(unix)]
fn without_empty_variables() {
    use std::os::unix::process::CommandExt as _;
    let empty = empty_variables();
    let Ok(own) = std::env::current_exe() else { return };
    if empty.is_empty() {
        return;
    }
    let mut words = std::env::args_os();
    let mut again = std::process::Command::new(own);
    if let Some(name) = words.next() {
        again.arg0(name);
    }
    for name in empty {
        again.env_remove(name);
    }
    // It returns only where that was impossible; then they are what they are.
    drop(again.args(words).exec());
}

/// Elsewhere no variable can be set to nothing.
#[cfg(not(unix))]
const fn without_empty_variables() {}

#[cfg(unix)]
#[expect(clippy::disallowed_methods, reason = "all of it is looked at, before anything reads any")]
fn empty_variables() -> Vec<OsString> {
    std::env::vars_os().filter(|(_, value)| value.is_empty()).map(|(name, _)| name).collect()
}

#[expect(clippy::disallowed_methods, reason = "Rust's own variable for faults")]
fn wants_details() -> bool {
    std::env::var_os("RUST_BACKTRACE").is_some_and(|wanted| wanted != "0")
}

fn complain(text: &str) {
    use std::io::Write as _;
    let _nobody_reads = writeln!(std::io::stderr(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_named_without_where_it_was_built() {
        for (file, said) in [
            ("/home/a/.cargo/registry/src/index-0a/aws-1.0/src/x.rs", "index-0a/aws-1.0/src/x.rs"),
            ("/rustc/0a1b/library/core/src/x.rs", "core/src/x.rs"),
            ("provisioner/src/x.rs", "provisioner/src/x.rs"),
        ] {
            assert_eq!(short(file), said);
        }
    }

    #[test]
    fn a_fault_says_which_program_it_is_and_what_to_do() {
        let [what, hint] = sentence("provisioner", Some(Location::caller()));
        assert!(what.starts_with("provisioner 0.") && what.contains("startup.rs:"), "{what}");
        assert!(hint.contains("report it"), "{hint}");
    }
}
