//! Features and labels → a fitted, calibrated head.
//!
//! In: unit vectors of the frozen trunk, one label a row (or several). Out: the weights and the [`HeadSpec`] of `heads.json`.
//! Method: multinomial logistic regression (or one logistic regression a label) with L2, minimised by L-BFGS ([`optimise`]); the strength of L2 is
//! chosen by the calibrated log loss of held-out rows in stratified cross-validation; temperature and a bias a label are fitted on the same held-out
//! logits; so are the thresholds of a multi-label head (largest F1) and the in-scope score. The head itself is then fitted on all rows.
//! Everything random comes from the seed in [`FitOptions`]; the same rows in the same order give the same head.

mod calibrate;
mod logistic;
mod optimise;

use std::fmt;

use super::evaluate::best_f1_threshold;
use super::head::{Decision, HeadSpec, Input, Kind, LABELS_MAX, Pooling, ScopeSpec, scope_features, softmax};
use crate::random::Random;

pub use logistic::{Matrix, fit_logistic};

/// Fewest rows of a label: one to learn from and one to hold out.
pub const LABEL_ROWS_MIN: usize = 2;
/// Most rows: two million vectors of 384 floats are 3 GB.
pub const ROWS_MAX: usize = 2_000_000;
/// Strengths that are tried, as scikit-learn's C: the larger, the weaker the L2. From the range that suits unit vectors of this trunk
/// (TRAINING measured 10 to 100 best on three sets).
pub const INVERSE_L2: [f64; 5] = [1.0, 3.0, 10.0, 30.0, 100.0];

/// The labels of all rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Targets {
    /// Whether a row has exactly one label.
    pub kind: Kind,
    /// Names, sorted.
    pub labels: Vec<String>,
    /// Indices into `labels`, by row.
    pub rows: Vec<Vec<u32>>,
}

/// How to fit.
#[derive(Clone, Debug, PartialEq)]
pub struct FitOptions {
    /// Name of the head.
    pub name: String,
    /// Weigh every label equally, and choose by p / prior.
    pub balanced: bool,
    /// The label that stands for everything else.
    pub out_of_scope_label: Option<String>,
    /// Labels that take the largest window of a long text.
    pub window_max: Vec<String>,
    /// After which layer the features were taken; the last where it is not given.
    pub layer: Option<usize>,
    /// Rounds of cross-validation; fewer where a label has fewer rows.
    pub folds: usize,
    /// Source of all randomness.
    pub seed: u64,
}

/// A fitted head.
#[derive(Clone, Debug, PartialEq)]
pub struct Fitted {
    /// For `heads.json`, `trained_on` not filled.
    pub spec: HeadSpec,
    /// `[labels, inputs]`, row-major.
    pub weight: Vec<f32>,
    /// `[labels]`
    pub bias: Vec<f32>,
    /// The chosen strength of L2.
    pub inverse_l2: f64,
    /// Calibrated log loss of held-out rows, by strength.
    pub held_out_log_loss: Vec<(f64, f64)>,
}

/// Why no head can be fitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FitError {
    /// Fewer labels than a head needs.
    TooFewLabels {
        /// How many there are.
        labels: usize,
        /// How many there must be.
        least: usize,
    },
    /// More labels than a head may have.
    TooManyLabels {
        /// How many there are.
        labels: usize,
    },
    /// A label with too few rows to hold one out.
    TooFewRows {
        /// The label.
        label: String,
        /// Its rows.
        rows: usize,
    },
    /// An option names a label that the data lacks.
    NoSuchLabel {
        /// The option.
        option: &'static str,
        /// The label.
        label: String,
    },
}

impl fmt::Display for FitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooFewLabels { labels, least } => write!(f, "the data has {labels} labels, at least {least} are needed"),
            Self::TooManyLabels { labels } => write!(f, "the data has {labels} labels, at most {LABELS_MAX} are possible"),
            Self::TooFewRows { label, rows } => {
                write!(f, "label {label:?} has {rows} row(s), at least {LABEL_ROWS_MIN} are needed: one to learn from and one to hold out")
            }
            Self::NoSuchLabel { option, label } => write!(f, "{option}: no row has the label {label:?}"),
        }
    }
}

impl std::error::Error for FitError {}

/// Checks what can be checked before features are computed, which takes minutes.
pub fn check(targets: &Targets, options: &FitOptions) -> Result<(), FitError> {
    let least = if targets.kind == Kind::SingleLabel { 2 } else { 1 };
    if targets.labels.len() < least {
        return Err(FitError::TooFewLabels { labels: targets.labels.len(), least });
    }
    if targets.labels.len() > LABELS_MAX {
        return Err(FitError::TooManyLabels { labels: targets.labels.len() });
    }
    for (label, rows) in targets.labels.iter().zip(targets.counts()) {
        if rows < LABEL_ROWS_MIN {
            return Err(FitError::TooFewRows { label: label.clone(), rows });
        }
    }
    let named = options.out_of_scope_label.iter().map(|label| ("out-of-scope-label", label));
    for (option, label) in named.chain(options.window_max.iter().map(|label| ("window-max", label))) {
        if !targets.labels.contains(label) {
            return Err(FitError::NoSuchLabel { option, label: label.clone() });
        }
    }
    Ok(())
}

impl Targets {
    /// Rows of each label.
    pub fn counts(&self) -> Vec<usize> {
        let mut counts = vec![0; self.labels.len()];
        for label in self.rows.iter().flatten() {
            counts[*label as usize] += 1;
        }
        counts
    }

    fn select(&self, rows: &[usize]) -> Vec<Vec<u32>> {
        rows.iter().map(|row| self.rows[*row].clone()).collect()
    }
}

/// Steps that [`fit`] reports, for a progress bar: one a fit.
pub fn steps(options: &FitOptions) -> u64 {
    (INVERSE_L2.len() * options.folds + 2) as u64
}

/// Fits a head on `features` (`[rows, inputs]`). `progress` is called after each of [`steps`] fits.
pub fn fit(features: &Matrix, targets: &Targets, options: &FitOptions, progress: &(dyn Fn() + Sync)) -> Result<Fitted, FitError> {
    check(targets, options)?;
    let labels = targets.labels.len();
    let weights = row_weights(targets, options.balanced);
    let folds = folds(targets, options);
    let mut best: Option<(f64, f64, Vec<f32>, calibrate::Calibration)> = None;
    let mut losses = Vec::new();
    let mut warm: Vec<Option<Vec<f64>>> = vec![None; folds.len()];
    for inverse_l2 in INVERSE_L2 {
        let mut held_out = vec![0.0f32; features.rows * labels];
        for (fold, warm) in folds.iter().zip(&mut warm) {
            let train = targets.select(&fold.train);
            let problem = logistic::Problem::new(&features.select(&fold.train), &train, targets.kind, labels)
                .weighted(fold.train.iter().map(|row| weights[*row]).collect())
                .regularised(inverse_l2);
            let solution = problem.solve(warm.take());
            let logits = solution.logits(&features.select(&fold.test));
            for (row, z) in fold.test.iter().zip(logits.chunks_exact(labels)) {
                held_out[row * labels..][..labels].copy_from_slice(z);
            }
            *warm = Some(solution.parameters());
            progress();
        }
        let calibration = calibrate::fit(&held_out, targets);
        losses.push((inverse_l2, calibration.log_loss));
        if best.as_ref().is_none_or(|(loss, ..)| calibration.log_loss < *loss) {
            best = Some((calibration.log_loss, inverse_l2, held_out, calibration));
        }
    }
    let (_, inverse_l2, held_out, calibration) = best.expect("at least one strength is tried");
    let solution =
        logistic::Problem::new(features, &targets.rows, targets.kind, labels).weighted(weights).regularised(inverse_l2).solve(None);
    progress();
    let scope = scope(features, targets, options, inverse_l2, &held_out, &calibration);
    progress();
    let rows = targets.rows.len().max(1) as f32;
    let spec = HeadSpec {
        name: options.name.clone(),
        kind: targets.kind,
        input: Input::Message,
        pooling: Pooling::Mean,
        normalize: true,
        layer: options.layer,
        dense: None,
        labels: targets.labels.clone(),
        row_labels: None,
        priors: targets.counts().into_iter().map(|count| count as f32 / rows).collect(),
        decision: if options.balanced { Decision::PriorRatio } else { Decision::Probability },
        thresholds: thresholds(targets, &held_out, &calibration),
        temperature: calibration.temperature,
        bias: calibration.bias,
        window_max: options.window_max.clone(),
        scope,
        trained_on: None,
    };
    let (weight, bias) = solution.rows_by_label();
    Ok(Fitted { spec, weight, bias, inverse_l2, held_out_log_loss: losses })
}

/// Which rows judge which when a head is calibrated anew.
const HALVES_SEED: u64 = 1;

/// A calibration of a head that is there, on rows that it was not fitted on.
#[derive(Clone, Debug, PartialEq)]
pub struct Recalibrated {
    /// One, or one a row of the head.
    pub temperature: Vec<f32>,
    /// One a row of the head.
    pub bias: Vec<f32>,
    /// Share of each label.
    pub priors: Vec<f32>,
    /// Multi-label: the thresholds with the largest F1.
    pub thresholds: Vec<f32>,
    /// Log loss of the rows as the head was, in nats a row.
    pub log_loss_before: f64,
    /// And calibrated, each half of the rows by a fit on the other.
    pub log_loss_after: f64,
}

/// Fits temperature and biases of a head to its logits, `[rows of targets, rows of the head]`. The labels of `targets` stand in the order of the head's.
pub fn recalibrate(spec: &HeadSpec, logits: &[f32], targets: &Targets) -> Result<Recalibrated, FitError> {
    for (label, rows) in targets.labels.iter().zip(targets.counts()) {
        if rows < LABEL_ROWS_MIN {
            return Err(FitError::TooFewRows { label: label.clone(), rows });
        }
    }
    let label_of = spec.label_of_rows();
    let width = label_of.len();
    let as_it_was = calibrate::Calibration { temperature: vec![1.0], bias: vec![0.0; width], log_loss: 0.0 };
    // Files are ordered by label or by day: halves are dealt out by chance.
    let mut order: Vec<usize> = (0..targets.rows.len()).collect();
    Random::new(HALVES_SEED).shuffle(&mut order);
    let part = |rows: &[usize]| -> (Vec<f32>, Targets) {
        let logits = rows.iter().flat_map(|row| logits[row * width..(row + 1) * width].iter().copied()).collect();
        (logits, Targets { rows: rows.iter().map(|row| targets.rows[*row].clone()).collect(), ..targets.clone() })
    };
    let (first, second) = order.split_at(order.len() / 2);
    let mut log_loss_after = 0.0;
    for (fitted, held_out) in [(first, second), (second, first)].map(|(a, b)| (part(a), part(b))) {
        let calibration = calibrate::fit_rows(&fitted.0, &fitted.1, &label_of);
        let share = held_out.1.rows.len() as f64 / targets.rows.len() as f64;
        log_loss_after += share * calibrate::log_loss(&held_out.0, &held_out.1, &label_of, &calibration);
    }
    let calibration = calibrate::fit_rows(logits, targets, &label_of);
    let rows = targets.rows.len().max(1) as f32;
    Ok(Recalibrated {
        priors: targets.counts().into_iter().map(|count| count as f32 / rows).collect(),
        thresholds: thresholds(targets, logits, &calibration),
        log_loss_before: calibrate::log_loss(logits, targets, &label_of, &as_it_was),
        log_loss_after,
        temperature: calibration.temperature,
        bias: calibration.bias,
    })
}

/// One weight a row, mean 1: equal, or such that every label has the same sum.
fn row_weights(targets: &Targets, balanced: bool) -> Vec<f32> {
    if !balanced || targets.kind == Kind::MultiLabel {
        return vec![1.0; targets.rows.len()];
    }
    let counts = targets.counts();
    let share = targets.rows.len() as f32 / counts.len() as f32;
    targets.rows.iter().map(|labels| share / counts[labels[0] as usize] as f32).collect()
}

struct Fold {
    train: Vec<usize>,
    test: Vec<usize>,
}

/// Stratified: the rows of each label (of the first label, or of none) are dealt out in turn after a shuffle.
fn folds(targets: &Targets, options: &FitOptions) -> Vec<Fold> {
    let count = options.folds.clamp(2, targets.rows.len().max(2));
    let mut groups: Vec<Vec<usize>> = vec![Vec::new(); targets.labels.len() + 1];
    for (row, labels) in targets.rows.iter().enumerate() {
        groups[labels.first().map_or(targets.labels.len(), |label| *label as usize)].push(row);
    }
    let mut random = Random::new(options.seed);
    let mut fold_of = vec![0; targets.rows.len()];
    let mut next = 0;
    for group in &mut groups {
        random.shuffle(group);
        for row in group.iter() {
            fold_of[*row] = next % count;
            next += 1;
        }
    }
    let pick = |wanted: &dyn Fn(usize) -> bool| (0..fold_of.len()).filter(|row| wanted(fold_of[*row])).collect();
    (0..count).map(|fold| Fold { train: pick(&|f| f != fold), test: pick(&|f| f == fold) }).collect()
}

/// For each label of a multi-label head the threshold with the largest F1 on held-out rows.
fn thresholds(targets: &Targets, held_out: &[f32], calibration: &calibrate::Calibration) -> Vec<f32> {
    if targets.kind == Kind::SingleLabel {
        return Vec::new();
    }
    let labels = targets.labels.len();
    (0..labels)
        .map(|label| {
            let p = |row: usize| calibration.probability(held_out[row * labels + label], label);
            let scored = targets.rows.iter().enumerate().map(|(row, present)| (p(row), present.contains(&(label as u32)))).collect();
            best_f1_threshold(scored)
        })
        .collect()
}

/// The in-scope score, fitted on held-out rows for equal parts in scope and out of scope. Rows out of scope are those of the out-of-scope label, or,
/// without one, a fifth of the labels that one more fit does not get to see; with fewer than five labels there is no score.
fn scope(
    features: &Matrix,
    targets: &Targets,
    options: &FitOptions,
    inverse_l2: f64,
    held_out: &[f32],
    calibration: &calibrate::Calibration,
) -> Option<ScopeSpec> {
    let labels = targets.labels.len();
    if targets.kind == Kind::MultiLabel {
        return None;
    }
    let evidence = |z: &[f32], calibration: &calibrate::Calibration, outside: Option<usize>| -> Vec<f64> {
        let p = softmax(&calibration.apply(z));
        scope_features(z, &p, outside).into_iter().map(f64::from).collect()
    };
    let (rows, inside): (Vec<Vec<f64>>, Vec<bool>) = match &options.out_of_scope_label {
        Some(name) => {
            let outside = targets.labels.iter().position(|label| label == name);
            let rows = held_out.chunks_exact(labels).map(|z| evidence(z, calibration, outside)).collect();
            (rows, targets.rows.iter().map(|row| Some(row[0] as usize) != outside).collect())
        }
        None if labels < 5 => return None,
        None => unseen_labels(features, targets, options, inverse_l2, &|z, kept| evidence(z, &calibration.without_bias(kept), None)),
    };
    let share = inside.iter().filter(|inside| **inside).count() as f64 / inside.len() as f64;
    let weights: Vec<f64> = inside.iter().map(|inside| if *inside { 0.5 / share } else { 0.5 / (1.0 - share) }).collect();
    let (weights, bias) = fit_logistic(&rows, &inside, &weights, 1e-4);
    Some(ScopeSpec {
        out_of_scope_label: options.out_of_scope_label.clone(),
        weights: weights.into_iter().map(|w| w as f32).collect(),
        bias: bias as f32,
        threshold: 0.5,
    })
}

/// Fits on four fifths of the labels and four fifths of their rows; the other rows of those labels are in scope, all rows of the rest are not.
fn unseen_labels(
    features: &Matrix,
    targets: &Targets,
    options: &FitOptions,
    inverse_l2: f64,
    evidence: &dyn Fn(&[f32], usize) -> Vec<f64>,
) -> (Vec<Vec<f64>>, Vec<bool>) {
    let mut random = Random::new(options.seed ^ 0x5c09e);
    let mut order: Vec<usize> = (0..targets.labels.len()).collect();
    random.shuffle(&mut order);
    let kept = order.len() - order.len() / 5;
    let mut new_index = vec![None; order.len()];
    order[..kept].iter().enumerate().for_each(|(new, old)| new_index[*old] = Some(new as u32));
    let fold = &folds(targets, options)[0];
    let index_of = |row: &usize| new_index[targets.rows[*row][0] as usize];
    let train: Vec<usize> = fold.train.iter().copied().filter(|row| index_of(row).is_some()).collect();
    let train_labels: Vec<Vec<u32>> = train.iter().map(|row| index_of(row).into_iter().collect()).collect();
    let solution =
        logistic::Problem::new(&features.select(&train), &train_labels, Kind::SingleLabel, kept).regularised(inverse_l2).solve(None);
    let logits = solution.logits(&features.select(&fold.test));
    let rows = logits.chunks_exact(kept).map(|z| evidence(z, kept)).collect();
    (rows, fold.test.iter().map(|row| index_of(row).is_some()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::head::Head;

    /// Three clouds on the unit circle.
    fn clouds(rows_each: usize) -> (Matrix, Targets) {
        let mut random = Random::new(7);
        let mut values = Vec::new();
        let mut rows = Vec::new();
        for row in 0..3 * rows_each {
            let angle = (row % 3) as f32 * 2.1 + (random.unit() as f32 - 0.5);
            values.extend([angle.cos(), angle.sin()]);
            rows.push(vec![(row % 3) as u32]);
        }
        let labels = ["a", "b", "c"].map(String::from).to_vec();
        (Matrix::new(values, 2), Targets { kind: Kind::SingleLabel, labels, rows })
    }

    fn options() -> FitOptions {
        FitOptions { name: "t".into(), balanced: false, out_of_scope_label: None, window_max: vec![], layer: None, folds: 5, seed: 1 }
    }

    #[test]
    fn a_separable_head_is_learned_and_calibrated() {
        let (features, targets) = clouds(100);
        let fitted = fit(&features, &targets, &options(), &|| ()).unwrap();
        let head = Head::new(fitted.spec, fitted.weight, fitted.bias, "t").unwrap();
        for (row, label) in targets.rows.iter().enumerate() {
            let p = head.probabilities(&head.logits(features.row(row)).unwrap());
            assert_eq!(head.choose(&p), label[0] as usize);
            assert!(p[head.choose(&p)] > 0.5);
        }
    }

    #[test]
    fn the_same_seed_gives_the_same_head() {
        let (features, targets) = clouds(20);
        let fitted = || fit(&features, &targets, &options(), &|| ()).unwrap();
        assert_eq!(fitted(), fitted());
    }

    #[test]
    fn labels_that_cannot_be_learned_are_named() {
        let (features, mut targets) = clouds(3);
        targets.labels.push("lonely".into());
        targets.rows[0] = vec![3];
        let error = fit(&features, &targets, &options(), &|| ()).unwrap_err();
        assert_eq!(error.to_string(), "label \"lonely\" has 1 row(s), at least 2 are needed: one to learn from and one to hold out");
        let (features, targets) = clouds(3);
        let error = fit(&features, &targets, &FitOptions { out_of_scope_label: Some("oos".into()), ..options() }, &|| ()).unwrap_err();
        assert_eq!(error.to_string(), "out-of-scope-label: no row has the label \"oos\"");
    }

    #[test]
    fn several_labels_a_row_are_independent() {
        let (features, targets) = clouds(60);
        let rows = targets.rows.iter().map(|row| if row[0] == 2 { vec![] } else { row.clone() }).collect();
        let targets = Targets { kind: Kind::MultiLabel, labels: vec!["a".into(), "b".into()], rows };
        let fitted = fit(&features, &targets, &options(), &|| ()).unwrap();
        let head = Head::new(fitted.spec, fitted.weight, fitted.bias, "t").unwrap();
        for (row, labels) in targets.rows.iter().enumerate() {
            let tags = head.tags(&head.probabilities(&head.logits(features.row(row)).unwrap()));
            assert_eq!(tags.present, labels.iter().map(|l| *l as usize).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_of_the_out_of_scope_label_score_low() {
        let (features, targets) = clouds(100);
        let fitted = fit(&features, &targets, &FitOptions { out_of_scope_label: Some("c".into()), ..options() }, &|| ()).unwrap();
        let head = Head::new(fitted.spec, fitted.weight, fitted.bias, "t").unwrap();
        for (row, label) in targets.rows.iter().enumerate() {
            let z = head.logits(features.row(row)).unwrap();
            let inside = head.in_scope(&z, &head.probabilities(&z)).unwrap();
            assert_eq!(inside > 0.5, label[0] != 2, "row {row}: {inside}");
        }
    }
}
