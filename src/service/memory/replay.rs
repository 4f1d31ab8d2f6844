//! Stored conversations decided again, each input by the policy that decided then.

use std::ops::ControlFlow;

use super::edition::{Edition, Editions};
use super::record::{StoredInput, encode, text_digest};
use super::talk::decoded;
use super::{MemoryError, not_found};
use crate::handoff::conversation::Conversation;
use crate::handoff::decision::Action;
use crate::handoff::input::Body;
use crate::handoff::receipt::Digest;
use crate::handoff::step::{Step, step};
use crate::message::Id;
use crate::service::store::{Store, StoredRow};

/// Rows that are read at a time.
const BATCH: usize = 256;

/// Why a decision was made.
#[derive(Clone, Debug)]
pub struct Explained {
    /// The receipt in words.
    pub words: String,
    /// The receipt as JSON.
    pub json: String,
    /// Its digest, which is that of the row.
    pub receipt: Digest,
    /// Of the policy.
    pub policy: Digest,
    /// The input's place, from 1.
    pub input: u64,
    /// The last message at that input.
    pub sequence: u32,
}

/// What became of a conversation that was decided again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replayed {
    /// Every input led to what it led to then.
    Same {
        /// How many.
        inputs: u64,
    },
    /// Its customer was erased: there are digests, but no inputs.
    Erased,
    /// An input led to something else.
    Differs(Broken),
}

/// An input that does not lead to what it led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its place, from 1.
    pub input: u64,
    /// What is wrong.
    pub what: String,
}

/// Decides a conversation again; `each` sees every input.
pub(super) fn decide_again(
    store: &Store,
    editions: &Editions,
    id: &Id,
    mut each: impl FnMut(&StoredRow, &Edition, StoredInput, Step) -> ControlFlow<()>,
) -> Result<u64, MemoryError> {
    let mut conversation = Conversation::new(id.clone());
    loop {
        let rows = store.rows(id, conversation.inputs, BATCH)?;
        if rows.is_empty() {
            return Ok(conversation.inputs);
        }
        for row in rows {
            let broken = |what: &str| MemoryError::Broken(format!("input {}: {what}", row.ordinal));
            let (stored, answer) = decoded(&row)?;
            // A number can be written in more bytes than it needs: only the form that this program writes is the one that was kept.
            if encode(&stored) != row.input {
                return Err(broken("it is not as it was written"));
            }
            if let (Body::Message(said), Some(message), Some(text)) = (&stored.input.body, &row.message, &row.text)
                && text_digest(id, &message.id, said.speaker, text) != message.text_digest
            {
                return Err(broken("the text is not the one that was said"));
            }
            let edition = editions.get(&answer.policy)?;
            let done = step(&edition.policy, conversation, &stored.input);
            if done.conversation.chain.bytes() != &row.receipt {
                return Err(broken("the decision is not the one that was made"));
            }
            if done.decision != answer.decision {
                return Err(broken("the answer is not the one that the decision gives"));
            }
            conversation = done.conversation.clone();
            if each(&row, &edition, stored, done).is_break() {
                return Ok(conversation.inputs);
            }
        }
    }
}

/// Decides a stored conversation again and compares.
pub fn replay(store: &Store, editions: &Editions, id: &Id) -> Result<Replayed, MemoryError> {
    let stored = store.conversation(id)?.ok_or_else(not_found)?;
    if stored.erased {
        return Ok(Replayed::Erased);
    }
    let mut last = 0;
    let all = decide_again(store, editions, id, |row, _, _, _| {
        last = row.ordinal;
        ControlFlow::Continue(())
    });
    match all {
        Ok(inputs) if inputs == stored.inputs => Ok(Replayed::Same { inputs }),
        Ok(inputs) => {
            Ok(Replayed::Differs(Broken { input: inputs + 1, what: format!("found {inputs} inputs, expected {}", stored.inputs) }))
        }
        Err(MemoryError::Broken(what)) => Ok(Replayed::Differs(Broken { input: last + 1, what })),
        Err(error) => Err(error),
    }
}

/// The receipt at a message, or at the last input at which something was decided, or at the last one.
pub(super) fn explain(store: &Store, editions: &Editions, id: &Id, sequence: u32) -> Result<Explained, MemoryError> {
    let stored = store.conversation(id)?.ok_or_else(not_found)?;
    if stored.erased {
        return Err(super::erased());
    }
    if sequence > stored.messages {
        let what = format!("found {sequence}, the last message is {}", stored.messages);
        return Err(MemoryError::NotFound(crate::service::status::BadField::new("sequence", what)));
    }
    let mut found: Option<(u64, Digest, Step)> = None;
    decide_again(store, editions, id, |row, edition, _, done| {
        let message = row.message.as_ref().map(|message| message.sequence);
        let decided = done.decision.action != Action::None;
        let earlier_decided = found.as_ref().is_some_and(|(_, _, step)| step.decision.action != Action::None);
        let wanted = if sequence > 0 { message == Some(sequence) } else { decided || !earlier_decided };
        if wanted {
            found = Some((row.ordinal, edition.policy.digest, done));
        }
        if wanted && sequence > 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })?;
    let (input, policy, done) = found.ok_or_else(not_found)?;
    let edition = editions.get(&policy)?;
    Ok(Explained {
        words: done.receipt.in_words(&edition.policy),
        json: done.receipt.to_json(&edition.policy).to_string(),
        receipt: done.receipt.digest(),
        policy,
        input,
        sequence: done.receipt.message,
    })
}
