//! What a scenario expects of texts: fields of the package, and parts of the message to the customer. Each equals, contains, or is absent for a reason.

use std::time::Duration;

use serde::Deserialize;

use crate::handoff::expression::check::nearest;
use crate::handoff::highlights::Quote;
use crate::handoff::package::{Field, Package};
use crate::handoff::policy::Policy;
use crate::handoff::reply::{Situation, Wanted, of_package};
use crate::time::parse_span;

/// Fields of the package that a scenario may name; lists are joined by "; ".
pub const FIELDS: [&str; 20] = [
    "account",
    "customer",
    "tier",
    "value",
    "since",
    "open_tickets",
    "last_contact",
    "repeat",
    "pages",
    "summary",
    "issue",
    "tried",
    "confirmed",
    "rejected",
    "unanswered",
    "entities",
    "feeling",
    "reason",
    "next",
    "completeness",
];
/// Parts of the message that a scenario may name.
pub const PARTS: [&str; 4] = ["acknowledge", "reassure", "expect", "opening"];

/// What is expected of one text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wants {
    /// The whole text.
    Equals(String),
    /// A part of it.
    Contains(String),
    /// That there is none; a part of the reason.
    Absent(String),
}

/// What is expected of a field of the package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedField {
    /// One of [`FIELDS`].
    pub field: String,
    /// What of it.
    pub wants: Wants,
}

/// What is expected of a part of the message to the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpectedPart {
    /// One of [`PARTS`].
    pub part: String,
    /// What of it.
    pub wants: Wants,
    /// Which message.
    pub message: Wanted,
}

/// As a file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenField {
    field: String,
    equals: Option<String>,
    contains: Option<String>,
    absent: Option<String>,
}

/// As a file writes it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WrittenPart {
    part: String,
    equals: Option<String>,
    contains: Option<String>,
    absent: Option<String>,
    #[serde(default)]
    situation: Situation,
    language: Option<String>,
    wait: Option<String>,
    agent: Option<String>,
}

fn known(name: &str, what: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    let near = nearest(name, known.iter().copied()).map(|near| format!("; did you mean {near}?")).unwrap_or_default();
    Err(format!("{what}: found {name:?}, expected one of {}{near}", known.join(", ")))
}

fn wants(name: &str, equals: Option<String>, contains: Option<String>, absent: Option<String>) -> Result<Wants, String> {
    let mut all = [equals.map(Wants::Equals), contains.map(Wants::Contains), absent.map(Wants::Absent)].into_iter().flatten();
    let one = all.next().ok_or_else(|| format!("{name}: found nothing, expected one of equals, contains, absent"))?;
    match all.next() {
        None => Ok(one),
        Some(_) => Err(format!("{name}: found more than one of equals, contains, absent")),
    }
}

impl WrittenField {
    pub(super) fn checked(self) -> Result<ExpectedField, String> {
        known(&self.field, "field", &FIELDS)?;
        let wants = wants(&self.field, self.equals, self.contains, self.absent)?;
        Ok(ExpectedField { field: self.field, wants })
    }
}

impl WrittenPart {
    pub(super) fn checked(self) -> Result<ExpectedPart, String> {
        known(&self.part, "part", &PARTS)?;
        let wants = wants(&self.part, self.equals, self.contains, self.absent)?;
        let wait = |text: String| parse_span(&text).ok_or_else(|| format!("wait: found {text:?}, expected a span such as 10m"));
        let wait: Option<Duration> = self.wait.map(wait).transpose()?;
        let message = Wanted { situation: self.situation, language: self.language, wait, agent: self.agent, ask_email: false };
        Ok(ExpectedPart { part: self.part, wants, message })
    }
}

impl Wants {
    /// What is wrong with a text, or with the reason why there is none.
    fn difference(&self, name: &str, found: &Result<String, String>) -> Option<String> {
        let (right, expected) = match (self, found) {
            (Self::Equals(text), found) => (found.as_ref() == Ok(text), format!("{text:?}")),
            (Self::Contains(text), found) => {
                (found.as_ref().is_ok_and(|found| found.contains(text)), format!("a text with {text:?} in it"))
            }
            (Self::Absent(reason), found) => {
                (found.as_ref().is_err_and(|found| found.contains(reason)), format!("none, for a reason with {reason:?} in it"))
            }
        };
        let found = match found {
            Ok(text) => format!("{text:?}"),
            Err(reason) => format!("none ({reason})"),
        };
        (!right).then(|| format!("{name}: expected {expected}, found {found}"))
    }
}

impl ExpectedField {
    /// What is not as expected.
    pub fn difference(&self, package: &Package) -> Option<String> {
        self.wants.difference(&format!("package.{}", self.field), &text(package, &self.field))
    }
}

impl ExpectedPart {
    /// What is not as expected; without a handoff there is no message.
    pub fn difference(&self, policy: &Policy, package: &Package) -> Option<String> {
        let reason = package.reason.value().map(|reason| reason.trigger.as_str());
        let reply = reason.and_then(|trigger| of_package(policy, trigger, package, &self.message));
        let found = match (reply, self.part.as_str()) {
            (None, _) => Err("no handoff was decided".to_owned()),
            (Some((reply, _)), "acknowledge") => Ok(reply.acknowledge),
            (Some((reply, _)), "reassure") => Ok(reply.reassure),
            (Some((reply, _)), "expect") => Ok(reply.expect),
            (Some((_, opening)), _) => opening.ok_or_else(|| "no person is there".to_owned()),
        };
        self.wants.difference(&format!("message.{}", self.part), &found)
    }
}

/// What a field says, or why it says nothing.
fn text(package: &Package, field: &str) -> Result<String, String> {
    fn told<T>(field: &Field<T>, say: impl FnOnce(&T) -> String) -> Result<String, String> {
        match field {
            Field::Present { value, .. } => Ok(say(value)),
            Field::Stale { value, age, .. } => Ok(format!("{} ({age} old)", say(value))),
            Field::Absent { reason } => Err(reason.clone()),
        }
    }
    let joined = |items: Vec<String>| if items.is_empty() { Err("there is none".to_owned()) } else { Ok(items.join("; ")) };
    let quotes = |quotes: &[Quote]| joined(quotes.iter().map(|quote| quote.text.clone()).collect());
    let highlights = &package.highlights;
    match field {
        "account" => told(&package.account, Clone::clone),
        "customer" => told(&package.customer, Clone::clone),
        "tier" => told(&package.tier, Clone::clone),
        "value" => told(&package.value, ToString::to_string),
        "since" => told(&package.since, Clone::clone),
        "open_tickets" => told(&package.open_tickets, ToString::to_string),
        "last_contact" => told(&package.last_contact, |contact| format!("{} ago", contact.ago)),
        "repeat" => told(&package.repeat, |repeat| repeat.contacts.to_string()),
        "pages" => told(&package.pages, |pages| pages.iter().map(|page| page.name.as_str()).collect::<Vec<_>>().join("; ")),
        "summary" => told(&package.summary, super::super::summary::Summary::text),
        "issue" => {
            let issue = package.summary.value().and_then(|summary| summary.issue.as_ref());
            issue.map(|issue| issue.label.clone()).ok_or_else(|| "nothing says what it is".to_owned())
        }
        "tried" => joined(highlights.tried.iter().map(|solution| format!("{} ({})", solution.what, solution.result())).collect()),
        "confirmed" => quotes(&highlights.confirmed),
        "rejected" => quotes(&highlights.rejected),
        "unanswered" => quotes(&highlights.unanswered),
        "entities" => joined(highlights.entities.iter().map(|entity| entity.text.clone()).collect()),
        "feeling" => told(&package.feeling, |feeling| feeling.words.clone()),
        "reason" => told(&package.reason, |reason| reason.trigger.clone()),
        "next" => Ok(package.next.clone()),
        _ => Ok(format!("{:.0} %", 100.0 * package.completeness.share)),
    }
}
