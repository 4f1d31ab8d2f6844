//! Messages → signals under load: for each model a bounded queue and batches by token budget; for all of them one worker a core.
//!
//! The path of a message: a cached or running twin answers it ([`cache`]); else it is tokenised on the caller's task, admitted or refused, waits in the
//! queue of its model and class, is taken into a batch of near lengths, scored by one worker from start to end, and answered with the time spent in each stage.
//!
//! [`Workers`] are the threads; a [`Scheduler`] is the place of one model among them, and goes with its last owner: who scores holds it, so that what was
//! admitted is scored by the model that it was admitted to. A worker takes its next batch from the model that has had the least of the workers' time for its
//! [`Share`], so that none starves and none waits while a worker is idle ([`turns`]).
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | tokens waiting for one model ([`Limits::queue_tokens_max`]; bulk may fill half) | refused at once, with a hint when to try again |
//! | predicted wait against the caller's deadline | refused at once, the same way |
//! | deadline passed, caller gone | dropped before it is scored |
//! | cache bytes | the least useful entries go |
//!
//! A worker that has nothing to do helps one that has, where the engine can be helped ([`Team`]), until there is something to do: so a lone message has all cores.
//!
//! A batch that fails is scored again one by one, so that one message fails alone. A worker that panics loses its batch only: the messages in it fail, the
//! worker is replaced, and [`Workers::panics`] tells. Nothing here awaits under a lock.
//! The next step of a message is [`crate::model::scorer`].

pub mod cache;
mod queue;
mod turns;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::oneshot;

use self::cache::{Cache, Key};
use self::queue::{Batch, Entry, Queue};
use self::turns::Turns;
use super::clock;
use super::metrics::{Metrics, Stage};
use crate::model::encoder::int8::{MEMBERS_MAX, Team};
use crate::model::scorer::{Prepared, ScoreInput, Scorer};
use crate::signal::Signals;

/// Texts above this many bytes are tokenised on a thread that may block: 4 kB take about 2 ms.
const INLINE_BYTES_MAX: usize = 4 * 1024;
/// Weight of the newest batch in the running mean of throughput.
const THROUGHPUT_WEIGHT: f64 = 0.1;
/// Tokens a second that are assumed before the first batch; low, so that the first deadlines are not promised too much.
const THROUGHPUT_START: f64 = 2_000.0;
/// The shortest hint when to try again.
const RETRY_AFTER_MIN: Duration = Duration::from_millis(10);

/// What the scheduler accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens that wait at most.
    pub queue_tokens_max: usize,
    /// Messages that wait at most.
    pub queue_messages_max: usize,
    /// Tokens of one batch, padding included.
    pub batch_tokens_max: usize,
    /// Bytes of cached answers.
    pub cache_bytes_max: u64,
    /// Workers; each owns a batch.
    pub workers: usize,
}

impl Limits {
    /// What a model with a part of the whole accepts; of everything at least one.
    pub fn part(self, share: Share) -> Self {
        let part = |whole: usize| share.of(whole as u64).try_into().unwrap_or(usize::MAX).max(1);
        Self {
            queue_tokens_max: part(self.queue_tokens_max),
            queue_messages_max: part(self.queue_messages_max),
            cache_bytes_max: share.of(self.cache_bytes_max),
            ..self
        }
    }
}

/// A model's part of the queue, of the cache and of the workers' time, in hundredths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Share(u8);

impl Share {
    /// All of it.
    pub const ALL: Self = Self(100);

    /// 1 to 100 hundredths.
    pub fn new(hundredths: u8) -> Option<Self> {
        (1..=100).contains(&hundredths).then_some(Self(hundredths))
    }

    /// From a number between 0 and 1, to the nearest hundredth.
    pub fn of_one(part: f64) -> Option<Self> {
        let hundredths = (part * 100.0).round();
        (1.0..=100.0).contains(&hundredths).then_some(Self(hundredths as u8))
    }

    /// In hundredths.
    pub fn hundredths(self) -> u8 {
        self.0
    }

    fn of(self, whole: u64) -> u64 {
        u64::try_from(u128::from(whole) * u128::from(self.0) / 100).unwrap_or(u64::MAX)
    }
}

/// Which work goes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// Somebody waits for the answer.
    Live,
    /// Nobody waits; every [`queue::BULK_EVERY`]-th batch is bulk when there is any.
    Bulk,
}

/// A message to score.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The customer's words.
    pub text: String,
    /// The bot's last turn.
    pub proposal: Option<String>,
    /// Which work goes first.
    pub class: Class,
    /// When the caller stops waiting.
    pub deadline: Option<Instant>,
}

/// Signals with the time they took.
#[derive(Clone, Debug)]
pub struct Scored {
    /// Shared with the cache.
    pub signals: Arc<Signals>,
    /// Where the time went.
    pub timing: Timing,
}

/// Where the time of one message went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Waiting for a worker.
    pub queue: Duration,
    /// Turning the text into tokens.
    pub tokenise: Duration,
    /// In the model, for the whole batch.
    pub inference: Duration,
    /// Messages in that batch.
    pub batch_messages: usize,
    /// Whether a cached or running twin gave the answer.
    pub cached: bool,
}

/// Why a message has no signals.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InferenceError {
    /// The queue is full, or the answer would come too late.
    Overloaded {
        /// What is full, in words with numbers.
        what: String,
        /// When to try again.
        retry_after: Duration,
    },
    /// The caller's deadline passed before the message was scored.
    Expired,
    /// The server is draining.
    Closed,
    /// The model failed on this message.
    Failed(String),
    /// The worker that had this message in its batch panicked.
    WorkerLost,
}

type Answer = Result<Scored, InferenceError>;

/// The threads that score, for every model that joined them.
pub struct Workers {
    pool: Arc<Pool>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct Pool {
    metrics: Arc<Metrics>,
    queues: Mutex<Queues>,
    /// Woken when a queue gets work, a worker may be helped, or all are closed.
    work: Condvar,
    /// Whether messages wait, as it was last seen under the lock; who helps looks here.
    is_waited_for: AtomicBool,
    panics: AtomicU64,
    workers: usize,
}

/// The queues of all models.
#[derive(Default)]
struct Queues {
    lanes: Vec<Lane>,
    turns: Turns,
    last: u64,
    closed: bool,
    /// Workers that have nothing to do.
    idle: usize,
    /// Whom they may help, and how many still may.
    helped: Option<(Arc<Team>, usize)>,
}

struct Lane {
    id: u64,
    queue: Queue,
    work: Arc<Work>,
}

/// What a worker needs to score for a model.
struct Work {
    scorer: Arc<Scorer>,
    batch_tokens_max: usize,
    cache: Cache,
    /// Messages that this model scored.
    messages: Counter,
    panics: AtomicU64,
    /// Tokens a second over all workers, as the bits of an `f64`.
    throughput: AtomicU64,
}

impl Workers {
    /// Starts so many.
    pub fn start(workers: usize, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let workers = workers.max(1);
        let (queues, work, panics) = (Mutex::default(), Condvar::new(), AtomicU64::new(0));
        let pool = Arc::new(Pool { metrics, queues, work, is_waited_for: AtomicBool::new(false), panics, workers });
        let spawn = |number: usize| {
            let pool = Arc::clone(&pool);
            thread::Builder::new().name(format!("baton-worker-{number}")).spawn(move || pool.work_until_closed())
        };
        let threads = (0..workers).map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Self { pool, threads: Mutex::new(threads) })
    }

    /// How often one panicked since the start.
    pub fn panics(&self) -> u64 {
        self.pool.panics.load(Ordering::Relaxed)
    }

    /// Takes nothing more; what waits is still scored.
    pub fn close(&self) {
        let mut queues = self.pool.lock();
        queues.closed = true;
        queues.lanes.iter_mut().for_each(|lane| lane.queue.close());
        drop(queues);
        self.pool.work.notify_all();
    }

    /// Whether nothing more is taken.
    pub fn is_closed(&self) -> bool {
        self.pool.lock().closed
    }

    /// Gives up what still waits, and waits for the workers to finish their batches.
    pub fn stop(&self) {
        self.pool.lock().lanes.iter_mut().for_each(|lane| lane.queue.abandon());
        self.close();
        let threads = std::mem::take(&mut *self.threads.lock().expect("nobody panics while holding the list of workers"));
        for thread in threads {
            // A worker catches its own panics; there is nothing left to do about one that died all the same.
            drop(thread.join());
        }
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        self.close();
    }
}

/// The place of one model among the workers: its queue, its cache and its turn.
pub struct Scheduler {
    lane: u64,
    work: Arc<Work>,
    pool: Arc<Pool>,
}

impl Drop for Scheduler {
    /// Nobody waits any more: whoever does holds the scheduler.
    fn drop(&mut self) {
        let mut queues = self.pool.lock();
        queues.lanes.retain(|lane| lane.id != self.lane);
        queues.turns.leave(self.lane);
    }
}

impl Scheduler {
    /// Gives a model its place; `limits` are those of the whole, `messages` counts what it scores.
    pub fn join(workers: &Workers, scorer: Arc<Scorer>, limits: Limits, share: Share, messages: Counter) -> Self {
        let limits = limits.part(share);
        let work = Arc::new(Work {
            scorer,
            batch_tokens_max: limits.batch_tokens_max,
            cache: Cache::new(limits.cache_bytes_max),
            messages,
            panics: AtomicU64::new(0),
            throughput: AtomicU64::new(THROUGHPUT_START.to_bits()),
        });
        let mut queues = workers.pool.lock();
        queues.last += 1;
        let (id, mut queue) = (queues.last, Queue::new(limits));
        if queues.closed {
            queue.close();
        }
        queues.lanes.push(Lane { id, queue, work: Arc::clone(&work) });
        queues.turns.join(id, share);
        drop(queues);
        Self { lane: id, work, pool: Arc::clone(&workers.pool) }
    }

    /// Changes its part; what waits goes on waiting. `limits` are those of the whole.
    pub fn set_share(&self, limits: Limits, share: Share) {
        let limits = limits.part(share);
        self.work.cache.set_bytes_max(limits.cache_bytes_max);
        let mut queues = self.pool.lock();
        queues.turns.set_share(self.lane, share);
        if let Some(lane) = queues.lane(self.lane) {
            lane.queue.set_limits(limits);
        }
    }

    /// What it was given so far is not counted against its share: it only proved itself.
    pub fn begin_again(&self) {
        self.pool.lock().turns.begin_again(self.lane);
    }

    /// Gives up the answers that it keeps.
    pub fn forget(&self) {
        self.work.cache.clear();
    }

    /// The model behind it.
    pub fn scorer(&self) -> &Scorer {
        &self.work.scorer
    }

    /// Tokens that wait for it.
    pub fn tokens_waiting(&self) -> usize {
        self.pool.lock().lane(self.lane).map_or(0, |lane| lane.queue.tokens())
    }

    /// How often a worker panicked over one of its batches.
    pub fn panics(&self) -> u64 {
        self.work.panics.load(Ordering::Relaxed)
    }

    /// Scores one message; dropping the future gives the message up.
    pub async fn score(&self, request: Request) -> Answer {
        let key = cache::key(&request.text, request.proposal.as_deref());
        if let Some(signals) = self.work.cache.get(&key) {
            self.pool.metrics.cache_hits.inc();
            return Ok(Scored { signals, timing: Timing { cached: true, ..Timing::default() } });
        }
        let lane = cache::lane_key(key, request.class);
        let waiting = {
            let (sender, receiver) = oneshot::channel();
            let waiter = queue::Waiter { sender, deadline: request.deadline, twin: true };
            let joined = match self.pool.lock().lane(self.lane) {
                Some(place) => place.queue.join(&lane, waiter),
                None => return Err(InferenceError::WorkerLost),
            };
            if joined.map_err(|what| self.overloaded(what))? { Some(receiver) } else { None }
        };
        let deadline = request.deadline;
        let receiver = match waiting {
            Some(receiver) => receiver,
            None => self.admit(lane, request).await?,
        };
        let answer = async { receiver.await.unwrap_or(Err(InferenceError::WorkerLost)) };
        match deadline {
            None => answer.await,
            Some(deadline) => tokio::time::timeout_at(deadline.into(), answer).await.unwrap_or(Err(InferenceError::Expired)),
        }
    }

    /// As [`Scheduler::score`], but never from the cache: for a canary, which is to prove that the model answers.
    pub async fn score_uncached(&self, request: Request) -> Answer {
        let key = cache::key(&request.text, request.proposal.as_deref());
        let receiver = self.admit(key, request).await?;
        receiver.await.unwrap_or(Err(InferenceError::WorkerLost))
    }

    async fn admit(&self, key: Key, request: Request) -> Result<oneshot::Receiver<Answer>, InferenceError> {
        let Request { text, proposal, class, deadline } = request;
        let bytes = text.len() + proposal.as_ref().map_or(0, String::len);
        // Before the work of tokenising, which a full queue should not cost.
        self.room_for(class, 1).map_err(|what| self.overloaded(what))?;
        let started = clock::now();
        let scorer = Arc::clone(&self.work.scorer);
        let prepare = move || scorer.prepare(ScoreInput { text: &text, proposal: proposal.as_deref() });
        let prepared = if bytes <= INLINE_BYTES_MAX {
            prepare()
        } else {
            tokio::task::spawn_blocking(prepare).await.map_err(|_| InferenceError::WorkerLost)?
        };
        let tokenise = started.elapsed();
        self.pool.metrics.observe(Stage::Tokenise, tokenise);
        self.enqueue(key, prepared, class, deadline, tokenise)
    }

    fn room_for(&self, class: Class, cost: usize) -> Result<(), String> {
        self.pool.lock().lane(self.lane).map_or(Ok(()), |lane| lane.queue.room_for(class, cost))
    }

    fn enqueue(
        &self,
        key: Key,
        prepared: Prepared,
        class: Class,
        deadline: Option<Instant>,
        tokenise: Duration,
    ) -> Result<oneshot::Receiver<Answer>, InferenceError> {
        let (sender, receiver) = oneshot::channel();
        let now = clock::now();
        let cost = prepared.cost_tokens();
        let mut queues = self.pool.lock();
        let wait = queues.predicted_wait(self.lane, class, cost);
        let Some(lane) = queues.lane(self.lane) else { return Err(InferenceError::WorkerLost) };
        if let Err(what) = lane.queue.room_for(class, cost) {
            drop(queues);
            return Err(self.overloaded(what));
        }
        if deadline.is_some_and(|deadline| now + wait > deadline) {
            drop(queues);
            let left = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now));
            let what = format!("the wait would be {} ms, the deadline leaves {} ms", wait.as_millis(), left.as_millis());
            return Err(self.overloaded(what));
        }
        let waiter = queue::Waiter { sender, deadline, twin: false };
        let was_empty = lane.queue.is_empty();
        lane.queue.push(Entry { key, prepared, cost, class, enqueued: now, tokenise }, waiter);
        if was_empty {
            queues.turns.wake(self.lane);
        }
        self.pool.tell_waiting(&queues);
        drop(queues);
        self.pool.work.notify_one();
        if was_empty && self.work.scorer.can_be_helped() {
            // Who will help wakes together with the one who scores: later, much of a short pass would be over.
            self.pool.work.notify_one();
        }
        Ok(receiver)
    }

    fn overloaded(&self, what: String) -> InferenceError {
        if what == queue::CLOSED {
            return InferenceError::Closed;
        }
        let tokens_max = self.pool.lock().lane(self.lane).map_or(0, |lane| lane.queue.limits().queue_tokens_max);
        let retry_after = self.work.time_for(tokens_max / 4).max(RETRY_AFTER_MIN);
        InferenceError::Overloaded { what, retry_after }
    }
}

impl Work {
    fn throughput(&self) -> f64 {
        f64::from_bits(self.throughput.load(Ordering::Relaxed))
    }

    fn time_for(&self, tokens: usize) -> Duration {
        Duration::from_secs_f64(tokens as f64 / self.throughput())
    }

    fn score_one(&self, input: &Prepared) -> Result<Signals, String> {
        self.scorer.score_prepared(&[input]).map(|mut signals| signals.remove(0)).map_err(|error| error.to_string())
    }

    /// `workers`: batches that could have been scored at once at this speed.
    fn learn_throughput(&self, batch: &Batch, inference: Duration, workers: f64) {
        let now = batch.tokens() as f64 * workers / inference.as_secs_f64().max(1e-6);
        let old = self.throughput();
        let mean = old + THROUGHPUT_WEIGHT * (now - old);
        // Two workers may overwrite each other's step; a running mean does not mind.
        self.throughput.store(mean.to_bits(), Ordering::Relaxed);
    }
}

/// A batch with the model that it is for.
struct Taken {
    lane: u64,
    work: Arc<Work>,
    batch: Batch,
}

/// What a worker does next.
enum Next {
    /// It scores, and may be helped.
    Score(Taken, Option<Arc<Team>>),
    /// It helps another.
    Help(Arc<Team>),
    /// It ends.
    End,
}

impl Queues {
    fn lane(&mut self, id: u64) -> Option<&mut Lane> {
        self.lanes.iter_mut().find(|lane| lane.id == id)
    }

    fn tokens(&self) -> usize {
        self.lanes.iter().map(|lane| lane.queue.tokens()).sum()
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.queue.is_empty())
    }

    /// The next batch of the model whose turn it is; how many messages were dropped on the way.
    fn take(&mut self, now: Instant) -> (Option<Taken>, u64) {
        let mut dropped = 0;
        loop {
            let lanes = &self.lanes;
            let Some(id) = self.turns.next(|id| lanes.iter().any(|lane| lane.id == id && !lane.queue.is_empty())) else {
                return (None, dropped);
            };
            let Some(lane) = self.lane(id) else { return (None, dropped) };
            let batch = lane.queue.take(now);
            dropped += batch.dropped as u64;
            if !batch.entries.is_empty() {
                let work = Arc::clone(&lane.work);
                self.turns.charge(id, work.time_for(batch.tokens()));
                return (Some(Taken { lane: id, work, batch }), dropped);
            }
        }
    }

    /// Lets those who have nothing to do help with a batch, if there are any and nobody else is helped; how many may come.
    fn ask_for_help(&mut self, taken: &Taken) -> Option<(Arc<Team>, usize)> {
        if self.idle == 0 || self.helped.is_some() || !self.is_empty() || !taken.work.scorer.can_be_helped() {
            return None;
        }
        let seats = self.idle.min(MEMBERS_MAX - 1);
        let team = Arc::new(Team::default());
        self.helped = Some((Arc::clone(&team), seats));
        Some((team, seats))
    }

    /// A seat in the team that is helped, if one is free.
    fn take_seat(&mut self) -> Option<Arc<Team>> {
        let (team, seats) = self.helped.as_mut()?;
        *seats = seats.checked_sub(1)?;
        Some(Arc::clone(team))
    }

    /// How long a new message waits: for what goes before it, and for what the other models have meanwhile, which is no more than waits for them and no more
    /// than their shares give them.
    fn predicted_wait(&self, id: u64, class: Class, cost: usize) -> Duration {
        let Some(own) = self.lanes.iter().find(|lane| lane.id == id) else { return Duration::ZERO };
        let ahead = own.work.time_for(own.queue.tokens_ahead(class) + cost);
        let others = self.lanes.iter().filter(|lane| lane.id != id && !lane.queue.is_empty());
        let (waiting, share) = others.fold((Duration::ZERO, 0.0), |(waiting, share), lane| {
            (waiting + lane.work.time_for(lane.queue.tokens()), share + self.turns.share(lane.id))
        });
        ahead + waiting.min(ahead.mul_f64(share / self.turns.share(id)))
    }
}

impl Pool {
    /// A poisoned queue is whole: nothing panics while it is being changed.
    fn lock(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The life of a worker, which a panic restarts.
    fn work_until_closed(&self) {
        // The products of candle run in a pool that is this very thread: one batch a core, no barrier, and nobody else to wake.
        let threads = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread().build().expect("this thread is in no pool yet");
        while catch_unwind(AssertUnwindSafe(|| self.work(&threads))).is_err() {
            self.metrics.worker_panics.inc();
            self.panics.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn work(&self, threads: &rayon::ThreadPool) {
        loop {
            match self.next() {
                Next::End => return,
                Next::Help(team) => team.help(|| self.is_waited_for.load(Ordering::Relaxed)),
                Next::Score(Taken { lane, work, batch }, team) => {
                    let keys: Vec<Key> = batch.entries.iter().map(|entry| entry.key).collect();
                    let mut lost = Lost { pool: self, lane, work: &work, keys, helped: team.is_some() };
                    threads.install(|| self.run(lane, &work, batch, team.as_deref()));
                    lost.keys.clear();
                }
            }
        }
    }

    fn next(&self) -> Next {
        let mut queues = self.lock();
        loop {
            let (taken, dropped) = queues.take(clock::now());
            self.tell_waiting(&queues);
            self.metrics.expired.inc_by(dropped);
            if let Some(taken) = taken {
                let asked = queues.ask_for_help(&taken);
                drop(queues);
                let team = asked.map(|(team, seats)| {
                    (0..seats).for_each(|_| self.work.notify_one());
                    team
                });
                return Next::Score(taken, team);
            }
            if let Some(team) = queues.take_seat() {
                return Next::Help(team);
            }
            if queues.closed && queues.is_empty() {
                return Next::End;
            }
            queues.idle += 1;
            queues = self.work.wait(queues).unwrap_or_else(std::sync::PoisonError::into_inner);
            queues.idle -= 1;
        }
    }

    /// Says how much waits, where it is looked at without the lock.
    fn tell_waiting(&self, queues: &Queues) {
        self.metrics.queue_tokens.set(queues.tokens() as i64);
        self.is_waited_for.store(!queues.is_empty(), Ordering::Relaxed);
    }

    fn run(&self, lane: u64, work: &Work, batch: Batch, team: Option<&Team>) {
        let started = clock::now();
        let inputs: Vec<&Prepared> = batch.entries.iter().map(|entry| &entry.prepared).collect();
        let score = || work.scorer.score_prepared(&inputs);
        let scored = team.map_or_else(score, |team| team.lead(score));
        let results: Vec<Result<Signals, String>> = match scored {
            Ok(signals) => signals.into_iter().map(Ok).collect(),
            // One message may have spoilt the batch: each gets a try of its own.
            Err(error) if inputs.len() > 1 => {
                self.metrics.batch_retries.inc();
                drop(error);
                inputs.iter().map(|input| work.score_one(input)).collect()
            }
            Err(error) => vec![Err(error.to_string())],
        };
        let inference = started.elapsed();
        work.learn_throughput(&batch, inference, self.workers as f64 / (1 + team.map_or(0, Team::helpers)) as f64);
        work.messages.inc_by(batch.entries.len() as u64);
        self.metrics.observe(Stage::Inference, inference);
        self.metrics.batch_fill.observe(batch.tokens() as f64 / work.batch_tokens_max as f64);
        let batch_messages = batch.entries.len();
        for (entry, result) in batch.entries.into_iter().zip(results) {
            let queue = started.saturating_duration_since(entry.enqueued);
            self.metrics.observe(Stage::Queue, queue);
            let timing = Timing { queue, tokenise: entry.tokenise, inference, batch_messages, cached: false };
            self.answer(lane, work, &entry, result, timing);
        }
    }

    fn answer(&self, lane: u64, work: &Work, entry: &Entry, result: Result<Signals, String>, timing: Timing) {
        let result = result.map(Arc::new).map_err(InferenceError::Failed);
        if let Ok(signals) = &result {
            // The lane's key of a bulk message gives the text's key back.
            work.cache.put(cache::lane_key(entry.key, entry.class), Arc::clone(signals));
        }
        for waiter in self.finish(lane, &entry.key) {
            let timing = Timing { cached: waiter.twin, ..timing };
            // A caller that left does not want its answer.
            drop(waiter.sender.send(result.clone().map(|signals| Scored { signals, timing })));
        }
    }

    /// Everybody who waits for this text of a model, which is done; nobody where the model is gone.
    fn finish(&self, lane: u64, key: &Key) -> Vec<queue::Waiter> {
        self.lock().lane(lane).map_or_else(Vec::new, |lane| lane.queue.finish(key))
    }
}

/// Fails the messages of a batch whose worker panicked; emptied when the batch was answered. Nobody helps with it any more.
struct Lost<'a> {
    pool: &'a Pool,
    lane: u64,
    work: &'a Work,
    keys: Vec<Key>,
    helped: bool,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        if self.helped {
            self.pool.lock().helped = None;
        }
        if !self.keys.is_empty() {
            self.work.panics.fetch_add(1, Ordering::Relaxed);
        }
        for key in &self.keys {
            for waiter in self.pool.finish(self.lane, key) {
                drop(waiter.sender.send(Err(InferenceError::WorkerLost)));
            }
        }
    }
}
