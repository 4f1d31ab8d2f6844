//! The tables, how a store is made, checked and brought up to date, and how its connections are set up.
//!
//! | table | holds | why so |
//! |---|---|---|
//! | `journal` | one row per accepted input, in the order of acceptance | rows are appended at the end, whatever their conversation: a commit writes few pages, and pages are full. With the conversation as key each row would touch a page of its own, and rows above a quarter of a page would spill into one |
//! | `journal_order` | (conversation, ordinal) → row | finds a conversation's rows, and lets none be there twice |
//! | `conversations`, `customers` | number ↔ the caller's id, and what is known beside the rows | the unique index on the id is the only one on random values: an id is all that a caller has. Everything else names numbers, which are small and grow |
//! | `snapshots`, `customer_snapshots` | the latest state only | replaced in place |
//! | `customer_changes` | what came after the snapshot | a snapshot takes those before it away |
//! | `outbox` | letters to others until they are delivered, and marks of those for a while | in the same file, so that a letter is durable with the row that decided it, or neither |
//! | `tickets` | what a helpdesk calls a conversation, where it was said | no input to a decision, so it is no row of the journal |
//! | `agents` | who takes conversations | no part of any conversation |
//! | `timers` | conversations to which a timer must be delivered, and when | what is pending is found at a start without reading everything |
//! | `handoffs` | how each handoff stands, or ended | lists and measures need no conversation's rows |
//! | `feed` | what the backend must still do, in one order | durable with the row that decided it; an acknowledgement deletes it, and its place is never used again |
//! | `claims` | who may say the next reply | no input to a decision, so it is no row of the journal |
//! | `scrub` | a row while erased bytes may still be in a file | an erasure that a crash interrupts is finished at the next start |
//!
//! Nothing of a conversation is rewritten for each row: its count is that of its last row, and its activity is noted by the minute.

use std::fs;
use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};

use super::Limits;
use super::error::{StoreError, StoreErrorKind};
use super::folder::Folder;

/// Says that a SQLite file is ours: "BATN".
const APPLICATION_ID: i32 = 0x4241_544e;
/// Bytes of a page; SQLite's own choice, and what a commit writes at least for each page it touches.
const PAGE_BYTES: u64 = 4096;
/// Pages of the log after which it is written back into the database: 16 MiB. SQLite's own 1,000 stalls four times as many commits.
const CHECKPOINT_PAGES: i64 = 4096;
/// Statements that a connection keeps prepared; there are about sixty.
const STATEMENTS: usize = 96;
/// KiB of pages that a connection keeps.
const WRITER_CACHE_KIB: i64 = 32 * 1024;
const READER_CACHE_KIB: i64 = 4 * 1024;

/// Each brings a store from the version of its place to the next.
const MIGRATIONS: [&str; 3] = [
    "
CREATE TABLE customers (number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, active INTEGER NOT NULL) STRICT;
CREATE INDEX customers_active ON customers (active);
CREATE TABLE customer_changes (
    customer INTEGER NOT NULL, ordinal INTEGER NOT NULL, change BLOB NOT NULL, PRIMARY KEY (customer, ordinal)
) STRICT, WITHOUT ROWID;
CREATE TABLE customer_snapshots (customer INTEGER PRIMARY KEY, ordinal INTEGER NOT NULL, state BLOB NOT NULL) STRICT;
CREATE TABLE conversations (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, customer INTEGER, active INTEGER NOT NULL, closed INTEGER, outcome TEXT,
    satisfaction INTEGER, erased INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX conversations_idle ON conversations (active) WHERE closed IS NULL;
CREATE INDEX conversations_closed ON conversations (closed) WHERE closed IS NOT NULL;
CREATE INDEX conversations_customer ON conversations (customer) WHERE customer IS NOT NULL;
CREATE TABLE snapshots (conversation INTEGER PRIMARY KEY, ordinal INTEGER NOT NULL, state BLOB NOT NULL) STRICT;
CREATE TABLE journal (
    place INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, ordinal INTEGER NOT NULL, sequence INTEGER NOT NULL, at INTEGER NOT NULL,
    receipt BLOB NOT NULL, message TEXT, text_digest BLOB, answer BLOB NOT NULL, input BLOB NOT NULL, text TEXT
) STRICT;
CREATE UNIQUE INDEX journal_order ON journal (conversation, ordinal);
CREATE TABLE scrub (since INTEGER NOT NULL) STRICT;
",
    "
CREATE TABLE outbox (
    number INTEGER PRIMARY KEY, key TEXT NOT NULL, conversation INTEGER NOT NULL, ordinal INTEGER NOT NULL, destination TEXT NOT NULL,
    state INTEGER NOT NULL, born INTEGER NOT NULL, since INTEGER NOT NULL, changed INTEGER NOT NULL, next_at INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0, done INTEGER NOT NULL DEFAULT 0, reason TEXT, content BLOB
) STRICT;
CREATE UNIQUE INDEX outbox_order ON outbox (conversation, ordinal, destination);
CREATE INDEX outbox_pending ON outbox (destination, next_at) WHERE state = 0;
CREATE INDEX outbox_ended ON outbox (changed) WHERE state != 0;
CREATE INDEX outbox_dead ON outbox (destination) WHERE state >= 2;
CREATE TABLE tickets (conversation INTEGER PRIMARY KEY, ticket TEXT NOT NULL) STRICT;
",
    // A handoff that stands in an older store has no timer yet: every open conversation is looked at once.
    "
CREATE TABLE agents (key TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE timers (conversation INTEGER PRIMARY KEY, due INTEGER NOT NULL) STRICT;
CREATE TABLE handoffs (
    number INTEGER PRIMARY KEY, conversation INTEGER NOT NULL, nth INTEGER NOT NULL, state TEXT NOT NULL, queue TEXT NOT NULL,
    record BLOB NOT NULL
) STRICT;
CREATE UNIQUE INDEX handoffs_order ON handoffs (conversation, nth);
CREATE TABLE feed (
    place INTEGER PRIMARY KEY AUTOINCREMENT, conversation INTEGER NOT NULL, born INTEGER NOT NULL, urgent INTEGER NOT NULL,
    content BLOB NOT NULL
) STRICT;
CREATE INDEX feed_conversation ON feed (conversation);
CREATE TABLE claims (conversation INTEGER PRIMARY KEY, claim BLOB NOT NULL) STRICT;
INSERT INTO timers (conversation, due) SELECT number, 0 FROM conversations WHERE closed IS NULL AND erased = 0;
",
];

/// The version that this program writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The first version with an outbox.
const VERSION_OF_OUTBOX: i64 = 2;

/// Opens the database for writing: makes it where the folder is empty, refuses it where it is not as it should be, and brings it up to date.
pub(super) fn open(folder: &Folder, limits: &Limits) -> Result<Connection, StoreError> {
    let database = folder.database();
    if database.exists() {
        inspect(folder)?;
    } else if folder.has_remains() {
        return Err(StoreError::damaged(format!("{}: it is missing, but the rest of a store is there", database.display())));
    } else {
        create(folder)?;
    }
    folder.mark_in_use()?;
    let doing = |what: &'static str| move |error| StoreError::sqlite(what, error);
    let mut connection = Connection::open_with_flags(&database, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(doing("the store cannot be opened"))?;
    set_up_writer(&connection, limits).map_err(doing("the store cannot be set up"))?;
    migrate(&mut connection, &MIGRATIONS).map_err(doing("the store cannot be brought up to date"))?;
    Ok(connection)
}

fn set_up_writer(connection: &Connection, limits: &Limits) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // Each commit is on the disk before it is answered.
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "secure_delete", true)?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "cache_size", -WRITER_CACHE_KIB)?;
    if let Some(bytes) = limits.file_bytes_max {
        let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX).max(1);
        connection.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))?;
    }
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    Ok(())
}

/// Opens the database for reading.
pub(super) fn open_reader(folder: &Folder) -> Result<Connection, StoreError> {
    let open = || {
        let connection = read_only(&folder.database())?;
        connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    };
    open().map_err(|error| StoreError::sqlite("the store cannot be opened for reading", error))
}

/// Opens the database of a folder that perhaps another process serves, to read and nothing else; `None` where a program wrote it that had no outbox.
pub(super) fn open_beside(database: &Path) -> Result<Option<Connection>, StoreError> {
    let name = database.display();
    let doing = |error| StoreError::sqlite(&format!("{name}: the store cannot be read"), error);
    let connection = read_only(database).map_err(doing)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(doing)?;
    known_version(&connection, database).map(|version| (version >= VERSION_OF_OUTBOX).then_some(connection))
}

fn read_only(database: &Path) -> rusqlite::Result<Connection> {
    Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX)
}

/// Makes a new store under another name and renames it, so that an unfinished one is never taken for a damaged one, nor the other way round.
fn create(folder: &Folder) -> Result<(), StoreError> {
    let new = folder.database_in_the_making();
    for remains in [new.clone(), new.with_extension("new-journal")] {
        if remains.exists() {
            fs::remove_file(&remains).map_err(|error| StoreError::io(format!("{}: it cannot be removed", remains.display()), error))?;
        }
    }
    let make = || {
        let mut connection = Connection::open(&new)?;
        connection.pragma_update(None, "page_size", i64::try_from(PAGE_BYTES).unwrap_or_default())?;
        connection.pragma_update(None, "application_id", APPLICATION_ID)?;
        migrate(&mut connection, &MIGRATIONS)?;
        connection.close().map_err(|(_, error)| error)
    };
    make().map_err(|error| StoreError::sqlite("the store cannot be made", error))?;
    folder.name_database()
}

/// Looks before anything is written. A store that was not closed is read as a whole, so that damage is told now and not to a customer later.
fn inspect(folder: &Folder) -> Result<(), StoreError> {
    let database = folder.database();
    let name = database.display();
    let doing = |error| StoreError::sqlite(&format!("{name}: the store cannot be read"), error);
    check_log(folder)?;
    let connection = read_only(&database).map_err(doing)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true).map_err(doing)?;
    known_version(&connection, &database)?;
    if folder.is_clean() {
        return Ok(());
    }
    let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0)).map_err(doing)?;
    if verdict == "ok" { Ok(()) } else { Err(StoreError::damaged(format!("{name}: the store is damaged"))) }
}

/// The version of a database of ours that this program knows.
fn known_version(connection: &Connection, database: &Path) -> Result<i64, StoreError> {
    let name = database.display();
    let doing = |error| StoreError::sqlite(&format!("{name}: the store cannot be read"), error);
    let application: i32 = connection.pragma_query_value(None, "application_id", |row| row.get(0)).map_err(doing)?;
    if application != APPLICATION_ID {
        return Err(StoreError::damaged(format!("{name}: this is no store of Baton")));
    }
    let version = version(connection).map_err(doing)?;
    if version > VERSION {
        let what = format!("{name}: found version {version}, this program knows versions up to {VERSION}");
        return Err(StoreError::new(StoreErrorKind::Newer, what));
    }
    Ok(version)
}

/// SQLite takes a log that does not begin like one for an empty one, and its rows for lost. One that a crash left before its first sync is all zeros.
fn check_log(folder: &Folder) -> Result<(), StoreError> {
    use std::io::Read;
    let mut start = [0; 4];
    let read = fs::File::open(folder.wal()).and_then(|mut file| file.read_exact(&mut start));
    match u32::from_be_bytes(start) {
        0 | 0x377f_0682 | 0x377f_0683 => Ok(()),
        _ if read.is_err() => Ok(()),
        _ => Err(StoreError::damaged(format!("{}: the log does not begin like one", folder.wal().display()))),
    }
}

fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

fn migrate(connection: &mut Connection, migrations: &[&str]) -> rusqlite::Result<()> {
    let from = usize::try_from(version(connection)?).unwrap_or(0);
    for (place, migration) in migrations.iter().enumerate().skip(from) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(migration)?;
        transaction.pragma_update(None, "user_version", i64::try_from(place + 1).unwrap_or_default())?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_commit_is_on_the_disk_before_it_is_answered() {
        let place = tempfile::tempdir().unwrap();
        let folder = Folder::open(place.path()).unwrap();
        let writer = open(&folder, &Limits::default()).unwrap();
        let pragma = |name: &str| writer.pragma_query_value(None, name, |row| row.get::<_, rusqlite::types::Value>(0)).unwrap();
        assert_eq!(pragma("synchronous"), 2.into(), "2 is FULL");
        assert_eq!(pragma("journal_mode"), "wal".to_owned().into());
        assert_eq!(pragma("secure_delete"), 1.into());
        assert_eq!((pragma("user_version"), pragma("application_id")), (VERSION.into(), i64::from(APPLICATION_ID).into()));
    }

    #[test]
    fn migrations_run_once_and_in_order() {
        let mut connection = Connection::open_in_memory().unwrap();
        let (first, second) = ("CREATE TABLE a (x) ;", "ALTER TABLE a RENAME TO b;");
        migrate(&mut connection, &[first]).unwrap();
        migrate(&mut connection, &[first, second]).unwrap();
        migrate(&mut connection, &[first, second]).unwrap();
        assert_eq!(version(&connection).unwrap(), 2);
        assert!(migrate(&mut connection, &[first, second, "CREATE TABLE c (x); nonsense;"]).is_err());
        assert_eq!(version(&connection).unwrap(), 2);
        assert!(connection.prepare("SELECT x FROM c").is_err(), "a migration is there as a whole or not at all");
    }
}
