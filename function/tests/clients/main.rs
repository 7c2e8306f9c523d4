//! Do the real clients work through the proxy? Installs Claude Code and the two SDKs at the
//! versions pinned here, and lets them talk to the real binary between two fake upstreams.
//!
//! Beyond the package registries nothing leaves the loopback; every credential is a dummy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

mod claude_code;
mod keys;
mod lambda;
mod sdks;
