//! What goes into the store and comes out of it. Plain values; inputs, answers and states are bytes that mean nothing here.

use super::handoffs::{AgentWrite, HandoffWrite, NewEffect};
use super::outbox::{NewLetter, OutboxWrite};
use crate::message::Id;
use crate::time::Timestamp;

/// One atomic unit: all of it is durable, or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Write {
    /// What changes of a conversation.
    pub conversation: Option<ConversationWrite>,
    /// What changes of a customer.
    pub customer: Option<CustomerWrite>,
    /// What changes of the outbox.
    pub outbox: Option<OutboxWrite>,
    /// What changes of an agent.
    pub agent: Option<AgentWrite>,
    /// The place of an effect that the backend did.
    pub acknowledged: Option<u64>,
}

/// What changes of a conversation. The first row makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationWrite {
    /// Its id.
    pub id: Id,
    /// The next row.
    pub row: Option<Row>,
    /// The state after the last row, this one included; replaces the one before.
    pub snapshot: Option<Vec<u8>>,
    /// Whose it is; stays where this is absent.
    pub customer: Option<Id>,
    /// Whether it goes on; stays where this is absent.
    pub status: Option<Status>,
    /// What the customer gave it; stays where this is absent.
    pub satisfaction: Option<u32>,
    /// What the row brings to the outbox; nothing where there is no row.
    pub letters: Vec<NewLetter>,
    /// What the backend must do; nothing where there is no row.
    pub effects: Vec<NewEffect>,
    /// When a timer must be delivered, or that none must; stays where this is absent.
    pub timer: Option<Option<Timestamp>>,
    /// How a handoff stands; stays where this is absent.
    pub handoff: Option<HandoffWrite>,
    /// Who may say the next reply; stays where this is absent.
    pub claim: Option<Vec<u8>>,
}

impl ConversationWrite {
    /// That nothing changes.
    pub fn new(id: Id) -> Self {
        Self {
            id,
            row: None,
            snapshot: None,
            customer: None,
            status: None,
            satisfaction: None,
            letters: Vec::new(),
            effects: Vec::new(),
            timer: None,
            handoff: None,
            claim: None,
        }
    }
}

impl From<ConversationWrite> for Write {
    fn from(conversation: ConversationWrite) -> Self {
        Self { conversation: Some(conversation), ..Self::default() }
    }
}

/// One accepted input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Its place in the conversation, from 1. Must be the next.
    pub ordinal: u64,
    /// When it happened.
    pub at: Timestamp,
    /// Whether it counts against idling: a message does, a timer does not.
    pub activity: bool,
    /// The input.
    pub input: Vec<u8>,
    /// Digest of the receipt.
    pub receipt: [u8; 32],
    /// What was answered.
    pub answer: Vec<u8>,
    /// The message that it was, if it was one.
    pub message: Option<Message>,
    /// What was said, where it is kept.
    pub text: Option<String>,
}

/// By what a message is known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its place among the messages of the conversation, from 1. Must be the next.
    pub sequence: u32,
    /// Its id. The store does not look for it in other rows: that is the caller's, see [`Store::message_ids`](super::Store::message_ids).
    pub id: Id,
    /// Digest of what was said.
    pub text_digest: [u8; 32],
}

/// What changes of a customer. The first change makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomerWrite {
    /// Its id.
    pub id: Id,
    /// The change's place, from 1. Must be the next.
    pub ordinal: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The change.
    pub change: Vec<u8>,
    /// What is known after this change; replaces the snapshot before and all changes up to this.
    pub snapshot: Option<Vec<u8>>,
}

impl From<CustomerWrite> for Write {
    fn from(customer: CustomerWrite) -> Self {
        Self { customer: Some(customer), ..Self::default() }
    }
}

impl From<OutboxWrite> for Write {
    fn from(outbox: OutboxWrite) -> Self {
        Self { outbox: Some(outbox), ..Self::default() }
    }
}

/// Whether a conversation goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// It does.
    Open,
    /// It does not.
    Closed {
        /// Since when.
        at: Timestamp,
        /// How it ended, as one of the caller's labels.
        outcome: String,
    },
}

impl Write {
    /// Bytes that it brings, near enough for bounds.
    pub(super) fn bytes(&self) -> usize {
        let of = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(0, Vec::len);
        let row = |row: &Row| row.input.len() + row.answer.len() + row.text.as_ref().map_or(0, String::len) + ROW_BYTES;
        let letters = |part: &ConversationWrite| part.letters.len() * ROW_BYTES;
        let effects = |part: &ConversationWrite| part.effects.iter().map(|effect| effect.content.len() + ROW_BYTES).sum::<usize>();
        let handoff = |part: &ConversationWrite| part.handoff.as_ref().map_or(0, |handoff| handoff.record.len() + ROW_BYTES);
        let conversation = self.conversation.as_ref().map_or(0, |part| {
            part.row.as_ref().map_or(0, row) + of(&part.snapshot) + of(&part.claim) + letters(part) + effects(part) + handoff(part)
        });
        let conversation = conversation + self.agent.as_ref().map_or(0, |agent| agent.state.len() + ROW_BYTES);
        let outbox = self.outbox.as_ref().map_or(0, OutboxWrite::bytes);
        conversation + outbox + self.customer.as_ref().map_or(0, |part| part.change.len() + of(&part.snapshot) + ROW_BYTES)
    }
}

/// Bytes of a row beside what the caller brings: digests, ids, numbers.
const ROW_BYTES: usize = 256;

/// A row as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Its place in the conversation, from 1.
    pub ordinal: u64,
    /// When it happened.
    pub at: Timestamp,
    /// The input; empty where it was erased.
    pub input: Vec<u8>,
    /// Digest of the receipt.
    pub receipt: [u8; 32],
    /// What was answered; empty where it was erased.
    pub answer: Vec<u8>,
    /// The message that it was; absent where it was erased.
    pub message: Option<Message>,
    /// What was said, where it is kept.
    pub text: Option<String>,
}

/// What is known of a conversation beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConversation {
    /// Its id.
    pub id: Id,
    /// Whose it is.
    pub customer: Option<Id>,
    /// Its rows.
    pub inputs: u64,
    /// Sequence of its last message; 0 before the first.
    pub messages: u32,
    /// When there was last activity; up to [`ACTIVITY_PRECISION`](super::ACTIVITY_PRECISION) earlier than it truly was.
    pub active: Timestamp,
    /// Whether it goes on.
    pub status: Status,
    /// What the customer gave it.
    pub satisfaction: Option<u32>,
    /// Whether its customer was erased: its rows are bare, and nothing more is taken.
    pub erased: bool,
}

/// All that it takes to go on with a conversation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resumed {
    /// What is known of it.
    pub conversation: StoredConversation,
    /// The latest snapshot, with the ordinal of the last row in it.
    pub snapshot: Option<(u64, Vec<u8>)>,
    /// The rows after the snapshot.
    pub rows: Vec<StoredRow>,
    /// Ids of all its messages, the first first.
    pub messages: Vec<Id>,
    /// Who may say the next reply, where somebody claimed it.
    pub claim: Option<Vec<u8>>,
}

/// What is known of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredCustomer {
    /// Ordinal of the last change; 0 before the first.
    pub ordinal: u64,
    /// The latest snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// The changes after it, oldest first.
    pub changes: Vec<Vec<u8>>,
}

/// What an erasure took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Erased {
    /// Customers that were known.
    pub customers: u64,
    /// Conversations whose rows are bare now.
    pub conversations: u64,
    /// Rows of these.
    pub rows: u64,
}

/// How much is stored. Takes a scan over the conversations' ids: for a page of figures, not for each message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Conversations that go on.
    pub open: u64,
    /// All conversations.
    pub conversations: u64,
    /// Customers.
    pub customers: u64,
    /// Bytes of the database.
    pub file_bytes: u64,
    /// Bytes of it that new rows may use.
    pub free_bytes: u64,
}

/// What the writer did since the store was opened, and what waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Writes that wait.
    pub queue_writes: u64,
    /// Bytes that wait.
    pub queue_bytes: u64,
    /// Commits.
    pub commits: u64,
    /// Writes that are durable.
    pub writes: u64,
    /// Writes that were refused as conflicts.
    pub refused: u64,
    /// Writes that failed with their commit.
    pub failed: u64,
}
