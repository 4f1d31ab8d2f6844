//! The only place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::time::Timestamp;

/// Now, on the clock that never goes backwards.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of a clock")]
pub fn now() -> Instant {
    Instant::now()
}

/// Now, as people tell the time; it may be set back.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of a clock")]
pub fn wall() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since)
}

/// A running measurement of elapsed time.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(now())
    }

    /// Time since the start.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
