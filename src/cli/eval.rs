//! `baton eval`: labelled messages → figures of a head.

use std::collections::HashMap;

use anyhow::{Result, anyhow, bail};
use serde_json::{Map, Value, json};

use super::features::cached_features;
use super::labelled::{Labelled, LabelledArguments};
use super::train::{cache_folder, example_draws};
use super::{ModelArguments, Outcome, load_model, print, render};
use crate::config::Places;
use crate::model::evaluate::{self, Evaluation, Figure, MultiRow, Said, SingleRow};
use crate::model::examples::FEATURES;
use crate::model::head::{Head, HeadAnswer, Input, Kind, Reading};
use crate::model::scorer::Scorer;
use crate::model::train::Matrix;
use crate::signal::Embedding;

/// Name under which the language guard is measured.
const LANGUAGE: &str = "language";
/// Name under which the calibration of intents by example is measured.
const EXAMPLES: &str = "examples";
/// Name under which the threshold of `contacts.same_issue()` is measured.
const SAME_ISSUE: &str = "same_issue";
/// Draws of examples when they are measured; another seed than any fit has by default.
const EXAMPLES_SEED: u64 = 0x0e7a1;

/// Arguments of `baton eval`.
#[derive(Debug, clap::Args)]
pub struct EvalArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    labelled: LabelledArguments,
    /// The head to measure; `language` for the language guard (labels `known` and any other), `examples` for intents by example (each label of the
    /// data takes its turn), `same_issue` for the cosine at which two messages are about one label.
    #[arg(long, value_name = "NAME")]
    head: String,
    /// Column with the bot's turn before each message, for a head that reads both.
    #[arg(long, value_name = "NAME")]
    proposal_column: Option<String>,
    /// Label of the data that stands for everything else [default: the head's own].
    #[arg(long, value_name = "LABEL")]
    out_of_scope_label: Option<String>,
    /// Folder for computed features [default: BATON_CACHE_DIR, else the user's cache folder].
    #[arg(long, value_name = "DIR")]
    cache: Option<std::path::PathBuf>,
    /// JSON in place of a table.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &EvalArguments, places: &Places) -> Result<Outcome> {
    let data = arguments.labelled.read(arguments.proposal_column.as_deref())?;
    let scorer = load_model(&arguments.model, places)?;
    let multi_label = scorer.head(&arguments.head).is_some_and(|head| head.spec.kind == Kind::MultiLabel);
    if arguments.labelled.label_separator.is_some() && !multi_label {
        bail!("label-separator: {:?} is no head with any number of labels a row", arguments.head);
    }
    if arguments.head == SAME_ISSUE {
        return same_issue(arguments, places, &scorer, &data);
    }
    let named = |labels: [&str; 2], rows: Vec<SingleRow>| (labels.map(String::from).to_vec(), evaluate::single(&rows, 2));
    let (labels, evaluation) = match arguments.head.as_str() {
        LANGUAGE => named(["known", "unknown"], language_rows(&scorer, &data)),
        EXAMPLES => named(["intent", "other"], example_rows(arguments, places, &scorer, &data)?),
        name => {
            let names = || scorer.heads().iter().map(Head::name).collect::<Vec<_>>().join(", ");
            let head = scorer.head(name).ok_or_else(|| anyhow!("head {name:?}: not in the model; it has {}", names()))?;
            (head.spec.labels.clone(), evaluate_head(arguments, places, &scorer, head, &data)?)
        }
    };
    let text =
        if arguments.json { format!("{}\n", to_json(&arguments.head, &labels, &evaluation)) } else { to_table(&labels, &evaluation) };
    print(&text)?;
    Ok(Outcome::Success)
}

fn same_issue(arguments: &EvalArguments, places: &Places, scorer: &Scorer, data: &Labelled) -> Result<Outcome> {
    let features = embeddings(arguments, places, scorer, data)?;
    let vectors: Vec<Embedding> = (0..data.texts.len()).map(|row| Embedding(features.row(row).to_vec())).collect();
    let labels: Vec<&str> = data.labels.iter().map(|labels| labels.first().map_or("", String::as_str)).collect();
    let Some(measured) = super::same_issue::measure(&vectors, &labels) else {
        bail!("same_issue: expected two labels at least, and two messages of one");
    };
    print(&if arguments.json { format!("{}\n", super::same_issue::to_json(&measured)) } else { super::same_issue::to_table(&measured) })?;
    Ok(Outcome::Success)
}

fn evaluate_head(arguments: &EvalArguments, places: &Places, scorer: &Scorer, head: &Head, data: &Labelled) -> Result<Evaluation> {
    let outside = arguments.out_of_scope_label.clone().or_else(|| head.out_of_scope().map(|label| head.spec.labels[label].clone()));
    let index: HashMap<&str, usize> = head.spec.labels.iter().enumerate().map(|(i, label)| (label.as_str(), i)).collect();
    for (labels, place) in data.labels.iter().zip(&data.places) {
        if let Some(label) = labels.iter().find(|label| !index.contains_key(label.as_str()) && Some(*label) != outside.as_ref()) {
            bail!("{place}: label {label:?} is none of head {:?}; give --out-of-scope-label if it stands for everything else", head.name());
        }
    }
    let answers = answers(arguments, places, scorer, head, data)?;
    let labels = head.spec.labels.len();
    match head.spec.kind {
        Kind::SingleLabel => {
            let rows = data.labels.iter().zip(&answers).map(|(truth, HeadAnswer { probabilities: p, in_scope })| {
                let inside = Some(&truth[0]) != outside.as_ref();
                let truth = if inside { Some(index[truth[0].as_str()]) } else { None };
                let chosen = choose_in_scope(head, p);
                let answer = head.choose(p);
                let right = truth.or(head.out_of_scope()).map(|truth| truth == answer);
                SingleRow {
                    truth,
                    chosen,
                    confidence: p[chosen],
                    said: right.map(|right| Said { confidence: p[answer], right }),
                    in_scope: *in_scope,
                    accepted: head.classification(p, *in_scope).top == Some(chosen),
                }
            });
            Ok(evaluate::single(&rows.collect::<Vec<_>>(), labels))
        }
        Kind::MultiLabel => {
            let rows = data.labels.iter().zip(&answers).map(|(truth, HeadAnswer { probabilities: p, .. })| {
                let present = head.tags(p).present;
                MultiRow {
                    truth: head.spec.labels.iter().map(|label| truth.contains(label)).collect(),
                    present: (0..labels).map(|label| present.contains(&label)).collect(),
                    probability: p.clone(),
                }
            });
            Ok(evaluate::multi(&rows.collect::<Vec<_>>(), labels))
        }
    }
}

/// The label that the head chooses when it may not say "out of scope".
fn choose_in_scope(head: &Head, p: &[f32]) -> usize {
    let mut inside = p.to_vec();
    if let Some(outside) = head.out_of_scope() {
        inside[outside] = -1.0;
    }
    head.choose(&inside)
}

/// What the head says of each text, from vectors that are cached.
fn answers(arguments: &EvalArguments, places: &Places, scorer: &Scorer, head: &Head, data: &Labelled) -> Result<Vec<HeadAnswer>> {
    let cache = cache_folder(arguments.cache.as_deref(), places)?;
    let vectors = |texts: &[String]| cached_features(&cache, scorer, scorer.reading_of(head), texts);
    let messages = vectors(&data.texts)?;
    let proposals = match head.spec.input {
        Input::Message if arguments.proposal_column.is_some() => {
            bail!("proposal-column: head {:?} reads the message alone, expected nothing", head.name())
        }
        Input::Message => None,
        Input::Pair if arguments.proposal_column.is_none() => {
            bail!("proposal-column: found nothing, expected the column with the bot's turn, which head {:?} reads too", head.name())
        }
        Input::Pair => Some(vectors(&data.proposals)?),
    };
    let answer = |row| Ok(scorer.head_on_features(head, messages.row(row), proposals.as_ref().map(|turns| turns.row(row)))?);
    (0..data.texts.len()).map(answer).collect()
}

/// The embeddings, from the cache.
fn embeddings(arguments: &EvalArguments, places: &Places, scorer: &Scorer, data: &Labelled) -> Result<Matrix> {
    let reading = Reading { layer: scorer.trunk_layers(), pooling: scorer.file().embedding.pooling, normalize: true };
    cached_features(&cache_folder(arguments.cache.as_deref(), places)?, scorer, reading, &data.texts)
}

/// Each intent of the data takes its turn as the operator's, as in the fit: rows with the intent and rows without.
fn example_rows(arguments: &EvalArguments, places: &Places, scorer: &Scorer, data: &Labelled) -> Result<Vec<SingleRow>> {
    let spec = scorer.examples_spec().ok_or_else(|| anyhow!("the model has no calibration for intents by example"))?;
    let features = embeddings(arguments, places, scorer, data)?;
    let (evidence, present) = example_draws(&data.targets(Kind::SingleLabel), &features, EXAMPLES_SEED);
    if evidence.is_empty() {
        bail!("no label has enough rows to draw examples and messages from");
    }
    let row = |(evidence, present): (&[f32; FEATURES], &bool)| {
        let p = spec.probability_of(evidence).get();
        let chosen = usize::from(p < 0.5);
        let truth = usize::from(!present);
        let said = Said { confidence: p.max(1.0 - p), right: chosen == truth };
        SingleRow { truth: Some(truth), chosen, confidence: said.confidence, said: Some(said), in_scope: Some(p), accepted: true }
    };
    Ok(evidence.iter().zip(&present).map(row).collect())
}

fn language_rows(scorer: &Scorer, data: &Labelled) -> Vec<SingleRow> {
    let row = |(text, labels): (&String, &Vec<String>)| {
        let (known, p) = scorer.judge_language(text).map_or((true, 1.0), |l| (l.known, l.probability.get()));
        let (chosen, truth) = (usize::from(!known), usize::from(labels[0] != "known"));
        let said = Said { confidence: if known { p } else { 1.0 - p }, right: chosen == truth };
        SingleRow { truth: Some(truth), chosen, confidence: said.confidence, said: Some(said), in_scope: None, accepted: true }
    };
    data.texts.iter().zip(&data.labels).map(row).collect()
}

fn to_json(head: &str, labels: &[String], evaluation: &Evaluation) -> Value {
    let mut object = Map::new();
    let mut put = |key: &str, value: Value| drop(object.insert(key.to_owned(), value));
    put("head", json!(head));
    put("rows", json!(evaluation.rows));
    let figures = [("accuracy", evaluation.accuracy), ("macro_f1", evaluation.macro_f1), ("macro_recall", evaluation.macro_recall)];
    figures.iter().for_each(|(name, figure)| put(name, digits(figure.value)));
    put("calibration_error", digits(evaluation.calibration_error));
    put("calibration_error_if_perfect", digits(evaluation.calibration_error_if_perfect));
    put("calibration_error_in_scope", evaluation.calibration_error_in_scope.map_or(Value::Null, digits));
    put("out_of_scope_auroc", evaluation.out_of_scope_auroc.map_or(Value::Null, digits));
    put("accuracy_with_scope", evaluation.accuracy_with_scope.map_or(Value::Null, digits));
    let intervals = figures.iter().map(|(name, figure)| ((*name).to_owned(), json!([digits(figure.low), digits(figure.high)])));
    put("interval_95", Value::Object(intervals.collect()));
    let per_label = labels.iter().zip(&evaluation.per_label).map(|(label, score)| {
        let figure = |value: Option<f64>| value.map_or(Value::Null, digits);
        let value =
            json!({"rows": score.rows, "precision": figure(score.precision), "recall": figure(score.recall), "f1": figure(score.f1)});
        (label.clone(), value)
    });
    put("per_label", Value::Object(per_label.collect()));
    Value::Object(object)
}

fn digits(value: f64) -> Value {
    Value::from((value * 1e5).round() / 1e5)
}

fn to_table(labels: &[String], evaluation: &Evaluation) -> String {
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    let with_interval = |f: Figure| format!("{:.1} % ({:.1} to {:.1})", 100.0 * f.value, 100.0 * f.low, 100.0 * f.high);
    let mut rows = vec![
        ("rows", evaluation.rows.to_string()),
        ("accuracy", with_interval(evaluation.accuracy)),
        ("macro-F1", with_interval(evaluation.macro_f1)),
        ("macro-recall", with_interval(evaluation.macro_recall)),
        ("calibration error", format!("{:.4} (perfect: {:.4})", evaluation.calibration_error, evaluation.calibration_error_if_perfect)),
    ];
    rows.extend(evaluation.calibration_error_in_scope.map(|value| ("calibration error in scope", format!("{value:.4}"))));
    rows.extend(evaluation.out_of_scope_auroc.map(|value| ("out-of-scope AUROC", format!("{value:.3}"))));
    rows.extend(evaluation.accuracy_with_scope.map(|value| ("accuracy with scope", percent(value))));
    let figures = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]).collect();
    let figure = |value: Option<f64>| value.map_or("-".to_owned(), percent);
    let per_label = labels.iter().zip(&evaluation.per_label).filter(|(_, score)| score.rows > 0 || score.precision.is_some());
    let per_label = per_label
        .map(|(label, score)| vec![label.clone(), score.rows.to_string(), figure(score.precision), figure(score.recall), figure(score.f1)]);
    let per_label = render::table(&["label", "rows", "precision", "recall", "F1"], per_label.collect());
    format!("{}\n{per_label}", render::table(&["figure", "value (95 % interval)"], figures))
}
