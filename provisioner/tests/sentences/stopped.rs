//! Whoever says stop is heard at once, as long as nothing is being changed: at every question that
//! AWS does not answer, of every command.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fake::Fake;
use crate::run::command;

const IMAGE: &str = "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const TABLE: &str = "dynamodb.DescribeTable";
const FUNCTION: &str = "lambda.GetFunction";

#[test]
fn a_stop_is_heard_wherever_a_command_waits_for_an_answer() {
    let commands: [(&[&str], &str); 18] = [
        (&["user", "list"], "sts.GetCallerIdentity"),
        (&["user", "list"], TABLE),
        (&["user", "add", "bob"], TABLE),
        (&["user", "remove", "bob"], TABLE),
        (&["limits"], TABLE),
        (&["limits", "clear", "bob"], TABLE),
        (&["config", "list"], FUNCTION),
        (&["config", "set", "LOG_LEVEL=info"], FUNCTION),
        (&["usage"], FUNCTION),
        (&["budget", "list"], FUNCTION),
        (&["budget", "set", "bob", "1/day"], FUNCTION),
        (&["budget", "settle"], FUNCTION),
        (&["prices", "--write"], FUNCTION),
        (&["drill"], TABLE),
        (&["status"], TABLE),
        (&["doctor"], TABLE),
        (&["down", "--yes"], TABLE),
        (&["up", "--yes", "--image", IMAGE], TABLE),
    ];
    std::thread::scope(|scope| {
        for (words, action) in commands {
            scope.spawn(move || stopped(words, action));
        }
    });
}

fn stopped(words: &[&str], action: &'static str) {
    let fake = Fake::start(move |asked| {
        if asked.action == action {
            std::thread::sleep(Duration::from_secs(600));
        }
        None
    });
    let mut command = command(words, &fake.url());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    while !fake.actions().iter().any(|asked| asked == action) {
        std::thread::sleep(Duration::from_millis(20));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ended = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(130), "{words:?}: {stderr}");
    assert!(stderr.contains("error: interrupted"), "{words:?}: {stderr}");
    assert!(!stderr.contains("step"), "nothing was under way: {words:?}: {stderr}");
}
