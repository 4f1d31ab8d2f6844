//! Every metric: names, units and labels in one list, for Prometheus.
//!
//! Counters end in `_total`, times are in seconds. Labels come from closed sets; customer text is never one. All series are there from the start.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use super::store::Progress;
use crate::handoff::decision::Action;
use crate::handoff::observation::Unscored;

/// Stages of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Stage {
    /// Waiting for a worker.
    Queue,
    /// Text to tokens.
    Tokenise,
    /// A batch in the model.
    Inference,
}

/// RPCs of this server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is the RPC of that name")]
pub enum Rpc {
    Score,
    ScoreBatch,
    ScoreStream,
    Observe,
    ObserveStream,
    RecordEvent,
    PutFacts,
    CloseConversation,
    RecordSatisfaction,
    GetConversation,
    ExplainDecision,
    EraseCustomer,
    ReloadPolicy,
    GetHandoff,
    GetPackage,
    RenderNote,
    RenderMessage,
}

impl Rpc {
    const ALL: [Self; 17] = [
        Self::Score,
        Self::ScoreBatch,
        Self::ScoreStream,
        Self::Observe,
        Self::ObserveStream,
        Self::RecordEvent,
        Self::PutFacts,
        Self::CloseConversation,
        Self::RecordSatisfaction,
        Self::GetConversation,
        Self::ExplainDecision,
        Self::EraseCustomer,
        Self::ReloadPolicy,
        Self::GetHandoff,
        Self::GetPackage,
        Self::RenderNote,
        Self::RenderMessage,
    ];
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is the gRPC code of that name")]
pub enum Code {
    Ok,
    InvalidArgument,
    NotFound,
    AlreadyExists,
    FailedPrecondition,
    ResourceExhausted,
    DeadlineExceeded,
    Unavailable,
    DataLoss,
    Internal,
}

impl Code {
    const ALL: [Self; 10] = [
        Self::Ok,
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::FailedPrecondition,
        Self::ResourceExhausted,
        Self::DeadlineExceeded,
        Self::Unavailable,
        Self::DataLoss,
        Self::Internal,
    ];
}

/// Labels of `baton_decisions`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    action: &'static str,
}

/// Labels of `baton_unscored`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UnscoredLabels {
    reason: &'static str,
}

/// Labels of `baton_items`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ItemLabels {
    /// Which RPC brought it.
    pub rpc: Rpc,
    /// How it ended.
    pub code: Code,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StageLabels {
    stage: Stage,
}

/// The metrics of one server.
pub struct Metrics {
    registry: Registry,
    items: Family<ItemLabels, Counter>,
    stages: Family<StageLabels, Histogram>,
    decisions: Family<DecisionLabels, Counter>,
    unscored: Family<UnscoredLabels, Counter>,
    store_queue_bytes: Gauge,
    store_commits: Counter,
    store_writes: Counter,
    store_failed: Counter,
    /// Messages answered from the cache.
    pub cache_hits: Counter,
    /// Messages dropped before they were scored, since nobody waited any more.
    pub expired: Counter,
    /// Batches that failed and were scored one by one.
    pub batch_retries: Counter,
    /// Workers that panicked and were replaced.
    pub worker_panics: Counter,
    /// Tokens that wait.
    pub queue_tokens: Gauge,
    /// Open streams.
    pub streams: Gauge,
    /// Share of the token budget that a batch used.
    pub batch_fill: Histogram,
    /// 1 while health is SERVING.
    pub serving: Gauge<u64, AtomicU64>,
}

impl Metrics {
    /// All series, at zero.
    pub fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("baton");
        let items: Family<ItemLabels, Counter> = Family::default();
        let seconds = || Histogram::new(exponential_buckets(0.000_05, 2.0, 18));
        let stages: Family<StageLabels, Histogram> = Family::new_with_constructor(seconds);
        let metrics = Self {
            cache_hits: Counter::default(),
            expired: Counter::default(),
            batch_retries: Counter::default(),
            worker_panics: Counter::default(),
            queue_tokens: Gauge::default(),
            streams: Gauge::default(),
            batch_fill: Histogram::new((1..=10).map(|tenth| f64::from(tenth) / 10.0)),
            serving: Gauge::default(),
            decisions: Family::default(),
            unscored: Family::default(),
            store_queue_bytes: Gauge::default(),
            store_commits: Counter::default(),
            store_writes: Counter::default(),
            store_failed: Counter::default(),
            items: items.clone(),
            stages: stages.clone(),
            registry: Registry::default(),
        };
        registry.register("items", "Messages by RPC and by how they ended", items);
        registry.register_with_unit("stage", "Time of one message, or for inference of one batch, by stage", Unit::Seconds, stages);
        registry.register("cache_hits", "Messages answered from the cache", metrics.cache_hits.clone());
        registry.register("expired", "Messages dropped before they were scored, since nobody waited any more", metrics.expired.clone());
        registry.register("batch_retries", "Batches that failed and were scored one by one", metrics.batch_retries.clone());
        registry.register("worker_panics", "Workers that panicked and were replaced", metrics.worker_panics.clone());
        registry.register("queue_tokens", "Tokens that wait", metrics.queue_tokens.clone());
        registry.register("streams", "Open streams", metrics.streams.clone());
        registry.register("batch_fill_ratio", "Share of the token budget that a batch used", metrics.batch_fill.clone());
        registry.register("decisions", "Decisions by action", metrics.decisions.clone());
        registry.register("unscored", "Messages that were decided on without signals, by reason", metrics.unscored.clone());
        registry.register("store_queue_bytes", "Bytes that wait for the disk", metrics.store_queue_bytes.clone());
        registry.register("store_commits", "Commits, each one sync", metrics.store_commits.clone());
        registry.register("store_writes", "Writes that are durable", metrics.store_writes.clone());
        registry.register("store_failed", "Writes that failed with their commit", metrics.store_failed.clone());
        registry.register("serving", "1 while health is SERVING", metrics.serving.clone());
        for rpc in Rpc::ALL {
            for code in Code::ALL {
                drop(metrics.items.get_or_create(&ItemLabels { rpc, code }));
            }
        }
        for action in [Action::None, Action::Attempt, Action::Resolved, Action::HandOver] {
            drop(metrics.decisions.get_or_create(&DecisionLabels { action: action.as_str() }));
        }
        for reason in [Unscored::Failed, Unscored::Late] {
            drop(metrics.unscored.get_or_create(&UnscoredLabels { reason: reason.as_str() }));
        }
        for stage in [Stage::Queue, Stage::Tokenise, Stage::Inference] {
            drop(metrics.stages.get_or_create(&StageLabels { stage }));
        }
        Arc::new(Self { registry, ..metrics })
    }

    /// A message took this long in a stage.
    pub fn observe(&self, stage: Stage, elapsed: Duration) {
        self.stages.get_or_create(&StageLabels { stage }).observe(elapsed.as_secs_f64());
    }

    /// An input was decided on, and is durable.
    pub fn decided(&self, action: Action) {
        self.decisions.get_or_create(&DecisionLabels { action: action.as_str() }).inc();
    }

    /// A message has no signals.
    pub fn unscored(&self, reason: Unscored) {
        self.unscored.get_or_create(&UnscoredLabels { reason: reason.as_str() }).inc();
    }

    /// What the store did so far; counters follow it.
    pub fn store(&self, progress: Progress) {
        let follow = |counter: &Counter, total: u64| {
            counter.inc_by(total.saturating_sub(counter.get()));
        };
        self.store_queue_bytes.set(i64::try_from(progress.queue_bytes).unwrap_or(i64::MAX));
        follow(&self.store_commits, progress.commits);
        follow(&self.store_writes, progress.writes);
        follow(&self.store_failed, progress.failed);
    }

    /// A message ended.
    pub fn item(&self, rpc: Rpc, code: Code) {
        self.items.get_or_create(&ItemLabels { rpc, code }).inc();
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
