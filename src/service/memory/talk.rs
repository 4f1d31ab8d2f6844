//! A conversation as it stands in its place: the state that decides, and what else must be known to take the next message.

use std::collections::HashSet;

use super::edition::Editions;
use super::handoffs::{Claim, claim_of};
use super::record::{Answer, Key, Requests, StoredInput, Unreadable, decode, decode_snapshot};
use super::{Answered, Memory, MemoryError, ToldMessage};
use crate::handoff::conversation::Conversation;
use crate::handoff::input::Body;
use crate::handoff::receipt::Digest;
use crate::handoff::step::step;
use crate::message::{Id, Speaker};
use crate::service::store::{Resumed, Status, Store, StoredRow};

/// Rows that are looked through for the bot's last turn.
const LOOK_BACK: u64 = 64;

pub(super) struct Talk {
    pub(super) conversation: Conversation,
    pub(super) customer: Option<Id>,
    pub(super) status: Status,
    /// Whether its customer was erased.
    pub(super) erased: bool,
    /// Whether the store knows it.
    pub(super) exists: bool,
    /// Ids of its messages.
    pub(super) ids: HashSet<Key>,
    pub(super) requests: Requests,
    /// What the bot said last, where texts are kept or it was said since the start.
    pub(super) bot_text: Option<String>,
    /// Who may say the next reply, where somebody claimed it.
    pub(super) claim: Option<Claim>,
}

impl Talk {
    fn new(id: Id) -> Self {
        Self {
            conversation: Conversation::new(id),
            customer: None,
            status: Status::Open,
            erased: false,
            exists: false,
            ids: HashSet::new(),
            requests: Requests::default(),
            bot_text: None,
            claim: None,
        }
    }
}

impl Memory {
    /// The conversation of a place, from the store where it is not there.
    pub(super) async fn talk<'a>(&self, place: &'a mut Option<Talk>, id: &Id) -> Result<&'a mut Talk, MemoryError> {
        if place.is_none() {
            let id = id.clone();
            *place = Some(self.reading(move |store, editions| load(store, editions, id)).await?);
        }
        place.as_mut().ok_or(MemoryError::Internal("a place is empty"))
    }
}

/// What an input was, and which policy decided on it.
pub(super) fn decoded(row: &StoredRow) -> Result<(StoredInput, Answer), MemoryError> {
    let broken = |what: &str| MemoryError::Broken(format!("input {}: {what}", row.ordinal));
    let input = decode(&row.input).map_err(|_| broken("it is not as it was written"))?;
    let answer = decode(&row.answer).map_err(|_| broken("its answer is not as it was written"))?;
    Ok((input, answer))
}

/// The answer of a row.
pub(super) fn answered(editions: &Editions, row: &StoredRow) -> Result<(Body, Answered), MemoryError> {
    let (stored, answer) = decoded(row)?;
    let unscored = match &stored.input.body {
        Body::Message(observation) => observation.signals.as_ref().err().copied(),
        Body::Event { .. } | Body::Facts(_) | Body::Timer | Body::Returned | Body::Handoff(_) => None,
    };
    let edition = editions.get(&answer.policy)?;
    Ok((stored.input.body, Answered { edition, answer, receipt: Digest::from_bytes(row.receipt), unscored }))
}

/// A message's row, told.
pub(super) fn told(editions: &Editions, row: StoredRow) -> Result<ToldMessage, MemoryError> {
    let (body, answered) = answered(editions, &row)?;
    let Body::Message(observation) = body else {
        return Err(MemoryError::Broken(format!("input {}: it is no message", row.ordinal)));
    };
    Ok(ToldMessage { row, speaker: observation.speaker, answered })
}

pub(super) fn load(store: &Store, editions: &Editions, id: Id) -> Result<Talk, MemoryError> {
    let mut talk = Talk::new(id);
    let id = talk.conversation.id.clone();
    // One reading, so that state and ids are of one moment.
    let Some(Resumed { conversation: stored, snapshot, rows, messages, claim }) = store.resume(&id)? else { return Ok(talk) };
    talk.claim = claim_of(claim.as_deref());
    (talk.customer, talk.status, talk.erased, talk.exists) = (stored.customer, stored.status, stored.erased, true);
    if talk.erased {
        return Ok(talk);
    }
    let snapshot = match snapshot.map(|(ordinal, state)| (ordinal, decode_snapshot(&state))) {
        None => None,
        Some((ordinal, Ok(snapshot))) if snapshot.conversation.inputs == ordinal => Some(snapshot),
        // A state of another program: the rows have it all.
        Some((_, Err(Unreadable::Format))) => None,
        Some((ordinal, Ok(_) | Err(Unreadable::Changed))) => {
            return Err(MemoryError::Broken(format!("the state after input {ordinal} is not as it was written")));
        }
    };
    let first = rows.first().map_or(stored.inputs + 1, |row| row.ordinal);
    let rows = match snapshot {
        Some(snapshot) => {
            (talk.conversation, talk.requests) = (snapshot.conversation, snapshot.requests);
            rows
        }
        None if first == 1 => rows,
        None => store.rows(&id, 0, usize::MAX)?,
    };
    let mut bot = None;
    for row in rows {
        let (stored, answer) = decoded(&row)?;
        let edition = editions.get(&answer.policy)?;
        let done = step(&edition.policy, talk.conversation, &stored.input);
        talk.conversation = done.conversation;
        if talk.conversation.chain.bytes() != &row.receipt {
            return Err(MemoryError::Broken(format!("input {}: it does not lead to the decision that was made", row.ordinal)));
        }
        if let Some(request) = stored.request {
            talk.requests.take(request, row.ordinal);
        }
        if is_bot(&stored) {
            bot = row.text;
        }
    }
    talk.bot_text = match bot {
        None if talk.conversation.bot_turns > 0 => last_bot_text(store, &talk.conversation)?,
        found => found,
    };
    talk.ids = messages.iter().map(Key::of).collect();
    Ok(talk)
}

fn is_bot(stored: &StoredInput) -> bool {
    matches!(&stored.input.body, Body::Message(observation) if observation.speaker == Speaker::Bot)
}

fn last_bot_text(store: &Store, conversation: &Conversation) -> Result<Option<String>, MemoryError> {
    let after = conversation.inputs.saturating_sub(LOOK_BACK);
    let rows = store.rows(&conversation.id, after, usize::try_from(LOOK_BACK).unwrap_or(usize::MAX))?;
    let bot = rows.into_iter().rev().find(|row| decode(&row.input).is_ok_and(|stored| is_bot(&stored)));
    Ok(bot.and_then(|row| row.text))
}
