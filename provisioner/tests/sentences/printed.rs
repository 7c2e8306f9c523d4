//! What nobody could read is no success, and no key is made that nobody would see.

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use crate::fake::Fake;
use crate::run::{command, finish};

const SAID: &str = "standard output cannot be written: No space left on device";

#[test]
fn what_cannot_be_printed_is_a_failure_whatever_it_was() {
    let fake = Fake::start(|_| None);
    for words in [
        &["--help"][..],
        &["up", "--help"],
        &["--version"],
        &["completions", "bash"],
        &["man", "up"],
        &["status"],
        &["status", "--json"],
        &["plan", "--no-build"],
        &["plan", "--no-build", "--json", "--exit-code"],
        &["down", "--yes"],
        &["down", "--yes", "--json"],
    ] {
        let mut full = command(words, &fake.url());
        let ended = to(full.stdout(OpenOptions::new().write(true).open("/dev/full").unwrap()));
        assert_eq!(ended.0, 1, "{words:?}: {ended:?}");
        assert!(ended.1.contains(SAID) && ended.1.contains("hint: "), "{words:?}: {ended:?}");
        // A reader that has gone away has read what it wanted.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let ended = to(command(words, &fake.url()).stdout(writer));
        assert!([0, 2].contains(&ended.0), "{words:?}: {ended:?}");
        assert!(!ended.1.contains("error: "), "{words:?}: {ended:?}");
    }
}

#[test]
fn no_key_is_made_that_nobody_would_see() {
    let fake = Fake::start(|_| None);
    for words in [&["user", "add", "bob"][..], &["user", "add", "bob", "--json"]] {
        let ended = to(command(words, &fake.url()).stdout(Stdio::null()));
        assert_eq!(ended.0, 1, "{ended:?}");
        assert!(ended.1.contains("nobody would see the key"), "{ended:?}");
        // A closed one is the same.
        let open = command(words, &fake.url());
        let mut closed = Command::new("/bin/sh");
        closed.args(["-c", "exec \"$0\" \"$@\" >&-"]).arg(open.get_program());
        closed.args(open.get_args()).env_clear();
        closed.envs(open.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = finish(&mut closed);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains("nobody would see the key"), "{ended:?}");
    }
    assert_eq!(fake.actions(), [""; 0]);
}

fn to(command: &mut Command) -> (i32, String) {
    let ended = command.stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    (ended.status.code().unwrap(), String::from_utf8(ended.stderr).unwrap())
}
