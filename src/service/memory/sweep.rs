//! What time does to conversations: idle ones are closed, old ones deleted; and letters that ended.

use std::sync::Arc;

use super::{Memory, MemoryError};
use crate::service::store::{Status, StoreErrorKind};
use crate::time::Timestamp;

/// Idle conversations that are read at a time.
const IDLE_BATCH: usize = 256;

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Conversations that were closed.
    pub closed: u64,
    /// Conversations that were deleted.
    pub deleted: u64,
    /// Customers who were deleted.
    pub customers_deleted: u64,
    /// Letters that were deleted: dead ones, and marks of delivered ones.
    pub letters_deleted: u64,
}

impl Memory {
    /// Closes what is idle and deletes what is old.
    pub async fn sweep(self: &Arc<Self>, now: Timestamp) -> Result<Swept, MemoryError> {
        let mut swept = Swept::default();
        if let Some(idle) = self.settings.idle_close {
            let since = now.minus(idle);
            // Those that are passed over stay where they are; the next batch begins behind them.
            let mut passed = 0;
            loop {
                let ids = self.reading(move |store, _| Ok(store.idle(since, passed, IDLE_BATCH)?)).await?;
                if ids.is_empty() {
                    break;
                }
                for id in &ids {
                    match self.close_idle(id, since).await {
                        Ok(Some(_)) => swept.closed += 1,
                        // One that is broken or was just deleted does not keep the others open.
                        Ok(None) => passed += 1,
                        Err(MemoryError::Store(error)) if error.kind() != StoreErrorKind::Damaged => return Err(error.into()),
                        Err(_) => passed += 1,
                    }
                }
            }
        }
        if let Some(retention) = self.settings.retention {
            let before = now.minus(retention);
            swept.deleted = drain(|| self.store.delete_closed(before)).await?;
            swept.customers_deleted = drain(|| self.store.delete_customers(before)).await?;
            if swept.deleted > 0 {
                self.conversations.forget(|_, talk| talk.erased || talk.status != Status::Open).await;
            }
            if swept.customers_deleted > 0 {
                self.customers.forget(|_, _| true).await;
            }
        }
        let before = now.minus(self.settings.outbox.kept);
        swept.letters_deleted = drain(|| self.store.delete_letters(before)).await?;
        Ok(swept)
    }
}

/// Calls a deletion until it takes none.
async fn drain<F, E>(mut delete: impl FnMut() -> Result<F, E>) -> Result<u64, MemoryError>
where
    F: Future<Output = Result<u64, E>>,
    MemoryError: From<E>,
{
    let mut all = 0;
    loop {
        match delete()?.await? {
            0 => return Ok(all),
            some => all += some,
        }
    }
}
