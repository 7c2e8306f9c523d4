//! Is the binary honest about what it cannot do yet?
//!
//! Runs the real binary; must not need a network or AWS credentials.

#![expect(clippy::unwrap_used, reason = "a binary that cannot be run fails the test")]

use std::process::Command;

#[test]
fn the_help_says_that_the_commands_are_to_come() {
    for option in ["--help", "-h"] {
        let (exit, stdout, stderr) = run(&[option]);
        assert_eq!((exit, stderr.as_str()), (0, ""));
        assert!(stdout.contains("Nothing of this is built yet"), "{stdout}");
        assert!(stdout.contains("cargo run -p function"), "{stdout}");
    }
}

#[test]
fn the_version_is_that_of_the_crate() {
    let expected = concat!("provisioner ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(run(&["--version"]), (0, expected.to_owned(), String::new()));
}

#[test]
fn anything_else_is_wrong_usage() {
    for args in [&[][..], &["up"], &["plan", "--help"], &["--nope"], &["-x"]] {
        let (exit, stdout, stderr) = run(args);
        assert_eq!((exit, stdout.as_str()), (64, ""), "{args:?}");
        assert!(stderr.starts_with("error: ") && stderr.contains("--help"), "{args:?}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

/// Returns the exit code, standard output and standard error.
fn run(args: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_provisioner")).args(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
