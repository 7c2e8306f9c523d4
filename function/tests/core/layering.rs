//! Does the house keep the order that no compiler checks? Reads the sources as text.
//!
//! The core is pure, every file says what it is for, files and lines stay short, there is one TLS
//! stack. Must not need a network or a built binary.

#![expect(clippy::unwrap_used, reason = "a source file that cannot be read fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules that name no runtime, no client, no environment and no clock.
const CORE: [&str; 11] = [
    "access",
    "caller",
    "drill",
    "failover",
    "messages",
    "money",
    "reply",
    "room",
    "session",
    "translate",
    "wire",
];

#[test]
fn the_core_names_nothing_of_the_world_outside() {
    for module in CORE {
        let files = files_of("function", module);
        assert!(!files.is_empty(), "there is no module `{module}`");
        for file in files {
            let found = outside(&fs::read_to_string(&file).unwrap());
            assert!(found.is_empty(), "{} is core, but names {found:?}", file.display());
        }
    }
}

/// Accepted connections end with the server, turns on Lambda and the thread that writes the log with
/// the process. Requests drive all else themselves, and what blocks goes to threads for that.
#[test]
fn tasks_are_started_in_few_places() {
    let known = ["serve/lambda.rs", "serve/local.rs", "telemetry/writer.rs"];
    let starts = |file: &PathBuf| {
        let text = fs::read_to_string(file).unwrap();
        text.lines().any(|line| line.split("//").next().unwrap_or_default().contains("spawn("))
    };
    let home = root().join("function").join("src");
    let mut found = sources().into_iter().filter(|file| file.starts_with(&home) && starts(file));
    let found = found.by_ref().map(|file| file.strip_prefix(&home).unwrap().to_owned());
    let found = found.map(|file| file.display().to_string()).collect::<BTreeSet<_>>();
    assert_eq!(found, known.map(str::to_owned).into());
}

/// Files that know each other in a circle can only be read together. One such circle stands: every
/// room of the proxy adds to the type that `proxy.rs` puts together of all of them.
#[test]
fn no_files_of_the_proxy_or_the_translation_know_each_other_in_a_circle() {
    for (room, of_all) in [("proxy", Some("Proxy")), ("translate", None)] {
        let arrows = arrows(room, of_all);
        assert!(arrows.len() > 5, "{arrows:?}");
        let circle = arrows.keys().find_map(|start| circle(&arrows, vec![start.clone()]));
        assert_eq!(circle, None, "of the files of {room}");
    }
}

#[test]
fn the_search_for_circles_finds_one() {
    let arrow = |from: &str, to: &[&str]| {
        (from.to_owned(), to.iter().map(|to| (*to).to_owned()).collect::<BTreeSet<_>>())
    };
    let straight = [arrow("a", &["b", "c"]), arrow("b", &["c"]), arrow("c", &[])];
    assert_eq!(circle(&straight.clone().into(), vec!["a".to_owned()]), None);
    let round = [&straight[..2], &[arrow("c", &["a"])]].concat();
    let found = circle(&round.into_iter().collect(), vec!["a".to_owned()]);
    assert_eq!(found, Some(["a", "b", "c", "a"].map(str::to_owned).to_vec()));
    let names = "super::{Proxy, a::{self, B}, c}";
    assert_eq!(spread(names), ["super::Proxy", "super::a::self", "super::a::B", "super::c"]);
}

/// Which modules of a room the others name in their `use` lines, tests left out.
fn arrows(room: &str, of_all: Option<&str>) -> BTreeMap<String, BTreeSet<String>> {
    let home = root().join("function").join("src");
    let module = |file: &Path| {
        let path = file.strip_prefix(&home).ok()?.with_extension("");
        let names = path.iter().map(|name| name.to_str()).collect::<Option<Vec<_>>>()?;
        (names[0] == room).then(|| names.join("::"))
    };
    let files = sources().into_iter().filter_map(|file| Some((module(&file)?, file)));
    let files = files.collect::<BTreeMap<_, _>>();
    let mut arrows = BTreeMap::new();
    for (from, file) in &files {
        let text = fs::read_to_string(file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let lines =
            text.split(';').filter_map(|line| line.rsplit_once("use ").map(|(_, names)| names));
        let mut known = BTreeSet::new();
        for name in lines.flat_map(spread) {
            let (head, rest) = name.split_once("::").unwrap_or((&name, ""));
            let parent = from.rsplit_once("::").map_or("", |(parent, _)| parent);
            let full = match head {
                "crate" => rest.to_owned(),
                "self" => format!("{from}::{rest}"),
                "super" => format!("{parent}::{rest}"),
                _ => continue,
            };
            let ends = full.match_indices("::").map(|(at, _)| at).chain([full.len()]);
            let known_files = ends.map(|end| &full[..end]).filter(|to| files.contains_key(*to));
            let to = known_files.last();
            let Some(to) = to.filter(|to| to != from) else { continue };
            if to != room
                || of_all != full.strip_prefix(to).and_then(|rest| rest.strip_prefix("::"))
            {
                known.insert(to.to_owned());
            }
        }
        arrows.insert(from.clone(), known);
    }
    arrows
}

/// A way along the arrows that comes back to where it was.
fn circle(arrows: &BTreeMap<String, BTreeSet<String>>, way: Vec<String>) -> Option<Vec<String>> {
    let here = way.last()?;
    arrows.get(here)?.iter().find_map(|next| {
        let longer = [&way[..], std::slice::from_ref(next)].concat();
        if way.contains(next) { Some(longer) } else { circle(arrows, longer) }
    })
}

/// The names of a `use` line, each with its whole path.
fn spread(names: &str) -> Vec<String> {
    let names = names.trim();
    let Some((head, rest)) = names.split_once('{') else {
        return vec![names.split(" as ").next().unwrap().trim().to_owned()];
    };
    let inner = rest.rsplit_once('}').map_or(rest, |(inner, _)| inner);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for letter in inner.chars() {
        depth += i32::from(letter == '{') - i32::from(letter == '}');
        match letter {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(letter),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    parts.flat_map(|part| spread(part)).map(|name| format!("{head}{name}")).collect()
}

#[test]
fn the_fence_sees_what_it_forbids() {
    let text =
        "use std::{collections::BTreeMap, env};\nlet now = Timestamp::now();\naws_config::load();";
    assert_eq!(outside(text), ["aws_", "::now", "std::env"]);
    assert_eq!(
        outside("use std::fs;\nuse tokio::time;\nhyper::body"),
        ["hyper", "tokio", "std::fs"]
    );
    assert!(
        outside("// tokio\n/// std::env\nlet environment = nowhere::nowadays; // hyper").is_empty()
    );
}

/// The rooms of `provisioner`: each may name those before it, and none behind it.
const ROOMS: [&str; 11] = [
    "engine",
    "aws",
    "image",
    "resources",
    "stack",
    "proxy",
    "cli",
    "view",
    "build",
    "doctor",
    "commands",
];

/// What a room does not name, though a crate of that name is at hand.
const STRANGERS: [(&str, &[&str]); 3] = [
    ("engine", &["aws_", "claude", "clap", "function::", "hyper"]),
    ("aws", &["claude", "clap", "function::"]),
    ("image", &["aws_", "clap", "function::"]),
];

#[test]
fn the_rooms_of_the_provisioner_name_only_those_before_them() {
    let mut offenders = Vec::new();
    for (number, room) in ROOMS.iter().enumerate() {
        let files = files_of("provisioner", room);
        assert!(!files.is_empty(), "there is no room `{room}`");
        for file in files {
            let named = named_rooms(&fs::read_to_string(&file).unwrap());
            let later = named.iter().filter(|name| ROOMS[number + 1..].contains(&name.as_str()));
            offenders.extend(later.map(|name| format!("{} names {name}", file.display())));
        }
    }
    assert!(offenders.is_empty(), "{}", offenders.join("\n"));
}

#[test]
fn what_serves_any_stack_knows_nothing_of_this_one() {
    for (room, strangers) in STRANGERS {
        for file in files_of("provisioner", room) {
            let text = code(&fs::read_to_string(&file).unwrap()).to_lowercase();
            let found: Vec<_> = strangers.iter().filter(|name| text.contains(**name)).collect();
            assert!(found.is_empty(), "{} names {found:?}", file.display());
        }
    }
}

#[test]
fn the_fence_between_rooms_sees_what_it_forbids() {
    let text = "use crate::{aws, view::Scope};\nfn f(_: crate::stack::Stack) {} // crate::doctor";
    assert_eq!(named_rooms(text).into_iter().collect::<Vec<_>>(), ["aws", "stack", "view"]);
}

/// One meaning for one name: whoever reads a name anywhere in a crate knows what it is. Which kinds of
/// names; what is associated with a type is told apart by that type, and an alias of the same name
/// is the same thing with something filled in.
const NAMED: [(&str, &[&str]); 2] = [
    ("function", &["struct", "enum", "type", "trait", "union"]),
    ("provisioner", &["struct", "enum", "type", "trait", "union", "const", "static"]),
];

#[test]
fn a_name_means_one_thing_in_a_crate() {
    for (package, kinds) in NAMED {
        let home = root().join(package).join("src");
        let mut found = BTreeMap::<String, Vec<String>>::new();
        for file in sources().into_iter().filter(|file| file.starts_with(&home)) {
            let place = file.strip_prefix(&home).unwrap().display().to_string();
            for name in defined(&fs::read_to_string(&file).unwrap(), kinds) {
                found.entry(name).or_default().push(place.clone());
            }
        }
        assert!(found.len() > 100, "{found:?}");
        found.retain(|_, places| places.len() > 1);
        assert!(found.is_empty(), "{package}: {found:#?}");
    }
}

#[test]
fn the_search_for_names_sees_every_form_of_them() {
    let text = "pub struct A<T> {}\nenum B {}\npub(in crate::x) type C = u8;\nunsafe trait D {}\n\
                pub(super) union E {}\n// struct F\nfn f() {\n    struct G;\n}\nlet structure = 1;\n\
                type R = engine::R<C>;\nconst fn g() {}\nstatic H: u8 = 1;\n\n#[cfg(test)]\nenum I {}";
    let [(_, types), (_, all)] = NAMED;
    assert_eq!(defined(text, types), ["A", "B", "C", "D", "E"]);
    assert_eq!(defined(text, all), ["A", "B", "C", "D", "E", "H"]);
}

/// The names of `kinds` that a file defines, those within functions, other blocks and tests left
/// out.
fn defined(text: &str, kinds: &[&str]) -> Vec<String> {
    let name = |line: &str| {
        let line = match line.strip_prefix("pub(") {
            Some(rest) => rest.split_once(") ")?.1,
            None => line.strip_prefix("pub ").unwrap_or(line),
        };
        let (kind, rest) = line.strip_prefix("unsafe ").unwrap_or(line).split_once(' ')?;
        let end = rest.find(|c| !is_part_of_a_name(c)).unwrap_or(rest.len());
        let name = &rest[..end];
        let upper = name.starts_with(|c: char| c.is_ascii_uppercase());
        let alias = kind == "type" && rest.contains(&format!("::{name}"));
        (kinds.contains(&kind) && upper && !alias).then(|| name.to_owned())
    };
    code(text).lines().filter_map(name).collect()
}

#[test]
fn every_file_says_what_it_is_for() {
    for file in sources().into_iter().chain(rust_files("tests")) {
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.starts_with("//! "), "{} does not start with `//!`", file.display());
    }
}

#[test]
fn files_and_lines_stay_short() {
    let mut offenders = Vec::new();
    for file in sources() {
        let text = fs::read_to_string(&file).unwrap();
        let file = file.display();
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > 400 {
            offenders.push(format!("{file} has {lines} lines without its tests, more than 400"));
        }
        let long = |(_, line): &(usize, &str)| line.chars().count() > 100;
        for (index, _) in text.lines().enumerate().filter(long) {
            offenders.push(format!("{file}:{} has more than 100 characters", index + 1));
        }
    }
    assert!(offenders.is_empty(), "{}", offenders.join("\n"));
}

#[test]
fn crates_come_from_one_registry_and_bring_one_tls_stack() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let values = |key: &'static str| lock.lines().filter_map(move |line| line.strip_prefix(key));
    let sources = values("source = ").collect::<BTreeSet<_>>();
    assert!(sources.iter().all(|source| source.starts_with("\"registry+")), "{sources:?}");
    assert_eq!(sources.len(), 1, "{sources:?}");
    for once in ["rustls", "ring", "hyper", "h2", "http"] {
        let count = values("name = ").filter(|name| name.trim_matches('"') == once).count();
        assert_eq!(count, 1, "Cargo.lock has {once} in {count} versions");
    }
    for name in values("name = ") {
        let banned = ["aws-lc-rs", "aws-lc-sys", "native-tls", "openssl", "openssl-sys"];
        assert!(!banned.contains(&name.trim_matches('"')), "Cargo.lock has {name}: TLS is ring's");
    }
}

/// Whoever builds `provisioner` alone builds what it shares with the proxy, and not the proxy.
#[test]
fn the_provisioner_needs_nothing_of_the_proxy_but_what_they_share() {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["tree", "-p", "provisioner", "-e", "normal", "--prefix", "none", "-f", "{p}"]);
    let tree = cargo.args(["--locked", "--offline"]).current_dir(root()).output().unwrap();
    let said = String::from_utf8(tree.stdout).unwrap();
    let names: BTreeSet<_> = said.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(names.contains("function") && names.contains("aws-sdk-dynamodb"), "{names:?}");
    for name in
        ["aws-sdk-bedrockruntime", "lambda_http", "prometheus-client", "redb", "tracing-subscriber"]
    {
        assert!(!names.contains(name), "{name} is compiled for `provisioner`");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Finds the Rust files in one folder of both crates.
fn rust_files(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders =
        ["function", "provisioner"].map(|name| root().join(name).join(folder)).to_vec();
    if folder == "tests" {
        folders.push(root().join("function/testing"));
    }
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found
}

fn sources() -> Vec<PathBuf> {
    rust_files("src")
}

/// Finds the files of one module of a crate: its own page and its folder.
fn files_of(package: &str, module: &str) -> Vec<PathBuf> {
    let home = root().join(package).join("src").join(module);
    let page = home.with_extension("rs");
    sources().into_iter().filter(|file| *file == page || file.starts_with(&home)).collect()
}

/// `text` without its comments and its tests.
fn code(text: &str) -> String {
    let text = text.split("\n#[cfg(test)]").next().unwrap_or_default();
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    text.lines().map(code).collect::<Vec<_>>().join("\n")
}

/// The first name of every path that begins at the crate.
fn named_rooms(text: &str) -> BTreeSet<String> {
    let mut rooms = BTreeSet::new();
    for path in code(text).split("crate::").skip(1) {
        // One path, or a list in braces of which each begins with a room.
        let path = path.split(';').next().unwrap_or_default();
        let paths = match path.strip_prefix('{') {
            Some(list) => list.split([',', '}']).collect(),
            None => vec![path],
        };
        rooms.extend(paths.into_iter().filter_map(|path| {
            let name = path.trim().split(|c: char| !is_part_of_a_name(c)).next()?;
            (!name.is_empty()).then(|| name.to_owned())
        }));
    }
    rooms
}

/// Lists what `text` names, outside its comments, of what the core must not know.
fn outside(text: &str) -> Vec<String> {
    let code = |line: &str| line.split("//").next().unwrap_or_default().to_owned();
    let code = text.lines().map(code).collect::<Vec<_>>().join("\n");
    let words = code.split(|c: char| !c.is_alphanumeric() && c != '_').collect::<Vec<_>>();
    let mut found = Vec::new();
    for name in ["hyper", "reqwest", "tokio"] {
        if words.contains(&name) {
            found.push(name.to_owned());
        }
    }
    if words.iter().any(|word| word.starts_with("aws_")) {
        found.push("aws_".to_owned());
    }
    if code.split("::now").skip(1).any(|rest| !rest.starts_with(is_part_of_a_name)) {
        found.push("::now".to_owned());
    }
    // Whatever follows `std::` up to the end of the statement, be it one path or a list in braces.
    for used in code.split("std::").skip(1) {
        let path = used.split([';', '(', '<']).next().unwrap_or_default();
        let names = path.split(|c: char| !is_part_of_a_name(c)).collect::<Vec<_>>();
        let names = if path.starts_with('{') { &names[..] } else { &names[..1] };
        for name in ["env", "fs", "net"].into_iter().filter(|name| names.contains(name)) {
            found.push(format!("std::{name}"));
        }
    }
    found
}

fn is_part_of_a_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
