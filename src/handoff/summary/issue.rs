//! What the issue is: what the model recognised, with the amount and the number that the customer named; nothing where it recognised nothing. A language of the
//! policy says it in words ([`IssueNames::say`](crate::handoff::policy::language::IssueNames::say)): "your refund of $12.99".

use std::collections::BTreeMap;

use serde::Serialize;

use crate::handoff::highlights::{EntityKind, Highlights};
use crate::handoff::observation::Vocabulary;
use crate::handoff::story::{Story, Turn};
use crate::message::Speaker;

/// Labels that tell how a message speaks, or that it is none of the bot's matters, and not what the issue is.
const NO_ISSUE: [&str; 5] = ["greeting", "thanks_or_closing", "talk_to_human", "out_of_scope", "distress"];

/// What the issue is.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Issue {
    /// Label of the intent head.
    pub label: String,
    /// Its probability at the first message that has it.
    pub probability: f64,
    /// An amount that the customer named.
    pub amount: Option<String>,
    /// A number of an order, a booking, a ticket.
    pub reference: Option<String>,
    /// The messages it is taken from.
    pub messages: Vec<u32>,
}

/// The issue of a story: what most of the customer's messages are about, the first of equals.
pub fn issue(story: &Story, highlights: &Highlights, vocabulary: &Vocabulary) -> Option<Issue> {
    let recognised = |turn: &Turn| {
        let intents = turn.signals.as_ref().ok()?.intents.as_ref().ok()?;
        let place = usize::from(intents.top?);
        let label = &vocabulary.intents.get(place)?.label;
        let probability = intents.probabilities.get(place)?.get();
        (!NO_ISSUE.contains(&label.as_str())).then_some((label, probability, turn.sequence))
    };
    let all: Vec<(&String, f64, u32)> =
        story.turns.iter().filter(|turn| turn.speaker == Speaker::Customer).filter_map(recognised).collect();
    let mut times: BTreeMap<&String, usize> = BTreeMap::new();
    for (label, _, _) in &all {
        *times.entry(label).or_default() += 1;
    }
    let (label, probability, message) =
        all.iter().copied().max_by_key(|(label, _, message)| (times[label], std::cmp::Reverse(*message)))?;
    let named = |kind| highlights.entities.iter().find(|entity| entity.kind == kind);
    let (amount, reference) = (named(EntityKind::Amount), named(EntityKind::Reference));
    let mut messages: Vec<u32> =
        [Some(message), amount.map(|named| named.message), reference.map(|named| named.message)].into_iter().flatten().collect();
    messages.sort_unstable();
    messages.dedup();
    let text = |named: Option<&crate::handoff::highlights::Entity>| named.map(|named| named.text.clone());
    Some(Issue { label: label.clone(), probability, amount: text(amount), reference: text(reference), messages })
}
