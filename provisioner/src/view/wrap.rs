//! Breaks sentences between words where a terminal would break them inside one.
//!
//! Only what begins a line and has no columns is a sentence: what is to be copied stays whole.

/// `text` in lines of at most `width` characters, as far as its sentences go.
#[must_use]
pub fn wrap(text: &str, width: usize) -> String {
    let lines: Vec<String> = text.split('\n').map(|line| wrap_line(line, width)).collect();
    lines.join("\n")
}

fn wrap_line(line: &str, width: usize) -> String {
    let sentence = !line.starts_with(' ') && !line.contains("  ");
    if !sentence || shown(line) <= width {
        return line.to_owned();
    }
    let (mut out, mut used) = (String::new(), 0);
    for word in line.split(' ') {
        let length = shown(word);
        if used > 0 && used + 1 + length > width {
            out.push('\n');
            used = 0;
        } else if used > 0 {
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
    fn columns_and_what_is_to_be_copied_stay_whole() {
        for line in ["  provisioner user add alice --name long", "NAME      VALUE     OWNER of it"]
        {
            assert_eq!(wrap(line, 12), line);
        }
    }
}
