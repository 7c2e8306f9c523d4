//! Do the pages say what is there? Names, paths, tables and lengths are compared with the sources.

#![expect(clippy::unwrap_used, reason = "a page that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use function::settings::{VARIABLES, Variable};

#[test]
fn the_pages_that_everybody_reads_stay_short() {
    for (page, most) in [("README.md", 250), ("README.ko.md", 250), ("ARCHITECTURE.md", 200)] {
        let lines = read(&root().join(page)).lines().count();
        assert!(lines <= most, "{page} has {lines} lines, more than {most}");
    }
}

#[test]
fn the_table_in_the_readme_is_that_of_the_settings() {
    let head = "| variable | default | meaning |\n|---|---|---|\n";
    let row = |variable: &Variable| {
        format!("| `{}` | {} | {} |\n", variable.name, variable.default, variable.meaning)
    };
    let table = VARIABLES.iter().map(row).collect::<String>();
    let readme = read(&root().join("README.md"));
    let there = readme.contains(&format!("\n{head}{table}\n"));
    assert!(there, "README.md must have this table, and a blank line after it:\n\n{head}{table}");
}

#[test]
fn every_test_that_a_page_names_exists() {
    let tests = tests();
    let mut named = 0;
    for (page, text) in pages() {
        for name in names(&text).into_iter().filter(|name| is_test(name)) {
            named += 1;
            assert!(has_test(&tests, name), "{page} names the test `{name}`, which is not there");
        }
    }
    assert!(named > 70, "only {named} tests are named");
}

#[test]
fn every_path_that_a_page_names_exists() {
    for (page, text) in pages() {
        let folder = root().join(&page).parent().unwrap().to_owned();
        for link in links(&text).filter(|link| !link.contains("://")) {
            assert!(folder.join(link).exists(), "{page} links to {link}, which is not there");
        }
        for path in names(&text).into_iter().filter(|name| is_path(name)) {
            let path = path.split(' ').next().unwrap();
            assert!(root().join(path).exists(), "{page} names {path}, which is not there");
        }
    }
}

#[test]
fn every_module_that_the_architecture_names_exists() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let is_module = |name: &&str| {
        name.contains("::") && name.chars().all(|c| c.is_ascii_lowercase() || "_:".contains(c))
    };
    let modules = names(&text).into_iter().filter(is_module).collect::<Vec<_>>();
    assert!(modules.len() > 10, "{modules:?}");
    for module in modules {
        let file = format!("src/{}", module.replace("::", "/"));
        let is_there = |package: &str| {
            let path = root().join(package).join(&file);
            path.is_dir() || path.with_extension("rs").is_file()
        };
        let is_there = is_there("function") || is_there("provisioner");
        assert!(is_there, "ARCHITECTURE.md names the module `{module}`, which is not there");
    }
}

#[test]
fn every_invariant_has_a_test() {
    let text = read(&root().join("ARCHITECTURE.md"));
    let section = text.split("\n## Invariants\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let invariants = section.split("\n- ").skip(1).collect::<Vec<_>>();
    assert!(invariants.len() >= 15, "{invariants:?}");
    for invariant in invariants {
        assert!(names(invariant).into_iter().any(is_test), "without a test: {invariant}");
    }
}

#[test]
fn every_dependency_has_its_reason_and_nothing_else_has() {
    for package in ["function", "provisioner"] {
        let page = format!("{package}/docs/dependencies.md");
        let text = read(&root().join(&page));
        let rows = text.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
        let named = rows.skip(1).flat_map(|(names, _)| names.split(", "));
        let named = named.map(str::to_owned).collect::<BTreeSet<_>>();
        let manifest = read(&root().join(package).join("Cargo.toml"));
        let listed = manifest.split("[dependencies]\n").nth(1).unwrap();
        let listed = listed.split("\n[").next().unwrap().lines();
        let listed = listed.filter(|line| line.starts_with(|c: char| c.is_alphanumeric()));
        let listed = listed.map(|line| line.split([' ', '.', '=']).next().unwrap().to_owned());
        let listed = listed.collect::<BTreeSet<_>>();
        assert_eq!(named, listed, "{page} on the left, {package}/Cargo.toml on the right");
    }
}

#[test]
fn decisions_are_short_dated_and_newest_first() {
    let mut decisions = 0;
    for (page, text) in pages().into_iter().filter(|(page, _)| page.contains("/decisions/")) {
        let mut last = "9999-99-99";
        for decision in text.split("\n## ").skip(1) {
            decisions += 1;
            let title = decision.lines().next().unwrap();
            let (day, _) = title.split_once(" · ").unwrap_or_else(|| panic!("{page}: {title}"));
            assert!(is_day(day), "{page}: {title:?} does not begin with a day");
            assert!(day <= last, "{page}: {title:?} stands below an older one");
            last = day;
            let lines = decision.lines().skip(1).filter(|line| !line.trim().is_empty());
            let lines = lines.map(|line| line.chars().count()).collect::<Vec<_>>();
            assert!(lines.len() <= 5, "{page}: {title:?} has {} lines, more than 5", lines.len());
            assert!(lines.iter().all(|length| *length <= 120), "{page}: {title:?} has long lines");
        }
    }
    assert!(decisions > 50, "only {decisions} decisions were found");
}

#[test]
fn every_figure_has_its_script_and_its_day() {
    for package in ["function", "provisioner"] {
        let text = read(&root().join(package).join("docs/figures.md"));
        for section in text.split("\n## ").skip(1) {
            let title = section.lines().next().unwrap();
            let has_script = names(section).iter().any(|name| name.starts_with("scripts/"));
            assert!(has_script, "{package}: {title:?} does not say which script printed it");
            let mut words = section.split(|c: char| !c.is_ascii_digit() && c != '-');
            assert!(words.any(is_day), "{package}: {title:?} does not say on which day");
        }
    }
}

/// The tables keep old models; what people copy must work tomorrow.
#[test]
fn no_example_and_no_default_names_a_model_that_is_gone() {
    let gone =
        ["claude-3", "claude-sonnet-4-5", "claude-sonnet-4-2", "claude-opus-4-1", "claude-2"];
    let mut texts = pages();
    texts.push(("README.ko.md".to_owned(), read(&root().join("README.ko.md"))));
    for folder in ["function/src", "function/examples", "provisioner/src"] {
        let files = files(&root().join(folder), "rs").into_iter();
        texts.extend(files.map(|file| (file.display().to_string(), read(&file))));
    }
    let is_table = |name: &str| name.ends_with("models.rs") || name.ends_with("prices.rs");
    for (name, text) in texts.into_iter().filter(|(name, _)| !is_table(name)) {
        let shown = text.split("#[cfg(test)]").next().unwrap();
        for model in gone {
            assert!(!shown.contains(model), "{name} names {model}, which is retired");
        }
    }
}

#[test]
fn what_is_looked_for_is_found() {
    let text = "`a_b_c_d` [x](y/z.md#there)\n```sh\n`no_name_at_all`\n```\n`scripts/soak 60`";
    assert_eq!(names(text), ["a_b_c_d", "scripts/soak 60"]);
    assert_eq!(links(text).collect::<Vec<_>>(), ["y/z.md"]);
    assert!(is_test("a_b_c_d") && is_test("a_b_c_…") && !is_test("a_b_c") && !is_test("A_B_C_D"));
    assert!(has_test("fn a_b_c_d() {", "a_b_c_d") && has_test("fn a_b_c_d() {", "a_b_c_…"));
    assert!(!has_test("fn a_b_c_d_e() {", "a_b_c_d"));
    assert!(is_path("scripts/soak 60") && !is_path("ecr/claude-proxy"));
    assert!(is_day("2026-11-29") && !is_day("2026-11"));
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Markdown of the repository but the Korean page, which another test holds to the English one.
fn pages() -> Vec<(String, String)> {
    let mut pages =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|page| root().join(page)).to_vec();
    for folder in ["scripts", "function/docs", "provisioner/docs"] {
        pages.extend(files(&root().join(folder), "md"));
    }
    let named = |page: PathBuf| {
        let text = read(&page);
        (page.strip_prefix(root()).unwrap().display().to_string(), text)
    };
    pages.into_iter().map(named).collect()
}

/// The text of all Rust files that may hold a test.
fn tests() -> String {
    let folders = ["function/tests", "function/src", "provisioner/tests", "provisioner/src"];
    let files = folders.map(|folder| files(&root().join(folder), "rs"));
    files.into_iter().flatten().map(|file| read(&file)).collect()
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && path.file_name().is_some_and(|name| name != "target") {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
    found
}

/// What stands between backquotes, outside of blocks of code.
fn names(text: &str) -> Vec<&str> {
    let outside = text.split("```").step_by(2);
    outside.flat_map(|text| text.split('`').skip(1).step_by(2)).collect()
}

/// Where the links of a page lead to.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next())
}

/// Names of tests are sentences; those of metrics only look like them.
fn is_test(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_…".contains(c);
    let is_metric = name.starts_with("claude_proxy_");
    name.matches('_').count() >= 3 && name.chars().all(is_word) && !is_metric
}

/// Looks for a test by its name, or by the beginning of it that stands before `…`.
fn has_test(sources: &str, name: &str) -> bool {
    match name.strip_suffix('…') {
        Some(beginning) => sources.contains(&format!("fn {beginning}")),
        None => sources.contains(&format!("fn {name}(")),
    }
}

fn is_path(name: &str) -> bool {
    let roots = ["function/", "provisioner/", "policies/", "scripts/", ".github/", ".ci/"];
    roots.iter().any(|root| name.starts_with(root)) && !name.contains('*')
}

fn is_day(text: &str) -> bool {
    let form =
        |(at, c): (usize, char)| if matches!(at, 4 | 7) { c == '-' } else { c.is_ascii_digit() };
    text.len() == 10 && text.chars().enumerate().all(form)
}
