//! Can the function be built on this machine? Only `up` without `--binary` and `--image` needs it.

use std::path::Path;

use super::Check;
use crate::build::tools::{check, check_target};
use crate::image::Architecture;

/// Looks for what a build needs, as a build does.
pub(crate) async fn tools() -> Check {
    let looked = match check().await {
        Ok(()) => check_target(Path::new("."), Architecture::default()).await.map(drop),
        missing => missing,
    };
    match looked {
        Ok(()) => Check::ok("build-tools", "cargo, cargo-zigbuild, zig, Rust for arm64"),
        Err(missing) => Check::warn("build-tools", missing.to_string(), missing.hint()),
    }
}
