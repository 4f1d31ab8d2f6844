//! What the issue is, as it stands inside a sentence to the customer: "your refund of $12.99", "the charge that you dispute". From what the model recognised and
//! the numbers that the customer named; nothing where it recognised nothing.

use super::Statement;
use crate::handoff::highlights::{EntityKind, Highlights};
use crate::handoff::observation::Vocabulary;
use crate::handoff::story::{Story, Turn};
use crate::message::Speaker;

/// Labels with how they are said. `{amount}` and `{reference}` stand where the customer may have named one.
const NAMES: &[(&str, &str)] = &[
    ("complaint", "your complaint"),
    ("cancel_or_close", "your cancellation"),
    ("refund", "your refund{amount}{reference}"),
    ("billing_dispute", "the charge{amount} that you dispute"),
    ("payment_problem", "your payment{amount}"),
    ("billing_question", "your bill{amount}"),
    ("order_status", "your order{reference}"),
    ("order_change", "the change of your order{reference}"),
    ("delivery_problem", "the delivery of your order{reference}"),
    ("account_access", "the access to your account"),
    ("account_update", "the change of your account"),
    ("security_concern", "the security of your account"),
    ("legal_threat", "the claim that you make"),
    ("privacy_request", "your personal data"),
    ("technical_problem", "the technical problem"),
    ("outage", "the outage"),
    ("how_to", "your question"),
    ("product_question", "your question about the product"),
    ("plan_or_pricing", "your plan"),
    ("feedback", "your feedback"),
];

/// The issue of a story: what most of the customer's messages are about, the first of equals.
pub fn issue(story: &Story, highlights: &Highlights, vocabulary: &Vocabulary) -> Option<Statement> {
    let named = |turn: &Turn| {
        let top = turn.signals.as_ref().ok()?.intents.as_ref().ok()?.top?;
        let label = vocabulary.intents.get(usize::from(top))?;
        let place = NAMES.iter().position(|(name, _)| *name == label.label)?;
        Some((place, turn.sequence))
    };
    let all: Vec<(usize, u32)> = story.turns.iter().filter(|turn| turn.speaker == Speaker::Customer).filter_map(named).collect();
    let times = |place: usize| all.iter().filter(|(other, _)| *other == place).count();
    let (place, message) = all.iter().copied().max_by_key(|(place, message)| (times(*place), std::cmp::Reverse(*message)))?;
    let mut messages = vec![message];
    let mut slot = NAMES[place].1.to_owned();
    for (kind, mark, before) in [(EntityKind::Amount, "{amount}", " of "), (EntityKind::Reference, "{reference}", " ")] {
        let entity = highlights.entities.iter().find(|entity| entity.kind == kind).filter(|_| slot.contains(mark));
        messages.extend(entity.map(|entity| entity.message));
        slot = slot.replace(mark, &entity.map(|entity| format!("{before}{}", entity.text)).unwrap_or_default());
    }
    messages.sort_unstable();
    messages.dedup();
    Some(Statement { text: slot.clone(), slot, messages })
}
