//! The real function on a stack that the tool has made, and the real Claude Code in front of it.
//!
//! What is real: the tool and the function, as built; Claude Code, from npm. What is emulated:
//! AWS's control plane and the table (both emulators), Lambda's Runtime API and Function URL (the
//! proxy's own, which freezes the process between requests), Anthropic and Bedrock (fakes). The
//! emulators' address of the function is replaced by that of the Function URL.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "helpers of tests fail where something is not as they made it"
)]

mod drill;
mod pictures;
#[cfg(target_os = "linux")]
mod rie;
mod settings;

use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use testing::aws::emulator::Emulator;
use testing::aws::world::World;
use testing::deployed::Deployed;
use testing::runtime::Rules;

/// A stack, and the function of it behind a Function URL.
fn live(emulator: Emulator, settings: &[(&str, &str)]) -> (World, Deployed) {
    let (world, stack) = made(emulator);
    let stack: Vec<_> = stack.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let deployed = Deployed::under(Rules::default(), &[&stack[..], settings].concat());
    world.proxy.serve_url_at(&format!("http://{}/", deployed.lambda.url()));
    (world, deployed)
}

/// A stack, and what its function is told of it.
fn made(emulator: Emulator) -> (World, [(&'static str, String); 6]) {
    build();
    let world = World::new(emulator);
    world.up(&[]).expect(0);
    let stack = on_stack(&world, emulator);
    (world, stack)
}

/// What the function is told of the stack that it is on.
fn on_stack(world: &World, emulator: Emulator) -> [(&'static str, String); 6] {
    [
        ("RATE_LIMIT_STORE", "dynamodb".to_owned()),
        ("RATE_LIMIT_TABLE_NAME", world.table()),
        ("AWS_ENDPOINT_URL_DYNAMODB", format!("http://{}", emulator.address())),
        // An emulator is slow.
        ("RATE_LIMIT_STORE_TIMEOUT_MS", "30000".to_owned()),
        ("ACCESS_MODE", "key".to_owned()),
        ("ACCESS_OPEN_ANYWHERE", String::new()),
    ]
}

/// Builds the function beside the tool, unless it is built.
fn build() {
    static BUILT: OnceLock<()> = OnceLock::new();
    BUILT.get_or_init(|| {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--locked", "--quiet", "-p", "function", "--bin", "function"]);
        let built = cargo.current_dir(root).status().unwrap();
        assert!(built.success(), "the function does not build: cargo build -p function");
    });
}
