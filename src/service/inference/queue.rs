//! What waits, and what a worker takes next. No thread and no clock: `now` is an argument.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::cache::Key;
use super::{Answer, Class, InferenceError, Limits};
use crate::model::scorer::Prepared;

/// Every so many batches one is bulk when there is any, however much is live: bulk never starves.
pub(super) const BULK_EVERY: u64 = 8;
/// Entries behind the oldest that are looked at for near lengths: enough to fill a batch, few enough to hold the lock for microseconds.
const LOOK_AHEAD: usize = 256;
/// What [`Queue::room_for`] says when nothing more is taken.
pub(super) const CLOSED: &str = "the server is draining";

/// A message that waits.
pub(super) struct Entry {
    pub(super) key: Key,
    pub(super) prepared: Prepared,
    pub(super) cost: usize,
    pub(super) class: Class,
    pub(super) enqueued: Instant,
    pub(super) tokenise: Duration,
}

/// Somebody who wants the answer to a text.
pub(super) struct Waiter {
    pub(super) sender: oneshot::Sender<Answer>,
    pub(super) deadline: Option<Instant>,
    /// Whether it joined a twin that was there already.
    pub(super) twin: bool,
}

impl Waiter {
    fn is_waiting(&self, now: Instant) -> bool {
        !self.sender.is_closed() && self.deadline.is_none_or(|deadline| deadline > now)
    }
}

/// What a worker scores at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) entries: Vec<Entry>,
    /// Messages that nobody waits for any more, taken out on the way.
    pub(super) dropped: usize,
}

impl Batch {
    pub(super) fn tokens(&self) -> usize {
        self.entries.iter().map(|entry| entry.cost).sum()
    }
}

pub(super) struct Queue {
    limits: Limits,
    live: VecDeque<Entry>,
    bulk: VecDeque<Entry>,
    /// Who waits for each text that is queued or being scored.
    waiters: HashMap<Key, Vec<Waiter>>,
    live_tokens: usize,
    bulk_tokens: usize,
    batches: u64,
    closed: bool,
}

impl Queue {
    pub(super) fn new(limits: Limits) -> Self {
        let (live, bulk, waiters) = (VecDeque::new(), VecDeque::new(), HashMap::new());
        Self { limits, live, bulk, waiters, live_tokens: 0, bulk_tokens: 0, batches: 0, closed: false }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    /// What is accepted from now on; what waits already goes on waiting.
    pub(super) fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    pub(super) fn tokens(&self) -> usize {
        self.live_tokens + self.bulk_tokens
    }

    /// Tokens that go before a new message of this class.
    pub(super) fn tokens_ahead(&self, class: Class) -> usize {
        match class {
            Class::Live => self.live_tokens,
            Class::Bulk => self.tokens(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.live.is_empty() && self.bulk.is_empty()
    }

    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    /// Whether one more message with this cost may wait; otherwise what is full. Bulk may fill half of the queue, so that live work finds room.
    pub(super) fn room_for(&self, class: Class, cost: usize) -> Result<(), String> {
        if self.closed {
            return Err(CLOSED.to_owned());
        }
        let (tokens, messages, share) = match class {
            Class::Live => (self.tokens(), self.live.len() + self.bulk.len(), 1),
            Class::Bulk => (self.bulk_tokens, self.bulk.len(), 2),
        };
        let (tokens_max, messages_max) = (self.limits.queue_tokens_max / share, self.limits.queue_messages_max / share);
        if tokens + cost > tokens_max && tokens > 0 {
            return Err(format!("queue_tokens_max is {tokens_max}, {tokens} wait and {cost} would come"));
        }
        if messages + 1 > messages_max {
            return Err(format!("queue_messages_max is {messages_max}, {messages} wait"));
        }
        Ok(())
    }

    /// Lets a caller wait for a twin that is queued or being scored; false, and the caller forgotten, if there is none. As many callers may wait for one text
    /// as messages may wait; otherwise what is full.
    pub(super) fn join(&mut self, key: &Key, waiter: Waiter) -> Result<bool, String> {
        let most = self.limits.queue_messages_max;
        match self.waiters.get_mut(key) {
            Some(waiters) if waiters.len() >= most => Err(format!("queue_messages_max is {most}, {} wait for this text", waiters.len())),
            Some(waiters) => {
                waiters.push(waiter);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Adds a message; one whose twin came in the meantime joins it.
    pub(super) fn push(&mut self, entry: Entry, waiter: Waiter) {
        let waiters = self.waiters.entry(entry.key).or_default();
        let is_new = waiters.is_empty();
        waiters.push(waiter);
        if !is_new {
            return;
        }
        match entry.class {
            Class::Live => {
                self.live_tokens += entry.cost;
                self.live.push_back(entry);
            }
            Class::Bulk => {
                self.bulk_tokens += entry.cost;
                self.bulk.push_back(entry);
            }
        }
    }

    /// The next batch: the oldest message of the class whose turn it is, and those behind it of near length, up to the token budget. Messages that nobody
    /// waits for any more are dropped on the way. May be empty although something waited.
    pub(super) fn take(&mut self, now: Instant) -> Batch {
        let mut batch = Batch::default();
        if self.is_empty() {
            return batch;
        }
        self.batches += 1;
        let bulk_turn = self.batches.is_multiple_of(BULK_EVERY) && !self.bulk.is_empty();
        let bulk = bulk_turn || self.live.is_empty();
        let (lane, tokens) = if bulk { (&mut self.bulk, &mut self.bulk_tokens) } else { (&mut self.live, &mut self.live_tokens) };
        let (mut at, mut longest, mut looked) = (0, 0usize, 0);
        while at < lane.len() && looked < LOOK_AHEAD {
            looked += 1;
            let entry = &lane[at];
            let wanted = self.waiters.get(&entry.key).is_some_and(|waiters| waiters.iter().any(|waiter| waiter.is_waiting(now)));
            let fits = batch.entries.is_empty()
                || is_near(entry.cost, batch.entries[0].cost) && {
                    (batch.entries.len() + 1) * longest.max(entry.cost) <= self.limits.batch_tokens_max
                };
            if wanted && !fits {
                at += 1;
                continue;
            }
            let Some(entry) = lane.remove(at) else { break };
            *tokens -= entry.cost;
            if wanted {
                longest = longest.max(entry.cost);
                batch.entries.push(entry);
            } else {
                batch.dropped += 1;
                for waiter in self.waiters.remove(&entry.key).into_iter().flatten() {
                    drop(waiter.sender.send(Err(InferenceError::Expired)));
                }
            }
        }
        batch
    }

    /// Everybody who waits for this text, which is done.
    pub(super) fn finish(&mut self, key: &Key) -> Vec<Waiter> {
        self.waiters.remove(key).unwrap_or_default()
    }

    /// Gives up everything that waits.
    pub(super) fn abandon(&mut self) {
        for entry in self.live.drain(..).chain(self.bulk.drain(..)) {
            for waiter in self.waiters.remove(&entry.key).into_iter().flatten() {
                drop(waiter.sender.send(Err(InferenceError::Closed)));
            }
        }
        (self.live_tokens, self.bulk_tokens) = (0, 0);
    }
}

/// Whether two messages waste little padding in one batch: within a half of each other, or both short.
fn is_near(a: usize, b: usize) -> bool {
    let (short, long) = (a.min(b), a.max(b));
    long <= 16 || 2 * long <= 3 * short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_of_one_text_are_bounded_as_messages_are() {
        let limits = Limits { queue_tokens_max: 100, queue_messages_max: 2, batch_tokens_max: 100, cache_bytes_max: 0, workers: 1 };
        let mut queue = Queue::new(limits);
        let key = [7; 16];
        let waiter = || Waiter { sender: oneshot::channel().0, deadline: None, twin: true };
        assert_eq!(queue.join(&key, waiter()), Ok(false), "there is no twin yet");
        queue.waiters.insert(key, vec![waiter()]);
        assert_eq!(queue.join(&key, waiter()), Ok(true));
        assert_eq!(queue.join(&key, waiter()), Err("queue_messages_max is 2, 2 wait for this text".to_owned()));
    }
}
