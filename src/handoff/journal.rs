//! The rows of a conversation, each with the digest of its receipt: what must be kept to decide everything again.
//!
//! A message is taken once. The same message again gives the same row; one that leaves a gap is refused and nothing of it is kept.

use std::collections::HashSet;
use std::fmt;

use super::conversation::Conversation;
use super::input::{Body, Input};
use super::policy::Policy;
use super::receipt::{Digest, Receipt};
use super::step::{Step, step};
use crate::message::Id;

/// One accepted input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The input in the format of journals.
    pub input: Vec<u8>,
    /// Digest of the receipt that it led to.
    pub receipt: Digest,
}

/// A conversation with all its rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Journal {
    /// The conversation after the last row.
    pub conversation: Conversation,
    /// The rows.
    pub rows: Vec<Row>,
    /// For each message, its id and its row.
    messages: Vec<(Id, usize)>,
    ids: HashSet<Id>,
}

/// What became of an input.
#[derive(Debug)]
pub enum Delivery {
    /// It was taken.
    Taken(Box<Step>),
    /// It was taken before, as this row.
    Again(usize),
}

/// Why an input was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// A message is missing before it.
    Gap {
        /// The sequence that comes next.
        expected: u32,
        /// The sequence of the message.
        found: u32,
    },
    /// A message of another sequence has this id.
    SameId {
        /// The sequence of the message.
        sequence: u32,
    },
    /// Another message has this sequence.
    Conflict {
        /// The sequence.
        sequence: u32,
    },
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap { expected, found } => write!(f, "sequence: found {found}, expected {expected}"),
            Self::SameId { sequence } => write!(f, "id: the message {sequence} has the id of an earlier one"),
            Self::Conflict { sequence } => write!(f, "sequence: found another message under {sequence}"),
        }
    }
}

impl std::error::Error for Refused {}

/// A journal that does not give what it once gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The row, from 0.
    pub row: usize,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "row {}: {}", self.row, self.what)
    }
}

impl std::error::Error for Broken {}

impl Journal {
    /// A conversation in which nothing was said.
    pub fn new(id: Id) -> Self {
        Self { conversation: Conversation::new(id), rows: Vec::new(), messages: Vec::new(), ids: HashSet::new() }
    }

    /// Takes an input, or tells why not.
    pub fn deliver(&mut self, policy: &Policy, input: &Input) -> Result<Delivery, Refused> {
        if let Body::Message(observation) = &input.body {
            let expected = self.conversation.messages.saturating_add(1);
            if observation.sequence > expected {
                return Err(Refused::Gap { expected, found: observation.sequence });
            }
            if observation.sequence < expected {
                let before = observation.sequence.checked_sub(1).and_then(|at| self.messages.get(at as usize));
                return match before {
                    Some((id, row)) if *id == observation.id => Ok(Delivery::Again(*row)),
                    _ => Err(Refused::Conflict { sequence: observation.sequence }),
                };
            }
            if self.ids.contains(&observation.id) {
                return Err(Refused::SameId { sequence: observation.sequence });
            }
            self.ids.insert(observation.id.clone());
            self.messages.push((observation.id.clone(), self.rows.len()));
        }
        let id = self.conversation.id.clone();
        let conversation = std::mem::replace(&mut self.conversation, Conversation::new(id));
        let step = step(policy, conversation, input);
        self.conversation = step.conversation.clone();
        let input = postcard::to_stdvec(input).expect("plain values in memory are written without fail");
        self.rows.push(Row { input, receipt: step.conversation.chain });
        Ok(Delivery::Taken(Box::new(step)))
    }

    /// Decides everything again and compares the digests; gives the receipts.
    pub fn verify(id: Id, policy: &Policy, rows: &[Row]) -> Result<Vec<Receipt>, Broken> {
        let mut conversation = Conversation::new(id);
        let mut receipts = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let broken = |what: &str| Broken { row: at, what: what.to_owned() };
            let (input, rest) = postcard::take_from_bytes::<Input>(&row.input).map_err(|_| broken("the input cannot be read"))?;
            // A number can be written in more bytes than it needs: only the form that this program writes is the one that was kept.
            if !rest.is_empty() || postcard::to_stdvec(&input).ok().as_ref() != Some(&row.input) {
                return Err(broken("the input is not as it was written"));
            }
            let step = step(policy, conversation, &input);
            if step.conversation.chain != row.receipt {
                return Err(broken("the decision is not the one that was made"));
            }
            conversation = step.conversation;
            receipts.push(step.receipt);
        }
        Ok(receipts)
    }
}
