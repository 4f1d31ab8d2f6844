//! The signals of one message: what the model side tells the decision side.
//!
//! Plain data, no I/O. Every probability is in 0..=1 and calibrated unless its field says otherwise. A signal that was not computed is an
//! [`Absence`] with its reason, never a zero.

use std::fmt;

/// A probability in 0..=1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Probability(f32);

impl Probability {
    /// Checks the range; `None` outside 0..=1 and for NaN.
    pub fn new(value: f32) -> Option<Self> {
        (0.0..=1.0).contains(&value).then_some(Self(value))
    }

    /// Takes the result of a softmax or a sigmoid, whose rounding may leave the range by an ulp. NaN is a bug of the caller: logits are
    /// checked before.
    pub fn clamped(value: f32) -> Self {
        assert!(!value.is_nan(), "a probability came from unchecked logits");
        Self(value.clamp(0.0, 1.0))
    }

    /// The value, 0..=1.
    pub fn get(self) -> f32 {
        self.0
    }
}

/// Why a signal was not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// The text is empty, or holds nothing that the tokenizer keeps.
    NoText,
    /// The model does not know the text's language.
    Language,
    /// The model has no such head.
    NotInModel,
    /// The head compares the message with the bot's last proposal, and none was given.
    NoProposal,
}

impl Absence {
    /// The word that stands in JSON and in receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoText => "no_text",
            Self::Language => "language",
            Self::NotInModel => "not_in_model",
            Self::NoProposal => "no_proposal",
        }
    }
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A signal, or why there is none.
pub type Signal<T> = Result<T, Absence>;

/// All signals of one message.
#[derive(Clone, Debug, PartialEq)]
pub struct Signals {
    /// Does the model know this language?
    pub language: Signal<LanguageKnown>,
    /// negative, neutral, positive: sums to 1.
    pub sentiment: Signal<Classification>,
    /// Independent labels: the probabilities do not sum to 1.
    pub emotion: Signal<Tags>,
    /// The support taxonomy; no top label when the message is out of scope.
    pub intent: Signal<Classification>,
    /// accepts, rejects, other: towards the bot's last proposal.
    pub act: Signal<Classification>,
    /// Heads beyond the four above (an operator's own), by name, in the order of the package.
    pub other_heads: Vec<(String, HeadSignal)>,
    /// The whole message as a vector of unit length.
    pub embedding: Signal<Embedding>,
    /// One vector per sentence, at most [`SENTENCES_MAX`].
    pub sentences: Vec<Sentence>,
    /// What the rules found; present in every language.
    pub lexical: Lexical,
    /// How the text was cut to fit the model.
    pub windows: Windows,
}

/// Most sentences of a message that get a vector of their own.
pub const SENTENCES_MAX: usize = 8;

/// Signal of a head that is not one of the named four.
#[derive(Clone, Debug, PartialEq)]
pub enum HeadSignal {
    /// One label of several.
    Single(Signal<Classification>),
    /// Any number of labels.
    Multi(Signal<Tags>),
}

/// Whether the model knows the language of a text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LanguageKnown {
    /// p(the model knows this language).
    pub probability: Probability,
    /// Whether it reaches the threshold of the package.
    pub known: bool,
}

/// One label out of several.
#[derive(Clone, Debug, PartialEq)]
pub struct Classification {
    /// Each label with its calibrated probability, in the order of the package; they sum to 1.
    pub probabilities: Vec<(Label, Probability)>,
    /// Index of the chosen label in `probabilities`; absent when the message is out of scope.
    pub top: Option<usize>,
    /// p(the message is one that the labels describe); absent when the head was not fitted for it.
    pub in_scope: Option<Probability>,
}

impl Classification {
    /// The chosen label and its calibrated probability of being right.
    pub fn label(&self) -> Option<(&str, Probability)> {
        let (label, p) = &self.probabilities[self.top?];
        Some((label, *p))
    }

    /// Calibrated probability of one label, by its name.
    pub fn probability(&self, label: &str) -> Option<Probability> {
        probability_of(&self.probabilities, label)
    }
}

/// Any number of labels, each with a probability of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Tags {
    /// Each label with its calibrated probability, in the order of the package.
    pub probabilities: Vec<(Label, Probability)>,
    /// Indices of the labels that reach their threshold.
    pub present: Vec<usize>,
}

impl Classification {
    /// p(positive) - p(negative), -1..=1; `None` where these are no labels of it.
    pub fn valence(&self) -> Option<f32> {
        Some(self.probability("positive")?.get() - self.probability("negative")?.get())
    }
}

impl Tags {
    /// Calibrated probability of one label, by its name.
    pub fn probability(&self, label: &str) -> Option<Probability> {
        probability_of(&self.probabilities, label)
    }
}

fn probability_of(probabilities: &[(Label, Probability)], label: &str) -> Option<Probability> {
    probabilities.iter().find(|(name, _)| **name == *label).map(|(_, p)| *p)
}

/// A label's name, shared between all messages of a model.
pub type Label = std::sync::Arc<str>;

/// A vector of unit length.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding(pub Vec<f32>);

impl Embedding {
    /// Cosine with another of the same length, -1..=1.
    pub fn cosine(&self, other: &Self) -> f32 {
        assert_eq!(self.0.len(), other.0.len(), "embeddings of two models were compared");
        self.0.iter().zip(&other.0).map(|(a, b)| a * b).sum()
    }
}

/// A sentence of the message with its vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Sentence {
    /// Where it stands in the text.
    pub span: Span,
    /// Mean of its tokens' states, unit length.
    pub embedding: Embedding,
}

/// How a long text was cut.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    /// Windows that were scored.
    pub scored: usize,
    /// Windows that were not, since the text has more than the model reads.
    pub dropped: usize,
    /// Bytes at the end of the text that were not even tokenised.
    pub bytes_unread: usize,
}

/// Byte offsets into the text, `start..end`, on character boundaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// What the rules found, in the order of the text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lexical {
    /// Every finding with its place.
    pub findings: Vec<Finding>,
}

impl Lexical {
    /// Whether anything of this kind was found.
    pub fn has(&self, kind: LexicalKind) -> bool {
        self.findings.iter().any(|finding| finding.kind == kind)
    }
}

/// One thing that a rule found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub kind: LexicalKind,
    /// Where it stands.
    pub span: Span,
}

/// What the rules look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LexicalKind {
    /// The customer asks for a person: "let me talk to a human".
    AsksForPerson,
    /// The customer declines one: "no need for an agent".
    DeclinesPerson,
    /// A negation: "not", "never", "can't".
    Negation,
    /// Legal action, contract termination or a regulator: "my lawyer", "small claims court".
    Legal,
    /// A data-privacy demand: "delete all my data", "GDPR".
    Privacy,
    /// Fraud, theft, a break-in: "my account was hacked".
    Security,
    /// Personal data that must be masked before it leaves the process.
    PersonalData(PersonalData),
}

/// Kinds of personal data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PersonalData {
    /// A payment card number that passes the Luhn check.
    CardNumber,
    /// An IBAN that passes the mod-97 check.
    Iban,
    /// An e-mail address.
    Email,
    /// A telephone number.
    Phone,
    /// A national identity number, such as a US social security number.
    NationalId,
    /// A password or PIN that the text names as one.
    Password,
    /// A secret of a machine: API key, bearer token, private key.
    Token,
}
