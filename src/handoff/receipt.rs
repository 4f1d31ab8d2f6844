//! Why a decision was made: every trigger with every value, threshold and margin, and the digests of policy, model and input.
//!
//! Numbers, labels and ids only; never text, names or what a CRM says, so that erasing a customer leaves receipts whole. A receipt is not stored: it is
//! rebuilt from the input and must have the digest that was kept. Each holds the digest of the one before.

use std::fmt::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::decision::{Action, Decision};
use super::expression::names::Term;
use super::expression::{Comparison, Expression, Operand, Shown, Truth};
use super::policy::Policy;
use super::trigger::TriggerState;
use crate::time::Timestamp;

/// A SHA-256.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Of some bytes.
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Of a value's bytes in the format of journals.
    pub fn of_value(value: &impl Serialize) -> Self {
        Self::of(&postcard::to_stdvec(value).expect("plain values in memory are written without fail"))
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// From its bytes.
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The first twelve digits: enough to tell digests apart by eye.
    pub fn short(&self) -> String {
        self.to_string().chars().take(12).collect()
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The receipt of one input.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Receipt {
    /// The input's place in the conversation, from 1.
    pub input: u64,
    /// What sort of input.
    pub kind: String,
    /// The last message, by sequence; 0 before the first.
    pub message: u32,
    /// When, as it was decided: never before the input before.
    pub at: Timestamp,
    /// Whether the input said an earlier time than the one before.
    pub clock_corrected: bool,
    /// Why the message has no signals, if it has none.
    pub unscored: Option<String>,
    /// One for each trigger, in the policy's order.
    pub triggers: Vec<TriggerReceipt>,
    /// What was decided.
    pub decision: Decision,
    /// Of the policy.
    pub policy_digest: Digest,
    /// Of the model, in hex.
    pub model_digest: String,
    /// Of the input.
    pub input_digest: Digest,
    /// Of the receipt before; of the conversation's id before the first.
    pub previous: Digest,
}

/// What one trigger said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TriggerReceipt {
    /// Whether its condition stands.
    pub truth: Truth,
    /// Each comparison of the condition, in its order.
    pub comparisons: Vec<Comparison>,
    /// Whether it may be armed again.
    pub rearm: Truth,
    /// Before the input.
    pub before: TriggerState,
    /// After it.
    pub after: TriggerState,
    /// The messages at which the condition stood, this one included, where it is held or fires.
    pub stood_at: Vec<u32>,
}

impl Receipt {
    /// The digest that chains.
    pub fn digest(&self) -> Digest {
        Digest::of_value(self)
    }

    /// The receipt in words: the decision, why it was made, and why the other triggers did not fire.
    pub fn in_words(&self, policy: &Policy) -> String {
        let mut text = String::new();
        let name = |place: &u16| policy.triggers[usize::from(*place)].id.as_str();
        let what = match (self.decision.action, &self.decision.trigger) {
            (Action::None, _) => "no decision".to_owned(),
            (action, trigger) => {
                let trigger = trigger.as_ref().map(name).unwrap_or_default();
                let sentence = match action {
                    Action::Attempt => "one more attempt by the bot",
                    Action::Resolved => "the further attempt worked",
                    Action::HandOver => "hand over to a person",
                    Action::None => unreachable!("told above"),
                };
                format!("{sentence} ({trigger})")
            }
        };
        put(&mut text, format_args!("{what}: {}", self.decision.cause.words()));
        if let Some(reason) = &self.unscored {
            put(&mut text, format_args!("decided without the signals of this message ({reason})"));
        }
        if self.clock_corrected {
            put(&mut text, format_args!("the input said an earlier time than the one before; decided at {}", self.at));
        }
        for place in &self.decision.fired {
            let (trigger, receipt) = (&policy.triggers[usize::from(*place)], &self.triggers[usize::from(*place)]);
            put(
                &mut text,
                format_args!("fired: {} ({}): {}", trigger.id, trigger.urgency.as_str(), receipt.reasons(&trigger.when, policy)),
            );
        }
        for (place, (trigger, receipt)) in policy.triggers.iter().zip(&self.triggers).enumerate() {
            if !self.decision.fired.iter().any(|fired| usize::from(*fired) == place) {
                put(&mut text, format_args!("not fired: {}: {}", trigger.id, receipt.why_not(&trigger.when, policy)));
            }
        }
        text
    }

    /// The receipt as JSON, with the ids of triggers, queue and message in place of their places.
    pub fn to_json(&self, policy: &Policy) -> Value {
        let decision = &self.decision;
        let trigger = decision.trigger.map(|at| &policy.triggers[usize::from(at)]);
        let id = |at: &u16| policy.triggers[usize::from(*at)].id.as_str();
        let triggers = policy.triggers.iter().zip(&self.triggers).map(|(rule, receipt)| {
            json!({"trigger": rule.id, "truth": receipt.truth, "comparisons": receipt.comparisons, "before": receipt.before, "after": receipt.after})
        });
        json!({
            "at": self.at.to_string(),
            "action": decision.action,
            "cause": decision.cause,
            "trigger": trigger.map(|trigger| &trigger.id),
            "urgency": trigger.map(|trigger| trigger.urgency.as_str()),
            "queue": trigger.map(|trigger| &policy.queues[trigger.queue].id),
            "message": trigger.map(|trigger| &policy.messages[trigger.message].id),
            "fired": decision.fired.iter().map(id).collect::<Vec<_>>(),
            "effects": decision.effects(policy),
            "unscored": self.unscored,
            "triggers": triggers.collect::<Vec<_>>(),
            "policy_digest": self.policy_digest.to_string(),
            "model_digest": self.model_digest,
            "receipt": self.digest().to_string(),
            "previous": self.previous.to_string(),
        })
    }
}

fn put(text: &mut String, line: fmt::Arguments<'_>) {
    writeln!(text, "{line}").expect("writing to a string does not fail");
}

impl TriggerReceipt {
    /// The comparisons by which the condition stands, and for how long.
    pub fn reasons(&self, when: &Expression, policy: &Policy) -> String {
        let used = when.because(&self.comparisons);
        let held = self.stood_at.len() > 1;
        let mut messages: Vec<u32> =
            if held { self.stood_at.clone() } else { used.iter().flat_map(|at| self.comparisons[*at].messages.iter().copied()).collect() };
        messages.sort_unstable();
        messages.dedup();
        let turns = if held { format!(" for {} turns", self.stood_at.len()) } else { String::new() };
        format!("{}{turns}{}", self.told(when, policy), at_messages(&messages))
    }

    /// The comparisons by which the condition has its truth, in words.
    fn told(&self, when: &Expression, policy: &Policy) -> String {
        let one = |at: usize| {
            let compared = &when.comparisons[at];
            in_words(&compared.left, compared.right.as_ref(), &self.comparisons[at], &policy.terms)
        };
        when.because(&self.comparisons).into_iter().map(one).collect::<Vec<_>>().join(" and ")
    }

    fn why_not(&self, when: &Expression, policy: &Policy) -> String {
        let told = self.told(when, policy);
        match (self.truth, &self.after) {
            (Truth::Unknown, _) => format!("not known: {told}"),
            (Truth::False, _) => told,
            (Truth::True, TriggerState::Held { messages }) => format!("{told}, not yet long enough{}", at_messages(messages)),
            (Truth::True, TriggerState::Cooling { .. }) => format!("{told}, but it fired before and is not armed again"),
            (Truth::True, TriggerState::Armed | TriggerState::Fired) => format!("{told}, but nothing fires now"),
        }
    }
}

fn at_messages(messages: &[u32]) -> String {
    match messages {
        [] => String::new(),
        [one] => format!(" (message {one})"),
        several => format!(" (messages {})", several.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")),
    }
}

/// One comparison with what it said: `frustration 0.83 ≥ 0.70`, and where it does not hold the opposite: `frustration 0.12 < 0.70`.
fn in_words(left: &Operand, right: Option<&(super::expression::Operator, Operand)>, said: &Comparison, terms: &[Term]) -> String {
    let name = match (&said.said, left) {
        (Some(phrases), _) => format!("says {phrases}"),
        (None, Operand::Term(term)) => terms[*term].short_words(),
        (None, _) => operand_words(left, terms),
    };
    let reason = said.unknown.as_ref().map(|reason| reason.replace('_', " ")).unwrap_or_default();
    let Some((operator, right)) = right else {
        return match said.truth {
            Truth::True => name,
            Truth::False => format!("not: {name}"),
            Truth::Unknown => format!("{name} ({reason})"),
        };
    };
    if said.truth == Truth::Unknown {
        return format!("{name} {} {} ({reason})", operator.as_sign(), operand_words(right, terms));
    }
    let operator = if said.truth == Truth::True { *operator } else { operator.negated() };
    let (value, threshold) = match (&said.value, &said.threshold) {
        (Some(Shown::Number(value)), Some(Shown::Number(threshold))) => {
            let (value, threshold) = two_numbers(*value, *threshold);
            (Some(value), threshold)
        }
        (value, threshold) => (value.as_ref().map(shown), threshold.as_ref().map_or_else(|| operand_words(right, terms), shown)),
    };
    // What a CRM says is not told, the comparison is.
    let value = value.map(|value| format!(" {value}")).unwrap_or_default();
    format!("{name}{value} {} {threshold}", operator.as_sign())
}

/// Two digits, or as many more as it takes to tell the two apart.
fn two_numbers(value: f64, threshold: f64) -> (String, String) {
    if value.fract() == 0.0 && threshold.fract() == 0.0 {
        return (format!("{value}"), format!("{threshold}"));
    }
    let digits = if value != threshold && format!("{value:.2}") == format!("{threshold:.2}") { 4 } else { 2 };
    (format!("{value:.digits$}"), format!("{threshold:.digits$}"))
}

fn shown(value: &Shown) -> String {
    match value {
        Shown::Number(number) => format!("{number}"),
        Shown::Truth(value) => if *value { "yes" } else { "no" }.to_owned(),
        Shown::Label(label) => label.replace('_', " "),
    }
}

/// One side of a comparison in words.
pub fn operand_words(operand: &Operand, terms: &[Term]) -> String {
    match operand {
        Operand::Text(text) => text.replace('_', " "),
        Operand::Truth(value) => if *value { "yes" } else { "no" }.to_owned(),
        Operand::Number(number) => format!("{number}"),
        Operand::Term(term) => terms[*term].words(),
        Operand::Negative(inner) => format!("-({})", operand_words(inner, terms)),
        Operand::Arithmetic(a, what, b) => format!("({} {what} {})", operand_words(a, terms), operand_words(b, terms)),
    }
}
