//! What decisions read of one message: its signals in a fixed, small form, made once when the message comes in and kept in the journal.
//!
//! Labels are gone: a probability stands at the place that the [`Vocabulary`] of the policy gives its label. Text is gone: what `says()` looks for was looked
//! for when the message came in.

use serde::{Deserialize, Serialize};

use crate::message::{Id, Speaker};
use crate::signal::{Absence, BasisPoints, QuantizedEmbedding, Signal};

/// The labels that conditions may name, in the order in which observations hold their probabilities.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Digest of the model that scores, in hex.
    pub model: String,
    /// Labels of the intent head; the policy's intents by example follow them.
    pub intents: Vec<LabelRange>,
    /// Labels of the emotion head.
    pub emotions: Vec<LabelRange>,
    /// Labels of the act head.
    pub acts: Vec<LabelRange>,
    /// Whether the model has calibrated intents by example.
    pub examples: bool,
}

/// A label and the largest probability that the model can give it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelRange {
    /// Its name.
    pub label: String,
    /// No text gets more.
    pub highest: BasisPoints,
}

/// One message as the engine sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Observation {
    /// Its id, which the backend gave.
    pub id: Id,
    /// Its place among the messages of the conversation, from 1.
    pub sequence: u32,
    /// Who said it.
    pub speaker: Speaker,
    /// Words in it.
    pub words: u16,
    /// Its signals, or why there are none.
    pub signals: Result<MessageSignals, Unscored>,
    /// Which phrases of the policy it says, in the policy's order; empty where the policy has none or the speaker is not the customer.
    pub says: Vec<bool>,
    /// Bot turns: how sure the bot itself is of its answer, if it said so.
    pub bot_confidence: Option<BasisPoints>,
    /// Bot turns: whether it offers something that the customer can accept or reject.
    pub proposal: bool,
}

/// Why a message has no signals at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unscored {
    /// Scoring failed.
    Failed,
    /// Scoring was not ready in time.
    Late,
    /// Nobody asked for it.
    NotAsked,
}

impl Unscored {
    /// The word that stands in receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "scoring_failed",
            Self::Late => "scoring_late",
            Self::NotAsked => "not_scored",
        }
    }
}

/// The signals of a scored message.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MessageSignals {
    /// Whether the model knows its language; absent without words.
    pub language_known: Signal<bool>,
    /// p(positive) - p(negative).
    pub valence: Signal<BasisPoints>,
    /// One probability for each emotion of the vocabulary.
    pub emotions: Signal<Vec<BasisPoints>>,
    /// One probability for each intent of the vocabulary.
    pub intents: Signal<Intents>,
    /// One for each act of the vocabulary.
    pub acts: Signal<Vec<BasisPoints>>,
    /// The policy's intents by example.
    pub example_intents: Signal<Vec<BasisPoints>>,
    /// The whole message as a vector.
    pub embedding: Signal<QuantizedEmbedding>,
    /// What the rules found.
    pub lexical: LexicalFlags,
}

impl MessageSignals {
    /// What of them a reader with another model can read: places of labels and vectors of one model mean nothing to another.
    pub fn of_another_model(self) -> Self {
        let gone = Absence::NotInModel;
        Self { emotions: Err(gone), intents: Err(gone), acts: Err(gone), example_intents: Err(gone), embedding: Err(gone), ..self }
    }
}

/// What the intent head says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intents {
    /// One probability for each label of the intent head.
    pub probabilities: Vec<BasisPoints>,
    /// Index of the top label; absent when the message is out of scope.
    pub top: Option<u16>,
    /// p(in scope), if the head has it.
    pub in_scope: Option<BasisPoints>,
}

/// What the rules found in a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LexicalFlags {
    /// The customer asks for a person.
    pub asks_for_person: bool,
    /// The customer declines one.
    pub declines_person: bool,
    /// Legal action, contract termination, a regulator.
    pub legal: bool,
    /// A data-privacy demand.
    pub privacy: bool,
    /// Fraud, theft, a break-in.
    pub security: bool,
}

impl Observation {
    /// The signal that `read` picks, or the reason of its absence in a word.
    pub fn signal<'a, T>(&'a self, read: impl FnOnce(&'a MessageSignals) -> Result<T, Absence>) -> Result<T, &'static str> {
        let signals = self.signals.as_ref().map_err(|unscored| unscored.as_str())?;
        read(signals).map_err(Absence::as_str)
    }
}
