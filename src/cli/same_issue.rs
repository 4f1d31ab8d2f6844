//! How well a cosine tells whether two messages are about the same issue: `baton eval --head same_issue`.
//!
//! In: labelled messages. Two with the same label are about one issue, two with different labels are not. Out: for each threshold, the share of pairs of one
//! issue that reach it, and of pairs of two issues. The threshold of a policy is the least one that at most [`WRONG_MAX`] of the latter reach.

use serde_json::{Value, json};

use super::render;
use crate::random::Random;
use crate::signal::{Embedding, QuantizedEmbedding};

/// Pairs of each sort.
const PAIRS: usize = 50_000;
/// Share of pairs of two issues that may count as one.
const WRONG_MAX: f64 = 0.01;
/// Thresholds that are told, in hundredths.
const THRESHOLDS: std::ops::RangeInclusive<u32> = 40..=95;
const SEED: u64 = 0x5a3e;

/// The shares of pairs that reach a threshold.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AtThreshold {
    /// Cosine.
    pub threshold: f64,
    /// Of pairs of one issue.
    pub found: f64,
    /// Of pairs of two issues.
    pub wrong: f64,
}

/// Measures every threshold; `None` where no label has two messages, or all have one label.
pub fn measure(vectors: &[Embedding], labels: &[&str]) -> Option<Vec<AtThreshold>> {
    let vectors: Vec<QuantizedEmbedding> = vectors.iter().map(QuantizedEmbedding::new).collect();
    let mut random = Random::new(SEED);
    let mut by_label: std::collections::BTreeMap<&str, Vec<usize>> = std::collections::BTreeMap::new();
    labels.iter().enumerate().for_each(|(at, label)| by_label.entry(label).or_default().push(at));
    let several: Vec<&Vec<usize>> = by_label.values().filter(|rows| rows.len() > 1).collect();
    if several.is_empty() || by_label.len() < 2 {
        return None;
    }
    let cosine = |a: usize, b: usize| vectors[a].cosine(&vectors[b]).get();
    let mut same = Vec::with_capacity(PAIRS);
    let mut different = Vec::with_capacity(PAIRS);
    while same.len() < PAIRS {
        let rows = several[random.below(several.len())];
        let (a, b) = (rows[random.below(rows.len())], rows[random.below(rows.len())]);
        if a != b {
            same.push(cosine(a, b));
        }
    }
    while different.len() < PAIRS {
        let (a, b) = (random.below(labels.len()), random.below(labels.len()));
        if labels[a] != labels[b] {
            different.push(cosine(a, b));
        }
    }
    let share = |cosines: &[f64], threshold: f64| cosines.iter().filter(|c| **c >= threshold).count() as f64 / cosines.len() as f64;
    let at = |hundredths: u32| {
        let threshold = f64::from(hundredths) / 100.0;
        AtThreshold { threshold, found: share(&same, threshold), wrong: share(&different, threshold) }
    };
    Some(THRESHOLDS.map(at).collect())
}

/// The least threshold with few wrong pairs.
fn chosen(all: &[AtThreshold]) -> Option<&AtThreshold> {
    all.iter().find(|at| at.wrong <= WRONG_MAX)
}

/// As one JSON object.
pub fn to_json(all: &[AtThreshold]) -> Value {
    let digits = |value: f64| Value::from((value * 1e5).round() / 1e5);
    let one = |at: &AtThreshold| json!({"threshold": at.threshold, "same_issue": digits(at.found), "different_issues": digits(at.wrong)});
    json!({"head": "same_issue", "pairs": PAIRS, "thresholds": all.iter().map(one).collect::<Vec<_>>(), "chosen": chosen(all).map(one)})
}

/// As a table, every fifth threshold and the chosen one.
pub fn to_table(all: &[AtThreshold]) -> String {
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    let marked = |at: &AtThreshold| chosen(all).is_some_and(|chosen| chosen.threshold == at.threshold);
    let shown = all.iter().filter(|at| ((at.threshold * 100.0).round() as u32).is_multiple_of(5) || marked(at));
    let rows = shown.map(|at| {
        let mark = if marked(at) { " (chosen)" } else { "" };
        vec![format!("{:.2}{mark}", at.threshold), percent(at.found), percent(at.wrong)]
    });
    render::table(&["cosine from", "pairs of one issue", "pairs of two issues"], rows.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_of_one_label_are_told_from_pairs_of_two() {
        let vector = |x: f32, y: f32| Embedding(vec![x, y]);
        let vectors = [vector(1.0, 0.0), vector(0.99, 0.1), vector(0.0, 1.0), vector(0.1, 0.99)];
        let all = measure(&vectors, &["a", "a", "b", "b"]).unwrap();
        assert!(all.iter().all(|at| at.found == 1.0 && at.wrong == 0.0), "{all:?}");
        assert_eq!(chosen(&all).unwrap().threshold, 0.40);
        assert_eq!(measure(&vectors, &["a", "a", "a", "a"]), None);
        assert_eq!(measure(&vectors, &["a", "b", "c", "d"]), None);
    }
}
