//! What the engine is told: a message with its signals, an event, facts, that time has passed, or what a person did.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::lifecycle::Act;
use super::observation::Observation;
use crate::message::Id;
use crate::time::Timestamp;

/// One input of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// When it happened.
    pub at: Timestamp,
    /// What happened.
    pub body: Body,
    /// What the policy's terms about the customer are worth now, in the policy's order; `None` where the customer is not known. See
    /// [`Policy::read_customer`](super::policy::Policy::read_customer).
    pub customer: Vec<Option<u32>>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Somebody said something.
    Message(Observation),
    /// The customer did something outside the conversation.
    Event {
        /// What sort.
        kind: Id,
    },
    /// The backend looked something up.
    Facts(Facts),
    /// Time passed.
    Timer,
    /// The person handed the conversation back to the bot.
    Returned,
    /// A person or the routing did something to the handoff.
    Handoff(Act),
}

impl Body {
    /// The word that stands in receipts.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Message(_) => "message",
            Self::Event { .. } => "event",
            Self::Facts(_) => "facts",
            Self::Timer => "timer",
            Self::Returned => "returned",
            Self::Handoff(act) => act.as_str(),
        }
    }
}

/// Most own facts.
pub const OWN_FACTS_MAX: usize = 64;
/// Most bytes of a fact that is a text.
pub const FACT_BYTES_MAX: usize = 1024;

/// What the backend knows of the customer's account. What it does not know is absent, never empty or zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Facts {
    account: Option<String>,
    customer: Option<String>,
    tier: Option<String>,
    value: Option<f64>,
    since: Option<Timestamp>,
    open_tickets: Option<u32>,
    own: BTreeMap<String, Fact>,
    fetched: Option<Timestamp>,
    missing: Option<String>,
}

/// One of the operator's own facts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    /// Yes or no.
    Flag(bool),
    /// A finite number.
    Number(f64),
    /// A text.
    Text(String),
}

/// A fact as a file has it: its type is that of the value. Journals say the type, since their format cannot tell it from the bytes.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum WrittenFact {
    Flag(bool),
    Number(f64),
    Text(String),
}

impl From<WrittenFact> for Fact {
    fn from(written: WrittenFact) -> Self {
        match written {
            WrittenFact::Flag(flag) => Self::Flag(flag),
            WrittenFact::Number(number) => Self::Number(number),
            WrittenFact::Text(text) => Self::Text(text),
        }
    }
}

/// A fact that cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FactsFault {
    /// Which.
    pub field: String,
    /// What was found and what was expected; never the value.
    pub what: String,
}

impl fmt::Display for FactsFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.what)
    }
}

impl std::error::Error for FactsFault {}

impl Facts {
    /// Names of the facts that are not the operator's own.
    pub const NAMED: [&'static str; 6] = ["account", "customer", "tier", "value", "since", "open_tickets"];

    /// With one fact more, by its name: one of [`Facts::NAMED`], or one of the operator's own.
    pub fn with(mut self, name: &str, fact: Fact) -> Result<Self, FactsFault> {
        let fault = |what: String| FactsFault { field: shorten(name), what };
        if let Fact::Text(text) = &fact
            && text.len() > FACT_BYTES_MAX
        {
            return Err(fault(format!("found {} bytes, expected at most {FACT_BYTES_MAX}", text.len())));
        }
        if let Fact::Number(number) = &fact
            && !number.is_finite()
        {
            return Err(fault("found no finite number".to_owned()));
        }
        match (name, fact) {
            ("account", Fact::Text(account)) => self.account = Some(account),
            ("customer", Fact::Text(customer)) => self.customer = Some(customer),
            ("account" | "customer", _) => return Err(fault("expected a text".to_owned())),
            ("tier", Fact::Text(tier)) => self.tier = Some(tier),
            ("tier", _) => return Err(fault("expected a text".to_owned())),
            ("value", Fact::Number(value)) => self.value = Some(value),
            ("value", _) => return Err(fault("expected a number".to_owned())),
            ("since", Fact::Text(since)) => {
                let expected = "expected a time such as 2024-03-01T00:00:00Z";
                self.since = Some(Timestamp::parse(&since).ok_or_else(|| fault(expected.to_owned()))?);
            }
            ("since", _) => return Err(fault("expected a time such as 2024-03-01T00:00:00Z".to_owned())),
            ("open_tickets", Fact::Number(count)) if count.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&count) => {
                self.open_tickets = Some(count as u32);
            }
            ("open_tickets", _) => return Err(fault("expected a whole number from 0".to_owned())),
            (name, fact) => {
                if Id::new(name).is_err() {
                    return Err(fault(format!(
                        "found a name of {} bytes, expected 1 to 128 of printable ASCII without blanks",
                        name.len()
                    )));
                }
                self.own.insert(name.to_owned(), fact);
                if self.own.len() > OWN_FACTS_MAX {
                    return Err(fault(format!("found more than {OWN_FACTS_MAX} facts")));
                }
            }
        }
        Ok(self)
    }

    /// A lookup that failed: what is known stays, what is not says why.
    pub fn missing(mut self, reason: &str) -> Self {
        self.missing = Some(reason.chars().take(FACT_BYTES_MAX / 4).collect());
        self
    }

    /// When they were looked up.
    pub fn fetched(mut self, at: Timestamp) -> Self {
        self.fetched = Some(at);
        self
    }

    /// Takes what a later lookup says over what is known.
    pub fn update(&mut self, later: Self) {
        self.account = later.account.or(self.account.take());
        self.customer = later.customer.or(self.customer.take());
        self.tier = later.tier.or(self.tier.take());
        self.value = later.value.or(self.value);
        self.since = later.since.or(self.since);
        self.open_tickets = later.open_tickets.or(self.open_tickets);
        // What was just looked up stays; of the others the last by name make room.
        self.own.retain(|name, _| !later.own.contains_key(name));
        while self.own.len() + later.own.len() > OWN_FACTS_MAX {
            self.own.pop_last();
        }
        self.own.extend(later.own);
        self.fetched = later.fetched.or(self.fetched);
        self.missing = later.missing;
    }

    /// Name of the account.
    pub fn account(&self) -> Option<&str> {
        self.account.as_deref()
    }

    /// Name of the customer.
    pub fn customer(&self) -> Option<&str> {
        self.customer.as_deref()
    }

    /// The tier of the account.
    pub fn tier(&self) -> Option<&str> {
        self.tier.as_deref()
    }

    /// Contract value, in the backend's currency.
    pub fn value(&self) -> Option<f64> {
        self.value
    }

    /// When the account began.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// Tickets that are open elsewhere.
    pub fn open_tickets(&self) -> Option<u32> {
        self.open_tickets
    }

    /// One of the operator's own.
    pub fn own(&self, name: &str) -> Option<&Fact> {
        self.own.get(name)
    }

    /// All of the operator's own, by name.
    pub fn all_own(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.own.iter().map(|(name, fact)| (name.as_str(), fact))
    }

    /// When the last lookup was.
    pub fn fetched_at(&self) -> Option<Timestamp> {
        self.fetched
    }

    /// Why the last lookup failed, if it did.
    pub fn failure(&self) -> Option<&str> {
        self.missing.as_deref()
    }

    /// Whether the last lookup failed.
    pub fn lookup_failed(&self) -> bool {
        self.missing.is_some()
    }
}

fn shorten(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_are_typed_and_bounded() {
        let text = |text: &str| Fact::Text(text.to_owned());
        let facts = Facts::default().with("tier", text("gold")).unwrap().with("seats", Fact::Number(12.0)).unwrap();
        assert_eq!((facts.tier(), facts.own("seats")), (Some("gold"), Some(&Fact::Number(12.0))));
        for (name, fact, expected) in [
            ("tier", Fact::Number(1.0), "tier: expected a text"),
            ("value", text("much"), "value: expected a number"),
            ("value", Fact::Number(f64::NAN), "value: found no finite number"),
            ("since", text("long ago"), "since: expected a time such as 2024-03-01T00:00:00Z"),
            ("open_tickets", Fact::Number(1.5), "open_tickets: expected a whole number from 0"),
            ("note", text(&"x".repeat(1025)), "note: found 1025 bytes, expected at most 1024"),
            ("a b", Fact::Flag(true), "a b: found a name of 3 bytes, expected 1 to 128 of printable ASCII without blanks"),
        ] {
            assert_eq!(Facts::default().with(name, fact).unwrap_err().to_string(), expected);
        }
        let full = (0..OWN_FACTS_MAX).try_fold(Facts::default(), |facts, n| facts.with(&format!("f{n}"), Fact::Flag(true))).unwrap();
        assert!(full.clone().with("f0", Fact::Flag(false)).is_ok());
        assert!(full.with("one-more", Fact::Flag(true)).unwrap_err().to_string().contains("more than 64 facts"));
    }

    #[test]
    fn a_failed_lookup_keeps_what_is_known() {
        let mut facts = Facts::default().with("tier", Fact::Text("gold".into())).unwrap();
        facts.update(Facts::default().missing("crm timed out"));
        assert_eq!((facts.tier(), facts.lookup_failed()), (Some("gold"), true));
        facts.update(Facts::default().with("open_tickets", Fact::Number(2.0)).unwrap());
        assert_eq!((facts.tier(), facts.open_tickets(), facts.lookup_failed()), (Some("gold"), Some(2), false));
    }
}
