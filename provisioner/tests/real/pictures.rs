//! The tool as a person sees it, for the README: what it writes to a terminal, as SVG.
//!
//! All of it is real but AWS and Anthropic: keys that `user add` has made, requests through the
//! function, and the lines that it wrote of them.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Command;

use anstyle::{Color, RgbColor};
use anstyle_svg::{Term, WIN10_CONSOLE};
use aws_sdk_cloudwatchlogs::Client;
use aws_sdk_cloudwatchlogs::types::InputLogEvent;
use function::clock;
use testing::answer::{limited, ok};
use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::terminal;
use testing::aws::world::World;
use testing::client::Call;
use testing::deployed::Deployed;
use testing::runtime::Rules;

use crate::{build, on_stack};

/// Where they hang.
const FOLDER: &str = "../.github/pictures";

/// The address that is shown in the place of one on this machine.
const URL: &str = "https://a1b2c3.lambda-url.us-east-1.on.aws";

#[tokio::test]
#[ignore = "writes the README's pictures: scripts/screenshots runs it"]
async fn are_taken() {
    build();
    let mut world = World::new(MiniStack);
    world.name = "claude-proxy".to_owned();
    world.entitle();
    let binary = world.path("function");
    let up = terminal::run(&world, &["up", "--no-probe", "--binary", &binary], &[], "y\n");
    assert_eq!(up.code, Some(0), "{}", up.text);
    let stack = on_stack(&world, MiniStack);
    let stack: Vec<_> = stack.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let deployed = Deployed::under(Rules::default(), &stack);
    let url = format!("http://{}", deployed.lambda.url());
    world.proxy.serve_url_at(&format!("{url}/"));
    work(&world, &deployed).await;

    let picture = |name: &str, words: &str, text: &str| {
        let text = text.replace(&url, URL).replace(&binary, "function");
        let typed = format!("\x1b[1;32m$\x1b[0m provisioner {words}\n{}\n", text.trim_end());
        let svg = look().render_svg(&typed);
        assert!(svg.len() < 100_000, "{name} has {} bytes", svg.len());
        fs::create_dir_all(FOLDER).unwrap();
        fs::write(Path::new(FOLDER).join(format!("{name}.svg")), svg).unwrap();
    };
    picture("up", "up", &up.text);
    let [path, home] = ["PATH", "HOME"].map(|name| std::env::var(name).unwrap());
    for (name, words) in
        [("status", "status"), ("limits", "limits"), ("drill", "drill"), ("doctor", "doctor")]
    {
        let variables = [("PATH", path.as_str()), ("HOME", &home)];
        let seen = terminal::run(&world, &[words], &variables, "");
        assert_eq!(seen.code, Some(0), "{}", seen.text);
        picture(name, words, &seen.text);
    }
    picture("watch", "status --watch", &watched(&world));
}

/// Bright on dark, which is read on a light page and on a dark one.
const fn look() -> Term {
    let (bright, dark) = (RgbColor(0xf2, 0xf2, 0xf2), RgbColor(0x18, 0x18, 0x1b));
    let term = Term::new().palette(WIN10_CONSOLE);
    term.fg_color(Color::Rgb(bright)).bg_color(Color::Rgb(dark))
}

/// Two people who work, one of whom is limited; the log says what they did.
async fn work(world: &World, deployed: &Deployed) {
    let call = |user: &str| {
        let added = world.run(&["user", "add", user, "--json"]);
        let key = added.json()["key"].as_str().unwrap().to_owned();
        let credential = format!("sk-ant-api03-test-{user}");
        Call::message().by(&credential).header("x-claude-proxy-key", &key)
    };
    let (alice, bob) = (call("alice"), call("bob"));
    world.run(&["user", "add", "carol"]).expect(0);
    for _ in 0..9 {
        assert_eq!(deployed.call(bob.clone()).await.status, 200);
    }
    assert_eq!(deployed.call(alice.clone()).await.status, 200);
    deployed.anthropic.next([limited(2_460)]);
    for _ in 0..5 {
        assert_eq!(deployed.call(alice.clone()).await.status, 200);
    }
    deployed.anthropic.always(ok());
    let lines = deployed.log();
    let lines = lines.lines().filter(|line| line.contains(r#""call":"messages""#));
    let at = clock::now().as_millisecond();
    let event = |line| InputLogEvent::builder().timestamp(at).message(line).build().unwrap();
    let (group, logs) = ("/aws/lambda/claude-proxy-api", Client::new(&world.sdk()));
    logs.create_log_stream().log_group_name(group).log_stream_name("one").send().await.unwrap();
    let put = logs.put_log_events().log_group_name(group).log_stream_name("one");
    put.set_log_events(Some(lines.map(event).collect())).send().await.unwrap();
}

/// What `status --watch` has drawn before it was ended.
fn watched(world: &World) -> String {
    let (mut child, mut terminal) = terminal::start(world, &["status", "--watch"], &[]);
    let (mut seen, mut piece) = (String::new(), [0; 4096]);
    while !seen.contains("\x1b[J") {
        let length = terminal.read(&mut piece).unwrap();
        seen.push_str(&String::from_utf8_lossy(&piece[..length]));
    }
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    drop(terminal);
    child.wait().unwrap();
    let drawn = seen.split("\x1b[H").nth(1).unwrap().split("\x1b[J").next().unwrap();
    drawn.replace("\x1b[K", "").replace('\r', "")
}
