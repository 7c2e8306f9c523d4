//! What stays of a person's settings, what goes in, and what is refused.

use proptest::prelude::*;

use super::*;

#[test]
fn a_mark_of_byte_order_stays_where_it_is() {
    let plain = merged("{\"a\": 1}").unwrap();
    assert_eq!(merged("\u{feff}{\"a\": 1}").unwrap(), format!("\u{feff}{plain}"));
    assert!(merged("\u{feff}").is_ok());
}

#[test]
fn an_empty_file_becomes_a_whole_document() {
    insta::assert_snapshot!(merged(" \n").unwrap(), @r#"
    {
      "env": {
        "ANTHROPIC_BASE_URL": "https://proxy.example",
        "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
      }
    }
    "#);
}

#[test]
fn everything_else_stays_byte_for_byte() {
    let text = "{\n    \"b\" : [1,2],   \"env\": {\n\t\"A\":\"\\u00e4\",\n\t\
                \"ANTHROPIC_BASE_URL\" :  \"https://old\"  },\n \"a\":1.50e3 }";
    insta::assert_snapshot!(merged(text).unwrap(), @r#"
    {
        "b" : [1,2],   "env": {
    	"A":"\u00e4",
    	"ANTHROPIC_BASE_URL" :  "https://proxy.example",
            "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"  },
     "a":1.50e3 }
    "#);
}

#[test]
fn a_new_env_is_laid_out_like_its_surroundings() {
    insta::assert_snapshot!(merged("{\n    \"model\": \"opus\"\n}\n").unwrap(), @r#"
    {
        "model": "opus",
        "env": {
            "ANTHROPIC_BASE_URL": "https://proxy.example",
            "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
        }
    }
    "#);
    insta::assert_snapshot!(merged(r#"{"model":"opus"}"#).unwrap(), @r#"
    {
      "model":"opus",
      "env": {
        "ANTHROPIC_BASE_URL": "https://proxy.example",
        "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
      }
    }
    "#);
    insta::assert_snapshot!(merged("{}").unwrap(), @r#"
    {
      "env": {
        "ANTHROPIC_BASE_URL": "https://proxy.example",
        "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"
      }
    }
    "#);
    insta::assert_snapshot!(merged("{\r\n  \"env\": {}\r\n}").unwrap().replace('\r', "␍"), @r#"
    {␍
      "env": {␍
        "ANTHROPIC_BASE_URL": "https://proxy.example",␍
        "ANTHROPIC_CUSTOM_HEADERS": "x-claude-proxy-key: KEY"␍
      }␍
    }
    "#);
}

#[test]
fn other_headers_stay_and_an_old_key_goes() {
    let old = r"x-team: a\nX-Claude-Proxy-Key: old\n\nx-b: c:d";
    let text = format!(r#"{{"env": {{"ANTHROPIC_CUSTOM_HEADERS": "{old}"}}}}"#);
    let merged: Value = serde_json::from_str(&merged(&text).unwrap()).unwrap();
    let headers = merged["env"]["ANTHROPIC_CUSTOM_HEADERS"].as_str().unwrap();
    assert_eq!(headers, "x-team: a\nx-b: c:d\nx-claude-proxy-key: KEY");
}

#[test]
fn what_would_have_to_be_guessed_is_refused() {
    let refused = |text| merged(text).unwrap_err().to_string();
    assert_eq!(refused("{\"a\": 1,}"), "it is not JSON (line 1, column 9): mend it first");
    assert_eq!(refused("// a\n{}"), "it is not JSON (line 1, column 1): mend it first");
    assert_eq!(refused("\n{\n  \"a\": x\n}"), "it is not JSON (line 3, column 8): mend it first");
    assert_eq!(refused("{} {}"), "it is not JSON (line 1, column 4): mend it first");
    assert_eq!(refused("[]"), r#"it is JSON, but not an object such as {"env": {}}"#);
    assert_eq!(refused(r#"{"env": "x"}"#), r#"its "env" is not an object"#);
    assert_eq!(
        refused(r#"{"env": {"ANTHROPIC_BASE_URL": 1}}"#),
        "its ANTHROPIC_BASE_URL is not a text"
    );
    let twice = "it has env twice, and which one counts is anybody's guess: take one out";
    assert_eq!(refused(r#"{"env": {}, "env": {}}"#), twice);
}

#[test]
fn hooks_and_a_status_line_come_along() {
    let key = ProxyKey::from_random([7; 32]);
    let access = ClientConfig { url: "https://proxy.example", key: &key, plain: false };
    let whole: Value = serde_json::from_str(&access.merged("{}").unwrap()).unwrap();
    assert_eq!(whole, access.document());
    let handler = &whole["hooks"]["Stop"][0]["hooks"][0];
    assert_eq!(handler["url"], "https://proxy.example/_proxy/notice");
    assert_eq!(handler["headers"], json!({"x-claude-proxy-key": "$CLAUDE_PROXY_KEY"}));
    assert_eq!(handler["allowedEnvVars"], json!(["CLAUDE_PROXY_KEY"]));
    assert_eq!(whole["env"]["CLAUDE_PROXY_KEY"], key.reveal());
    let command = whole["statusLine"]["command"].as_str().unwrap();
    assert!(command.contains(" \"https://proxy.example/_proxy/line?session=$("), "{command}");
}

#[test]
fn ours_are_known_by_where_they_ask_and_what_is_others_stays() {
    let others = r#"{"statusLine": {"type": "command", "command": "mine"}, "hooks": {"Stop": [
        {"hooks": [{"type": "command", "command": "say done"}]}], "SessionStart": []}}"#;
    let once = told(others);
    assert_eq!(told(&once), once, "a second time changes nothing");
    let whole: Value = serde_json::from_str(&once).unwrap();
    assert_eq!(whole["statusLine"]["command"], "mine");
    assert!(has_other_line(&once) && !has_other_line(&told("{}")));
    let stop = whole["hooks"]["Stop"].as_array().unwrap();
    assert_eq!((stop.len(), &stop[0]["hooks"][0]["command"]), (2, &json!("say done")));
    assert_eq!(whole["hooks"]["StopFailure"][0]["matcher"], "rate_limit");
    let moved = once.replace("https://proxy.example", "https://old.example");
    assert_eq!(told(&moved), once, "the address is that of today");
    for (text, refused) in [(r#"{"hooks": []}"#, "hooks"), (r#"{"hooks": {"Stop": {}}}"#, "Stop")] {
        let key = ProxyKey::from_random([7; 32]);
        let access = ClientConfig { url: "https://proxy.example", key: &key, plain: false };
        assert_eq!(access.merged(text), Err(Unfit::NotOfClaudeCode(refused)));
    }
}

/// The text merged, with all that says who answers.
fn told(text: &str) -> String {
    let key = ProxyKey::from_random([7; 32]);
    let access = ClientConfig { url: "https://proxy.example", key: &key, plain: false };
    access.merged(text).unwrap()
}

proptest! {
    #[test]
    fn merging_changes_two_values_and_nothing_else(
        whole in objects(), env in proptest::option::of(objects()), pretty in any::<bool>(),
    ) {
        let mut before = whole;
        if let Some(env) = env {
            before["env"] = env;
        }
        let text = if pretty { format!("{before:#}") } else { before.to_string() };
        let mut after: Value = serde_json::from_str(&merged(&text).unwrap()).unwrap();
        let env = after["env"].as_object_mut().unwrap();
        prop_assert_eq!(env.remove(BASE_URL), Some(json!("https://proxy.example")));
        prop_assert_eq!(env.remove(HEADERS), Some(json!("x-claude-proxy-key: KEY")));
        if before.get("env").is_none() && env.is_empty() {
            after.as_object_mut().unwrap().remove("env");
        }
        prop_assert_eq!(before, after);
    }

    #[test]
    fn no_text_makes_it_panic(text in "[{}\\[\\]\":,a-z0-9 \n\\\\ä]{0,40}") {
        drop(merged(&text));
    }
}

fn objects() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[ -~äß\n\"\\\\]{0,8}".prop_map(Value::from),
    ];
    let value = leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            proptest::collection::btree_map("[a-z{},\"]{1,4}", inner, 0..3)
                .prop_map(|all| Value::Object(all.into_iter().collect())),
        ]
    });
    proptest::collection::btree_map("[a-zA-Z{}:,\"\\\\ ]{1,6}", value, 0..4)
        .prop_map(|all| Value::Object(all.into_iter().collect()))
        .prop_filter("`env` is put in by the test", |all| all.get("env").is_none())
}

/// The text merged, with the key shortened.
fn merged(text: &str) -> Result<String, Unfit> {
    let key = ProxyKey::from_random([7; 32]);
    let access = ClientConfig { url: "https://proxy.example", key: &key, plain: true };
    access.merged(text).map(|merged| merged.replace(key.reveal(), "KEY"))
}
