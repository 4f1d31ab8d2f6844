//! Intents by example (T14): 5 to 20 messages in, a calibrated probability out, without training.
//!
//! In: unit vectors of the examples and of a message. Out: p(the message has this intent) = sigmoid(weights · f + bias), f being the four
//! [`ExampleIntent::features`]. The parameters are fitted once per trunk by `baton train --target examples` on labelled sets whose intents take turns as "the
//! operator's intent" with random examples; `prior` is the share of messages that had the intent in that fit, and p is calibrated for that share.

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::head::{FILE, dot, sigmoid};
use crate::signal::{Embedding, Probability};

/// Fewest examples of an intent: below, cohesion says nothing.
pub const EXAMPLES_MIN: usize = 5;
/// Most examples of an intent; with more, training a head is better.
pub const EXAMPLES_MAX: usize = 20;
/// Numbers in the evidence of one message.
pub const FEATURES: usize = 4;

/// The parameters in `heads.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExamplesSpec {
    /// One a feature.
    pub weights: Vec<f32>,
    /// Shift.
    pub bias: f32,
    /// Share of messages with the intent for which p is calibrated.
    pub prior: f32,
    /// Where it comes from; not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<serde_json::Value>,
}

impl ExamplesSpec {
    /// Faults of the parameters.
    pub fn check(&self) -> Vec<Fault> {
        let numbers = self.weights.iter().chain([&self.bias, &self.prior]);
        if self.weights.len() == FEATURES && numbers.into_iter().all(|v| v.is_finite()) {
            return Vec::new();
        }
        vec![Fault::new(FILE, "examples.weights", format!("{:?}", self.weights), format!("{FEATURES} finite numbers"))]
    }

    /// p(the message has this intent).
    pub fn probability(&self, intent: &ExampleIntent, message: &Embedding) -> Probability {
        self.probability_of(&intent.features(message))
    }

    /// The same from the evidence.
    pub fn probability_of(&self, evidence: &[f32; FEATURES]) -> Probability {
        Probability::clamped(sigmoid(dot(&self.weights, evidence) + self.bias))
    }
}

/// An intent given by its examples.
#[derive(Clone, Debug, PartialEq)]
pub struct ExampleIntent {
    examples: Vec<Embedding>,
    centroid: Embedding,
    cohesion: f32,
}

impl ExampleIntent {
    /// Takes the vectors of the examples; `None` with fewer than two.
    pub fn new(examples: Vec<Embedding>) -> Option<Self> {
        if examples.len() < 2 {
            return None;
        }
        let width = examples[0].0.len();
        let mut sum = vec![0.0; width];
        for example in &examples {
            for (s, v) in sum.iter_mut().zip(&example.0) {
                *s += v;
            }
        }
        let nearest_other = |i: usize| {
            let others = examples.iter().enumerate().filter(|(j, _)| *j != i);
            others.map(|(_, other)| examples[i].cosine(other)).fold(-1.0, f32::max)
        };
        let cohesion = (0..examples.len()).map(nearest_other).sum::<f32>() / examples.len() as f32;
        Some(Self { centroid: unit(sum), cohesion, examples })
    }

    /// The evidence for a message: cosine to the nearest example, mean of the three nearest, cosine to the middle of all, and the cohesion of the
    /// examples (mean cosine of each to its nearest other), against which the first three are to be seen.
    pub fn features(&self, message: &Embedding) -> [f32; FEATURES] {
        let mut cosines: Vec<f32> = self.examples.iter().map(|example| example.cosine(message)).collect();
        cosines.sort_by(|a, b| b.total_cmp(a));
        let near = &cosines[..cosines.len().min(3)];
        [near[0], near.iter().sum::<f32>() / near.len() as f32, self.centroid.cosine(message), self.cohesion]
    }
}

/// Scales to unit length; a zero vector stays.
pub fn unit(mut values: Vec<f32>) -> Embedding {
    let length = dot(&values, &values).sqrt();
    if length > 0.0 {
        values.iter_mut().for_each(|v| *v /= length);
    }
    Embedding(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_say_how_near_a_message_is() {
        let at = |x: f32, y: f32| unit(vec![x, y]);
        let intent = ExampleIntent::new(vec![at(1.0, 0.0), at(1.0, 0.0), at(0.0, 1.0)]).unwrap();
        let [nearest, three, centroid, cohesion] = intent.features(&at(1.0, 0.0));
        assert!((nearest - 1.0).abs() < 1e-6 && (three - 2.0 / 3.0).abs() < 1e-6);
        assert!((centroid - 2.0 / 5f32.sqrt()).abs() < 1e-6);
        assert!((cohesion - 2.0 / 3.0).abs() < 1e-6, "two have a twin, one has an orthogonal neighbour");
        assert_eq!(ExampleIntent::new(vec![at(1.0, 0.0)]), None);
    }
}
