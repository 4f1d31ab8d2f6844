//! What handoffs need beside the rows of their conversations: when a timer is due, how each handoff stands, what the backend must still do, which reply is
//! claimed, and the agents.
//!
//! All of it but the agents is written with the row that it follows from, or not at all. What the backend must do keeps its place in one order over all
//! conversations; an acknowledgement takes it away.

use rusqlite::{Connection, OptionalExtension, params};

use super::apply::Stop;
use super::error::StoreError;
use super::reader::{id_at, number, time};
use crate::message::Id;
use crate::time::Timestamp;

/// Something that the backend must do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEffect {
    /// Whether a customer waits for it.
    pub urgent: bool,
    /// What.
    pub content: Vec<u8>,
}

/// How a handoff of a conversation stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HandoffWrite {
    /// Which of the conversation's handoffs, from 0.
    pub nth: u32,
    /// Its state, as one of the caller's words.
    pub state: String,
    /// Its queue, by id.
    pub queue: String,
    /// All of it.
    pub record: Vec<u8>,
}

/// An agent, or what changed of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentWrite {
    /// By which the caller knows them.
    pub id: Id,
    /// All that is known.
    pub state: Vec<u8>,
}

/// Something that the backend must still do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEffect {
    /// Its place in the order of all, from 1.
    pub place: u64,
    /// The conversation that it is about.
    pub conversation: Id,
    /// When it was decided.
    pub born: Timestamp,
    /// Whether a customer waits for it.
    pub urgent: bool,
    /// What.
    pub content: Vec<u8>,
}

/// A handoff as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredHandoff {
    /// Its place in the order in which they were decided.
    pub place: u64,
    /// The conversation that it is about.
    pub conversation: Id,
    /// All of it.
    pub record: Vec<u8>,
}

/// Which handoffs are told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HandoffFilter {
    /// Those after this place.
    pub after: u64,
    /// Those of this queue.
    pub queue: Option<String>,
    /// Those in one of these states; all where it is empty.
    pub states: Vec<String>,
    /// At most so many.
    pub limit: usize,
}

/// What a conversation's write changes here.
pub(super) struct Part<'a> {
    pub(super) effects: &'a [NewEffect],
    pub(super) timer: Option<Option<Timestamp>>,
    pub(super) handoff: Option<&'a HandoffWrite>,
    pub(super) claim: Option<&'a [u8]>,
}

/// Writes what a conversation's write brings.
pub(super) fn write(connection: &Connection, conversation: i64, at: Timestamp, part: &Part<'_>) -> rusqlite::Result<()> {
    for effect in part.effects {
        let mut insert = connection.prepare_cached("INSERT INTO feed (conversation, born, urgent, content) VALUES (?1, ?2, ?3, ?4)")?;
        insert.execute(params![conversation, at.millis(), effect.urgent, effect.content])?;
    }
    match part.timer {
        None => {}
        Some(None) => drop(connection.prepare_cached("DELETE FROM timers WHERE conversation = ?1")?.execute([conversation])?),
        Some(Some(due)) => {
            let mut set = connection.prepare_cached("INSERT OR REPLACE INTO timers (conversation, due) VALUES (?1, ?2)")?;
            set.execute([conversation, due.millis()])?;
        }
    }
    if let Some(handoff) = part.handoff {
        let mut set = connection.prepare_cached(
            "INSERT INTO handoffs (conversation, nth, state, queue, record) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (conversation, nth) DO UPDATE SET state = ?3, queue = ?4, record = ?5",
        )?;
        set.execute(params![conversation, handoff.nth, handoff.state, handoff.queue, handoff.record])?;
    }
    if let Some(claim) = part.claim {
        let mut set = connection.prepare_cached("INSERT OR REPLACE INTO claims (conversation, claim) VALUES (?1, ?2)")?;
        set.execute(params![conversation, claim])?;
    }
    Ok(())
}

/// Takes an agent, or what changed of one.
pub(super) fn write_agent(connection: &Connection, agent: &AgentWrite) -> rusqlite::Result<()> {
    let mut set = connection.prepare_cached("INSERT OR REPLACE INTO agents (key, state) VALUES (?1, ?2)")?;
    set.execute(params![agent.id.as_str(), agent.state]).map(|_| ())
}

/// The backend did it. What was acknowledged before is acknowledged; what was never there is refused.
pub(super) fn acknowledge(connection: &Connection, place: u64) -> Result<(), Stop> {
    let place = i64::try_from(place).unwrap_or(i64::MAX);
    if connection.prepare_cached("DELETE FROM feed WHERE place = ?1")?.execute([place])? > 0 {
        return Ok(());
    }
    let last = connection.prepare_cached("SELECT seq FROM sqlite_sequence WHERE name = 'feed'")?.query_row([], |row| row.get(0));
    let last: i64 = last.optional()?.unwrap_or(0);
    if (1..=last).contains(&place) {
        Ok(())
    } else {
        Err(Stop::Refused(StoreError::conflict(format!("found {place}, the last place is {last}"))))
    }
}

/// What the backend must still do after a place, in order, at most so many.
pub(super) fn effects(connection: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<StoredEffect>> {
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut find = connection.prepare_cached(
        "SELECT f.place, c.key, f.born, f.urgent, f.content FROM feed f JOIN conversations c ON c.number = f.conversation
         WHERE f.place > ?1 ORDER BY f.place LIMIT ?2",
    )?;
    let read = |row: &rusqlite::Row<'_>| {
        Ok(StoredEffect {
            place: number(row.get(0)?, 0)?,
            conversation: id_at(row, 1)?,
            born: time(row.get(2)?, 2)?,
            urgent: row.get(3)?,
            content: row.get(4)?,
        })
    };
    find.query_map([after, limit], read)?.collect()
}

/// Conversations with a timer, and when it is due, after a conversation's number; with the number.
pub(super) fn timers(connection: &Connection, after: u64, limit: usize) -> rusqlite::Result<Vec<(u64, Id, Timestamp)>> {
    let (after, limit) = (i64::try_from(after).unwrap_or(i64::MAX), i64::try_from(limit).unwrap_or(i64::MAX));
    let mut find = connection.prepare_cached(
        "SELECT t.conversation, c.key, t.due FROM timers t JOIN conversations c ON c.number = t.conversation
         WHERE t.conversation > ?1 ORDER BY t.conversation LIMIT ?2",
    )?;
    find.query_map([after, limit], |row| Ok((number(row.get(0)?, 0)?, id_at(row, 1)?, time(row.get(2)?, 2)?)))?.collect()
}

/// All agents, by id.
pub(super) fn agents(connection: &Connection) -> rusqlite::Result<Vec<AgentWrite>> {
    let mut find = connection.prepare_cached("SELECT key, state FROM agents ORDER BY key")?;
    find.query_map([], |row| Ok(AgentWrite { id: id_at(row, 0)?, state: row.get(1)? }))?.collect()
}

/// The claim of a conversation, if there is one.
pub(super) fn claim(connection: &Connection, conversation: i64) -> rusqlite::Result<Option<Vec<u8>>> {
    connection.prepare_cached("SELECT claim FROM claims WHERE conversation = ?1")?.query_row([conversation], |row| row.get(0)).optional()
}

/// All of the handoffs that were decided last, the latest first; at most so many.
pub(super) fn latest(connection: &Connection, limit: usize) -> rusqlite::Result<Vec<Vec<u8>>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut find = connection.prepare_cached("SELECT record FROM handoffs ORDER BY number DESC LIMIT ?1")?;
    find.query_map([limit], |row| row.get(0))?.collect()
}

/// Handoffs in the order in which they were decided.
pub(super) fn handoffs(connection: &Connection, filter: &HandoffFilter) -> rusqlite::Result<Vec<StoredHandoff>> {
    let after = i64::try_from(filter.after).unwrap_or(i64::MAX);
    let limit = i64::try_from(filter.limit).unwrap_or(i64::MAX);
    // The words are the caller's own; they are passed as one list, between bars that no word holds.
    let states = if filter.states.is_empty() { None } else { Some(format!("|{}|", filter.states.join("|"))) };
    let mut find = connection.prepare_cached(
        "SELECT h.number, c.key, h.record FROM handoffs h JOIN conversations c ON c.number = h.conversation
         WHERE h.number > ?1 AND (?2 IS NULL OR h.queue = ?2) AND (?3 IS NULL OR instr(?3, '|' || h.state || '|') > 0) ORDER BY h.number LIMIT ?4",
    )?;
    let read =
        |row: &rusqlite::Row<'_>| Ok(StoredHandoff { place: number(row.get(0)?, 0)?, conversation: id_at(row, 1)?, record: row.get(2)? });
    find.query_map(params![after, filter.queue, states, limit], read)?.collect()
}
