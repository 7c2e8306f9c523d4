//! What is remembered in a file of our own, so that a restart forgets nothing.
//!
//! One `redb` file for one process. An item has the shape of the shared table: a partition key, a
//! sort key, and JSON with RFC 3339 times. A write is on the disk before it is acknowledged. A
//! value that cannot be read is no value: never an error, and never in the way of the next one.

mod budgets;
mod items;
mod read_cache;
mod sessions;

use std::error::Error;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::backends::FileBackend;
use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition, TableHandle};

use self::items::{Definition, ItemTable, LIMITS, PROOFS, SESSIONS, read};
use self::read_cache::ReadCache;
use super::{CAPACITY, Query, RateLimitStore, StoreError, is_newer, outlasts, proof_ends};
use crate::failover::cooldown::{Cooldown, Timestamp};
use crate::failover::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
use crate::failover::known::{Known, Proof};

/// The layout that this version reads and writes, kept in the file.
const FORMAT_VERSION: u64 = 1;
const FORMAT: TableDefinition<'static, (), u64> = TableDefinition::new("format");

/// A full store is smaller than this, so that reads are answered from memory.
const CACHE_BYTES: usize = 32 * 1024 * 1024;

/// The sort key of every proof.
const PROOF: &str = "proof";

/// Remembers in a file, at most [`CAPACITY`] limits and as many proofs.
#[derive(Debug)]
pub struct EmbeddedStore {
    database: Arc<Database>,
    cache: Arc<ReadCache>,
    capacity: usize,
}

impl EmbeddedStore {
    /// Opens the store at `path`, or makes a new one, and deletes what has expired at `now`.
    ///
    /// Missing folders are made for the owner alone, and so is the file. Every page is verified:
    /// a damaged file is refused here and not met later. Blocks; called once, at the start.
    ///
    /// # Errors
    ///
    /// An [`OpenError`] is a sentence that names the file and what to do about it.
    pub fn open(path: &Path, now: Timestamp) -> Result<Self, OpenError> {
        let file = open_file(path)?;
        let database = FileBackend::new(file)
            .and_then(|backend| {
                Builder::new()
                    .set_cache_size(CACHE_BYTES)
                    .set_check_integrity_on_open(true)
                    .create_with_backend(backend)
            })
            .map_err(|error| OpenError::from_redb(path, error.into()))?;
        match prepare(&database, now).map_err(|error| OpenError::from_redb(path, error))? {
            FileFormat::Ours => {
                let (database, cache) = (Arc::new(database), Arc::default());
                Ok(Self { database, cache, capacity: CAPACITY })
            }
            FileFormat::Newer(found) => Err(OpenError::Newer { path: path.to_owned(), found }),
            FileFormat::Foreign => {
                let source = "it is the database of another program".into();
                Err(OpenError::NotAStore { path: path.to_owned(), source })
            }
        }
    }

    /// Keeps at most `capacity` limits and `capacity` proofs.
    #[must_use]
    pub fn with_capacity(self, capacity: usize) -> Self {
        Self { capacity, ..self }
    }

    /// What the file says, whether or not it has expired.
    fn stored(&self, whose: &Fingerprint, class: &ModelClass) -> Result<Known, redb::Error> {
        let (known, moment) = self.cache.recall(whose, class);
        if let Some(known) = known {
            return Ok(known);
        }
        let known = self.read(whose, class)?;
        self.cache.note((*whose, class.clone()), &known, moment);
        Ok(known)
    }

    /// Reads from the last commit; neither waits for a write nor, once cached, for the disk.
    fn read(&self, whose: &Fingerprint, class: &ModelClass) -> Result<Known, redb::Error> {
        let transaction = self.database.begin_read()?;
        let limits = transaction.open_table(LIMITS.items)?;
        let proofs = transaction.open_table(PROOFS.items)?;
        let pk = limit_pk(whose);
        Ok(Known {
            class: read(&limits, (pk.as_str(), class.as_str()))?,
            account: read(&limits, (pk.as_str(), LimitScope::Account.as_str()))?,
            proof: read(&proofs, (proof_pk(whose).as_str(), PROOF))?,
            ..Known::default()
        })
    }

    /// Changes one table in a transaction of its own, which is on the disk when this returns.
    ///
    /// `change` says whether there is anything to commit. A caller that stops waiting does not
    /// stop the write.
    async fn write<F>(
        &self,
        action: &'static str,
        definition: &'static Definition,
        change: F,
    ) -> Result<(), StoreError>
    where
        F: FnOnce(&mut ItemTable<'_>) -> Result<bool, redb::Error> + Send + 'static,
    {
        let (database, capacity) = (Arc::clone(&self.database), self.capacity);
        let cache = Arc::clone(&self.cache);
        let written = tokio::task::spawn_blocking(move || -> Result<(), redb::Error> {
            let transaction = database.begin_write()?;
            if change(&mut ItemTable::open(&transaction, definition, capacity)?)? {
                let committed = transaction.commit();
                cache.forget();
                committed?;
            } else {
                transaction.abort()?;
            }
            Ok(())
        });
        written.await.map_err(failed(action))?.map_err(failed(action))
    }
}

impl RateLimitStore for EmbeddedStore {
    async fn look_up(&self, query: &Query<'_>, now: Timestamp) -> Result<Known, StoreError> {
        let stored = match query.subject {
            Some((whose, class)) => self.stored(whose, class),
            None => Ok(Known::default()),
        };
        let stored = stored.map_err(failed("look up what is remembered"))?;
        let session = query.session.map(|digest| self.read_session(digest)).transpose();
        let session = session.map_err(failed("read the session"))?.flatten();
        Ok(Known {
            class: stored.class.filter(|limit| limit.is_in_force(now)),
            account: stored.account.filter(|limit| limit.is_in_force(now)),
            proof: stored.proof.filter(|proof| proof_ends(proof) > now),
            key: query.keyless(),
            session: session.filter(|session| session.ends() > now).map(Box::new),
            ..stored
        })
    }

    async fn remember_limit(&self, key: &LimitKey, cooldown: &Cooldown) -> Result<(), StoreError> {
        let action = "remember the limit";
        let json = serde_json::to_string(cooldown).map_err(failed(action))?;
        let (key, cooldown) = (key.clone(), cooldown.clone());
        self.write(action, &LIMITS, move |table| {
            let pk = limit_pk(&key.fingerprint);
            let item = (pk.as_str(), key.scope.as_str());
            let stored: Option<Cooldown> = read(&table.items, item)?;
            if stored.is_some_and(|stored| outlasts(&stored, &cooldown)) {
                return Ok(false);
            }
            table.put(item, (cooldown.until, &json), cooldown.recorded_at)?;
            Ok(true)
        })
        .await
    }

    async fn forget_limit(&self, key: &LimitKey, recorded_at: Timestamp) -> Result<(), StoreError> {
        let key = key.clone();
        self.write("forget the limit", &LIMITS, move |table| {
            let pk = limit_pk(&key.fingerprint);
            let item = (pk.as_str(), key.scope.as_str());
            let stored: Option<Cooldown> = read(&table.items, item)?;
            if stored.is_none_or(|stored| stored.recorded_at != recorded_at) {
                return Ok(false);
            }
            table.remove(item)
        })
        .await
    }

    async fn remember_proof(
        &self,
        fingerprint: &Fingerprint,
        proof: &Proof,
    ) -> Result<(), StoreError> {
        let action = "remember the proof";
        let json = serde_json::to_string(proof).map_err(failed(action))?;
        let (pk, proof) = (proof_pk(fingerprint), proof.clone());
        self.write(action, &PROOFS, move |table| {
            let item = (pk.as_str(), PROOF);
            let stored: Option<Proof> = read(&table.items, item)?;
            if stored.is_some_and(|stored| is_newer(&stored, &proof)) {
                return Ok(false);
            }
            table.put(item, (proof_ends(&proof), &json), proof.proven_at)?;
            Ok(true)
        })
        .await
    }

    async fn forget_proof(&self, fingerprint: &Fingerprint) -> Result<(), StoreError> {
        let pk = proof_pk(fingerprint);
        self.write("forget the proof", &PROOFS, move |table| table.remove((pk.as_str(), PROOF)))
            .await
    }
}

/// What a database turned out to hold.
enum FileFormat {
    Ours,
    Newer(u64),
    Foreign,
}

/// Makes a new database ours, or sees that it is, and deletes everything that has expired at `now`.
fn prepare(database: &Database, now: Timestamp) -> Result<FileFormat, redb::Error> {
    let transaction = database.begin_write()?;
    let tables: Vec<String> = transaction.list_tables()?.map(|t| t.name().to_owned()).collect();
    if !tables.is_empty() && !tables.iter().any(|name| name == FORMAT.name()) {
        return Ok(FileFormat::Foreign);
    }
    {
        let mut format = transaction.open_table(FORMAT)?;
        let found = format.get(())?.map(|version| version.value());
        match found {
            Some(found) if found > FORMAT_VERSION => return Ok(FileFormat::Newer(found)),
            _ => drop(format.insert((), FORMAT_VERSION)?),
        }
    }
    for definition in [&LIMITS, &PROOFS, &SESSIONS] {
        ItemTable::open(&transaction, definition, usize::MAX)?.make_room(now, usize::MAX)?;
    }
    drop(transaction.open_table(budgets::MONTHS)?);
    transaction.commit()?;
    Ok(FileFormat::Ours)
}

fn limit_pk(fingerprint: &Fingerprint) -> String {
    format!("limit#{fingerprint}")
}

fn proof_pk(fingerprint: &Fingerprint) -> String {
    format!("proof#{fingerprint}")
}

fn failed<E: Error + Send + Sync + 'static>(action: &'static str) -> impl Fn(E) -> StoreError {
    move |source| StoreError::Failed { action, source: Box::new(source) }
}

/// Opens the file for reading and writing, or creates it with the folders it is in.
fn open_file(path: &Path) -> Result<File, OpenError> {
    if let Some(folder) = path.parent() {
        let folder_error = |source| OpenError::Folder { path: folder.to_owned(), source };
        create_folder(folder).map_err(folder_error)?;
    }
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .map_err(|error| OpenError::File { path: path.to_owned(), source: error.into() })
}

fn create_folder(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return Ok(());
    }
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Why the store could not be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(
        "cannot make the folder {} for the rate limit store: make it, or set \
         RATE_LIMIT_STORE_PATH to a file elsewhere",
        path.display()
    )]
    Folder { path: PathBuf, source: io::Error },
    #[error(
        "cannot open the rate limit store {}: see that this user may read and write it, or set \
         RATE_LIMIT_STORE_PATH to a file elsewhere",
        path.display()
    )]
    File { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error(
        "the rate limit store {} is in use by another process: stop the other proxy, or set \
         RATE_LIMIT_STORE_PATH to a file of its own",
        path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "{} is not a rate limit store, or it is damaged: move it away, and a new one is made, or \
         set RATE_LIMIT_STORE_PATH to a file elsewhere",
        path.display()
    )]
    NotAStore { path: PathBuf, source: Box<dyn Error + Send + Sync> },
    #[error(
        "the rate limit store {} was written by a newer version of this program (format {found}, \
         known up to {FORMAT_VERSION}): update, or set RATE_LIMIT_STORE_PATH to a file elsewhere",
        path.display()
    )]
    Newer { path: PathBuf, found: u64 },
}

impl OpenError {
    fn from_redb(path: &Path, error: redb::Error) -> Self {
        let path = path.to_owned();
        let in_use =
            matches!(error, redb::Error::DatabaseAlreadyOpen | redb::Error::LockProtocolMismatch);
        // The two kinds are how `redb` says that a file is none of its own.
        let not_a_store = matches!(
            error,
            redb::Error::Corrupted(_)
                | redb::Error::UpgradeRequired(_)
                | redb::Error::TableTypeMismatch { .. }
                | redb::Error::TableIsMultimap(_)
        ) || matches!(&error, redb::Error::Io(io)
            if matches!(io.kind(), ErrorKind::InvalidData | ErrorKind::UnexpectedEof));
        if in_use {
            Self::InUse { path }
        } else if not_a_store {
            Self::NotAStore { path, source: error.into() }
        } else {
            Self::File { path, source: error.into() }
        }
    }
}
