//! The only place that reads a clock.

use std::time::{Duration, Instant};

/// Now, on the clock that never goes backwards.
#[expect(clippy::disallowed_methods, reason = "this is the one reader of a clock")]
pub fn now() -> Instant {
    Instant::now()
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
