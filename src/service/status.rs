//! The only table from what went wrong to a gRPC code.
//!
//! | what | code |
//! |---|---|
//! | a field missing, empty, too long or out of range | INVALID_ARGUMENT, naming the field |
//! | a gap in the sequence | FAILED_PRECONDITION, with `expected-sequence` in the metadata |
//! | something that does not go with what is known, a policy or a model that fails its proof | FAILED_PRECONDITION |
//! | a change of the models while another one is under way | ABORTED |
//! | a claim on a reply by who may not speak, or of another epoch | ABORTED, with `owner` and `epoch` in the metadata |
//! | other content under a known id | ALREADY_EXISTS |
//! | an id, or the name of a model, that is not known | NOT_FOUND |
//! | queue full, wait longer than the deadline, too much waits for the disk | RESOURCE_EXHAUSTED, with `retry-after-ms` in the metadata |
//! | the caller's deadline passed | DEADLINE_EXCEEDED |
//! | draining, the disk full or silent | UNAVAILABLE |
//! | what is stored does not lead to what was decided, a damaged file | DATA_LOSS |
//! | the model failed, a worker died | INTERNAL |

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::inference::InferenceError;
use super::memory::MemoryError;
use super::metrics;
use super::models::{ChangeError, ChoiceError};
use super::store::{StoreError, StoreErrorKind};

/// Key of the retry hint in the metadata of a status.
pub const RETRY_AFTER: &str = "retry-after-ms";

/// Key of the expected sequence in the metadata of a status.
pub const EXPECTED_SEQUENCE: &str = "expected-sequence";
/// Keys of the present owner (`bot`, `nobody`, `person`) and epoch in the metadata of a status.
pub const OWNER: &str = "owner";
/// See [`OWNER`].
pub const EPOCH: &str = "epoch";
/// When to try again where too much waits for the disk: some commits later.
const STORE_RETRY_MS: u64 = 50;

/// Why a request cannot be taken: the field, and what is wrong with it. Never holds the customer's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadField {
    /// Path of the field, such as `items[3].text`.
    pub field: String,
    /// What was found and what was expected.
    pub what: String,
}

impl BadField {
    /// From the path and the words.
    pub fn new(field: impl Into<String>, what: impl Into<String>) -> Self {
        Self { field: field.into(), what: what.into() }
    }
}

impl From<BadField> for Status {
    fn from(bad: BadField) -> Self {
        Self::invalid_argument(format!("{}: {}", bad.field, bad.what))
    }
}

impl From<InferenceError> for Status {
    fn from(error: InferenceError) -> Self {
        match error {
            InferenceError::Overloaded { what, retry_after } => {
                let mut status = Self::resource_exhausted(format!("overloaded: {what}; try again in {} ms", retry_after.as_millis()));
                let millis = u64::try_from(retry_after.as_millis()).unwrap_or(u64::MAX);
                status.metadata_mut().insert(RETRY_AFTER, MetadataValue::from(millis));
                status
            }
            InferenceError::Expired => Self::deadline_exceeded("the deadline passed before the message was scored"),
            InferenceError::Closed => Self::unavailable("the server is draining"),
            InferenceError::Failed(what) => Self::internal(format!("the model failed: {what}")),
            InferenceError::WorkerLost => Self::internal("the worker that scored this message died; it was replaced"),
        }
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        match error.kind() {
            StoreErrorKind::Full => {
                let mut status = Self::resource_exhausted(format!("overloaded: {error}; try again in {STORE_RETRY_MS} ms"));
                status.metadata_mut().insert(RETRY_AFTER, MetadataValue::from(STORE_RETRY_MS));
                status
            }
            StoreErrorKind::Unavailable | StoreErrorKind::Locked => Self::unavailable(format!("{error}; nothing was changed")),
            StoreErrorKind::Damaged | StoreErrorKind::Newer => Self::data_loss(error.to_string()),
            StoreErrorKind::Conflict => Self::aborted(format!("{error}; try again")),
            StoreErrorKind::Internal => Self::internal(error.to_string()),
        }
    }
}

impl From<MemoryError> for Status {
    fn from(error: MemoryError) -> Self {
        let what = error.to_string();
        match error {
            MemoryError::Bad(field) => field.into(),
            MemoryError::Gap { expected, .. } => {
                let mut status = Self::failed_precondition(what);
                status.metadata_mut().insert(EXPECTED_SEQUENCE, MetadataValue::from(expected));
                status
            }
            MemoryError::Stale { owner, epoch, .. } => {
                let owner = owner.as_str();
                let mut status = Self::aborted(format!("{what}; the owner is {owner}, epoch {epoch}"));
                status.metadata_mut().insert(OWNER, MetadataValue::from_static(owner));
                status.metadata_mut().insert(EPOCH, MetadataValue::from(epoch));
                status
            }
            MemoryError::AlreadyExists(_) => Self::already_exists(what),
            MemoryError::NotFound(_) => Self::not_found(what),
            MemoryError::Refused(_) | MemoryError::Policy(_) => Self::failed_precondition(what),
            MemoryError::Store(error) => error.into(),
            MemoryError::Broken(_) => Self::data_loss(what),
            MemoryError::Expired => Self::deadline_exceeded(what),
            MemoryError::Closed => Self::unavailable(what),
            MemoryError::Internal(_) => Self::internal(what),
        }
    }
}

impl From<ChoiceError> for Status {
    fn from(error: ChoiceError) -> Self {
        match error {
            ChoiceError::Unknown(bad) => Self::not_found(format!("{}: {}", bad.field, bad.what)),
            ChoiceError::ScoresOnly(bad) => Self::failed_precondition(format!("{}: {}", bad.field, bad.what)),
        }
    }
}

impl From<ChangeError> for Status {
    fn from(error: ChangeError) -> Self {
        let what = error.to_string();
        match error {
            ChangeError::Bad(field) => field.into(),
            ChangeError::NotFound(_) => Self::not_found(what),
            ChangeError::AlreadyExists(_) => Self::already_exists(what),
            ChangeError::Refused(_) => Self::failed_precondition(what),
            ChangeError::Busy => Self::aborted(what),
            ChangeError::Closed => Self::unavailable(what),
            ChangeError::Internal(_) => Self::internal(what),
        }
    }
}

/// The expected sequence of a status.
pub fn expected_sequence(status: &Status) -> Option<u32> {
    status.metadata().get(EXPECTED_SEQUENCE)?.to_str().ok()?.parse().ok()
}

/// The retry hint of a status, in milliseconds.
pub fn retry_after_ms(status: &Status) -> Option<u64> {
    status.metadata().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// The code under which an item is counted.
pub fn counted(code: Code) -> metrics::Code {
    match code {
        Code::Ok => metrics::Code::Ok,
        Code::InvalidArgument => metrics::Code::InvalidArgument,
        Code::NotFound => metrics::Code::NotFound,
        Code::AlreadyExists => metrics::Code::AlreadyExists,
        Code::FailedPrecondition => metrics::Code::FailedPrecondition,
        Code::DataLoss => metrics::Code::DataLoss,
        Code::ResourceExhausted => metrics::Code::ResourceExhausted,
        Code::DeadlineExceeded => metrics::Code::DeadlineExceeded,
        Code::Unavailable => metrics::Code::Unavailable,
        Code::Aborted => metrics::Code::Aborted,
        _ => metrics::Code::Internal,
    }
}
