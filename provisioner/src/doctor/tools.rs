//! Can the function be built on this machine? Only `up` without `--binary` and `--image` needs it.

use std::process::{Output, Stdio};

use tokio::process::Command;

use super::Check;

/// Looks for what a build needs.
pub(crate) async fn tools() -> Check {
    let cure = "install it, or give up a ready binary: --binary PATH";
    for (tool, words) in
        [("cargo", &["--version"][..]), ("cargo-zigbuild", &["zig", "cc", "--", "--version"])]
    {
        let good = run(tool, words).await.is_some_and(|ended| ended.status.success());
        if !good {
            return Check::warn(
                "build-tools",
                format!("{tool} is missing, or zig beside it"),
                cure,
            );
        }
    }
    Check::ok("build-tools", "cargo, cargo-zigbuild, zig")
}

async fn run(tool: &str, words: &[&str]) -> Option<Output> {
    let mut command = Command::new(tool);
    command.args(words).stdin(Stdio::null()).kill_on_drop(true).output().await.ok()
}
