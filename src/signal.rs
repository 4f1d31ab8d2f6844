//! The signals of one message: what the model side tells the decision side.
//!
//! Plain data, no I/O. Every probability is in 0..=1 and calibrated unless its field says otherwise. A signal that was not computed is an
//! [`Absence`] with its reason, never a zero.

use std::fmt;

use serde::{Deserialize, Serialize};

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

/// A probability or a valence in ten-thousandths, -10,000..=10,000: what decisions compare and journals keep. Calibration promises no more digits, and
/// whole numbers are the same on every machine, so 0.7 written in a policy is 0.7 measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i16", into = "i16")]
pub struct BasisPoints(i16);

impl BasisPoints {
    /// The range's end: 1.
    pub const ONE: Self = Self(10_000);

    /// The nearest to a value; `None` outside -1..=1 and for NaN.
    pub fn new(value: f64) -> Option<Self> {
        (-1.0..=1.0).contains(&value).then(|| Self((value * 10_000.0).round() as i16))
    }

    /// The value, -1..=1.
    pub fn get(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl From<Probability> for BasisPoints {
    fn from(p: Probability) -> Self {
        Self::new(f64::from(p.get())).expect("a probability is in the range")
    }
}

impl From<BasisPoints> for i16 {
    fn from(value: BasisPoints) -> Self {
        value.0
    }
}

impl TryFrom<i16> for BasisPoints {
    type Error = String;

    fn try_from(value: i16) -> Result<Self, String> {
        if (-10_000..=10_000).contains(&value) { Ok(Self(value)) } else { Err(format!("found {value}, expected -10000 to 10000")) }
    }
}

/// Why a signal was not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Absence {
    /// The text is empty, or holds nothing that the tokenizer keeps.
    NoText,
    /// The model does not know the text's language.
    Language,
    /// The model has no such head.
    NotInModel,
    /// The head compares the message with the bot's last proposal, and none was given.
    NoProposal,
    /// The operator keeps no vectors.
    NotKept,
}

impl Absence {
    /// The word that stands in JSON and in receipts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoText => "no_text",
            Self::Language => "language",
            Self::NotInModel => "not_in_model",
            Self::NoProposal => "no_proposal",
            Self::NotKept => "not_kept",
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
    /// accepts, rejects, repeats, other: towards the bot's last turn.
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

/// A vector of unit length in eight bits a value, as journals keep it: 4 times smaller, its cosines within 0.01 of the exact ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuantizedEmbedding(Vec<i8>);

impl QuantizedEmbedding {
    /// Scales the largest value to 127 and rounds; the scale itself is not kept, since a unit vector has its length by definition.
    pub fn new(embedding: &Embedding) -> Self {
        let largest = embedding.0.iter().fold(f32::MIN_POSITIVE, |largest, v| largest.max(v.abs()));
        Self(embedding.0.iter().map(|v| (v / largest * 127.0).round() as i8).collect())
    }

    /// Takes the values of a journal.
    pub fn from_values(values: Vec<i8>) -> Self {
        Self(values)
    }

    /// The values, of no particular scale.
    pub fn values(&self) -> &[i8] {
        &self.0
    }

    /// The vector at unit length.
    pub fn embedding(&self) -> Embedding {
        let length = (self.dot(self) as f32).sqrt().max(f32::MIN_POSITIVE);
        Embedding(self.0.iter().map(|v| f32::from(*v) / length).collect())
    }

    /// Cosine with another, -1..=1; 0 where the lengths differ (vectors of two models have nothing in common) or one is zero. Whole numbers and one exact
    /// square root: the same on every machine.
    pub fn cosine(&self, other: &Self) -> BasisPoints {
        if self.0.len() != other.0.len() {
            return BasisPoints::default();
        }
        let norms = self.dot(self) as f64 * other.dot(other) as f64;
        let cosine = if norms > 0.0 { self.dot(other) as f64 / norms.sqrt() } else { 0.0 };
        BasisPoints::new(cosine.clamp(-1.0, 1.0)).expect("a cosine is clamped to its range")
    }

    fn dot(&self, other: &Self) -> i64 {
        let dot = |a: &[i8], b: &[i8]| a.iter().zip(b).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum::<i32>();
        // 2^16 products of at most 2^14 fit into 32 bits.
        self.0.chunks(1 << 16).zip(other.0.chunks(1 << 16)).map(|(a, b)| i64::from(dot(a, b))).sum()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basis_points_compare_as_they_are_written() {
        assert_eq!(BasisPoints::new(0.7).unwrap().get(), 0.7);
        assert_eq!(BasisPoints::from(Probability::clamped(0.7)).get(), 0.7);
        assert_eq!(BasisPoints::new(-0.45).unwrap().get(), -0.45);
        assert_eq!((BasisPoints::new(1.1), BasisPoints::new(f64::NAN)), (None, None));
        assert!(BasisPoints::try_from(10_001).is_err());
    }

    #[test]
    fn quantised_vectors_keep_their_cosines() {
        let vector = |step: u32| {
            let values: Vec<f32> = (0..384u32).map(|n| (n.wrapping_mul(step) % 997) as f32 / 997.0 - 0.5).collect();
            let length = values.iter().map(|v| v * v).sum::<f32>().sqrt();
            Embedding(values.into_iter().map(|v| v / length).collect::<Vec<f32>>())
        };
        let (a, b) = (vector(379), vector(1301));
        let mixed: Vec<f32> = a.0.iter().zip(&b.0).map(|(a, b)| 0.8 * a + 0.6 * b).collect();
        let length = mixed.iter().map(|v| v * v).sum::<f32>().sqrt();
        let mixed = Embedding(mixed.into_iter().map(|v| v / length).collect());
        for (x, y) in [(&a, &b), (&a, &mixed), (&a, &a)] {
            let quantised = QuantizedEmbedding::new(x).cosine(&QuantizedEmbedding::new(y)).get();
            assert!((quantised - f64::from(x.cosine(y))).abs() < 0.01, "{quantised} for {}", x.cosine(y));
        }
        let zero = QuantizedEmbedding::from_values(vec![0; 384]);
        assert_eq!(zero.cosine(&QuantizedEmbedding::new(&a)).get(), 0.0);
        assert_eq!(QuantizedEmbedding::from_values(vec![1]).cosine(&zero).get(), 0.0);
    }
}
