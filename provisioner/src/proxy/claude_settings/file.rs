//! The file `settings.json` itself: read whole, replaced whole, readable by its owner only.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use super::{ClientConfig, has_other_line};

/// A larger file is not one of settings, in bytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a file was left as it is, in a sentence that names it.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", .path.display())]
pub struct Unwritten {
    path: PathBuf,
    why: String,
}

/// Says beforehand whether [`write()`] would do.
///
/// # Errors
///
/// [`Unwritten`], where the file cannot be read, or cannot take the settings.
pub fn check(path: &Path, access: ClientConfig<'_>) -> Result<(), Unwritten> {
    let file = resolved(path)?;
    let folder = folder(&file);
    if !folder.is_dir() {
        let why = format!("there is no folder {}: make it first", folder.display());
        return Err(unwritten(path, why));
    }
    merged(&file, access).map(drop)
}

/// Puts the settings into the file, or makes it. Whoever reads it at this moment finds the old one
/// or the new one, whole. Says whether its status line is somebody else's and stays.
///
/// # Errors
///
/// [`Unwritten`]; the file is as it was.
pub fn write(path: &Path, access: ClientConfig<'_>) -> Result<bool, Unwritten> {
    let file = resolved(path)?;
    let text = merged(&file, access)?;
    let failed = |error: std::io::Error| unwritten(path, format!("cannot be written: {error}"));
    // The library makes it for its owner only.
    let mut new = tempfile::NamedTempFile::new_in(folder(&file)).map_err(failed)?;
    new.write_all(text.as_bytes()).map_err(failed)?;
    new.as_file().sync_all().map_err(failed)?;
    new.persist(&file).map_err(|error| failed(error.error))?;
    Ok(has_other_line(&text))
}

fn merged(file: &Path, access: ClientConfig<'_>) -> Result<String, Unwritten> {
    let text = read(file)?;
    access.merged(&text).map_err(|unfit| unwritten(file, unfit.to_string()))
}

fn read(file: &Path) -> Result<String, Unwritten> {
    let failed = |error: std::io::Error| unwritten(file, format!("cannot be read: {error}"));
    match fs::metadata(file) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(failed(error)),
        Ok(found) if !found.is_file() => return Err(unwritten(file, "is not a file".to_owned())),
        Ok(found) if found.len() > MAX_FILE => {
            return Err(unwritten(file, "is too large for a file of settings".to_owned()));
        }
        Ok(found) if found.permissions().readonly() => {
            return Err(unwritten(file, "is read-only: make it writable first".to_owned()));
        }
        Ok(_) => {}
    }
    fs::read_to_string(file).map_err(failed)
}

/// The file itself, where `path` is a link to it: people keep their settings elsewhere.
fn resolved(path: &Path) -> Result<PathBuf, Unwritten> {
    match fs::canonicalize(path) {
        Ok(file) => Ok(file),
        Err(_) if path.is_symlink() => {
            Err(unwritten(path, "is a link to what is not there".to_owned()))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(path.to_owned()),
        Err(error) => Err(unwritten(path, format!("cannot be read: {error}"))),
    }
}

fn folder(file: &Path) -> &Path {
    file.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn unwritten(path: &Path, why: String) -> Unwritten {
    Unwritten { path: path.to_owned(), why }
}

#[cfg(test)]
mod tests {
    use function::access::ProxyKey;

    use super::*;

    #[cfg(unix)]
    #[test]
    fn the_file_is_its_owners_only_and_a_link_stays_one() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};
        let home = tempfile::tempdir().unwrap();
        let (file, link) = (home.path().join("kept.json"), home.path().join("settings.json"));
        fs::write(&file, "{\"model\": \"opus\"}").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&file, &link).unwrap();
        let key = ProxyKey::from_random([7; 32]);
        let access = ClientConfig { url: "https://proxy.example", key: &key, plain: true };
        check(&link, access).unwrap();
        write(&link, access).unwrap();
        assert!(link.is_symlink());
        let text = fs::read_to_string(&file).unwrap();
        assert!(text.contains("opus") && text.contains(key.reveal()), "{text}");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "nothing is left beside it");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let home = tempfile::tempdir().unwrap();
        let key = ProxyKey::from_random([7; 32]);
        let access = ClientConfig { url: "https://proxy.example", key: &key, plain: true };
        let said = |name: &str| {
            let error = check(&home.path().join(name), access).unwrap_err().to_string();
            error.replace(home.path().to_str().unwrap(), "HOME")
        };
        assert_eq!(
            said("a/settings.json"),
            "HOME/a/settings.json: there is no folder HOME/a: make it first"
        );
        assert!(said(".").ends_with(": is not a file"));
        fs::write(home.path().join("bad.json"), "{").unwrap();
        assert_eq!(
            said("bad.json"),
            "HOME/bad.json: it is not JSON (line 1, column 1): mend it first"
        );
        let kept = home.path().join("kept.json");
        fs::write(&kept, "{}").unwrap();
        let mut mode = fs::metadata(&kept).unwrap().permissions();
        mode.set_readonly(true);
        fs::set_permissions(&kept, mode).unwrap();
        assert_eq!(said("kept.json"), "HOME/kept.json: is read-only: make it writable first");
        fs::write(home.path().join("latin.json"), b"{\"a\": \"\xe4\"}").unwrap();
        assert!(said("latin.json").contains("cannot be read"));
    }
}
