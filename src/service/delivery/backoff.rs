//! When to try again: exponential back-off with full jitter, and what a destination itself asks for.
//!
//! The pause before the next attempt is drawn evenly from zero to a bound that doubles with each attempt, so that letters that failed together do not come back
//! together (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

use jiff::fmt::rfc2822::DateTimeParser;

use crate::random::Random;
use crate::time::Timestamp;

/// Base and cap of the pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The bound of the first pause.
    pub base: Duration,
    /// The highest bound.
    pub cap: Duration,
}

impl Backoff {
    /// The bound of the pause after so many attempts.
    pub fn bound(&self, attempts: u32) -> Duration {
        let factor = 2u32.checked_pow(attempts.saturating_sub(1)).unwrap_or(u32::MAX);
        self.base.saturating_mul(factor).min(self.cap)
    }

    /// The pause after so many attempts.
    pub fn pause(&self, attempts: u32, random: &mut Random) -> Duration {
        self.bound(attempts).mul_f64(random.unit())
    }
}

/// The pause that a `Retry-After` asks for, in seconds or as a date; at most `most`. `None` where it is neither.
pub fn retry_after(value: &str, now: Timestamp, most: Duration) -> Option<Duration> {
    let value = value.trim();
    if let Ok(secs) = value.parse::<u64>() {
        return Some(Duration::from_secs(secs).min(most));
    }
    // More seconds than a number holds are many.
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(most);
    }
    let date = DateTimeParser::new().parse_timestamp(value).ok()?;
    let at = Timestamp::from_millis(date.as_millisecond())?;
    Some(at.since(now).min(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_double_up_to_the_cap_and_never_overflow() {
        let backoff = Backoff { base: Duration::from_millis(500), cap: Duration::from_secs(60) };
        let cases = [(0, 500), (1, 500), (2, 1_000), (3, 2_000), (7, 32_000), (8, 60_000), (33, 60_000), (u32::MAX, 60_000)];
        for (attempts, millis) in cases {
            assert_eq!(backoff.bound(attempts), Duration::from_millis(millis), "after {attempts}");
        }
        let endless = Backoff { base: Duration::MAX, cap: Duration::MAX };
        assert_eq!(endless.bound(9), Duration::MAX);
    }

    #[test]
    fn pauses_fill_the_whole_of_their_bound_and_a_seed_gives_the_same_ones() {
        let backoff = Backoff { base: Duration::from_secs(1), cap: Duration::from_secs(8) };
        let draw = |seed| -> Vec<Duration> {
            let mut random = Random::new(seed);
            (0..1000).map(|_| backoff.pause(4, &mut random)).collect()
        };
        let pauses = draw(7);
        assert_eq!(pauses, draw(7));
        assert!(pauses.iter().all(|pause| *pause < Duration::from_secs(8)));
        for eighth in 0..8 {
            let within = |pause: &&Duration| pause.as_secs() == eighth;
            let count = pauses.iter().filter(within).count();
            assert!((80..170).contains(&count), "{count} pauses of 1000 in second {eighth}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_capped() {
        let now = Timestamp::parse("2026-11-22T09:30:00Z").unwrap();
        let cases: [(&str, Option<u64>); 12] = [
            ("0", Some(0)),
            ("17", Some(17)),
            (" 17 ", Some(17)),
            ("100000", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 22 Nov 2026 09:30:30 GMT", Some(30)),
            ("Sun, 22 Nov 2026 09:29:00 GMT", Some(0)),
            ("Mon, 23 Nov 2026 09:30:00 GMT", Some(3600)),
            ("soon", None),
            ("-1", None),
            ("1.5", None),
            ("", None),
        ];
        for (value, secs) in cases {
            assert_eq!(retry_after(value, now, Duration::from_secs(3600)), secs.map(Duration::from_secs), "{value:?}");
        }
    }
}
