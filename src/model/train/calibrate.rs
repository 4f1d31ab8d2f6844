//! Held-out logits → temperature and a bias a label.
//!
//! Minimises the log loss of held-out rows over `u = z / temperature + bias`: one temperature for a softmax, one a label for sigmoids (Platt scaling).
//! The biases carry a weak ridge, so that a label with few rows is not moved by chance.

use super::Targets;
use super::optimise::{Objective, Stop, minimise};
use crate::model::head::{Kind, sigmoid};

/// Weight of the ridge on the biases. Our choice: at 1e-4 a shift of 1 costs as much as one surprising row among 10,000.
const BIAS_RIDGE: f64 = 1e-4;

/// A temperature is kept within this factor of 1 in both directions. Rows that are told apart without a mistake would drive it to 0, and every
/// probability with it to 0 or 1, which a few rows cannot know.
const TEMPERATURE_FACTOR_MAX: f64 = 10.0;

#[derive(Clone, Debug)]
pub(super) struct Calibration {
    /// One, or one a label.
    pub(super) temperature: Vec<f32>,
    /// One a label.
    pub(super) bias: Vec<f32>,
    /// Of the rows it was fitted on, in nats a row.
    pub(super) log_loss: f64,
}

impl Calibration {
    /// Calibrated logits of one row.
    pub(super) fn apply(&self, z: &[f32]) -> Vec<f32> {
        let temperature = |label: usize| self.temperature[label % self.temperature.len()];
        z.iter().zip(&self.bias).enumerate().map(|(label, (z, b))| z / temperature(label) + b).collect()
    }

    /// p of one label of a multi-label head.
    pub(super) fn probability(&self, z: f32, label: usize) -> f32 {
        sigmoid(z / self.temperature[label % self.temperature.len()] + self.bias[label])
    }

    /// The temperature alone, for a fit with other labels.
    pub(super) fn without_bias(&self, labels: usize) -> Self {
        Self { bias: vec![0.0; labels], ..self.clone() }
    }
}

pub(super) fn fit(held_out: &[f32], targets: &Targets) -> Calibration {
    let labels = targets.labels.len();
    let temperatures = match targets.kind {
        Kind::SingleLabel => 1,
        Kind::MultiLabel => labels,
    };
    let problem = LogLoss { held_out, targets, labels, temperatures };
    let mut found = minimise(&problem, vec![0.0; temperatures + labels], Stop { gradient: 1e-6, gain: 1e-10, steps: 100 });
    let bound = TEMPERATURE_FACTOR_MAX.ln();
    found[..temperatures].iter_mut().for_each(|t| *t = t.clamp(-bound, bound));
    let (log_temperature, bias) = found.split_at(temperatures);
    Calibration {
        temperature: log_temperature.iter().map(|t| t.exp() as f32).collect(),
        bias: bias.iter().map(|b| *b as f32).collect(),
        log_loss: problem.value_and_gradient(&found).0,
    }
}

struct LogLoss<'a> {
    held_out: &'a [f32],
    targets: &'a Targets,
    labels: usize,
    temperatures: usize,
}

impl Objective for LogLoss<'_> {
    fn value_and_gradient(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let (log_temperature, bias) = parameters.split_at(self.temperatures);
        let inverse: Vec<f64> = log_temperature.iter().map(|t| (-t).exp()).collect();
        let rows = self.targets.rows.len().max(1) as f64;
        let mut value = 0.5 * BIAS_RIDGE * bias.iter().map(|b| b * b).sum::<f64>();
        let mut gradient = vec![0.0; parameters.len()];
        gradient[self.temperatures..].iter_mut().zip(bias).for_each(|(g, b)| *g = BIAS_RIDGE * b);
        let mut slopes = vec![0.0f64; self.labels];
        for (z, present) in self.held_out.chunks_exact(self.labels).zip(&self.targets.rows) {
            let scaled = |label: usize| f64::from(z[label]) * inverse[label % self.temperatures];
            let u: Vec<f64> = (0..self.labels).map(|label| scaled(label) + bias[label]).collect();
            value += row_loss(self.targets.kind, &u, present, &mut slopes) / rows;
            for (label, slope) in slopes.iter().enumerate() {
                gradient[label % self.temperatures] -= slope * scaled(label) / rows;
                gradient[self.temperatures + label] += slope / rows;
            }
        }
        (value, gradient)
    }
}

/// Log loss of one row; `slopes` gets its derivative by each calibrated logit.
fn row_loss(kind: Kind, u: &[f64], present: &[u32], slopes: &mut [f64]) -> f64 {
    match kind {
        Kind::SingleLabel => {
            let largest = u.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = u.iter().map(|v| (v - largest).exp()).sum();
            slopes.iter_mut().zip(u).for_each(|(slope, v)| *slope = (v - largest).exp() / sum);
            let target = present[0] as usize;
            slopes[target] -= 1.0;
            sum.ln() + largest - u[target]
        }
        Kind::MultiLabel => {
            let mut loss = 0.0;
            for (label, (slope, v)) in slopes.iter_mut().zip(u).enumerate() {
                let target = if present.contains(&(label as u32)) { 1.0 } else { 0.0 };
                loss += v.max(0.0) - v * target + (-v.abs()).exp().ln_1p();
                *slope = 1.0 / (1.0 + (-v).exp()) - target;
            }
            loss
        }
    }
}
