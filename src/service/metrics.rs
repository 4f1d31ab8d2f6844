//! Every metric: names, units and labels in one list, for Prometheus.
//!
//! Counters end in `_total`, times are in seconds. Labels come from closed sets, or are the operator's names of models; customer text is never one. All series are
//! there from the start, those of a model from when it is loaded.

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

use super::delivery::Kind;
use super::store::{LetterCounts, Progress};
use crate::handoff::decision::Action;
use crate::handoff::lifecycle::{Life, State};
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
    LinkTicket,
    ListOutbox,
    ResendOutbox,
    ClaimReply,
    ListHandoffs,
    WatchEffects,
    AckEffect,
    Accept,
    Decline,
    Resolve,
    Return,
    Abandon,
    Suggest,
    Label,
    PutAgent,
    SetPresence,
    ListQueues,
    EstimateWait,
    ListModels,
    LoadModel,
    UnloadModel,
    PromoteModel,
    RollbackModel,
}

impl Rpc {
    const ALL: [Self; 40] = [
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
        Self::LinkTicket,
        Self::ListOutbox,
        Self::ResendOutbox,
        Self::ClaimReply,
        Self::ListHandoffs,
        Self::WatchEffects,
        Self::AckEffect,
        Self::Accept,
        Self::Decline,
        Self::Resolve,
        Self::Return,
        Self::Abandon,
        Self::Suggest,
        Self::Label,
        Self::PutAgent,
        Self::SetPresence,
        Self::ListQueues,
        Self::EstimateWait,
        Self::ListModels,
        Self::LoadModel,
        Self::UnloadModel,
        Self::PromoteModel,
        Self::RollbackModel,
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
    Aborted,
    ResourceExhausted,
    DeadlineExceeded,
    Unavailable,
    DataLoss,
    Internal,
}

impl Code {
    const ALL: [Self; 11] = [
        Self::Ok,
        Self::InvalidArgument,
        Self::NotFound,
        Self::AlreadyExists,
        Self::FailedPrecondition,
        Self::Aborted,
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

/// Labels of `baton_handoffs`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HandoffLabels {
    state: &'static str,
}

/// Labels of `baton_promises`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PromiseLabels {
    kept: &'static str,
}

/// How an attempt at a letter ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Attempted {
    /// It arrived.
    Delivered,
    /// It did not; later again.
    Postponed,
    /// It is given up.
    Dead,
}

impl Attempted {
    const ALL: [Self; 3] = [Self::Delivered, Self::Postponed, Self::Dead];

    fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Postponed => "postponed",
            Self::Dead => "dead",
        }
    }
}

/// Labels of `baton_delivery_attempts`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    destination: &'static str,
    result: &'static str,
}

/// Labels of `baton_outbox`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutboxLabels {
    destination: &'static str,
    state: &'static str,
}

/// Labels of `baton_destination_rests`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: &'static str,
}

/// A change of the models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ModelChange {
    /// A further one.
    Load,
    /// One less.
    Unload,
    /// Another package in the place of one.
    Promote,
    /// The one before again.
    RollBack,
}

impl ModelChange {
    const ALL: [Self; 4] = [Self::Load, Self::Unload, Self::Promote, Self::RollBack];

    fn as_str(self) -> &'static str {
        match self {
            Self::Load => "load",
            Self::Unload => "unload",
            Self::Promote => "promote",
            Self::RollBack => "rollback",
        }
    }
}

/// Labels of `baton_model_changes`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChangeLabels {
    change: &'static str,
    result: &'static str,
}

/// Labels of what each model has: the operator's names, of which there are few at a time; those of a model that was unloaded go with it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    model: String,
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
    attempts: Family<AttemptLabels, Counter>,
    outbox: Family<OutboxLabels, Gauge>,
    rests: Family<DestinationLabels, Gauge>,
    model_messages: Family<ModelLabels, Counter>,
    model_bytes: Family<ModelLabels, Gauge>,
    model_queue_tokens: Family<ModelLabels, Gauge>,
    model_changes: Family<ChangeLabels, Counter>,
    handoffs: Family<HandoffLabels, Counter>,
    promises: Family<PromiseLabels, Counter>,
    handoff_wait: Histogram,
    effects_open: Gauge,
    effects_overdue: Gauge,
    effects_resent: Counter,
    store_queue_bytes: Gauge,
    store_commits: Counter,
    store_writes: Counter,
    store_failed: Counter,
    /// Effects that were given up since too many waited for an acknowledgement.
    pub effects_given_up: Counter,
    /// Decisions that were only recorded.
    pub shadow_decisions: Counter,
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
            attempts: Family::default(),
            outbox: Family::default(),
            rests: Family::default(),
            model_messages: Family::default(),
            model_bytes: Family::default(),
            model_queue_tokens: Family::default(),
            model_changes: Family::default(),
            handoffs: Family::default(),
            promises: Family::default(),
            handoff_wait: Histogram::new(exponential_buckets(1.0, 2.0, 18)),
            effects_open: Gauge::default(),
            effects_overdue: Gauge::default(),
            effects_resent: Counter::default(),
            effects_given_up: Counter::default(),
            shadow_decisions: Counter::default(),
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
        registry.register("delivery_attempts", "Attempts at letters, by how they ended", metrics.attempts.clone());
        registry.register("outbox", "Letters that wait or were given up, by destination", metrics.outbox.clone());
        registry.register("destination_rests", "1 while nothing is sent to a destination since it failed", metrics.rests.clone());
        registry.register(
            "model_messages",
            "Messages that a model scored; cached answers are not among them",
            metrics.model_messages.clone(),
        );
        let bytes = metrics.model_bytes.clone();
        registry.register_with_unit("model_resident", "Weights of a model, and of what it replaced and is kept", Unit::Bytes, bytes);
        registry.register("model_queue_tokens", "Tokens that wait for a model", metrics.model_queue_tokens.clone());
        registry.register("model_changes", "Changes of the models, by how they ended", metrics.model_changes.clone());
        registry.register("handoffs", "Handoffs that came into a state", metrics.handoffs.clone());
        registry.register("promises", "Waits that ended with a person, by whether the first promise was kept", metrics.promises.clone());
        let wait = metrics.handoff_wait.clone();
        registry.register_with_unit("handoff_wait", "Time from the request to the person", Unit::Seconds, wait);
        registry.register("effects_open", "Effects that nobody has acknowledged", metrics.effects_open.clone());
        let overdue = metrics.effects_overdue.clone();
        registry.register("effects_overdue", "Messages to customers that nobody acknowledged in time: an alarm", overdue);
        registry.register("effects_resent", "Messages to customers that were sent again", metrics.effects_resent.clone());
        registry.register("effects_given_up", "Effects given up since too many waited", metrics.effects_given_up.clone());
        registry.register("shadow_decisions", "Decisions that were only recorded", metrics.shadow_decisions.clone());
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
        for state in State::ALL {
            drop(metrics.handoffs.get_or_create(&HandoffLabels { state: state.as_str() }));
        }
        for kept in ["yes", "no", "none_made"] {
            drop(metrics.promises.get_or_create(&PromiseLabels { kept }));
        }
        for kind in Kind::ALL {
            let destination = kind.as_str();
            for result in Attempted::ALL {
                drop(metrics.attempts.get_or_create(&AttemptLabels { destination, result: result.as_str() }));
            }
            for state in ["pending", "dead"] {
                drop(metrics.outbox.get_or_create(&OutboxLabels { destination, state }));
            }
            drop(metrics.rests.get_or_create(&DestinationLabels { destination }));
        }
        for change in ModelChange::ALL {
            for result in ["done", "refused"] {
                drop(metrics.model_changes.get_or_create(&ChangeLabels { change: change.as_str(), result }));
            }
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

    /// A handoff came into a state; with a person there, how long it took and whether the first promise was kept.
    pub fn handoff(&self, life: &Life) {
        self.handoffs.get_or_create(&HandoffLabels { state: life.state.as_str() }).inc();
        if let (State::Accepted, Some(accepted)) = (life.state, life.accepted) {
            let kept = life.first_promise.map(|promise| accepted <= promise.until());
            let kept = kept.map_or("none_made", |kept| if kept { "yes" } else { "no" });
            self.promises.get_or_create(&PromiseLabels { kept }).inc();
            self.handoff_wait.observe(accepted.since(life.requested).as_secs_f64());
        }
    }

    /// How the feed stands, and how many messages were sent again just now.
    pub fn feed(&self, open: usize, overdue: usize, resent: usize) {
        self.effects_open.set(i64::try_from(open).unwrap_or(i64::MAX));
        self.effects_overdue.set(i64::try_from(overdue).unwrap_or(i64::MAX));
        self.effects_resent.inc_by(resent as u64);
    }

    /// A message has no signals.
    pub fn unscored(&self, reason: Unscored) {
        self.unscored.get_or_create(&UnscoredLabels { reason: reason.as_str() }).inc();
    }

    /// An attempt at a letter ended.
    pub fn attempted(&self, kind: Kind, attempted: Attempted) {
        self.attempts.get_or_create(&AttemptLabels { destination: kind.as_str(), result: attempted.as_str() }).inc();
    }

    /// Whether nothing is sent to a destination for a while.
    pub fn destination_rests(&self, kind: Kind, rests: bool) {
        self.rests.get_or_create(&DestinationLabels { destination: kind.as_str() }).set(i64::from(rests));
    }

    /// The counter of the messages that a model scores.
    pub fn model_messages(&self, name: &str) -> Counter {
        self.model_messages.get_or_create(&ModelLabels { model: name.to_owned() }).clone()
    }

    /// What a model takes, and what waits for it.
    pub fn model(&self, name: &str, bytes: u64, tokens: usize) {
        let labels = ModelLabels { model: name.to_owned() };
        self.model_bytes.get_or_create(&labels).set(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.model_queue_tokens.get_or_create(&labels).set(i64::try_from(tokens).unwrap_or(i64::MAX));
    }

    /// A model is there no more.
    pub fn forget_model(&self, name: &str) {
        let labels = ModelLabels { model: name.to_owned() };
        self.model_messages.remove(&labels);
        self.model_bytes.remove(&labels);
        self.model_queue_tokens.remove(&labels);
    }

    /// A change of the models ended.
    pub fn model_changed(&self, change: ModelChange, done: bool) {
        let result = if done { "done" } else { "refused" };
        self.model_changes.get_or_create(&ChangeLabels { change: change.as_str(), result }).inc();
    }

    /// What stands in the outbox; a destination that is not among these has nothing there.
    pub fn outbox(&self, counts: &[LetterCounts]) {
        for kind in Kind::ALL {
            let destination = kind.as_str();
            let found = counts.iter().find(|counts| counts.destination == destination);
            let (pending, dead) = found.map_or((0, 0), |counts| (counts.pending, counts.dead));
            for (state, count) in [("pending", pending), ("dead", dead)] {
                self.outbox.get_or_create(&OutboxLabels { destination, state }).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
        }
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
