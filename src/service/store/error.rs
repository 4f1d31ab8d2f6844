//! What can go wrong in the store, by what the caller does about it. Never holds anything of what is stored.

use std::error::Error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rusqlite::ErrorCode;

/// What the caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// The queue is full: later.
    Full,
    /// The disk is full or does not answer, or the store is closed. Nothing of the write is there; later it may be taken.
    Unavailable,
    /// A newer program wrote the store.
    Newer,
    /// The files are not what this program wrote.
    Damaged,
    /// Another process serves the folder.
    Locked,
    /// The write does not follow what is stored: the caller's state is stale.
    Conflict,
    /// A bug of ours.
    Internal,
}

/// Why the store did not do what was asked. All that waited for one commit get the same error.
#[derive(Clone, Debug)]
pub struct StoreError {
    kind: StoreErrorKind,
    what: String,
    source: Option<Arc<dyn Error + Send + Sync>>,
}

impl StoreError {
    pub(super) fn new(kind: StoreErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    pub(super) fn conflict(what: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Conflict, what)
    }

    pub(super) fn damaged(what: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Damaged, what)
    }

    pub(super) fn closed() -> Self {
        Self::new(StoreErrorKind::Unavailable, "the store is closed")
    }

    /// A file could not be used.
    pub(super) fn io(doing: impl Into<String>, error: io::Error) -> Self {
        Self { kind: StoreErrorKind::Unavailable, what: doing.into(), source: Some(Arc::new(error)) }
    }

    /// SQLite did not do it.
    pub(super) fn sqlite(doing: &str, error: rusqlite::Error) -> Self {
        Self { kind: kind_of(&error), what: doing.to_owned(), source: Some(Arc::new(error)) }
    }

    /// What the caller does about it.
    pub fn kind(&self) -> StoreErrorKind {
        self.kind
    }
}

fn kind_of(error: &rusqlite::Error) -> StoreErrorKind {
    use rusqlite::Error as E;
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreErrorKind::Damaged,
        Some(
            ErrorCode::DiskFull
            | ErrorCode::SystemIoFailure
            | ErrorCode::CannotOpen
            | ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::DatabaseBusy
            | ErrorCode::DatabaseLocked
            | ErrorCode::OutOfMemory,
        ) => StoreErrorKind::Unavailable,
        Some(_) => StoreErrorKind::Internal,
        // What was read is not what this program writes.
        None if matches!(error, E::FromSqlConversionFailure(..) | E::IntegralValueOutOfRange(..) | E::InvalidColumnType(..)) => {
            StoreErrorKind::Damaged
        }
        None => StoreErrorKind::Internal,
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for StoreError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
