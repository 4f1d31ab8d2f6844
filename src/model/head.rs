//! Pooled vectors → calibrated probabilities and labels.
//!
//! `heads.json` says what is read from the trunk ([`HeadsFile`], documented in docs/model-package.md), `heads.safetensors` holds the weights. A
//! [`Head`] is both, checked. Where a head has a dense stage, x first becomes `norm(activation(weight x + bias))`, as the classifiers of the reference library
//! do it. `z = weight x + bias` are the logits, `u = z / temperature + bias` the calibrated ones (Guo et al. 2017, "On
//! Calibration of Modern Neural Networks", with a bias a label), and p their softmax or sigmoid.

use std::collections::HashSet;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::weights::Weights;
use crate::signal::{Classification, Label, Probability, Tags};

/// Names of the files inside a package.
pub const FILE: &str = "heads.json";
/// Weights of the heads.
pub const WEIGHTS_FILE: &str = "heads.safetensors";
/// The format this program reads and writes.
pub const FORMAT: u32 = 1;
/// Most labels of a head; beyond it a file is damaged or hostile.
pub const LABELS_MAX: usize = 10_000;
/// Most heads of a package.
const HEADS_MAX: usize = 64;
/// Probabilities are kept this far from 0 and 1 before their odds are taken.
const ODDS_CLAMP: f32 = 1e-6;

/// The text of `heads.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadsFile {
    /// [`FORMAT`].
    pub format: u32,
    /// Name of the package.
    pub name: String,
    /// Version of the package.
    pub version: String,
    /// Tokens of one window, special ones included.
    pub max_seq_len: usize,
    /// How the embedding is made.
    pub embedding: EmbeddingSpec,
    /// The heads, in the order in which they are shown.
    pub heads: Vec<HeadSpec>,
    /// The language guard; without it every language counts as known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<super::language::LanguageSpec>,
    /// Calibration of intents by example; without it they are not offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub examples: Option<super::examples::ExamplesSpec>,
}

/// How the embedding is made.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EmbeddingSpec {
    /// Which states are pooled: `mean` or `cls`.
    pub pooling: Pooling,
}

/// How the states of a window become one vector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pooling {
    /// Mean over all tokens, special ones included.
    Mean,
    /// The state of the first token.
    Cls,
    /// The state of the first token, then the mean: a head sees what training made of the first token, and the vector that its sentence already had.
    ClsMean,
}

impl Pooling {
    /// As heads.json writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Cls => "cls",
            Self::ClsMean => "cls_mean",
        }
    }

    /// Length of the vector, for a trunk of this width.
    pub fn width(self, hidden_size: usize) -> usize {
        match self {
            Self::Mean | Self::Cls => hidden_size,
            Self::ClsMean => 2 * hidden_size,
        }
    }
}

/// Which vector of a text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// After which layer, from 1.
    pub layer: usize,
    /// Which states.
    pub pooling: Pooling,
    /// Whether it is scaled to unit length.
    pub normalize: bool,
}

/// One head of `heads.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadSpec {
    /// Its name; `sentiment`, `emotion`, `intent` and `act` have a meaning of their own.
    pub name: String,
    /// One label or any number.
    pub kind: Kind,
    /// What it reads.
    pub input: Input,
    /// Which vector it reads.
    pub pooling: Pooling,
    /// Whether that vector is scaled to unit length.
    pub normalize: bool,
    /// After which layer of the trunk, from 1; the last where it is not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<usize>,
    /// A stage between that vector and the linear layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dense: Option<DenseSpec>,
    /// The labels, in the order of the weight rows.
    pub labels: Vec<String>,
    /// Single-label: for each weight row the place of its label, where several rows count for one; their p add up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub row_labels: Option<Vec<usize>>,
    /// One, or one a label; above 0.
    pub temperature: Vec<f32>,
    /// One a label.
    pub bias: Vec<f32>,
    /// Share of each label in the rows of calibration.
    pub priors: Vec<f32>,
    /// How the label is chosen.
    pub decision: Decision,
    /// Multi-label: p from which a label is present.
    #[serde(default)]
    pub thresholds: Vec<f32>,
    /// Labels for which a long text takes its largest window.
    #[serde(default)]
    pub window_max: Vec<String>,
    /// How p(in scope) is computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<ScopeSpec>,
    /// Where it comes from; not read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trained_on: Option<serde_json::Value>,
}

/// What a vector goes through before the linear layer of a head: a layer of its own, a function, and a norm where `norm_eps` is given.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// After the layer.
    pub activation: DenseActivation,
    /// Added to the variance in the norm after the function; without it there is no norm.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub norm_eps: Option<f64>,
}

/// Functions of a dense stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DenseActivation {
    /// The hyperbolic tangent.
    Tanh,
    /// max(0, x).
    Relu,
    /// x · Φ(x) with the exact error function.
    Gelu,
}

impl DenseActivation {
    fn of(self, x: f32) -> f32 {
        match self {
            Self::Tanh => x.tanh(),
            Self::Relu => x.max(0.0),
            Self::Gelu => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
        }
    }
}

/// Weights of a dense stage.
#[derive(Clone, Debug, PartialEq)]
pub struct DenseWeights {
    /// `[width, inputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[width]`
    pub bias: Vec<f32>,
    /// `[width]`; empty without a norm.
    pub norm_weight: Vec<f32>,
    /// `[width]`; empty without a norm.
    pub norm_bias: Vec<f32>,
}

impl DenseWeights {
    /// The vector that the linear layer reads.
    fn of(&self, spec: DenseSpec, x: &[f32]) -> Vec<f32> {
        let rows = self.weight.chunks_exact(x.len()).zip(&self.bias);
        let y: Vec<f32> = rows.map(|(row, b)| spec.activation.of(dot(row, x) + b)).collect();
        let Some(eps) = spec.norm_eps else { return y };
        let width = y.len() as f64;
        let mean = y.iter().map(|v| f64::from(*v)).sum::<f64>() / width;
        let variance = y.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / width;
        let scale = 1.0 / (variance + eps).sqrt();
        let norm = self.norm_weight.iter().zip(&self.norm_bias);
        y.iter().zip(norm).map(|(v, (w, b))| ((f64::from(*v) - mean) * scale) as f32 * w + b).collect()
    }
}

/// One label or any number of labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Softmax over the labels.
    SingleLabel,
    /// A sigmoid for each label.
    MultiLabel,
}

/// What a head reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Input {
    /// The vector x of the message.
    Message,
    /// `[x, y, |x - y|, x * y]`, y being the vector of the other side's last turn.
    Pair,
}

impl HeadSpec {
    /// The place of the label that each weight row counts for.
    pub fn label_of_rows(&self) -> Vec<usize> {
        self.row_labels.clone().unwrap_or_else(|| (0..self.labels.len()).collect())
    }

    /// Number of weight rows.
    fn rows(&self) -> usize {
        self.row_labels.as_ref().map_or(self.labels.len(), Vec::len)
    }

    /// Inputs of the head for a trunk of this width.
    pub fn inputs(&self, hidden_size: usize) -> usize {
        let vector = self.pooling.width(hidden_size);
        match self.input {
            Input::Message => vector,
            Input::Pair => 4 * vector,
        }
    }
}

/// How the label of a single-label head is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The largest p.
    Probability,
    /// The largest p / prior: for heads whose labels are told apart with equal weight.
    PriorRatio,
}

/// p(in scope) = sigmoid(weights · f + bias); [`Head::scope_features`] gives f.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScopeSpec {
    /// The label that stands for everything else, if there is one.
    pub out_of_scope_label: Option<String>,
    /// Two, or three with an out-of-scope label.
    pub weights: Vec<f32>,
    /// Shift.
    pub bias: f32,
    /// Below it there is no top label.
    pub threshold: f32,
}

/// A head with its weights, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// As `heads.json` says it.
    pub spec: HeadSpec,
    labels: Vec<Label>,
    dense: Option<DenseWeights>,
    /// `[rows, inputs]`, row-major, a row a label unless the spec says otherwise; behind a dense stage its width is the number of inputs.
    weight: Vec<f32>,
    bias: Vec<f32>,
    window_max: Vec<bool>,
    out_of_scope: Option<usize>,
}

/// A logit is NaN or infinite.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotFinite;

impl Head {
    /// Puts a spec and the weights of its linear layer together; it names no dense stage. `at` names the head in faults, such as `heads[0]`.
    pub fn new(spec: HeadSpec, weight: Vec<f32>, bias: Vec<f32>, at: &str) -> Result<Self, Vec<Fault>> {
        Self::with_dense(spec, None, weight, bias, at)
    }

    /// The same with the weights of the dense stage that the spec names.
    pub fn with_dense(spec: HeadSpec, dense: Option<DenseWeights>, weight: Vec<f32>, bias: Vec<f32>, at: &str) -> Result<Self, Vec<Fault>> {
        assert_eq!(spec.dense.is_some(), dense.is_some(), "a stage comes with its weights");
        let mut faults = Vec::new();
        check(&spec, at, &mut faults);
        if !faults.is_empty() {
            return Err(faults);
        }
        let index = |name: &String| spec.labels.iter().position(|label| label == name);
        Ok(Self {
            labels: spec.labels.iter().map(|label| Arc::from(label.as_str())).collect(),
            window_max: spec.labels.iter().map(|label| spec.window_max.contains(label)).collect(),
            out_of_scope: spec.scope.as_ref().and_then(|scope| scope.out_of_scope_label.as_ref()).and_then(index),
            dense,
            weight,
            bias,
            spec,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// Labels in the order of the probabilities.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// All its tensors: the names that `heads.safetensors` has for them, shapes and row-major values.
    pub fn tensors(&self) -> Vec<(String, Vec<usize>, &[f32])> {
        let rows = self.bias.len();
        let named = |part: &str| format!("{}.{part}", self.spec.name);
        let mut tensors =
            vec![(named("weight"), vec![rows, self.weight.len() / rows], self.weight.as_slice()), (named("bias"), vec![rows], &self.bias)];
        if let Some(dense) = &self.dense {
            let width = dense.bias.len();
            tensors.push((named("dense.weight"), vec![width, dense.weight.len() / width], &dense.weight));
            tensors.push((named("dense.bias"), vec![width], &dense.bias));
            if !dense.norm_weight.is_empty() {
                tensors.push((named("norm.weight"), vec![width], &dense.norm_weight));
                tensors.push((named("norm.bias"), vec![width], &dense.norm_bias));
            }
        }
        tensors
    }

    /// Of the linear layer, `[rows, inputs]`, row-major, and `[rows]`; a row a label, unless the spec says otherwise.
    pub fn weights(&self) -> (&[f32], &[f32]) {
        (&self.weight, &self.bias)
    }

    /// Index of the label that stands for everything else.
    pub fn out_of_scope(&self) -> Option<usize> {
        self.out_of_scope
    }

    /// Whether it is linear in what heads are fitted on, a row a label: the mean of the message, of unit length.
    pub fn reads_features(&self) -> bool {
        let of_features = self.spec.input == Input::Message && self.spec.pooling == Pooling::Mean && self.spec.normalize;
        of_features && self.dense.is_none() && self.spec.row_labels.is_none()
    }

    /// Raw logits z of one input vector.
    pub fn logits(&self, x: &[f32]) -> Result<Vec<f32>, NotFinite> {
        let inputs = self.weight.len() / self.bias.len();
        let behind;
        let x = match (&self.dense, self.spec.dense) {
            (Some(dense), Some(spec)) => {
                assert_eq!(x.len(), dense.weight.len() / dense.bias.len(), "head {} reads vectors of its own width", self.name());
                behind = dense.of(spec, x);
                behind.as_slice()
            }
            _ => x,
        };
        assert_eq!(x.len(), inputs, "head {} reads vectors of its own width", self.name());
        let z: Vec<f32> = self.weight.chunks_exact(inputs).zip(&self.bias).map(|(row, b)| dot(row, x) + b).collect();
        if z.iter().all(|v| v.is_finite()) { Ok(z) } else { Err(NotFinite) }
    }

    /// What the head says of one input vector.
    pub fn answer(&self, x: &[f32]) -> Result<HeadAnswer, NotFinite> {
        let z = self.logits(x)?;
        let probabilities = self.probabilities(&z);
        let in_scope = self.in_scope(&z, &probabilities);
        // Finite logits can leave the range of f32 under a small temperature or a large weight of the scope.
        let finite = probabilities.iter().chain(&in_scope).all(|p| p.is_finite());
        if finite { Ok(HeadAnswer { probabilities, in_scope }) } else { Err(NotFinite) }
    }

    /// Calibrated probabilities of logits z.
    pub fn probabilities(&self, z: &[f32]) -> Vec<f32> {
        let temperature = |label: usize| self.spec.temperature[label % self.spec.temperature.len()];
        let u: Vec<f32> = z.iter().zip(&self.spec.bias).enumerate().map(|(label, (z, b))| z / temperature(label) + b).collect();
        match (self.spec.kind, &self.spec.row_labels) {
            (Kind::SingleLabel, None) => softmax(&u),
            (Kind::SingleLabel, Some(places)) => {
                let mut sums = vec![0.0; self.labels.len()];
                places.iter().zip(softmax(&u)).for_each(|(place, p)| sums[*place] += p);
                sums
            }
            (Kind::MultiLabel, _) => u.into_iter().map(sigmoid).collect(),
        }
    }

    /// What the in-scope score is computed from: `[ln(p1 / (1 - p1)), logsumexp(z), ln(po / (1 - po))]`, see docs/model-package.md.
    pub fn scope_features(&self, z: &[f32], p: &[f32]) -> Vec<f32> {
        scope_features(z, p, self.out_of_scope)
    }

    /// p(in scope) of one window.
    pub fn in_scope(&self, z: &[f32], p: &[f32]) -> Option<f32> {
        let scope = self.spec.scope.as_ref()?;
        Some(sigmoid(dot(&scope.weights, &self.scope_features(z, p)) + scope.bias))
    }

    /// Puts the windows of one text together, each with its number of tokens: labels of `window_max` take their largest p, the others the mean weighted by tokens; a single-label
    /// head keeps the sum 1 by scaling the others. p(in scope) is the largest of the windows.
    pub fn combine(&self, windows: &[(usize, HeadAnswer)]) -> HeadAnswer {
        let [(_, first), rest @ ..] = windows else { unreachable!("a text with a head's answer has a window") };
        if rest.is_empty() {
            return first.clone();
        }
        let tokens: usize = windows.iter().map(|(tokens, _)| tokens).sum();
        let mean = |label: usize| windows.iter().map(|(n, w)| w.probabilities[label] * *n as f32).sum::<f32>() / tokens as f32;
        let largest = |label: usize| windows.iter().map(|(_, w)| w.probabilities[label]).fold(0.0, f32::max);
        let mut p: Vec<f32> = (0..self.labels.len()).map(|l| if self.window_max[l] { largest(l) } else { mean(l) }).collect();
        if self.spec.kind == Kind::SingleLabel {
            let share = |max: bool| -> f32 { p.iter().zip(&self.window_max).filter(|(_, m)| **m == max).map(|(p, _)| p).sum() };
            let (kept, others) = (share(true), share(false));
            let (keep, scale) = if kept >= 1.0 { (1.0 / kept, 0.0) } else { (1.0, (1.0 - kept) / others.max(f32::MIN_POSITIVE)) };
            for (p, max) in p.iter_mut().zip(&self.window_max) {
                *p *= if *max { keep } else { scale };
            }
        }
        HeadAnswer { probabilities: p, in_scope: windows.iter().filter_map(|(_, w)| w.in_scope).reduce(f32::max) }
    }

    /// The largest probability that any message can get from each label: what no threshold may lie above. Inputs are bounded by the unit length of the
    /// vectors, so a difference of two logits is at most the length of the difference of their weights (Cauchy–Schwarz); 1 where the head reads vectors of any
    /// length, of which nothing is known here, passes them through a dense stage, or adds several rows up.
    pub fn highest(&self) -> Vec<f32> {
        let labels = self.labels.len();
        if !self.spec.normalize || self.dense.is_some() || self.spec.row_labels.is_some() {
            return vec![1.0; labels];
        }
        // Of `[x, y, |x - y|, x * y]` the parts are at most 1, 1, 2 and 1 long.
        let longest = if self.spec.input == Input::Pair { 7f32.sqrt() } else { 1.0 };
        let inputs = self.weight.len() / labels;
        let temperature = |label: usize| self.spec.temperature[label % self.spec.temperature.len()];
        let row = |label: usize| self.weight[label * inputs..(label + 1) * inputs].iter().map(move |w| w / temperature(label));
        let shift = |label: usize| self.bias[label] / temperature(label) + self.spec.bias[label];
        let length = |values: &mut dyn Iterator<Item = f32>| longest * values.map(|v| v * v).sum::<f32>().sqrt();
        let highest = |label: usize| match self.spec.kind {
            Kind::MultiLabel => sigmoid(length(&mut row(label)) + shift(label)),
            Kind::SingleLabel => {
                let margin = |other: usize| length(&mut row(label).zip(row(other)).map(|(a, b)| a - b)) + shift(label) - shift(other);
                let others: f32 = (0..labels).filter(|other| *other != label).map(|other| (-margin(other)).exp()).sum();
                1.0 / (1.0 + others)
            }
        };
        // Rounding may leave the sum a little short.
        (0..labels).map(|label| (highest(label) * 1.0001).min(1.0)).collect()
    }

    /// Index of the chosen label, scope not regarded.
    pub fn choose(&self, p: &[f32]) -> usize {
        let value = |label: usize| match self.spec.decision {
            Decision::Probability => p[label],
            Decision::PriorRatio => p[label] / self.spec.priors[label].max(ODDS_CLAMP),
        };
        (0..p.len()).reduce(|best, label| if value(label) > value(best) { label } else { best }).unwrap_or(0)
    }

    /// The signal of a single-label head.
    pub fn classification(&self, p: &[f32], in_scope: Option<f32>) -> Classification {
        let outside = self.spec.scope.as_ref().zip(in_scope).is_some_and(|(scope, p)| p < scope.threshold);
        let chosen = self.choose(p);
        Classification {
            probabilities: self.labelled(p),
            top: (!outside && Some(chosen) != self.out_of_scope).then_some(chosen),
            in_scope: in_scope.map(Probability::clamped),
        }
    }

    /// The signal of a multi-label head.
    pub fn tags(&self, p: &[f32]) -> Tags {
        let present = (0..p.len()).filter(|label| p[*label] >= self.spec.thresholds[*label]).collect();
        Tags { probabilities: self.labelled(p), present }
    }

    fn labelled(&self, p: &[f32]) -> Vec<(Label, Probability)> {
        self.labels.iter().cloned().zip(p.iter().copied().map(Probability::clamped)).collect()
    }
}

/// What a head says of one window, or of a whole text.
#[derive(Clone, Debug, PartialEq)]
pub struct HeadAnswer {
    /// Calibrated, one a label.
    pub probabilities: Vec<f32>,
    /// p(in scope), if the head has it.
    pub in_scope: Option<f32>,
}

/// See [`Head::scope_features`]; the trainer computes them before there is a head.
pub fn scope_features(z: &[f32], p: &[f32], out_of_scope: Option<usize>) -> Vec<f32> {
    let inside = |values: &[f32]| -> Vec<f32> {
        values.iter().enumerate().filter(|(label, _)| Some(*label) != out_of_scope).map(|(_, v)| *v).collect()
    };
    let mut features = vec![log_odds(inside(p).into_iter().fold(0.0, f32::max)), log_sum_exp(&inside(z))];
    features.extend(out_of_scope.map(|label| log_odds(p[label])));
    features
}

fn check(spec: &HeadSpec, at: &str, faults: &mut Vec<Fault>) {
    let labels = spec.labels.len();
    let mut fault = |key: &str, found: String, expected: String| faults.push(Fault::new(FILE, format!("{at}.{key}"), found, expected));
    let (fewest, most) = if spec.kind == Kind::SingleLabel { (2, LABELS_MAX) } else { (1, LABELS_MAX) };
    if !(fewest..=most).contains(&labels) {
        fault("labels", format!("{labels} labels"), format!("{fewest} to {most}"));
        return;
    }
    if let Some(wrong) = wrong_name(&spec.name) {
        fault("name", format!("{:?}", spec.name), wrong);
    }
    let mut seen = HashSet::new();
    if let Some(twice) = spec.labels.iter().find(|label| !seen.insert(label.as_str())) {
        fault("labels", format!("{twice:?} twice"), "each label once".into());
    }
    if let Some(places) = &spec.row_labels {
        let once_or_more = places.len() <= LABELS_MAX && (0..labels).all(|place| places.contains(&place));
        if spec.kind != Kind::SingleLabel || spec.scope.is_some() {
            fault("row_labels", "a list".into(), "none in a head of several labels or with a scope".into());
        } else if !once_or_more || places.iter().any(|place| *place >= labels) {
            fault(
                "row_labels",
                format!("{} places", places.len()),
                format!("each place from 0 to {} once or more, at most {LABELS_MAX}", labels - 1),
            );
        }
    }
    let rows = spec.rows();
    if spec.temperature.len() != 1 && spec.temperature.len() != rows {
        fault("temperature", format!("{} values", spec.temperature.len()), format!("1 or {rows}"));
    }
    if let Some(t) = spec.temperature.iter().find(|t| !(t.is_finite() && **t > 0.0)) {
        fault("temperature", t.to_string(), "numbers above 0".into());
    }
    for (key, values, count) in [("bias", &spec.bias, rows), ("priors", &spec.priors, labels)] {
        if values.len() != count {
            fault(key, format!("{} values", values.len()), format!("{count}, one a label"));
        } else if let Some(v) = values.iter().find(|v| !v.is_finite()) {
            fault(key, v.to_string(), "finite numbers".into());
        }
    }
    let thresholds = if spec.kind == Kind::MultiLabel { labels } else { 0 };
    if spec.thresholds.len() != thresholds {
        fault("thresholds", format!("{} values", spec.thresholds.len()), format!("{thresholds}"));
    } else if let Some(v) = spec.thresholds.iter().find(|v| !(0.0..=1.0).contains(*v)) {
        fault("thresholds", v.to_string(), "numbers in 0..=1".into());
    }
    if let Some(eps) = spec.dense.and_then(|dense| dense.norm_eps).filter(|eps| !(f64::MIN_POSITIVE..=0.1).contains(eps)) {
        fault("dense.norm_eps", eps.to_string(), "a number above 0 and at most 0.1".into());
    }
    if let Some(name) = spec.window_max.iter().find(|name| !seen.contains(name.as_str())) {
        fault("window_max", format!("{name:?}"), "labels of this head".into());
    }
    let Some(scope) = &spec.scope else { return };
    if let Some(name) = scope.out_of_scope_label.as_ref().filter(|name| !spec.labels.contains(name)) {
        fault("scope.out_of_scope_label", format!("{name:?}"), "a label of this head".into());
    }
    let features = if scope.out_of_scope_label.is_some() { 3 } else { 2 };
    if scope.weights.len() != features || scope.weights.iter().chain([&scope.bias, &scope.threshold]).any(|v| !v.is_finite()) {
        fault("scope.weights", format!("{:?}", scope.weights), format!("{features} finite numbers"));
    }
}

/// Longest name of a head.
const NAME_CHARS_MAX: usize = 64;
/// Names that stand beside the heads in results.
const NAMES_TAKEN: &[&str] = &["text", "language", "lexical", "windows", "embedding", "sentences", "example_intents", "examples", "error"];

/// What the name of a head should be, if it is not.
pub fn wrong_name(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.is_empty() || name.len() > NAME_CHARS_MAX || !name.chars().all(plain) {
        return Some(format!("1 to {NAME_CHARS_MAX} letters, digits, _ or -"));
    }
    NAMES_TAKEN.contains(&name).then(|| "a name that results do not use themselves".to_owned())
}

/// Reads `heads.json` alone.
pub fn parse(bytes: &[u8]) -> Result<HeadsFile, Vec<Fault>> {
    let file: HeadsFile = serde_json::from_slice(bytes)
        .map_err(|error| vec![Fault::new(FILE, "", error.to_string(), "the keys of docs/model-package.md")])?;
    let mut faults = Vec::new();
    let mut fault = |key: &str, found: String, expected: String| faults.push(Fault::new(FILE, key, found, expected));
    if file.format != FORMAT {
        fault("format", file.format.to_string(), FORMAT.to_string());
    }
    if file.embedding.pooling == Pooling::ClsMean {
        fault("embedding.pooling", format!("{:?}", file.embedding.pooling.as_str()), "mean or cls".into());
    }
    if file.heads.len() > HEADS_MAX {
        fault("heads", format!("{} heads", file.heads.len()), format!("at most {HEADS_MAX}"));
    }
    for (i, head) in file.heads.iter().enumerate().take(HEADS_MAX) {
        if file.heads[..i].iter().any(|other| other.name == head.name) {
            fault(&format!("heads[{i}].name"), format!("{:?} twice", head.name), "each head once".into());
        }
    }
    if faults.is_empty() { Ok(file) } else { Err(faults) }
}

/// Puts all heads of a file together with their weights.
pub fn assemble(file: &HeadsFile, weights: &[u8], hidden_size: usize) -> Result<Vec<Head>, Vec<Fault>> {
    let mut weights = Weights::read(WEIGHTS_FILE, weights)?;
    let mut heads = Vec::new();
    let mut faults = Vec::new();
    for (i, spec) in file.heads.iter().enumerate() {
        let (rows, mut columns) = (spec.rows(), spec.inputs(hidden_size));
        let dense = spec.dense.map(|dense| take_dense(&mut weights, &spec.name, dense, columns));
        if let Some(dense) = &dense {
            columns = dense.bias.len();
        }
        let weight = weights.take(&format!("{}.weight", spec.name), &[rows, columns]).values;
        let bias = weights.take(&format!("{}.bias", spec.name), &[rows]).values;
        match Head::with_dense(spec.clone(), dense, weight, bias, &format!("heads[{i}]")) {
            Ok(head) => heads.push(head),
            Err(found) => faults.extend(found),
        }
    }
    faults.extend(weights.finish());
    if faults.is_empty() { Ok(heads) } else { Err(faults) }
}

/// The weights of a dense stage, whose width is that of its file; a shift that the file does not have is 0.
fn take_dense(weights: &mut Weights<'_>, name: &str, spec: DenseSpec, inputs: usize) -> DenseWeights {
    let named = |part: &str| format!("{name}.{part}");
    let width = weights.shape(&named("dense.weight")).and_then(|shape| shape.first().copied()).unwrap_or(inputs);
    let shift = |weights: &mut Weights<'_>, part: &str| match weights.shape(&named(part)) {
        Some(_) => weights.take(&named(part), &[width]).values,
        None => vec![0.0; width],
    };
    let weight = weights.take(&named("dense.weight"), &[width, inputs]).values;
    let bias = shift(weights, "dense.bias");
    let (norm_weight, norm_bias) = match spec.norm_eps {
        Some(_) => (weights.take(&named("norm.weight"), &[width]).values, shift(weights, "norm.bias")),
        None => (Vec::new(), Vec::new()),
    };
    DenseWeights { weight, bias, norm_weight, norm_bias }
}

/// Sum of products; eight running sums, so that the compiler can use its vectors and the order is the same on every machine.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "a product of two vectors of one length");
    let mut sums = [0.0f32; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f32 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for i in 0..8 {
            sums[i] += x[i] * y[i];
        }
    }
    sums.iter().sum::<f32>() + tail
}

/// 1 / (1 + e^-x).
pub fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

/// ln(p / (1 - p)), with p kept [`ODDS_CLAMP`] from 0 and 1.
pub fn log_odds(p: f32) -> f32 {
    let p = p.clamp(ODDS_CLAMP, 1.0 - ODDS_CLAMP);
    (p / (1.0 - p)).ln()
}

/// Probabilities that sum to 1.
pub fn softmax(u: &[f32]) -> Vec<f32> {
    let largest = u.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e: Vec<f32> = u.iter().map(|v| (v - largest).exp()).collect();
    let sum: f32 = e.iter().sum();
    e.into_iter().map(|v| v / sum).collect()
}

/// ln Σ e^z.
pub fn log_sum_exp(z: &[f32]) -> f32 {
    let largest = z.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    largest + z.iter().map(|v| (v - largest).exp()).sum::<f32>().ln()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A head over two inputs with the labels a, b and other.
    pub(crate) fn spec() -> HeadSpec {
        HeadSpec {
            name: "intent".into(),
            kind: Kind::SingleLabel,
            input: Input::Message,
            pooling: Pooling::Mean,
            normalize: true,
            layer: None,
            dense: None,
            labels: ["a", "b", "other"].map(String::from).to_vec(),
            row_labels: None,
            temperature: vec![2.0],
            bias: vec![0.0; 3],
            priors: vec![0.5, 0.25, 0.25],
            decision: Decision::Probability,
            thresholds: vec![],
            window_max: vec!["b".into()],
            scope: Some(ScopeSpec { out_of_scope_label: Some("other".into()), weights: vec![1.0, 0.0, 0.0], bias: 0.0, threshold: 0.5 }),
            trained_on: None,
        }
    }

    fn head(spec: HeadSpec) -> Head {
        Head::new(spec, vec![2.0, 0.0, 0.0, 2.0, 0.0, 0.0], vec![0.0; 3], "heads[0]").unwrap()
    }

    #[test]
    fn temperature_and_bias_calibrate_and_the_label_needs_scope() {
        let head = head(spec());
        let z = head.logits(&[2.0, 0.0]).unwrap();
        assert_eq!(z, [4.0, 0.0, 0.0]);
        let p = head.probabilities(&z);
        assert!((p[0] - 2f32.exp() / (2f32.exp() + 2.0)).abs() < 1e-6);
        let inside = head.in_scope(&z, &p);
        assert_eq!(head.classification(&p, inside).label().unwrap().0, "a");
        assert_eq!(head.classification(&p, Some(0.4)).label(), None, "below the threshold there is no label");
        let p = [0.2, 0.2, 0.6];
        assert_eq!(head.classification(&p, Some(0.9)).label(), None, "the out-of-scope label is never the top label");
    }

    #[test]
    fn a_dense_stage_comes_before_the_linear_layer() {
        let with = |activation, norm_eps, norm: [f32; 2]| {
            let spec = HeadSpec { dense: Some(DenseSpec { activation, norm_eps }), ..spec() };
            let (norm_weight, norm_bias) = if norm_eps.is_some() { (vec![norm[0]; 2], vec![norm[1]; 2]) } else { (vec![], vec![]) };
            let dense = DenseWeights { weight: vec![1.0, 0.0, 2.0, 0.0, -1.0, 0.0], bias: vec![0.5, 0.0], norm_weight, norm_bias };
            Head::with_dense(spec, Some(dense), vec![1.0, 0.0, 0.0, 1.0, 0.0, 0.0], vec![0.0; 3], "heads[0]").unwrap()
        };
        // Before the function [1 - 2 + 0.5, -1].
        let x = [1.0, 1.0, -1.0];
        let near = |head: Head, expected: [f32; 2]| {
            let z = head.logits(&x).unwrap();
            assert!(z.iter().zip(&expected).all(|(z, e)| (z - e).abs() < 1e-6), "{z:?}, not {expected:?}");
            assert_eq!(head.highest(), [1.0; 3], "nothing is known of what comes out of it");
            assert!(!head.reads_features());
        };
        near(with(DenseActivation::Tanh, None, [0.0; 2]), [-0.462_117_2, -0.761_594_2]);
        near(with(DenseActivation::Relu, None, [0.0; 2]), [0.0, 0.0]);
        near(with(DenseActivation::Gelu, None, [0.0; 2]), [-0.154_268_8, -0.158_655_3]);
        // Of two values the larger is 1 after the norm, the smaller -1, but for eps; then twice as much, and 3 more.
        near(with(DenseActivation::Tanh, Some(1e-12), [2.0, 3.0]), [5.0, 1.0]);
        let names: Vec<String> = with(DenseActivation::Tanh, Some(1e-12), [2.0, 3.0]).tensors().into_iter().map(|t| t.0).collect();
        assert_eq!(names, ["weight", "bias", "dense.weight", "dense.bias", "norm.weight", "norm.bias"].map(|n| format!("intent.{n}")));
    }

    #[test]
    fn rows_of_one_label_add_up() {
        let spec = HeadSpec {
            labels: ["bad", "good"].map(String::from).to_vec(),
            row_labels: Some(vec![0, 0, 1]),
            temperature: vec![1.0],
            priors: vec![0.5; 2],
            window_max: vec![],
            scope: None,
            ..spec()
        };
        let head = head(spec.clone());
        let z = head.logits(&[1.0, 1.0]).unwrap();
        let (p, rows) = (head.probabilities(&z), softmax(&z));
        assert_eq!((p.len(), p[0], p[1]), (2, rows[0] + rows[1], rows[2]));
        assert_eq!(head.classification(&p, None).label().unwrap().0, "bad");
        assert_eq!((head.highest(), spec.label_of_rows()), (vec![1.0; 2], vec![0, 0, 1]));
        for (places, expected) in [
            (vec![0, 0, 2], "row_labels: found 3 places, expected each place from 0 to 1 once or more"),
            (vec![0, 0, 0], "row_labels: found 3 places"),
        ] {
            let mut faults = Vec::new();
            check(&HeadSpec { row_labels: Some(places), ..spec.clone() }, "heads[0]", &mut faults);
            assert!(faults[0].to_string().contains(expected), "{}", faults[0]);
        }
        let mut faults = Vec::new();
        check(&HeadSpec { kind: Kind::MultiLabel, thresholds: vec![0.5; 2], ..spec }, "heads[0]", &mut faults);
        assert!(faults[0].to_string().contains("row_labels: found a list, expected none"), "{}", faults[0]);
    }

    #[test]
    fn the_label_by_prior_ratio_is_the_largest_share_of_its_prior() {
        let p = [0.45, 0.40, 0.15];
        assert_eq!(head(spec()).choose(&p), 0);
        assert_eq!(head(HeadSpec { decision: Decision::PriorRatio, ..spec() }).choose(&p), 1);
    }

    #[test]
    fn no_message_gets_more_than_the_highest() {
        let head = head(HeadSpec { temperature: vec![0.7], bias: vec![0.2, -0.1, 0.0], ..spec() });
        let highest = head.highest();
        let mut reached = [0f32; 3];
        for step in 0..720 {
            let angle = step as f32 / 720.0 * std::f32::consts::TAU;
            let p = head.probabilities(&head.logits(&[angle.cos(), angle.sin()]).unwrap());
            reached.iter_mut().zip(&p).for_each(|(most, p)| *most = most.max(*p));
        }
        for (reached, highest) in reached.iter().zip(&highest) {
            assert!(reached <= highest && *highest < 1.0, "{reached} {highest}");
        }
        assert_eq!(self::head(HeadSpec { normalize: false, ..spec() }).highest(), [1.0; 3]);
    }

    #[test]
    fn windows_take_the_largest_for_safety_labels_and_the_mean_for_others() {
        let window = |tokens: usize, p: [f32; 3]| (tokens, HeadAnswer { probabilities: p.to_vec(), in_scope: Some(p[0]) });
        let HeadAnswer { probabilities: p, in_scope } = head(spec()).combine(&[window(30, [0.8, 0.1, 0.1]), window(10, [0.2, 0.7, 0.1])]);
        assert!((p[1] - 0.7).abs() < 1e-6, "{p:?}");
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6 && p[0] / p[2] > 6.4 && p[0] / p[2] < 6.6, "{p:?}");
        assert_eq!(in_scope, Some(0.8));
        let HeadAnswer { probabilities: p, .. } = head(HeadSpec { window_max: ["a", "b"].map(String::from).to_vec(), ..spec() })
            .combine(&[window(30, [0.9, 0.1, 0.0]), window(10, [0.1, 0.9, 0.0])]);
        assert!((p[0] - 0.5).abs() < 1e-6 && (p[1] - 0.5).abs() < 1e-6, "two certain labels share: {p:?}");
    }

    #[test]
    fn a_logit_that_is_not_finite_is_told() {
        assert_eq!(head(spec()).logits(&[f32::MAX, f32::MAX]), Err(NotFinite));
        assert_eq!(head(spec()).logits(&[f32::NAN, 0.0]), Err(NotFinite));
    }

    #[test]
    fn a_broken_head_names_key_found_and_expected() {
        type Break = fn(&mut HeadSpec);
        let dense = Some(DenseSpec { activation: DenseActivation::Tanh, norm_eps: Some(1.0) });
        let mut faults = Vec::new();
        check(&HeadSpec { dense, ..spec() }, "heads[0]", &mut faults);
        assert_eq!(faults[0].to_string(), "heads.json: heads[0].dense.norm_eps: found 1, expected a number above 0 and at most 0.1");
        let cases: [(Break, &str); 9] = [
            (|s| s.labels.truncate(1), "heads[0].labels: found 1 labels, expected 2 to 10000"),
            (|s| s.labels[1] = "a".into(), r#"heads[0].labels: found "a" twice, expected each label once"#),
            (|s| s.temperature = vec![1.0, 1.0], "heads[0].temperature: found 2 values, expected 1 or 3"),
            (|s| s.temperature = vec![0.0], "heads[0].temperature: found 0, expected numbers above 0"),
            (|s| s.bias = vec![0.0], "heads[0].bias: found 1 values, expected 3, one a label"),
            (|s| s.priors[0] = f32::NAN, "heads[0].priors: found NaN, expected finite numbers"),
            (|s| s.thresholds = vec![0.5], "heads[0].thresholds: found 1 values, expected 0"),
            (|s| s.window_max = vec!["c".into()], r#"heads[0].window_max: found "c", expected labels of this head"#),
            (|s| s.scope.as_mut().unwrap().weights.truncate(2), "heads[0].scope.weights: found [1.0, 0.0], expected 3 finite numbers"),
        ];
        for (change, expected) in cases {
            let mut broken = spec();
            change(&mut broken);
            let faults = Head::new(broken, vec![0.0; 6], vec![0.0; 3], "heads[0]").expect_err(expected);
            let all = faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            assert!(all.contains(expected), "expected {expected:?} in {all:?}");
        }
    }

    #[test]
    fn unknown_keys_of_heads_json_are_faults() {
        let good = r#"{"format":1,"name":"m","version":"1","max_seq_len":32,"embedding":{"pooling":"mean"},"heads":[]}"#;
        assert!(parse(good.as_bytes()).is_ok());
        for (from, to, expected) in [
            ("\"format\":1", "\"format\":2", "format: found 2, expected 1"),
            ("\"heads\"", "\"haeds\"", "unknown field `haeds`"),
            ("\"mean\"", "\"max\"", "unknown variant `max`, expected one of `mean`, `cls`, `cls_mean`"),
            ("\"mean\"", "\"cls_mean\"", "embedding.pooling: found \"cls_mean\", expected mean or cls"),
        ] {
            let faults = parse(good.replace(from, to).as_bytes()).expect_err(expected);
            assert!(faults[0].to_string().contains(expected), "{}", faults[0]);
        }
    }
}
