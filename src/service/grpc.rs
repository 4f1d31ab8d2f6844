//! The services of the contract: each handler converts, calls, and converts back.

pub mod admin;
pub mod conversation;
pub mod handoff;
pub mod routing;
pub mod scoring;
mod stream;

use std::time::{Duration, Instant};

use tonic::Status;
use tonic::metadata::MetadataMap;

use super::clock;
use super::pb;
use super::status::retry_after_ms;

/// The end of `grpc-timeout`, if there is one that can be read: up to eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    };
    // tonic keeps the same time-out, began a moment earlier and would end the call as CANCELLED: ours ends before, by a twentieth, 1 to 5 ms.
    let margin = (timeout / 20).clamp(Duration::from_millis(1), Duration::from_millis(5)).min(timeout / 2);
    clock::now().checked_add(timeout - margin)
}

/// Why one item has no answer.
fn item_error(status: &Status) -> pb::ItemError {
    pb::ItemError { code: status.code() as i32, message: status.message().to_owned(), retry_after_ms: retry_after_ms(status) }
}
