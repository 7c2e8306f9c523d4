//! The settings that `user add` makes are ones that Claude Code works with.

use serde_json::Value;
use testing::answer::limited;
use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::claude::Claude;
use testing::deployed::Deployed;

use crate::live;

#[tokio::test]
async fn claude_code_works_with_the_settings_that_were_written_for_it() {
    for emulator in [MiniStack, Moto] {
        let (world, deployed) = live(emulator, &[]);
        let claude = configured_by_file();
        let file = claude.settings();
        // What is in the file already goes on counting.
        std::fs::write(&file, r#"{"env": {"ANTHROPIC_CUSTOM_HEADERS": "x-team: a"}}"#).unwrap();
        let add = ["user", "add", "alice", "--write-settings", file.to_str().unwrap()];
        world.run(&add).expect(0);
        serves_on_both_legs(&claude, &deployed, "alice");
        let first = &deployed.anthropic.messages()[0];
        assert_eq!((first.header("x-team"), first.has("x-claude-proxy-key")), ("a", false));
        world.run(&["user", "remove", "alice"]).expect(0);
        std::thread::sleep(std::time::Duration::from_millis(10_200));
        let out = claude.asks("four");
        assert!(!out.succeeded && out.output.contains("401"), "{}", out.output);
    }
}

#[tokio::test]
async fn claude_code_works_with_the_settings_that_were_printed() {
    let (world, deployed) = live(Moto, &[]);
    let added = world.run(&["user", "add", "bob"]);
    added.expect(0);
    let start = added.stdout.find("\n{\n").unwrap();
    let end = added.stdout.find("\n}\n").unwrap();
    let printed = &added.stdout[start..end + 3];
    let settings: Value = serde_json::from_str(printed).unwrap();
    assert_eq!(settings.as_object().unwrap().len(), 3, "where to ask, hooks, a status line");
    let claude = configured_by_file();
    std::fs::write(claude.settings(), printed).unwrap();
    serves_on_both_legs(&claude, &deployed, "bob");
    let curl = &added.stdout[added.stdout.find("\ncurl ").unwrap()..];
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("{curl} -s")]).env("ANTHROPIC_API_KEY", "sk-ant-api03-test-bob");
    let answer: Value = serde_json::from_slice(&shell.output().unwrap().stdout).unwrap();
    assert_eq!(answer["content"][0]["text"], "anthropic heard: hello");
}

/// A user who has nothing but a file of settings, and an API key.
fn configured_by_file() -> Claude {
    Claude::against("").with("ANTHROPIC_BASE_URL", "")
}

fn serves_on_both_legs(claude: &Claude, deployed: &Deployed, user: &str) {
    let first = claude.asks("one");
    assert!(first.succeeded, "{}\n{}", first.output, deployed.log());
    assert_eq!(first.text(), "anthropic heard: one");
    deployed.anthropic.next([limited(120)]);
    for prompt in ["two", "three"] {
        let session = claude.asks(prompt);
        assert!(session.succeeded, "{}", session.output);
        assert_eq!(session.text(), format!("bedrock heard: {prompt}"));
    }
    let log = deployed.log();
    assert!(log.contains(&format!(r#""user":"{user}""#)) && !log.contains("ccp_"), "{log}");
}
