//! The contract of the stores: one suite, run against each of them; then what only a file can do,
//! and what only a shared table can.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use function::failover::cooldown::Cooldown;
use function::failover::known::Known;
use function::store::embedded::{EmbeddedStore, OpenError};
use function::store::memory::MemoryStore;
use function::store::{RateLimitStore, Store};
use redb::{
    Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition, TableHandle,
};
use tempfile::TempDir;
use testing::table::{DAY, account_of, at, credential, opus_of, proven, seen, until};

mod rules;

use self::rules::every_rule;

/// Runs every rule against a fresh store of each sort, and those for local stores, which have room
/// for [`ROOM`] entries of a kind and delete by themselves. `tests/dynamo` has the shared table.
macro_rules! stores_keep {
    (every store: [$($rule:ident)*] local stores: [$($local:ident)*]) => {
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                super::rules::$rule(super::fresh_memory()).await;
            })*
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $local() {
                super::$local(super::fresh_memory()).await;
            })*
        }
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $rule() {
                let folder = super::TempDir::new().unwrap();
                super::rules::$rule(super::fresh_embedded(&folder)).await;
            })*
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $local() {
                let folder = super::TempDir::new().unwrap();
                super::$local(super::fresh_embedded(&folder)).await;
            })*
        }
    };
}

every_rule! {
    stores_keep
    local stores: [
    what_has_expired_is_deleted_by_the_next_write
    a_full_store_lets_go_of_what_ends_soonest
    a_full_store_lets_go_of_the_oldest_proof
    a_full_store_replaces_without_letting_go
    limits_and_proofs_do_not_crowd_each_other_out
    ]
}

async fn what_has_expired_is_deleted_by_the_next_write(store: Store) {
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_limit(&opus_of("b"), &until(600)).await.unwrap();
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    let later = Cooldown { recorded_at: at(300), ..until(900) };
    store.remember_limit(&opus_of("c"), &later).await.unwrap();
    store.remember_proof(&credential("c"), &proven(DAY + 300)).await.unwrap();
    // Asked as if it were earlier: what was only hidden would show.
    assert_eq!(seen(&store, "a", 1).await, Known::default());
    assert_eq!(seen(&store, "b", 1).await.class, Some(until(600)));
}

async fn a_full_store_lets_go_of_what_ends_soonest(store: Store) {
    for (n, end) in [400, 200, 300, 500].into_iter().enumerate() {
        store.remember_limit(&opus_of(&format!("{n}")), &until(end)).await.unwrap();
    }
    store.remember_limit(&opus_of("new"), &until(100)).await.unwrap();
    let mut ends = BTreeMap::new();
    for who in ["0", "1", "2", "3", "new"] {
        ends.insert(who, seen(&store, who, 1).await.class.map(|limit| limit.until));
    }
    let left = [Some(at(400)), None, Some(at(300)), Some(at(500)), Some(at(100))];
    assert_eq!(ends.into_values().collect::<Vec<_>>(), left);
}

async fn a_full_store_lets_go_of_the_oldest_proof(store: Store) {
    for (n, moment) in [40, 20, 30, 50, 60].into_iter().enumerate() {
        store.remember_proof(&credential(&format!("{n}")), &proven(moment)).await.unwrap();
    }
    for (who, is_there) in [("0", true), ("1", false), ("2", true), ("3", true), ("4", true)] {
        assert_eq!(seen(&store, who, 61).await.proof.is_some(), is_there, "{who}");
    }
}

async fn a_full_store_replaces_without_letting_go(store: Store) {
    let everyone = [("0", 100), ("1", 200), ("2", 300), ("3", 400)];
    for (who, end) in everyone {
        store.remember_limit(&opus_of(who), &until(end)).await.unwrap();
    }
    store.remember_limit(&opus_of("3"), &until(500)).await.unwrap();
    for (who, _) in everyone {
        assert!(seen(&store, who, 1).await.class.is_some(), "{who}");
    }
}

async fn limits_and_proofs_do_not_crowd_each_other_out(store: Store) {
    for n in 0..ROOM {
        store.remember_limit(&opus_of(&format!("{n}")), &until(60)).await.unwrap();
    }
    for n in 0..ROOM * 2 {
        store.remember_proof(&credential(&format!("{n}")), &proven(1)).await.unwrap();
    }
    for n in 0..ROOM {
        assert_eq!(seen(&store, &format!("{n}"), 1).await.class, Some(until(60)), "{n}");
    }
}

#[tokio::test]
async fn a_restart_forgets_nothing() {
    let folder = TempDir::new().unwrap();
    let store = fresh_embedded(&folder);
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    drop(store);
    let known =
        Known { class: Some(until(60)), account: None, proof: Some(proven(0)), ..Known::default() };
    assert_eq!(seen(&fresh_embedded(&folder), "a", 1).await, known);
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill() {
    let folder = TempDir::new().unwrap();
    let mut writer = Writer::start(&store_path(&folder));
    let mut acknowledged = writer.wait_for(25);
    writer.child.kill().unwrap();
    acknowledged += writer.wait_for(usize::MAX);
    writer.child.wait().unwrap();
    let store = fresh_embedded(&folder);
    for n in 0..acknowledged {
        let known = seen(&store, &format!("{n}"), 1).await;
        assert!(known.class.is_some() && known.proof.is_some(), "{n} of {acknowledged}");
    }
}

#[test]
fn a_second_process_is_told_which_file_is_in_use() {
    let folder = TempDir::new().unwrap();
    let mut writer = Writer::start(&store_path(&folder));
    writer.wait_for(1);
    let error = EmbeddedStore::open(&store_path(&folder), at(0)).unwrap_err();
    writer.child.kill().unwrap();
    writer.child.wait().unwrap();
    assert_eq!(
        error.to_string(),
        format!(
            "the rate limit store {} is in use by another process: stop the other proxy, or set \
             RATE_LIMIT_STORE_PATH to a file of its own",
            store_path(&folder).display()
        )
    );
    drop(fresh_embedded(&folder));
}

/// Not a rule: the other process of the two tests above, which name its file; else nothing.
#[expect(clippy::disallowed_methods, reason = "how the other process learns its file")]
#[tokio::test]
async fn writes_until_it_is_killed() {
    let Some(path) = env::var_os(WRITER_PATH) else { return };
    let store = EmbeddedStore::open(Path::new(&path), at(0)).unwrap();
    for n in 0.. {
        store.remember_limit(&opus_of(&format!("{n}")), &until(3600)).await.unwrap();
        store.remember_proof(&credential(&format!("{n}")), &proven(0)).await.unwrap();
        println!("{ACKNOWLEDGED}");
    }
}

#[tokio::test]
async fn expired_entries_leave_the_file_when_it_is_opened() {
    let folder = TempDir::new().unwrap();
    let store = fresh_embedded(&folder);
    for (n, end) in [60, 90, 600].into_iter().enumerate() {
        store.remember_limit(&opus_of(&format!("{n}")), &until(end)).await.unwrap();
    }
    drop(store);
    drop(EmbeddedStore::open(&store_path(&folder), at(300)).unwrap());
    let database = Database::open(store_path(&folder)).unwrap();
    let transaction = database.begin_read().unwrap();
    assert_eq!(transaction.open_table(LIMITS).unwrap().len().unwrap(), 1);
    assert_eq!(transaction.open_table(LIMITS_BY_END).unwrap().len().unwrap(), 1);
}

#[tokio::test]
async fn many_expired_entries_are_deleted_over_several_writes() {
    let folder = TempDir::new().unwrap();
    let store = EmbeddedStore::open(&store_path(&folder), at(0)).unwrap();
    drop(store);
    let stale: Vec<_> = (0..200).map(|n| (format!("limit#{n:03}"), 10 + n)).collect();
    change_file(&folder, |transaction| {
        let mut limits = transaction.open_table(LIMITS).unwrap();
        let mut ends = transaction.open_table(LIMITS_BY_END).unwrap();
        for (pk, end) in &stale {
            let end = at(*end).as_second();
            limits.insert((pk.as_str(), "opus"), (end, "{}")).unwrap();
            ends.insert((end, pk.as_str(), "opus"), ()).unwrap();
        }
    });
    let store = EmbeddedStore::open(&store_path(&folder), at(0)).unwrap();
    for n in 0..4 {
        let late = Cooldown { recorded_at: at(1000), ..until(2000) };
        store.remember_limit(&opus_of(&format!("{n}")), &late).await.unwrap();
    }
    drop(store);
    change_file(&folder, |transaction| {
        assert_eq!(transaction.open_table(LIMITS).unwrap().len().unwrap(), 4);
    });
}

#[tokio::test]
async fn a_value_that_cannot_be_read_is_absent_and_is_overwritten() {
    let folder = TempDir::new().unwrap();
    let store = fresh_embedded(&folder);
    store.remember_limit(&opus_of("a"), &until(90)).await.unwrap();
    store.remember_proof(&credential("a"), &proven(9)).await.unwrap();
    drop(store);
    change_file(&folder, |transaction| {
        for table in [LIMITS, PROOFS] {
            let mut items = transaction.open_table(table).unwrap();
            let ((pk, sk), end) = {
                let (key, item) = items.first().unwrap().unwrap();
                let (pk, sk) = key.value();
                ((pk.to_owned(), sk.to_owned()), item.value().0)
            };
            items.insert((pk.as_str(), sk.as_str()), (end, r#"{"until":"soon"}"#)).unwrap();
        }
    });
    let store = fresh_embedded(&folder);
    assert_eq!(seen(&store, "a", 1).await, Known::default());
    store.forget_limit(&opus_of("a"), at(0)).await.unwrap();
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    let known =
        Known { class: Some(until(60)), account: None, proof: Some(proven(0)), ..Known::default() };
    assert_eq!(seen(&store, "a", 1).await, known);
}

#[tokio::test]
async fn the_file_is_readable_with_keys_and_json() {
    let folder = TempDir::new().unwrap();
    let store = fresh_embedded(&folder);
    let limit = Cooldown { user: Some("ada".to_owned()), ..until(60) };
    store.remember_limit(&account_of("a"), &limit).await.unwrap();
    store.remember_proof(&credential("a"), &proven(0)).await.unwrap();
    drop(store);
    let fingerprint = credential("a");
    change_file(&folder, |transaction| {
        let limits = transaction.open_table(LIMITS).unwrap();
        let pk = format!("limit#{fingerprint}");
        let stored = limits.get((pk.as_str(), "*")).unwrap().unwrap();
        let json = concat!(
            r#"{"until":"2026-03-01T12:01:00Z","recorded_at":"2026-03-01T12:00:00Z","#,
            r#""reason":"retry-after","retry_after_seconds":60,"#,
            r#""model":"claude-opus-4-5","user":"ada"}"#
        );
        assert_eq!(stored.value(), (at(61).as_second(), json));
        let proofs = transaction.open_table(PROOFS).unwrap();
        let pk = format!("proof#{fingerprint}");
        let stored = proofs.get((pk.as_str(), "proof")).unwrap().unwrap();
        let json = r#"{"proven_at":"2026-03-01T12:00:00Z"}"#;
        assert_eq!(stored.value(), (at(DAY + 1).as_second(), json));
    });
}

#[test]
fn a_file_that_is_no_store_is_refused_and_left_as_it_is() {
    for content in ["not a store, but a shopping list: milk, bread, more milk", "x"] {
        let folder = TempDir::new().unwrap();
        fs::write(store_path(&folder), content).unwrap();
        assert!(matches!(refusal(&folder), OpenError::NotAStore { .. }), "{content}");
        assert_eq!(fs::read_to_string(store_path(&folder)).unwrap(), content);
    }
}

#[test]
fn an_empty_file_becomes_a_store() {
    let folder = TempDir::new().unwrap();
    fs::write(store_path(&folder), "").unwrap();
    drop(fresh_embedded(&folder));
}

#[tokio::test]
async fn a_damaged_store_is_refused_or_works_but_never_panics() {
    let folder = TempDir::new().unwrap();
    let store = fresh_embedded(&folder);
    store.remember_limit(&opus_of("a"), &until(60)).await.unwrap();
    drop(store);
    let sound = fs::read(store_path(&folder)).unwrap();
    let header = (0..320).step_by(8);
    let pages = (320..sound.len()).step_by(1031);
    for position in header.chain(pages) {
        overwrite(&folder, &sound, position);
        match EmbeddedStore::open(&store_path(&folder), at(0)) {
            Ok(store) => drop(seen(&Store::Embedded(store), "a", 1).await),
            Err(error) => assert!(matches!(error, OpenError::NotAStore { .. }), "{error:?}"),
        }
    }
    let in_a_limit = sound.windows(11).rposition(|bytes| bytes == b"retry-after").unwrap();
    for position in [0, 12, in_a_limit] {
        overwrite(&folder, &sound, position);
        assert!(matches!(refusal(&folder), OpenError::NotAStore { .. }), "{position}");
    }
    for length in [1, 8, 9, 100, 320, 4096, 5000, sound.len() / 2, sound.len() - 1] {
        fs::write(store_path(&folder), &sound[..length]).unwrap();
        assert!(matches!(refusal(&folder), OpenError::NotAStore { .. }), "{length}");
    }
}

#[test]
fn the_database_of_another_program_is_refused_and_left_as_it_is() {
    let folder = TempDir::new().unwrap();
    let theirs: TableDefinition<'_, &str, u64> = TableDefinition::new("theirs");
    drop(Database::create(store_path(&folder)).unwrap());
    change_file(&folder, |transaction| {
        transaction.open_table(theirs).unwrap().insert("a", 1).unwrap();
    });
    assert!(matches!(refusal(&folder), OpenError::NotAStore { .. }));
    change_file(&folder, |transaction| {
        let names: Vec<_> =
            transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
        assert_eq!(names, ["theirs"]);
    });
}

#[test]
fn a_store_of_a_newer_version_is_refused() {
    let folder = TempDir::new().unwrap();
    drop(fresh_embedded(&folder));
    change_file(&folder, |transaction| {
        transaction.open_table(FORMAT).unwrap().insert((), 2).unwrap();
    });
    let refusal = refusal(&folder).to_string();
    assert!(refusal.contains("newer version of this program (format 2, known up to 1)"));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("taken"), "").unwrap();
    let path = folder.path().join("taken/deeper/limits.redb");
    let refusal = EmbeddedStore::open(&path, at(0)).unwrap_err();
    assert!(matches!(&refusal, OpenError::Folder { path, .. } if path.ends_with("taken/deeper")));
    assert!(refusal.to_string().contains("set RATE_LIMIT_STORE_PATH"), "{refusal}");
}

#[cfg(unix)]
#[test]
fn a_file_that_may_not_be_opened_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    drop(fresh_embedded(&folder));
    fs::set_permissions(store_path(&folder), fs::Permissions::from_mode(0o000)).unwrap();
    if fs::File::open(store_path(&folder)).is_ok() {
        return; // Nothing is forbidden to the superuser.
    }
    let refusal = refusal(&folder);
    assert!(matches!(refusal, OpenError::File { .. }), "{refusal:?}");
}

#[test]
fn a_folder_in_place_of_the_file_is_named() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(store_path(&folder)).unwrap();
    assert!(matches!(refusal(&folder), OpenError::File { .. }));
}

#[cfg(unix)]
#[test]
fn the_file_and_its_folders_are_for_the_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("new/newer/limits.redb");
    drop(EmbeddedStore::open(&path, at(0)).unwrap());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(&folder.path().join("new/newer")), 0o700);
    assert_eq!(mode(&folder.path().join("new")), 0o700);
}

const ROOM: usize = 4;

const FORMAT: TableDefinition<'_, (), u64> = TableDefinition::new("format");
const LIMITS: TableDefinition<'_, (&str, &str), (i64, &str)> = TableDefinition::new("limits");
const LIMITS_BY_END: TableDefinition<'_, (i64, &str, &str), ()> =
    TableDefinition::new("limits by end");
const PROOFS: TableDefinition<'_, (&str, &str), (i64, &str)> = TableDefinition::new("proofs");

const WRITER_PATH: &str = "LIMITS_TEST_WRITER_PATH";
const ACKNOWLEDGED: &str = "acknowledged";

fn fresh_memory() -> Store {
    Store::Memory(MemoryStore::new().with_capacity(ROOM))
}

fn fresh_embedded(folder: &TempDir) -> Store {
    let store = EmbeddedStore::open(&store_path(folder), at(0)).unwrap();
    Store::Embedded(store.with_capacity(ROOM))
}

fn store_path(folder: &TempDir) -> PathBuf {
    folder.path().join("limits.redb")
}

fn refusal(folder: &TempDir) -> OpenError {
    let refusal = EmbeddedStore::open(&store_path(folder), at(0)).unwrap_err();
    assert!(refusal.to_string().contains(store_path(folder).to_str().unwrap()), "{refusal}");
    refusal
}

/// Writes a sound file with one damaged byte.
fn overwrite(folder: &TempDir, sound: &[u8], position: usize) {
    let mut damaged = sound.to_vec();
    damaged[position] ^= 0xff;
    fs::write(store_path(folder), damaged).unwrap();
}

/// Looks at the file behind the store's back, and changes it.
fn change_file(folder: &TempDir, change: impl FnOnce(&redb::WriteTransaction)) {
    let database = Database::open(store_path(folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    change(&transaction);
    transaction.commit().unwrap();
}

/// This very program again, as a process that writes without end.
struct Writer {
    child: Child,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", "limits::writes_until_it_is_killed", "--nocapture"])
            .env(WRITER_PATH, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    /// Counts acknowledged writes until there are so many, or the process has ended.
    fn wait_for(&mut self, writes: usize) -> usize {
        let acknowledged = self.lines.by_ref().map(Result::unwrap);
        acknowledged.filter(|line| line.contains(ACKNOWLEDGED)).take(writes).count()
    }
}
