//! What time does to conversations: idle ones are closed, old ones deleted.

use super::{Memory, MemoryError};
use crate::service::store::StoreErrorKind;
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
}

impl Memory {
    /// Closes what is idle and deletes what is old.
    pub async fn sweep(&self, now: Timestamp) -> Result<Swept, MemoryError> {
        let mut swept = Swept::default();
        if let Some(idle) = self.settings.idle_close {
            let since = now.minus(idle);
            loop {
                let ids = self.reading(move |store, _| Ok(store.idle(since, IDLE_BATCH)?)).await?;
                let mut closed = 0;
                for id in &ids {
                    match self.close_idle(id, since).await {
                        Ok(at) => closed += u64::from(at.is_some()),
                        // One that is broken or was just deleted does not keep the others open.
                        Err(MemoryError::Store(error)) if error.kind() != StoreErrorKind::Damaged => return Err(error.into()),
                        Err(_) => {}
                    }
                }
                swept.closed += closed;
                if closed == 0 || ids.len() < IDLE_BATCH {
                    break;
                }
            }
        }
        if let Some(retention) = self.settings.retention {
            let before = now.minus(retention);
            swept.deleted = drain(|| self.store.delete_closed(before)).await?;
            swept.customers_deleted = drain(|| self.store.delete_customers(before)).await?;
        }
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
