//! The only table from what went wrong to a gRPC code.
//!
//! | what | code |
//! |---|---|
//! | a field missing, empty, too long or out of range | INVALID_ARGUMENT, naming the field |
//! | queue full, wait longer than the deadline | RESOURCE_EXHAUSTED, with `retry-after-ms` in the metadata |
//! | the caller's deadline passed | DEADLINE_EXCEEDED |
//! | draining | UNAVAILABLE |
//! | the model failed, a worker died | INTERNAL |

use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use super::inference::InferenceError;
use super::metrics;

/// Key of the retry hint in the metadata of a status.
pub const RETRY_AFTER: &str = "retry-after-ms";

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

/// The retry hint of a status, in milliseconds.
pub fn retry_after_ms(status: &Status) -> Option<u64> {
    status.metadata().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// The code under which an item is counted.
pub fn counted(code: Code) -> metrics::Code {
    match code {
        Code::Ok => metrics::Code::Ok,
        Code::InvalidArgument => metrics::Code::InvalidArgument,
        Code::ResourceExhausted => metrics::Code::ResourceExhausted,
        Code::DeadlineExceeded => metrics::Code::DeadlineExceeded,
        Code::Unavailable => metrics::Code::Unavailable,
        _ => metrics::Code::Internal,
    }
}
