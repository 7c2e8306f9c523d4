//! Breaks sentences between words where a terminal would break them inside one, and the last column
//! of a row below where it begins.
//!
//! Only what begins a line and has no columns is a sentence: what is to be copied stays whole.

/// `text` in lines of at most `width` characters, as far as its sentences go.
#[must_use]
pub fn wrap(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| wrap_line(line, width)).collect();
    lines.join("\n")
}

fn wrap_line(line: &str, width: usize) -> String {
    if shown(line) <= width {
        return line.to_owned();
    }
    let (before, last) = line.rsplit_once("  ").unwrap_or(("", line));
    let lead = line.len() - line.trim_start().len();
    if before.trim().is_empty() {
        // A sentence, or what is to be copied.
        return if lead == 0 { words(String::new(), line, (0, width)) } else { line.to_owned() };
    }
    let start = shown(before) + 2;
    let longest = last.split(' ').map(shown).max().unwrap_or(0);
    match () {
        () if start + LEAST.max(longest) <= width => {
            words(format!("{before}  "), last, (start, width))
        }
        () if lead + HANGING + longest <= width => {
            let indent = lead + HANGING;
            words(format!("{}\n{:indent$}", before.trim_end(), ""), last, (indent, width))
        }
        () => line.to_owned(),
    }
}

/// A column that is narrower than this goes below its row instead.
const LEAST: usize = 20;

/// How far what goes below a row is behind its beginning.
const HANGING: usize = 6;

/// Puts `text` behind `out`, where `indent` characters are used already, in lines of `width`.
fn words(mut out: String, text: &str, (indent, width): (usize, usize)) -> String {
    let mut used = indent;
    for word in text.split(' ') {
        let length = shown(word);
        if used > indent && used + 1 + length > width {
            out = format!("{out}\n{:indent$}", "");
            used = indent;
        } else if used > indent {
            out.push(' ');
            used += 1;
        }
        out.push_str(word);
        used += length;
    }
    out
}

/// The characters that are seen: those of an SGR sequence (ECMA-48) are not.
fn shown(text: &str) -> usize {
    let mut pieces = text.split('\u{1b}');
    let first = pieces.next().map_or(0, |piece| piece.chars().count());
    let rest =
        pieces.map(|piece| piece.split_once('m').map_or(0, |(_, rest)| rest.chars().count()));
    first + rest.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_broken_between_its_words() {
        assert_eq!(wrap("hint: one two three", 10), "hint: one\ntwo three");
        assert_eq!(wrap("\u{1b}[1mhint:\u{1b}[0m one two", 9), "\u{1b}[1mhint:\u{1b}[0m one\ntwo");
        assert_eq!(wrap("a-word-that-is-long and more", 8), "a-word-that-is-long\nand more");
        assert_eq!(wrap("äöü äöü\n\nb", 7), "äöü äöü\n\nb");
    }

    #[test]
    fn the_last_column_is_broken_below_itself_or_below_its_row() {
        assert_eq!(
            wrap("  + dynamodb/a  who is limited until when, and who has a key", 40),
            "  + dynamodb/a  who is limited until\n                when, and who has a key"
        );
        assert_eq!(
            wrap("  + dynamodb/a-long-name  who is limited until when", 30),
            "  + dynamodb/a-long-name\n        who is limited until\n        when"
        );
        assert_eq!(wrap("URL  https://a.b  not asked", 22), "URL  https://a.b\n      not asked");
        assert_eq!(wrap("a  https://a.b/cdefghijklmnop", 20), "a  https://a.b/cdefghijklmnop");
    }

    #[test]
    fn columns_and_what_is_to_be_copied_stay_whole() {
        for line in ["  provisioner user add alice --name long", "NAME      VALUE     OWNER of it"]
        {
            assert_eq!(wrap(line, 7), line);
        }
    }
}
