//! The memory of conversations: takes what happens, lets [`step`](crate::handoff::step::step) decide, and answers only what is on the disk.
//!
//! The path of a message: its conversation's place is taken, so that one thing happens to it at a time; what is known comes from the cache or from the store;
//! a repeat is answered as before, a gap refused; the message is scored, within a bound of time; the customer is read; the policy decides; the row goes to
//! the [store](super::store), and once it is durable the answer leaves and the place is free.
//!
//! What is cached is only a copy: whatever fails after the policy decided drops it, and the next who comes reads the store. Who leaves while they wait or are
//! scored changes nothing; from the decision on, all is done to its end although the caller has left, so that no write is ever under way for a place that
//! nobody holds. Where the state was stale all the same (its customer was erased, it was deleted for its age), the store refuses the write as not following, and
//! it is done once more.
//!
//! Places of conversations are taken before that of a customer, and never two of a kind.
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | places of conversations and customers ([`MemorySettings::cached`]) | those not used for long go; they are read again when needed |
//! | messages of a conversation ([`MESSAGES_MAX`]) | refused, asking for a new conversation |
//! | what waits for the disk | the [store](super::store)'s, see there |
//! | the time that scoring may take | the decision is made without signals, and says so |
//! | events and lookups that are known again | the latest 512 of a conversation, and of a customer |

mod customers;
mod deliver;
mod edition;
mod error;
mod handoffs;
mod outbox;
mod package;
mod record;
mod replay;
mod slots;
mod sweep;
mod talk;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::edition::{Edition, Editions, Labels, labels};
pub use self::error::MemoryError;
pub use self::handoffs::{ClaimReply, Claimed, FedEffect, HandoffRecord, LANGUAGE_FACT, ListedHandoff, Routed, state_after};
pub use self::outbox::Woken;
pub use self::package::{Packaged, no_handoff};
pub use self::record::Answer;
pub use self::replay::{Broken, Explained, Replayed, replay};
pub use self::sweep::Swept;

use self::customers::Known;
use self::handoffs::Router;
use self::outbox::Outbox;
use self::slots::Slots;
use self::talk::Talk;
use super::delivery::OutboxSettings;
use super::metrics::Metrics;
use super::models::{ChoiceError, Deciding, Models};
use super::proving::{PolicyPlaces, Proved};
use super::status::BadField;
use super::store::{Limits, Progress, Row, Status, Store, StoredConversation, StoredRow};
use crate::handoff::conversation::Conversation;
use crate::handoff::input::Facts;
use crate::handoff::receipt::Digest;
use crate::message::{Id, Speaker};
use crate::signal::BasisPoints;
use crate::time::Timestamp;

/// Most messages of one conversation.
pub const MESSAGES_MAX: u32 = 100_000;
/// A snapshot is taken after so many rows.
const SNAPSHOT_EVERY: u64 = 16;
/// Messages that one call tells at most.
pub const MESSAGES_TOLD_MAX: usize = 1000;

/// How the memory is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemorySettings {
    /// The folder of the store.
    pub folder: PathBuf,
    /// Whether texts and vectors are kept; otherwise conditions on repetition and on the same issue are not known.
    pub keep_text: bool,
    /// After which time closed conversations, and customers without any, are deleted; `None`: never.
    pub retention: Option<Duration>,
    /// After which time without anything new a conversation closes itself; `None`: never.
    pub idle_close: Option<Duration>,
    /// Bytes of the database at most; `None` leaves it to the disk.
    pub bytes_max: Option<u64>,
    /// How long a message may be scored before the decision is made without signals.
    pub score_timeout: Duration,
    /// Conversations, and customers, that are held in memory.
    pub cached: usize,
    /// Who is told of handoffs.
    pub outbox: OutboxSettings,
}

/// One message.
#[derive(Clone, Debug, PartialEq)]
pub struct Observe {
    /// Its conversation.
    pub conversation: Id,
    /// Whose it is, if that is said.
    pub customer: Option<Id>,
    /// Its id.
    pub message: Id,
    /// Its place, from 1.
    pub sequence: u32,
    /// Who says it.
    pub speaker: Speaker,
    /// What is said.
    pub text: String,
    /// Bot turns: how sure the bot is.
    pub bot_confidence: Option<BasisPoints>,
    /// Bot turns: whether it offers something.
    pub proposal: bool,
    /// When, if that is said.
    pub at: Option<Timestamp>,
    /// Which model scores, if that is said.
    pub model: Option<String>,
}

/// Something that the customer did elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordEvent {
    /// Its id.
    pub id: Id,
    /// Whose it is, if that is said.
    pub customer: Option<Id>,
    /// The conversation that hears of it.
    pub conversation: Option<Id>,
    /// What sort.
    pub kind: Id,
    /// Which one.
    pub name: String,
    /// When, if that is said.
    pub at: Option<Timestamp>,
}

/// What the backend looked up.
#[derive(Clone, Debug, PartialEq)]
pub struct PutFacts {
    /// Its id.
    pub id: Id,
    /// The conversation that it is for.
    pub conversation: Id,
    /// Whose it is, if that is said.
    pub customer: Option<Id>,
    /// What is known, and why the rest is not.
    pub facts: Facts,
    /// Earlier conversations.
    pub contacts: Vec<PastContact>,
    /// When it was looked up, if that is said.
    pub fetched: Option<Timestamp>,
}

/// An earlier conversation that this server has not seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastContact {
    /// Its id.
    pub id: Id,
    /// When it began.
    pub at: Timestamp,
    /// What it was about.
    pub text: Option<String>,
    /// Whether the issue was solved.
    pub resolved: Option<bool>,
}

/// How a conversation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The issue is solved.
    Resolved,
    /// It is not.
    Unresolved,
    /// The customer left.
    Abandoned,
    /// Nothing happened for long.
    Idle,
}

impl Outcome {
    /// The word that the store keeps.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Resolved => "resolved",
            Self::Unresolved => "unresolved",
            Self::Abandoned => "abandoned",
            Self::Idle => "idle",
        }
    }

    /// From that word.
    pub fn of(word: &str) -> Option<Self> {
        [Self::Resolved, Self::Unresolved, Self::Abandoned, Self::Idle].into_iter().find(|outcome| outcome.as_str() == word)
    }

    /// What it says about the issue.
    fn resolved(self) -> Option<bool> {
        match self {
            Self::Resolved => Some(true),
            Self::Unresolved | Self::Abandoned => Some(false),
            Self::Idle => None,
        }
    }
}

/// An answer, with what is needed to tell it.
#[derive(Clone, Debug)]
pub struct Answered {
    /// The policy that decided.
    pub edition: Arc<Edition>,
    /// What was answered.
    pub answer: Answer,
    /// Digest of the receipt.
    pub receipt: Digest,
    /// Why the message has no signals, if it has none.
    pub unscored: Option<crate::handoff::observation::Unscored>,
}

/// What is known of a conversation.
#[derive(Clone, Debug)]
pub struct Told {
    /// What the store knows beside the rows.
    pub stored: StoredConversation,
    /// Its state; absent where its customer was erased.
    pub conversation: Option<Conversation>,
    /// The messages that were asked for.
    pub messages: Vec<ToldMessage>,
}

/// A message as it is stored.
#[derive(Clone, Debug)]
pub struct ToldMessage {
    /// Its row.
    pub row: StoredRow,
    /// Who said it.
    pub speaker: Speaker,
    /// What was decided.
    pub answered: Answered,
}

/// See the module.
pub struct Memory {
    store: Arc<Store>,
    editions: Arc<Editions>,
    models: Arc<Models>,
    metrics: Arc<Metrics>,
    settings: MemorySettings,
    conversations: Slots<Talk>,
    customers: Slots<Known>,
    outbox: Outbox,
    router: Arc<Router>,
}

impl Memory {
    /// Opens the store and lets a policy decide that proved itself on the default model. Blocks.
    pub fn open(
        settings: MemorySettings,
        places: PolicyPlaces,
        proved: Proved,
        models: Arc<Models>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, MemoryError> {
        let limits = Limits { file_bytes_max: settings.bytes_max, ..Limits::default() };
        let store = Arc::new(Store::open(&settings.folder, limits)?);
        let editions = Arc::new(Editions::open(&settings.folder)?);
        models.decide_by(places, Some(Arc::clone(&editions)), proved)?;
        let current = models.deciding_of("").ok_or(MemoryError::Internal("no policy decides"))?;
        let (cached, outbox) = (settings.cached, Outbox::new(&settings.outbox));
        let router = Arc::new(Router::new(&current.edition.policy));
        let memory = Self {
            store,
            editions,
            models,
            metrics,
            settings,
            conversations: Slots::new(cached),
            customers: Slots::new(cached),
            outbox,
            router,
        };
        handoffs::restore(&memory)?;
        Ok(memory)
    }

    /// The default model with its policy: for what is about no conversation.
    fn current(&self) -> Arc<Deciding> {
        self.current_of("")
    }

    /// The model of a conversation's last message with its policy, so that what is no message does not make it forget what was said; the default where that model
    /// is gone.
    fn current_of(&self, model: &str) -> Arc<Deciding> {
        Arc::new(self.models.deciding_of(model).expect("where there is a memory a policy decides with the default model"))
    }

    /// The models that score for it.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// Reads the policy again, proves it on every model, and lets it decide from the next input on; gives the digests of the new one and of the one before, and how many
    /// scenarios it passed.
    pub async fn reload(&self) -> Result<Reloaded, MemoryError> {
        let reloaded = self.models.reload().await?;
        self.router.use_policy(&self.current().edition.policy);
        Ok(reloaded)
    }

    /// What the store's writer did and what waits.
    pub fn progress(&self) -> Progress {
        self.store.progress()
    }

    /// Stores what waits and closes the store; the last that is done with it. Blocks.
    pub fn close(&self) -> Result<(), MemoryError> {
        Ok(self.store.close()?)
    }

    /// Runs what blocks on the store.
    async fn reading<T: Send + 'static>(
        &self,
        run: impl FnOnce(&Store, &Editions) -> Result<T, MemoryError> + Send + 'static,
    ) -> Result<T, MemoryError> {
        let (store, editions) = (Arc::clone(&self.store), Arc::clone(&self.editions));
        blocking(move || run(&store, &editions)).await
    }

    /// What is known of a conversation, and some of its messages.
    pub async fn get(&self, id: &Id, after: u32, messages: usize) -> Result<Told, MemoryError> {
        let slot = self.conversations.get(id);
        let mut place = slot.lock().await;
        let talk = self.talk(&mut place, id).await?;
        if !talk.exists {
            return Err(not_found());
        }
        let conversation = (!talk.erased).then(|| talk.conversation.clone());
        drop(place);
        let id = id.clone();
        self.reading(move |store, editions| {
            let stored = store.conversation(&id)?.ok_or_else(not_found)?;
            let mut told = Vec::new();
            let mut sequence = after.saturating_add(1);
            while told.len() < messages && sequence <= stored.messages {
                let Some(first) = store.message(&id, sequence)? else { break };
                let ordinal = first.ordinal;
                for row in store.rows(&id, ordinal - 1, messages - told.len())? {
                    if let Some(message) = &row.message {
                        sequence = message.sequence.saturating_add(1);
                        told.push(talk::told(editions, row)?);
                    }
                }
            }
            Ok(Told { stored, conversation, messages: told })
        })
        .await
    }

    /// Why a decision was made: at a message, or at the last input at which something was decided.
    pub async fn explain(&self, id: &Id, sequence: u32) -> Result<Explained, MemoryError> {
        let slot = self.conversations.get(id);
        // Nothing is under way while the rows are read.
        let _place = slot.lock().await;
        let id = id.clone();
        self.reading(move |store, editions| replay::explain(store, editions, &id, sequence)).await
    }
}

/// A policy that was read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// Digest of the policy that decides now.
    pub digest: Digest,
    /// Digest of the one before.
    pub before: Digest,
    /// Scenarios that it passed.
    pub scenarios: usize,
    /// Whether a proof was at hand, so that nothing was played.
    pub by_file: bool,
}

async fn blocking<T: Send + 'static>(run: impl FnOnce() -> Result<T, MemoryError> + Send + 'static) -> Result<T, MemoryError> {
    tokio::task::spawn_blocking(run).await.unwrap_or(Err(MemoryError::Internal("a thread that reads the store died")))
}

fn not_found() -> MemoryError {
    MemoryError::NotFound(BadField::new("conversation_id", "nothing is known under it"))
}

impl From<ChoiceError> for MemoryError {
    fn from(error: ChoiceError) -> Self {
        match error {
            ChoiceError::Unknown(bad) => Self::NotFound(bad),
            ChoiceError::ScoresOnly(bad) => Self::Refused(bad),
        }
    }
}

fn erased() -> MemoryError {
    MemoryError::refused("conversation_id", "its customer was erased; begin another conversation")
}

/// Waits for a place until the caller gives up.
async fn before<T>(deadline: Option<Instant>, wait: impl Future<Output = T>) -> Result<T, MemoryError> {
    match deadline {
        None => Ok(wait.await),
        Some(deadline) => tokio::time::timeout_at(deadline.into(), wait).await.map_err(|_| MemoryError::Expired),
    }
}
