//! Letters of decisions: which a decision brings, what becomes of them, and what a helpdesk calls a conversation. What sends them is
//! [`delivery`](crate::service::delivery).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::{Memory, MemoryError, blocking, erased, not_found};
use crate::handoff::decision::{Action, Decision};
use crate::message::Id;
use crate::service::clock;
use crate::service::delivery::render::check_ticket;
use crate::service::delivery::{Kind, OutboxSettings};
use crate::service::status::BadField;
use crate::service::store::{Letter, LetterChange, LetterCounts, NewLetter, OutboxWrite, Resend, Resent, StoreErrorKind};
use crate::time::Timestamp;

/// Where letters go, and who waits for them.
pub(super) struct Outbox {
    destinations: Vec<Waiting>,
    pending_max: u64,
}

/// Who waits for the letters of a destination.
struct Waiting {
    kind: Kind,
    waken: Notify,
    by_operator: AtomicBool,
}

/// Why somebody who waits for letters was woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Woken {
    /// Something new may be due.
    ByLetter,
    /// An operator put letters back: they do not wait for a destination that rests.
    ByOperator,
}

impl Outbox {
    pub(super) fn new(settings: &OutboxSettings) -> Self {
        let waiting = |kind: &Kind| Waiting { kind: *kind, waken: Notify::new(), by_operator: AtomicBool::new(false) };
        Self { destinations: settings.destinations.iter().map(waiting).collect(), pending_max: settings.pending_max }
    }

    /// What a decision brings.
    pub(super) fn letters(&self, conversation: &Id, ordinal: u64, decision: &Decision) -> Vec<NewLetter> {
        if decision.action != Action::HandOver {
            return Vec::new();
        }
        let letter = |waiting: &Waiting| NewLetter {
            key: waiting.kind.key(conversation, ordinal),
            destination: waiting.kind.as_str().to_owned(),
            pending_max: self.pending_max,
        };
        self.destinations.iter().map(letter).collect()
    }

    /// Something may be due.
    pub(super) fn wake(&self, why: Woken) {
        for waiting in &self.destinations {
            if why == Woken::ByOperator {
                waiting.by_operator.store(true, Ordering::Release);
            }
            waiting.waken.notify_one();
        }
    }
}

impl Memory {
    /// Waits until something may be due for a destination.
    pub async fn letters_waken(&self, kind: Kind) -> Woken {
        let Some(waiting) = self.outbox.destinations.iter().find(|waiting| waiting.kind == kind) else {
            return std::future::pending().await;
        };
        waiting.waken.notified().await;
        if waiting.by_operator.swap(false, Ordering::Acquire) { Woken::ByOperator } else { Woken::ByLetter }
    }

    /// Letters of a destination whose time has come, the longest due first, and when the next one's comes.
    pub async fn due_letters(&self, kind: Kind, now: Timestamp, limit: usize) -> Result<(Vec<Letter>, Option<Timestamp>), MemoryError> {
        self.reading(move |store, _| Ok(store.due_letters(kind.as_str(), now, limit)?)).await
    }

    /// Writes down what becomes of a letter; a conflict where it is not as it was read.
    pub async fn change_letter(&self, letter: &Letter, change: LetterChange) -> Result<(), MemoryError> {
        let write = OutboxWrite::Letter { number: letter.number, key: letter.key.clone(), change };
        Ok(self.store.append(write)?.await?)
    }

    /// At most so many letters that are not delivered, after a place.
    pub async fn open_letters(&self, after: u64, limit: usize) -> Result<Vec<Letter>, MemoryError> {
        self.reading(move |store, _| Ok(store.open_letters(after, limit)?)).await
    }

    /// How many letters wait and were given up, by destination.
    pub async fn letter_counts(&self) -> Result<Vec<LetterCounts>, MemoryError> {
        let store = Arc::clone(&self.store);
        blocking(move || Ok(store.letter_counts()?)).await
    }

    /// Puts letters back.
    pub async fn resend(&self, which: Resend) -> Result<Resent, MemoryError> {
        let resent = self.store.resend(which, clock::wall())?.await?;
        self.outbox.wake(Woken::ByOperator);
        Ok(resent)
    }

    /// Takes what the helpdesk calls a conversation; the latest counts.
    pub async fn link_ticket(&self, conversation: &Id, ticket: &str) -> Result<(), MemoryError> {
        let kinds: Vec<Kind> = self.outbox.destinations.iter().map(|waiting| waiting.kind).collect();
        check_ticket(&kinds, ticket).map_err(|what| BadField::new("ticket_id", what))?;
        let id = conversation.clone();
        let stored = self.reading(move |store, _| Ok(store.conversation(&id)?)).await?.ok_or_else(not_found)?;
        if stored.erased {
            return Err(erased());
        }
        let link = OutboxWrite::Link { conversation: conversation.clone(), ticket: ticket.to_owned(), at: clock::wall() };
        match self.store.append(link)?.await {
            Ok(()) => {}
            // Deleted or erased since it was read.
            Err(error) if error.kind() == StoreErrorKind::Conflict => return Err(not_found()),
            Err(error) => return Err(error.into()),
        }
        self.outbox.wake(Woken::ByLetter);
        Ok(())
    }
}
