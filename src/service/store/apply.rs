//! What the writer does inside a transaction: checks a write against what is stored, then makes it; deletes what is old; erases a customer.
//!
//! All of a write is checked before any of it is made, so that a refused one leaves nothing behind and spoils nothing of its commit.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params};

use super::error::StoreError;
use super::record::{ConversationWrite, CustomerWrite, Erased, Status, Write};
use super::{handoffs, outbox};
use crate::message::Id;
use crate::time::Timestamp;

/// Activity of a conversation is noted when it is this much later than what is noted, in milliseconds.
pub(super) const ACTIVITY_MS: i64 = 60_000;
/// The same for a customer, whose age counts in days.
const CUSTOMER_ACTIVITY_MS: i64 = 24 * 3_600_000;
/// Rows that one transaction of retention deletes, or those of one conversation where they are more.
const DELETED_ROWS_MAX: i64 = 4_000;
/// Conversations or customers that one transaction of retention deletes.
const DELETED_MAX: i64 = 256;

/// Why a write was not made.
pub(super) enum Stop {
    /// It does not follow what is stored. The others of the commit go on.
    Refused(StoreError),
    /// The store failed, and with it the commit.
    Failed(rusqlite::Error),
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error)
    }
}

fn refused<T>(what: impl Into<String>) -> Result<T, Stop> {
    Err(Stop::Refused(StoreError::conflict(what)))
}

/// Conversations that the writer remembers; beyond, it forgets all and reads them again.
const KNOWN_MAX: usize = 65_536;

/// What the writer knows of conversations without reading: two queries less for each row. Only the writer changes them, so that it knows them rightly, until a
/// commit fails or rows are deleted: then it forgets.
#[derive(Default)]
pub(super) struct Known(HashMap<Id, Conversation>);

impl Known {
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    fn learn(&mut self, id: &Id, conversation: Conversation) {
        if self.0.len() >= KNOWN_MAX {
            self.forget();
        }
        self.0.insert(id.clone(), conversation);
    }
}

/// A conversation as the writer finds it.
#[derive(Clone, Copy, Default)]
struct Conversation {
    /// `None` before its first row.
    number: Option<i64>,
    active: i64,
    inputs: i64,
    messages: i64,
}

/// A customer as the writer finds it.
#[derive(Clone, Copy, Default)]
struct Customer {
    number: Option<i64>,
    active: i64,
}

/// Checks a write and makes it.
pub(super) fn write(transaction: &Transaction<'_>, known: &mut Known, write: &Write) -> Result<(), Stop> {
    let conversation = match &write.conversation {
        Some(part) => Some((part, check_conversation(transaction, known, part)?)),
        None => None,
    };
    let customer = match &write.customer {
        Some(part) => Some((part, check_customer(transaction, part)?)),
        None => None,
    };
    // The last part that may be refused, and then it makes nothing.
    if let Some(part) = &write.outbox {
        outbox::write(transaction, part)?;
    }
    if let Some(place) = write.acknowledged {
        handoffs::acknowledge(transaction, place)?;
    }
    if let Some(agent) = &write.agent {
        handoffs::write_agent(transaction, agent)?;
    }
    if let Some((part, found)) = customer {
        write_customer(transaction, part, found)?;
    }
    if let Some((part, found)) = conversation {
        let written = write_conversation(transaction, part, found)?;
        known.learn(&part.id, written);
    }
    Ok(())
}

fn check_conversation(connection: &Connection, known: &Known, part: &ConversationWrite) -> Result<Conversation, Stop> {
    if let Some(conversation) = known.0.get(&part.id) {
        return check_message(part, *conversation);
    }
    let found = find_conversation(connection, &part.id)?;
    let Some((mut conversation, erased)) = found else {
        return match &part.row {
            Some(row) if row.ordinal == 1 => check_message(part, Conversation::default()),
            Some(row) => refused(format!("ordinal: found {}, expected 1", row.ordinal)),
            None => refused("there is no such conversation"),
        };
    };
    if erased {
        return refused("the conversation was erased");
    }
    (conversation.inputs, conversation.messages) = last_of(connection, conversation.number)?;
    check_message(part, conversation)
}

fn check_message(part: &ConversationWrite, conversation: Conversation) -> Result<Conversation, Stop> {
    let Some(row) = &part.row else { return Ok(conversation) };
    if i64::try_from(row.ordinal) != Ok(conversation.inputs + 1) {
        return refused(format!("ordinal: found {}, expected {}", row.ordinal, conversation.inputs + 1));
    }
    match &row.message {
        Some(message) if i64::from(message.sequence) != conversation.messages + 1 => {
            refused(format!("sequence: found {}, expected {}", message.sequence, conversation.messages + 1))
        }
        Some(_) | None => Ok(conversation),
    }
}

fn find_conversation(connection: &Connection, id: &Id) -> rusqlite::Result<Option<(Conversation, bool)>> {
    let mut find = connection.prepare_cached("SELECT number, active, erased FROM conversations WHERE key = ?1")?;
    let read = |row: &SqlRow<'_>| Ok((Conversation { number: row.get(0)?, active: row.get(1)?, ..Conversation::default() }, row.get(2)?));
    find.query_row([id.as_str()], read).optional()
}

/// Ordinal and sequence of a conversation's last row.
fn last_of(connection: &Connection, number: Option<i64>) -> rusqlite::Result<(i64, i64)> {
    let mut last =
        connection.prepare_cached("SELECT ordinal, sequence FROM journal WHERE conversation = ?1 ORDER BY ordinal DESC LIMIT 1")?;
    Ok(last.query_row([number], |row| Ok((row.get(0)?, row.get(1)?))).optional()?.unwrap_or_default())
}

fn check_customer(connection: &Connection, part: &CustomerWrite) -> Result<Customer, Stop> {
    let found = find_customer(connection, &part.id)?.unwrap_or_default();
    let last = match found.number {
        Some(number) => last_change(connection, number)?,
        None => 0,
    };
    if i64::try_from(part.ordinal) != Ok(last + 1) {
        return refused(format!("ordinal of the customer: found {}, expected {}", part.ordinal, last + 1));
    }
    Ok(found)
}

fn find_customer(connection: &Connection, id: &Id) -> rusqlite::Result<Option<Customer>> {
    let mut find = connection.prepare_cached("SELECT number, active FROM customers WHERE key = ?1")?;
    find.query_row([id.as_str()], |row| Ok(Customer { number: row.get(0)?, active: row.get(1)? })).optional()
}

/// Ordinal of a customer's last change; 0 before the first.
pub(super) fn last_change(connection: &Connection, number: i64) -> rusqlite::Result<i64> {
    let mut last = connection.prepare_cached(
        "SELECT max(coalesce((SELECT max(ordinal) FROM customer_changes WHERE customer = ?1), 0),
                    coalesce((SELECT ordinal FROM customer_snapshots WHERE customer = ?1), 0))",
    )?;
    last.query_row([number], |row| row.get(0))
}

fn write_conversation(connection: &Connection, part: &ConversationWrite, mut found: Conversation) -> Result<Conversation, Stop> {
    let number = match (found.number, &part.row) {
        (Some(number), _) => number,
        (None, Some(row)) => {
            found.active = row.at.millis();
            let mut insert = connection.prepare_cached("INSERT INTO conversations (key, active) VALUES (?1, ?2)")?;
            insert.insert(params![part.id.as_str(), found.active])?
        }
        (None, None) => return refused("there is no such conversation"),
    };
    if let Some(row) = &part.row {
        found.inputs += 1;
        found.messages += i64::from(row.message.is_some());
        let mut insert = connection.prepare_cached(
            "INSERT INTO journal (conversation, ordinal, sequence, at, receipt, message, text_digest, answer, input, text)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)",
        )?;
        insert.execute(params![
            number,
            found.inputs,
            found.messages,
            row.at.millis(),
            row.receipt,
            row.message.as_ref().map(|message| message.id.as_str()),
            row.message.as_ref().map(|message| message.text_digest),
            row.answer,
            row.input,
            row.text,
        ])?;
        outbox::insert(connection, number, found.inputs, row.at, &part.letters)?;
        if row.activity && row.at.millis() >= found.active.saturating_add(ACTIVITY_MS) {
            let mut note = connection.prepare_cached("UPDATE conversations SET active = ?2 WHERE number = ?1")?;
            note.execute(params![number, row.at.millis()])?;
            found.active = row.at.millis();
        }
    }
    if let Some(state) = &part.snapshot {
        let mut replace =
            connection.prepare_cached("INSERT OR REPLACE INTO snapshots (conversation, ordinal, state) VALUES (?1, ?2, ?3)")?;
        replace.execute(params![number, found.inputs, state])?;
    }
    let at = part.row.as_ref().map(|row| row.at).unwrap_or_default();
    let handoff =
        handoffs::Part { effects: &part.effects, timer: part.timer, handoff: part.handoff.as_ref(), claim: part.claim.as_deref() };
    handoffs::write(connection, number, at, &handoff)?;
    write_meta(connection, part, number)?;
    Ok(Conversation { number: Some(number), ..found })
}

fn write_meta(connection: &Connection, part: &ConversationWrite, number: i64) -> Result<(), Stop> {
    if let Some(id) = &part.customer {
        let customer = match find_customer(connection, id)?.and_then(|found| found.number) {
            Some(customer) => customer,
            None => insert_customer(connection, id, part.row.as_ref().map(|row| row.at).unwrap_or_default())?,
        };
        // The index is touched only where something changes.
        let mut set = connection.prepare_cached("UPDATE conversations SET customer = ?2 WHERE number = ?1 AND customer IS NOT ?2")?;
        set.execute([number, customer])?;
    }
    match &part.status {
        Some(Status::Closed { at, outcome }) => {
            let mut set = connection.prepare_cached("UPDATE conversations SET closed = ?2, outcome = ?3 WHERE number = ?1")?;
            set.execute(params![number, at.millis(), outcome])?;
        }
        Some(Status::Open) => {
            let mut set = connection.prepare_cached("UPDATE conversations SET closed = NULL, outcome = NULL WHERE number = ?1")?;
            set.execute([number])?;
        }
        None => {}
    }
    if let Some(satisfaction) = part.satisfaction {
        let mut set = connection.prepare_cached("UPDATE conversations SET satisfaction = ?2 WHERE number = ?1")?;
        set.execute(params![number, satisfaction])?;
    }
    Ok(())
}

fn insert_customer(connection: &Connection, id: &Id, at: Timestamp) -> rusqlite::Result<i64> {
    let mut insert = connection.prepare_cached("INSERT INTO customers (key, active) VALUES (?1, ?2)")?;
    insert.insert(params![id.as_str(), at.millis()])
}

fn write_customer(connection: &Connection, part: &CustomerWrite, found: Customer) -> rusqlite::Result<()> {
    let number = match found.number {
        Some(number) => number,
        None => insert_customer(connection, &part.id, part.at)?,
    };
    if found.number.is_some() && part.at.millis() >= found.active.saturating_add(CUSTOMER_ACTIVITY_MS) {
        let mut note = connection.prepare_cached("UPDATE customers SET active = ?2 WHERE number = ?1")?;
        note.execute(params![number, part.at.millis()])?;
    }
    // It was compared with what is stored, which is an i64.
    let ordinal = i64::try_from(part.ordinal).unwrap_or(i64::MAX);
    let Some(state) = &part.snapshot else {
        let mut insert = connection.prepare_cached("INSERT INTO customer_changes (customer, ordinal, change) VALUES (?1, ?2, ?3)")?;
        insert.execute(params![number, ordinal, part.change])?;
        return Ok(());
    };
    connection.prepare_cached("DELETE FROM customer_changes WHERE customer = ?1")?.execute([number])?;
    let mut replace =
        connection.prepare_cached("INSERT OR REPLACE INTO customer_snapshots (customer, ordinal, state) VALUES (?1, ?2, ?3)")?;
    replace.execute(params![number, ordinal, state])?;
    Ok(())
}

/// Deletes conversations that were closed before a time, the oldest first, up to a bound; gives how many.
pub(super) fn delete_closed(transaction: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<u64> {
    let mut old = transaction.prepare_cached(
        "SELECT number FROM conversations WHERE closed < ?1
         UNION ALL SELECT number FROM conversations WHERE closed IS NULL AND erased = 1 AND active < ?1 LIMIT ?2",
    )?;
    let numbers: Vec<i64> = old.query_map([before.millis(), DELETED_MAX], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let (mut rows, mut deleted) = (0, 0);
    for number in numbers {
        rows += last_of(transaction, Some(number))?.0;
        if deleted > 0 && rows > DELETED_ROWS_MAX {
            break;
        }
        for delete in [
            "DELETE FROM journal WHERE conversation = ?1",
            "DELETE FROM snapshots WHERE conversation = ?1",
            "DELETE FROM outbox WHERE conversation = ?1",
            "DELETE FROM tickets WHERE conversation = ?1",
            "DELETE FROM timers WHERE conversation = ?1",
            "DELETE FROM handoffs WHERE conversation = ?1",
            "DELETE FROM feed WHERE conversation = ?1",
            "DELETE FROM claims WHERE conversation = ?1",
            "DELETE FROM conversations WHERE number = ?1",
        ] {
            transaction.prepare_cached(delete)?.execute([number])?;
        }
        deleted += 1;
    }
    Ok(deleted)
}

/// Deletes what is known of customers who did nothing since a time and have no conversation, up to a bound; gives how many.
pub(super) fn delete_customers(transaction: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<u64> {
    let mut old = transaction.prepare_cached(
        "SELECT number FROM customers WHERE active < ?1 AND NOT EXISTS (SELECT 1 FROM conversations WHERE customer = customers.number)
         ORDER BY active LIMIT ?2",
    )?;
    // What is noted may be earlier than what was.
    let before = before.millis().saturating_sub(CUSTOMER_ACTIVITY_MS);
    let numbers: Vec<i64> = old.query_map([before, DELETED_MAX], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for number in &numbers {
        delete_customer(transaction, *number)?;
    }
    Ok(numbers.len() as u64)
}

fn delete_customer(connection: &Connection, number: i64) -> rusqlite::Result<()> {
    for delete in [
        "DELETE FROM customer_changes WHERE customer = ?1",
        "DELETE FROM customer_snapshots WHERE customer = ?1",
        "DELETE FROM customers WHERE number = ?1",
    ] {
        connection.prepare_cached(delete)?.execute([number])?;
    }
    Ok(())
}

/// Takes all content of some customers away and keeps bare rows: ordinals, times and digests of receipts. What is left in the files is for [`is_scrub_due`].
pub(super) fn erase(transaction: &Transaction<'_>, customers: &[Id]) -> rusqlite::Result<Erased> {
    let mut erased = Erased::default();
    for id in customers {
        let Some(number) = find_customer(transaction, id)?.and_then(|found| found.number) else { continue };
        let theirs = "SELECT number FROM conversations WHERE customer = ?1";
        let bare = format!(
            "UPDATE journal SET message = NULL, text_digest = NULL, answer = x'', input = x'', text = NULL WHERE conversation IN ({theirs})"
        );
        erased.rows += transaction.prepare_cached(&bare)?.execute([number])? as u64;
        for table in ["snapshots", "outbox", "tickets", "timers", "handoffs", "feed", "claims"] {
            transaction.prepare_cached(&format!("DELETE FROM {table} WHERE conversation IN ({theirs})"))?.execute([number])?;
        }
        let mut set = transaction.prepare_cached("UPDATE conversations SET erased = 1, customer = NULL WHERE customer = ?1")?;
        erased.conversations += set.execute([number])? as u64;
        delete_customer(transaction, number)?;
        erased.customers += 1;
    }
    if erased.customers > 0 {
        transaction.execute("INSERT INTO scrub (since) VALUES (0)", [])?;
    }
    Ok(erased)
}

/// Whether erased bytes may still be in a file.
pub(super) fn is_scrub_due(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM scrub)", [], |row| row.get(0))
}

/// No erased byte is in a file any more.
pub(super) fn scrubbed(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute("DELETE FROM scrub", []).map(|_| ())
}
