//! What does a person see who asks for help, or types something wrong?

#![expect(clippy::unwrap_used, reason = "helpers fail where a program does not run")]

use std::process::{Command, Output};

#[test]
fn help_is_what_is_on_record() {
    insta::assert_snapshot!("help", stdout(&["--help"]));
    for command in [
        "up", "plan", "down", "status", "doctor", "logs", "user", "limits", "config", "drill",
        "usage", "budget", "prices", "template",
    ] {
        insta::assert_snapshot!(format!("help-{command}"), stdout(&[command, "--help"]));
    }
    let parts = [("user", "add"), ("limits", "clear"), ("config", "set"), ("budget", "set")];
    for (command, part) in parts {
        let name = format!("help-{command}-{part}");
        insta::assert_snapshot!(name, stdout(&[command, part, "--help"]));
    }
}

#[test]
fn wrong_usage_ends_with_64() {
    for words in [
        &["destroy"][..],
        &["up", "--memory", "64", "--binary", "x"],
        &["up", "--name", "Bad_Name"],
        &["up", "--env", "RATE_LIMIT_STORE=memory", "--binary", "x"],
        &["up", "--log-retention-days", "15"],
        &["logs", "--since", "yesterday"],
        &["status", "--interval", "5"],
        &["status", "--watch", "--interval", "1"],
        &["status", "--watch", "--interval", "3601"],
        &["status", "--watch", "--memory", "512"],
        &["status", "--watch", "--no-probe"],
        &["logs", "--user", "no such name"],
        &["user"],
        &["user", "add", "not a name"],
        &["config", "set"],
        &["config", "set", "LOG_LEVEL"],
        &["config", "set", "LOG_LEVEL=loud"],
        &["config", "set", "LOG_LEVELS=info"],
        &["config", "set", "RATE_LIMIT_STORE=memory"],
        &["config", "set", "LISTEN_ADDRESS=127.0.0.1:1"],
        &["config", "set", "LISTEN_METRICS=127.0.0.1:1"],
        &["config", "unset", "RATE_LIMIT_TABLE_NAME"],
        &["config", "unset", "NO_SUCH_SETTING"],
        &["config", "set", "RATE_LIMIT_STORE=memory", "BUDGET_USER_MONTH_USD=5"],
        &["config", "set", "BUDGET_USER_MONTH_USD=-1"],
        &["config", "set", "BUDGET_USER_MONTH_USD=1e9"],
        &["config", "set", "BUDGET_TIMEZONE=Mars/Olympus"],
        &["budget"],
        &["budget", "set"],
        &["budget", "set", "alice"],
        &["budget", "set", "not a name", "5/day"],
        &["budget", "set", "alice", "-1/month"],
        &["budget", "set", "alice", "1e9/month"],
        &["budget", "set", "alice", "1/week"],
        &["budget", "set", "alice", "NaN/day"],
        &["budget", "set", "alice", "100000001/month"],
        &["budget", "set", "alice", "5/day", "6/day"],
        &["budget", "set", "alice", "5/day", "--extra", "-1"],
        &["budget", "set", "alice", "5/day", "--extra", "many"],
        &["budget", "set", "alice", "5/day", "--until", "tomorrow"],
        &["budget", "set", "alice", "5/day", "--until", "2026-02-30"],
        &["budget", "clear"],
        &["usage", "--month", "2026-13"],
        &["usage", "--month", "November"],
        &["usage", "--by", "team"],
        &["usage", "--csv", "--json"],
    ] {
        assert_eq!(run(words).status.code(), Some(64), "{words:?}");
    }
}

#[test]
fn wrong_usage_is_one_object_where_one_is_wanted() {
    let ended = run(&["up", "--memory", "64", "--json"]);
    let object: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(object["error"]["hint"], "see provisioner --help");
    assert!(ended.stderr.is_empty());
}

#[test]
fn without_a_region_it_stops_before_any_call() {
    let ended = run(&["status"]);
    assert_eq!(ended.status.code(), Some(4));
    insta::assert_snapshot!(String::from_utf8(ended.stderr).unwrap(), @r#"
    error: no AWS region is set

    hint: name one: --region us-east-1, or AWS_REGION
    "#);
}

fn run(words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_provisioner"));
    command.args(words).env_clear().env("AWS_EC2_METADATA_DISABLED", "true");
    command.env("AWS_CONFIG_FILE", "/dev/null").output().unwrap()
}

fn stdout(words: &[&str]) -> String {
    String::from_utf8(run(words).stdout).unwrap()
}

#[test]
fn a_shell_takes_its_completions_for_a_script() {
    let script = stdout(&["completions", "bash"]);
    for command in ["up", "plan", "down", "status", "doctor", "logs", "--since", "--no-dashboard"] {
        assert!(script.contains(command), "{command}");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("completions");
    std::fs::write(&path, &script).unwrap();
    assert!(Command::new("bash").arg("-n").arg(&path).status().unwrap().success());
    // The script itself completes: `provisioner do` and a tab.
    let ask = "source \"$1\"; COMP_WORDS=(provisioner do); COMP_CWORD=1; \
               _provisioner provisioner do provisioner; echo \"${COMPREPLY[*]}\"";
    let asked = Command::new("bash").args(["-c", ask, "bash"]).arg(&path).output().unwrap();
    assert_eq!(String::from_utf8(asked.stdout).unwrap(), "down doctor\n");
    for shell in ["zsh", "fish", "elvish", "powershell"] {
        assert!(stdout(&["completions", shell]).contains("provisioner"), "{shell}");
    }
    assert_eq!(run(&["completions", "csh"]).status.code(), Some(64));
}

#[test]
fn the_manual_has_every_command_and_nothing_that_roff_would_take_for_its_own() {
    let page = stdout(&["man"]);
    assert!(page.starts_with(".ie") || page.starts_with(".TH"), "{page}");
    for command in ["up", "plan", "down", "status", "doctor", "logs", "completions", "man"] {
        assert!(page.contains(&format!("provisioner\\-{command}(1)")), "{command}: {page}");
        let of_it = stdout(&["man", command]);
        assert!(of_it.contains(&format!(".TH provisioner-{command}")), "{of_it}");
        for line in of_it.lines().filter(|line| line.starts_with('.')) {
            let known = [
                ".ie", ".el", ".TH", ".SH", ".SS", ".TP", ".RS", ".RE", ".PP", ".br", ".nf", ".fi",
                ".IP",
            ];
            assert!(known.iter().any(|request| line.starts_with(request)), "{line}");
        }
    }
    assert_eq!(run(&["man", "nothing"]).status.code(), Some(64));
}
