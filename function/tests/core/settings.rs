//! Does the proxy read its settings as the table says, and refuse what it cannot mean?
//!
//! Must not read this process's environment: every test brings its own.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use function::access::AccessMode;
use function::failover::identity::Fingerprint;
use function::money::budget::Caps;
use function::money::{Given, MicroDollars, Multiplier};
use function::settings::{
    Command, EXIT_USAGE, FallbackOn, Options, Platform, Settings, StoreSettings, VARIABLES, help,
    version,
};
use tracing::level_filters::LevelFilter;

#[test]
fn nothing_set_means_the_defaults() {
    let settings = read(&[]).unwrap();
    assert!(settings.tracking && settings.fallback);
    assert_eq!(settings.retry_threshold, Duration::from_secs(30));
    assert_eq!(settings.max_retry_wait, Duration::from_secs(10));
    assert_eq!(settings.proof_max_age, Duration::from_secs(900));
    assert_eq!(settings.store, StoreSettings::Embedded("/data/claude-proxy/limits.redb".into()));
    assert_eq!(settings.upstream_url, "https://api.anthropic.com");
    assert_eq!(
        settings.fallback_on,
        FallbackOn { rate_limit: true, overloaded: true, ..NO_REASON }
    );
    assert!(settings.regions.is_empty() && settings.model_map.is_empty());
    assert_eq!(settings.profile_prefix, None);
    assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(settings.access, AccessMode::Open);
    assert_eq!(settings.log_level, LevelFilter::INFO);
}

#[test]
fn every_default_of_the_table_is_what_the_code_does() {
    let mut written = 0;
    for variable in VARIABLES {
        let Some(value) = variable.default.strip_prefix('`').and_then(|v| v.strip_suffix('`'))
        else {
            continue;
        };
        assert_eq!(read(&[(variable.name, value)]), read(&[]), "{}", variable.name);
        written += 1;
    }
    assert_eq!(written, 17);
}

#[test]
fn every_variable_of_the_table_is_read() {
    for variable in VARIABLES.iter().filter(|variable| variable.name != "RATE_LIMIT_STORE_PATH") {
        let problems = read(&[(variable.name, "!\u{7}!")]).unwrap_err().to_string();
        assert_eq!(problems.lines().count(), 1, "{problems}");
        assert!(problems.starts_with(&format!("{} ", variable.name)), "{problems}");
    }
}

#[test]
fn every_variable_changes_its_setting() {
    let settings = read(&[
        ("RATE_LIMIT_TRACKING_ENABLED", "false"),
        ("BEDROCK_FALLBACK_ENABLED", "false"),
        ("RETRY_THRESHOLD_SECONDS", "0"),
        ("MAX_RETRY_WAIT_SECONDS", "60"),
        ("RATE_LIMIT_STORE", "embedded"),
        ("RATE_LIMIT_STORE_PATH", "here/limits"),
        ("RATE_LIMIT_STORE_TIMEOUT_MS", "500"),
        ("ANTHROPIC_UPSTREAM_URL", "http://127.0.0.1:9000/prefix/"),
        ("FALLBACK_ON", "server_error, unreachable"),
        ("BEDROCK_PROOF_MAX_AGE_SECONDS", "21600"),
        ("BEDROCK_REGIONS", "us-gov-west-1, eu-central-1"),
        ("BEDROCK_PROFILE_PREFIX", "us-gov"),
        ("BEDROCK_MODEL_MAP", r#"{"claude-x":"arn:aws:bedrock:us-east-1:1:inference-profile/x"}"#),
        ("BEDROCK_PRICES", r#"{"us.anthropic.claude-opus-5-5":{"input":4.5,"cache_read":0}}"#),
        ("BEDROCK_PRICE_MULTIPLIER", "0.85"),
        ("BUDGET_USER_MONTH_USD", "50"),
        ("BUDGET_USER_DAY_USD", "0.5"),
        ("BUDGET_TOTAL_MONTH_USD", "0"),
        ("BUDGET_TOTAL_DAY_USD", "100000000"),
        ("BUDGET_TIMEZONE", "Asia/Seoul"),
        ("BUDGET_MESSAGE", "예산 문의: finops@example.com"),
        ("LISTEN_ADDRESS", "[::1]:9"),
        ("LISTEN_METRICS", "[::1]:10"),
        ("LOG_LEVEL", "off"),
    ])
    .unwrap();
    assert!(!settings.tracking && !settings.fallback);
    assert_eq!(settings.retry_threshold, Duration::ZERO);
    assert_eq!(settings.max_retry_wait, Duration::from_secs(60));
    assert_eq!(settings.proof_max_age, Duration::from_secs(21_600));
    assert_eq!(settings.store, StoreSettings::Embedded("here/limits".into()));
    assert_eq!(settings.store_patience, Duration::from_millis(500));
    assert_eq!(settings.upstream_url, "http://127.0.0.1:9000/prefix");
    let later_reasons = FallbackOn { server_error: true, unreachable: true, ..NO_REASON };
    assert_eq!(settings.fallback_on, later_reasons);
    assert_eq!(settings.regions, ["us-gov-west-1", "eu-central-1"]);
    assert_eq!(settings.profile_prefix.unwrap().to_string(), "us-gov");
    assert_eq!(settings.model_map["claude-x"], "arn:aws:bedrock:us-east-1:1:inference-profile/x");
    assert_money(&settings);
    assert_eq!(settings.listen.to_string(), "[::1]:9");
    assert_eq!(settings.listen_metrics.unwrap().to_string(), "[::1]:10");
    assert_eq!(settings.log_level, LevelFilter::OFF);
}

fn assert_money(settings: &Settings) {
    let given = Given { input: Some(4_500_000), cache_read: Some(0), ..Given::default() };
    assert_eq!(settings.prices.given, [("claude-opus-5-5".to_owned(), given)].into());
    assert_eq!(settings.prices.multiplier, Multiplier(850_000));
    let cap = |amount| Some(MicroDollars(amount));
    let user = Caps { month: cap(50_000_000), day: cap(500_000) };
    let total = Caps { month: cap(0), day: cap(100_000_000_000_000) };
    assert_eq!((settings.budget.user, settings.budget.total), (user, total));
    assert_eq!(settings.budget.zone.iana_name(), Some("Asia/Seoul"));
    assert_eq!(settings.budget.message.as_deref(), Some("예산 문의: finops@example.com"));
}

#[test]
fn an_empty_variable_counts_as_unset() {
    let names = VARIABLES.map(|variable| variable.name);
    for name in names.into_iter().chain(["BEDROCK_REGION"]) {
        assert_eq!(read(&[(name, " ")]), read(&[]), "{name}");
    }
}

#[test]
fn space_around_a_value_is_not_part_of_it() {
    assert_eq!(read(&[("RETRY_THRESHOLD_SECONDS", " 30\n")]), read(&[]));
}

#[test]
fn all_problems_are_reported_at_once() {
    let problems = read(&[
        ("RATE_LIMIT_TRACKING_ENABLED", "yes"),
        ("RETRY_THRESHOLD_SECONDS", "30s"),
        ("LOG_LEVL", "debug"),
        ("RATE_LIMIT_STORE", "dynamo"),
        ("RATE_LIMIT_TABLE_NAME", "a b"),
        ("ACCESS_MODE", "key"),
        ("PROXY_KEYS", "alice:0123"),
        ("ANTHROPIC_UPSTREAM_URL", "http://gateway.example"),
        ("FALLBACK_ON", "rate-limit"),
        ("BEDROCK_REGIONS", "us-east"),
        ("BEDROCK_PROFILE_PREFIX", "asia"),
        ("BEDROCK_MODEL_MAP", "{\"a\":\n5}"),
        ("BEDROCK_PRICES", r#"{"claude-opus-5-5":{"input":-4}}"#),
        ("BEDROCK_PRICE_MULTIPLIER", "15 %"),
        ("LISTEN_ADDRESS", "0.0.0.0:8080"),
    ]);
    insta::assert_snapshot!(problems.unwrap_err(), @r#"
    LOG_LEVL is not a setting: did you mean LOG_LEVEL? (rename it, or unset it if it is not meant for claude-proxy)
    RATE_LIMIT_TABLE_NAME is `a b`: write 3 to 255 letters, digits, `_`, `-` or `.`, such as `claude-proxy-rate-limits`
    RATE_LIMIT_STORE is `dynamo`: write `dynamodb`, `embedded` or `memory`
    PROXY_KEYS has no name and digest at place 1 of its list: write a comma list of `name:sha256`, with the SHA-256 of the whole key in 64 lower-case hexadecimal digits
    RATE_LIMIT_TRACKING_ENABLED is `yes`: write `true` or `false`
    RETRY_THRESHOLD_SECONDS is `30s`: write whole seconds, from 0 to 21600
    ANTHROPIC_UPSTREAM_URL would send credentials unencrypted, which only loopback hosts may get: write an address such as `https://api.anthropic.com`
    FALLBACK_ON is `rate-limit`: write a comma list of `rate_limit`, `overloaded`, `server_error` and `unreachable` (for none at all, BEDROCK_FALLBACK_ENABLED=false)
    BEDROCK_REGIONS is `us-east`: write a comma list of AWS regions, each once, such as `us-east-1,us-west-2`
    BEDROCK_PROFILE_PREFIX is `asia`: write `us`, `eu`, `apac`, `jp`, `au`, `us-gov`, `global` or `none`
    BEDROCK_MODEL_MAP is not an object of strings (line 2, column 1): write JSON such as `{"claude-opus-5-5":"eu.anthropic.claude-opus-5-5"}`
    BEDROCK_PRICES has a rate that cannot be, at `claude-opus-5-5`: write dollars for a million tokens, from 0 to 1000000 with at most six decimals
    BEDROCK_PRICE_MULTIPLIER is `15 %`: write a number from 0 to 100 with at most six decimals, such as `0.85`
    "#);
}

#[test]
fn seconds_are_whole_and_within_bounds() {
    for (name, good, bad) in [
        ("RATE_LIMIT_STORE_TIMEOUT_MS", ["50", "60000"], ["49", "60001"]),
        ("RETRY_THRESHOLD_SECONDS", ["0", "21600"], ["-1", "21601"]),
        ("MAX_RETRY_WAIT_SECONDS", ["0", "60"], ["+1", "61"]),
        ("BEDROCK_PROOF_MAX_AGE_SECONDS", ["1", "21600"], ["0", "99999999999999999999"]),
    ] {
        accepts(name, &good);
        refuses(name, &bad);
        refuses(name, &["1.5", "1m", "ten", "true"]);
    }
}

#[test]
fn booleans_are_true_or_false() {
    for name in ["RATE_LIMIT_TRACKING_ENABLED", "BEDROCK_FALLBACK_ENABLED", "ACCESS_OPEN_ANYWHERE"]
    {
        accepts(name, &["true", "false"]);
        refuses(name, &["1", "0", "yes", "TRUE", "off"]);
    }
}

#[test]
fn the_upstream_is_https_unless_it_is_loopback() {
    let name = "ANTHROPIC_UPSTREAM_URL";
    accepts(name, &["https://api.anthropic.com/", "https://gateway.example:8443/anthropic"]);
    accepts(name, &["http://localhost:1", "http://127.8.8.8:1", "http://[::1]:8080/x/"]);
    refuses(name, &["http://api.anthropic.com", "http://10.0.0.1", "http://localhost.example"]);
    refuses(name, &["http://127.0.0.1.example", "ftp://localhost", "file:///etc/hosts"]);
    refuses(name, &["api.anthropic.com", "localhost:8080", "//host", "/path", "https://a b"]);
    refuses(
        name,
        &["https://", "https:///path", "https://host:", "https://:443", "https://host:0"],
    );
    refuses(name, &["https://host:99999", "https://host?x=1", "https://host#x"]);
}

#[test]
fn a_credential_in_an_address_is_refused_and_not_repeated() {
    let problems = read(&[
        ("ANTHROPIC_UPSTREAM_URL", "https://alice:hunter2@host.example:443"),
        ("PROXY_KEYS", "alice:hunter2"),
        ("PROXY_KEY", "hunter2"),
    ]);
    let text = problems.unwrap_err().to_string();
    assert_eq!(text.lines().count(), 3);
    assert!(!text.contains("hunter2"), "{text}");
}

#[test]
fn lists_name_only_what_there_is() {
    accepts("FALLBACK_ON", &["rate_limit", "unreachable", "overloaded,overloaded"]);
    refuses("FALLBACK_ON", &["none", "rate-limit", "429", "rate_limit;overloaded", "rate_limit,"]);
    accepts("BEDROCK_REGIONS", &["us-east-1", "eusc-de-east-1,ap-southeast-12"]);
    refuses("BEDROCK_REGIONS", &["us-east", "US-EAST-1", "us-east-1a", "eu-1", "a,b", "--1", ","]);
    refuses("BEDROCK_REGIONS", &["us-east-1 us-west-2", "us-east-1,us-east-1"]);
    refuses("BEDROCK_PROFILE_PREFIX", &["asia", "EU"]);
}

#[test]
fn the_model_map_is_an_object_of_strings() {
    let name = "BEDROCK_MODEL_MAP";
    accepts(name, &[r#"{"claude-opus-4-6[1m]":"us.anthropic.claude-opus-4-6-v1"}"#]);
    refuses(name, &["{", "[]", "claude=x", r#"{"a":1}"#, r#"{"a":null}"#]);
    refuses(name, &[r#"{"a":""}"#, r#"{"":"a"}"#, r#"{"a":"b c"}"#]);
    refuses(name, &[r#"{"a":"b","a":"c"}"#, r#"{"a":"b","\u0061":"b"}"#, r#"{"a":"b"}{}"#]);
}

#[test]
fn prices_are_amounts_that_can_be_and_of_models_that_there_are() {
    let rate = |rate: &str| format!(r#"{{"claude-opus-5-5":{{"input":{rate}}}}}"#);
    for good in ["0", "4", "0.2", "34.375", "0.000001", "1000000", "null"] {
        accepts("BEDROCK_PRICES", &[&rate(good)]);
    }
    for bad in ["-4", "0.0000001", "1000001", "1e400", "1e2", "\"4\"", "[]", "{}", "true", "NaN"] {
        refuses("BEDROCK_PRICES", &[&rate(bad)]);
    }
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    let names = ["claude-opus-9[1m]", "eu.anthropic.claude-haiku-4-5-20251001-v1:0", arn];
    for name in names {
        accepts("BEDROCK_PRICES", &[&format!(r#"{{"{name}":{{}}}}"#)]);
    }
    refuses("BEDROCK_PRICES", &["{", "[]", "4", r#"{"claude-opus-5-5":4}"#]);
    refuses("BEDROCK_PRICES", &[r#"{"gpt-7":{}}"#, r#"{"":{}}"#, r#"{"claude-opus-5-5":null}"#]);
    refuses("BEDROCK_PRICES", &[r#"{"claude-opus-5-5":{"cache_write":1}}"#]);
    refuses("BEDROCK_PRICES", &[r#"{"claude-opus-5-5":{"input":1,"input":2}}"#]);
    for (typed, meant) in [
        ("claude-opsu-5-5", "claude-opus-5-5"),
        ("claude-opus5-5", "claude-opus-5"),
        ("us.anthropic.claude-hiaku-4-5", "claude-haiku-4-5"),
        ("claude-sonett-4-5", "claude-sonnet-4-5"),
    ] {
        let prices = format!(r#"{{"{typed}":{{"input":1}}}}"#);
        let text = read(&[("BEDROCK_PRICES", &prices)]).unwrap_err().to_string();
        assert!(text.contains(&format!("`{meant}` is probably meant")), "{text}");
    }
    accepts("BEDROCK_PRICES", &[r#"{"claude-opus-9-1":{},"claude-epic-1":{}}"#]);
    let again = r#"{"claude-opus-5-5":{"input":1},"claude-opus-5-5":{"input":2}}"#;
    let text = read(&[("BEDROCK_PRICES", again)]).unwrap_err().to_string();
    assert!(text.contains("names `claude-opus-5-5` twice"), "{text}");
    let twice = r#"{"claude-haiku-4-5":{},"us.anthropic.claude-haiku-4-5-20251001-v1:0":{}}"#;
    refuses("BEDROCK_PRICES", &[twice]);
    let many: Vec<_> = (0..257).map(|index| format!(r#""claude-opus-{index}":{{}}"#)).collect();
    accepts("BEDROCK_PRICES", &[&format!("{{{}}}", many[..256].join(","))]);
    refuses("BEDROCK_PRICES", &[&format!("{{{}}}", many.join(",")), &" {}".repeat(30_000)]);
    accepts("BEDROCK_PRICE_MULTIPLIER", &["0", "1", "0.85", ".5", "100"]);
    refuses("BEDROCK_PRICE_MULTIPLIER", &["-1", "100.000001", "1e9", "NaN", "inf", "85%", "0,85"]);
}

#[test]
fn a_cap_is_an_amount_and_needs_a_store_that_keeps_it() {
    let caps = ["USER_MONTH", "USER_DAY", "TOTAL_MONTH", "TOTAL_DAY"]
        .map(|cap| format!("BUDGET_{cap}_USD"));
    for name in &caps {
        accepts(name, &["0", "50", "0.000001", "100000000"]);
        accepts(name, &["25.5", "0.50", ".5", "007"]);
        refuses(name, &["50 USD", "50c", "5000 cents", "25,50", "1,000", "1.000.000", "½", "+5"]);
        refuses(name, &["-1", "50$", "1e2", "NaN", "inf", "0.0000001", "100000000.000001", "5,0"]);
        let text = read(&[("RATE_LIMIT_STORE", "memory"), (name, "5")]).unwrap_err().to_string();
        let begins = format!("{name} is set, but the memory store forgets");
        assert!(text.starts_with(&begins) && text.lines().count() == 1, "{text}");
    }
    accepts("BUDGET_TIMEZONE", &["UTC", "Europe/Berlin", "America/Argentina/Ushuaia"]);
    refuses("BUDGET_TIMEZONE", &["Mars/Olympus", "+01:00", "/etc/localtime", "../UTC"]);
    accepts("BUDGET_MESSAGE", &["ask #finops", &"예".repeat(200)]);
    refuses("BUDGET_MESSAGE", &[&"a".repeat(201), "two\nlines", "\u{1b}[31mred"]);
}

#[test]
fn a_long_or_strange_value_is_shown_on_one_short_line() {
    let value = "\u{1b}[31m\n".repeat(1000);
    let model_map = format!("{{\"{}\":\"\"}}", "a".repeat(1000));
    let json_text = format!("\"{}\"", "a".repeat(1000));
    let maps = [("BEDROCK_MODEL_MAP", model_map), ("BEDROCK_MODEL_MAP", json_text)];
    for (name, value) in maps.into_iter().chain([("LOG_LEVEL", value)]) {
        let text = read(&[(name, &value)]).unwrap_err().to_string();
        assert!(text.len() < 400 && text.lines().count() == 1, "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}

#[test]
fn the_memory_store_needs_no_home_and_the_file_does() {
    let homeless =
        |vars: &[(&str, &str)]| Settings::from_vars(owned(vars), Options::default(), None);
    let memory = homeless(&[("RATE_LIMIT_STORE", "memory")]).unwrap();
    assert_eq!(memory.store, StoreSettings::Memory);
    let file = homeless(&[("RATE_LIMIT_STORE_PATH", "/var/limits")]).unwrap();
    assert_eq!(file.store, StoreSettings::Embedded("/var/limits".into()));
    let text = homeless(&[]).unwrap_err().to_string();
    assert!(text.starts_with("RATE_LIMIT_STORE_PATH is not set and there is no home"), "{text}");
}

#[test]
fn the_table_of_the_shared_store_has_a_name_that_dynamodb_takes() {
    let store = |vars: &[(&str, &str)]| read(vars).unwrap().store;
    let table = |name: &str| StoreSettings::Dynamo(name.to_owned());
    let dynamodb = ("RATE_LIMIT_STORE", "dynamodb");
    assert_eq!(store(&[dynamodb]), table("claude-proxy-rate-limits"));
    assert_eq!(store(&[dynamodb, ("RATE_LIMIT_TABLE_NAME", "a-B_9.c")]), table("a-B_9.c"));
    let (longest, longer) = ("a".repeat(255), "a".repeat(256));
    accepts("RATE_LIMIT_TABLE_NAME", &["abc", &longest]);
    refuses("RATE_LIMIT_TABLE_NAME", &["ab", &longer, "a/b", "a b", "tabellé"]);
    refuses("RATE_LIMIT_TABLE_NAME", &["arn:aws:dynamodb:us-east-1:123456789012:table/x"]);
}

#[test]
fn key_mode_needs_keys_and_knows_whose_they_are() {
    let text = read(&[("ACCESS_MODE", "key")]).unwrap_err().to_string();
    assert!(text.starts_with("ACCESS_MODE is `key`, but there are no keys"), "{text}");
    let keys = format!("alice:{ABC}, bob@example.com:{EMPTY}");
    let settings = read(&[("ACCESS_MODE", "key"), ("PROXY_KEYS", &keys)]).unwrap();
    let AccessMode::Key(keys) = &settings.access else { panic!("{:?}", settings.access) };
    let owner =
        |text: &[u8]| keys.owner(&Fingerprint::of(&[text]).unwrap()).map(ToString::to_string);
    assert_eq!(owner(b"abc"), Some("alice".to_owned()));
    assert_eq!(owner(b""), Some("bob@example.com".to_owned()));
    assert_eq!(owner(b"abd"), None);
    let shown = format!("{settings:?}");
    assert!(shown.contains("ProxyKeys(2)") && !shown.contains(ABC), "{shown}");
}

#[test]
fn a_list_of_keys_is_names_and_digests_and_is_never_repeated() {
    let upper = ABC.to_uppercase();
    let key = format!("alice:ccp_{}", "ab".repeat(32));
    let twice = format!("alice:{ABC},bob:{ABC}");
    for bad in [
        "alice",
        "alice:",
        "alice:0123",
        ABC,
        &format!(":{ABC}"),
        &format!("a b:{ABC}"),
        &format!("alice:{upper}"),
        &format!("alice:{ABC}0"),
        &format!("alice:{ABC},"),
        &format!("alice:{ABC};bob:{EMPTY}"),
        &key,
        &twice,
    ] {
        let text = read(&[("ACCESS_MODE", "key"), ("PROXY_KEYS", bad)]).unwrap_err().to_string();
        assert!(text.starts_with("PROXY_KEYS h") && text.contains("write "), "{text}");
        let shown = [&ABC[..8], &upper[..8], "0123", "abab"].iter().any(|part| text.contains(part));
        assert!(text.lines().count() == 1 && !shown, "{text}");
    }
}

#[test]
fn organization_mode_needs_organizations() {
    let mode = ("ACCESS_MODE", "organization");
    let text = read(&[mode]).unwrap_err().to_string();
    assert!(text.starts_with("ACCESS_MODE is `organization`, but none is allowed"), "{text}");
    let settings = read(&[mode, ("ALLOWED_ORGANIZATIONS", "0b5c7e2a-1111, org_2")]).unwrap();
    assert_eq!(settings.access.organizations().unwrap(), ["0b5c7e2a-1111", "org_2"]);
    for bad in ["a b", "a,,b", ",", "a\u{e9}", &"a".repeat(129)] {
        let text = read(&[mode, ("ALLOWED_ORGANIZATIONS", bad)]).unwrap_err().to_string();
        assert!(
            text.starts_with("ALLOWED_ORGANIZATIONS is ") && text.lines().count() == 1,
            "{text}"
        );
    }
}

#[test]
fn a_setting_of_another_mode_is_a_problem() {
    let keys = format!("alice:{ABC}");
    refuses("PROXY_KEYS", &[&keys]);
    refuses("ALLOWED_ORGANIZATIONS", &["0123"]);
    refuses("ACCESS_MODE", &["keys", "OPEN", "none"]);
    for (mode, name, value) in
        [("organization", "PROXY_KEYS", keys.as_str()), ("key", "ALLOWED_ORGANIZATIONS", "0123")]
    {
        let also = [("PROXY_KEYS", keys.as_str()), ("ALLOWED_ORGANIZATIONS", "0123")];
        let vars: Vec<_> = [("ACCESS_MODE", mode)].into_iter().chain(also).collect();
        let text = read(&vars).unwrap_err().to_string();
        assert!(
            text.starts_with(&format!("{name} is set, but ")) && !text.contains(value),
            "{text}"
        );
    }
}

#[test]
fn who_is_asked_for_a_key_may_come_from_anywhere() {
    let keys = format!("alice:{ABC}");
    let listen = ("LISTEN_ADDRESS", "0.0.0.0:80");
    assert!(read(&[("ACCESS_MODE", "key"), ("PROXY_KEYS", &keys), listen]).is_ok());
    let organization = [("ACCESS_MODE", "organization"), ("ALLOWED_ORGANIZATIONS", "a"), listen];
    assert!(read(&organization).is_ok());
}

#[test]
fn on_aws_lambda_a_key_is_asked_for_unless_openness_is_said_twice() {
    let lambda = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
    let says = |vars: &[(&str, &str)], wanted: &str| {
        let vars: Vec<_> = vars.iter().copied().chain([lambda]).collect();
        read(&vars).is_err_and(|problems| problems.to_string().contains(wanted))
    };
    assert!(!says(&[], "ACCESS_MODE"), "the table has the keys");
    let memory = ("RATE_LIMIT_STORE", "memory");
    assert!(says(&[memory], "ACCESS_MODE is `key`, but there are no keys"));
    assert!(says(&[("ACCESS_MODE", "open")], "ACCESS_MODE is `open`, and the whole internet"));
    let twice = [("ACCESS_MODE", "open"), ("ACCESS_OPEN_ANYWHERE", "true")];
    assert!(!says(&twice, "ACCESS_MODE"));
}

#[test]
fn an_address_that_others_can_reach_needs_a_second_word() {
    let name = "LISTEN_ADDRESS";
    accepts(name, &["127.0.0.1:0", "127.9.9.9:80", "[::1]:80", "[::ffff:127.0.0.1]:80"]);
    for address in ["0.0.0.0:80", "[::]:80", "192.168.1.2:80", "[::ffff:10.0.0.1]:80"] {
        refuses(name, &[address]);
        let both = [(name, address), ("ACCESS_OPEN_ANYWHERE", "true")];
        assert_eq!(read(&both).unwrap().listen.to_string(), address);
    }
    refuses(name, &["8080", ":8080", "127.0.0.1", "proxy.example:80", "127.0.0.1:99999"]);
    let local = read(&[(name, "localhost:9000")]).unwrap();
    assert_eq!(local.listen.to_string(), "127.0.0.1:9000");
}

#[test]
fn figures_have_an_address_of_their_own() {
    let name = "LISTEN_METRICS";
    assert_eq!(read(&[]).unwrap().listen_metrics, None);
    // Whoever reads them needs no key, so it may be any address.
    accepts(name, &["127.0.0.1:0", "localhost:9464", "0.0.0.0:9464", "[::]:9464", "10.0.0.1:8080"]);
    refuses(name, &["9464", ":9464", "127.0.0.1", "metrics.example:80", "127.0.0.1:99999"]);
    let taken = ["127.0.0.1:8080", "localhost:8080", "0.0.0.0:8080", "[::]:8080"];
    refuses(name, &taken);
    let both = |listen, metrics| {
        let open = ("ACCESS_OPEN_ANYWHERE", "true");
        read(&[("LISTEN_ADDRESS", listen), (name, metrics), open])
    };
    for (listen, metrics) in [("0.0.0.0:80", "127.0.0.1:80"), ("[::]:80", "[::1]:80")] {
        let text = both(listen, metrics).unwrap_err().to_string();
        assert!(text.contains(metrics) && text.contains("(LISTEN_ADDRESS)"), "{text}");
    }
    for (listen, metrics) in [("127.0.0.1:0", "127.0.0.1:0"), ("127.0.0.1:80", "127.0.0.2:80")] {
        assert!(both(listen, metrics).is_ok(), "{listen} {metrics}");
    }
}

#[test]
fn the_command_line_wins_over_the_environment() {
    let listen = |address: &str, vars: &[(&str, &str)]| {
        let options = Options { listen: Some(address.into()) };
        Settings::from_vars(owned(vars), options, Some("/data".into()))
    };
    let env = [("LISTEN_ADDRESS", "127.0.0.1:1")];
    assert_eq!(listen("127.0.0.1:2", &env).unwrap().listen.port(), 2);
    for bad in ["here", "0.0.0.0:80"] {
        let text = listen(bad, &env).unwrap_err().to_string();
        assert!(text.starts_with("--listen is "), "{text}");
    }
}

#[test]
fn a_misspelled_variable_is_named_with_what_was_meant() {
    for (theirs, ours) in [
        ("RETRY_TRESHOLD_SECONDS", "RETRY_THRESHOLD_SECONDS"),
        ("RETRY_THRESHOLD_SECOND", "RETRY_THRESHOLD_SECONDS"),
        ("RETRY_THRESHOLD_SECS", "RETRY_THRESHOLD_SECONDS"),
        ("RETRY_THRESHOLD", "RETRY_THRESHOLD_SECONDS"),
        ("RETRY_THRESHOLD_MS", "RETRY_THRESHOLD_SECONDS"),
        ("MAX_RETRY_WAIT", "MAX_RETRY_WAIT_SECONDS"),
        ("RATELIMIT_STORE", "RATE_LIMIT_STORE"),
        ("RATE_LIMITS_STORE", "RATE_LIMIT_STORE"),
        ("RATE_LIMIT_STROE_PATH", "RATE_LIMIT_STORE_PATH"),
        ("RATE_LIMIT_TRACKING", "RATE_LIMIT_TRACKING_ENABLED"),
        ("RATE_LIMIT_TABLE", "RATE_LIMIT_TABLE_NAME"),
        ("BEDROCK_FALLBACK", "BEDROCK_FALLBACK_ENABLED"),
        ("BEDROCK_FALBACK_ENABLE", "BEDROCK_FALLBACK_ENABLED"),
        ("FALLBACK_ENABLED", "BEDROCK_FALLBACK_ENABLED"),
        ("BEDROCK_REGION", "BEDROCK_REGIONS"),
        ("AWS_BEDROCK_REGIONS", "BEDROCK_REGIONS"),
        ("BEDROK_REGONS", "BEDROCK_REGIONS"),
        ("BEDROCK_MODELS_MAP", "BEDROCK_MODEL_MAP"),
        ("BEDROCK_PROFILES_PREFIX", "BEDROCK_PROFILE_PREFIX"),
        ("PROOF_MAX_AGE_SECONDS", "BEDROCK_PROOF_MAX_AGE_SECONDS"),
        ("ANTHROPIC_UPSTREAM", "ANTHROPIC_UPSTREAM_URL"),
        ("ANTHROPIC_UPSTREAM_URI", "ANTHROPIC_UPSTREAM_URL"),
        ("UPSTREAM_URL", "ANTHROPIC_UPSTREAM_URL"),
        ("FALBACK_ON", "FALLBACK_ON"),
        ("FALLBACK_NO", "FALLBACK_ON"),
        ("ACCESS_MODES", "ACCESS_MODE"),
        ("ALLOWED_ORGANISATIONS", "ALLOWED_ORGANIZATIONS"),
        ("ALLOWED_ORGANIZATION_IDS", "ALLOWED_ORGANIZATIONS"),
        ("PROXY_KEY", "PROXY_KEYS"),
        ("LISTEN_ADDR", "LISTEN_ADDRESS"),
        ("LISTEN_ADRESS", "LISTEN_ADDRESS"),
        ("LISTEN_METRIC", "LISTEN_METRICS"),
        ("LOGLEVEL", "LOG_LEVEL"),
        ("LOG_LEVL", "LOG_LEVEL"),
        ("log_level", "LOG_LEVEL"),
        ("Bedrock_Regions", "BEDROCK_REGIONS"),
        ("CLAUDE_PROXY_LOG_LEVEL", "LOG_LEVEL"),
    ] {
        let text = read(&[(theirs, "x")]).unwrap_err().to_string();
        let sentence = format!("{theirs} is not a setting: did you mean {ours}? ");
        assert!(text.starts_with(&sentence) && text.lines().count() == 1, "{text}");
    }
}

#[test]
fn on_aws_lambda_no_address_is_listened_on_and_the_table_is_the_store() {
    let lambda = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
    let settings = read(&[lambda, ("LISTEN_ADDRESS", "0.0.0.0:80")]).unwrap();
    assert_eq!(settings.store, StoreSettings::Dynamo("claude-proxy-rate-limits".to_owned()));
    assert!(matches!(settings.access, AccessMode::Key(_)), "{:?}", settings.access);
}

#[test]
fn the_platform_is_lambda_where_there_is_a_runtime_api() {
    let platform = |vars: &[(&str, &str)]| {
        let vars = vars.iter().map(|(name, value)| (name.into(), value.into()));
        Platform::from_vars(vars).map(|platform| (platform.runtime_api, platform.concurrency))
    };
    let api = ("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9001");
    let many = |count| [api, ("AWS_LAMBDA_MAX_CONCURRENCY", count)];
    assert_eq!(platform(&[]), None);
    assert_eq!(platform(&[(api.0, " ")]), None);
    assert_eq!(platform(&[api]), Some((api.1.to_owned(), 1)));
    assert_eq!(platform(&many("8")), Some((api.1.to_owned(), 8)));
    for odd in ["", "0", "-3", "many"] {
        assert_eq!(platform(&many(odd)), Some((api.1.to_owned(), 1)), "{odd}");
    }
}

#[test]
fn the_variables_of_others_are_not_our_business() {
    let names = OTHERS.split_ascii_whitespace().collect::<Vec<_>>();
    assert!(names.len() > 200);
    for name in names {
        assert_eq!(read(&[(name, "!")]), read(&[]), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn text_that_is_not_unicode_is_a_problem_only_where_it_is_ours() {
    use std::os::unix::ffi::OsStringExt as _;

    let bytes = || OsString::from_vec(b"/data/\xff".to_vec());
    let read = |name: OsString| {
        Settings::from_vars([(name, bytes())], Options::default(), Some("/data".into()))
    };
    let text = read("LOG_LEVEL".into()).unwrap_err().to_string();
    assert!(text.starts_with("LOG_LEVEL is not readable text"), "{text}");
    let path = read("RATE_LIMIT_STORE_PATH".into()).unwrap().store;
    assert_eq!(path, StoreSettings::Embedded(PathBuf::from(bytes())));
    assert!(read("OTHER".into()).is_ok() && read(bytes()).is_ok());
}

#[test]
fn the_command_line_says_what_to_do() {
    let listen = |address: &str| Command::Serve(Options { listen: Some(address.into()) });
    assert_eq!(command(&[]).unwrap(), Command::Serve(Options::default()));
    assert_eq!(command(&["--listen", "127.0.0.1:1"]).unwrap(), listen("127.0.0.1:1"));
    assert_eq!(command(&["--listen=127.0.0.1:1"]).unwrap(), listen("127.0.0.1:1"));
    assert_eq!(command(&["-h"]).unwrap(), Command::Help);
    assert_eq!(command(&["--help"]).unwrap(), Command::Help);
    assert_eq!(command(&["-V"]).unwrap(), Command::Version);
    assert_eq!(command(&["--version"]).unwrap(), Command::Version);
}

#[test]
fn wrong_usage_is_one_sentence_that_leads_to_the_help() {
    let sentence = |args: &[&str]| command(args).unwrap_err().to_string();
    insta::assert_snapshot!(sentence(&["--port", "80"]), @"invalid option '--port'; see '--help'");
    insta::assert_snapshot!(sentence(&["-l"]), @"invalid option '-l'; see '--help'");
    insta::assert_snapshot!(sentence(&["--listen"]), @"missing argument for option '--listen'; see '--help'");
    insta::assert_snapshot!(sentence(&["serve"]), @"unexpected argument \"serve\"; see '--help'");
    assert_eq!(EXIT_USAGE, 64);
}

#[test]
fn the_version_is_that_of_the_crate() {
    assert_eq!(version(), concat!("claude-proxy ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
#[expect(clippy::too_many_lines, reason = "the whole help stands in it")]
fn the_help_names_every_option_and_variable() {
    insta::assert_snapshot!(help(), @r#"
    Answers Claude Code from Anthropic, and from AWS Bedrock while Anthropic rate-limits

    Usage: function [--listen ADDR]
           function usage [--listen ADDR] [--month YYYY-MM] [--by day|class|user]
                          [--user NAME] [--json|--csv]

    Then start Claude Code with ANTHROPIC_BASE_URL=http://127.0.0.1:8080; its own
    login or API key stays in use.

    Options:
          --listen ADDR  IP address and port to listen on, instead of LISTEN_ADDRESS;
                         for 'usage', where the proxy listens
      -h, --help         Show this
      -V, --version      Show the version

    'usage' says what Bedrock has cost, from the file of the embedded store or the
    proxy that holds it.

    Environment, with the [default] of each variable:

      RATE_LIMIT_TRACKING_ENABLED [true]
          remember limits and obey them
      BEDROCK_FALLBACK_ENABLED [true]
          fall back to Bedrock
      RETRY_THRESHOLD_SECONDS [30]
          a limit up to here is waited for, a longer one falls back and is
          remembered; 0 to 21600
      MAX_RETRY_WAIT_SECONDS [10]
          the longest wait for a short limit; 0 to 60
      FALLBACK_ON [rate_limit,overloaded]
          comma list of rate_limit (429), overloaded (529), server_error
          (500-504), unreachable (no connection, no answer)
      RATE_LIMIT_STORE [dynamodb on AWS Lambda, embedded elsewhere]
          where limits are remembered: dynamodb (a table that all instances
          share), embedded (a file) or memory (until the proxy stops)
      RATE_LIMIT_TABLE_NAME [claude-proxy-rate-limits]
          table of the DynamoDB store
      RATE_LIMIT_STORE_PATH [claude-proxy/limits.redb in the platform's data directory]
          file of the embedded store
      RATE_LIMIT_STORE_TIMEOUT_MS [250]
          how long a request waits for the table before it goes on without it;
          writes, and a proxy key that was not seen lately, have four times as
          long. 50 to 60000
      ANTHROPIC_UPSTREAM_URL [https://api.anthropic.com]
          where requests go first; https only, unless the host is loopback
      BEDROCK_REGIONS [the AWS region]
          comma list in the order of trying; the next is asked when one throttles
          or fails
      BEDROCK_PROFILE_PREFIX [per model the nearest that it has, else global]
          inference profile: us, eu, apac, jp, au, us-gov, global, none
      BEDROCK_MODEL_MAP [{}]
          JSON, the client's model name → Bedrock model id, profile id or ARN;
          wins over the built-in table
      BEDROCK_PROOF_MAX_AGE_SECONDS [900]
          how long Anthropic's acceptance of a credential lets it use Bedrock; 1
          to 21600
      BEDROCK_PRICES [{}]
          JSON, model → what you pay in every region, where that is not the list
          price: dollars per million tokens as input, output, cache_write_5m,
          cache_write_1h, cache_read
      BEDROCK_PRICE_MULTIPLIER [1]
          what part of the list price you pay, where BEDROCK_PRICES does not say;
          0 to 100
      BUDGET_USER_MONTH_USD [none]
          the most that each user may spend on Bedrock in a month, in dollars; 0
          is nothing at all. Where it is used up, Anthropic's own answer is passed
          on
      BUDGET_USER_DAY_USD [none]
          the same in a day
      BUDGET_TOTAL_MONTH_USD [none]
          the most that all users together may spend on Bedrock in a month
      BUDGET_TOTAL_DAY_USD [none]
          the same in a day
      BUDGET_TIMEZONE [UTC]
          where days and months of budgets begin, such as Europe/Berlin; AWS bills
          by UTC
      BUDGET_MESSAGE [none]
          what to do when a budget is used up, such as whom to ask; stands beside
          Anthropic's answer in x-claude-proxy-budget-message; one line, at most
          200 characters
      ACCESS_MODE [on AWS Lambda key, else open]
          who may use the proxy: key (whoever has a proxy key), organization
          (anyone passes through, these organizations use Bedrock), open (whoever
          reaches it)
      PROXY_KEYS [none]
          for key: comma list of name:sha256, the digest of each whole key in hex
      ALLOWED_ORGANIZATIONS [none]
          for organization: comma list of anthropic-organization-id
      ACCESS_OPEN_ANYWHERE [false]
          let open be the mode where other machines can reach the proxy
      DRILL_ENABLED [true]
          let provisioner drill have one tiny request answered by Bedrock; needs
          the dynamodb store
      LISTEN_ADDRESS [127.0.0.1:8080]
          IP address and port; --listen wins over it
      LISTEN_METRICS [none]
          IP address and port of /metrics (OpenMetrics), for everyone who reaches
          it; means nothing on AWS Lambda
      LOG_LEVEL [info]
          error, warn, info, debug, trace or off

    AWS credentials and region come from where the AWS CLI has them (AWS_PROFILE,
    AWS_REGION, AWS_ENDPOINT_URL_BEDROCK_RUNTIME, …). An empty variable counts as unset.
    "#);
}

/// SHA-256 of `abc` and of nothing (FIPS 180-4).
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

const NO_REASON: FallbackOn =
    FallbackOn { rate_limit: false, overloaded: false, server_error: false, unreachable: false };

fn owned(vars: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    vars.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

fn read(vars: &[(&str, &str)]) -> Result<Settings, function::settings::Problems> {
    Settings::from_vars(owned(vars), Options::default(), Some("/data".into()))
}

fn accepts(name: &str, values: &[&str]) {
    for value in values {
        let read = read(&[(name, value)]);
        assert!(read.is_ok(), "{name}={value}: {read:?}");
    }
}

/// Expects one line each, which begins with the variable and says what to write instead.
fn refuses(name: &str, values: &[&str]) {
    for value in values {
        let Err(problems) = read(&[(name, value)]) else { panic!("{name}={value} is accepted") };
        let text = problems.to_string();
        assert!(text.starts_with(&format!("{name} ")) && text.lines().count() == 1, "{text}");
        let cures = ["write ", "unset it", "ACCESS_OPEN_ANYWHERE=true"];
        assert!(cures.iter().any(|cure| text.contains(cure)), "{text}");
    }
}

fn command(args: &[&str]) -> Result<Command, function::settings::UsageError> {
    Command::parse(args.iter().map(OsString::from))
}

/// Variables that are set on developers' machines and in containers, for other programs.
const OTHERS: &str = "
    ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN ANTHROPIC_BASE_URL ANTHROPIC_BEDROCK_BASE_URL
    ANTHROPIC_BETAS ANTHROPIC_CUSTOM_HEADERS ANTHROPIC_LOG ANTHROPIC_MODEL ANTHROPIC_PROFILE
    ANTHROPIC_CUSTOM_MODEL_OPTION ANTHROPIC_DEFAULT_HAIKU_MODEL ANTHROPIC_DEFAULT_OPUS_MODEL
    ANTHROPIC_DEFAULT_SONNET_MODEL ANTHROPIC_FOUNDRY_API_KEY ANTHROPIC_FOUNDRY_BASE_URL
    ANTHROPIC_SMALL_FAST_MODEL ANTHROPIC_SMALL_FAST_MODEL_AWS_REGION ANTHROPIC_URL
    ANTHROPIC_VERTEX_BASE_URL ANTHROPIC_VERTEX_PROJECT_ID ANTHROPIC_VERTEX_REGION
    ANTHROPIC_BEDROCK_REGION_PREFIX ANTHROPIC_API_BASE ANTHROPIC_API_URL ANTHROPIC_ORGANIZATION_ID
    API_TIMEOUT_MS BASH_DEFAULT_TIMEOUT_MS BASH_MAX_OUTPUT_LENGTH BASH_MAX_TIMEOUT_MS
    CLAUDE_CODE_API_KEY_HELPER_TTL_MS CLAUDE_CODE_ATTRIBUTION_HEADER CLAUDE_CODE_DEBUG_LOG_LEVEL
    CLAUDE_CODE_DISABLE_1M_CONTEXT CLAUDE_CODE_DISABLE_EXPERIMENTAL_BETAS
    CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK
    CLAUDE_CODE_ENABLE_TELEMETRY CLAUDE_CODE_ENTRYPOINT CLAUDE_CODE_EXTRA_BODY CLAUDE_CODE_SSE_PORT
    CLAUDE_CODE_MAX_OUTPUT_TOKENS CLAUDE_CODE_MAX_RETRIES CLAUDE_CODE_OAUTH_TOKEN
    CLAUDE_CODE_PROXY_RESOLVES_HOSTS CLAUDE_CODE_SKIP_BEDROCK_AUTH CLAUDE_CODE_SUBAGENT_MODEL
    CLAUDE_CODE_USE_BEDROCK CLAUDE_CODE_USE_FOUNDRY CLAUDE_CODE_USE_VERTEX CLAUDE_CONFIG_DIR
    CLAUDE_PROXY_URL CLAUDE_STREAM_IDLE_TIMEOUT_MS CLAUDECODE DISABLE_AUTOUPDATER DISABLE_TELEMETRY
    DISABLE_PROMPT_CACHING ENABLE_PROMPT_CACHING_1H FALLBACK_FOR_ALL_PRIMARY_MODELS
    MAX_MCP_OUTPUT_TOKENS MAX_STRUCTURED_OUTPUT_RETRIES MAX_THINKING_TOKENS MCP_TIMEOUT
    AWS_ACCESS_KEY_ID AWS_BEARER_TOKEN_BEDROCK AWS_CA_BUNDLE AWS_CONFIG_FILE AWS_DEFAULT_OUTPUT
    AWS_DEFAULT_PROFILE AWS_DEFAULT_REGION AWS_EC2_METADATA_DISABLED AWS_EC2_METADATA_SERVICE_ENDPOINT
    AWS_ENDPOINT_URL AWS_ENDPOINT_URL_BEDROCK_RUNTIME AWS_ENDPOINT_URL_DYNAMODB AWS_ENDPOINT_URL_STS
    AWS_CONTAINER_CREDENTIALS_FULL_URI AWS_EXECUTION_ENV AWS_IGNORE_CONFIGURED_ENDPOINT_URLS
    AWS_LAMBDA_FUNCTION_MEMORY_SIZE AWS_LAMBDA_FUNCTION_NAME AWS_LAMBDA_FUNCTION_VERSION
    AWS_LAMBDA_LOG_FORMAT AWS_LAMBDA_LOG_GROUP_NAME AWS_LAMBDA_LOG_LEVEL AWS_LAMBDA_LOG_STREAM_NAME
    AWS_LAMBDA_MAX_CONCURRENCY AWS_MAX_ATTEMPTS AWS_PAGER AWS_PROFILE
    AWS_REGION AWS_RETRY_MODE AWS_ROLE_ARN AWS_ROLE_SESSION_NAME AWS_SDK_LOAD_CONFIG
    AWS_SDK_UA_APP_ID AWS_SECRET_ACCESS_KEY AWS_SESSION_TOKEN AWS_SHARED_CREDENTIALS_FILE
    AWS_STS_REGIONAL_ENDPOINTS AWS_USE_DUALSTACK_ENDPOINT AWS_USE_FIPS_ENDPOINT AWS_VAULT
    AWS_WEB_IDENTITY_TOKEN_FILE AWS_XRAY_CONTEXT_MISSING AWS_BEDROCK_RUNTIME_ENDPOINT
    AWS_BEDROCK_REGION BEDROCK_API_KEY BEDROCK_ENDPOINT BEDROCK_MODEL BEDROCK_MODEL_ARN
    BEDROCK_MODEL_ID BEDROCK_MODEL_NAME BEDROCK_RUNTIME_ENDPOINT LAMBDA_RUNTIME_DIR
    LAMBDA_TASK_ROOT _HANDLER _X_AMZN_TRACE_ID DYNAMODB_TABLE TABLE_NAME
    ALL_PROXY FTP_PROXY HTTPS_PROXY HTTP_PROXY NO_PROXY SOCKS_PROXY all_proxy http_proxy
    https_proxy no_proxy PROXY_HOST PROXY_PORT PROXY_URL PROXY_USER
    LOG_DIR LOG_FILE LOG_FORMAT LOG_PATH LOG_TARGET LOG_TIMESTAMP LOGNAME LOG_STYLE LOG_OUTPUT
    ANTHROPIC_LOG_LEVEL AWS_LOG_LEVEL CLAUDE_LOG_LEVEL
    OTEL_LOG_LEVEL NPM_CONFIG_LOGLEVEL npm_config_loglevel CARGO_LOG RUST_LOG RUST_LOG_STYLE
    RUST_LOG_SPAN_EVENTS DD_LOG_LEVEL LITELLM_LOG NODE_DEBUG GODEBUG UV_LOG_LEVEL
    LISTEN_FDNAMES LISTEN_FDS LISTEN_PID LISTEN_PORT LISTEN_HOST LISTEN BIND_ADDRESS ADDRESS HOST
    PORT HOSTNAME ACCESS_KEY ACCESS_TOKEN ACCESS_LOG ALLOWED_HOSTS ALLOWED_ORIGINS
    RATE_LIMIT RATE_LIMIT_MAX RATE_LIMIT_PER_MINUTE RATE_LIMIT_REDIS_URL RATE_LIMIT_SCOPE
    RATE_LIMIT_WINDOW RATE_LIMIT_ENABLED RETRY_AFTER RETRY_COUNT RETRY_DELAY_SECONDS MAX_RETRIES
    MAX_RETRY_COUNT MAX_RETRY_ATTEMPTS MAX_WAIT_SECONDS
    BASH_ENV CARGO_HOME CARGO_MANIFEST_DIR CARGO_PKG_NAME CARGO_TERM_COLOR CI COLORTERM COLUMNS
    DBUS_SESSION_BUS_ADDRESS DEBIAN_FRONTEND DEBUG DISPLAY DOCKER_HOST EDITOR ENV FORCE_COLOR
    GEMINI_API_KEY GITHUB_ACTIONS GITHUB_TOKEN GITHUB_WORKSPACE GOPATH GPG_AGENT_INFO GPG_TTY HISTSIZE
    HOME HOMEBREW_PREFIX IFS INVOCATION_ID JAVA_HOME JOURNAL_STREAM KUBECONFIG KUBERNETES_PORT
    KUBERNETES_SERVICE_HOST LANG LANGUAGE LC_ALL LC_CTYPE LESS LINES LS_COLORS MAIL MANPATH MODE
    NO_COLOR NODE_ENV NODE_EXTRA_CA_CERTS NODE_OPTIONS NODE_PATH NOTIFY_SOCKET NVM_DIR OLDPWD
    OPENAI_API_KEY OPENAI_BASE_URL OPENROUTER_API_KEY OTEL_EXPORTER_OTLP_ENDPOINT
    OTEL_METRICS_EXPORTER OTEL_SERVICE_NAME PAGER PATH PIP_INDEX_URL PS1 PWD PYTHONPATH
    PYTHONUNBUFFERED REGION REGIONS REQUESTS_CA_BUNDLE RUSTFLAGS RUSTUP_HOME RUST_BACKTRACE SHELL
    SHLVL SSH_AUTH_SOCK SSH_CONNECTION SSL_CERT_DIR SSL_CERT_FILE STORE_PATH SUDO_USER SYSTEMD_EXEC_PID
    TERM TERM_PROGRAM TMPDIR TMUX TZ USER VIRTUAL_ENV VISUAL WSL_DISTRO_NAME XDG_CACHE_HOME
    XDG_CONFIG_HOME XDG_DATA_DIRS XDG_DATA_HOME XDG_RUNTIME_DIR XDG_SESSION_ID XDG_STATE_HOME _
";
