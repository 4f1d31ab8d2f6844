//! What the person who takes over reads: who this is, what they want, what was tried, how they feel, why they are here, and what comes next.
//!
//! Every field is there, absent with its reason, or stale with its age; nothing is invented, and completeness is a number.

pub mod head;
mod next;
pub mod render;

use std::time::Duration;

use serde::Serialize;

use super::conversation::Conversation;
use super::customer::Customer;
use super::feeling::{Feeling, feeling};
use super::highlights::{Highlights, Quote, highlights};
use super::input::Facts;
use super::policy::Policy;
use super::receipt::Receipt;
use super::story::{Said, Story, Turn, plain};
use super::summary::{Summary, summarise};
use crate::message::{Id, Speaker};
use crate::signal::{LexicalKind, Span};
use crate::time::{Timestamp, in_words};

/// Facts older than this are told with their age.
pub const FRESH: Duration = Duration::from_secs(24 * 3600);
/// Pages that are told, the latest first.
const PAGES_MAX: usize = 5;
/// How far back pages are told.
const PAGES_WINDOW: Duration = Duration::from_secs(7 * 24 * 3600);

/// A field that may be missing.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum Field<T> {
    /// It is known.
    Present {
        /// What.
        value: T,
        /// Where from: `lookup`, `conversation`, `events`, `earlier conversations`.
        source: &'static str,
    },
    /// It is known from a while ago.
    Stale {
        /// What.
        value: T,
        /// Where from.
        source: &'static str,
        /// How long ago, in words.
        age: String,
    },
    /// It is not known.
    Absent {
        /// Why.
        reason: String,
    },
}

impl<T> Field<T> {
    /// The value, if it is known.
    pub fn value(&self) -> Option<&T> {
        match self {
            Self::Present { value, .. } | Self::Stale { value, .. } => Some(value),
            Self::Absent { .. } => None,
        }
    }

    fn of(value: Option<T>, source: &'static str, reason: impl FnOnce() -> String) -> Self {
        match value {
            Some(value) => Self::Present { value, source },
            None => Self::Absent { reason: reason() },
        }
    }
}

/// A page that the customer saw.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Page {
    /// Which.
    pub name: String,
    /// When, RFC 3339.
    pub at: String,
    /// How long before the package, in words.
    pub ago: String,
}

/// An earlier conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LastContact {
    /// Its id.
    pub conversation: Id,
    /// How long ago it began, in words.
    pub ago: String,
    /// Whether the issue was solved, if somebody said so.
    pub resolved: Option<bool>,
}

/// Whether the customer came about the same issue before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Repeat {
    /// Contacts about this issue in 30 days that were not solved, this one included.
    pub contacts: u32,
}

/// Why the conversation is handed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// The trigger, by id.
    pub trigger: String,
    /// Its category.
    pub category: String,
    /// `immediate` or `soft`.
    pub urgency: &'static str,
    /// The comparisons by which it fired, in words.
    pub words: String,
    /// The queue, by id.
    pub queue: String,
    /// The message at which it was decided.
    pub message: u32,
    /// What the customer said by which it was set off, masked, with its message.
    pub quote: Option<Quote>,
}

/// The package.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Package {
    /// The conversation.
    pub conversation: Id,
    /// Name of the account.
    pub account: Field<String>,
    /// Name of the customer.
    pub customer: Field<String>,
    /// Tier of the account.
    pub tier: Field<String>,
    /// Contract value, in the operator's currency.
    pub value: Field<f64>,
    /// How long a customer, in words.
    pub since: Field<String>,
    /// Tickets that are open elsewhere.
    pub open_tickets: Field<u32>,
    /// The last contact before this one.
    pub last_contact: Field<LastContact>,
    /// Whether this is a repeat contact.
    pub repeat: Field<Repeat>,
    /// Pages seen this week, the latest first.
    pub pages: Field<Vec<Page>>,
    /// Two or three sentences.
    pub summary: Field<Summary>,
    /// What was tried, confirmed, rejected, asked, named.
    pub highlights: Highlights,
    /// How the customer feels.
    pub feeling: Field<Feeling>,
    /// Why it is handed over.
    pub reason: Field<Reason>,
    /// What to do next.
    pub next: String,
    /// How many of the fields that may be missing are known.
    pub completeness: Completeness,
}

/// How complete a package is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Completeness {
    /// Share of the fields that are known, 0 to 1.
    pub share: f64,
    /// Names of those that are not.
    pub missing: Vec<&'static str>,
}

/// What a package is made from.
pub struct Sources<'a> {
    /// The policy that decided.
    pub policy: &'a Policy,
    /// The conversation's state.
    pub conversation: &'a Conversation,
    /// What was said.
    pub story: &'a Story,
    /// What is known of the customer; `None` where nobody said who it is.
    pub customer: Option<&'a Customer>,
    /// The receipt of the decision to hand over, if there is one.
    pub receipt: Option<&'a Receipt>,
    /// When.
    pub now: Timestamp,
}

/// Makes the package of a conversation.
pub fn package(from: &Sources<'_>) -> Package {
    let (policy, conversation) = (from.policy, from.conversation);
    let facts = &conversation.facts;
    let masking = policy.masking;
    let highlights = highlights(from.story, &policy.vocabulary, &policy.thresholds, masking);
    let summary = summarise(from.story, &highlights, &policy.vocabulary, masking);
    let feeling = feeling(from.story, &highlights, &policy.vocabulary);
    let said = |what: Option<&str>| what.map(plain).filter(|text| !text.is_empty());
    let reason = from.receipt.and_then(|receipt| reason(policy, receipt, from.story));
    let mut package = Package {
        conversation: conversation.id.clone(),
        account: fact(facts, said(facts.account()), from.now),
        customer: fact(facts, said(facts.customer()), from.now),
        tier: fact(facts, said(facts.tier()), from.now),
        value: fact(facts, facts.value(), from.now),
        since: fact(facts, facts.since().map(|since| for_how_long(from.now.since(since))), from.now),
        open_tickets: fact(facts, facts.open_tickets(), from.now),
        last_contact: last_contact(from),
        repeat: repeat(from),
        pages: pages(from),
        next: next::next(
            &next::Told { reason: reason.as_ref(), highlights: &highlights, summary: &summary, feeling: feeling.as_ref() },
            from.story,
            masking,
        ),
        summary: Field::of((!summary.statements.is_empty()).then_some(summary), "conversation", || nothing_said(from.story)),
        highlights,
        feeling: Field::of(feeling, "conversation", || "no message of the customer has signals for it".to_owned()),
        reason: Field::of(reason, "conversation", || "no handoff was decided".to_owned()),
        completeness: Completeness::default(),
    };
    package.completeness = completeness(&package);
    package
}

fn nothing_said(story: &Story) -> String {
    if story.turns.is_empty() { "nothing was said" } else { "the customer wrote no words" }.to_owned()
}

/// A fact of a lookup: known, stale, or missing for the lookup's reason.
fn fact<T>(facts: &Facts, value: Option<T>, now: Timestamp) -> Field<T> {
    let source = "lookup";
    match (value, facts.fetched_at()) {
        (Some(value), Some(at)) if now.since(at) > FRESH => Field::Stale { value, source, age: about(now.since(at)) },
        (Some(value), _) => Field::Present { value, source },
        (None, _) => Field::Absent { reason: facts.failure().map_or_else(|| "not sent".to_owned(), plain) },
    }
}

fn last_contact(from: &Sources<'_>) -> Field<LastContact> {
    let failed = || from.conversation.facts.failure().map(plain);
    let nobody = "nobody said who the customer is";
    let Some(customer) = from.customer else { return Field::Absent { reason: failed().unwrap_or_else(|| nobody.to_owned()) } };
    let other = customer.all_contacts().rev().find(|contact| contact.conversation != from.conversation.id && contact.at <= from.now);
    let told = other.map(|contact| LastContact {
        conversation: contact.conversation.clone(),
        ago: about(from.now.since(contact.at)),
        resolved: contact.resolved,
    });
    Field::of(told, "earlier conversations", || failed().unwrap_or_else(|| "no earlier contact is known".to_owned()))
}

fn repeat(from: &Sources<'_>) -> Field<Repeat> {
    let month = Duration::from_secs(30 * 24 * 3600);
    let (Some(customer), Some(issue)) = (from.customer, from.conversation.issue(&from.policy.vocabulary)) else {
        let reason = if from.customer.is_none() { "nobody said who the customer is" } else { "what the issue is was not recognised" };
        return Field::Absent { reason: reason.to_owned() };
    };
    let nearest = crate::signal::BasisPoints::new(from.policy.thresholds.same_issue).unwrap_or_default();
    let contacts = customer.same_issue(&from.conversation.id, &issue, nearest, month, from.now).saturating_add(1);
    Field::Present { value: Repeat { contacts }, source: "earlier conversations" }
}

fn pages(from: &Sources<'_>) -> Field<Vec<Page>> {
    let Some(customer) = from.customer else { return Field::Absent { reason: "nobody said who the customer is".to_owned() } };
    let oldest = from.now.minus(PAGES_WINDOW);
    let seen = customer.all_events().rev().filter(|event| event.kind.as_str() == "page_view" && event.at <= from.now && event.at >= oldest);
    let page =
        |event: &super::customer::Event| Page { name: plain(&event.name), at: event.at.to_string(), ago: about(from.now.since(event.at)) };
    let pages: Vec<Page> = seen.take(PAGES_MAX).map(page).collect();
    Field::of((!pages.is_empty()).then_some(pages), "events", || "no page views were sent this week".to_owned())
}

fn reason(policy: &Policy, receipt: &Receipt, story: &Story) -> Option<Reason> {
    let place = usize::from(receipt.decision.trigger?);
    let (trigger, said) = (policy.triggers.get(place)?, receipt.triggers.get(place)?);
    Some(Reason {
        trigger: trigger.id.clone(),
        category: trigger.category.clone(),
        urgency: trigger.urgency.as_str(),
        words: match receipt.decision.cause {
            super::decision::Cause::Fired => said.reasons(&trigger.when, policy),
            cause => cause.words().to_owned(),
        },
        queue: policy.queues[trigger.queue].id.clone(),
        message: receipt.message,
        quote: quote(policy, receipt.message, &trigger.category, story),
    })
}

/// Words of a quote.
const QUOTE_WORDS: usize = 14;
/// Messages of the customer in which a mood that fell is looked for.
const MOOD_MESSAGES: usize = 4;

/// The message, and the sentence of it, by which a trigger was set off: the one in which a rule found something, else the longest. Of a mood that fell it is
/// the unhappiest of the last messages, since the one at which it was decided may be a mere "no".
fn quote(policy: &Policy, message: u32, category: &str, story: &Story) -> Option<Quote> {
    let customer = || story.turns.iter().enumerate().filter(|(_, turn)| turn.speaker == Speaker::Customer && turn.sequence <= message);
    let decided = customer().find(|(_, turn)| turn.sequence == message)?;
    let unhappy = |turn: &Turn| turn.signals.as_ref().ok().and_then(|signals| signals.valence.ok()).map(|valence| -valence.get());
    let mut last: Vec<(usize, &Turn)> = customer().collect();
    last.drain(..last.len().saturating_sub(MOOD_MESSAGES));
    let moods = last.into_iter().filter_map(|(place, turn)| Some((unhappy(turn)?, (place, turn))));
    let worst = moods.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, turn)| turn).filter(|_| category == "frustration");
    let (place, turn) = worst.unwrap_or(decided);
    let sets_off = |kind| matches!(kind, LexicalKind::AsksForPerson | LexicalKind::Legal | LexicalKind::Privacy | LexicalKind::Security);
    let found = turn.findings.iter().find(|finding| sets_off(finding.kind));
    let holds = |span: &&Span| found.is_some_and(|finding| span.start <= finding.span.start && finding.span.start < span.end);
    let sentence = turn.sentences.iter().find(holds).or_else(|| turn.sentences.iter().max_by_key(|span| span.end - span.start))?;
    let words = Said { place, turn, sentence: *sentence }.words(policy.masking);
    let text = first_words(&words, QUOTE_WORDS);
    (!text.is_empty()).then_some(Quote { text, message: turn.sequence })
}

/// The beginning of a text, with a mark where it was cut.
fn first_words(text: &str, most: usize) -> String {
    let words: Vec<&str> = text.split_whitespace().take(most.saturating_add(1)).collect();
    if words.len() <= most {
        return text.to_owned();
    }
    format!("{}\u{2026}", words[..most].join(" ").trim_end_matches(['.', ',', ';', ':', '\u{2026}']))
}

/// A span in one unit, rounded down.
fn about(span: Duration) -> String {
    let secs = span.as_secs();
    let unit = [24 * 3600, 3600, 60].into_iter().find(|unit| secs >= *unit);
    match unit {
        Some(unit) => in_words(Duration::from_secs(secs / unit * unit)),
        None => "less than a minute".to_owned(),
    }
}

/// How long somebody is a customer.
fn for_how_long(span: Duration) -> String {
    let days = span.as_secs() / (24 * 3600);
    let plural = |count: u64, unit: &str| format!("{count} {unit}{}", if count == 1 { "" } else { "s" });
    match days {
        0..=59 => plural(days, "day"),
        60..=729 => plural(days / 30, "month"),
        _ => plural(days / 365, "year"),
    }
}

fn completeness(package: &Package) -> Completeness {
    let known = [
        ("account", package.account.value().is_some()),
        ("customer", package.customer.value().is_some()),
        ("tier", package.tier.value().is_some()),
        ("value", package.value.value().is_some()),
        ("since", package.since.value().is_some()),
        ("open_tickets", package.open_tickets.value().is_some()),
        ("last_contact", package.last_contact.value().is_some()),
        ("repeat", package.repeat.value().is_some()),
        ("pages", package.pages.value().is_some()),
        ("summary", package.summary.value().is_some()),
        ("feeling", package.feeling.value().is_some()),
        ("reason", package.reason.value().is_some()),
    ];
    let missing: Vec<&'static str> = known.iter().filter(|(_, known)| !known).map(|(name, _)| *name).collect();
    Completeness { share: (known.len() - missing.len()) as f64 / known.len() as f64, missing }
}
