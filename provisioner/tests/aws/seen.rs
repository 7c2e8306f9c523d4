//! What does a person see? The whole tool, piped and in a terminal, from nothing to a stack and back.

use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::Value;
use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::world::{Ended, World};

#[test]
fn a_life_of_a_stack_is_on_record() {
    let world = World::new(MiniStack);
    let one = world.binary("one").display().to_string();
    let two = world.binary("two").display().to_string();
    let record = |name: &str, words: &[&str]| {
        insta::assert_snapshot!(name, told(&world, words, &world.run(words)));
    };
    record("life-1-plan", &["plan", "--exit-code", "--binary", &one]);
    record("life-2-up-unasked", &["up", "--binary", &one]);
    record("life-3-up", &["up", "--yes", "--no-probe", "--binary", &one]);
    record("life-4-up-again", &["up", "--no-probe", "--binary", &one]);
    record("life-5-status", &["status", "--no-probe"]);
    let change = ["--binary", &two, "--memory", "512", "--log-retention-days", "7"];
    let settings = ["--env", "BEDROCK_REGIONS=us-east-1,us-west-2", "--env", KEYS];
    record("life-6-plan", &[&["plan"], &change[..], &settings].concat());
    record("life-7-up", &[&["up", "--yes", "--no-probe"], &change[..], &settings].concat());
    record("life-8-status", &["status", "--no-probe"]);
    record("life-9-down", &["down", "--yes"]);
    record("life-10-down-again", &["down", "--yes"]);
    record("life-11-status-of-nothing", &["status"]);
}

#[test]
fn a_life_of_a_stack_as_objects_is_on_record() {
    let world = World::new(MiniStack);
    let one = world.binary("one").display().to_string();
    for (name, words) in [
        ("object-1-plan", &["plan", "--json", "--binary", &one][..]),
        ("object-2-up", &["up", "--yes", "--json", "--no-probe", "--binary", &one]),
        ("object-3-status", &["status", "--json", "--no-probe", "--memory", "512"]),
        ("object-4-up-unasked", &["up", "--json", "--memory", "512", "--binary", &one]),
        ("object-5-down", &["down", "--json", "--yes"]),
    ] {
        let mut ended = world.run(words);
        ended.stdout = format!("{:#}\n", ended.json());
        ended.stderr.clear();
        insta::assert_snapshot!(name, told(&world, words, &ended));
    }
}

/// A digest, as `user add` would not store it here: a person's own table of keys.
const KEYS: &str =
    "PROXY_KEYS=alice:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

#[cfg(unix)]
#[test]
fn a_terminal_shows_the_same_in_colour_and_asks() {
    use testing::aws::terminal;
    let world = World::new(MiniStack);
    let one = world.binary("one").display().to_string();
    let up = ["up", "--no-probe", "--binary", &one];
    let refused = terminal::run(&world, &up, &[], "n\n");
    assert_eq!(refused.code, Some(3), "{}", refused.text);
    let plan = ["plan", "--binary", &one];
    let (screen, piped) = (terminal::run(&world, &plan, &[], ""), world.run(&plan));
    assert!(screen.text.contains("\x1b[32m+\x1b[0m"), "{}", screen.text);
    assert_eq!(plain(&screen.text), piped.stdout);
    for (words, variables) in [
        (&["plan", "--binary", &one, "--no-color"][..], &[][..]),
        (&plan, &[("NO_COLOR", "1")]),
        (&plan, &[("TERM", "dumb")]),
    ] {
        assert_eq!(terminal::run(&world, words, variables, "").text, piped.stdout);
    }
    for (name, words, answer) in [
        ("terminal-1-up", &up[..], "y\n"),
        ("terminal-2-status", &["status", "--no-probe"], ""),
        ("terminal-3-status-of-drift", &["status", "--no-probe", "--memory", "512"], ""),
        // Ctrl-D is no answer.
        ("terminal-4-down-unanswered", &["down"], "\u{4}"),
        ("terminal-5-down", &["down"], "YES\n"),
    ] {
        let screen = terminal::run(&world, words, &[], answer);
        let ended = Ended { code: screen.code, stdout: screen.text, stderr: String::new() };
        insta::assert_snapshot!(name, told(&world, words, &ended).replace('\x1b', "␛"));
    }
}

#[test]
fn up_and_status_say_how_the_url_is() {
    let world = World::new(MiniStack);
    let one = world.binary("one").display().to_string();
    let up = ["up", "--yes", "--binary", &one];
    for (name, head, apart) in [
        ("probe-1-forbidden", "403 Forbidden\r\nx-amzn-errortype: AccessDeniedException", 0),
        ("probe-2-buffered", "200 OK", 0),
        ("probe-3-well", "200 OK", 300),
    ] {
        world.proxy.serve_url_at(&serve(head, apart));
        let mut ended = world.run(&up);
        // How it is made is on record already.
        let end = ended.stderr.find("  asking the URL").unwrap();
        ended.stderr.replace_range(..end, "(…)\n");
        insta::assert_snapshot!(name, told(&world, &up, &ended));
        let status = world.run(&["status"]);
        assert_eq!(status.code, ended.code, "{}", status.stderr);
        assert!(!status.stdout.contains("URL  ht") || status.stdout.contains("well"), "{name}");
    }
}

#[test]
fn what_goes_wrong_is_told_with_its_causes_and_a_way_on() {
    let world = World::new(MiniStack);
    let one = world.binary("one").display().to_string();
    let run = |variables: &[(&str, &str)], words: &[&str]| {
        let mut command = world.command(words);
        let ended = command.envs(variables.iter().copied()).output().unwrap();
        told(&world, words, &ended.into())
    };
    let nobody = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_MAX_ATTEMPTS", "1")];
    insta::assert_snapshot!("wrong-1-nobody-there", run(&nobody, &["status"]));
    let without = [("AWS_ACCESS_KEY_ID", ""), ("AWS_SECRET_ACCESS_KEY", "")];
    insta::assert_snapshot!("wrong-2-no-credentials", run(&without, &["status"]));
    let settings = ["plan", "--no-build", "--env", "LOG_LEVL=debug", "--env", "PORT=1"];
    insta::assert_snapshot!("wrong-3-settings", run(&[], &settings));
    let processor = ["plan", "--binary", &one, "--architecture", "x86_64"];
    insta::assert_snapshot!("wrong-4-processor", run(&[], &processor));
    let large = format!("BEDROCK_MODEL_MAP={{\"a\": \"anthropic.{}\"}}", "x".repeat(5_000));
    let large = run(&[], &["plan", "--no-build", "--env", &large]).replace(&"x".repeat(5_000), "…");
    // The table's name counts as well, and is as long as this stack's.
    let size = 5093 + world.name.len();
    let large = large.replace(&format!("have {size} bytes"), "have … bytes");
    insta::assert_snapshot!("wrong-5-too-large", large);
    let file = ["plan", "--binary", "/nowhere"];
    insta::assert_snapshot!("wrong-6-no-file", run(&[], &file));
}

#[test]
fn a_reader_who_goes_away_is_nobody_s_failure() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    for words in [&["status", "--no-probe"][..], &["plan", "--no-build", "--json"], &["--help"]] {
        let mut child = world.command(words).spawn().unwrap();
        drop((child.stdout.take(), child.stderr.take()));
        assert_eq!(child.wait().unwrap().code(), Some(0), "{words:?}");
    }
    // All three closed: what would be asked cannot be answered, and what would be said is lost.
    let mut down = world.command(&["down"]);
    down.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    assert_eq!(down.status().unwrap().code(), Some(3));
    assert!(!world.is_gone());
}

/// Command, end and words, without what differs from run to run.
fn told(world: &World, words: &[&str], ended: &Ended) -> String {
    let mut text = format!("$ provisioner {}\n", words.join(" "));
    writeln!(text, "[ends with {}]", ended.code.unwrap()).unwrap();
    for (title, said) in [("stdout", &ended.stdout), ("stderr", &ended.stderr)] {
        if !said.is_empty() {
            writeln!(text, "── {title}\n{}", calm(said).trim_end()).unwrap();
        }
    }
    let filters = [
        (r"http://127\.0\.0\.1:\d\d+", "URL"),
        (r"first byte after \d+ ms", "first byte …"),
        (r"request [0-9A-Za-z-]{16,}", "request ID"),
        (r"sha256:([0-9a-f]{64}|[0-9a-f]{12})\b", "sha256:DIGEST"),
    ];
    let text = filters.iter().fold(text, |text, (pattern, word)| {
        Regex::new(pattern).unwrap().replace_all(&text, *word).into_owned()
    });
    // Tags of images, and the stack's id; not the account.
    let twelve = |found: &regex_lite::Captures<'_>| match &found[0] {
        account @ "000000000000" => account.to_owned(),
        _ => "TWELVE".to_owned(),
    };
    world.filtered(&Regex::new(r"\b[0-9a-f]{12}\b").unwrap().replace_all(&text, twelve))
}

/// What goes side by side is told in any order, so it is sorted; how often one waits is chance.
fn calm(text: &str) -> String {
    let is_step = |line: &&str| {
        ["creating", "created", "updating", "updated", "replacing", "replaced"]
            .iter()
            .any(|word| line.starts_with(&format!("  {word} ")))
    };
    let chance = |line: &&str| line.contains("    waiting: function") || line.ends_with(" MiB");
    let lines = || text.lines().filter(|line| !chance(line));
    let mut steps: Vec<&str> = lines().filter(is_step).collect();
    steps.sort_unstable();
    let mut steps = steps.into_iter();
    let calm = lines().map(|line| if is_step(&line) { steps.next().unwrap() } else { line });
    calm.collect::<Vec<_>>().join("\n")
}

/// Without colours (SGR, ECMA-48).
fn plain(text: &str) -> String {
    Regex::new("\x1b\\[[0-9;]*m").unwrap().replace_all(text, "").into_owned()
}

/// Answers every request with `ok` and a line end, so many milliseconds apart.
fn serve(head: &'static str, apart: u64) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            drop(stream.read(&mut [0; 4096]));
            drop(write!(stream, "HTTP/1.1 {head}\r\nconnection: close\r\n\r\nok"));
            std::thread::sleep(Duration::from_millis(apart));
            drop(stream.write_all(b"\n"));
        }
    });
    url
}

/// The contract's objects, on one line each, have these members and no others.
#[test]
fn objects_have_the_members_of_the_contract() {
    let world = World::new(MiniStack);
    let members = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let up = world.up(&["--json"]).json();
    assert_eq!(members(&up), ["changes", "outputs"]);
    let outputs = ["function", "image", "log_group", "repository", "role", "table", "url"];
    assert_eq!(members(&up["outputs"]), outputs);
    assert_eq!(members(&up["changes"][0]), ["action", "address", "fields", "reason"]);
    assert_eq!(members(&up["changes"][0]["fields"][0]), ["after", "before", "path"]);
    let status = world.run(&["status", "--json", "--no-probe"]).json();
    assert_eq!(members(&status), ["health", "outputs", "resources"]);
    assert_eq!(members(&status["resources"][0]), ["address", "drift", "state"]);
    let down = world.run(&["down", "--json"]).json();
    assert_eq!(members(&down), ["deleted", "error", "kept", "remaining"]);
    assert_eq!(members(&down["error"]), ["hint", "message", "resource"]);
}
