//! The feed of duties that nobody has acknowledged: what is sent again, and whether an alarm stands.
//!
//! In: duties by their place in the order of the whole feed, acknowledgements, and the time. Out: what is due to be sent again. What a duty says is the
//! store's; here is only what must be known to watch over it. An urgent duty is one that a customer waits for: five seconds without an acknowledgement, and it
//! is sent again and an alarm stands until somebody acknowledges it.
//!
//! Bounded by [`OPEN_MAX`]: beyond, the oldest is given up and told, so that a backend that reads no feed costs no more than that.

use std::collections::BTreeMap;

use super::lifecycle::ACKNOWLEDGE;
use crate::time::Timestamp;

/// Duties that wait for an acknowledgement at most.
pub const OPEN_MAX: usize = 100_000;

/// One duty that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    urgent: bool,
    born: Timestamp,
    sent: Timestamp,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Feed {
    open: BTreeMap<u64, Open>,
    last: u64,
}

impl Feed {
    /// Takes a duty; gives the place of the one that is given up for it, if one is. A place that was taken is taken once.
    pub fn push(&mut self, place: u64, urgent: bool, born: Timestamp) -> Option<u64> {
        if place <= self.last {
            return None;
        }
        self.last = place;
        self.open.insert(place, Open { urgent, born, sent: born });
        if self.open.len() > OPEN_MAX { self.open.pop_first().map(|(oldest, _)| oldest) } else { None }
    }

    /// The last place that was taken.
    pub fn last(&self) -> u64 {
        self.last
    }

    /// Somebody did it; `false` where it was acknowledged before, or never there.
    pub fn acknowledge(&mut self, place: u64) -> bool {
        self.open.remove(&place).is_some()
    }

    /// Whether a duty waits.
    pub fn is_open(&self, place: u64) -> bool {
        self.open.contains_key(&place)
    }

    /// Duties that wait.
    pub fn open(&self) -> usize {
        self.open.len()
    }

    /// The places after one, in order; at most so many.
    pub fn after(&self, place: u64, limit: usize) -> Vec<u64> {
        self.open.range(place.saturating_add(1)..).take(limit).map(|(place, _)| *place).collect()
    }

    /// Urgent duties that nobody acknowledged in time since they were sent last; they count as sent again now.
    pub fn overdue(&mut self, now: Timestamp, limit: usize) -> Vec<u64> {
        let late = self.open.iter_mut().filter(|(_, open)| open.urgent && open.sent.plus(ACKNOWLEDGE) <= now).take(limit);
        late.map(|(place, open)| {
            open.sent = now;
            *place
        })
        .collect()
    }

    /// How many urgent duties wait longer than they may: an alarm stands while there are any.
    pub fn alarms(&self, now: Timestamp) -> usize {
        self.open.values().filter(|open| open.urgent && open.born.plus(ACKNOWLEDGE) <= now).count()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::default().plus(Duration::from_secs(secs))
    }

    #[test]
    fn what_nobody_acknowledges_is_sent_again_and_an_alarm_stands() {
        let mut feed = Feed::default();
        assert_eq!((feed.push(1, true, at(0)), feed.push(2, false, at(0)), feed.push(3, true, at(3))), (None, None, None));
        assert_eq!((feed.overdue(at(4), 9), feed.alarms(at(4))), (vec![], 0));
        assert_eq!((feed.overdue(at(5), 9), feed.alarms(at(5))), (vec![1], 1));
        assert_eq!(feed.overdue(at(6), 9), [0; 0], "just sent");
        assert_eq!(feed.overdue(at(10), 1), [1], "again, as many as asked for");
        assert_eq!((feed.alarms(at(10)), feed.after(1, 9)), (2, vec![2, 3]));
        assert!(feed.acknowledge(1) && feed.acknowledge(3) && !feed.acknowledge(3));
        assert_eq!((feed.alarms(at(99)), feed.overdue(at(99), 9), feed.open()), (0, vec![], 1), "what nobody waits for raises none");
        assert_eq!(feed.push(3, true, at(100)), None);
        assert!(!feed.is_open(3), "a place is taken once");
    }

    #[test]
    fn it_is_bounded_and_gives_up_the_oldest() {
        let mut feed = Feed::default();
        let given_up = (1..=OPEN_MAX as u64 + 2).filter_map(|place| feed.push(place, false, at(0))).collect::<Vec<_>>();
        assert_eq!((given_up, feed.open()), (vec![1, 2], OPEN_MAX));
    }
}
