//! The one table of what a condition may name. The checker, the evaluation, the receipt and the printed reference follow from it.

use std::time::Duration;

use crate::time;

/// Most messages of the customer that a mean or a slope may look back over.
pub const TURNS_MAX: usize = 32;
/// Most phrases of one `says()`.
pub const PHRASES_MAX: usize = 32;

/// A name or a function.
#[derive(Debug, PartialEq)]
pub struct Name {
    /// As a condition writes it.
    pub name: &'static str,
    /// What it reads.
    pub kind: TermKind,
    /// What stands between its brackets; `None` for a name without brackets.
    pub parameters: Option<&'static [Parameter]>,
    /// What it gives.
    pub result: Type,
    /// In words, with {0}, {1} for the arguments.
    pub words: &'static str,
    /// What it means, and when it is unknown.
    pub meaning: &'static str,
    /// Where the value comes from.
    pub source: Source,
    /// Whether its value stays out of receipts: what a CRM says about a customer.
    pub private: bool,
}

/// What a name gives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Type {
    /// Yes or no.
    Truth,
    /// A fraction in a range.
    Fraction {
        /// The least.
        low: f64,
        /// The most.
        high: f64,
    },
    /// A whole number from 0.
    Count,
    /// Any number.
    Number,
    /// A label of the model.
    Label(Labels),
    /// A word.
    Text,
}

impl Type {
    /// In words, for the printed reference.
    pub fn words(self) -> String {
        match self {
            Self::Truth => "yes or no".to_owned(),
            Self::Fraction { low, high } => format!("number, {low} to {high}"),
            Self::Count => "whole number from 0".to_owned(),
            Self::Number => "number".to_owned(),
            Self::Label(_) => "label".to_owned(),
            Self::Text => "text".to_owned(),
        }
    }
}

/// A set of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Of the emotion head.
    Emotions,
    /// Of the intent head, and the policy's intents by example.
    Intents,
    /// Of the intent head alone.
    TopIntents,
    /// Of the act head.
    Acts,
    /// What the rules look for.
    Topics,
}

/// The labels of [`Labels::Topics`].
pub const TOPICS: [&str; 3] = ["legal", "privacy", "security"];

/// What a function takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parameter {
    /// A label.
    Label(Labels),
    /// A whole number of messages, 1 to [`TURNS_MAX`].
    Turns,
    /// A whole number of messages, 2 to [`TURNS_MAX`].
    TurnsOfSlope,
    /// A number in -1..=1.
    Level,
    /// One to [`PHRASES_MAX`] phrases.
    Phrases,
    /// `days(n)`, `hours(n)` or `minutes(n)`.
    Window,
    /// A word.
    Word,
    /// A name in which `*` stands for any characters.
    Pattern,
}

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The customer's latest message.
    Message,
    /// The conversation so far.
    Conversation,
    /// What the bot says of itself.
    Bot,
    /// The customer's other contacts and events.
    Customer,
    /// Facts that the backend sent.
    Facts,
}

impl Source {
    /// In words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Message => "the customer's latest message",
            Self::Conversation => "the conversation so far",
            Self::Bot => "what the bot says of itself",
            Self::Customer => "the customer's other contacts and events",
            Self::Facts => "facts that the backend sent",
        }
    }
}

/// What a term reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "each is the name beside it in the table")]
pub enum TermKind {
    Valence,
    InScope,
    TopIntent,
    IntentConfidence,
    LanguageKnown,
    Words,
    Emotion,
    Intent,
    Act,
    Says,
    Mentions,
    AsksForPerson,
    DeclinesPerson,
    ValenceMean,
    ValenceSlope,
    NegativeStreak,
    EmotionMean,
    EmotionStreak,
    CustomerTurns,
    BotTurns,
    FailedAttempts,
    BotRepeats,
    CustomerRepeats,
    SoftAttempts,
    Handoffs,
    Minutes,
    BotConfidence,
    BotConfidenceMean,
    SameIssue,
    Contacts,
    Events,
    Tier,
    AccountValue,
    AccountDays,
    OpenTickets,
    FactText,
    FactNumber,
    FactFlag,
}

const P: Type = Type::Fraction { low: 0.0, high: 1.0 };
const VALENCE: Type = Type::Fraction { low: -1.0, high: 1.0 };

const fn message(
    name: &'static str,
    kind: TermKind,
    parameters: Option<&'static [Parameter]>,
    result: Type,
    words: &'static str,
    meaning: &'static str,
) -> Name {
    Name { name, kind, parameters, result, words, meaning, source: Source::Message, private: false }
}

const fn conversation(
    name: &'static str,
    kind: TermKind,
    parameters: Option<&'static [Parameter]>,
    result: Type,
    words: &'static str,
    meaning: &'static str,
) -> Name {
    Name { name, kind, parameters, result, words, meaning, source: Source::Conversation, private: false }
}

const fn customer(
    name: &'static str,
    kind: TermKind,
    parameters: &'static [Parameter],
    words: &'static str,
    meaning: &'static str,
) -> Name {
    Name { name, kind, parameters: Some(parameters), result: Type::Count, words, meaning, source: Source::Customer, private: false }
}

const fn fact(
    name: &'static str,
    kind: TermKind,
    parameters: Option<&'static [Parameter]>,
    result: Type,
    words: &'static str,
    meaning: &'static str,
) -> Name {
    Name { name, kind, parameters, result, words, meaning, source: Source::Facts, private: true }
}

/// Every name, in the order of the printed reference.
#[rustfmt::skip]
pub const NAMES: &[Name] = &[
    message("asks_for_person", TermKind::AsksForPerson, Some(&[]), Type::Truth, "asks for a person",
        "the rules find a request, or p(talk_to_human) reaches thresholds.asks_for_person; false where a person is declined"),
    message("declines_person", TermKind::DeclinesPerson, Some(&[]), Type::Truth, "declines a person", "the rules find \"no agent, thanks\""),
    message("says", TermKind::Says, Some(&[Parameter::Phrases]), Type::Truth, "says {0}",
        "one of the phrases stands in the message: whole words, inflected as well, and not negated"),
    message("mentions", TermKind::Mentions, Some(&[Parameter::Label(Labels::Topics)]), Type::Truth, "mentions {0}",
        "the rules find legal action or a regulator, a data-privacy demand, or fraud, theft and break-ins"),
    message("intent", TermKind::Intent, Some(&[Parameter::Label(Labels::Intents)]), P, "p({0})",
        "calibrated probability of an intent, the model's or one of the policy's examples"),
    message("emotion", TermKind::Emotion, Some(&[Parameter::Label(Labels::Emotions)]), P, "{0}", "calibrated probability of an emotion"),
    message("act", TermKind::Act, Some(&[Parameter::Label(Labels::Acts)]), P, "p({0})",
        "calibrated probability of what the message does with the bot's last turn; 0 before the bot's first"),
    message("message.valence", TermKind::Valence, None, VALENCE, "valence", "p(positive) - p(negative)"),
    message("message.intent", TermKind::TopIntent, None, Type::Label(Labels::TopIntents), "intent", "the top intent; unknown when the message is out of scope"),
    message("message.intent_confidence", TermKind::IntentConfidence, None, P, "confidence of the intent",
        "probability of the top intent; 0 when the message is out of scope"),
    message("message.in_scope", TermKind::InScope, None, P, "p(in scope)", "probability that the message is about what the intents describe"),
    message("message.language_known", TermKind::LanguageKnown, None, Type::Truth, "language known", "whether the model knows the language; unknown without words"),
    message("message.words", TermKind::Words, None, Type::Count, "words", "words in the message"),

    conversation("conversation.valence_mean", TermKind::ValenceMean, Some(&[Parameter::Turns]), VALENCE, "mean valence of {0} messages",
        "mean over the customer's last n scored messages; unknown before there are n"),
    conversation("conversation.valence_slope", TermKind::ValenceSlope, Some(&[Parameter::TurnsOfSlope]), Type::Fraction { low: -2.0, high: 2.0 },
        "course of valence over {0} messages", "least-squares slope a message over the last n scored messages; unknown before there are n"),
    conversation("conversation.negative_streak", TermKind::NegativeStreak, Some(&[Parameter::Level]), Type::Count, "messages in a row with valence at most {0}",
        "scored messages of the customer in a row, up to the latest, whose valence is at most this"),
    conversation("conversation.emotion_mean", TermKind::EmotionMean, Some(&[Parameter::Label(Labels::Emotions), Parameter::Turns]), P,
        "mean {0} of {1} messages", "mean over the customer's last n scored messages; unknown before there are n"),
    conversation("conversation.emotion_streak", TermKind::EmotionStreak, Some(&[Parameter::Label(Labels::Emotions), Parameter::Level]), Type::Count,
        "messages in a row with {0} of at least {1}", "scored messages of the customer in a row, up to the latest, with at least this"),
    conversation("conversation.failed_attempts", TermKind::FailedAttempts, None, Type::Count, "failed attempts in a row",
        "answers in a row that reject what the bot proposed, or ask the same again; accepting ends the row"),
    conversation("conversation.bot_repeats", TermKind::BotRepeats, None, Type::Count, "repetitions by the bot",
        "turns of the bot that are nearly equal to an earlier one (thresholds.bot_repeats)"),
    conversation("conversation.customer_repeats", TermKind::CustomerRepeats, None, Type::Count, "repetitions by the customer",
        "messages of the customer that are nearly equal to an earlier one (thresholds.customer_repeats)"),
    conversation("conversation.customer_turns", TermKind::CustomerTurns, None, Type::Count, "messages of the customer", "messages of the customer"),
    conversation("conversation.bot_turns", TermKind::BotTurns, None, Type::Count, "turns of the bot", "turns of the bot"),
    conversation("conversation.minutes", TermKind::Minutes, None, Type::Number, "minutes since the first message", "minutes since the first message; unknown before it"),
    conversation("conversation.soft_attempts", TermKind::SoftAttempts, None, Type::Count, "further attempts", "further attempts that soft triggers asked of the bot"),
    conversation("conversation.handoffs", TermKind::Handoffs, None, Type::Count, "earlier handoffs", "handoffs of this conversation that came back to the bot"),

    Name { name: "bot.confidence", kind: TermKind::BotConfidence, parameters: None, result: P, words: "confidence of the bot",
        meaning: "what the bot said of its latest turn; unknown where it said nothing", source: Source::Bot, private: false },
    Name { name: "bot.confidence_mean", kind: TermKind::BotConfidenceMean, parameters: Some(&[Parameter::Turns]), result: P,
        words: "mean confidence of {0} turns of the bot", meaning: "mean over the bot's last n turns that gave it; unknown before there are n", source: Source::Bot, private: false },

    customer("contacts.same_issue", TermKind::SameIssue, &[Parameter::Window], "contacts about this issue in {0}",
        "this contact and the unresolved earlier ones in the window that mean the same (thresholds.same_issue); unknown where the customer or the issue is"),
    customer("contacts.count", TermKind::Contacts, &[Parameter::Window], "contacts in {0}", "this contact and the earlier ones in the window; unknown where the customer is"),
    customer("events.count", TermKind::Events, &[Parameter::Word, Parameter::Pattern, Parameter::Window], "events {0} {1} in {2}",
        "events of a kind in the window whose name matches the pattern, * being any characters; unknown where the customer is"),

    fact("account.tier", TermKind::Tier, None, Type::Text, "tier of the account", "as the backend sent it; unknown where it did not"),
    fact("account.value", TermKind::AccountValue, None, Type::Number, "value of the account", "contract value, in the backend's currency"),
    fact("account.days", TermKind::AccountDays, None, Type::Count, "days as a customer", "whole days since the account began"),
    fact("account.open_tickets", TermKind::OpenTickets, None, Type::Count, "open tickets", "tickets that are open elsewhere"),
    fact("fact_text", TermKind::FactText, Some(&[Parameter::Word]), Type::Text, "fact {0}", "a word among the operator's own facts; unknown where it was not sent or is no word"),
    fact("fact_number", TermKind::FactNumber, Some(&[Parameter::Word]), Type::Number, "fact {0}", "a number among the operator's own facts"),
    fact("fact_flag", TermKind::FactFlag, Some(&[Parameter::Word]), Type::Truth, "fact {0}", "a yes or no among the operator's own facts"),
];

/// A name with its arguments: what a policy reads, once for each input.
#[derive(Clone, Debug, PartialEq)]
pub struct Term {
    /// The name.
    pub name: &'static Name,
    /// One for each parameter.
    pub arguments: Vec<Argument>,
}

/// A checked argument.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// A label and its place in the vocabulary.
    Label(String, usize),
    /// Messages.
    Turns(usize),
    /// A level.
    Level(f64),
    /// Places of the phrases among those of the policy, and the phrases.
    Phrases(Vec<usize>, Vec<String>),
    /// A span before now.
    Window(Duration),
    /// A word or a pattern.
    Text(String),
}

impl Term {
    /// In words: `mean valence of 3 messages`.
    pub fn words(&self) -> String {
        self.words_with(PHRASES_MAX)
    }

    /// The same with no more than a few phrases: what a receipt says of something that was not said.
    pub fn short_words(&self) -> String {
        self.words_with(2)
    }

    fn words_with(&self, phrases_max: usize) -> String {
        let mut words = self.name.words.to_owned();
        for (place, argument) in self.arguments.iter().enumerate() {
            let shown = match argument {
                Argument::Label(label, _) => label.replace('_', " "),
                Argument::Turns(turns) => turns.to_string(),
                Argument::Level(level) => level.to_string(),
                Argument::Phrases(_, phrases) => {
                    let quoted = phrases.iter().take(phrases_max).map(|phrase| format!("\u{201c}{phrase}\u{201d}"));
                    let rest = phrases.len().saturating_sub(phrases_max);
                    let rest = (rest > 0).then(|| format!("{rest} more phrases"));
                    let listed = quoted.chain(rest).collect::<Vec<_>>().join(", ");
                    if phrases.len() > 1 { format!("one of {listed}") } else { listed }
                }
                Argument::Window(window) => time::in_words(*window),
                Argument::Text(text) => text.clone(),
            };
            words = words.replace(&format!("{{{place}}}"), &shown);
        }
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_uses_its_arguments() {
        for (place, name) in NAMES.iter().enumerate() {
            assert!(!NAMES[..place].iter().any(|other| other.name == name.name || other.kind == name.kind), "{}", name.name);
            for parameter in 0..name.parameters.map_or(0, <[_]>::len) {
                assert!(name.words.contains(&format!("{{{parameter}}}")), "{}: {}", name.name, name.words);
            }
        }
    }
}
