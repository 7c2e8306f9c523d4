//! What an answer costs: by model, scope, tier and day, and as no counter that is wrong has it.
//!
//! Figures are worked out by hand from the price list: dollars for a million tokens are
//! micro-dollars for one.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::collections::BTreeSet;

use function::failover::cooldown::Timestamp;
use function::money::price::asks_for_an_hour;
use function::money::prices::{Row, Scope, rows};
use function::money::{Cost, Given, Invoked, MicroDollars, Multiplier, Prices};
use function::translate::model::Model;
use function::translate::stream::Stream;
use function::wire::usage::Usage;
use proptest::prelude::*;

const TODAY: &str = "2026-11-29T12:00:00Z";

/// A usage as Bedrock reports it: input, output, cache writes of 5 minutes and an hour, reads.
fn usage([input, output, short, hour, read]: [u64; 5]) -> Usage {
    Usage {
        input: Some(input),
        output: Some(output),
        cache_read: Some(read),
        cache_write: Some(short + hour),
        cache_write_5m: Some(short),
        cache_write_1h: Some(hour),
    }
}

fn invoked<'a>(model: &'a Model, id: &'a str) -> Invoked<'a> {
    Invoked { model, id, region: "us-east-1", hour: false }
}

fn cost_at(id: &str, usage: &Usage, at: &str) -> Cost {
    let model = Model::resolve(id).unwrap();
    Prices::default().tariff(&invoked(&model, id), at.parse().unwrap()).cost(usage)
}

fn cost(id: &str, tokens: [u64; 5]) -> u64 {
    let cost = cost_at(id, &usage(tokens), TODAY);
    assert!(!cost.assumed, "{id}");
    cost.amount.0
}

/// The usage after the events of a stream, given as their JSON.
fn after(events: &[&str]) -> Usage {
    let mut usage = Usage::default();
    for event in events {
        usage.update(Usage::found_in(event.as_bytes()).unwrap_or_default());
    }
    usage
}

const OPUS: &str = "global.anthropic.claude-opus-5-5";

#[test]
fn a_write_that_lasts_an_hour_has_its_own_price() {
    // 100,000 × 8, and not × 5.
    assert_eq!(cost(OPUS, [0, 0, 0, 100_000, 0]), 800_000);
    assert_eq!(cost(OPUS, [0, 0, 100_000, 0, 0]), 500_000);
    assert_eq!(cost(OPUS, [0, 0, 60_000, 40_000, 0]), 620_000);
}

#[test]
fn every_model_has_a_price_for_an_hour_unless_its_cache_keeps_nothing_for_one() {
    let without: BTreeSet<_> =
        rows().filter(|row| row.rates.cache_write_1h.is_none()).map(|row| row.model).collect();
    let early = [
        "claude-3-5-haiku",
        "claude-3-5-sonnet",
        "claude-3-7-sonnet",
        "claude-3-haiku",
        "claude-3-opus",
        "claude-3-sonnet",
        "claude-opus-4",
        "claude-opus-4-1",
        "claude-sonnet-4",
    ];
    assert_eq!(without, early.into());
}

#[test]
fn where_there_is_no_price_for_an_hour_it_is_twice_the_input_and_assumed() {
    let id = "us.anthropic.claude-opus-4-1-20250805-v1:0";
    let written = cost_at(id, &usage([0, 0, 0, 1000, 0]), TODAY);
    assert_eq!(written, Cost { amount: MicroDollars(30_000), assumed: true });
    // Nothing of it is assumed where nothing was written for an hour.
    assert_eq!(cost(id, [1000, 100, 1000, 0, 1000]), 15_000 + 7_500 + 18_750 + 1_500);
}

#[test]
fn cached_tokens_are_not_free_in_any_scope() {
    // 3 + 2 × 25 micro-dollars, 10,000 read, 1,000 written: on the list, and a tenth more.
    let tokens = [3, 2, 1000, 0, 10_000];
    assert_eq!(cost("global.anthropic.claude-opus-5", tokens), 15 + 50 + 6250 + 5000);
    assert_eq!(cost("eu.anthropic.claude-opus-5", tokens), 12_447);
}

#[test]
fn cached_tokens_are_counted_once() {
    // `input_tokens` leaves them out: they are neither taken off it nor added to it.
    assert_eq!(cost(OPUS, [1000, 0, 0, 0, 100_000]), 4000 + 20_000);
}

#[test]
fn what_is_told_at_the_beginning_or_at_the_end_only_counts_once_each() {
    let start = r#"{"type":"message_start","message":{"usage":{"input_tokens":10,"output_tokens":1,
        "cache_read_input_tokens":50000,"cache_creation_input_tokens":200}}}"#;
    let delta = r#"{"type":"message_delta","usage":{"output_tokens":100}}"#;
    let both = r#"{"type":"message_delta","usage":{"input_tokens":10,"output_tokens":100,
        "cache_read_input_tokens":50000,"cache_creation_input_tokens":200}}"#;
    let late =
        r#"{"type":"message_start","message":{"usage":{"input_tokens":0,"output_tokens":0}}}"#;
    let earlier = r#"{"type":"message_delta","usage":{"output_tokens":60}}"#;
    let whole =
        format!(r#"{{"usage":{}}}"#, &both[both.find("usage\":").unwrap() + 7..both.len() - 1]);
    // 10 × 4 + 100 × 20 + 50,000 × 0.2 + 200 × 5
    for events in [&[start, delta][..], &[late, both], &[start, both], &[start, earlier, delta]] {
        let cost = cost_at(OPUS, &after(events), TODAY);
        assert_eq!(cost.amount.0, 40 + 2000 + 10_000 + 1000, "{events:?}");
    }
    assert_eq!(cost_at(OPUS, &after(&[&whole]), TODAY).amount.0, 13_040);
}

#[test]
fn writes_of_which_nothing_is_said_last_as_long_as_was_asked_for() {
    let model = Model::resolve(OPUS).unwrap();
    let cost = |usage: &Usage, hour| {
        let invoked = Invoked { hour, ..invoked(&model, OPUS) };
        Prices::default().tariff(&invoked, TODAY.parse().unwrap()).cost(usage).amount.0
    };
    let written = |json: &str| Usage::found_in(json.as_bytes()).unwrap();
    let none = written(r#"{"usage":{"cache_creation_input_tokens":1000}}"#);
    let part = written(
        r#"{"usage":{"cache_creation_input_tokens":1000,
            "cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":200}}}"#,
    );
    let only = written(r#"{"usage":{"cache_creation":{"ephemeral_1h_input_tokens":1000}}}"#);
    let odd = written(r#"{"usage":{"cache_creation_input_tokens":1000,"cache_creation":"no"}}"#);
    let less = written(
        r#"{"usage":{"cache_creation_input_tokens":1,
            "cache_creation":{"ephemeral_5m_input_tokens":1000}}}"#,
    );
    let cases = [
        (none, 5000, 8000),
        (part, 800 * 5 + 200 * 8, 300 * 5 + 700 * 8),
        (only, 8000, 8000),
        (odd, 5000, 8000),
        (less, 5000, 5000),
    ];
    for (usage, five_minutes, an_hour) in cases {
        assert_eq!((cost(&usage, false), cost(&usage, true)), (five_minutes, an_hour), "{usage:?}");
    }
}

#[test]
fn an_hour_is_asked_for_by_the_key_and_not_by_a_word_in_a_text() {
    let cases = [
        (r#"{"cache_control":{"type":"ephemeral","ttl":"1h"}}"#, true),
        ("{\"ttl\" :\n \"1h\"}", true),
        (r#"{"ttl":"5m"},{"ttl":"1h"}"#, true),
        (r#"{"cache_control":{"type":"ephemeral","ttl":"5m"}}"#, false),
        (r#"{"text":"{\"ttl\":\"1h\"}"}"#, false),
        (r#"{"ttl":"#, false),
        ("", false),
    ];
    for (body, hour) in cases {
        assert_eq!(asks_for_an_hour(body.as_bytes()), hour, "{body}");
    }
}

#[test]
fn only_a_global_profile_has_the_list_price() {
    let plain = "anthropic.claude-sonnet-4-5-20250929-v1:0";
    let profile = format!("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/eu.{plain}");
    let global = format!("arn:aws:bedrock:eu-west-1:123456789012:inference-profile/global.{plain}");
    let gov = format!("arn:aws-us-gov:bedrock:us-gov-west-1::foundation-model/{plain}");
    // 1,000 × 3, a tenth more, a fifth more.
    let cases = [
        (format!("global.{plain}"), 3000),
        (global, 3000),
        (plain.to_owned(), 3300),
        (profile, 3300),
        (format!("us-gov.{plain}"), 3600),
        (gov, 3600),
    ];
    for (id, price) in cases {
        assert_eq!(cost(&id, [1000, 0, 0, 0, 0]), price, "{id}");
    }
    for prefix in ["us", "eu", "apac", "jp", "au"] {
        assert_eq!(cost(&format!("{prefix}.{plain}"), [1000, 0, 0, 0, 0]), 3300, "{prefix}");
    }
    let model = Model::resolve(plain).unwrap();
    let hidden = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    let scopes = [(hidden, "us-east-1", 3300), (plain, "us-gov-west-1", 3600)];
    for (id, region, price) in scopes {
        let invoked = Invoked { region, ..invoked(&model, id) };
        let tariff = Prices::default().tariff(&invoked, TODAY.parse().unwrap());
        assert_eq!(tariff.cost(&usage([1000, 0, 0, 0, 0])).amount.0, price, "{id} in {region}");
    }
}

#[test]
fn a_long_prompt_prices_the_whole_request_from_the_first_token_above_the_edge() {
    let haiku = "global.anthropic.claude-haiku-5-5";
    let sonnet = "global.anthropic.claude-sonnet-4-5-20250929-v1:0";
    let cases = [
        // 0.1 and 0.5 a token; then five times that, also for the output.
        (haiku, [100_000, 1000, 0, 0, 0], 10_000 + 500),
        (haiku, [100_001, 1000, 0, 0, 0], 50_001 + 2500),
        // The prompt is what was read and written, too, but not what came out.
        // 0.1 + 50,000 + 999.99.
        (haiku, [1, 100_000, 0, 0, 99_999], 51_001),
        (haiku, [1, 0, 50_000, 0, 50_000], 1 + 31_250 + 2500),
        (haiku, [1, 0, 0, 50_000, 50_000], 1 + 50_000 + 2500),
        (sonnet, [200_000, 1000, 0, 0, 0], 600_000 + 15_000),
        (sonnet, [200_001, 1000, 0, 0, 0], 1_200_006 + 22_500),
        // A million tokens cost no more each where there is no such tier.
        ("global.anthropic.claude-sonnet-4-6", [1_000_000, 0, 0, 0, 0], 3_000_000),
        (OPUS, [1_000_000, 0, 0, 0, 0], 4_000_000),
    ];
    for (id, tokens, price) in cases {
        assert_eq!(cost(id, tokens), price, "{id} {tokens:?}");
    }
}

#[test]
fn an_answer_costs_what_was_asked_on_its_day() {
    let id = "global.anthropic.claude-sonnet-5-5";
    let days = [
        ("2025-01-01T00:00:00Z", 200),
        ("2026-10-06T23:59:59.999999999Z", 200),
        ("2026-10-07T00:00:00Z", 100),
        (TODAY, 100),
        ("2099-01-01T00:00:00Z", 100),
    ];
    for (at, price) in days {
        let cost = cost_at(id, &usage([0, 0, 0, 0, 1000]), at);
        assert_eq!(cost, Cost { amount: MicroDollars(price), assumed: false }, "{at}");
    }
}

#[test]
fn a_model_that_nobody_knows_costs_the_dearest_of_its_family_and_never_nothing() {
    // Opus: 15, 75, 18.75 and 1.5 of Opus 4; an hour is twice 15.
    let unknown = "us.anthropic.claude-opus-6";
    let all = usage([1000, 1000, 1000, 1000, 1000]);
    let opus = 15_000 + 75_000 + 18_750 + 30_000 + 1500;
    assert_eq!(cost_at(unknown, &all, TODAY), assumed(opus));
    // Haiku's dearest is 4.5, and not the long prompts of 5.5: 1.1 × (1 + 5 + 1.25 + 2 + 0.1).
    assert_eq!(cost_at("eu.anthropic.claude-haiku-7", &all, TODAY), assumed(10_285));
    // Sonnet's is 4.5 above 200,000 tokens, also for a short prompt.
    let sonnet = 6000 + 22_500 + 7500 + 12_000 + 600;
    assert_eq!(cost_at("global.anthropic.claude-sonnet-9", &all, TODAY), assumed(sonnet));
    // A family of which nothing is known: the dearest of all, which is Mythos preview.
    let mythos = 27_500 + 137_500 + 34_375 + 55_000 + 2750;
    assert_eq!(cost_at("global.anthropic.claude-epos-1", &all, TODAY), assumed(mythos));
}

fn assumed(amount: u64) -> Cost {
    Cost { amount: MicroDollars(amount), assumed: true }
}

#[test]
fn every_model_that_the_proxy_knows_has_a_price_of_its_own_in_every_scope() {
    for row in rows() {
        let model = Model::resolve(row.model).unwrap();
        for prefix in ["global.", "us.", "us-gov."] {
            let id = format!("{prefix}{}", model.base());
            assert!(cost(&id, [1000, 0, 0, 0, 0]) > 0, "{id}");
        }
    }
    for model in Model::newest() {
        assert!(cost(&format!("us.{}", model.base()), [1, 1, 1, 1, 1]) > 0, "{model:?}");
    }
}

#[test]
fn the_table_is_in_order() {
    let rows: Vec<Row> = rows().collect();
    for (index, row) in rows.iter().enumerate() {
        let same = |other: &&Row| {
            (other.model, other.scope, other.valid_from, other.prompt_above)
                == (row.model, row.scope, row.valid_from, row.prompt_above)
        };
        assert_eq!(rows.iter().filter(same).count(), 1, "{row:?}");
        let rates = row.rates;
        let hour = rates.cache_write_1h.unwrap_or(rates.input * 2);
        let rising = [rates.cache_read, rates.input, rates.cache_write_5m, hour, rates.output];
        assert!(rising.is_sorted() && rates.cache_read > 0, "{row:?}");
        // A tier above another one, and a later price after an earlier one.
        let first = rows[..index].iter().any(|r| r.model == row.model && r.scope == row.scope);
        assert!(first || (row.valid_from.is_none() && row.prompt_above == 0), "{row:?}");
    }
    let dear = |scope| rows.iter().filter(|row| row.scope == scope).count();
    assert_eq!(dear(Scope::Global), dear(Scope::Regional));
}

#[test]
fn what_the_operator_pays_wins_over_the_list_and_is_not_multiplied() {
    let opus = Model::resolve(OPUS).unwrap();
    let given = Given { input: Some(1_000_000), cache_read: Some(0), ..Given::default() };
    let arn = "arn:aws:bedrock:us-east-1:123456789012:application-inference-profile/abc123";
    let free = Given { output: Some(0), ..given };
    let prices = Prices {
        given: [("claude-opus-5-5".to_owned(), given), (arn.to_owned(), free)].into(),
        multiplier: Multiplier(850_000),
    };
    let cost = |model: &Model, id: &str, tokens| {
        prices.tariff(&invoked(model, id), TODAY.parse().unwrap()).cost(&usage(tokens))
    };
    let all = [1000, 1000, 1000, 1000, 1000];
    // 1 as given, reads free as given; the rest 85 % of 20, 5 and 8, and a tenth more in a region.
    assert_eq!(cost(&opus, OPUS, all).amount.0, 1000 + 17_000 + 4250 + 6800);
    assert_eq!(cost(&opus, "us.anthropic.claude-opus-5-5", all).amount.0, 1000 + 30_855);
    // The very id before the model.
    assert_eq!(cost(&opus, arn, all).amount.0, 1000 + 4675 + 7480);
    let sonnet = Model::resolve("global.anthropic.claude-sonnet-5").unwrap();
    assert_eq!(
        cost(&sonnet, "global.anthropic.claude-sonnet-5", [1000, 0, 0, 0, 0]).amount.0,
        1700
    );
    // What is given is known, what is left is assumed.
    let new = Model::resolve("claude-opus-9").unwrap();
    let prices = Prices { given: [("claude-opus-9".to_owned(), given)].into(), ..prices };
    let tariff =
        prices.tariff(&invoked(&new, "us.anthropic.claude-opus-9"), TODAY.parse().unwrap());
    assert!(!tariff.cost(&usage([1000, 0, 0, 0, 0])).assumed);
    assert!(tariff.cost(&usage([1000, 1, 0, 0, 0])).assumed);
}

#[test]
fn a_multiplier_of_nothing_is_free_and_the_sum_is_rounded_up_once() {
    let haiku = Model::resolve("claude-haiku-5-5").unwrap();
    let id = "us.anthropic.claude-haiku-5-5";
    let cost = |multiplier, tokens| {
        let prices = Prices { multiplier: Multiplier(multiplier), ..Prices::default() };
        prices.tariff(&invoked(&haiku, id), TODAY.parse().unwrap()).cost(&usage(tokens)).amount.0
    };
    assert_eq!(cost(0, [1_000_000; 5]), 0);
    // 0.11 + 0.55 + 0.1375 + 0.22 + 0.011 = 1.0285, and not five times 1.
    assert_eq!(cost(1_000_000, [1; 5]), 2);
    assert_eq!(cost(1_000_000, [1, 0, 0, 0, 0]), 1);
    assert_eq!(cost(1, [1, 0, 0, 0, 0]), 1);
    assert_eq!(cost(1_000_000, [0; 5]), 0);
}

/// What a session of Claude Code looks like that fell back in the middle: Opus 5.5 of the `us.`
/// profiles, whose rates are 4.40, 22, 5.50, 8.80 and 0.22, and Haiku 5.5 beside it at 0.11 and
/// 0.55.
///
/// 1. the conversation so far is written anew: 4 in, 118,402 written for an hour, 812 out:
///    17.6 + 1,041,937.6 + 17,864 = 1,059,819.2 → 1,059,820
/// 2. a tool's result: 6 in, 118,402 read, 1,930 written for five minutes, 245 out:
///    26.4 + 26,048.44 + 10,615 + 5,390 = 42,079.84 → 42,080
/// 3. a title by Haiku: 1,204 in, 31 out: 132.44 + 17.05 = 149.49 → 150
/// 4. the answer: 3 in, 120,332 read, 611 written for five minutes, 4,096 out:
///    13.2 + 26,473.04 + 3,360.5 + 90,112 = 119,958.74 → 119,959
///
/// Together 1.222009 dollars.
#[test]
fn a_session_costs_what_it_costs_by_hand() {
    let (opus, haiku) = ("us.anthropic.claude-opus-5-5", "us.anthropic.claude-haiku-5-5");
    let turns = [
        (opus, [4, 812, 0, 118_402, 0], 1_059_820),
        (opus, [6, 245, 1930, 0, 118_402], 42_080),
        (haiku, [1204, 31, 0, 0, 0], 150),
        (opus, [3, 4096, 611, 0, 120_332], 119_959),
    ];
    let mut sum = Cost::default();
    for (id, tokens, by_hand) in turns {
        assert_eq!(cost(id, tokens), by_hand, "{id} {tokens:?}");
        sum = sum.plus(cost_at(id, &usage(tokens), TODAY));
    }
    assert_eq!(sum.amount.to_string(), "1.222009");
}

/// What the real client has used, as it was recorded, and what it said at the end. Sonnet 5.5 of the
/// `global.` profile has the list price, which is the client's: 2, 10, 4 for an hour, 0.10 read.
///
/// 1. 1 in, 12,122 written for an hour, 60 out: 2 + 48,488 + 600 = 49,090
/// 2. 1 in, 12,121 read, 100 written, 34 out: 2 + 1212.1 + 400 + 340 = 1954.1 → 1955
/// 3. 1 in, 12,121 read, 173 written, 38 out: 2 + 1212.1 + 692 + 380 = 2286.1 → 2287
///
/// Together 53,330.2 micro-dollars, as the client says, and 53,332 where each is rounded up. A `us.`
/// profile costs a tenth more: 53,999 + 2149.51 + 2514.71, so 53,999 + 2150 + 2515.
#[test]
fn a_recorded_session_costs_what_it_costs_by_hand_and_what_its_client_has_said() {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../golden/session.json")).unwrap();
    let messages = recorded["messages"].as_array().unwrap();
    let costs = |prefix: &str| {
        let cost = |message: &serde_json::Value| {
            let model = message["model"].as_str().unwrap();
            let used = Usage::found_in(message.to_string().as_bytes()).unwrap();
            cost_at(&format!("{prefix}.anthropic.{model}"), &used, "2026-11-30T12:00:00Z").amount.0
        };
        messages.iter().map(cost).collect::<Vec<_>>()
    };
    assert_eq!(costs("global"), [49_090, 1955, 2287]);
    assert_eq!(costs("us"), [53_999, 2150, 2515]);
    let said = recorded["total_cost_usd"].to_string();
    assert_eq!(said, "0.0533302", "49,090 + 1954.1 + 2286.1");
}

#[test]
fn a_stream_that_breaks_off_costs_what_had_come() {
    let start = r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":100,
        "output_tokens":1,"cache_read_input_tokens":1000}}}"#;
    let text = |text: &str| {
        format!(
            r#"{{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{text}"}}}}"#
        )
    };
    let json = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta",
        "partial_json":"{\"a\":1}"}}"#;
    let thinking = r#"{"type":"content_block_delta","index":1,"delta":{"type":"thinking_delta",
        "thinking":"höm!"}}"#;
    let delta = r#"{"type":"message_delta","delta":{},"usage":{"output_tokens":7}}"#;
    let stop = r#"{"type":"message_stop"}"#;
    let (short, long) = (text("four"), text(&"word".repeat(50)));
    let wordless = r#"{"type":"message_delta","delta":{}}"#;
    let metrics = r#"{"type":"message_stop",
        "amazon-bedrock-invocationMetrics":{"inputTokenCount":100,"outputTokenCount":9}}"#;
    let cases: [(&[&str], u64); 10] = [
        (&[], 0),
        (&[start], 1),
        (&[start, &short, json, thinking], 4),
        (&[start, &long], 50),
        (&[start, &long, delta], 50),
        (&[start, &short, delta], 7),
        // What was counted is true, however long the text is.
        (&[start, &long, delta, stop], 7),
        // What the beginning says of the output only holds a place.
        (&[start, &long, stop], 50),
        (&[start, &long, wordless, stop], 50),
        (&[start, &long, wordless, metrics], 9),
    ];
    for (events, output) in cases {
        let mut stream = Stream::new("claude-opus-5-5");
        for event in events {
            stream.event(event.as_bytes()).unwrap();
        }
        let billed = stream.billed();
        assert_eq!(billed.output, Some(output), "{events:?}");
        let prompt = if events.is_empty() { 0 } else { 400 + 200 };
        let cost = cost_at(OPUS, &billed, TODAY).amount.0;
        assert_eq!(cost, prompt + output * 20, "{events:?}");
    }
}

proptest! {
    #[test]
    fn no_count_and_no_name_makes_a_price_panic_or_fall(
        tokens in any::<[u64; 5]>(),
        more in any::<[u64; 5]>(),
        name in "claude-[a-z0-9.-]{1,30}",
        seconds in -2_000_000_000_i64..100_000_000_000,
        multiplier in 0..=100_000_000_u64,
    ) {
        let at = Timestamp::from_second(seconds).unwrap();
        let model = Model::resolve(&name).unwrap();
        let prices = Prices { multiplier: Multiplier(multiplier), ..Prices::default() };
        let tariff = prices.tariff(&invoked(&model, &name), at);
        let of = |[input, output, short, hour, read]: [u64; 5]| Usage {
            input: Some(input),
            output: Some(output),
            cache_read: Some(read),
            cache_write: None,
            cache_write_5m: Some(short),
            cache_write_1h: Some(hour),
        };
        let sum: [u64; 5] = std::array::from_fn(|i| tokens[i].saturating_add(more[i]));
        prop_assert!(tariff.cost(&of(sum)).amount >= tariff.cost(&of(tokens)).amount);
        prop_assert!(multiplier == 0 || tokens == [0; 5] || tariff.cost(&of(tokens)).amount.0 > 0);
    }
}
