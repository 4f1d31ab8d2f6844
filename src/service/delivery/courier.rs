//! Who brings the letters of one destination: takes what is due, sends it, and writes down what became of it.
//!
//! Everything that must survive is in the store before it counts: what is sent before the first attempt, each request of a letter before the next, the delivery
//! before the letter is let go. A change that the store refuses as a conflict means that the letter was erased, deleted or addressed anew meanwhile: what came of
//! the attempt is forgotten, and the store is asked again. A panic in an attempt is a bug of ours: its letter stays where it was and comes again after a pause.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinSet;

use super::breaker::{Breaker, Turn};
use super::client::{Client, FailureSort, Request};
use super::render::{requests, ticket};
use super::{DeliverySettings, Kind};
use crate::message::Id;
use crate::random::Random;
use crate::service::clock;
use crate::service::events::{Event, emit};
use crate::service::memory::{Memory, MemoryError, Woken};
use crate::service::metrics::{Attempted, Metrics};
use crate::service::store::{Letter, LetterChange};
use crate::time::Timestamp;

/// The longest time without a look at the store: a wall clock may be set.
const LOOK: Duration = Duration::from_secs(60);
/// The pause after which the store is asked again where it did not do its part; an attempt that waits so keeps its place among those under way.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// Letters that are read beyond those that may begin: some are of conversations that wait for one under way.
const MORE: usize = 16;

/// What an attempt says of the destination.
enum Verdict {
    /// It did its part.
    Answered,
    /// It did not, and asked for this pause.
    Failed(Option<Duration>),
    /// Nothing.
    Unknown,
    /// Nothing; what is to be sent could not be read.
    StoreFailed,
}

/// See the module.
pub(super) struct Courier {
    client: Arc<Client>,
    kind: Kind,
    memory: Arc<Memory>,
    settings: Arc<DeliverySettings>,
    metrics: Arc<Metrics>,
    breaker: Breaker,
    random: Random,
    /// Letters under way by number, each with its conversation.
    under_way: HashMap<u64, Id>,
    attempts: JoinSet<(u64, Verdict)>,
}

impl Courier {
    pub(super) fn new(client: Client, memory: Arc<Memory>, settings: Arc<DeliverySettings>, metrics: Arc<Metrics>) -> Self {
        let breaker = Breaker::new(settings.breaker_failures, settings.breaker_pause);
        let kind = client.kind();
        // Other numbers in each process: daemons that fail together shall not come back together.
        let random = Random::new(RandomState::new().hash_one(kind.as_str()));
        let (client, under_way, attempts) = (Arc::new(client), HashMap::new(), JoinSet::new());
        Self { client, kind, memory, settings, metrics, breaker, random, under_way, attempts }
    }

    /// Works until it is stopped, then waits for what is under way.
    pub(super) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        let memory = Arc::clone(&self.memory);
        loop {
            let pause = self.begin().await;
            tokio::select! {
                biased;
                () = async { drop(stopped.wait_for(|stop| *stop).await) } => break,
                Some(ended) = self.attempts.join_next(), if !self.attempts.is_empty() => {
                    if let Some(pause) = self.end(ended) {
                        // What cannot be read now can be read a moment later, or not.
                        tokio::select! {
                            () = async { drop(stopped.wait_for(|stop| *stop).await) } => break,
                            () = tokio::time::sleep(pause) => {}
                        }
                    }
                }
                woken = memory.letters_waken(self.kind) => {
                    if woken == Woken::ByOperator {
                        self.breaker.hurry(clock::now());
                    }
                }
                () = tokio::time::sleep(pause) => {}
            }
        }
        while let Some(ended) = self.attempts.join_next().await {
            self.end(ended);
        }
    }

    /// Begins what is due, as far as there is room; gives how long nothing more will be, unless something happens.
    async fn begin(&mut self) -> Duration {
        let now = clock::now();
        let room = self.breaker.room(now, self.under_way.len(), self.settings.concurrency);
        if room == 0 {
            return self.breaker.rests(now).unwrap_or(LOOK).min(LOOK);
        }
        let wall = clock::wall();
        let (letters, next) = match self.memory.due_letters(self.kind, wall, room + self.under_way.len() + MORE).await {
            Ok(found) => found,
            Err(error) => {
                emit(&Event::StoreFailed { reason: &error.to_string() });
                return STORE_PAUSE;
            }
        };
        let mut begun = 0;
        for letter in letters {
            let is_held = self.under_way.contains_key(&letter.number) || self.under_way.values().any(|id| *id == letter.conversation);
            if begun == room || is_held {
                continue;
            }
            begun += 1;
            self.under_way.insert(letter.number, letter.conversation.clone());
            let pause = self.settings.backoff.pause(letter.attempts + 1, &mut self.random);
            let (client, memory, settings, metrics) =
                (Arc::clone(&self.client), Arc::clone(&self.memory), Arc::clone(&self.settings), Arc::clone(&self.metrics));
            self.attempts.spawn(async move {
                let attempt = Attempt { letter: &letter, client: &client, memory: &memory, settings: &settings, metrics: &metrics, pause };
                (letter.number, attempt.make().await)
            });
        }
        next.map_or(LOOK, |at| at.since(wall)).min(LOOK)
    }

    /// Takes what an attempt said; gives how long to wait where the store failed.
    fn end(&mut self, ended: Result<(u64, Verdict), tokio::task::JoinError>) -> Option<Duration> {
        let Ok((number, verdict)) = ended else {
            // Which letter it was is not known: all are read again.
            self.under_way.clear();
            return Some(STORE_PAUSE);
        };
        self.under_way.remove(&number);
        let turn = match verdict {
            Verdict::Answered => self.breaker.succeeded(),
            Verdict::Failed(asked) => self.breaker.failed(clock::now(), asked),
            Verdict::Unknown => Turn::Same,
            Verdict::StoreFailed => return Some(STORE_PAUSE),
        };
        let destination = self.kind.as_str();
        match turn {
            Turn::Same => {}
            Turn::Opened => {
                let pause = self.breaker.rests(clock::now()).unwrap_or_default();
                self.metrics.destination_rests(self.kind, true);
                emit(&Event::DestinationRests { destination, pause });
            }
            Turn::Closed => {
                self.metrics.destination_rests(self.kind, false);
                emit(&Event::DestinationAnswers { destination });
            }
        }
        None
    }
}

/// One attempt at one letter.
struct Attempt<'a> {
    letter: &'a Letter,
    client: &'a Client,
    memory: &'a Arc<Memory>,
    settings: &'a DeliverySettings,
    metrics: &'a Metrics,
    /// The pause after it, should it fail.
    pause: Duration,
}

/// What is to be sent, or what became of the letter instead.
enum Ready {
    Requests(Vec<Request>),
    Ended(LetterChange),
    /// Somebody else changed it.
    Changed,
}

impl Attempt<'_> {
    async fn make(&self) -> Verdict {
        let requests = match self.ready().await {
            Ok(Ready::Requests(requests)) => requests,
            Ok(Ready::Ended(change)) => return self.settle(change, Verdict::Unknown).await,
            Ok(Ready::Changed) => return Verdict::Unknown,
            Err(error) => {
                emit(&Event::StoreFailed { reason: &error.to_string() });
                return Verdict::StoreFailed;
            }
        };
        for (place, request) in requests.iter().enumerate().skip(self.letter.done as usize) {
            let key = if place == 0 { self.letter.key.clone() } else { format!("{}-{}", self.letter.key, place + 1) };
            match self.client.send(request, &key).await {
                Ok(()) if place + 1 < requests.len() => {
                    let done = u32::try_from(place + 1).unwrap_or(u32::MAX);
                    if !self.change(&LetterChange::Progressed { done }).await {
                        return Verdict::Answered;
                    }
                }
                Ok(()) => {}
                Err(failure) => {
                    let (change, verdict) = self.failed(failure.reason, failure.sort);
                    return self.settle(change, verdict).await;
                }
            }
        }
        self.settle(LetterChange::Delivered { at: clock::wall() }, Verdict::Answered).await
    }

    /// What is stored to be sent, or else made now and stored before anything is sent.
    async fn ready(&self) -> Result<Ready, MemoryError> {
        let (letter, at) = (self.letter, clock::wall());
        let died = |reason: String| Ready::Ended(LetterChange::Died { attempts: letter.attempts, at, reason });
        if let Some(content) = &letter.content {
            let requests = postcard::from_bytes(content).map(Ready::Requests);
            return Ok(requests.unwrap_or_else(|_| died("what was to be sent is not as it was written".to_owned())));
        }
        let ticket = match ticket(self.client.kind(), &letter.conversation, letter.ticket.as_deref()) {
            Ok(ticket) => ticket,
            Err(reason) => {
                return Ok(Ready::Ended(LetterChange::Unaddressed { ticket: letter.ticket.clone(), at, reason }));
            }
        };
        let package = match self.memory.package(&letter.conversation).await {
            Ok(packaged) => packaged.package,
            // Deleted or erased.
            Err(MemoryError::NotFound(_) | MemoryError::Refused(_)) => return Ok(Ready::Ended(LetterChange::Removed)),
            Err(error @ (MemoryError::Store(_) | MemoryError::Closed | MemoryError::Expired)) => return Err(error),
            Err(error) => return Ok(died(format!("the package cannot be made: {error}"))),
        };
        let requests = match requests(self.client.destination(), &self.settings.notes, &package, letter, ticket) {
            Ok(requests) => requests,
            Err(fault) => return Ok(died(format!("the note cannot be written: notes.{fault}"))),
        };
        let content = postcard::to_stdvec(&requests).expect("plain values in memory are written without fail");
        // Where it is not taken, another ticket was linked since the letter was read, or it was erased.
        let is_taken = self.change(&LetterChange::Rendered { ticket: letter.ticket.clone(), content }).await;
        Ok(if is_taken { Ready::Requests(requests) } else { Ready::Changed })
    }

    /// What follows from a failure, for the letter and for the destination.
    fn failed(&self, reason: String, sort: FailureSort) -> (LetterChange, Verdict) {
        let (letter, at) = (self.letter, clock::wall());
        let attempts = letter.attempts.saturating_add(1);
        match sort {
            FailureSort::Later(asked) => {
                let change = match given_up(letter, attempts, at, self.settings) {
                    Some(why) => LetterChange::Died { attempts, at, reason: format!("{why}; last: {reason}") },
                    None => {
                        let next_at = at.plus(self.pause.max(asked.unwrap_or_default()));
                        LetterChange::Postponed { attempts, next_at, reason }
                    }
                };
                (change, Verdict::Failed(asked))
            }
            FailureSort::NotFound if self.client.kind().has_tickets() => {
                let reason = format!("{reason}: the helpdesk has no such ticket; LinkTicket says which it is");
                (LetterChange::Unaddressed { ticket: letter.ticket.clone(), at, reason }, Verdict::Answered)
            }
            FailureSort::NotFound | FailureSort::Refused => (LetterChange::Died { attempts, at, reason }, Verdict::Answered),
        }
    }

    /// Writes down what became of the letter in the end, and tells it.
    async fn settle(&self, change: LetterChange, verdict: Verdict) -> Verdict {
        if self.change(&change).await {
            self.tell(&change);
        }
        verdict
    }

    /// Writes down what became of the letter; whether it was still there as it was read. Where the disk takes nothing it waits, and the letter with it: to forget
    /// what was sent would be to send it again.
    async fn change(&self, change: &LetterChange) -> bool {
        let mut is_told = false;
        loop {
            match self.memory.change_letter(self.letter, change.clone()).await {
                Ok(()) => return true,
                Err(error) if error.is_conflict() => return false,
                Err(error) if !is_told => {
                    is_told = true;
                    emit(&Event::StoreFailed { reason: &error.to_string() });
                }
                Err(_) => {}
            }
            tokio::time::sleep(STORE_PAUSE).await;
        }
    }

    fn tell(&self, change: &LetterChange) {
        let (destination, key) = (self.client.kind().as_str(), self.letter.key.as_str());
        let count = |attempted| self.metrics.attempted(self.client.kind(), attempted);
        match change {
            LetterChange::Delivered { .. } => {
                count(Attempted::Delivered);
                emit(&Event::LetterDelivered { destination, key, attempts: self.letter.attempts + 1 });
            }
            LetterChange::Postponed { attempts, next_at, reason } => {
                count(Attempted::Postponed);
                let pause = next_at.since(clock::wall());
                emit(&Event::LetterPostponed { destination, key, attempts: *attempts, pause, reason });
            }
            LetterChange::Died { attempts, reason, .. } => {
                count(Attempted::Dead);
                emit(&Event::LetterDied { destination, key, attempts: *attempts, reason });
            }
            LetterChange::Unaddressed { reason, .. } => {
                count(Attempted::Dead);
                emit(&Event::LetterDied { destination, key, attempts: self.letter.attempts, reason });
            }
            LetterChange::Rendered { .. } | LetterChange::Progressed { .. } | LetterChange::Removed => {}
        }
    }
}

/// Why a letter that failed is not tried again.
fn given_up(letter: &Letter, attempts: u32, now: Timestamp, settings: &DeliverySettings) -> Option<String> {
    if attempts >= settings.attempts_max {
        return Some(format!("given up after {attempts} attempts"));
    }
    let tried = now.since(letter.since);
    (tried >= settings.age_max).then(|| format!("given up after {} s", tried.as_secs()))
}
