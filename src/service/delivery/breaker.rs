//! When a destination rests: after some failures in a row nothing is sent for a while, then one letter tries for all.
//!
//! ```text
//! closed ── failures in a row ──► open ── its pause is over ──► half open: one request
//!    ▲                             ▲                                │
//!    └────────── success ──────────┼──────────────── success ───────┤
//!                                  └──────────────── failure ───────┘
//! ```
//!
//! A destination that asks for a pause gets it in the same way, whatever came before. `now` is an argument.

use std::time::{Duration, Instant};

/// Whether a destination is sent to.
#[derive(Clone, Debug)]
pub struct Breaker {
    failures_max: u32,
    pause: Duration,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// It answers; so many failures came in a row.
    Closed { failures: u32 },
    /// It rests until then, and is half open from then on.
    Open { until: Instant },
}

/// What an ended request changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Nothing.
    Same,
    /// The destination rests from now on.
    Opened,
    /// The destination is sent to again.
    Closed,
}

impl Breaker {
    /// Opens after so many failures in a row, for so long.
    pub fn new(failures_max: u32, pause: Duration) -> Self {
        Self { failures_max, pause, state: State::Closed { failures: 0 } }
    }

    /// How many more requests may begin, of `most` at a time.
    pub fn room(&self, now: Instant, under_way: usize, most: usize) -> usize {
        match self.state {
            State::Closed { .. } => most.saturating_sub(under_way),
            State::Open { until } if now < until => 0,
            State::Open { .. } => 1usize.saturating_sub(under_way),
        }
    }

    /// How long nothing may begin; `None` where something may.
    pub fn rests(&self, now: Instant) -> Option<Duration> {
        match self.state {
            State::Open { until } if now < until => Some(until - now),
            State::Open { .. } | State::Closed { .. } => None,
        }
    }

    /// Somebody who may know better wants it tried now.
    pub fn hurry(&mut self, now: Instant) {
        if let State::Open { until } = &mut self.state {
            *until = now.min(*until);
        }
    }

    /// The destination did its part, be it that it refused a letter.
    pub fn succeeded(&mut self) -> Turn {
        match std::mem::replace(&mut self.state, State::Closed { failures: 0 }) {
            State::Closed { .. } => Turn::Same,
            State::Open { .. } => Turn::Closed,
        }
    }

    /// The destination did not answer as it should; `asked` is the pause that it asked for.
    pub fn failed(&mut self, now: Instant, asked: Option<Duration>) -> Turn {
        let (failures, resting) = match self.state {
            State::Closed { failures } => (failures.saturating_add(1), None),
            // Of those that were under way when it opened; only the one that tried it out opens it anew.
            State::Open { until } if now < until => (0, Some(until)),
            State::Open { .. } => (self.failures_max, None),
        };
        let own = (failures >= self.failures_max).then(|| now + self.pause);
        match own.max(asked.map(|pause| now + pause)).max(resting) {
            Some(until) => {
                self.state = State::Open { until };
                if resting.is_some() { Turn::Same } else { Turn::Opened }
            }
            None => {
                self.state = State::Closed { failures };
                Turn::Same
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::clock;

    const PAUSE: Duration = Duration::from_secs(30);
    const MOST: usize = 4;

    #[test]
    fn it_opens_after_failures_in_a_row_and_lets_one_try() {
        let begin = clock::now();
        let at = |secs| begin + Duration::from_secs(secs);
        let mut breaker = Breaker::new(3, PAUSE);
        assert_eq!([breaker.failed(at(0), None), breaker.failed(at(0), None), breaker.succeeded()], [Turn::Same; 3]);
        assert_eq!([breaker.failed(at(1), None), breaker.failed(at(1), None)], [Turn::Same; 2], "a success counts from the start");
        assert_eq!((breaker.room(at(1), 1, MOST), breaker.rests(at(1))), (3, None));
        assert_eq!(breaker.failed(at(1), None), Turn::Opened);
        assert_eq!((breaker.room(at(30), 0, MOST), breaker.rests(at(30))), (0, Some(Duration::from_secs(1))));
        assert_eq!(breaker.failed(at(20), None), Turn::Same, "a late failure does not make the pause longer");
        assert_eq!((breaker.room(at(31), 0, MOST), breaker.room(at(31), 1, MOST), breaker.rests(at(31))), (1, 0, None));
        assert_eq!(breaker.failed(at(31), None), Turn::Opened, "the one that tried failed");
        assert_eq!((breaker.room(at(60), 0, MOST), breaker.room(at(61), 0, MOST)), (0, 1));
        assert_eq!(breaker.succeeded(), Turn::Closed);
        assert_eq!(breaker.room(at(61), 0, MOST), MOST);
    }

    #[test]
    fn a_pause_that_is_asked_for_holds_everything() {
        let begin = clock::now();
        let at = |secs| begin + Duration::from_secs(secs);
        let mut breaker = Breaker::new(3, PAUSE);
        assert_eq!(breaker.failed(at(0), Some(Duration::from_secs(7))), Turn::Opened);
        assert_eq!((breaker.room(at(6), 0, MOST), breaker.room(at(7), 0, MOST)), (0, 1));
        assert_eq!(breaker.failed(at(3), Some(Duration::from_secs(10))), Turn::Same);
        assert_eq!((breaker.room(at(12), 0, MOST), breaker.room(at(13), 0, MOST)), (0, 1), "the longer of two holds");
        breaker.hurry(at(4));
        assert_eq!((breaker.room(at(4), 0, MOST), breaker.room(at(4), 1, MOST)), (1, 0), "an operator does not wait, and one tries");
        assert_eq!(breaker.succeeded(), Turn::Closed);
    }
}
