//! The real Claude Code through a Function URL, on both upstreams.

use function::access::ProxyKey;
use serde_json::json;
use testing::{
    answer::limited, claude::Claude, deployed::Deployed, message::ToolPlay, runtime::Rules,
};

#[test]
fn a_prompt_is_answered_through_the_function_url() {
    let deployed = Deployed::start();
    let session = claude(&deployed).asks("say hello");
    assert!(session.succeeded, "{}", session.output);
    assert_eq!(session.text(), "anthropic heard: say hello");
    assert!(deployed.bedrock.requests().is_empty());
}

#[test]
fn a_tool_turn_goes_through_bedrock_during_a_limit() {
    let deployed = Deployed::start();
    deployed.anthropic.next([limited(120)]);
    let input = json!({"command": "echo tool-$((6 * 7))-ran", "description": "Count"});
    deployed.bedrock.play(ToolPlay { name: "Bash".to_owned(), input, times: 1 });
    let session = claude(&deployed).arguments(&["--allowedTools", "Bash"]).asks("use a tool");
    assert!(session.succeeded && session.text().starts_with("bedrock heard"), "{}", session.output);
    assert_eq!(deployed.anthropic.messages().len(), 1, "{}", deployed.log());
    let turns = deployed.bedrock.requests();
    assert_eq!(turns.len(), 2);
    assert!(turns[1].json().to_string().contains("tool-42-ran"));
    for invocation in deployed.lambda.invocations() {
        assert!(invocation.whole && invocation.trailers.is_empty() && !invocation.timed_out);
    }
}

#[test]
fn a_key_in_the_base_url_or_in_a_header_opens_both_upstreams() {
    let key = ProxyKey::from_random([0xa1; 32]);
    let keys = format!("alice:{}", key.digest());
    let guarded = [("ACCESS_MODE", "key"), ("ACCESS_OPEN_ANYWHERE", ""), ("PROXY_KEYS", &keys)];
    let deployed = Deployed::under(Rules::default(), &guarded);
    let base = format!("http://{}", deployed.lambda.url());
    let header = format!("x-claude-proxy-key: {}", key.reveal());
    let by_header = Claude::against(&base).with("ANTHROPIC_CUSTOM_HEADERS", &header);
    let by_path = Claude::against(&format!("{base}/k/{}", key.reveal()));
    assert_eq!(by_header.asks("one").text(), "anthropic heard: one");
    deployed.anthropic.next([limited(120)]);
    assert_eq!(by_path.asks("two").text(), "bedrock heard: two");
    assert_eq!(by_header.asks("three").text(), "bedrock heard: three");
    let asked = deployed.anthropic.requests().len();
    let stranger = claude(&deployed).asks("four");
    assert!(!stranger.succeeded && stranger.output.contains("401"), "{}", stranger.output);
    assert_eq!(deployed.anthropic.requests().len(), asked);
    assert!(!deployed.log().contains("ccp_"), "{}", deployed.log());
}

fn claude(deployed: &Deployed) -> Claude {
    Claude::against(&format!("http://{}", deployed.lambda.url()))
}
