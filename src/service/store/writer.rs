//! The one thread that writes: takes all that waits, makes it one transaction, and answers when that is on the disk.
//!
//! While a commit is on its way to the disk the next one gathers, so that a commit serves as many as came meanwhile, and nobody waits for a timer.

use std::collections::VecDeque;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use super::Limits;
use super::apply::{self, Known, Stop};
use super::error::{StoreError, StoreErrorKind};
use super::outbox::{self, Resend, Resent};
use super::reader::Readers;
use super::record::{Erased, Progress, Write};
use crate::message::Id;
use crate::time::Timestamp;

/// The log is written back and emptied when it has this many bytes: four times what it needs when readers let it start over.
const WAL_BYTES_MAX: u64 = 64 * 1024 * 1024;

pub(super) type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

/// What the writer is asked for.
pub(super) enum Job {
    Write(Box<Write>, Answer<()>),
    DeleteClosed(Timestamp, Answer<u64>),
    DeleteCustomers(Timestamp, Answer<u64>),
    DeleteLetters(Timestamp, Answer<u64>),
    Resend(Resend, Timestamp, Answer<Resent>),
    Erase(Vec<Id>, Answer<Erased>),
}

impl Job {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(write, _) => write.bytes(),
            Self::DeleteClosed(..) | Self::DeleteCustomers(..) | Self::DeleteLetters(..) | Self::Resend(..) | Self::Erase(..) => 0,
        }
    }
}

/// What waits for the writer.
pub(super) struct Queue {
    limits: Limits,
    waiting: Mutex<Waiting>,
    /// Woken when there is work, or will be none.
    work: Condvar,
    commits: AtomicU64,
    writes: AtomicU64,
    refused: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        let zero = || AtomicU64::new(0);
        let (waiting, work) = (Mutex::new(Waiting::default()), Condvar::new());
        Self { limits, waiting, work, commits: zero(), writes: zero(), refused: zero(), failed: zero() }
    }

    /// A poisoned queue is whole: nothing panics while it is being changed.
    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a job, or says at once that there is no room.
    pub(super) fn push(&self, job: Job) -> Result<(), StoreError> {
        let bytes = job.bytes();
        let (jobs_max, bytes_max) = (self.limits.queue_writes_max, self.limits.queue_bytes_max);
        if bytes > bytes_max {
            let what = format!("a write of {bytes} bytes is more than the queue ever holds, {bytes_max}");
            return Err(StoreError::new(StoreErrorKind::Internal, what));
        }
        let mut waiting = self.lock();
        if waiting.closed {
            return Err(StoreError::closed());
        }
        if waiting.jobs.len() >= jobs_max || waiting.bytes + bytes > bytes_max {
            let what = format!("the store's queue is full: {} writes of {} bytes wait", waiting.jobs.len(), waiting.bytes);
            return Err(StoreError::new(StoreErrorKind::Full, what));
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back(job);
        drop(waiting);
        self.work.notify_one();
        Ok(())
    }

    /// Takes nothing more; what waits is still done.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.work.notify_all();
    }

    /// Takes nothing more and gives up what waits.
    pub(super) fn abandon(&self) {
        let given_up = {
            let mut waiting = self.lock();
            waiting.closed = true;
            waiting.bytes = 0;
            std::mem::take(&mut waiting.jobs)
        };
        self.work.notify_all();
        drop(given_up);
    }

    /// What the writer did and what waits.
    pub(super) fn progress(&self) -> Progress {
        let (queue_writes, queue_bytes) = {
            let waiting = self.lock();
            (waiting.jobs.len() as u64, waiting.bytes as u64)
        };
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (commits, writes, refused, failed) = (of(&self.commits), of(&self.writes), of(&self.refused), of(&self.failed));
        Progress { queue_writes, queue_bytes, commits, writes, refused, failed }
    }

    /// Waits for work; `None` when there will be none. Writes come together, anything else alone.
    fn take(&self) -> Option<Taken> {
        let mut waiting = self.lock();
        loop {
            match waiting.jobs.front() {
                Some(Job::Write(..)) => return Some(Taken::Writes(waiting.take_writes(&self.limits))),
                Some(_) => return waiting.jobs.pop_front().map(Taken::Other),
                None if waiting.closed => return None,
                None => waiting = self.work.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

impl Waiting {
    fn take_writes(&mut self, limits: &Limits) -> Batch {
        let (mut batch, mut bytes) = (Batch::default(), 0);
        while let Some(Job::Write(write, _)) = self.jobs.front() {
            let more = write.bytes();
            let full = batch.writes.len() >= limits.batch_writes_max || bytes + more > limits.batch_bytes_max;
            if full && !batch.writes.is_empty() {
                break;
            }
            let Some(Job::Write(write, answer)) = self.jobs.pop_front() else { break };
            self.bytes -= more;
            bytes += more;
            batch.writes.push(*write);
            batch.answers.push(answer);
        }
        batch
    }
}

enum Taken {
    Writes(Batch),
    Other(Job),
}

/// Writes of one commit, and who waits for each.
#[derive(Default)]
struct Batch {
    writes: Vec<Write>,
    answers: Vec<Answer<()>>,
}

/// Closes the queue when the thread ends, however it ends: nobody waits for a writer that is no more.
struct Last(Arc<Queue>);

impl Drop for Last {
    fn drop(&mut self) {
        self.0.abandon();
    }
}

/// The thread's own.
pub(super) struct Writer {
    connection: Connection,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    wal: PathBuf,
    known: Known,
}

impl Writer {
    pub(super) fn new(connection: Connection, queue: Arc<Queue>, readers: Arc<Readers>, wal: PathBuf) -> Self {
        Self { connection, queue, readers, wal, known: Known::default() }
    }

    /// Works until the queue is closed and empty; gives the connection back.
    pub(super) fn run(mut self) -> Connection {
        let _last = Last(Arc::clone(&self.queue));
        while let Some(taken) = self.queue.take() {
            match taken {
                Taken::Writes(batch) => self.commit(batch),
                Taken::Other(Job::DeleteClosed(before, answer)) => {
                    self.alone(answer, |transaction| apply::delete_closed(transaction, before))
                }
                Taken::Other(Job::DeleteCustomers(before, answer)) => {
                    self.alone(answer, |transaction| apply::delete_customers(transaction, before));
                }
                Taken::Other(Job::DeleteLetters(before, answer)) => {
                    self.alone(answer, |transaction| outbox::delete_ended(transaction, before));
                }
                Taken::Other(Job::Resend(which, at, answer)) => self.alone(answer, |transaction| outbox::resend(transaction, &which, at)),
                Taken::Other(Job::Erase(customers, answer)) => send(answer, self.erase(&customers)),
                Taken::Other(Job::Write(write, answer)) => self.commit(Batch { writes: vec![*write], answers: vec![answer] }),
            }
            self.bound_log();
        }
        self.connection
    }

    fn commit(&mut self, batch: Batch) {
        let queue = Arc::clone(&self.queue);
        let count = |counter: &AtomicU64, by: usize| counter.fetch_add(by as u64, Ordering::Relaxed);
        match write_all(&mut self.connection, &mut self.known, &batch.writes) {
            Ok(results) => {
                let refused = results.iter().filter(|result| result.is_err()).count();
                count(&queue.commits, 1);
                count(&queue.refused, refused);
                count(&queue.writes, results.len() - refused);
                batch.answers.into_iter().zip(results).for_each(|(answer, result)| send(answer, result));
            }
            Err(error) => {
                self.known.forget();
                count(&queue.failed, batch.writes.len());
                let error = StoreError::sqlite("the rows could not be stored", error);
                batch.answers.into_iter().for_each(|answer| send(answer, Err(error.clone())));
            }
        }
    }

    fn alone<T>(&mut self, answer: Answer<T>, run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) {
        let result = in_transaction(&mut self.connection, run);
        self.known.forget();
        send(answer, result.map_err(|error| StoreError::sqlite("nothing could be changed", error)));
    }

    fn erase(&mut self, customers: &[Id]) -> Result<Erased, StoreError> {
        let erased = in_transaction(&mut self.connection, |transaction| apply::erase(transaction, customers));
        self.known.forget();
        let erased = erased.map_err(|error| StoreError::sqlite("nothing could be erased", error))?;
        self.scrub()?;
        Ok(erased)
    }

    /// Takes erased bytes out of every file, where an erasure, perhaps one before a crash, left some.
    pub(super) fn scrub(&mut self) -> Result<(), StoreError> {
        let failed = |error| {
            StoreError::sqlite("what was erased is no longer read, but its bytes may still be in a file until the next start", error)
        };
        if !apply::is_scrub_due(&self.connection).map_err(failed)? {
            return Ok(());
        }
        self.connection.execute_batch("VACUUM").map_err(failed)?;
        empty_log(&self.connection, &self.readers)?;
        apply::scrubbed(&self.connection).map_err(failed)
    }

    /// Readers that follow each other without a gap keep the log from starting over: then they wait once.
    fn bound_log(&mut self) {
        if fs::metadata(&self.wal).is_ok_and(|file| file.len() > WAL_BYTES_MAX) {
            // Where it does not work now, it is tried again after the next commit.
            drop(empty_log(&self.connection, &self.readers));
        }
    }
}

/// Writes the log back into the database and makes it empty.
pub(super) fn empty_log(connection: &Connection, readers: &Readers) -> Result<(), StoreError> {
    let _nobody = readers.keep_out();
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0));
    match busy {
        Ok(false) => Ok(()),
        Ok(true) => Err(StoreError::new(StoreErrorKind::Unavailable, "the log could not be emptied: somebody else reads the store")),
        Err(error) => Err(StoreError::sqlite("the log could not be emptied", error)),
    }
}

fn write_all(connection: &mut Connection, known: &mut Known, writes: &[Write]) -> rusqlite::Result<Vec<Result<(), StoreError>>> {
    in_transaction(connection, |transaction| {
        let one = |write| match apply::write(transaction, known, write) {
            Ok(()) => Ok(Ok(())),
            Err(Stop::Refused(error)) => Ok(Err(error)),
            Err(Stop::Failed(error)) => Err(error),
        };
        writes.iter().map(one).collect()
    })
}

fn in_transaction<T>(connection: &mut Connection, run: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let result = run(&transaction)?;
    transaction.commit()?;
    Ok(result)
}

fn send<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    // Who left does not want the answer.
    drop(answer.send(result));
}

#[cfg(test)]
mod tests {
    use super::super::record::{CustomerWrite, Write};
    use super::*;

    fn job(bytes: usize) -> (Job, oneshot::Receiver<Result<(), StoreError>>) {
        let (answer, pending) = oneshot::channel();
        let id = Id::new("u").unwrap();
        let write = Write::from(CustomerWrite { id, ordinal: 1, at: Timestamp::default(), change: vec![0; bytes], snapshot: None });
        (Job::Write(Box::new(write), answer), pending)
    }

    fn kind(result: Result<(), StoreError>) -> Option<StoreErrorKind> {
        result.err().map(|error| error.kind())
    }

    fn taken(queue: &Queue) -> usize {
        match queue.take() {
            Some(Taken::Writes(batch)) => batch.writes.len(),
            Some(Taken::Other(_)) => 0,
            None => usize::MAX,
        }
    }

    fn limits() -> Limits {
        Limits { queue_writes_max: 6, queue_bytes_max: 10_000, batch_writes_max: 4, batch_bytes_max: 5_000, ..Limits::default() }
    }

    #[test]
    fn a_full_queue_says_so_at_once_and_has_room_when_it_is_taken_from() {
        let queue = Queue::new(limits());
        let jobs: Vec<_> = (0..6).map(|_| job(1)).map(|(job, pending)| (queue.push(job), pending)).collect();
        assert!(jobs.iter().all(|(result, _)| result.is_ok()));
        assert_eq!(kind(queue.push(job(1).0)), Some(StoreErrorKind::Full));
        assert_eq!((taken(&queue), taken(&queue)), (4, 2));
        assert_eq!(kind(queue.push(job(9_000).0)), None);
        assert_eq!(kind(queue.push(job(900).0)), Some(StoreErrorKind::Full), "bytes are bounded too");
        assert_eq!(kind(queue.push(job(10_000).0)), Some(StoreErrorKind::Internal), "one that never fits");
        assert_eq!(taken(&queue), 1, "one that is more than a commit goes alone");
        assert_eq!(queue.progress().queue_bytes, 0);
    }

    #[test]
    fn a_commit_is_bounded_and_keeps_the_order() {
        let queue = Queue::new(limits());
        for bytes in [2_000, 2_000, 2_000] {
            queue.push(job(bytes).0).unwrap();
        }
        queue.push(Job::DeleteClosed(Timestamp::default(), oneshot::channel().0)).unwrap();
        queue.push(job(1).0).unwrap();
        assert_eq!([taken(&queue), taken(&queue), taken(&queue), taken(&queue)], [2, 1, 0, 1]);
    }

    #[test]
    fn a_closed_queue_is_worked_off_and_an_abandoned_one_is_not() {
        let queue = Queue::new(limits());
        queue.push(job(1).0).unwrap();
        queue.close();
        assert_eq!(kind(queue.push(job(1).0)), Some(StoreErrorKind::Unavailable));
        assert_eq!((taken(&queue), taken(&queue)), (1, usize::MAX));
        let queue = Queue::new(limits());
        let (job, pending) = job(1);
        queue.push(job).unwrap();
        queue.abandon();
        assert_eq!(taken(&queue), usize::MAX);
        assert!(pending.blocking_recv().is_err(), "who waits is told");
    }
}
