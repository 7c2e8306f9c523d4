//! Do the real clients work through the proxy? Installs Claude Code and the two SDKs at the
//! versions pinned here, and lets them talk to the real binary between two fake upstreams.
//!
//! Beyond the package registries nothing leaves the loopback; every credential is a dummy.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

mod claude_code;
mod keys;
mod lambda;
mod sdks;
mod terminal;

/// A name that a client gave goes to nobody, but into AWS's own log of invocations.
fn assert_names_stay_here(world: &testing::world::World, name: &str) {
    let mut requests = world.bedrock.requests();
    let mut said = 0;
    for request in &mut requests {
        let says_who = |(header, _): &(String, String)| header == "x-amzn-bedrock-request-metadata";
        let (metadata, others) = request.headers.iter().cloned().partition(says_who);
        request.headers = others;
        let metadata: Vec<(String, String)> = metadata;
        assert!(metadata.iter().all(|(_, value)| value.contains(name)), "{metadata:?}");
        said += metadata.len();
    }
    assert!(said > 0, "no call of Bedrock says who asked");
    requests.extend(world.anthropic.requests());
    for request in requests {
        let whole = format!("{}{:?}{:?}", request.target, request.headers, request.body);
        assert!(!whole.contains(name) && !whole.contains("claude-code-user"), "{whole}");
    }
}
