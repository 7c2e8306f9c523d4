//! claude-proxy: Claude Code keeps working when Anthropic says 429.
//!
//! # The design on one page
//!
//! A request comes in by a front door ([`serve`]), and [`proxy::Proxy::answer`] answers it.
//!
//! 1. [`caller`] reads its head: where it wants to go, whose label it carries, and the fingerprint
//!    of its credential; [`access`] says whether it may come in. Only `POST /v1/messages` and
//!    `…/count_tokens` are looked into.
//! 2. [`messages`] reads the model and whether a stream is wanted; the body is kept as it came.
//! 3. [`store`] says what is known of this credential and model class. A store that fails or is
//!    slow knows nothing.
//! 4. [`failover`] decides: `route` names who is asked first, `judge` says what each outcome means.
//! 5. [`upstream`] asks. Anthropic gets the client's own bytes; Bedrock gets a body that
//!    [`translate`] has made of them, and none of the client's headers.
//! 6. Up to the first content, an answer is held back and can be replaced. Then it is forwarded
//!    as it comes, cut into events by [`wire`], and nothing is decided any more.
//! 7. What was learnt is written to the store beside the answer, and [`telemetry`] writes one line.
//!
//! # What depends on what
//!
//! ```text
//! main → serve → proxy ─┬→ upstream, store, telemetry, settings, usage, clock  edges
//!                       └→ failover · messages · translate · wire · caller · access     core
//!                          drill · money · room · reply · session
//! ```
//!
//! The core is values and functions: it names no runtime, no client, no environment and no clock,
//! and `tests/core/layering.rs` keeps it so. [`reply`] is the only place that writes an error of
//! our own.
//!
//! The feature `proxy` is all of it; without it there is what `provisioner` shares: the settings,
//! keys and drills, what stands in the table, the line of a request, prices and models.

#![cfg_attr(
    not(feature = "proxy"),
    expect(dead_code, reason = "what `provisioner` shares is a part of what the proxy needs")
)]

pub mod access;
pub mod caller;
pub mod clock;
pub mod drill;
pub mod failover;
pub mod messages;
pub mod money;
#[cfg(feature = "proxy")]
pub mod proxy;
pub mod reply;
pub mod room;
#[cfg(feature = "proxy")]
pub mod serve;
pub mod session;
pub mod settings;
pub mod startup;
pub mod store;
pub mod telemetry;
pub mod translate;
#[cfg(feature = "proxy")]
pub mod upstream;
#[cfg(feature = "proxy")]
pub mod usage;
pub mod wire;
