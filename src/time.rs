//! Points in time, as values. There is no clock here: whoever decides is told what time it is.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A point in time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Timestamp(i64);

/// The last point in time, the last day but one of 9999: the time library keeps room for every zone.
const MILLIS_MAX: i64 = 253_402_207_199_999;

impl Timestamp {
    /// From milliseconds since the epoch; `None` before 1970 and after 9999.
    pub fn from_millis(millis: i64) -> Option<Self> {
        (0..=MILLIS_MAX).contains(&millis).then_some(Self(millis))
    }

    /// From RFC 3339, such as `2026-11-22T09:30:00Z`; `None` where it is none, or before 1970.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_millis(text.parse::<jiff::Timestamp>().ok()?.as_millisecond())
    }

    /// Milliseconds since the epoch.
    pub fn millis(self) -> i64 {
        self.0
    }

    /// Later by a span; stays within the year 9999.
    pub fn plus(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap_or(MILLIS_MAX);
        Self(self.0.saturating_add(span).min(MILLIS_MAX))
    }

    /// Earlier by a span; stays in 1970 or after.
    pub fn minus(self, span: Duration) -> Self {
        let span = i64::try_from(span.as_millis()).unwrap_or(MILLIS_MAX);
        Self(self.0.saturating_sub(span).max(0))
    }

    /// Time since an earlier point; zero where it is not earlier.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0 - earlier.0).unwrap_or(0))
    }
}

impl TryFrom<i64> for Timestamp {
    type Error = String;

    fn try_from(millis: i64) -> Result<Self, String> {
        Self::from_millis(millis).ok_or_else(|| format!("found {millis} ms, expected 0 to {MILLIS_MAX}"))
    }
}

impl From<Timestamp> for i64 {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = jiff::Timestamp::from_millisecond(self.0).expect("every point in time of ours is one of jiff's");
        at.fmt(f)
    }
}

/// A span as people write it in a file: a whole number and one of s, m, h, d. `None` where it is none, or more than ten years.
pub fn parse_span(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().ok()?;
    let secs = match unit {
        's' => number,
        'm' => number.checked_mul(60)?,
        'h' => number.checked_mul(3600)?,
        'd' => number.checked_mul(24 * 3600)?,
        _ => return None,
    };
    (secs <= 10 * 365 * 24 * 3600).then(|| Duration::from_secs(secs))
}

/// A span in words, in the largest unit that divides it: `30 days`, `1 hour`.
pub fn in_words(span: Duration) -> String {
    let secs = span.as_secs();
    let units = [(24 * 3600, "day"), (3600, "hour"), (60, "minute"), (1, "second")];
    let (size, unit) = units.into_iter().find(|(size, _)| secs >= *size && secs.is_multiple_of(*size)).unwrap_or((1, "second"));
    let count = secs / size;
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timestamp_reads_what_it_shows() {
        for text in ["2026-11-22T09:30:00Z", "1970-01-01T00:00:00Z", "9999-12-30T21:59:59Z", "2026-02-28T23:59:59.123Z"] {
            let at = Timestamp::parse(text).unwrap();
            assert_eq!(at.to_string(), text);
            assert_eq!(Timestamp::parse(&at.to_string()), Some(at));
        }
        assert_eq!(Timestamp::parse("2026-11-22T10:30:00+01:00"), Timestamp::parse("2026-11-22T09:30:00Z"));
        for wrong in ["", "yesterday", "2026-11-22", "1969-12-31T23:59:59Z", "2026-13-01T00:00:00Z"] {
            assert_eq!(Timestamp::parse(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_ends_of_time_hold() {
        let (first, last) = (Timestamp::default(), Timestamp::from_millis(MILLIS_MAX).unwrap());
        assert_eq!(last.plus(Duration::MAX), last);
        assert_eq!(first.minus(Duration::MAX), first);
        assert_eq!(first.since(last), Duration::ZERO);
        assert_eq!(Timestamp::from_millis(MILLIS_MAX + 1), None);
        assert!(last.to_string().starts_with("9999-12-30"));
    }

    #[test]
    fn spans_are_read_and_told() {
        for (text, secs, words) in
            [("30d", 2_592_000, "30 days"), ("1h", 3600, "1 hour"), ("90m", 5400, "90 minutes"), ("45s", 45, "45 seconds")]
        {
            let span = parse_span(text).unwrap();
            assert_eq!((span.as_secs(), in_words(span).as_str()), (secs, words));
        }
        for wrong in ["", "d", "3", "-1d", "1.5h", "99999999999999d", "3 d", "3w", "3ä"] {
            assert_eq!(parse_span(wrong), None, "{wrong}");
        }
    }
}
