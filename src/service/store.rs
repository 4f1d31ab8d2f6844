//! What must not be lost: the rows of conversations, what is known of customers, and what must still be told to others, in one folder, as one SQLite database.
//!
//! In goes a [`Write`], all of which becomes durable or nothing; its [`Pending`] answers once it is on the disk. Out come the same bytes. The store knows ids,
//! places and times; inputs, answers and states mean nothing to it.
//!
//! ```text
//! append → queue → one thread: all that waits → one transaction → one sync → all are answered
//! reads  → a connection of their own, beside the writer
//! ```
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | writes or bytes that wait ([`Limits`]) | [`StoreErrorKind::Full`], at once |
//! | the disk, or [`Limits::file_bytes_max`] | [`StoreErrorKind::Unavailable`] to all of that commit, of which nothing is there; the next commit tries again |
//! | connections for reading | the caller waits: call readings on a thread that may block |
//! | letters that wait ([`NewLetter::pending_max`]) | the next one is dead from its beginning |
//! | the log | at 64 MiB readers wait until it is written back |
//!
//! A write must follow what is stored, by ordinal and by sequence; one that does not is a [`StoreErrorKind::Conflict`] and changes nothing. A folder in use is
//! [`StoreErrorKind::Locked`], one of a later program [`StoreErrorKind::Newer`], and one whose files are not as they were written
//! [`StoreErrorKind::Damaged`]: these three leave what is stored as it is. What is checked at a start is the structure of the whole database where it was not
//! closed, and that size and time are those of the shutdown where it was; a changed byte inside a row is told by the chain of receipts, not here.
//!
//! [`Store::close`] ends it. A store that is dropped without is like a process that is killed: what was answered is there.
//! The tables and why they are so: [`schema`].

mod apply;
mod error;
mod folder;
mod handoffs;
mod outbox;
mod reader;
mod record;
mod schema;
mod writer;

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rusqlite::Connection;
use tokio::sync::oneshot;

pub use self::error::{StoreError, StoreErrorKind};
pub use self::folder::DATABASE;
pub use self::handoffs::{AgentWrite, HandoffFilter, HandoffWrite, NewEffect, StoredEffect, StoredHandoff};
pub use self::outbox::{Letter, LetterChange, LetterCounts, LetterState, NewLetter, OutboxWrite, Resend, Resent};
pub use self::record::{
    ConversationWrite, Counts, CustomerWrite, Erased, Message, Progress, Resumed, Row, Status, StoredConversation, StoredCustomer,
    StoredRow, Write,
};

use self::folder::Folder;
use self::reader::Readers;
use self::writer::{Answer, Job, Queue, Writer};
use crate::message::Id;
use crate::time::Timestamp;

/// How exactly activity is known: noting it with each row would write a page more for each.
pub const ACTIVITY_PRECISION: Duration = Duration::from_millis(apply::ACTIVITY_MS.unsigned_abs());

/// What the store accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Writes that wait at most.
    pub queue_writes_max: usize,
    /// Bytes that wait at most; also those of a single write.
    pub queue_bytes_max: usize,
    /// Writes of one commit.
    pub batch_writes_max: usize,
    /// Bytes of one commit, where it has more than one write.
    pub batch_bytes_max: usize,
    /// Connections for reading.
    pub readers: usize,
    /// Bytes of the database at most; `None` leaves it to the disk.
    pub file_bytes_max: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            queue_writes_max: 8192,
            queue_bytes_max: 64 * MIB,
            batch_writes_max: 1024,
            batch_bytes_max: 4 * MIB,
            readers: 4,
            file_bytes_max: None,
        }
    }
}

/// An answer to come, once what was asked for is durable. Giving it up changes nothing: the writer does its work.
#[derive(Debug)]
#[must_use = "nothing is durable before the answer has come"]
pub struct Pending<T = ()>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Pending<T> {
    /// Blocks until the answer has come; not for use on a thread of the runtime.
    pub fn wait(self) -> Result<T, StoreError> {
        self.0.blocking_recv().unwrap_or_else(|_| Err(StoreError::closed()))
    }
}

impl<T> Future for Pending<T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or_else(|_| Err(StoreError::closed())))
    }
}

/// The store of one folder.
pub struct Store {
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    writer: Mutex<Option<JoinHandle<Connection>>>,
    /// Last, so that the lock goes after all connections.
    folder: Folder,
}

impl Store {
    /// Opens the store of a folder, which is made where it is not there. Blocks; reads the whole database where it was not closed.
    pub fn open(path: &Path, limits: Limits) -> Result<Self, StoreError> {
        let folder = Folder::open(path)?;
        let connection = schema::open(&folder, &limits)?;
        let readers = Arc::new(Readers::open(&folder, limits.readers)?);
        let queue = Arc::new(Queue::new(limits));
        let mut writer = Writer::new(connection, Arc::clone(&queue), Arc::clone(&readers), folder.wal());
        writer.scrub()?;
        let thread = thread::Builder::new().name("baton-store".to_owned()).spawn(move || writer.run());
        let thread = thread.map_err(|error| StoreError::io("the writer's thread cannot be started", error))?;
        Ok(Self { queue, readers, writer: Mutex::new(Some(thread)), folder })
    }

    /// Hands a write to the writer, or says at once that the queue is full. Writes are made in the order in which they were taken.
    pub fn append(&self, write: impl Into<Write>) -> Result<Pending, StoreError> {
        let write = Box::new(write.into());
        self.ask(|answer| Job::Write(write, answer))
    }

    /// Deletes conversations that were closed before a time, or erased and without activity since, the oldest first: a few thousand rows, so that others need not wait long. Gives how many it
    /// took; to be called until that is none.
    pub fn delete_closed(&self, before: Timestamp) -> Result<Pending<u64>, StoreError> {
        self.ask(|answer| Job::DeleteClosed(before, answer))
    }

    /// Deletes customers who have no conversation and did nothing since a time; to be called until it took none. Their last activity is known to the day, and
    /// nobody is deleted early.
    pub fn delete_customers(&self, before: Timestamp) -> Result<Pending<u64>, StoreError> {
        self.ask(|answer| Job::DeleteCustomers(before, answer))
    }

    /// Takes all content of some customers out of the store and out of every file. Ordinals, times and digests of receipts stay, and that the conversations
    /// were theirs does not. The database is rewritten, during which nothing else is stored: hand over together what is to be erased together. An erasure
    /// that fails or is interrupted after its commit is finished at the next start.
    pub fn erase(&self, customers: Vec<Id>) -> Result<Pending<Erased>, StoreError> {
        self.ask(|answer| Job::Erase(customers, answer))
    }

    /// Deletes letters that were delivered or given up before a time, up to a bound; gives how many. To be called until that is none.
    pub fn delete_letters(&self, before: Timestamp) -> Result<Pending<u64>, StoreError> {
        self.ask(|answer| Job::DeleteLetters(before, answer))
    }

    /// Puts letters back, to be tried from now on.
    pub fn resend(&self, which: Resend, at: Timestamp) -> Result<Pending<Resent>, StoreError> {
        self.ask(|answer| Job::Resend(which, at, answer))
    }

    fn ask<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<Pending<T>, StoreError> {
        let (answer, pending) = oneshot::channel();
        self.queue.push(job(answer))?;
        Ok(Pending(pending))
    }

    /// What is known of a conversation beside its rows. This and all readings block.
    pub fn conversation(&self, id: &Id) -> Result<Option<StoredConversation>, StoreError> {
        self.readers.read(|connection| reader::conversation(connection, id))
    }

    /// All that it takes to go on with a conversation: the latest snapshot and the rows after it.
    pub fn resume(&self, id: &Id) -> Result<Option<Resumed>, StoreError> {
        self.readers.read(|connection| reader::resume(connection, id))
    }

    /// At most so many conversations in the order in which they began, each with its place; from the first after place 0.
    pub fn conversations(&self, after: u64, limit: usize) -> Result<Vec<(u64, Id)>, StoreError> {
        self.readers.read(|connection| reader::conversations(connection, after, limit))
    }

    /// At most so many rows of a conversation after an ordinal; from the start after 0.
    pub fn rows(&self, id: &Id, after: u64, limit: usize) -> Result<Vec<StoredRow>, StoreError> {
        self.readers.read(|connection| reader::rows(connection, id, after, limit))
    }

    /// The row of a message, by its sequence: what was answered to it. `None` also where it was erased.
    pub fn message(&self, id: &Id, sequence: u32) -> Result<Option<StoredRow>, StoreError> {
        self.readers.read(|connection| reader::message(connection, id, sequence))
    }

    /// Ids of a conversation's messages, the first first. Reads all its rows: once when it is resumed, not for each message.
    pub fn message_ids(&self, id: &Id) -> Result<Vec<Id>, StoreError> {
        self.readers.read(|connection| reader::message_ids(connection, id))
    }

    /// At most so many open conversations without activity since a time, the idlest first, without the first `skip`. None is told early; one may be told [`ACTIVITY_PRECISION`] late.
    pub fn idle(&self, since: Timestamp, skip: usize, limit: usize) -> Result<Vec<Id>, StoreError> {
        self.readers.read(|connection| reader::idle(connection, since.minus(ACTIVITY_PRECISION), skip, limit))
    }

    /// What is known of a customer.
    pub fn customer(&self, id: &Id) -> Result<Option<StoredCustomer>, StoreError> {
        self.readers.read(|connection| reader::customer(connection, id))
    }

    /// At most so many conversations of a customer, the latest first.
    pub fn customer_conversations(&self, id: &Id, limit: usize) -> Result<Vec<Id>, StoreError> {
        self.readers.read(|connection| reader::customer_conversations(connection, id, limit))
    }

    /// At most so many pending letters of a destination whose time has come, the longest due first, and when the next one's comes.
    pub fn due_letters(&self, destination: &str, now: Timestamp, limit: usize) -> Result<(Vec<Letter>, Option<Timestamp>), StoreError> {
        self.readers.read(|connection| outbox::due(connection, destination, now, limit))
    }

    /// At most so many letters that are not delivered, in the order in which they were decided, after a place; from the first after 0.
    pub fn open_letters(&self, after: u64, limit: usize) -> Result<Vec<Letter>, StoreError> {
        self.readers.read(|connection| outbox::open(connection, after, limit))
    }

    /// How many letters wait and were given up, by destination.
    pub fn letter_counts(&self) -> Result<Vec<LetterCounts>, StoreError> {
        self.readers.read(outbox::counts)
    }

    /// All letters of a folder that are not delivered, read beside the process that perhaps serves it.
    pub fn letters_beside(folder: &Path) -> Result<Vec<Letter>, StoreError> {
        let Some(connection) = schema::open_beside(&folder.join(DATABASE))? else { return Ok(Vec::new()) };
        outbox::open(&connection, 0, usize::MAX).map_err(|error| StoreError::sqlite("the outbox cannot be read", error))
    }

    /// What the backend must still do after a place, in order, at most so many.
    pub fn effects(&self, after: u64, limit: usize) -> Result<Vec<StoredEffect>, StoreError> {
        self.readers.read(|connection| handoffs::effects(connection, after, limit))
    }

    /// At most so many conversations with a timer and when it is due, after a conversation's number, each with that number. A time of 0: it is not known.
    pub fn timers(&self, after: u64, limit: usize) -> Result<Vec<(u64, Id, Timestamp)>, StoreError> {
        self.readers.read(|connection| handoffs::timers(connection, after, limit))
    }

    /// All agents.
    pub fn agents(&self) -> Result<Vec<AgentWrite>, StoreError> {
        self.readers.read(handoffs::agents)
    }

    /// Handoffs in the order in which they were decided.
    pub fn handoffs(&self, filter: &HandoffFilter) -> Result<Vec<StoredHandoff>, StoreError> {
        self.readers.read(|connection| handoffs::handoffs(connection, filter))
    }

    /// The handoffs that were decided last, the latest first; at most so many.
    pub fn latest_handoffs(&self, limit: usize) -> Result<Vec<Vec<u8>>, StoreError> {
        self.readers.read(|connection| handoffs::latest(connection, limit))
    }

    /// How much is stored.
    pub fn counts(&self) -> Result<Counts, StoreError> {
        self.readers.read(reader::counts)
    }

    /// What the writer did since the start, and what waits. Does not block.
    pub fn progress(&self) -> Progress {
        self.queue.progress()
    }

    /// Takes nothing more, stores what waits, and leaves the folder clean. The folder's lock goes with the value. Blocks; a second call does nothing.
    pub fn close(&self) -> Result<(), StoreError> {
        self.queue.close();
        let Some(thread) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() else { return Ok(()) };
        let lost = |_| StoreError::new(StoreErrorKind::Internal, "the store's writer died; what was answered is stored");
        let connection = thread.join().map_err(lost)?;
        self.readers.close();
        writer::empty_log(&connection, &self.readers)?;
        connection.close().map_err(|(_, error)| StoreError::sqlite("the store cannot be closed", error))?;
        self.folder.mark_clean()
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.queue.abandon();
        let thread = self.writer.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The folder must not be given away while the writer still uses it. One that died has nothing to say.
        drop(thread.map(JoinHandle::join));
    }
}
