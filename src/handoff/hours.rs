//! When the people of a queue work: weekly hours in a zone, holidays, and days with hours of their own.
//!
//! In: a point in time. Out: whether the queue is open then, when it opens next, and when it closes. Open is what the clock on the wall of the zone says: where
//! it is put forward over the opening, the queue opens at the jump; where it is put back over a span, the queue is open in both passes of it. A day with an
//! exception has the hours of the exception and no others, a holiday has none.
//!
//! Cannot fail: the policy's reader checks zone and spans. The zone data is compiled in, so that a policy means the same everywhere.

use std::ops::Range;

use jiff::civil::{Date, Time};
use jiff::tz::TimeZone;
use jiff::{Span, Zoned};

use crate::time::Timestamp;

/// Days that are looked ahead for the next opening: as long as the longest window of a condition.
const OPENING_DAYS_MAX: u16 = 400;
/// Days that are looked ahead for the closing: a week that never closes, and exceptions in it.
const CLOSING_DAYS_MAX: u16 = 15;
/// Minutes of a day, as spans count them: 24:00 is the end.
pub const DAY_MINUTES: u16 = 24 * 60;

/// A span of one day in minutes since midnight, without its end.
pub type MinuteSpan = (u16, u16);

/// When the people of a queue work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours {
    /// Name of the zone, such as `Europe/Berlin`.
    pub zone: String,
    /// Monday to Sunday: spans in order, none over another.
    pub week: [Vec<MinuteSpan>; 7],
    /// Days on which nobody works, as year, month, day.
    pub holidays: Vec<(i16, i8, i8)>,
    /// Days with hours of their own, each once; they go before holidays and the week.
    pub exceptions: Vec<((i16, i8, i8), Vec<MinuteSpan>)>,
}

impl Hours {
    /// Whether the queue is open.
    pub fn is_open(&self, at: Timestamp) -> bool {
        let now = self.local(at);
        let minute = u16::from(now.hour().unsigned_abs()) * 60 + u16::from(now.minute().unsigned_abs());
        self.spans(now.date()).iter().any(|(from, to)| Range { start: *from, end: *to }.contains(&minute))
    }

    /// The first moment from `at` on at which the queue is open; `None` where it stays closed for 400 days.
    pub fn next_open(&self, at: Timestamp) -> Option<Timestamp> {
        self.next(at, true, OPENING_DAYS_MAX)
    }

    /// The first moment from `at` on at which the queue is closed; `None` where it stays open for a fortnight.
    pub fn closes(&self, at: Timestamp) -> Option<Timestamp> {
        self.next(at, false, CLOSING_DAYS_MAX)
    }

    /// Hours change only at an end of a span and where the zone's clock is put forward or back: these are tried in order.
    fn next(&self, at: Timestamp, wanted: bool, days_max: u16) -> Option<Timestamp> {
        if self.is_open(at) == wanted {
            return Some(at);
        }
        let zone = self.zone();
        // From the day before on: a day of the zone may have begun twice.
        let mut date = self.local(at).date().yesterday().ok()?;
        for _ in 0..days_max + 2 {
            let mut moments = self.moments(&zone, date);
            moments.sort_unstable();
            if let Some(found) = moments.into_iter().find(|moment| *moment > at && self.is_open(*moment) == wanted) {
                return Some(found);
            }
            date = date.tomorrow().ok()?;
        }
        None
    }

    /// Every moment of a day at which the hours may change.
    fn moments(&self, zone: &TimeZone, date: Date) -> Vec<Timestamp> {
        let mut moments = Vec::new();
        for (from, to) in self.spans(date) {
            for minute in [*from, *to] {
                let Some(civil) = civil(date, minute) else { continue };
                let ambiguous = zone.to_ambiguous_timestamp(civil);
                // In a gap the two lie on either side of the jump, which is added below; in a fold both are.
                moments.extend([ambiguous.earlier(), ambiguous.later()].into_iter().flatten().filter_map(ours));
            }
        }
        if let (Ok(start), Ok(end)) = (zone.to_zoned(date.into()), date.tomorrow().and_then(|next| zone.to_zoned(next.into()))) {
            let jumps = zone.following(start.timestamp()).map(|jump| jump.timestamp()).take_while(|jump| *jump <= end.timestamp());
            moments.extend(jumps.filter_map(ours));
        }
        moments
    }

    fn spans(&self, date: Date) -> &[MinuteSpan] {
        let day = (date.year(), date.month(), date.day());
        if let Some((_, spans)) = self.exceptions.iter().find(|(other, _)| *other == day) {
            return spans;
        }
        if self.holidays.contains(&day) {
            return &[];
        }
        let weekday = usize::from(date.weekday().to_monday_zero_offset().unsigned_abs());
        &self.week[weekday]
    }

    fn local(&self, at: Timestamp) -> Zoned {
        let at = jiff::Timestamp::from_millisecond(at.millis()).expect("every point in time of ours is one of jiff's");
        at.to_zoned(self.zone())
    }

    fn zone(&self) -> TimeZone {
        TimeZone::get(&self.zone).unwrap_or(TimeZone::UTC)
    }
}

/// The time on the wall so many minutes after midnight.
fn civil(date: Date, minute: u16) -> Option<jiff::civil::DateTime> {
    date.to_datetime(Time::midnight()).checked_add(Span::new().minutes(i64::from(minute))).ok()
}

fn ours(at: jiff::Timestamp) -> Option<Timestamp> {
    Timestamp::from_millis(at.as_millisecond())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).unwrap()
    }

    /// Monday to Friday 09:00-12:30 and 13:00-18:00, Saturday over the night's end.
    fn berlin() -> Hours {
        let day = vec![(9 * 60, 12 * 60 + 30), (13 * 60, 18 * 60)];
        let saturday = vec![(22 * 60, DAY_MINUTES)];
        Hours {
            zone: "Europe/Berlin".to_owned(),
            week: [day.clone(), day.clone(), day.clone(), day.clone(), day, saturday, vec![(0, 2 * 60)]],
            holidays: vec![(2026, 12, 25)],
            exceptions: vec![((2026, 12, 24), vec![(10 * 60, 12 * 60)]), ((2026, 12, 31), Vec::new())],
        }
    }

    /// Every night from half past two to half past three, which a clock that is put forward passes over.
    fn nights(zone: &str) -> Hours {
        let night = vec![(2 * 60 + 30, 3 * 60 + 30)];
        let week = std::array::from_fn(|_| night.clone());
        Hours { zone: zone.to_owned(), week, holidays: Vec::new(), exceptions: Vec::new() }
    }

    #[test]
    fn a_day_has_its_hours_and_exceptions_go_first() {
        let hours = berlin();
        for (when, open) in [
            ("2026-11-23T07:59:59Z", false),
            ("2026-11-23T08:00:00Z", true),
            ("2026-11-23T11:29:59Z", true),
            ("2026-11-23T11:30:00Z", false),
            ("2026-11-23T12:00:00Z", true),
            ("2026-11-23T17:00:00Z", false),
            ("2026-11-28T22:59:59Z", true),
            ("2026-11-28T23:00:00Z", true),
            ("2026-11-29T01:00:00Z", false),
            ("2026-12-24T08:30:00Z", false),
            ("2026-12-24T09:30:00Z", true),
            ("2026-12-25T10:00:00Z", false),
            ("2026-12-31T10:00:00Z", false),
        ] {
            assert_eq!(hours.is_open(at(when)), open, "{when}");
        }
        for (from, opens) in [
            ("2026-11-23T08:00:00Z", "2026-11-23T08:00:00Z"),
            ("2026-11-23T11:45:00Z", "2026-11-23T12:00:00Z"),
            ("2026-11-27T17:00:00Z", "2026-11-28T21:00:00Z"),
            ("2026-12-24T11:00:00Z", "2026-12-26T21:00:00Z"),
            ("2026-12-30T17:00:00Z", "2027-01-01T08:00:00Z"),
        ] {
            assert_eq!(hours.next_open(at(from)), Some(at(opens)), "{from}");
        }
        // From Saturday's night into Sunday's without a gap.
        assert_eq!(hours.closes(at("2026-11-28T21:30:00Z")), Some(at("2026-11-29T01:00:00Z")));
        assert_eq!(hours.closes(at("2026-11-23T11:45:00Z")), Some(at("2026-11-23T11:45:00Z")), "closed already");
    }

    #[test]
    fn a_clock_that_is_put_forward_opens_at_the_jump() {
        // Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
        let hours = nights("Europe/Berlin");
        assert!(!hours.is_open(at("2026-03-29T00:59:59Z")));
        assert!(hours.is_open(at("2026-03-29T01:00:00Z")), "03:00 on the wall");
        assert_eq!(hours.next_open(at("2026-03-28T12:00:00Z")), Some(at("2026-03-29T01:00:00Z")));
        assert_eq!(hours.closes(at("2026-03-29T01:00:00Z")), Some(at("2026-03-29T01:30:00Z")));
        assert_eq!(hours.next_open(at("2026-03-29T01:30:00Z")), Some(at("2026-03-30T00:30:00Z")));
    }

    #[test]
    fn a_clock_that_is_put_back_opens_twice() {
        // Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
        let hours = nights("Europe/Berlin");
        assert_eq!(hours.next_open(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
        assert_eq!(hours.closes(at("2026-10-25T00:30:00Z")), Some(at("2026-10-25T01:00:00Z")), "the clock goes back to 02:00");
        assert_eq!(hours.next_open(at("2026-10-25T01:00:00Z")), Some(at("2026-10-25T01:30:00Z")), "half past two again");
        assert_eq!(hours.closes(at("2026-10-25T01:30:00Z")), Some(at("2026-10-25T02:30:00Z")));
    }

    /// Minute by minute through a year's four changes of the clock, in zones with whole and half hours, and one whose clock jumps at midnight.
    #[test]
    fn openings_and_closings_are_those_of_the_clock_on_the_wall() {
        for zone in ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago", "Asia/Kolkata", "UTC"] {
            for mut hours in [nights(zone), berlin()] {
                hours.zone = zone.to_owned();
                for start in
                    ["2026-03-06T00:00:00Z", "2026-03-27T00:00:00Z", "2026-04-03T00:00:00Z", "2026-09-04T00:00:00Z", "2026-10-23T00:00:00Z"]
                {
                    let minutes: Vec<Timestamp> = (0..4 * 1440).map(|minute| at(start).plus(Duration::from_secs(60 * minute))).collect();
                    let open: Vec<bool> = minutes.iter().map(|minute| hours.is_open(*minute)).collect();
                    for from in (0..2 * 1440).step_by(37) {
                        let naive = |wanted: bool| (from..minutes.len()).find(|place| open[*place] == wanted).map(|place| minutes[place]);
                        let (opens, closes) = (hours.next_open(minutes[from]), hours.closes(minutes[from]));
                        for (told, wanted) in [(opens, true), (closes, false)] {
                            let expected = naive(wanted);
                            assert!(expected.is_none() || told == expected, "{zone} from {}: {wanted}, {told:?}", minutes[from]);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn hours_that_never_change_have_no_next() {
        let always =
            Hours { week: std::array::from_fn(|_| vec![(0, DAY_MINUTES)]), exceptions: Vec::new(), holidays: Vec::new(), ..berlin() };
        assert_eq!(always.closes(at("2026-11-23T08:00:00Z")), None);
        let never = Hours { week: Default::default(), exceptions: Vec::new(), ..berlin() };
        assert_eq!(never.next_open(at("2026-11-23T08:00:00Z")), None);
        let last = at("9999-12-29T00:00:00Z");
        assert!(berlin().next_open(last).is_none_or(|opens| opens >= last), "the ends of time hold");
    }
}
