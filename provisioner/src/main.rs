//! What is to be done in the AWS account? Parses, runs, and turns the end into an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    provisioner::commands::main(std::env::args_os())
}
