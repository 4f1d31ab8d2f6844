//! What is known of a customer across conversations: events and past contacts, bounded by count and age.
//!
//! A conversation never reads another one. Before a step, the customer is read once for the terms that the policy uses; the numbers go into the input, so
//! that a replay needs no other conversation.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::message::Id;
use crate::signal::{BasisPoints, QuantizedEmbedding};
use crate::time::Timestamp;

/// Most events that are remembered of a customer; older ones go first.
pub const EVENTS_MAX: usize = 512;
/// Most contacts that are remembered of a customer; older ones go first.
pub const CONTACTS_MAX: usize = 128;
/// The longest window that a condition may look back over.
pub const WINDOW_MAX: Duration = Duration::from_secs(400 * 24 * 3600);
/// Most bytes of an event's name.
pub const EVENT_NAME_BYTES_MAX: usize = 512;

/// Something that the customer did outside the conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What sort: `page_view`, `ticket`, `purchase`, or the operator's own.
    pub kind: Id,
    /// Which one: a path, a name.
    pub name: String,
}

/// An earlier conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contact {
    /// Its id.
    pub conversation: Id,
    /// When it began.
    pub at: Timestamp,
    /// What it was about, if anything was said that the model understood.
    pub issue: Option<QuantizedEmbedding>,
    /// Whether the issue was solved; absent while nobody said so.
    pub resolved: Option<bool>,
}

/// A customer's events and contacts, oldest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    events: VecDeque<Event>,
    contacts: VecDeque<Contact>,
}

impl Customer {
    /// Takes an event; the oldest leaves when there are too many. One that comes late finds its place in time.
    pub fn record(&mut self, event: Event) {
        let place = self.events.partition_point(|other| other.at <= event.at);
        self.events.insert(place, event);
        if self.events.len() > EVENTS_MAX {
            self.events.pop_front();
        }
    }

    /// Takes a contact, or what is now known of one.
    pub fn contact(&mut self, contact: Contact) {
        self.contacts.retain(|other| other.conversation != contact.conversation);
        let place = self.contacts.partition_point(|other| other.at <= contact.at);
        self.contacts.insert(place, contact);
        if self.contacts.len() > CONTACTS_MAX {
            self.contacts.pop_front();
        }
    }

    /// What is known of one contact.
    pub fn contact_of(&self, conversation: &Id) -> Option<&Contact> {
        self.contacts.iter().rev().find(|contact| contact.conversation == *conversation)
    }

    /// Whether a contact of this time would be remembered, and not be the first to go.
    pub fn has_room_for(&self, at: Timestamp) -> bool {
        self.contacts.len() < CONTACTS_MAX || self.contacts.front().is_some_and(|oldest| oldest.at < at)
    }

    /// The contacts, oldest first.
    pub fn all_contacts(&self) -> impl DoubleEndedIterator<Item = &Contact> {
        self.contacts.iter()
    }

    /// The events, oldest first.
    pub fn all_events(&self) -> impl DoubleEndedIterator<Item = &Event> {
        self.events.iter()
    }

    /// Forgets the vectors of some conversations: they are another model's, and mean nothing to this one.
    pub fn forget_vectors(&mut self, of: impl Fn(&Id) -> bool) {
        self.contacts.iter_mut().filter(|contact| of(&contact.conversation)).for_each(|contact| contact.issue = None);
    }

    /// Forgets what is older than [`WINDOW_MAX`].
    pub fn forget(&mut self, now: Timestamp) {
        let oldest = now.minus(WINDOW_MAX);
        self.events.retain(|event| event.at >= oldest);
        self.contacts.retain(|contact| contact.at >= oldest);
    }

    /// Events of a kind in a window before `now` whose name matches a pattern, in which `*` stands for any characters.
    pub fn events(&self, kind: &str, pattern: &str, window: Duration, now: Timestamp) -> u32 {
        let oldest = now.minus(window);
        let counted = self.events.iter().rev().filter(|event| event.at <= now).take_while(|event| event.at >= oldest);
        count(counted.filter(|event| event.kind.as_str() == kind && matches(pattern, &event.name)))
    }

    /// Other contacts in a window before `now`.
    pub fn contacts(&self, except: &Id, window: Duration, now: Timestamp) -> u32 {
        count(self.others(except, window, now))
    }

    /// Other contacts in a window before `now` about this issue that were not resolved: those whose vector is this near.
    pub fn same_issue(&self, except: &Id, issue: &QuantizedEmbedding, nearest: BasisPoints, window: Duration, now: Timestamp) -> u32 {
        let open = self.others(except, window, now).filter(|contact| contact.resolved != Some(true));
        count(open.filter(|contact| contact.issue.as_ref().is_some_and(|other| other.cosine(issue) >= nearest)))
    }

    /// Other contacts about this issue that were not resolved, the latest first, by conversation.
    pub fn about<'a>(&'a self, except: &'a Id, issue: &'a QuantizedEmbedding, nearest: f64) -> impl Iterator<Item = &'a Id> {
        let open = self.contacts.iter().rev().filter(|contact| contact.resolved != Some(true) && contact.conversation != *except);
        let same = open.filter(move |contact| contact.issue.as_ref().is_some_and(|other| other.cosine(issue).get() >= nearest));
        same.map(|contact| &contact.conversation)
    }

    fn others<'a>(&'a self, except: &'a Id, window: Duration, now: Timestamp) -> impl Iterator<Item = &'a Contact> {
        let oldest = now.minus(window);
        let contacts = self.contacts.iter().rev().filter(move |contact| contact.at <= now);
        contacts.take_while(move |contact| contact.at >= oldest).filter(move |contact| contact.conversation != *except)
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u32 {
    u32::try_from(items.count()).unwrap_or(u32::MAX)
}

/// Whether a name matches a pattern in which `*` stands for any characters, none included. Greedy with one place to come back to: time is the product of the
/// lengths at worst.
pub fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut p, mut n) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while n < name.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, n));
            p += 1;
        } else if p < pattern.len() && pattern[p] == name[n] {
            p += 1;
            n += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            n = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_whole_names() {
        for (pattern, name, expected) in [
            ("/pricing*", "/pricing/teams", true),
            ("/pricing*", "/pricing", true),
            ("/pricing", "/pricing/teams", false),
            ("*", "", true),
            ("*/billing/*", "/account/billing/2026", true),
            ("*a*b", "xxaxxbxb", true),
            ("*a*b", "xxaxxbxbc", false),
            ("", "", true),
            ("", "x", false),
            ("a**b", "ab", true),
            ("ä*", "äh", true),
        ] {
            assert_eq!(matches(pattern, name), expected, "{pattern:?} on {name:?}");
        }
        assert!(!matches(&"*a".repeat(100), &"a".repeat(99)));
    }

    #[test]
    fn windows_count_what_lies_in_them() {
        let at = |secs: u64| Timestamp::default().plus(Duration::from_secs(secs));
        let id = |text: &str| Id::new(text).unwrap();
        let mut customer = Customer::default();
        for secs in [300, 100, 200, 400] {
            customer.record(Event { at: at(secs), kind: id("page_view"), name: format!("/pricing/{secs}") });
        }
        let count = |window: u64, now: u64| customer.events("page_view", "/pricing*", Duration::from_secs(window), at(now));
        assert_eq!((count(100, 400), count(1000, 400), count(1000, 250), count(0, 400)), (2, 4, 2, 1));
        assert_eq!(customer.events("purchase", "*", WINDOW_MAX, at(400)), 0);

        let vector = |values: [i8; 2]| Some(QuantizedEmbedding::from_values(values.to_vec()));
        let cases = [("a", [100, 0], Some(false)), ("b", [99, 10], None), ("c", [100, 0], Some(true)), ("d", [0, 100], None)];
        for (name, values, resolved) in cases {
            customer.contact(Contact { conversation: id(name), at: at(100), issue: vector(values), resolved });
        }
        let nearest = BasisPoints::new(0.9).unwrap();
        let issue = vector([100, 1]).unwrap();
        let same = |except: &str| customer.same_issue(&id(except), &issue, nearest, Duration::from_secs(500), at(400));
        assert_eq!((same("z"), same("a")), (2, 1), "unresolved, near, and not the conversation itself");
        assert_eq!(customer.contacts(&id("a"), Duration::from_secs(500), at(400)), 3);
    }

    #[test]
    fn memory_is_bounded_by_count_and_age() {
        let mut customer = Customer::default();
        let at = |secs: usize| Timestamp::default().plus(Duration::from_secs(secs as u64));
        for n in 0..EVENTS_MAX + 100 {
            customer.record(Event { at: at(n), kind: Id::new("k").unwrap(), name: String::new() });
            customer.contact(Contact { conversation: Id::new(format!("c{n}")).unwrap(), at: at(n), issue: None, resolved: None });
        }
        assert_eq!((customer.events.len(), customer.contacts.len()), (EVENTS_MAX, CONTACTS_MAX));
        assert_eq!(customer.events[0].at, at(100));
        customer.forget(at(EVENTS_MAX).plus(WINDOW_MAX));
        assert_eq!((customer.events.len(), customer.contacts.len()), (100, 100));
    }
}
