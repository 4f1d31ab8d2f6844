//! Every log line as one typed event: names and fields in one list. No customer text is ever a field.
//!
//! Logs go to stderr, as text for people or as JSON lines for machines.

use std::io::IsTerminal;
use std::time::Duration;

use tracing::{Level, error, info, warn};

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One line of text an event.
    Text,
    /// One JSON object an event.
    Json,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event<'a> {
    /// A model package was loaded and proved its parity.
    ModelLoaded {
        /// Name and version of the package.
        name: &'a str,
        /// Its digest.
        digest: &'a str,
        /// Engine and device.
        engine: &'a str,
        /// Time it took.
        elapsed: Duration,
    },
    /// A model took the place of another.
    ModelExchanged {
        /// By which requests name it.
        name: &'a str,
        /// Digest of the package that serves.
        digest: &'a str,
        /// Digest of the one before.
        before: &'a str,
    },
    /// A model, or what it had replaced, goes.
    ModelUnloaded {
        /// By which requests named it.
        name: &'a str,
    },
    /// A change of the models was not done; everything serves as before.
    ModelRefused {
        /// Of which model.
        name: &'a str,
        /// Why.
        reason: &'a str,
    },
    /// A policy proved itself and serves.
    PolicyProved {
        /// The first digits of its digest.
        digest: &'a str,
        /// Scenarios that it passed.
        scenarios: u64,
        /// Whether a proof was at hand, so that nothing was played.
        by_file: bool,
        /// Time it took.
        elapsed: Duration,
    },
    /// The policy was read again and decides from now on.
    PolicyReloaded {
        /// The first digits of its digest.
        digest: &'a str,
        /// Those of the policy before.
        before: &'a str,
        /// Scenarios that it passed.
        scenarios: u64,
        /// Whether a proof was at hand, so that nothing was played.
        by_file: bool,
    },
    /// The policy was read again and did not prove itself; the old one goes on.
    PolicyRefused {
        /// Why.
        reason: &'a str,
    },
    /// The store is open.
    StoreOpened {
        /// Its folder.
        folder: &'a str,
        /// Time it took.
        elapsed: Duration,
    },
    /// Idle conversations were closed, old ones deleted, and letters that ended.
    Swept {
        /// Conversations that were closed.
        closed: u64,
        /// Conversations that were deleted.
        deleted: u64,
        /// Customers who were deleted.
        customers_deleted: u64,
        /// Letters that were deleted.
        letters_deleted: u64,
    },
    /// A letter arrived.
    LetterDelivered {
        /// Where.
        destination: &'a str,
        /// Its key.
        key: &'a str,
        /// Attempts that it took.
        attempts: u32,
    },
    /// A letter did not arrive and is tried again.
    LetterPostponed {
        /// Where.
        destination: &'a str,
        /// Its key.
        key: &'a str,
        /// Attempts so far.
        attempts: u32,
        /// Time until the next.
        pause: Duration,
        /// Why; nothing that was sent or answered.
        reason: &'a str,
    },
    /// A letter is given up: `baton outbox` lists it.
    LetterDied {
        /// Where.
        destination: &'a str,
        /// Its key.
        key: &'a str,
        /// Attempts so far.
        attempts: u32,
        /// Why; nothing that was sent or answered.
        reason: &'a str,
    },
    /// A destination failed too often, or asked for a pause: nothing is sent to it for a while.
    DestinationRests {
        /// Which.
        destination: &'a str,
        /// How long.
        pause: Duration,
    },
    /// A destination that rested answers.
    DestinationAnswers {
        /// Which.
        destination: &'a str,
    },
    /// A message to a customer that nobody acknowledged in time is sent again: an alarm.
    EffectOverdue {
        /// Its place in the feed.
        place: u64,
    },
    /// Handoffs could not be routed; it is tried again in a moment.
    RoutingFailed {
        /// Why.
        reason: &'a str,
    },
    /// The store did not let itself be swept or closed.
    StoreFailed {
        /// Why.
        reason: &'a str,
    },
    /// A file was scored to its end.
    FileScored {
        /// Rows with signals.
        rows: u64,
        /// Rows with an error in their place.
        rows_failed: u64,
        /// Time it took.
        elapsed: Duration,
    },
    /// Features of training texts were taken from the cache or computed.
    FeaturesReady {
        /// Texts found in the cache.
        cached: u64,
        /// Texts that were computed.
        computed: u64,
        /// Time it took.
        elapsed: Duration,
    },
    /// A head was fitted.
    HeadFitted {
        /// Its name.
        head: &'a str,
        /// Its rows.
        rows: u64,
        /// Its labels.
        labels: u64,
        /// Chosen strength of L2, as C.
        inverse_l2: f64,
        /// Calibrated log loss of held-out rows.
        held_out_log_loss: f64,
        /// Time it took.
        elapsed: Duration,
    },
    /// Health is SERVING.
    Serving {
        /// Where the server listens.
        address: &'a str,
    },
    /// A worker panicked and was replaced; health is NOT_SERVING until a canary was scored.
    WorkerReplaced {
        /// Panics since the start.
        panics: u64,
    },
    /// New work is refused, accepted work is finished.
    Draining,
    /// The drain ended at its deadline although clients held connections open.
    DrainTimedOut,
    /// The end of the cache file was damaged and cut off.
    CacheCut {
        /// Bytes that were cut.
        bytes: u64,
    },
}

/// Sets up logging for the process; a second call changes nothing.
pub fn start(format: LogFormat, level: Level) {
    let builder = tracing_subscriber::fmt().with_max_level(level).with_writer(std::io::stderr).with_target(false);
    // An error means that a subscriber is set already, which is what was asked for.
    let _ = match format {
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).without_time().try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
}

/// Writes an event.
pub fn emit(event: &Event<'_>) {
    match event {
        Event::ModelLoaded { name, digest, engine, elapsed } => {
            info!(event = "model_loaded", model = name, digest, engine, elapsed_ms = millis(*elapsed));
        }
        Event::ModelExchanged { name, digest, before } => info!(event = "model_exchanged", model = name, digest, before),
        Event::ModelUnloaded { name } => info!(event = "model_unloaded", model = name),
        Event::ModelRefused { name, reason } => error!(event = "model_refused", model = name, reason),
        Event::PolicyProved { digest, scenarios, by_file, elapsed } => {
            info!(event = "policy_proved", digest, scenarios, by_file, elapsed_ms = millis(*elapsed));
        }
        Event::PolicyReloaded { digest, before, scenarios, by_file } => {
            info!(event = "policy_reloaded", digest, before, scenarios, by_file);
        }
        Event::PolicyRefused { reason } => error!(event = "policy_refused", reason),
        Event::StoreOpened { folder, elapsed } => info!(event = "store_opened", folder, elapsed_ms = millis(*elapsed)),
        Event::Swept { closed, deleted, customers_deleted, letters_deleted } => {
            info!(event = "swept", closed, deleted, customers_deleted, letters_deleted);
        }
        Event::LetterDelivered { destination, key, attempts } => info!(event = "letter_delivered", destination, key, attempts),
        Event::LetterPostponed { destination, key, attempts, pause, reason } => {
            warn!(event = "letter_postponed", destination, key, attempts, pause_ms = millis(*pause), reason);
        }
        Event::LetterDied { destination, key, attempts, reason } => error!(event = "letter_died", destination, key, attempts, reason),
        Event::DestinationRests { destination, pause } => warn!(event = "destination_rests", destination, pause_ms = millis(*pause)),
        Event::DestinationAnswers { destination } => info!(event = "destination_answers", destination),
        Event::EffectOverdue { place } => error!(event = "effect_overdue", place),
        Event::RoutingFailed { reason } => error!(event = "routing_failed", reason),
        Event::StoreFailed { reason } => error!(event = "store_failed", reason),
        Event::FileScored { rows, rows_failed, elapsed } => {
            info!(event = "file_scored", rows, rows_failed, elapsed_ms = millis(*elapsed));
        }
        Event::FeaturesReady { cached, computed, elapsed } => {
            info!(event = "features_ready", cached, computed, elapsed_ms = millis(*elapsed));
        }
        Event::HeadFitted { head, rows, labels, inverse_l2, held_out_log_loss, elapsed } => {
            info!(event = "head_fitted", head, rows, labels, inverse_l2, held_out_log_loss, elapsed_ms = millis(*elapsed));
        }
        Event::Serving { address } => info!(event = "serving", address),
        Event::WorkerReplaced { panics } => error!(event = "worker_replaced", panics),
        Event::Draining => info!(event = "draining"),
        Event::DrainTimedOut => warn!(event = "drain_timed_out"),
        Event::CacheCut { bytes } => warn!(event = "cache_cut", bytes),
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}
