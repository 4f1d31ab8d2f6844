//! Messages → signals under load: a bounded queue, batches by token budget, one worker a core.
//!
//! The path of a message: a cached or running twin answers it ([`cache`]); else it is tokenised on the caller's task, admitted or refused, waits in the
//! queue of its class, is taken into a batch of near lengths, scored by one worker from start to end, and answered with the time spent in each stage.
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | tokens waiting ([`Limits::queue_tokens_max`]; bulk may fill half) | refused at once, with a hint when to try again |
//! | predicted wait against the caller's deadline | refused at once, the same way |
//! | deadline passed, caller gone | dropped before it is scored |
//! | cache bytes | the least useful entries go |
//!
//! A batch that fails is scored again one by one, so that one message fails alone. A worker that panics loses its batch only: the messages in it fail, the
//! worker is replaced, and [`Scheduler::worker_panics`] tells. Nothing here awaits under a lock.
//! The next step of a message is [`crate::model::scorer`].

pub mod cache;
mod queue;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::cache::{Cache, Key};
use self::queue::{Batch, Entry, Queue};
use super::clock;
use super::metrics::{Metrics, Stage};
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

/// The queue and the workers behind it.
pub struct Scheduler {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    scorer: Arc<Scorer>,
    limits: Limits,
    metrics: Arc<Metrics>,
    queue: Mutex<Queue>,
    /// Woken when the queue gets work or closes.
    work: Condvar,
    cache: Cache,
    panics: AtomicU64,
    /// Tokens a second over all workers, as the bits of an `f64`.
    throughput: AtomicU64,
}

impl Scheduler {
    /// Starts the workers.
    pub fn start(scorer: Arc<Scorer>, limits: Limits, metrics: Arc<Metrics>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Mutex::new(Queue::new(limits)),
            work: Condvar::new(),
            cache: Cache::new(limits.cache_bytes_max),
            panics: AtomicU64::new(0),
            throughput: AtomicU64::new(THROUGHPUT_START.to_bits()),
            scorer,
            limits,
            metrics,
        });
        let spawn = |number: usize| {
            let shared = Arc::clone(&shared);
            thread::Builder::new().name(format!("baton-worker-{number}")).spawn(move || shared.work_until_closed())
        };
        let workers = (0..limits.workers.max(1)).map(spawn).collect::<std::io::Result<_>>()?;
        Ok(Self { shared, workers: Mutex::new(workers) })
    }

    /// The model behind it.
    pub fn scorer(&self) -> &Scorer {
        &self.shared.scorer
    }

    /// What it accepts.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// How often a worker panicked since the start.
    pub fn worker_panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Scores one message; dropping the future gives the message up.
    pub async fn score(&self, request: Request) -> Answer {
        let key = cache::key(&request.text, request.proposal.as_deref());
        if let Some(signals) = self.shared.cache.get(&key) {
            self.shared.metrics.cache_hits.inc();
            return Ok(Scored { signals, timing: Timing { cached: true, ..Timing::default() } });
        }
        let lane = cache::lane_key(key, request.class);
        let waiting = {
            let (sender, receiver) = oneshot::channel();
            let joined = self.shared.lock().join(&lane, queue::Waiter { sender, deadline: request.deadline, twin: true });
            if joined.map_err(|what| self.shared.overloaded(what))? { Some(receiver) } else { None }
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
        self.shared.lock().room_for(class, 1).map_err(|what| self.shared.overloaded(what))?;
        let started = clock::now();
        let scorer = Arc::clone(&self.shared.scorer);
        let prepare = move || scorer.prepare(ScoreInput { text: &text, proposal: proposal.as_deref() });
        let prepared = if bytes <= INLINE_BYTES_MAX {
            prepare()
        } else {
            tokio::task::spawn_blocking(prepare).await.map_err(|_| InferenceError::WorkerLost)?
        };
        let tokenise = started.elapsed();
        self.shared.metrics.observe(Stage::Tokenise, tokenise);
        self.shared.enqueue(key, prepared, class, deadline, tokenise)
    }

    /// Takes nothing more; what waits is still scored.
    pub fn close(&self) {
        self.shared.lock().close();
        self.shared.work.notify_all();
    }

    /// Gives up what still waits, and waits for the workers to finish their batches.
    pub fn stop(&self) {
        self.shared.lock().abandon();
        self.close();
        let workers = std::mem::take(&mut *self.workers.lock().expect("nobody panics while holding the list of workers"));
        for worker in workers {
            // A worker catches its own panics; there is nothing left to do about one that died all the same.
            drop(worker.join());
        }
    }
}

impl Shared {
    /// A poisoned queue is whole: nothing panics while it is being changed.
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
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
        let mut queue = self.lock();
        queue.room_for(class, cost).map_err(|what| self.overloaded(what))?;
        let wait = self.predicted_wait(queue.tokens_ahead(class) + cost);
        if deadline.is_some_and(|deadline| now + wait > deadline) {
            let left = deadline.map_or(Duration::ZERO, |deadline| deadline.saturating_duration_since(now));
            let what = format!("the wait would be {} ms, the deadline leaves {} ms", wait.as_millis(), left.as_millis());
            return Err(self.overloaded(what));
        }
        let waiter = queue::Waiter { sender, deadline, twin: false };
        queue.push(Entry { key, prepared, cost, class, enqueued: now, tokenise }, waiter);
        self.metrics.queue_tokens.set(queue.tokens() as i64);
        drop(queue);
        self.work.notify_one();
        Ok(receiver)
    }

    fn overloaded(&self, what: String) -> InferenceError {
        if what == queue::CLOSED {
            return InferenceError::Closed;
        }
        let retry_after = self.predicted_wait(self.limits.queue_tokens_max / 4).max(RETRY_AFTER_MIN);
        InferenceError::Overloaded { what, retry_after }
    }

    fn predicted_wait(&self, tokens: usize) -> Duration {
        Duration::from_secs_f64(tokens as f64 / f64::from_bits(self.throughput.load(Ordering::Relaxed)))
    }

    /// The life of a worker, which a panic restarts.
    fn work_until_closed(&self) {
        while catch_unwind(AssertUnwindSafe(|| self.work())).is_err() {
            self.panics.fetch_add(1, Ordering::Relaxed);
            self.metrics.worker_panics.inc();
        }
    }

    fn work(&self) {
        // The engine's products run in a pool of this one thread: one batch a core, no barrier.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("one more thread can be started");
        while let Some(batch) = self.next_batch() {
            let keys: Vec<Key> = batch.entries.iter().map(|entry| entry.key).collect();
            let mut lost = Lost { shared: self, keys };
            pool.install(|| self.run(batch));
            lost.keys.clear();
        }
    }

    fn next_batch(&self) -> Option<Batch> {
        let mut queue = self.lock();
        loop {
            let batch = queue.take(clock::now());
            self.metrics.queue_tokens.set(queue.tokens() as i64);
            self.metrics.expired.inc_by(batch.dropped as u64);
            if !batch.entries.is_empty() {
                return Some(batch);
            }
            if queue.is_closed() && queue.is_empty() {
                return None;
            }
            if queue.is_empty() {
                queue = self.work.wait(queue).unwrap_or_else(std::sync::PoisonError::into_inner);
            }
        }
    }

    fn run(&self, batch: Batch) {
        let started = clock::now();
        let inputs: Vec<&Prepared> = batch.entries.iter().map(|entry| &entry.prepared).collect();
        let results: Vec<Result<Signals, String>> = match self.scorer.score_prepared(&inputs) {
            Ok(signals) => signals.into_iter().map(Ok).collect(),
            // One message may have spoilt the batch: each gets a try of its own.
            Err(error) if inputs.len() > 1 => {
                self.metrics.batch_retries.inc();
                drop(error);
                inputs.iter().map(|input| self.score_one(input)).collect()
            }
            Err(error) => vec![Err(error.to_string())],
        };
        let inference = started.elapsed();
        self.learn_throughput(&batch, inference);
        self.metrics.observe(Stage::Inference, inference);
        self.metrics.batch_fill.observe(batch.tokens() as f64 / self.limits.batch_tokens_max as f64);
        let batch_messages = batch.entries.len();
        for (entry, result) in batch.entries.into_iter().zip(results) {
            let queue = started.saturating_duration_since(entry.enqueued);
            self.metrics.observe(Stage::Queue, queue);
            let timing = Timing { queue, tokenise: entry.tokenise, inference, batch_messages, cached: false };
            self.answer(&entry, result, timing);
        }
    }

    fn score_one(&self, input: &Prepared) -> Result<Signals, String> {
        self.scorer.score_prepared(&[input]).map(|mut signals| signals.remove(0)).map_err(|error| error.to_string())
    }

    fn answer(&self, entry: &Entry, result: Result<Signals, String>, timing: Timing) {
        let result = result.map(Arc::new).map_err(InferenceError::Failed);
        if let Ok(signals) = &result {
            // The lane's key of a bulk message gives the text's key back.
            self.cache.put(cache::lane_key(entry.key, entry.class), Arc::clone(signals));
        }
        for waiter in self.lock().finish(&entry.key) {
            let timing = Timing { cached: waiter.twin, ..timing };
            // A caller that left does not want its answer.
            drop(waiter.sender.send(result.clone().map(|signals| Scored { signals, timing })));
        }
    }

    fn learn_throughput(&self, batch: &Batch, inference: Duration) {
        let now = batch.tokens() as f64 * self.limits.workers as f64 / inference.as_secs_f64().max(1e-6);
        let old = f64::from_bits(self.throughput.load(Ordering::Relaxed));
        let mean = old + THROUGHPUT_WEIGHT * (now - old);
        // Two workers may overwrite each other's step; a running mean does not mind.
        self.throughput.store(mean.to_bits(), Ordering::Relaxed);
    }
}

/// Fails the messages of a batch whose worker panicked; emptied when the batch was answered.
struct Lost<'a> {
    shared: &'a Shared,
    keys: Vec<Key>,
}

impl Drop for Lost<'_> {
    fn drop(&mut self) {
        for key in &self.keys {
            for waiter in self.shared.lock().finish(key) {
                drop(waiter.sender.send(Err(InferenceError::WorkerLost)));
            }
        }
    }
}
