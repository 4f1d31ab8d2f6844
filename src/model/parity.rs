//! Does this engine give the answers of the reference library?
//!
//! `parity.json` holds texts with ids, vectors and probabilities that the training framework computed from the package's own weights. Every load
//! scores the texts; ids must be equal, numbers within the tolerance of the engine. A package that fails does not serve.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

use super::encoder::EngineKind;
use super::fault::Fault;
use super::head::Input;
use super::scorer::{ScoreError, Scorer};

/// Name of the file inside a package.
pub const FILE: &str = "parity.json";
/// Most texts of a file: parity is part of every start.
const TEXTS_MAX: usize = 256;

/// The text of `parity.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParityFile {
    /// 1.
    pub format: u32,
    /// Which program computed it.
    pub made_by: String,
    /// At least one.
    pub texts: Vec<ParityText>,
    /// For the heads that read two turns.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pairs: Vec<ParityPair>,
}

/// A message and the bot's turn before it, with the reference answers of the heads that read both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParityPair {
    /// The message; fits one window.
    pub text: String,
    /// The bot's turn; fits one window.
    pub previous: String,
    /// Calibrated, by head.
    pub probabilities: BTreeMap<String, Vec<f32>>,
}

/// One text with its reference answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ParityText {
    /// Fits one window.
    pub text: String,
    /// Special tokens included.
    pub input_ids: Vec<u32>,
    /// Unit length.
    pub embedding: Vec<f32>,
    /// Calibrated, by head.
    pub probabilities: BTreeMap<String, Vec<f32>>,
}

/// How far an engine may be from the reference.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// How near the vector must be.
    pub embedding: Near,
    /// Largest difference of one probability.
    pub probability: f32,
    /// The label must be the same where the reference's first is this far above its second; a smaller margin is a tie that rounding may turn.
    pub margin: f32,
}

/// How near two vectors of unit length are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Near {
    /// Largest difference of one value.
    Difference(f32),
    /// Least cosine.
    Cosine(f32),
}

/// The tolerance of an engine. f32 sums in another order differ by about 1e-6 on this trunk; 1e-4 leaves room for other machines. A head's weights
/// have rows of length 10 to 30, which carries a difference of the vector into the logits tenfold. Bytes lose more: what they may lose is DESIGN's, whatever
/// the activations have, since weights in f32 or f16 become bytes when they are loaded. From weights that are bytes, activations of two stay within 2e-4 of the vector (tests/it/parity.rs).
pub fn tolerance(engine: EngineKind) -> Tolerance {
    match engine {
        EngineKind::CandleF32 => Tolerance { embedding: Near::Difference(1e-4), probability: 1e-3, margin: 2e-3 },
        EngineKind::Int8(..) => Tolerance { embedding: Near::Cosine(0.998), probability: 0.03, margin: 0.05 },
    }
}

/// Reads `parity.json`.
pub fn parse(bytes: &[u8]) -> Result<ParityFile, Vec<Fault>> {
    let fault = |key: &str, found: String, expected: &str| vec![Fault::new(FILE, key, found, expected)];
    let file: ParityFile =
        serde_json::from_slice(bytes).map_err(|error| fault("", error.to_string(), "the keys of docs/model-package.md"))?;
    if file.format != 1 {
        return Err(fault("format", file.format.to_string(), "1"));
    }
    if !(1..=TEXTS_MAX).contains(&file.texts.len()) {
        return Err(fault("texts", format!("{} texts", file.texts.len()), "1 to 256"));
    }
    if file.pairs.len() > TEXTS_MAX {
        return Err(fault("pairs", format!("{} pairs", file.pairs.len()), "0 to 256"));
    }
    Ok(file)
}

/// The answers of a scorer to texts, for a model whose heads read one turn; texts without a token are left out.
pub fn answers(scorer: &Scorer, texts: &[&str], made_by: String) -> Result<ParityFile, ScoreError> {
    let mut file = ParityFile { format: 1, made_by, texts: Vec::with_capacity(texts.len()), pairs: Vec::new() };
    for text in texts {
        let found = scorer.reference(text)?;
        if !found.embedding.0.is_empty() {
            file.texts.push(ParityText {
                text: (*text).to_owned(),
                input_ids: found.input_ids,
                embedding: found.embedding.0,
                probabilities: found.probabilities.into_iter().collect(),
            });
        }
    }
    Ok(file)
}

/// Scores every text and names each difference.
pub fn check(scorer: &Scorer, file: &ParityFile) -> Result<Vec<Fault>, ScoreError> {
    let tolerance = tolerance(scorer.encoder.kind());
    let mut faults = Vec::new();
    for (i, expected) in file.texts.iter().enumerate() {
        let found = scorer.reference(&expected.text)?;
        let mut fault =
            |key: &str, found: String, expected: String| faults.push(Fault::new(FILE, format!("texts[{i}].{key}"), found, expected));
        if found.input_ids != expected.input_ids {
            fault("input_ids", format!("{:?}", found.input_ids), format!("{:?}", expected.input_ids));
            continue;
        }
        if let Some((found, expected)) = far_vector(&found.embedding.0, &expected.embedding, tolerance.embedding) {
            fault("embedding", found, expected);
        }
        compare(&found.probabilities, &expected.probabilities, "the message", tolerance, &mut fault);
    }
    if let Some(head) = scorer.heads().iter().find(|head| head.spec.input == Input::Pair && file.pairs.is_empty()) {
        faults.push(Fault::new(FILE, "pairs", "no pair".to_owned(), format!("at least one: head {:?} reads two turns", head.name())));
    }
    for (i, expected) in file.pairs.iter().enumerate() {
        let found = scorer.reference_of_pair(&expected.text, &expected.previous)?;
        if found.is_empty() && scorer.heads().iter().any(|head| head.spec.input == Input::Pair) {
            let (found, expected) = ("a turn without a token".to_owned(), "a message and the turn before it".to_owned());
            faults.push(Fault::new(FILE, format!("pairs[{i}]"), found, expected));
            continue;
        }
        let mut fault =
            |key: &str, found: String, expected: String| faults.push(Fault::new(FILE, format!("pairs[{i}].{key}"), found, expected));
        compare(&found, &expected.probabilities, "both turns", tolerance, &mut fault);
    }
    Ok(faults)
}

/// Names each head whose answers differ, or that only one side has.
fn compare(
    found: &[(String, Vec<f32>)],
    expected: &BTreeMap<String, Vec<f32>>,
    read: &str,
    tolerance: Tolerance,
    fault: &mut dyn FnMut(&str, String, String),
) {
    let named: Vec<&str> = found.iter().map(|(head, _)| head.as_str()).collect();
    if let Some(head) = expected.keys().find(|head| !named.contains(&head.as_str())) {
        fault(&format!("probabilities.{head}"), "a head".to_owned(), format!("one of those that read {read}: {named:?}"));
    }
    for (head, probabilities) in found {
        let expected = expected.get(head).map_or(&[][..], Vec::as_slice);
        let difference = largest_difference(probabilities, expected);
        if difference.is_none_or(|d| d > tolerance.probability) {
            fault(&format!("probabilities.{head}"), describe(difference), format!("at most {}", tolerance.probability));
        } else if let (found, Some(first)) = (largest(probabilities), clear_first(expected, tolerance.margin))
            && found != Some(first)
        {
            fault(&format!("probabilities.{head}"), format!("label {found:?} first"), format!("label {first}, as its margin is clear"));
        }
    }
}

/// What was found and what was expected of a vector that is too far.
fn far_vector(found: &[f32], expected: &[f32], near: Near) -> Option<(String, String)> {
    match near {
        Near::Difference(most) => {
            let difference = largest_difference(found, expected);
            difference.is_none_or(|d| d > most).then(|| (describe(difference), format!("at most {most}")))
        }
        Near::Cosine(least) => {
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>();
            // The file says that its vectors are of unit length; a wrong one may not be.
            let cosine =
                (found.len() == expected.len()).then(|| dot(found, expected) / (dot(found, found) * dot(expected, expected)).sqrt());
            let far = cosine.is_none_or(|cosine| cosine.is_nan() || cosine < least);
            far.then(|| (cosine.map_or("another number of values".to_owned(), |c| format!("a cosine of {c}")), format!("at least {least}")))
        }
    }
}

/// The place of the largest number.
fn largest(values: &[f32]) -> Option<usize> {
    (0..values.len()).max_by(|a, b| values[*a].total_cmp(&values[*b]))
}

/// The place of the largest number, if it is this far above all others.
fn clear_first(values: &[f32], margin: f32) -> Option<usize> {
    let first = largest(values)?;
    let others = values.iter().enumerate().filter(|(at, _)| *at != first);
    others.map(|(_, value)| *value).all(|value| values[first] - value >= margin).then_some(first)
}

fn describe(difference: Option<f32>) -> String {
    difference.map_or("another number of values".to_owned(), |d| format!("a largest difference of {d}"))
}

/// `None` where the lengths differ; NaN counts as infinitely far.
fn largest_difference(a: &[f32], b: &[f32]) -> Option<f32> {
    let far = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    (a.len() == b.len()).then(|| a.iter().zip(b).map(far).fold(0.0, f32::max))
}
