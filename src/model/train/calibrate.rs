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
    fit_rows(held_out, targets, &(0..targets.labels.len()).collect::<Vec<_>>())
}

/// The same for a head some of whose rows count for one label: `label_of` names that of each row, and each row has a bias of its own.
pub(super) fn fit_rows(held_out: &[f32], targets: &Targets, label_of: &[usize]) -> Calibration {
    let rows = label_of.len();
    let temperatures = match targets.kind {
        Kind::SingleLabel => 1,
        Kind::MultiLabel => rows,
    };
    let problem = LogLoss { held_out, targets, label_of, temperatures, ridge: BIAS_RIDGE };
    let mut found = minimise(&problem, vec![0.0; temperatures + rows], Stop { gradient: 1e-6, gain: 1e-10, steps: 100 });
    let bound = TEMPERATURE_FACTOR_MAX.ln();
    found[..temperatures].iter_mut().for_each(|t| *t = t.clamp(-bound, bound));
    let (log_temperature, bias) = found.split_at(temperatures);
    Calibration {
        temperature: log_temperature.iter().map(|t| t.exp() as f32).collect(),
        bias: bias.iter().map(|b| *b as f32).collect(),
        log_loss: problem.value_and_gradient(&found).0,
    }
}

/// Log loss of rows under a calibration, in nats a row.
pub(super) fn log_loss(held_out: &[f32], targets: &Targets, label_of: &[usize], calibration: &Calibration) -> f64 {
    let log_temperature = calibration.temperature.iter().map(|t| f64::from(*t).ln());
    let parameters: Vec<f64> = log_temperature.chain(calibration.bias.iter().map(|b| f64::from(*b))).collect();
    let problem = LogLoss { held_out, targets, label_of, temperatures: calibration.temperature.len(), ridge: 0.0 };
    problem.value_and_gradient(&parameters).0
}

struct LogLoss<'a> {
    held_out: &'a [f32],
    targets: &'a Targets,
    /// The label that each row of the head counts for.
    label_of: &'a [usize],
    temperatures: usize,
    ridge: f64,
}

impl Objective for LogLoss<'_> {
    fn value_and_gradient(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let (log_temperature, bias) = parameters.split_at(self.temperatures);
        let inverse: Vec<f64> = log_temperature.iter().map(|t| (-t).exp()).collect();
        let rows = self.targets.rows.len().max(1) as f64;
        let mut value = 0.5 * self.ridge * bias.iter().map(|b| b * b).sum::<f64>();
        let mut gradient = vec![0.0; parameters.len()];
        gradient[self.temperatures..].iter_mut().zip(bias).for_each(|(g, b)| *g = self.ridge * b);
        let width = self.label_of.len();
        let mut slopes = vec![0.0f64; width];
        for (z, present) in self.held_out.chunks_exact(width).zip(&self.targets.rows) {
            let scaled = |label: usize| f64::from(z[label]) * inverse[label % self.temperatures];
            let u: Vec<f64> = (0..width).map(|row| scaled(row) + bias[row]).collect();
            value += row_loss(self.targets.kind, &u, present, self.label_of, &mut slopes) / rows;
            for (label, slope) in slopes.iter().enumerate() {
                gradient[label % self.temperatures] -= slope * scaled(label) / rows;
                gradient[self.temperatures + label] += slope / rows;
            }
        }
        (value, gradient)
    }
}

/// Log loss of one row; `slopes` gets its derivative by each calibrated logit.
fn row_loss(kind: Kind, u: &[f64], present: &[u32], label_of: &[usize], slopes: &mut [f64]) -> f64 {
    match kind {
        Kind::SingleLabel => {
            let largest = u.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = u.iter().map(|v| (v - largest).exp()).sum();
            slopes.iter_mut().zip(u).for_each(|(slope, v)| *slope = (v - largest).exp() / sum);
            let of_target = || (0..u.len()).filter(|row| label_of[*row] == present[0] as usize);
            let largest_of_target = of_target().map(|row| u[row]).fold(f64::NEG_INFINITY, f64::max);
            let sum_of_target: f64 = of_target().map(|row| (u[row] - largest_of_target).exp()).sum();
            of_target().for_each(|row| slopes[row] -= (u[row] - largest_of_target).exp() / sum_of_target);
            sum.ln() + largest - (sum_of_target.ln() + largest_of_target)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn rows_of_one_label_are_calibrated_by_their_sum() {
        let mut random = Random::new(3);
        let label_of = [0, 0, 1];
        // Logits of a head that is twice as sure as it should be.
        let (mut z, mut rows) = (Vec::new(), Vec::new());
        for _ in 0..4000 {
            let true_z: Vec<f32> = (0..3).map(|_| 2.0 * random.unit() as f32 - 1.0).collect();
            let sum: f32 = true_z.iter().map(|z| z.exp()).sum();
            let of_first = (true_z[0].exp() + true_z[1].exp()) / sum;
            rows.push(vec![u32::from(random.unit() as f32 >= of_first)]);
            z.extend(true_z.iter().map(|z| 2.0 * z));
        }
        let targets = Targets { kind: Kind::SingleLabel, labels: vec!["a".into(), "b".into()], rows };
        let found = fit_rows(&z, &targets, &label_of);
        assert!((found.temperature[0] - 2.0).abs() < 0.35, "{found:?}");
        let as_it_is = Calibration { temperature: vec![1.0], bias: vec![0.0; 3], log_loss: 0.0 };
        let (before, after) = (log_loss(&z, &targets, &label_of, &as_it_is), log_loss(&z, &targets, &label_of, &found));
        assert!(after < before - 0.01, "{before} {after}");
        // The gradient is that of the value.
        let problem = LogLoss { held_out: &z, targets: &targets, label_of: &label_of, temperatures: 1, ridge: BIAS_RIDGE };
        let at = vec![0.3, 0.1, -0.2, 0.4];
        let (_, gradient) = problem.value_and_gradient(&at);
        for place in 0..4 {
            let moved = |by: f64| {
                let mut at = at.clone();
                at[place] += by;
                problem.value_and_gradient(&at).0
            };
            let slope = (moved(1e-5) - moved(-1e-5)) / 2e-5;
            assert!((slope - gradient[place]).abs() < 1e-6, "{place}: {slope} {}", gradient[place]);
        }
    }
}
