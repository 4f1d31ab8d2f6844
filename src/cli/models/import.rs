//! `baton models import`: a folder in the Hugging Face layout → a package.
//!
//! The package gets a `parity.json` of its own, computed by the reference engine from its own weights, so that every later load proves itself; a calibration,
//! where a labelled file is given; and its matrices as bytes where that is asked for. It is written beside, loaded, and only then put in place.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{Outcome, fresh, print};
use crate::cli::labelled::{Labelled, LabelledArguments};
use crate::cli::{bulk, progress_bar};
use crate::model::fault::{Fault, PackageError};
use crate::model::folder;
use crate::model::head::{Head, HeadsFile, Kind};
use crate::model::load::{self, PackageFiles};
use crate::model::quantise::{Moved, quantise};
use crate::model::scorer::{ScoreInput, Scorer};
use crate::model::train::{Recalibrated, Targets, recalibrate};

/// Texts of one call to the model.
const TEXTS_PER_CALL: usize = 64;

/// Which folder, and where to.
#[derive(Debug, Args)]
pub(super) struct ImportArguments {
    /// Folder in the Hugging Face layout.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// A new folder for the package.
    #[arg(long, value_name = "PKG")]
    out: PathBuf,
    /// TOML file that says what the labels of the model mean [default: baton.toml in the folder].
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// CSV or JSON Lines file with labelled messages: temperature and biases are fitted to it.
    #[arg(long, value_name = "FILE")]
    calibrate: Option<PathBuf>,
    /// Column with the message.
    #[arg(long, value_name = "NAME", default_value = "text", requires = "calibrate")]
    text_column: String,
    /// Column with the label: the model's own, or what it means.
    #[arg(long, value_name = "NAME", default_value = "label", requires = "calibrate")]
    label_column: String,
    /// The label column holds any number of labels, separated by this character; for models whose labels do not exclude each other.
    #[arg(long, value_name = "CHAR", requires = "calibrate")]
    label_separator: Option<char>,
    /// Store the matrices as bytes: a quarter of the size.
    #[arg(long)]
    quantize: bool,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// What a calibration did.
struct Calibrated {
    rows: usize,
    /// Rows that do not fit one window.
    left_out: usize,
    fitted: Recalibrated,
}

/// Runs the command.
pub(super) fn run(arguments: &ImportArguments) -> Result<Outcome> {
    fresh::check_new(&arguments.out)?;
    let of_folder = |faults: Vec<Fault>| PackageError { package: arguments.folder.display().to_string(), faults };
    if !folder::is_in_layout(&arguments.folder) {
        let expected = "a folder with config.json and without heads.json, as the reference library saves a classifier";
        return Err(of_folder(vec![Fault::new("", "", "no folder in the Hugging Face layout", expected)]).into());
    }
    // Headers and small files first, then the rows, then the weights: faults are told before long work.
    let (found, faults) = folder::inspect(&arguments.folder, arguments.labels.as_deref(), false);
    faults.map_err(of_folder)?;
    if arguments.calibrate.is_some() {
        check_separator(found.kind, arguments.label_separator)?;
    }
    let data = arguments.calibrate.as_ref().map(|path| arguments.labelled(path).read(None)).transpose()?;
    let mut files = folder::read(&arguments.folder, arguments.labels.as_deref()).map_err(of_folder)?;
    let mut scorer = load::reference(&files).map_err(of_folder)?;
    let mut calibrated = None;
    if let Some(data) = &data {
        let done = calibrate(arguments, &scorer, data)?;
        files.heads = with_calibration(&scorer, data, arguments, &done)?;
        calibrated = Some(done);
        scorer = load::reference(&files).map_err(of_folder)?;
    }
    files.parity = [serde_json::to_vec(&load::answers(&scorer).map_err(of_folder)?)?, b"\n".to_vec()].concat();
    drop(scorer);
    let mut moved = None;
    if arguments.quantize {
        let (smaller, by) = quantise(files).map_err(of_folder)?;
        (files, moved) = (smaller, Some(by));
    }
    let served = fresh::write(&files, &arguments.out, "the imported package")?;
    print(&told(arguments, &files, &served, calibrated.as_ref(), moved.as_ref()))?;
    Ok(Outcome::Success)
}

impl ImportArguments {
    fn labelled(&self, path: &Path) -> LabelledArguments {
        LabelledArguments {
            data: vec![path.to_owned()],
            text_column: self.text_column.clone(),
            label_column: self.label_column.clone(),
            label_separator: self.label_separator,
        }
    }
}

fn check_separator(kind: Option<Kind>, separator: Option<char>) -> Result<()> {
    match (kind, separator) {
        (Some(Kind::SingleLabel), Some(_)) => bail!("label-separator: the labels of this model exclude each other, so a row has one"),
        (Some(Kind::MultiLabel), None) => {
            bail!("label-separator: found nothing, expected the character between labels: this model gives any number of them")
        }
        _ => Ok(()),
    }
}

/// Fits temperature and biases to the rows that fit one window: of a longer text the head has several answers.
fn calibrate(arguments: &ImportArguments, scorer: &Scorer, data: &Labelled) -> Result<Calibrated> {
    let [head] = scorer.heads() else { bail!("a folder has one head, found {}", scorer.heads().len()) };
    let targets = targets(head, data)?;
    let reading = scorer.reading_of(head);
    let bar = progress_bar(data.texts.len() as u64, "scoring", false);
    let logits = |texts: &[String]| -> Result<Vec<Option<Vec<f32>>>> {
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let features = scorer.features(&texts, reading)?;
        let fits = |text: &str| scorer.prepare(ScoreInput::message(text)).cost_tokens() <= scorer.file().max_seq_len;
        texts
            .iter()
            .zip(features)
            .map(|(text, vector)| {
                let z = vector.filter(|_| fits(text)).map(|vector| head.logits(&vector));
                z.transpose().map_err(|_| anyhow!("head {} gave a number that is not finite", head.name()))
            })
            .collect()
    };
    let logits = bulk::map(&data.texts, TEXTS_PER_CALL, logits, |n| bar.inc(n as u64))?;
    bar.finish_and_clear();
    let kept: Vec<(Vec<f32>, Vec<u32>)> = logits.into_iter().zip(&targets.rows).filter_map(|(z, row)| Some((z?, row.clone()))).collect();
    let left_out = data.texts.len() - kept.len();
    let (logits, rows): (Vec<Vec<f32>>, Vec<Vec<u32>>) = kept.into_iter().unzip();
    let targets = Targets { rows, ..targets };
    let fitted = recalibrate(&head.spec, &logits.concat(), &targets).with_context(|| data_name(arguments))?;
    Ok(Calibrated { rows: targets.rows.len(), left_out, fitted })
}

fn data_name(arguments: &ImportArguments) -> String {
    arguments.calibrate.as_deref().and_then(Path::file_name).map_or_else(String::new, |name| name.to_string_lossy().into_owned())
}

/// The labels of the rows, by their places in the head: ours, or those of the model where none of the file is ours.
fn targets(head: &Head, data: &Labelled) -> Result<Targets> {
    let ours = &head.spec.labels;
    let models = head.spec.trained_on.as_ref().and_then(|origin| origin["labels"].as_object());
    let of_model = |label: &str| models.and_then(|labels| labels.get(label)).map(|target| target.as_str());
    let is_ours = |label: &String| ours.contains(label);
    let by_meaning = data.labels.iter().flatten().any(is_ours);
    let mut rows = Vec::with_capacity(data.labels.len());
    for (labels, place) in data.labels.iter().zip(&data.places) {
        let mut row = Vec::with_capacity(labels.len());
        for label in labels {
            let meant = if by_meaning { Some(label.as_str()) } else { of_model(label).flatten() };
            match meant.and_then(|meant| ours.iter().position(|other| other == meant)) {
                Some(at) => row.push(at as u32),
                // A label that the map ignores says nothing of the others.
                None if of_model(label) == Some(None) => {}
                None => {
                    let model: Vec<&str> = models.into_iter().flat_map(|labels| labels.keys().map(String::as_str)).collect();
                    bail!(
                        "{place}: found the label {label:?}, expected one of {}, or for all rows one of the model's: {}",
                        ours.join(", "),
                        model.join(", ")
                    );
                }
            }
        }
        row.sort_unstable();
        row.dedup();
        rows.push(row);
    }
    Ok(Targets { kind: head.spec.kind, labels: ours.clone(), rows })
}

/// `heads.json` with the calibration, and where it comes from.
fn with_calibration(scorer: &Scorer, data: &Labelled, arguments: &ImportArguments, done: &Calibrated) -> Result<Vec<u8>> {
    let mut file: HeadsFile = scorer.file().clone();
    let mut hasher = Sha256::new();
    for (text, labels) in data.texts.iter().zip(&data.labels) {
        hasher.update(text);
        hasher.update([0]);
        hasher.update(labels.join("|"));
        hasher.update([0]);
    }
    for head in &mut file.heads {
        head.temperature.clone_from(&done.fitted.temperature);
        head.bias.clone_from(&done.fitted.bias);
        head.priors.clone_from(&done.fitted.priors);
        head.thresholds.clone_from(&done.fitted.thresholds);
        if let Some(origin) = &mut head.trained_on {
            origin["calibration"] = json!({
                "data": data_name(arguments),
                "rows": done.rows,
                "sha256": load::hex(&hasher.clone().finalize()),
                "log_loss_before": done.fitted.log_loss_before,
                "log_loss_after": done.fitted.log_loss_after,
                "program": concat!("baton ", env!("CARGO_PKG_VERSION")),
            });
        }
    }
    Ok([serde_json::to_vec_pretty(&file)?, b"\n".to_vec()].concat())
}

fn told(
    arguments: &ImportArguments,
    files: &PackageFiles,
    served: &Scorer,
    calibrated: Option<&Calibrated>,
    moved: Option<&Moved>,
) -> String {
    let bytes = files.trunk.len() + files.head_weights.len();
    if arguments.json {
        let calibration = calibrated.map_or_else(
            || json!("uncalibrated"),
            |done| {
                let fitted = &done.fitted;
                json!({
                    "rows": done.rows, "left_out": done.left_out, "temperature": fitted.temperature, "bias": fitted.bias,
                    "log_loss_before": fitted.log_loss_before, "log_loss_after": fitted.log_loss_after,
                })
            },
        );
        let quantized = moved.map(|moved| {
            json!({
                "matrices": moved.matrices, "bytes_before": moved.bytes_before, "bytes_after": moved.bytes_after,
                "least_cosine": moved.least_cosine, "largest_difference": moved.largest_difference,
            })
        });
        let heads: Vec<Value> = served.heads().iter().map(|head| json!({"name": head.name(), "labels": head.spec.labels})).collect();
        let result = json!({
            "out": arguments.out, "name": served.file().name, "version": served.file().version, "engine": served.engine(),
            "digest": served.digest(), "heads": heads, "bytes": bytes, "calibration": calibration, "quantized": quantized,
        });
        return format!("{result}\n");
    }
    let mut text = format!("{}: {:.1} MB of weights, served by {}\n", arguments.out.display(), bytes as f64 / 1e6, served.engine());
    for head in served.heads() {
        text += &format!("head {}: {}\n", head.name(), head.spec.labels.join(", "));
    }
    text += &match calibrated {
        Some(done) => format!(
            "calibrated on {} rows ({} that do not fit a window left out): log loss {:.4} before, {:.4} after (each half by a fit on the other)\n",
            done.rows, done.left_out, done.fitted.log_loss_before, done.fitted.log_loss_after
        ),
        None => "uncalibrated: a p is what the model says; --calibrate FILE fits it to labelled messages\n".to_owned(),
    };
    if let Some(moved) = moved {
        text += &format!(
            "{} matrices stored as bytes, {:.1} MB instead of {:.1} MB: least cosine to the vectors before {:.4}, largest difference of a probability {:.4}\n",
            moved.matrices,
            moved.bytes_after as f64 / 1e6,
            moved.bytes_before as f64 / 1e6,
            moved.least_cosine,
            moved.largest_difference,
        );
    }
    text
}
