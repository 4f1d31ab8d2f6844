//! Predictions and truth → figures of quality.
//!
//! In: for each row the true labels and what a head said. Out: [`Evaluation`], each figure with its formula here. Intervals are the 2.5 and 97.5
//! percentiles over [`RESAMPLES`] bootstrap resamples of the rows; the calibration error stands beside the value that a perfectly calibrated model
//! would show at this size, since that is not 0.

use crate::random::Random;

/// Bins of the calibration error, each with the same number of rows.
pub const BINS: usize = 15;
/// Resamples for an interval.
const RESAMPLES: usize = 1000;
/// Repetitions for the calibration error of a perfect model.
const PERFECT_REPEATS: usize = 200;

/// A label by its index in the head.
pub type LabelIndex = usize;

/// One row of a single-label head.
#[derive(Clone, Debug, PartialEq)]
pub struct SingleRow {
    /// Truth; `None` for a row out of scope.
    pub truth: Option<LabelIndex>,
    /// The label that the head chooses among those in scope.
    pub chosen: LabelIndex,
    /// Calibrated probability of `chosen`.
    pub confidence: f32,
    /// What calibration is measured on; `None` for a row that no label of the head can be right for.
    pub said: Option<Said>,
    /// p(in scope), if the head has it.
    pub in_scope: Option<f32>,
    /// Whether the head lets the label stand.
    pub accepted: bool,
}

/// The label with which a head answers, "out of scope" among them, as calibration sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Said {
    /// Its calibrated probability.
    pub confidence: f32,
    /// Whether it is the truth.
    pub right: bool,
}

/// One row of a multi-label head.
#[derive(Clone, Debug, PartialEq)]
pub struct MultiRow {
    /// Truth, by label.
    pub truth: Vec<bool>,
    /// Whether the label reaches its threshold.
    pub present: Vec<bool>,
    /// Calibrated probability, by label.
    pub probability: Vec<f32>,
}

/// The figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluation {
    /// Rows, those out of scope included.
    pub rows: usize,
    /// Single label: share of rows in scope whose chosen label is the truth. Multi-label: share of rows with exactly the true labels.
    pub accuracy: Figure,
    /// Mean of F1 over the labels that have rows.
    pub macro_f1: Figure,
    /// Mean of recall over the labels that have rows.
    pub macro_recall: Figure,
    /// Σ bins (rows in bin / rows) · |mean confidence − share right|, over all rows, "out of scope" counting as a label where the head has one;
    /// multi-label: the mean over labels of the same for p(label).
    pub calibration_error: f64,
    /// The same over the rows in scope alone, with the label chosen among those in scope; `None` without rows out of scope, where it is the same. It
    /// does not depend on how many rows out of scope a test happens to have.
    pub calibration_error_in_scope: Option<f64>,
    /// What a perfectly calibrated model shows with these confidences at this size, on average.
    pub calibration_error_if_perfect: f64,
    /// p(a row in scope has a higher p(in scope) than one out of scope); `None` without rows of both sides.
    pub out_of_scope_auroc: Option<f64>,
    /// Share right when scope counts: rows in scope accepted with the right label, rows out of scope refused. `None` without rows out of scope.
    pub accuracy_with_scope: Option<f64>,
    /// By label of the head.
    pub per_label: Vec<LabelScore>,
}

/// A figure with its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// On all rows.
    pub value: f64,
    /// 2.5 percentile.
    pub low: f64,
    /// 97.5 percentile.
    pub high: f64,
}

/// The figures of one label.
#[derive(Clone, Debug, PartialEq)]
pub struct LabelScore {
    /// Rows that have it.
    pub rows: usize,
    /// Right among those said to have it; `None` where none was.
    pub precision: Option<f64>,
    /// Found among those that have it; `None` where none has.
    pub recall: Option<f64>,
    /// 2 · true positives / (rows + predicted); `None` where both are 0.
    pub f1: Option<f64>,
}

/// Counts of one label.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    rows: usize,
    predicted: usize,
    right: usize,
}

impl Counts {
    fn ratio(part: usize, whole: usize) -> Option<f64> {
        (whole > 0).then(|| part as f64 / whole as f64)
    }

    fn score(self) -> LabelScore {
        LabelScore {
            rows: self.rows,
            precision: Self::ratio(self.right, self.predicted),
            recall: Self::ratio(self.right, self.rows),
            f1: Self::ratio(2 * self.right, self.rows + self.predicted),
        }
    }
}

/// Figures of a single-label head with `labels` labels.
pub fn single(rows: &[SingleRow], labels: usize) -> Evaluation {
    let inside: Vec<&SingleRow> = rows.iter().filter(|row| row.truth.is_some()).collect();
    let pairs: Vec<(Vec<LabelIndex>, Vec<LabelIndex>)> =
        inside.iter().map(|row| (row.truth.into_iter().collect(), vec![row.chosen])).collect();
    let (confidences, right): (Vec<f32>, Vec<bool>) = rows.iter().filter_map(|row| row.said).map(|s| (s.confidence, s.right)).unzip();
    let has_outside = inside.len() < rows.len();
    let chosen: (Vec<f32>, Vec<bool>) = inside.iter().map(|row| (row.confidence, row.truth == Some(row.chosen))).unzip();
    let correct_with_scope = rows.iter().filter(|row| match row.truth {
        Some(truth) => row.accepted && row.chosen == truth,
        None => !row.accepted,
    });
    let scored = rows.iter().filter_map(|row| row.in_scope.map(|p| (p, row.truth.is_some()))).collect();
    Evaluation {
        rows: rows.len(),
        calibration_error: calibration_error(&confidences, &right),
        calibration_error_if_perfect: calibration_error_if_perfect(&confidences),
        calibration_error_in_scope: has_outside.then(|| calibration_error(&chosen.0, &chosen.1)),
        out_of_scope_auroc: auroc(scored),
        accuracy_with_scope: has_outside.then(|| correct_with_scope.count() as f64 / rows.len() as f64),
        ..from_pairs(&pairs, labels)
    }
}

/// Figures of a multi-label head with `labels` labels.
pub fn multi(rows: &[MultiRow], labels: usize) -> Evaluation {
    let indices = |flags: &[bool]| (0..labels).filter(|label| flags[*label]).collect::<Vec<_>>();
    let pairs: Vec<_> = rows.iter().map(|row| (indices(&row.truth), indices(&row.present))).collect();
    let column = |label: usize| -> (Vec<f32>, Vec<bool>) { rows.iter().map(|row| (row.probability[label], row.truth[label])).unzip() };
    let mean = |of: &dyn Fn(usize) -> f64| (0..labels).map(of).sum::<f64>() / labels as f64;
    Evaluation {
        calibration_error: mean(&|label| {
            let (p, truth) = column(label);
            calibration_error(&p, &truth)
        }),
        calibration_error_if_perfect: mean(&|label| calibration_error_if_perfect(&column(label).0)),
        ..from_pairs(&pairs, labels)
    }
}

fn from_pairs(pairs: &[(Vec<LabelIndex>, Vec<LabelIndex>)], labels: usize) -> Evaluation {
    let all: Vec<usize> = (0..pairs.len()).collect();
    let (accuracy, macro_f1, macro_recall) = summary(pairs, &all, labels);
    let mut random = Random::new(0);
    let mut resampled: [Vec<f64>; 3] = Default::default();
    for _ in 0..if pairs.is_empty() { 0 } else { RESAMPLES } {
        let rows: Vec<usize> = all.iter().map(|_| random.below(pairs.len())).collect();
        let (a, f, r) = summary(pairs, &rows, labels);
        resampled.iter_mut().zip([a, f, r]).for_each(|(values, v)| values.push(v));
    }
    let [accuracies, f1s, recalls] = resampled;
    Evaluation {
        rows: pairs.len(),
        accuracy: figure(accuracy, accuracies),
        macro_f1: figure(macro_f1, f1s),
        macro_recall: figure(macro_recall, recalls),
        calibration_error: 0.0,
        calibration_error_if_perfect: 0.0,
        calibration_error_in_scope: None,
        out_of_scope_auroc: None,
        accuracy_with_scope: None,
        per_label: counts(pairs, &all, labels).into_iter().map(Counts::score).collect(),
    }
}

fn figure(value: f64, mut resampled: Vec<f64>) -> Figure {
    resampled.sort_by(f64::total_cmp);
    let at = |share: f64| resampled.get((share * resampled.len() as f64) as usize).copied().unwrap_or(value);
    Figure { value, low: at(0.025), high: at(0.975) }
}

fn counts(pairs: &[(Vec<LabelIndex>, Vec<LabelIndex>)], rows: &[usize], labels: usize) -> Vec<Counts> {
    let mut counts = vec![Counts::default(); labels];
    for (truth, said) in rows.iter().map(|row| &pairs[*row]) {
        truth.iter().for_each(|label| counts[*label].rows += 1);
        for label in said {
            counts[*label].predicted += 1;
            counts[*label].right += usize::from(truth.contains(label));
        }
    }
    counts
}

/// Accuracy, macro-F1, macro-recall of some rows.
fn summary(pairs: &[(Vec<LabelIndex>, Vec<LabelIndex>)], rows: &[usize], labels: usize) -> (f64, f64, f64) {
    let exact = rows.iter().filter(|row| pairs[**row].0 == pairs[**row].1).count();
    let scores: Vec<LabelScore> = counts(pairs, rows, labels).into_iter().filter(|c| c.rows > 0).map(Counts::score).collect();
    let mean = |of: fn(&LabelScore) -> Option<f64>| {
        let sum: f64 = scores.iter().map(|score| of(score).unwrap_or(0.0)).sum();
        sum / scores.len().max(1) as f64
    };
    (exact as f64 / rows.len().max(1) as f64, mean(|s| s.f1), mean(|s| s.recall))
}

/// Expected calibration error over [`BINS`] bins of equal mass (Nixon et al. 2019, "Measuring Calibration in Deep Learning").
pub fn calibration_error(confidence: &[f32], right: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..confidence.len()).collect();
    order.sort_by(|a, b| confidence[*a].total_cmp(&confidence[*b]));
    error_over_bins(&order, confidence, right)
}

fn error_over_bins(order: &[usize], confidence: &[f32], right: &[bool]) -> f64 {
    let rows = order.len();
    let bin = |i: usize| &order[i * rows / BINS..(i + 1) * rows / BINS];
    let gap = |bin: &[usize]| bin.iter().map(|row| f64::from(confidence[*row]) - f64::from(u8::from(right[*row]))).sum::<f64>().abs();
    (0..BINS).map(|i| gap(bin(i))).sum::<f64>() / rows.max(1) as f64
}

/// The mean calibration error when each row is right with exactly its confidence.
pub fn calibration_error_if_perfect(confidence: &[f32]) -> f64 {
    let mut order: Vec<usize> = (0..confidence.len()).collect();
    order.sort_by(|a, b| confidence[*a].total_cmp(&confidence[*b]));
    let mut random = Random::new(0);
    let mut once = || {
        let right: Vec<bool> = confidence.iter().map(|p| random.unit() < f64::from(*p)).collect();
        error_over_bins(&order, confidence, &right)
    };
    (0..PERFECT_REPEATS).map(|_| once()).sum::<f64>() / PERFECT_REPEATS as f64
}

/// Area under the ROC curve by ranks, ties counted half; `None` without both sides.
pub fn auroc(mut scored: Vec<(f32, bool)>) -> Option<f64> {
    scored.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = scored.iter().filter(|(_, positive)| *positive).count();
    let negatives = scored.len() - positives;
    if positives == 0 || negatives == 0 {
        return None;
    }
    let (mut rank_sum, mut before) = (0.0, 0usize);
    for tied in scored.chunk_by(|a, b| a.0 == b.0) {
        let rank = before as f64 + (tied.len() as f64 + 1.0) / 2.0;
        rank_sum += rank * tied.iter().filter(|(_, positive)| *positive).count() as f64;
        before += tied.len();
    }
    Some((rank_sum - positives as f64 * (positives as f64 + 1.0) / 2.0) / (positives as f64 * negatives as f64))
}

/// The threshold with the largest F1 over scored rows; 0.5 where no row is positive.
pub fn best_f1_threshold(mut scored: Vec<(f32, bool)>) -> f32 {
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = scored.iter().filter(|(_, positive)| *positive).count();
    let (mut right, mut best) = (0usize, (0.0, 0.5));
    for (at, (p, positive)) in scored.iter().enumerate() {
        right += usize::from(*positive);
        let last_of_ties = scored.get(at + 1).is_none_or(|next| next.0 < *p);
        let f1 = 2.0 * right as f64 / (at + 1 + positives) as f64;
        if last_of_ties && f1 > best.0 {
            best = (f1, *p);
        }
    }
    best.1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(truth: Option<usize>, chosen: usize, confidence: f32, in_scope: f32) -> SingleRow {
        let said = Some(Said { confidence, right: truth == Some(chosen) });
        SingleRow { truth, chosen, confidence, said, in_scope: Some(in_scope), accepted: in_scope >= 0.5 }
    }

    #[test]
    fn figures_of_a_small_table() {
        // Truth a a a b, said a a b b; one row out of scope, refused.
        let rows = [
            row(Some(0), 0, 0.9, 0.9),
            row(Some(0), 0, 0.9, 0.8),
            row(Some(0), 1, 0.6, 0.4),
            row(Some(1), 1, 0.8, 0.9),
            row(None, 1, 0.5, 0.1),
        ];
        let found = single(&rows, 3);
        assert_eq!((found.rows, found.accuracy.value), (5, 0.75));
        assert!((found.macro_recall.value - (2.0 / 3.0 + 1.0) / 2.0).abs() < 1e-12);
        assert!((found.macro_f1.value - (0.8 + 2.0 / 3.0) / 2.0).abs() < 1e-12);
        assert_eq!(found.out_of_scope_auroc, Some(1.0));
        assert_eq!(found.accuracy_with_scope, Some(0.8));
        assert_eq!(found.per_label[1], LabelScore { rows: 1, precision: Some(0.5), recall: Some(1.0), f1: Some(2.0 / 3.0) });
        assert_eq!(found.per_label[2], LabelScore { rows: 0, precision: None, recall: None, f1: None });
        assert!(found.accuracy.low <= 0.75 && 0.75 <= found.accuracy.high);
    }

    #[test]
    fn auroc_counts_ties_half() {
        assert_eq!(auroc(vec![(0.1, false), (0.9, true)]), Some(1.0));
        assert_eq!(auroc(vec![(0.5, false), (0.5, true)]), Some(0.5));
        assert_eq!(auroc(vec![(0.9, false), (0.1, true), (0.9, true)]), Some(0.25));
        assert_eq!(auroc(vec![(0.9, true)]), None);
    }

    #[test]
    fn calibration_error_is_the_gap_and_a_perfect_model_shows_its_noise() {
        let (confidence, right): (Vec<f32>, Vec<bool>) = (0..3000).map(|i| (0.8, i % 2 == 0)).unzip();
        assert!((calibration_error(&confidence, &right) - 0.3).abs() < 1e-6);
        let noise = calibration_error_if_perfect(&confidence);
        assert!(noise > 0.01 && noise < 0.05, "{noise}");
    }

    #[test]
    fn the_threshold_with_the_largest_f1_is_found() {
        assert_eq!(best_f1_threshold(vec![(0.9, true), (0.6, true), (0.4, false), (0.3, true), (0.1, false)]), 0.3);
        assert_eq!(best_f1_threshold(vec![(0.9, true), (0.4, false), (0.3, false), (0.2, false)]), 0.9);
        assert_eq!(best_f1_threshold(vec![(0.9, false)]), 0.5);
    }

    #[test]
    fn a_multi_label_row_is_right_when_all_its_labels_are() {
        let row =
            |truth: [bool; 2], present: [bool; 2]| MultiRow { truth: truth.into(), present: present.into(), probability: vec![0.5; 2] };
        let found = multi(&[row([true, false], [true, false]), row([true, true], [true, false])], 2);
        assert_eq!(found.accuracy.value, 0.5);
        assert_eq!(found.per_label[1].recall, Some(0.0));
    }
}
