//! Can the files of the AWS settings be read? The SDK takes one that cannot be for an empty one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use aws_runtime::fs_util::{Os, home_dir};
use aws_types::os_shim_internal::Env;

use crate::engine::words::quoted;

/// The variables that name the files, and where those are below the home folder otherwise.
const FILES: [(&str, &str); 2] =
    [("AWS_CONFIG_FILE", ".aws/config"), ("AWS_SHARED_CREDENTIALS_FILE", ".aws/credentials")];

/// The largest file that is read, in bytes.
const LARGEST_FILE: u64 = 4 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// What is wrong with a file, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) why: String,
    pub(super) cure: &'static str,
}

/// Looks at both files. One that is not there is as good as an empty one.
///
/// # Errors
///
/// The first that cannot be read.
pub(super) fn check(env: &Env) -> Result<(), Unreadable> {
    for path in FILES.iter().filter_map(|(variable, place)| place_of(env, variable, place)) {
        let shown = quoted(&path.display().to_string());
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => {
                let why = format!("{shown}: {}", quoted(&error.to_string()));
                return Err(Unreadable { why, cure: "mend that, or name another file" });
            }
        };
        if let Some((what, cure)) = unfit(&text) {
            return Err(Unreadable { why: format!("{shown} {what}"), cure });
        }
    }
    Ok(())
}

/// The sections of the file of settings that lack the word before their name: nobody reads them.
pub(super) fn nameless(env: &Env) -> Vec<String> {
    let (variable, place) = FILES[0];
    let text = place_of(env, variable, place).and_then(|path| read(&path).ok());
    let text = String::from_utf8(text.unwrap_or_default()).unwrap_or_default();
    let name =
        |line: &str| Some(line.trim().strip_prefix('[')?.strip_suffix(']')?.trim().to_owned());
    text.lines().filter_map(name).filter(|name| !name.contains(char::is_whitespace)).collect()
}

fn place_of(env: &Env, variable: &str, place: &str) -> Option<PathBuf> {
    let home = home_dir(env, Os::real()).filter(|home| !home.is_empty()).map(PathBuf::from);
    match env.get(variable).ok().filter(|path| !path.is_empty()) {
        None => home.map(|home| home.join(place)),
        Some(path) => match path.strip_prefix("~/") {
            Some(below) => home.map(|home| home.join(below)),
            None => Some(path.into()),
        },
    }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    File::open(path)?.take(LARGEST_FILE + 1).read_to_end(&mut text)?;
    Ok(text)
}

/// What is wrong with such a text.
fn unfit(text: &[u8]) -> Option<(String, &'static str)> {
    if text.len() as u64 > LARGEST_FILE {
        return Some(("has more than 4 MiB".to_owned(), "name the right file"));
    }
    if text.starts_with(BYTE_ORDER_MARK) {
        let what = "begins with a byte-order mark, which AWS's programs do not take";
        return Some((what.to_owned(), "save it as UTF-8 without a byte-order mark"));
    }
    let error = std::str::from_utf8(text).err()?;
    let line = 1 + text[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
    Some((format!("is no text in UTF-8, on line {line}"), "save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_fit_if_it_is_utf_8_without_a_mark() {
        for (text, said) in [
            (&b""[..], None),
            ("[profile \u{fc}]\r\n".as_bytes(), None),
            (b"\xef\xbb\xbf[default]\n", Some("byte-order mark")),
            (b"[default]\nregion = \xff\n", Some("on line 2")),
            (b"\xff\xfe[\0d\0", Some("on line 1")),
        ] {
            let unfit = unfit(text).map(|(what, _)| what);
            assert_eq!(unfit.is_some(), said.is_some(), "{unfit:?}");
            assert!(unfit.is_none_or(|what| what.contains(said.unwrap())));
        }
    }
}
