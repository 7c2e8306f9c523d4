//! Does the README in Korean say all that the English one says? Words differ; headings, commands,
//! tables and every name in the text do not.

#![expect(clippy::unwrap_used, reason = "a page that cannot be read fails the test")]

use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn both_have_the_same_sections() {
    let levels = |page: &[Section]| page.iter().map(|section| section.level).collect::<Vec<_>>();
    assert_eq!(levels(&english()), levels(&korean()));
}

#[test]
fn both_have_the_same_code() {
    for (english, korean) in english().iter().zip(korean()) {
        assert_eq!(english.code, korean.code, "under {:?} and {:?}", english.title, korean.title);
    }
}

#[test]
fn both_have_the_same_tables() {
    for (english, korean) in english().iter().zip(korean()) {
        assert_eq!(english.rows, korean.rows, "under {:?} and {:?}", english.title, korean.title);
    }
}

#[test]
fn both_name_the_same_things() {
    for (english, korean) in english().iter().zip(korean()) {
        assert_eq!(english.names, korean.names, "under {:?} and {:?}", english.title, korean.title);
    }
}

#[test]
fn what_differs_is_seen() {
    let page = |text: &str| sections(text);
    assert_ne!(page("`x`\n")[0].names, page("`y`\n")[0].names);
    assert_ne!(page("```sh\na  # b\n```\n")[0].code, page("```sh\nc  # b\n```\n")[0].code);
    assert_eq!(page("```sh\na  # b\n```\n")[0].code, page("```sh\na  # c\n```\n")[0].code);
    assert_ne!(page("| `a` | b |\n")[0].rows, page("| `b` | b |\n")[0].rows);
    assert_eq!(page("```\n# a\n```\n").len(), 1, "a comment is no heading");
}

#[derive(Debug, Default)]
struct Section {
    title: String,
    level: usize,
    /// The lines of code blocks, without comments: these are translated.
    code: Vec<String>,
    /// Of each row of a table: how many cells it has, and the code in its first.
    rows: Vec<(usize, Vec<String>)>,
    /// The code within the text.
    names: BTreeSet<String>,
}

fn english() -> Vec<Section> {
    sections(&page("README.md"))
}

fn korean() -> Vec<Section> {
    sections(&page("README.ko.md"))
}

fn page(name: &str) -> String {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    std::fs::read_to_string(root.join(name)).unwrap()
}

fn sections(page: &str) -> Vec<Section> {
    let mut sections = vec![Section::default()];
    let (mut texts, mut fenced) = (vec![String::new()], false);
    for line in page.lines() {
        let section = sections.last_mut().unwrap();
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            section.code.push(line.to_owned());
        } else if fenced {
            section.code.push(line.split("  #").next().unwrap().trim_end().to_owned());
        } else if let Some(title) = line.strip_prefix('#') {
            let level = 1 + title.chars().take_while(|letter| *letter == '#').count();
            let title = title.trim_start_matches('#').trim().to_owned();
            sections.push(Section { title, level, ..Section::default() });
            texts.push(String::new());
        } else {
            if line.starts_with('|') {
                let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
                section.rows.push((cells.len(), names(cells[0]).collect()));
            }
            // A name may be broken over two lines.
            texts.last_mut().unwrap().push_str(line.trim());
            texts.last_mut().unwrap().push(' ');
        }
    }
    for (section, text) in sections.iter_mut().zip(texts) {
        section.names = names(&text).collect();
    }
    sections
}

/// What stands between backquotes.
fn names(text: &str) -> impl Iterator<Item = String> {
    text.split('`').skip(1).step_by(2).map(str::to_owned)
}
