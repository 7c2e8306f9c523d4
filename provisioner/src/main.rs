//! What is to be done in the AWS account? Parses, runs, and turns the end into an exit code.

use std::process::ExitCode;

use function::startup;
use provisioner::commands;

fn main() -> ExitCode {
    let words: Vec<_> = std::env::args_os().collect();
    let json = words.iter().any(|word| word == "--json");
    startup::run(
        "provisioner",
        || commands::main(words),
        || {
            if json {
                commands::tell_of_a_fault();
            }
        },
    )
}
