//! Logistic regression with L2: multinomial, or one a label.
//!
//! Minimises `mean(weight · loss) + ‖W‖² / (2 · C · rows)`; the bias is not regularised (as in scikit-learn). Products run in f32 through
//! candle's matmul, sums and the optimiser in f64. Rows are dealt to all cores in blocks whose sums are added in one order, so that the result does not
//! depend on the number of cores.

use candle_core::{Device, Tensor};
use rayon::prelude::*;

use super::optimise::{Objective, Stop, minimise};
use crate::model::head::Kind;

/// Rows of one block: a product large enough to be efficient, and enough blocks for every core.
const BLOCK_ROWS: usize = 1024;

/// Row-major numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// Number of rows.
    pub rows: usize,
    /// Length of a row.
    pub columns: usize,
    values: Vec<f32>,
}

impl Matrix {
    /// Takes row-major values.
    pub fn new(values: Vec<f32>, columns: usize) -> Self {
        assert!(columns > 0 && values.len().is_multiple_of(columns), "a matrix has whole rows");
        Self { rows: values.len() / columns, columns, values }
    }

    /// One row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.columns..][..self.columns]
    }

    /// A copy of some rows.
    pub fn select(&self, rows: &[usize]) -> Self {
        Self::new(rows.iter().flat_map(|row| self.row(*row).iter().copied()).collect(), self.columns)
    }

    /// Blocks of [`BLOCK_ROWS`] rows, the last one shorter.
    fn blocks(&self) -> Vec<Tensor> {
        let block = |values: &[f32]| Tensor::from_slice(values, (values.len() / self.columns, self.columns), &Device::Cpu);
        self.values.chunks(BLOCK_ROWS * self.columns).map(|values| block(values).expect("a block has whole rows")).collect()
    }
}

/// What is minimised.
pub(super) struct Problem<'a> {
    blocks: Vec<Tensor>,
    rows: usize,
    inputs: usize,
    targets: &'a [Vec<u32>],
    kind: Kind,
    labels: usize,
    weights: Vec<f32>,
    l2: f64,
}

/// A minimum: `weight [inputs, labels]` row-major, then `bias [labels]`.
pub(super) struct Solution {
    parameters: Vec<f64>,
    inputs: usize,
    labels: usize,
}

impl<'a> Problem<'a> {
    pub(super) fn new(features: &Matrix, targets: &'a [Vec<u32>], kind: Kind, labels: usize) -> Self {
        assert_eq!(features.rows, targets.len(), "one target a row");
        let (rows, inputs) = (features.rows, features.columns);
        Self { blocks: features.blocks(), rows, inputs, targets, kind, labels, weights: vec![1.0; rows], l2: 0.0 }
    }

    /// One weight a row.
    pub(super) fn weighted(mut self, weights: Vec<f32>) -> Self {
        self.weights = weights;
        self
    }

    /// L2 of strength 1 / C.
    pub(super) fn regularised(mut self, inverse_l2: f64) -> Self {
        self.l2 = 1.0 / (inverse_l2 * self.rows as f64);
        self
    }

    /// Minimises from zero, or from a solution of a neighbouring problem.
    pub(super) fn solve(&self, start: Option<Vec<f64>>) -> Solution {
        let start = start.unwrap_or_else(|| vec![0.0; (self.inputs + 1) * self.labels]);
        let parameters = minimise(self, start, Stop { gradient: 2e-5, gain: 1e-9, steps: 300 });
        Solution { parameters, inputs: self.inputs, labels: self.labels }
    }

    /// Loss of one row; `z` becomes its gradient.
    fn row_loss(&self, row: usize, z: &mut [f32]) -> f64 {
        let weight = self.weights[row];
        let scale = weight / self.rows as f32;
        let present = &self.targets[row];
        let mut loss = 0.0f64;
        match self.kind {
            Kind::SingleLabel => {
                let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                let target = present[0] as usize;
                let shifted = z[target] - largest;
                let mut sum = 0.0f32;
                for v in z.iter_mut() {
                    *v = (*v - largest).exp();
                    sum += *v;
                }
                loss += f64::from(sum.ln() - shifted);
                z.iter_mut().for_each(|v| *v *= scale / sum);
                z[target] -= scale;
            }
            Kind::MultiLabel => {
                for (label, v) in z.iter_mut().enumerate() {
                    let target = if present.contains(&(label as u32)) { 1.0 } else { 0.0 };
                    loss += f64::from(v.max(0.0) - *v * target + (-v.abs()).exp().ln_1p());
                    *v = scale * (1.0 / (1.0 + (-*v).exp()) - target);
                }
            }
        }
        loss * f64::from(weight)
    }
}

impl Problem<'_> {
    /// Loss and gradient of the rows of one block, without L2.
    fn block(&self, number: usize, weight: &Tensor, bias: &[f64]) -> (f64, Vec<f32>, Vec<f64>) {
        let x = &self.blocks[number];
        let mut z = product(x, weight, bias);
        let mut loss = 0.0;
        let mut of_bias = vec![0.0f64; self.labels];
        for (at, z) in z.chunks_exact_mut(self.labels).enumerate() {
            loss += self.row_loss(number * BLOCK_ROWS + at, z);
            of_bias.iter_mut().zip(&*z).for_each(|(g, v)| *g += f64::from(*v));
        }
        let rows = z.len() / self.labels;
        let residual = Tensor::from_vec(z, (rows, self.labels), &Device::Cpu).expect("one residual a row and label");
        let gradient = x.t().and_then(|x| x.matmul(&residual)).and_then(|g| g.flatten_all()?.to_vec1::<f32>());
        (loss, gradient.expect("shapes of a CPU product were made to fit"), of_bias)
    }
}

impl Objective for Problem<'_> {
    fn value_and_gradient(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let split = self.inputs * self.labels;
        let (weight, bias) = (weight_tensor(parameters, self.inputs, self.labels), &parameters[split..]);
        // Collected before adding up, so that the sums have one order whatever the threads did.
        let blocks: Vec<_> = (0..self.blocks.len()).into_par_iter().map(|number| self.block(number, &weight, bias)).collect();
        let norm: f64 = parameters[..split].iter().map(|w| w * w).sum();
        let mut value = 0.5 * self.l2 * norm;
        let mut gradient: Vec<f64> = parameters[..split].iter().map(|w| self.l2 * w).chain(vec![0.0; self.labels]).collect();
        for (loss, of_weight, of_bias) in blocks {
            value += loss / self.rows as f64;
            let of_block = of_weight.into_iter().map(f64::from).chain(of_bias);
            gradient.iter_mut().zip(of_block).for_each(|(g, v)| *g += v);
        }
        (value, gradient)
    }
}

impl Solution {
    pub(super) fn parameters(self) -> Vec<f64> {
        self.parameters
    }

    /// `[rows, labels]`
    pub(super) fn logits(&self, features: &Matrix) -> Vec<f32> {
        let weight = weight_tensor(&self.parameters, self.inputs, self.labels);
        let bias = &self.parameters[self.inputs * self.labels..];
        features.blocks().par_iter().flat_map_iter(|block| product(block, &weight, bias)).collect()
    }

    /// `weight [labels, inputs]` and `bias [labels]`.
    pub(super) fn rows_by_label(&self) -> (Vec<f32>, Vec<f32>) {
        let (weight, bias) = self.parameters.split_at(self.inputs * self.labels);
        let by_label = (0..self.labels).flat_map(|label| (0..self.inputs).map(move |input| weight[input * self.labels + label] as f32));
        (by_label.collect(), bias.iter().map(|b| *b as f32).collect())
    }
}

/// `[inputs, labels]`
fn weight_tensor(parameters: &[f64], inputs: usize, labels: usize) -> Tensor {
    let weight = parameters[..inputs * labels].iter().map(|v| *v as f32).collect();
    Tensor::from_vec(weight, (inputs, labels), &Device::Cpu).expect("one weight an input and label")
}

/// `x [rows, inputs] · weight [inputs, labels] + bias`.
fn product(x: &Tensor, weight: &Tensor, bias: &[f64]) -> Vec<f32> {
    let z = x.matmul(weight).and_then(|z| z.flatten_all()?.to_vec1::<f32>());
    let mut z = z.expect("shapes of a CPU product were made to fit");
    for row in z.chunks_exact_mut(bias.len()) {
        row.iter_mut().zip(bias).for_each(|(v, b)| *v += *b as f32);
    }
    z
}

/// Plain logistic regression on a few features in f64: weights and bias that minimise the weighted log loss plus `l2 / 2 · ‖w‖²`.
pub fn fit_logistic(rows: &[Vec<f64>], present: &[bool], weights: &[f64], l2: f64) -> (Vec<f64>, f64) {
    let problem = Small { rows, present, weights, l2 };
    let columns = rows.first().map_or(0, Vec::len);
    let mut found = minimise(&problem, vec![0.0; columns + 1], Stop { gradient: 1e-8, gain: 1e-13, steps: 500 });
    let bias = found.pop().unwrap_or(0.0);
    (found, bias)
}

struct Small<'a> {
    rows: &'a [Vec<f64>],
    present: &'a [bool],
    weights: &'a [f64],
    l2: f64,
}

impl Objective for Small<'_> {
    fn value_and_gradient(&self, parameters: &[f64]) -> (f64, Vec<f64>) {
        let (w, bias) = parameters.split_at(parameters.len() - 1);
        let total: f64 = self.weights.iter().sum();
        let mut value = 0.5 * self.l2 * w.iter().map(|w| w * w).sum::<f64>();
        let mut gradient: Vec<f64> = w.iter().map(|w| self.l2 * w).chain([0.0]).collect();
        for ((row, present), weight) in self.rows.iter().zip(self.present).zip(self.weights) {
            let z = row.iter().zip(w).map(|(x, w)| x * w).sum::<f64>() + bias[0];
            let target = f64::from(u8::from(*present));
            value += weight / total * (z.max(0.0) - z * target + (-z.abs()).exp().ln_1p());
            let slope = weight / total * (1.0 / (1.0 + (-z).exp()) - target);
            gradient.iter_mut().zip(row.iter().chain([&1.0])).for_each(|(g, x)| *g += slope * x);
        }
        (value, gradient)
    }
}
