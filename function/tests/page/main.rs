//! Does the page work in a browser? Debian's Chromium looks at it, without a head, while the real
//! binary answers between two fake upstreams; axe-core judges whether everybody can read it.
//!
//! `PICTURES=FOLDER` keeps what it looked like, in both themes and on a phone.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::{collections::BTreeMap, env, path::PathBuf, process::Command, time::Duration};

use function::failover::identity::Fingerprint;
use function::money::{Period, budget::Month};
use jiff::tz::TimeZone;
use redb::{Database, ReadableTable, TableDefinition};
use serde_json::Value;
use testing::{
    answer::{limited, moment, overloaded, window},
    child::{self, clean},
    client::{BOB, Call},
    installed::{Requirements, installed},
    world::World,
};

const KEY: &str = "ccp_0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const SESSION: &str = "7d0f4c1e-4b1c-4f5e-9a55-0f6f1f0f7a11";

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_has_done_nothing_says_so() {
    let world = World::start();
    let seen = look(&world, "/_proxy/", "nothing").await;
    assert!(seen.says("now", &["Anthropic", "No limit is known."]), "{seen:?}");
    assert!(seen.says("money", &["No cap is set.", "$0.00"]), "{seen:?}");
    assert!(seen.says("days", &["Bedrock has cost nothing."]), "{seen:?}");
    assert!(seen.says("detours", &["Anthropic has answered everything."]), "{seen:?}");
    assert!(seen.says("everybody", &["Requests since the start\n0"]), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_proxy_shows_who_answers_whom_and_what_that_costs() {
    let world = World::with("BUDGET_TOTAL_MONTH_USD", "10").start();
    world.call(message()).await;
    world.anthropic.next([overloaded()]);
    world.call(message().model("claude-haiku-4-5")).await;
    world.call(message().model("claude-haiku-4-5")).await;
    world.anthropic.next([window("5h", 3600), limited(600)]);
    for _ in 0..3 {
        assert_eq!(world.call(message()).await.upstream(), "bedrock");
    }
    let bob = Call::message().by(BOB).at("/u/bob/v1/messages");
    assert_eq!(world.call(bob).await.upstream(), "bedrock");
    let seen = look(&world, "/_proxy/", "whole").await;
    assert!(seen.says("now", &["Bedrock", "until ", "5-hour limit"]), "{seen:?}");
    assert!(seen.says("money", &["$0.01 of $10.00", "0 % used", "resets 1 "]), "{seen:?}");
    assert!(seen.says("days", &["sonnet $0.01", "haiku $0.01"]), "{seen:?}");
    assert!(
        seen.says("detours", &["haiku, Anthropic is overloaded", "sonnet, 5-hour limit"]),
        "{seen:?}"
    );
    let everybody = ["Requests since the start\n7", "5 (71 %)", "bob: sonnet until"];
    assert!(seen.says("everybody", &everybody), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_days_are_a_chart_and_a_table() {
    let mut world = World::with("BUDGET_TOTAL_MONTH_USD", "250").start();
    world.anthropic.next([window("5h", 7200)]);
    world.call(message()).await;
    let (sum, today) = spend(&mut world);
    let seen = look(&world, "/_proxy/", "days").await;
    let legend = [format!("opus ${:.2}", sum * 0.7), format!("sonnet ${:.2}", sum * 0.3)];
    assert!(seen.says("days", &[&legend[0], &legend[1]]), "{legend:?} {seen:?}");
    assert!(seen.says("money", &[&format!("Today\n${today:.2}")]), "{today} {seen:?}");
}

/// Writes down what the last 20 days have cost, and returns the dollars of all and of today.
fn spend(world: &mut World) -> (f64, f64) {
    world.proxy().end();
    let months: TableDefinition<'static, (&str, &str), &str> = TableDefinition::new("budgets");
    let database = Database::create(world.setting("RATE_LIMIT_STORE_PATH")).unwrap();
    let write = database.begin_write().unwrap();
    let (mut sum, mut today) = (0, 0);
    {
        let mut table = write.open_table(months).unwrap();
        // The deployment's own item comes first.
        let subject = table.last().unwrap().unwrap().0.value().1.to_owned();
        let mut items = BTreeMap::<String, Month>::new();
        for days in 0..20 {
            let at = Period::at(moment(-days * 86_400), &TimeZone::UTC);
            let amount = (days * 37 % 11) * 1_000_000 + 500_000;
            (sum, today) = (sum + amount, if days == 0 { amount } else { today });
            let counters = &mut items.entry(at.month()).or_default().counters;
            counters.insert(at.day(), amount);
            counters.insert(format!("{}_opus", at.day()), amount / 10 * 7);
            counters.insert(format!("{}_sonnet", at.day()), amount / 10 * 3);
            *counters.entry("m".to_owned()).or_default() += amount;
        }
        for (month, item) in items {
            let json = serde_json::to_string(&item).unwrap();
            table.insert((month.as_str(), subject.as_str()), json.as_str()).unwrap();
        }
    }
    write.commit().unwrap();
    drop(database);
    world.restart();
    let dollars = |amount: i64| f64::from(i32::try_from(amount).unwrap()) / 1e6;
    (dollars(sum), dollars(today))
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_a_key_the_page_shows_its_owner_alone_and_tells_nobody_the_key() {
    let digest = |key: &str| Fingerprint::of(&[key.as_bytes()]).unwrap();
    let bobs = KEY.replace('0', "1");
    let keys = format!("ada:{},bob:{}", digest(KEY), digest(&bobs));
    let world = World::with("ACCESS_MODE", "key").with("PROXY_KEYS", &keys);
    let world = world.with("BUDGET_USER_DAY_USD", "0.05").start();
    world.anthropic.always(overloaded());
    for (key, session) in [(KEY, SESSION), (bobs.as_str(), "bobs")] {
        let call = message().header("x-claude-proxy-key", key);
        world.call(call.header("x-claude-code-session-id", session)).await;
    }
    let seen = look(&world, &format!("/k/{KEY}/_proxy/"), "key").await;
    assert!(seen.says("who", &["ada"]), "{seen:?}");
    assert!(seen.says("now", &["Bedrock", "Anthropic is overloaded"]), "{seen:?}");
    assert!(seen.says("money", &["Today", "$0.01 of $0.05", "0 % used"]), "{seen:?}");
    assert_eq!(seen.text("detours").matches("sonnet").count(), 1, "bob has another one");
    assert_eq!(seen.text("everybody"), "");
    assert!(!world.log().contains(KEY), "{}", world.log());
    let stranger = world.call(Call::new("GET", "/k/ccp_x/_proxy/")).await;
    assert_eq!(stranger.status, 401);
}

/// What a browser has seen.
#[derive(Debug)]
struct Seen(Value);

impl Seen {
    fn text(&self, part: &str) -> String {
        self.0["texts"][part].as_str().unwrap_or_default().to_owned()
    }

    fn says(&self, part: &str, words: &[&str]) -> bool {
        words.iter().all(|word| self.text(part).contains(word))
    }
}

#[expect(clippy::disallowed_methods, reason = "a person says where pictures are wanted")]
fn pictures(name: &str) -> Option<PathBuf> {
    env::var_os("PICTURES").map(|folder| PathBuf::from(folder).join(name))
}

/// Looks at a page in both themes and on a phone, and at how it behaves.
async fn look(world: &World, path: &str, name: &str) -> Seen {
    let origin = format!("http://{}", world.address());
    let url = format!("{origin}{path}");
    let pictures = pictures(name);
    if let Some(folder) = &pictures {
        std::fs::create_dir_all(folder).unwrap();
    }
    let pictures = pictures.map(|folder| folder.display().to_string()).unwrap_or_default();
    let seen = tokio::task::spawn_blocking(move || {
        let node = installed("page", Requirements::Node(include_str!("package.json")));
        let mut driver = Command::new("node");
        let script = ["--input-type=module", "--eval", include_str!("browser.mjs"), "--"];
        driver.args(script).args([&chromium(), &url, &pictures]).current_dir(node);
        clean(&mut driver);
        let ended = child::run(&mut driver, Duration::from_secs(180), "the driver was installed");
        assert!(ended.status.success(), "{}", ended.stderr);
        serde_json::from_str::<Value>(&ended.stdout).unwrap()
    });
    let seen = seen.await.unwrap();
    for nothing in ["console", "violations", "axe"] {
        assert_eq!(seen[nothing], Value::Array(Vec::new()), "{nothing}");
    }
    for request in seen["requests"].as_array().unwrap() {
        let of_ours = request["url"].as_str().unwrap().starts_with(&origin);
        let inside = request["url"].as_str().unwrap().starts_with("data:");
        assert!(of_ours || inside, "{request}");
        assert_eq!(request["referrer"], "", "{request}");
    }
    assert_eq!(seen["opened"], true, "the table opens by the keyboard");
    for (theme, beyond) in seen["widths"].as_object().unwrap() {
        assert!(beyond.as_i64().unwrap() <= 0, "{theme} is wider than the window: {beyond}");
    }
    Seen(seen)
}

/// Debian's browser, or what another system calls it.
#[expect(clippy::disallowed_methods, reason = "programs are found where a shell finds them")]
fn chromium() -> String {
    let path = env::var_os("PATH").unwrap_or_default();
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let found = env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|program| program.is_file());
    let found = found.expect("this test needs Chromium: apt-get install chromium");
    found.display().to_string()
}

fn message() -> Call {
    Call::message().header("x-claude-code-session-id", SESSION)
}
