//! The line of a request tells what became of it, whoever left, broke off or said nothing.

use std::time::Duration;

use testing::{
    answer::{Answer, access_denied, hang, limited, ok, overloaded, refused},
    client::Call,
    world::World,
};
use tokio::time::Instant;

/// How long a client stays.
#[derive(Clone, Copy)]
enum Stay {
    ToTheEnd,
    /// Until nothing has come for a second and a half.
    Shortly,
}

use Stay::{Shortly, ToTheEnd};

/// What is asked, what Anthropic and Bedrock make of it, and how long the client stays.
type Scene = (&'static str, Call, Vec<Answer>, Vec<Answer>, Stay);
/// A scene, and what its line has and has not.
type Told = (Scene, Vec<&'static str>, Vec<&'static str>);

#[tokio::test]
async fn a_line_says_who_has_answered_what_and_how_it_ended() {
    let scenes = whole_answers().into_iter().chain(broken_answers()).chain(clients_that_left());
    for (scene, said, unsaid) in scenes {
        let name = scene.0;
        let line = play(scene).await;
        for word in said {
            assert!(line.contains(word), "{name}: no {word}: {line}");
        }
        for word in unsaid {
            assert!(!line.contains(word), "{name}: {word}: {line}");
        }
    }
}

fn whole_answers() -> Vec<Told> {
    let get = |path: &str| Call::new("GET", path);
    let (message, whole) = (Call::message, || Call::message().whole());
    vec![
        (
            ("a stream", message(), vec![], vec![], ToTheEnd),
            vec!["answered by anthropic request.id", "status=200", "first_byte_ms=", "attempts=1"],
            vec!["fault", "reason"],
        ),
        (
            ("nothing but a head", Call::new("HEAD", "/api/hello"), vec![], vec![], ToTheEnd),
            vec!["answered by anthropic request.id", "status=200"],
            vec!["fault"],
        ),
        (
            ("refused", whole(), vec![limited(60)], vec![access_denied()], ToTheEnd),
            vec!["answered by anthropic request.id", "status=429", "attempts=2"],
            vec!["fault", "reason", "cost_"],
        ),
        (
            ("busy", whole(), vec![overloaded()], vec![], ToTheEnd),
            vec!["answered by bedrock: overloaded request.id", "status=200", "cost_microusd=156"],
            vec!["fault", "cooldown_s"],
        ),
        (
            ("not found", get("/v1/nothing"), vec![], vec![], ToTheEnd),
            vec!["call=\"other\"", "status=404"],
            vec!["fault"],
        ),
        (
            ("nobody's", get("/_proxy/nothing"), vec![], vec![], ToTheEnd),
            vec!["answered by the proxy", "call=\"refused\"", "status=404"],
            vec!["fault", "upstream="],
        ),
        (
            ("two paths", get("/v1/a//b"), vec![], vec![], ToTheEnd),
            vec!["answered by the proxy", "call=\"refused\"", "status=400"],
            vec!["fault"],
        ),
    ]
}

fn broken_answers() -> Vec<Told> {
    let (broke, cut) = ("the connection to anthropic broke", "anthropic's stream was cut");
    let (message, whole) = (Call::message, || Call::message().whole());
    vec![
        (
            ("a whole answer cut", whole(), vec![ok().torn_after(1)], vec![], ToTheEnd),
            vec!["answered by anthropic (the connection to anthropic broke)", "status=200", broke],
            vec![],
        ),
        (
            ("a stream cut", message(), vec![ok().cut_after(5)], vec![], ToTheEnd),
            vec!["answered by anthropic (anthropic's stream was cut)", "status=200", cut],
            vec![],
        ),
        (
            (
                "a stream of bedrock cut",
                message(),
                vec![limited(60)],
                vec![ok().cut_after(5)],
                ToTheEnd,
            ),
            vec!["answered by bedrock: rate_limited (bedrock's stream failed)", "status=200"],
            vec![],
        ),
    ]
}

fn clients_that_left() -> Vec<Told> {
    let long = Duration::from_secs(60);
    let left = "fault=\"the client left\"";
    let (message, whole) = (Call::message, || Call::message().whole());
    vec![
        (
            ("left in a stream", message(), vec![ok().pause_after(5, long)], vec![], Shortly),
            vec!["answered by anthropic (the client left)", "status=200", left, "first_byte_ms="],
            vec![],
        ),
        (
            ("left before a head", message(), vec![hang()], vec![], Shortly),
            vec!["nobody answered; anthropic was asked (the client left)", left],
            vec!["status=", "first_byte_ms=", "answered by"],
        ),
        (
            ("left before bedrock's", message(), vec![limited(60)], vec![hang()], Shortly),
            vec!["nobody answered; bedrock was asked: rate_limited (the client left)", left],
            vec!["status=", "first_byte_ms="],
        ),
        (
            ("left in the short wait", whole(), vec![limited(9)], vec![], Shortly),
            vec!["nobody answered; anthropic was asked (the client left)", "attempts=1"],
            vec!["status="],
        ),
        (
            ("left in another call", Call::new("GET", "/v1/slow"), vec![], vec![], Shortly),
            vec!["call=\"other\"", "nobody answered; anthropic was asked (the client left)"],
            vec!["status="],
        ),
    ]
}

/// The one line of a world in which this happens.
async fn play((name, call, anthropic, bedrock, stay): Scene) -> String {
    let world = World::with("LOG_LEVEL", "info").start();
    world.anthropic.next(anthropic);
    world.anthropic.next_on("/v1/slow", [hang()]);
    let nothing = refused(404, "not_found_error", "nothing");
    world.anthropic.next_on("/v1/nothing", [nothing]);
    world.bedrock.next(bedrock);
    match stay {
        ToTheEnd => drop(world.call(call).await),
        Shortly => call.leave_after(world.address(), Duration::from_millis(1500)).await,
    }
    let begun = Instant::now();
    loop {
        let log = world.log();
        let lines: Vec<_> = log.lines().filter(|line| line.contains("request.id=")).collect();
        if let [line] = lines[..] {
            return line.to_owned();
        }
        assert!(lines.len() < 2 && begun.elapsed() < Duration::from_secs(20), "{name}: {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
