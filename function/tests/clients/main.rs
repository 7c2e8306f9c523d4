//! Do the real clients work through the proxy? Installs Claude Code and the two SDKs at the
//! versions pinned here, and lets them talk to the real binary between two fake upstreams.
//!
//! Beyond the package registries nothing leaves the loopback; every credential is a dummy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

#[expect(dead_code, reason = "tests/proxy uses all of it")]
#[path = "../support/mod.rs"]
mod support;

mod child;
#[expect(dead_code, reason = "the tests of provisioner use all of it")]
mod claude;
mod claude_code;
#[expect(dead_code, reason = "tests/lambda uses all of it")]
#[path = "../lambda/deployed.rs"]
mod deployed;
mod install;
mod keys;
mod lambda;
#[expect(dead_code, reason = "tests/lambda uses all of it")]
#[path = "../support/runtime.rs"]
mod runtime;
mod sdks;
