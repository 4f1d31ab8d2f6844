//! Why a call to the memory did not do what was asked. Nothing was changed then; never holds anything that a customer wrote.

use std::error::Error;
use std::fmt;
use std::path::Path;

use crate::handoff::conversation::Owner;
use crate::service::proving::ProvingError;
use crate::service::status::BadField;
use crate::service::store::{StoreError, StoreErrorKind};

/// Why it was not done.
#[derive(Debug)]
pub enum MemoryError {
    /// A field cannot be taken.
    Bad(BadField),
    /// A message is missing before this one.
    Gap {
        /// The sequence that comes next.
        expected: u32,
        /// The sequence of the message.
        found: u32,
    },
    /// Something else is known under this id or sequence; field and words.
    AlreadyExists(BadField),
    /// Nothing is known under this id; field and words.
    NotFound(BadField),
    /// It does not go with what is known; field and words.
    Refused(BadField),
    /// Somebody else may speak, or the conversation has gone on.
    Stale {
        /// Who may speak.
        owner: Owner,
        /// Their epoch.
        epoch: u64,
        /// What was found and what was expected.
        what: String,
    },
    /// The policy did not prove itself.
    Policy(ProvingError),
    /// The store did not take or give it.
    Store(StoreError),
    /// What is stored does not lead to what was decided.
    Broken(String),
    /// The caller's deadline passed before anything was done.
    Expired,
    /// The server is draining.
    Closed,
    /// A bug of ours.
    Internal(&'static str),
}

impl MemoryError {
    pub(super) fn refused(field: &str, what: impl Into<String>) -> Self {
        Self::Refused(BadField::new(field, what))
    }

    pub(super) fn io(path: &Path, error: &std::io::Error) -> Self {
        Self::Broken(format!("{}: {error}", path.display()))
    }

    /// Whether the store did not do it: then others will not get far either.
    pub(super) fn is_of_the_store(&self) -> bool {
        matches!(self, Self::Store(_))
    }

    /// Whether the cached state was stale: once more from the store.
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Store(error) if error.kind() == StoreErrorKind::Conflict)
    }
}

impl From<StoreError> for MemoryError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<BadField> for MemoryError {
    fn from(bad: BadField) -> Self {
        Self::Bad(bad)
    }
}

impl fmt::Display for MemoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(field) | Self::AlreadyExists(field) | Self::NotFound(field) | Self::Refused(field) => {
                write!(f, "{}: {}", field.field, field.what)
            }
            Self::Gap { expected, found } => write!(f, "sequence: found {found}, expected {expected}"),
            Self::Stale { what, .. } => f.write_str(what),
            Self::Policy(error) => error.fmt(f),
            Self::Store(error) => error.fmt(f),
            Self::Broken(what) => f.write_str(what),
            Self::Expired => f.write_str("the deadline passed before the call was looked at"),
            Self::Closed => f.write_str("the server is draining"),
            Self::Internal(what) => f.write_str(what),
        }
    }
}

impl Error for MemoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Policy(error) => Some(error),
            Self::Store(error) => Some(error),
            _ => None,
        }
    }
}
