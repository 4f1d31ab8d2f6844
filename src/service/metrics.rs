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
    GetInfo,
}

/// How an item ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(missing_docs, reason = "each is the gRPC code of that name")]
pub enum Code {
    Ok,
    InvalidArgument,
    ResourceExhausted,
    DeadlineExceeded,
    Unavailable,
    Internal,
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
        registry.register("serving", "1 while health is SERVING", metrics.serving.clone());
        for rpc in [Rpc::Score, Rpc::ScoreBatch, Rpc::ScoreStream] {
            for code in
                [Code::Ok, Code::InvalidArgument, Code::ResourceExhausted, Code::DeadlineExceeded, Code::Unavailable, Code::Internal]
            {
                drop(metrics.items.get_or_create(&ItemLabels { rpc, code }));
            }
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
