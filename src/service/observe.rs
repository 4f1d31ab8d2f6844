//! Signals of a message → what decisions read of it. The one place that knows both the model's labels and the policy's.

use std::collections::BTreeMap;
use std::fmt;

use crate::handoff::observation::{Intents, LabelRange, LexicalFlags, MessageSignals, Vocabulary};
use crate::handoff::policy::Policy;
use crate::handoff::transcript::Scorable;
use crate::model::examples::{ExampleIntent, ExamplesSpec};
use crate::model::scorer::{ScoreError, ScoreInput, Scorer};
use crate::signal::{Absence, BasisPoints, Classification, Label, LexicalKind, Probability, QuantizedEmbedding, Signal, Signals};

/// The labels that a model gives, in its order.
pub fn vocabulary(scorer: &Scorer) -> Vocabulary {
    let labels = |name: &str| -> Vec<LabelRange> {
        let Some(head) = scorer.head(name) else { return Vec::new() };
        let ranges = head.labels().iter().zip(head.highest());
        ranges.map(|(label, highest)| LabelRange { label: label.to_string(), highest: up(highest) }).collect()
    };
    Vocabulary {
        model: scorer.digest().to_owned(),
        intents: labels("intent"),
        emotions: labels("emotion"),
        acts: labels("act"),
        examples: scorer.examples_spec().is_some(),
    }
}

/// The next ten-thousandth at or above: a bound stays one.
fn up(value: f32) -> BasisPoints {
    BasisPoints::new((f64::from(value) * 10_000.0).ceil().min(10_000.0) / 10_000.0).expect("a probability is in the range")
}

/// Texts that are scored in one call.
pub const BATCH: usize = 64;

/// Signals by text.
pub type SignalTable = BTreeMap<Scorable, MessageSignals>;

/// Turns the signals of a model into what one policy reads.
pub struct Observer {
    spec: Option<ExamplesSpec>,
    intents: Vec<ExampleIntent>,
}

/// An intent by example that has no vectors.
#[derive(Debug)]
pub enum ObserverError {
    /// The engine failed.
    Score(ScoreError),
    /// Fewer than two of its examples hold a word that the model reads.
    Examples {
        /// The intent.
        id: String,
    },
}

impl fmt::Display for ObserverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Score(error) => error.fmt(f),
            Self::Examples { id } => write!(f, "intent {id:?}: examples: fewer than two hold a word"),
        }
    }
}

impl std::error::Error for ObserverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Score(error) => Some(error),
            Self::Examples { .. } => None,
        }
    }
}

impl Observer {
    /// Embeds the policy's intents by example.
    pub fn new(scorer: &Scorer, policy: &Policy) -> Result<Self, ObserverError> {
        let mut intents = Vec::with_capacity(policy.intents.len());
        for intent in &policy.intents {
            let examples: Vec<&str> = intent.examples.iter().map(String::as_str).collect();
            let embedded = scorer.example_intent(&examples).map_err(ObserverError::Score)?;
            intents.push(embedded.ok_or_else(|| ObserverError::Examples { id: intent.id.clone() })?);
        }
        Ok(Self { spec: scorer.examples_spec().cloned(), intents })
    }

    /// What the policy reads of some texts, each scored once.
    pub fn table(&self, scorer: &Scorer, mut texts: Vec<Scorable>) -> Result<SignalTable, ScoreError> {
        texts.sort();
        texts.dedup();
        let mut table = SignalTable::new();
        for batch in texts.chunks(BATCH) {
            table.extend(batch.iter().cloned().zip(self.batch(scorer, batch)?));
        }
        Ok(table)
    }

    /// The same of the texts of one call of the model, in order.
    pub fn batch(&self, scorer: &Scorer, texts: &[Scorable]) -> Result<Vec<MessageSignals>, ScoreError> {
        let inputs: Vec<ScoreInput<'_>> =
            texts.iter().map(|text| ScoreInput { text: &text.text, proposal: text.previous_bot_text.as_deref() }).collect();
        Ok(scorer.score(&inputs)?.iter().map(|signals| self.signals(signals)).collect())
    }

    /// What the policy reads of a message's signals.
    pub fn signals(&self, signals: &Signals) -> MessageSignals {
        let embedding = signals.embedding.as_ref().map(QuantizedEmbedding::new).map_err(|absence| *absence);
        MessageSignals {
            language_known: signals.language.map(|language| language.known),
            valence: signals.sentiment.as_ref().map_err(|absence| *absence).and_then(|c| valence(c).ok_or(Absence::NotInModel)),
            emotions: signals.emotion.as_ref().map(|tags| basis_points(&tags.probabilities)).map_err(|absence| *absence),
            intents: signals.intent.as_ref().map(intents).map_err(|absence| *absence),
            acts: signals.act.as_ref().map(|c| basis_points(&c.probabilities)).map_err(|absence| *absence),
            example_intents: self.example_intents(signals, embedding.as_ref()),
            lexical: lexical(signals),
            embedding,
        }
    }

    /// From the vector as it is kept, so that a replay gives the same; absent in a language that the model does not know.
    fn example_intents(&self, signals: &Signals, embedding: Result<&QuantizedEmbedding, &Absence>) -> Signal<Vec<BasisPoints>> {
        let Some(spec) = &self.spec else { return Err(Absence::NotInModel) };
        if signals.language.is_ok_and(|language| !language.known) {
            return Err(Absence::Language);
        }
        let embedding = embedding.map_err(|absence| *absence)?.embedding();
        Ok(self.intents.iter().map(|intent| spec.probability(intent, &embedding).into()).collect())
    }
}

fn valence(classification: &Classification) -> Option<BasisPoints> {
    BasisPoints::new(f64::from(classification.valence()?).clamp(-1.0, 1.0))
}

fn basis_points(probabilities: &[(Label, Probability)]) -> Vec<BasisPoints> {
    probabilities.iter().map(|(_, p)| BasisPoints::from(*p)).collect()
}

fn intents(classification: &Classification) -> Intents {
    Intents {
        probabilities: basis_points(&classification.probabilities),
        top: classification.top.and_then(|top| u16::try_from(top).ok()),
        in_scope: classification.in_scope.map(BasisPoints::from),
    }
}

fn lexical(signals: &Signals) -> LexicalFlags {
    let has = |kind| signals.lexical.has(kind);
    LexicalFlags {
        asks_for_person: has(LexicalKind::AsksForPerson),
        declines_person: has(LexicalKind::DeclinesPerson),
        legal: has(LexicalKind::Legal),
        privacy: has(LexicalKind::Privacy),
        security: has(LexicalKind::Security),
    }
}
