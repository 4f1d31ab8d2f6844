//! The outbox: letters to helpdesks and webhooks, each beside the row that decided it and durable with it, until it is delivered.
//!
//! A letter is small until it is first sent; then what is sent is kept with it, so that every repeat has the same bytes. Which destinations there are, what the
//! bytes mean and when to try again is the caller's: see [`delivery`](crate::service::delivery).
//!
//! | state | what it is |
//! |---|---|
//! | pending | to be sent, not before its time |
//! | delivered | a mark without content, for a while |
//! | dead | given up, with the reason; kept for a while, so that it can be sent again |
//! | unaddressed | dead since no ticket is known for it; comes back when one is |

use rusqlite::{Connection, OptionalExtension, Row as SqlRow, Transaction, params};

use super::apply::Stop;
use super::error::StoreError;
use super::reader::{id_at, number, time};
use crate::message::Id;
use crate::time::Timestamp;

/// Letters that one transaction of retention deletes.
const DELETED_MAX: i64 = 4_000;
/// Why a letter is dead from its beginning.
const FULL: &str = "the outbox was full when it was decided";

/// A letter that a row brings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewLetter {
    /// By which the destination knows repeats.
    pub key: String,
    /// Where to.
    pub destination: String,
    /// Letters that wait at most; beyond, this one is dead from its beginning.
    pub pending_max: u64,
}

/// What a letter is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LetterState {
    /// To be sent.
    Pending,
    /// It arrived.
    Delivered,
    /// Given up.
    Dead,
    /// Given up since no ticket is known for it.
    Unaddressed,
}

impl LetterState {
    const ALL: [Self; 4] = [Self::Pending, Self::Delivered, Self::Dead, Self::Unaddressed];

    /// The word that stands in results.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Unaddressed => "unaddressed",
        }
    }

    /// As the store writes it.
    fn number(self) -> i64 {
        match self {
            Self::Pending => 0,
            Self::Delivered => 1,
            Self::Dead => 2,
            Self::Unaddressed => 3,
        }
    }
}

/// A letter as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// Its place, from 1; may be another's after it was deleted.
    pub number: u64,
    /// By which the destination knows repeats.
    pub key: String,
    /// The conversation that it is about.
    pub conversation: Id,
    /// The row that decided it.
    pub ordinal: u64,
    /// Where to.
    pub destination: String,
    /// What it is now.
    pub state: LetterState,
    /// When it was decided.
    pub born: Timestamp,
    /// Since when it is tried: when it was decided, or put back.
    pub since: Timestamp,
    /// How often it was tried since then.
    pub attempts: u32,
    /// Not to be tried before.
    pub next_at: Timestamp,
    /// Requests of it that were done.
    pub done: u32,
    /// What went wrong last.
    pub reason: Option<String>,
    /// The ticket of the conversation, where one was linked.
    pub ticket: Option<String>,
    /// What is sent, from the first attempt on; only where it is read to be sent.
    pub content: Option<Vec<u8>>,
}

/// What becomes of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterChange {
    /// What is sent is known from now on, made with this ticket.
    Rendered {
        /// The ticket that was known.
        ticket: Option<String>,
        /// What is sent.
        content: Vec<u8>,
    },
    /// So many requests of it were done.
    Progressed {
        /// How many.
        done: u32,
    },
    /// It arrived.
    Delivered {
        /// When.
        at: Timestamp,
    },
    /// It did not arrive; later again.
    Postponed {
        /// How often it was tried.
        attempts: u32,
        /// When it is tried again.
        next_at: Timestamp,
        /// What went wrong.
        reason: String,
    },
    /// It is given up.
    Died {
        /// How often it was tried.
        attempts: u32,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// It is given up until a ticket is linked.
    Unaddressed {
        /// The ticket that was known.
        ticket: Option<String>,
        /// When.
        at: Timestamp,
        /// Why.
        reason: String,
    },
    /// What it is about is no more.
    Removed,
}

/// A change of the outbox.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OutboxWrite {
    /// Of a letter that is pending; refused as a conflict where it is not, or not the same any more.
    Letter {
        /// Its place.
        number: u64,
        /// Its key.
        key: String,
        /// What becomes of it.
        change: LetterChange,
    },
    /// The ticket of a conversation; brings its unaddressed letters back.
    Link {
        /// Which.
        conversation: Id,
        /// Its ticket.
        ticket: String,
        /// When.
        at: Timestamp,
    },
}

impl OutboxWrite {
    /// Bytes that it brings, near enough for bounds.
    pub(super) fn bytes(&self) -> usize {
        const SMALL: usize = 512;
        match self {
            Self::Letter { change: LetterChange::Rendered { content, .. }, .. } => content.len() + SMALL,
            Self::Letter { .. } | Self::Link { .. } => SMALL,
        }
    }
}

/// Which letters are put back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resend {
    /// Those of these keys, dead or pending.
    Keys(Vec<String>),
    /// All dead ones.
    AllDead,
}

/// What was put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resent {
    /// Letters that are tried again now.
    pub letters: u64,
    /// Keys under which there is no letter that is dead or pending.
    pub unknown: Vec<String>,
}

/// Letters of one destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LetterCounts {
    /// Which.
    pub destination: String,
    /// Letters that wait.
    pub pending: u64,
    /// Letters that were given up.
    pub dead: u64,
}

/// Makes the letters of a row that is being written.
pub(super) fn insert(
    connection: &Connection,
    conversation: i64,
    ordinal: i64,
    at: Timestamp,
    letters: &[NewLetter],
) -> rusqlite::Result<()> {
    for letter in letters {
        let most = i64::try_from(letter.pending_max).unwrap_or(i64::MAX);
        let mut count = connection.prepare_cached("SELECT count(*) FROM (SELECT 1 FROM outbox WHERE state = 0 LIMIT ?1)")?;
        let is_full = count.query_row([most], |row| row.get::<_, i64>(0))? >= most;
        let (state, reason) = if is_full { (LetterState::Dead, Some(FULL)) } else { (LetterState::Pending, None) };
        let mut insert = connection.prepare_cached(
            "INSERT INTO outbox (key, conversation, ordinal, destination, state, born, since, changed, next_at, reason)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?6, ?6, ?7)",
        )?;
        insert.execute(params![letter.key, conversation, ordinal, letter.destination, state.number(), at.millis(), reason])?;
    }
    Ok(())
}

/// Makes a change.
pub(super) fn write(connection: &Connection, write: &OutboxWrite) -> Result<(), Stop> {
    match write {
        OutboxWrite::Letter { number, key, change } => {
            let number = i64::try_from(*number).unwrap_or(i64::MAX);
            if write_letter(connection, number, key, change)? == 0 {
                return Err(Stop::Refused(StoreError::conflict("the letter is not as it was read")));
            }
            Ok(())
        }
        OutboxWrite::Link { conversation, ticket, at } => link(connection, conversation, ticket, *at),
    }
}

fn write_letter(connection: &Connection, number: i64, key: &str, change: &LetterChange) -> rusqlite::Result<usize> {
    let run = |sql: &str, values: &[&dyn rusqlite::ToSql]| connection.prepare_cached(sql)?.execute(values);
    // A ticket that was linked since the letter was read makes it another letter.
    const SAME_TICKET: &str = "(SELECT ticket FROM tickets WHERE conversation = outbox.conversation) IS ?3";
    match change {
        LetterChange::Rendered { ticket, content } => run(
            &format!("UPDATE outbox SET content = ?4 WHERE number = ?1 AND key = ?2 AND state = 0 AND {SAME_TICKET}"),
            params![number, key, ticket, content],
        ),
        LetterChange::Progressed { done } => {
            run("UPDATE outbox SET done = ?3 WHERE number = ?1 AND key = ?2 AND state = 0", params![number, key, done])
        }
        LetterChange::Delivered { at } => run(
            "UPDATE outbox SET state = 1, content = NULL, reason = NULL, changed = ?3 WHERE number = ?1 AND key = ?2 AND state = 0",
            params![number, key, at.millis()],
        ),
        LetterChange::Postponed { attempts, next_at, reason } => run(
            "UPDATE outbox SET attempts = ?3, next_at = ?4, reason = ?5 WHERE number = ?1 AND key = ?2 AND state = 0",
            params![number, key, attempts, next_at.millis(), reason],
        ),
        LetterChange::Died { attempts, at, reason } => run(
            "UPDATE outbox SET state = 2, attempts = ?3, changed = ?4, reason = ?5 WHERE number = ?1 AND key = ?2 AND state = 0",
            params![number, key, attempts, at.millis(), reason],
        ),
        LetterChange::Unaddressed { ticket, at, reason } => run(
            &format!(
                "UPDATE outbox SET state = 3, changed = ?4, reason = ?5 WHERE number = ?1 AND key = ?2 AND state = 0 AND {SAME_TICKET}"
            ),
            params![number, key, ticket, at.millis(), reason],
        ),
        LetterChange::Removed => run("DELETE FROM outbox WHERE number = ?1 AND key = ?2 AND state = 0", params![number, key]),
    }
}

/// What was made for another ticket and did not arrive at all is made anew.
fn link(connection: &Connection, conversation: &Id, ticket: &str, at: Timestamp) -> Result<(), Stop> {
    let mut find = connection.prepare_cached("SELECT number, erased FROM conversations WHERE key = ?1")?;
    let found = find.query_row([conversation.as_str()], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, bool>(1)?))).optional()?;
    let number = match found {
        Some((number, false)) => number,
        Some((_, true)) => return Err(Stop::Refused(StoreError::conflict("the conversation was erased"))),
        None => return Err(Stop::Refused(StoreError::conflict("there is no such conversation"))),
    };
    let mut set = connection.prepare_cached(
        "INSERT INTO tickets (conversation, ticket) VALUES (?1, ?2) ON CONFLICT (conversation) DO UPDATE SET ticket = ?2",
    )?;
    set.execute(params![number, ticket])?;
    let mut back = connection.prepare_cached(
        "UPDATE outbox SET state = 0, attempts = 0, since = ?2, next_at = ?2, reason = NULL, content = iif(done = 0, NULL, content)
         WHERE conversation = ?1 AND state = 3",
    )?;
    back.execute([number, at.millis()])?;
    Ok(())
}

/// Puts letters back.
pub(super) fn resend(transaction: &Transaction<'_>, which: &Resend, at: Timestamp) -> rusqlite::Result<Resent> {
    const BACK: &str = "UPDATE outbox SET state = 0, attempts = 0, since = ?1, next_at = ?1, reason = NULL";
    let mut resent = Resent::default();
    match which {
        Resend::AllDead => {
            resent.letters = transaction.execute(&format!("{BACK} WHERE state >= 2"), [at.millis()])? as u64;
        }
        Resend::Keys(keys) => {
            for key in keys {
                let back = format!("{BACK} WHERE key = ?2 AND state != 1");
                match transaction.prepare_cached(&back)?.execute(params![at.millis(), key])? {
                    0 => resent.unknown.push(key.clone()),
                    some => resent.letters += some as u64,
                }
            }
        }
    }
    Ok(resent)
}

/// Deletes what ended before a time, up to a bound; gives how many.
pub(super) fn delete_ended(transaction: &Transaction<'_>, before: Timestamp) -> rusqlite::Result<u64> {
    let sql = "DELETE FROM outbox WHERE number IN (SELECT number FROM outbox WHERE state != 0 AND changed < ?1 LIMIT ?2)";
    Ok(transaction.prepare_cached(sql)?.execute([before.millis(), DELETED_MAX])? as u64)
}

const LETTER: &str = "
SELECT o.number, o.key, c.key, o.ordinal, o.destination, o.state, o.born, o.since, o.attempts, o.next_at, o.done, o.reason, t.ticket
FROM outbox o JOIN conversations c ON c.number = o.conversation LEFT JOIN tickets t ON t.conversation = o.conversation";

fn letter(row: &SqlRow<'_>, content: Option<Vec<u8>>) -> rusqlite::Result<Letter> {
    let state = usize::try_from(row.get::<_, i64>(5)?).ok().and_then(|state| LetterState::ALL.get(state).copied());
    Ok(Letter {
        number: number(row.get(0)?, 0)?,
        key: row.get(1)?,
        conversation: id_at(row, 2)?,
        ordinal: number(row.get(3)?, 3)?,
        destination: row.get(4)?,
        state: state.ok_or(rusqlite::Error::IntegralValueOutOfRange(5, row.get(5)?))?,
        born: time(row.get(6)?, 6)?,
        since: time(row.get(7)?, 7)?,
        attempts: row.get(8)?,
        next_at: time(row.get(9)?, 9)?,
        done: row.get(10)?,
        reason: row.get(11)?,
        ticket: row.get(12)?,
        content,
    })
}

/// Pending letters of a destination whose time has come, the longest due first, with what is sent; and when the next one's comes.
pub(super) fn due(
    connection: &Connection,
    destination: &str,
    now: Timestamp,
    limit: usize,
) -> rusqlite::Result<(Vec<Letter>, Option<Timestamp>)> {
    let sql = LETTER.replace("t.ticket", "t.ticket, o.content");
    let sql = format!("{sql} WHERE o.state = 0 AND o.destination = ?1 AND o.next_at <= ?2 ORDER BY o.next_at, o.number LIMIT ?3");
    let mut find = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let letters = find.query_map(params![destination, now.millis(), limit], |row| letter(row, row.get(13)?))?;
    let letters = letters.collect::<rusqlite::Result<_>>()?;
    let mut next = connection.prepare_cached("SELECT min(next_at) FROM outbox WHERE state = 0 AND destination = ?1 AND next_at > ?2")?;
    let next: Option<i64> = next.query_row(params![destination, now.millis()], |row| row.get(0))?;
    Ok((letters, next.map(|at| time(at, 0)).transpose()?))
}

/// At most so many letters that are not delivered, in the order in which they were decided, after a place.
pub(super) fn open(connection: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<Letter>> {
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let sql = format!("{LETTER} WHERE o.state != 1 AND o.number > ?1 ORDER BY o.number LIMIT ?2");
    connection.prepare_cached(&sql)?.query_map([after, limit], |row| letter(row, None))?.collect()
}

/// How many letters wait and were given up, by destination.
pub(super) fn counts(connection: &Connection) -> rusqlite::Result<Vec<LetterCounts>> {
    let sql = "
        SELECT destination, sum(pending), sum(dead) FROM (
            SELECT destination, count(*) AS pending, 0 AS dead FROM outbox WHERE state = 0 GROUP BY destination
            UNION ALL SELECT destination, 0, count(*) FROM outbox WHERE state >= 2 GROUP BY destination
        ) GROUP BY destination ORDER BY destination";
    let read =
        |row: &SqlRow<'_>| Ok(LetterCounts { destination: row.get(0)?, pending: number(row.get(1)?, 1)?, dead: number(row.get(2)?, 2)? });
    connection.prepare_cached(sql)?.query_map([], read)?.collect()
}
