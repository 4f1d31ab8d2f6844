//! What is read, on connections that do not block the writer: each call sees what was durable when it began.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension, Row as SqlRow, params};

use super::apply::last_change;
use super::error::StoreError;
use super::folder::Folder;
use super::handoffs;
use super::record::{Counts, Message, Resumed, Status, StoredConversation, StoredCustomer, StoredRow};
use super::schema;
use crate::message::Id;
use crate::time::Timestamp;

/// Connections for reading; a caller waits where all are in use.
pub(super) struct Readers {
    free: Mutex<Pool>,
    freed: Condvar,
    /// Held by who reads; taken as a whole by the writer where the log must become empty.
    gate: RwLock<()>,
}

struct Pool {
    connections: Vec<Connection>,
    closed: bool,
}

impl Readers {
    pub(super) fn open(folder: &Folder, count: usize) -> Result<Self, StoreError> {
        let connections = (0..count.max(1)).map(|_| schema::open_reader(folder)).collect::<Result<_, _>>()?;
        Ok(Self { free: Mutex::new(Pool { connections, closed: false }), freed: Condvar::new(), gate: RwLock::new(()) })
    }

    /// Runs a reading on a connection of its own, as one transaction.
    pub(super) fn read<T>(&self, run: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, StoreError> {
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        let mut connection = self.take()?;
        let result = connection.transaction().and_then(|transaction| run(&transaction));
        self.lock().connections.push(connection);
        self.freed.notify_one();
        drop(gate);
        result.map_err(|error| StoreError::sqlite("the store cannot be read", error))
    }

    fn take(&self) -> Result<Connection, StoreError> {
        let mut pool = self.lock();
        loop {
            if pool.closed {
                return Err(StoreError::closed());
            }
            if let Some(connection) = pool.connections.pop() {
                return Ok(connection);
            }
            pool = self.freed.wait(pool).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// A poisoned pool is whole: nothing panics while it is being changed.
    fn lock(&self) -> MutexGuard<'_, Pool> {
        self.free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until nobody reads, and lets nobody in while it is held.
    pub(super) fn keep_out(&self) -> RwLockWriteGuard<'_, ()> {
        self.gate.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the connections.
    pub(super) fn close(&self) {
        let _nobody = self.keep_out();
        let mut pool = self.lock();
        pool.closed = true;
        pool.connections.clear();
    }
}

const CONVERSATION: &str = "
SELECT c.key, u.key, c.active, c.closed, c.outcome, c.satisfaction, c.erased, c.number,
    coalesce((SELECT max(ordinal) FROM journal WHERE conversation = c.number), 0),
    coalesce((SELECT sequence FROM journal WHERE conversation = c.number ORDER BY ordinal DESC LIMIT 1), 0)
FROM conversations c LEFT JOIN customers u ON u.number = c.customer WHERE c.key = ?1";

pub(super) fn conversation(connection: &Connection, id: &Id) -> rusqlite::Result<Option<StoredConversation>> {
    Ok(numbered_conversation(connection, id)?.map(|(_, conversation)| conversation))
}

fn numbered_conversation(connection: &Connection, id: &Id) -> rusqlite::Result<Option<(i64, StoredConversation)>> {
    let read = |row: &SqlRow<'_>| {
        let closed = row.get::<_, Option<i64>>(3)?.map(|at| time(at, 3)).transpose()?;
        let status = match closed {
            None => Status::Open,
            Some(at) => Status::Closed { at, outcome: row.get::<_, Option<String>>(4)?.unwrap_or_default() },
        };
        let conversation = StoredConversation {
            id: id_at(row, 0)?,
            customer: row.get_ref(1)?.as_str_or_null()?.map(|_| id_at(row, 1)).transpose()?,
            active: time(row.get(2)?, 2)?,
            status,
            satisfaction: row.get(5)?,
            erased: row.get(6)?,
            inputs: number(row.get(8)?, 8)?,
            messages: row.get(9)?,
        };
        Ok((row.get(7)?, conversation))
    };
    connection.prepare_cached(CONVERSATION)?.query_row([id.as_str()], read).optional()
}

pub(super) fn resume(connection: &Connection, id: &Id) -> rusqlite::Result<Option<Resumed>> {
    let Some((of, conversation)) = numbered_conversation(connection, id)? else { return Ok(None) };
    let mut find = connection.prepare_cached("SELECT ordinal, state FROM snapshots WHERE conversation = ?1")?;
    let snapshot = find.query_row([of], |row| Ok((number(row.get(0)?, 0)?, row.get(1)?))).optional()?;
    let after = snapshot.as_ref().map_or(0, |(ordinal, _)| *ordinal);
    let rows = rows_of(connection, of, after, usize::MAX)?;
    let (messages, claim) = (message_ids_of(connection, of)?, handoffs::claim(connection, of)?);
    Ok(Some(Resumed { conversation, snapshot, rows, messages, claim }))
}

pub(super) fn conversations(connection: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<(u64, Id)>> {
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut find = connection.prepare_cached("SELECT number, key FROM conversations WHERE number > ?1 ORDER BY number LIMIT ?2")?;
    find.query_map([after, limit], |row| Ok((number(row.get(0)?, 0)?, id_at(row, 1)?)))?.collect()
}

pub(super) fn rows(connection: &Connection, id: &Id, after: u64, limit: usize) -> rusqlite::Result<Vec<StoredRow>> {
    match number_of(connection, id)? {
        Some(of) => rows_of(connection, of, after, limit),
        None => Ok(Vec::new()),
    }
}

fn number_of(connection: &Connection, id: &Id) -> rusqlite::Result<Option<i64>> {
    let mut find = connection.prepare_cached("SELECT number FROM conversations WHERE key = ?1")?;
    find.query_row([id.as_str()], |row| row.get(0)).optional()
}

const ROW: &str = "SELECT ordinal, sequence, at, receipt, message, text_digest, answer, input, text FROM journal WHERE conversation = ?1";

fn rows_of(connection: &Connection, of: i64, after: u64, limit: usize) -> rusqlite::Result<Vec<StoredRow>> {
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut find = connection.prepare_cached(&format!("{ROW} AND ordinal > ?2 ORDER BY ordinal LIMIT ?3"))?;
    find.query_map([of, after, limit], stored_row)?.collect()
}

fn stored_row(row: &SqlRow<'_>) -> rusqlite::Result<StoredRow> {
    let message = match (row.get_ref(4)?.as_str_or_null()?, row.get::<_, Option<[u8; 32]>>(5)?) {
        (Some(_), Some(text_digest)) => Some(Message { sequence: row.get(1)?, id: id_at(row, 4)?, text_digest }),
        (None, _) | (_, None) => None,
    };
    Ok(StoredRow {
        ordinal: number(row.get(0)?, 0)?,
        at: time(row.get(2)?, 2)?,
        receipt: row.get(3)?,
        message,
        answer: row.get(6)?,
        input: row.get(7)?,
        text: row.get(8)?,
    })
}

/// The row of a message is at its sequence or after it, by as many rows as were no messages.
pub(super) fn message(connection: &Connection, id: &Id, sequence: u32) -> rusqlite::Result<Option<StoredRow>> {
    let Some(of) = number_of(connection, id)? else { return Ok(None) };
    let sql = format!("{ROW} AND ordinal >= ?2 AND sequence = ?2 AND message IS NOT NULL ORDER BY ordinal LIMIT 1");
    connection.prepare_cached(&sql)?.query_row(params![of, sequence], stored_row).optional()
}

pub(super) fn message_ids(connection: &Connection, id: &Id) -> rusqlite::Result<Vec<Id>> {
    number_of(connection, id)?.map_or_else(|| Ok(Vec::new()), |of| message_ids_of(connection, of))
}

fn message_ids_of(connection: &Connection, of: i64) -> rusqlite::Result<Vec<Id>> {
    let sql = "SELECT message FROM journal WHERE conversation = ?1 AND message IS NOT NULL ORDER BY ordinal";
    connection.prepare_cached(sql)?.query_map([of], |row| id_at(row, 0))?.collect()
}

pub(super) fn idle(connection: &Connection, noted_before: Timestamp, skip: usize, limit: usize) -> rusqlite::Result<Vec<Id>> {
    let sql =
        "SELECT key FROM conversations WHERE closed IS NULL AND active < ?1 AND erased = 0 ORDER BY active, number LIMIT ?2 OFFSET ?3";
    let (skip, limit) = (i64::try_from(skip).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    connection.prepare_cached(sql)?.query_map([noted_before.millis(), limit, skip], |row| id_at(row, 0))?.collect()
}

pub(super) fn customer(connection: &Connection, id: &Id) -> rusqlite::Result<Option<StoredCustomer>> {
    let mut find = connection.prepare_cached("SELECT number FROM customers WHERE key = ?1")?;
    let Some(of) = find.query_row([id.as_str()], |row| row.get(0)).optional()? else { return Ok(None) };
    let ordinal = number(last_change(connection, of)?, 0)?;
    let mut find = connection.prepare_cached("SELECT state FROM customer_snapshots WHERE customer = ?1")?;
    let snapshot = find.query_row([of], |row| row.get(0)).optional()?;
    let mut find = connection.prepare_cached("SELECT change FROM customer_changes WHERE customer = ?1 ORDER BY ordinal")?;
    let changes = find.query_map([of], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(Some(StoredCustomer { ordinal, snapshot, changes }))
}

pub(super) fn customer_conversations(connection: &Connection, id: &Id, limit: usize) -> rusqlite::Result<Vec<Id>> {
    let sql =
        "SELECT c.key FROM conversations c JOIN customers u ON u.number = c.customer WHERE u.key = ?1 ORDER BY c.number DESC LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    connection.prepare_cached(sql)?.query_map(params![id.as_str(), limit], |row| id_at(row, 0))?.collect()
}

pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Counts> {
    let one = |sql: &str| connection.prepare_cached(sql)?.query_row([], |row| number(row.get(0)?, 0));
    let page = one("PRAGMA page_size")?;
    Ok(Counts {
        open: one("SELECT count(*) FROM conversations WHERE closed IS NULL")?,
        conversations: one("SELECT count(*) FROM conversations")?,
        customers: one("SELECT count(*) FROM customers")?,
        file_bytes: one("PRAGMA page_count")? * page,
        free_bytes: one("PRAGMA freelist_count")? * page,
    })
}

/// What is read is what was written, or the store is damaged.
fn unreadable(column: usize, what: Type, error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, what, error.into())
}

pub(super) fn id_at(row: &SqlRow<'_>, column: usize) -> rusqlite::Result<Id> {
    Id::new(row.get::<_, String>(column)?).map_err(|fault| unreadable(column, Type::Text, fault))
}

pub(super) fn time(millis: i64, column: usize) -> rusqlite::Result<Timestamp> {
    Timestamp::try_from(millis).map_err(|fault| unreadable(column, Type::Integer, fault))
}

pub(super) fn number(number: i64, column: usize) -> rusqlite::Result<u64> {
    u64::try_from(number).map_err(|fault| unreadable(column, Type::Integer, fault))
}
