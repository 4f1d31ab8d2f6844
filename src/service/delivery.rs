//! What was decided goes out: private notes to helpdesks, and everything to a signed webhook.
//!
//! ```text
//! decision → a letter for each destination, durable with the decision's row (store)
//! letter due → rendered once, stored → request → answer → delivered | later again | dead
//! ```
//!
//! At least once: a letter leaves the outbox when its answer has come and that is on the disk, so a crash in between sends it again, with the same bytes and the
//! same key. One [`courier`] for each destination sends a few letters at a time, and those of one conversation one after the other.
//!
//! | bound | answer when it is reached |
//! |---|---|
//! | letters that wait ([`OutboxSettings::pending_max`]) | a further one is dead from its beginning: it is listed, and can be put back |
//! | attempts, and age ([`DeliverySettings`]) | the letter is dead, with the reason of the last attempt |
//! | requests at a time | the others wait |
//! | bytes of an answer that are read | the rest is not read; what counts is the status |
//! | failures in a row | the destination rests ([`breaker`]), then one letter tries |
//! | dead letters and marks of delivered ones | deleted after [`OutboxSettings::kept`] |
//!
//! Nothing of this runs where no destination is configured. Secrets are read from files or the environment when the settings are read, and are in no event, error
//! or debug text ([`Secret`]); neither is anything of a letter's content or of an answer.

pub mod backoff;
pub mod breaker;
pub mod client;
mod courier;
pub mod render;
mod secret;
pub mod webhook;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub use self::secret::Secret;

use self::backoff::Backoff;
use self::client::{Authorities, Client, ClientError, Proxy, Target};
use self::courier::Courier;
use super::memory::Memory;
use super::metrics::Metrics;
use crate::handoff::note::Options;
use crate::handoff::receipt::Digest;
use crate::message::Id;

/// A sort of destination.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// A private note on a ticket of Zendesk.
    Zendesk,
    /// A private note in a conversation of Chatwoot.
    Chatwoot,
    /// A signed event to a program of the operator.
    Webhook,
}

impl Kind {
    /// All there are.
    pub const ALL: [Self; 3] = [Self::Zendesk, Self::Chatwoot, Self::Webhook];

    /// The word that stands in the store, in results and in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Zendesk => "zendesk",
            Self::Chatwoot => "chatwoot",
            Self::Webhook => "webhook",
        }
    }

    /// Whether it has tickets, which it knows by number.
    pub fn has_tickets(self) -> bool {
        match self {
            Self::Zendesk | Self::Chatwoot => true,
            Self::Webhook => false,
        }
    }

    /// The key under which a destination knows repeats of what one decision sends it: the first half of a SHA-256.
    pub fn key(self, conversation: &Id, ordinal: u64) -> String {
        Digest::of_value(&("letter", conversation, ordinal, self.as_str())).to_string().chars().take(32).collect()
    }
}

/// How a destination is entered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// With a user's e-mail address and an API token.
    Zendesk {
        /// The user who writes the notes.
        user: String,
        /// Their token.
        token: Secret,
    },
    /// With the token of an agent or a bot.
    Chatwoot {
        /// The account, by number.
        account: u64,
        /// The token.
        token: Secret,
    },
    /// With a signature.
    Webhook {
        /// What both sides know.
        secret: Secret,
        /// What the events name as their source.
        source: String,
    },
}

/// A destination.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// Where it is.
    pub target: Target,
    /// How it is entered.
    pub access: Access,
    /// Whose certificates are believed.
    pub authorities: Authorities,
}

impl Destination {
    /// Of which sort.
    pub fn kind(&self) -> Kind {
        match self.access {
            Access::Zendesk { .. } => Kind::Zendesk,
            Access::Chatwoot { .. } => Kind::Chatwoot,
            Access::Webhook { .. } => Kind::Webhook,
        }
    }
}

/// What the memory does with letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxSettings {
    /// Where letters go; nowhere where this is empty.
    pub destinations: Vec<Kind>,
    /// Letters that wait at most.
    pub pending_max: u64,
    /// How long dead letters and marks of delivered ones are kept.
    pub kept: Duration,
}

/// How letters are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverySettings {
    /// Where to, each sort at most once.
    pub destinations: Vec<Destination>,
    /// A letter is dead after so many attempts.
    pub attempts_max: u32,
    /// A letter is dead when it was tried for this long.
    pub age_max: Duration,
    /// How long a request may take, answer included.
    pub timeout: Duration,
    /// How long a connection may take to stand.
    pub connect_timeout: Duration,
    /// Requests at a time, of each destination.
    pub concurrency: usize,
    /// When a letter is tried again.
    pub backoff: Backoff,
    /// The longest pause that a destination may ask for.
    pub retry_after_max: Duration,
    /// Failures in a row after which a destination rests.
    pub breaker_failures: u32,
    /// How long it rests.
    pub breaker_pause: Duration,
    /// Through which proxy, if any.
    pub proxy: Option<Proxy>,
    /// What goes beside the notes.
    pub notes: Options,
}

/// Why a destination cannot be served.
#[derive(Debug)]
pub struct DeliveryError {
    kind: Kind,
    source: ClientError,
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the client of {} cannot be made", self.kind.as_str())
    }
}

impl std::error::Error for DeliveryError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// The couriers at work.
pub struct Delivery {
    couriers: Vec<JoinHandle<()>>,
    stop: watch::Sender<bool>,
}

impl Delivery {
    /// Sends what is due from now on.
    pub fn start(memory: &Arc<Memory>, settings: &Arc<DeliverySettings>, metrics: &Arc<Metrics>) -> Result<Self, DeliveryError> {
        let (stop, stopped) = watch::channel(false);
        let clients = settings.destinations.iter().map(|destination| {
            let kind = destination.kind();
            Client::new(destination, settings).map_err(|source| DeliveryError { kind, source })
        });
        let clients: Vec<Client> = clients.collect::<Result<_, _>>()?;
        let couriers = clients.into_iter().map(|client| {
            let (memory, settings, metrics) = (Arc::clone(memory), Arc::clone(settings), Arc::clone(metrics));
            tokio::spawn(Courier::new(client, memory, settings, metrics).run(stopped.clone()))
        });
        Ok(Self { couriers: couriers.collect(), stop })
    }

    /// Begins nothing new from now on.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    /// Waits until what is under way has ended, and gives up what has not by then: it stays in the outbox.
    pub async fn ended(self, deadline: Instant) {
        self.stop();
        for mut courier in self.couriers {
            if tokio::time::timeout_at(deadline, &mut courier).await.is_err() {
                courier.abort();
                // It is over when its requests are dropped.
                drop(courier.await);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_of_its_letter_alone_and_never_changes() {
        let id = |text: &str| Id::new(text).unwrap();
        let key = Kind::Zendesk.key(&id("4711"), 3);
        assert_eq!(key, "6eb81bc18b40b63fae7e7343c96594d2");
        for other in [Kind::Webhook.key(&id("4711"), 3), Kind::Zendesk.key(&id("4711"), 4), Kind::Zendesk.key(&id("471"), 3)] {
            assert_ne!(key, other);
        }
    }
}
