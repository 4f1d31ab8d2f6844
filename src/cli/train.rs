//! `baton train`: labelled messages → a model package with one more head.
//!
//! `--out` gets a whole package: the trunk of `--model` with its heads, and the new one, which replaces a head of the same name. Written into the folder of
//! `--model` itself, only the files of the heads change. The package has proved its parity before the command ends.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::features::cached_features;
use super::labelled::{Labelled, LabelledArguments};
use super::{ModelArguments, Outcome, bulk, load_model, print, progress_bar, render};
use crate::config::Places;
use crate::model::encoder::EngineChoice;
use crate::model::encoder::candle::{Device, open_device};
use crate::model::examples::{self, ExampleIntent, ExamplesSpec};
use crate::model::folder;
use crate::model::head::{self, Head, HeadsFile, Input, Kind, Pooling, Reading};
use crate::model::language::LanguageSpec;
use crate::model::load::{self, PackageFiles, TRUNK_FILE};
use crate::model::parity::{self, ParityFile};
use crate::model::scorer::Scorer;
use crate::model::train::{self, FitOptions, Fitted, Matrix, Targets, fit_logistic};
use crate::model::{config, tokenizer};
use crate::random::Random;
use crate::service::clock::Stopwatch;
use crate::service::events::{Event, emit};
use crate::signal::Embedding;

/// Arguments of `baton train`.
#[derive(Debug, clap::Args)]
pub struct TrainArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    labelled: LabelledArguments,
    /// Folder to write the package to; new, or the folder of --model itself.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is fitted.
    #[arg(long, value_enum, default_value = "head")]
    target: Target,
    /// Name of the head [default: the name of the first data file].
    #[arg(long, value_name = "NAME")]
    head: Option<String>,
    /// Weigh every label equally and choose the label by p / prior.
    #[arg(long)]
    balanced: bool,
    /// Label that stands for everything else.
    #[arg(long, value_name = "LABEL")]
    out_of_scope_label: Option<String>,
    /// Labels for which a long text takes its largest window.
    #[arg(long, value_name = "LABEL", value_delimiter = ',')]
    window_max: Vec<String>,
    /// Layer of the trunk after which the head reads, from 1 [default: the last].
    #[arg(long, value_name = "N")]
    layer: Option<usize>,
    /// Rounds of cross-validation.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u8).range(2..=20))]
    folds: u8,
    /// Seed of all randomness.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Folder for computed features [default: BATON_CACHE_DIR, else the user's cache folder].
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// JSON in place of a table.
    #[arg(long)]
    json: bool,
}

/// What is fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Target {
    /// A head that reads the embedding.
    Head,
    /// The language guard: rows labelled `known`, and any other label for what the model does not know.
    Language,
    /// The calibration of intents by example: rows labelled by intent; each intent takes its turn.
    Examples,
}

/// The folder of the feature cache: the flag or the environment.
pub fn cache_folder(flag: Option<&Path>, places: &Places) -> Result<PathBuf> {
    let found = flag.map(Path::to_path_buf).or_else(|| places.cache.clone());
    found.ok_or_else(|| anyhow!("no folder for computed features: give --cache, or set BATON_CACHE_DIR or HOME"))
}

/// Runs the command.
pub fn run(arguments: &TrainArguments, places: &Places) -> Result<Outcome> {
    let base = places.find_model(arguments.model.model.as_deref()).map_err(|error| anyhow!(error))?;
    let in_place = arguments.out.canonicalize().ok().is_some_and(|out| base.canonicalize().ok() == Some(out));
    if !in_place && arguments.out.exists() {
        bail!("output folder {}: exists; name a new one, or the folder of --model", arguments.out.display());
    }
    if folder::is_in_layout(&base) {
        bail!(
            "model {}: found a folder in the Hugging Face layout, expected a package; baton models import makes one of it",
            base.display()
        );
    }
    let data = arguments.labelled.read(None)?;
    let scorer = load_model(&arguments.model, places)?;
    let (file, new_head, report) = match arguments.target {
        Target::Head => fit_head(arguments, places, &scorer, &data)?,
        Target::Language => (fit_language(arguments, &scorer, &data)?, None, json!({"target": "language", "rows": data.texts.len()})),
        Target::Examples => {
            (fit_examples(arguments, places, &scorer, &data)?, None, json!({"target": "examples", "rows": data.texts.len()}))
        }
    };
    let device = open_device(arguments.model.device.into()).map_err(|error| anyhow!(error))?;
    // What a fitted head should say is told by the reference engine, as everything in a parity file is.
    let reference = load::load_on(&base, &device, EngineChoice::Candle)?;
    let digest = write_package(&base, &arguments.out, &reference, &file, new_head, &device)?;
    print(&if arguments.json { format!("{report}\n") } else { to_table(&report, &arguments.out, &digest) })?;
    Ok(Outcome::Success)
}

/// `[labels, inputs]` and `[labels]`.
type HeadWeights = (Vec<f32>, Vec<f32>);

/// Where the fitted numbers come from, for `heads.json`.
fn provenance(arguments: &TrainArguments, data: &Labelled) -> Value {
    let mut hasher = Sha256::new();
    for (text, labels) in data.texts.iter().zip(&data.labels) {
        hasher.update(text);
        hasher.update([0]);
        hasher.update(labels.join("|"));
        hasher.update([0]);
    }
    let names = arguments.labelled.data.iter().filter_map(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    json!({
        "data": names.collect::<Vec<_>>(),
        "rows": data.texts.len(),
        "sha256": load::hex(&hasher.finalize()),
        "seed": arguments.seed,
        "program": concat!("baton ", env!("CARGO_PKG_VERSION")),
    })
}

fn fit_head(
    arguments: &TrainArguments,
    places: &Places,
    scorer: &Scorer,
    data: &Labelled,
) -> Result<(HeadsFile, Option<HeadWeights>, Value)> {
    let kind = if arguments.labelled.label_separator.is_some() { Kind::MultiLabel } else { Kind::SingleLabel };
    let stem = || arguments.labelled.data[0].file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let options = FitOptions {
        name: arguments.head.clone().unwrap_or_else(stem),
        balanced: arguments.balanced,
        out_of_scope_label: arguments.out_of_scope_label.clone(),
        window_max: arguments.window_max.clone(),
        layer: arguments.layer,
        folds: usize::from(arguments.folds),
        seed: arguments.seed,
    };
    let layer = arguments.layer.unwrap_or(scorer.trunk_layers());
    if !(1..=scorer.trunk_layers()).contains(&layer) {
        bail!("layer: found {layer}, expected 1 to {}", scorer.trunk_layers());
    }
    if let Some(expected) = head::wrong_name(&options.name) {
        bail!("head: found {:?}, expected {expected}", options.name);
    }
    let targets = data.targets(kind);
    train::check(&targets, &options)?;
    let features = features(arguments, places, scorer, layer, data)?;
    let watch = Stopwatch::start();
    let bar = progress_bar(train::steps(&options), "fitting", false);
    let fitted = bulk::pool().install(|| train::fit(&features, &targets, &options, &|| bar.inc(1)))?;
    bar.finish_and_clear();
    let log_loss = fitted.held_out_log_loss.iter().map(|(_, loss)| *loss).fold(f64::INFINITY, f64::min);
    emit(&Event::HeadFitted {
        head: &options.name,
        rows: targets.rows.len() as u64,
        labels: targets.labels.len() as u64,
        inverse_l2: fitted.inverse_l2,
        held_out_log_loss: log_loss,
        elapsed: watch.elapsed(),
    });
    let report = report(&fitted, &targets, log_loss, watch.elapsed().as_secs_f64());
    let mut spec = fitted.spec;
    let mut trained_on = provenance(arguments, data);
    trained_on["inverse_l2"] = json!(fitted.inverse_l2);
    spec.trained_on = Some(trained_on);
    let mut file = scorer.file().clone();
    match file.heads.iter_mut().find(|head| head.name == spec.name) {
        Some(old) => *old = spec,
        None => file.heads.push(spec),
    }
    Ok((file, Some((fitted.weight, fitted.bias)), with_name(report, &options.name)))
}

fn features(arguments: &TrainArguments, places: &Places, scorer: &Scorer, layer: usize, data: &Labelled) -> Result<Matrix> {
    let reading = Reading { layer, pooling: Pooling::Mean, normalize: true };
    cached_features(&cache_folder(arguments.cache.as_deref(), places)?, scorer, reading, &data.texts)
}

fn report(fitted: &Fitted, targets: &Targets, log_loss: f64, secs: f64) -> Value {
    let counts: serde_json::Map<String, Value> =
        targets.labels.iter().cloned().zip(targets.counts().into_iter().map(Value::from)).collect();
    json!({
        "target": "head",
        "rows": targets.rows.len(),
        "labels": targets.labels.len(),
        "inverse_l2": fitted.inverse_l2,
        "held_out_log_loss": log_loss,
        "fit_secs": (secs * 10.0).round() / 10.0,
        "rows_per_label": counts,
    })
}

fn with_name(mut report: Value, name: &str) -> Value {
    report["head"] = json!(name);
    report
}

/// Share of known texts that the guard may refuse in the data it is fitted on; most of them are single misspelt words. Our choice, by the trade-off on
/// `train/language.csv`: below it the share of foreign texts that pass grows faster than that of refused ones falls.
const KNOWN_REFUSED_MAX: f64 = 0.02;

/// Fits the guard with both sides weighing equally; the threshold refuses [`KNOWN_REFUSED_MAX`] of the known texts.
fn fit_language(arguments: &TrainArguments, scorer: &Scorer, data: &Labelled) -> Result<HeadsFile> {
    let labelled = data.texts.iter().zip(&data.labels);
    let labelled = labelled.filter_map(|(text, labels)| Some((scorer.language_features(text)?, labels.first()? == "known")));
    let (rows, known): (Vec<Vec<f64>>, Vec<bool>) = labelled.map(|(features, known)| (features.map(f64::from).to_vec(), known)).unzip();
    let count = known.iter().filter(|known| **known).count();
    if count == 0 || count == known.len() {
        bail!("{}: found {count} of {} rows labelled \"known\", expected some and not all", arguments.labelled.label_column, known.len());
    }
    let share = count as f64 / known.len() as f64;
    let weights: Vec<f64> = known.iter().map(|known| if *known { 0.5 / share } else { 0.5 / (1.0 - share) }).collect();
    let (weights, bias) = fit_logistic(&rows, &known, &weights, 1e-3);
    let p = |row: &Vec<f64>| 1.0 / (1.0 + (-(row.iter().zip(&weights).map(|(x, w)| x * w).sum::<f64>() + bias)).exp());
    let mut of_known: Vec<f64> = rows.iter().zip(&known).filter(|(_, known)| **known).map(|(row, _)| p(row)).collect();
    of_known.sort_by(f64::total_cmp);
    let mut file = scorer.file().clone();
    file.language = Some(LanguageSpec {
        languages: vec!["en".to_owned()],
        weights: weights.iter().map(|w| *w as f32).collect(),
        bias: bias as f32,
        threshold: of_known[(of_known.len() as f64 * KNOWN_REFUSED_MAX) as usize].min(0.5) as f32,
        trained_on: Some(provenance(arguments, data)),
    });
    Ok(file)
}

/// Draws of examples per intent when the calibration is fitted.
const DRAWS_PER_INTENT: usize = 4;
/// Messages with the intent, and messages with others, compared in each draw. Their ratio is the prior: one message in ten has the intent.
const MESSAGES_WITH: usize = 10;
const MESSAGES_WITHOUT: usize = 90;

/// Every intent takes its turn as "the operator's": 5 to 20 of its rows are examples, others are messages with the intent, rows of other labels messages
/// without.
fn fit_examples(arguments: &TrainArguments, places: &Places, scorer: &Scorer, data: &Labelled) -> Result<HeadsFile> {
    let targets = data.targets(Kind::SingleLabel);
    let features = features(arguments, places, scorer, scorer.trunk_layers(), data)?;
    let (rows, present) = example_draws(&targets, &features, arguments.seed);
    if rows.is_empty() {
        bail!(
            "no label has {} rows: {} for examples and {MESSAGES_WITH} for messages",
            examples::EXAMPLES_MIN + MESSAGES_WITH,
            examples::EXAMPLES_MIN
        );
    }
    let rows: Vec<Vec<f64>> = rows.iter().map(|row| row.map(f64::from).to_vec()).collect();
    let (weights, bias) = fit_logistic(&rows, &present, &vec![1.0; rows.len()], 1e-4);
    let mut file = scorer.file().clone();
    file.examples = Some(ExamplesSpec {
        weights: weights.into_iter().map(|w| w as f32).collect(),
        bias: bias as f32,
        prior: MESSAGES_WITH as f32 / (MESSAGES_WITH + MESSAGES_WITHOUT) as f32,
        trained_on: Some(provenance(arguments, data)),
    });
    Ok(file)
}

/// Evidence and truth of all draws.
pub fn example_draws(targets: &Targets, features: &Matrix, seed: u64) -> (Vec<[f32; examples::FEATURES]>, Vec<bool>) {
    let mut random = Random::new(seed);
    let embedding = |row: usize| Embedding(features.row(row).to_vec());
    let (mut rows, mut present) = (Vec::new(), Vec::new());
    for label in 0..targets.labels.len() as u32 {
        let (mut with, mut without): (Vec<usize>, Vec<usize>) =
            (0..targets.rows.len()).partition(|row| targets.rows[*row].contains(&label));
        for draw in 0..DRAWS_PER_INTENT {
            let count = examples::EXAMPLES_MIN + 5 * draw;
            if with.len() < count + MESSAGES_WITH || without.len() < MESSAGES_WITHOUT {
                continue;
            }
            random.shuffle(&mut with);
            random.shuffle(&mut without);
            let Some(intent) = ExampleIntent::new(with[..count].iter().map(|row| embedding(*row)).collect()) else { continue };
            let messages = with[count..].iter().take(MESSAGES_WITH).map(|row| (*row, true));
            for (row, has) in messages.chain(without.iter().take(MESSAGES_WITHOUT).map(|row| (*row, false))) {
                rows.push(intent.features(&embedding(row)));
                present.push(has);
            }
        }
    }
    (rows, present)
}

/// Writes the package beside `out`, lets it prove itself there, and only then puts it in place; returns its digest. Whatever fails, `out` is as before.
fn write_package(
    base: &Path,
    out: &Path,
    scorer: &Scorer,
    file: &HeadsFile,
    new_head: Option<HeadWeights>,
    device: &Device,
) -> Result<String> {
    let name = out.file_name().ok_or_else(|| anyhow!("output folder {}: has no name", out.display()))?;
    let beside = out.with_file_name(format!("{}.new", name.to_string_lossy()));
    fs::create_dir(&beside).with_context(|| format!("folder {}, where the package is proved", beside.display()))?;
    let written = write_and_prove(base, &beside, scorer, file, new_head, device).and_then(|digest| {
        put_in_place(&beside, out).with_context(|| format!("output folder {}", out.display()))?;
        Ok(digest)
    });
    if beside.exists() {
        // What is left of it is of no use to anybody; if it cannot be removed, the next run says so.
        drop(fs::remove_dir_all(&beside));
    }
    written
}

fn write_and_prove(
    base: &Path,
    folder: &Path,
    scorer: &Scorer,
    file: &HeadsFile,
    new_head: Option<HeadWeights>,
    device: &Device,
) -> Result<String> {
    let files = PackageFiles::read(base)?;
    let mut heads = Vec::with_capacity(file.heads.len());
    for (i, spec) in file.heads.iter().enumerate() {
        let same = scorer.head(&spec.name).filter(|old| old.spec == *spec);
        heads.push(match (same, &new_head) {
            (Some(old), _) => old.clone(),
            (None, Some((weight, bias))) => Head::new(spec.clone(), weight.clone(), bias.clone(), &format!("heads[{i}]"))
                .map_err(|faults| anyhow!("the fitted head is not sound: {}", faults[0]))?,
            (None, None) => bail!("head {:?} has no weights", spec.name),
        });
    }
    let heads_json = [serde_json::to_vec_pretty(&file)?, b"\n".to_vec()].concat();
    let contents = [
        (config::FILE, files.config.clone()),
        (tokenizer::FILE, files.tokenizer.clone()),
        (TRUNK_FILE, files.trunk.clone()),
        (head::WEIGHTS_FILE, safetensors_of(&heads)?),
        (head::FILE, heads_json),
        (parity::FILE, parity_with_heads(&files, scorer, &heads)?),
    ];
    for (name, bytes) in contents {
        fs::write(folder.join(name), bytes).with_context(|| format!("file {}", folder.join(name).display()))?;
    }
    let proved = load::load(folder, device).context("the fitted package does not serve")?;
    Ok(proved.digest().to_owned())
}

/// A new folder is renamed whole. In a folder that is there, the files of the heads are renamed one by one: a run killed in between leaves a package
/// whose parity fails, which is refused and says why.
fn put_in_place(beside: &Path, out: &Path) -> std::io::Result<()> {
    if !out.exists() {
        return fs::rename(beside, out);
    }
    [head::WEIGHTS_FILE, head::FILE, parity::FILE].iter().try_for_each(|name| fs::rename(beside.join(name), out.join(name)))
}

fn safetensors_of(heads: &[Head]) -> Result<Vec<u8>> {
    let bytes = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let tensors = heads.iter().flat_map(Head::tensors);
    let data: Vec<(String, Vec<usize>, Vec<u8>)> = tensors.map(|(name, shape, values)| (name, shape, bytes(values))).collect();
    let views = data.iter().map(|(name, shape, bytes)| Ok((name.as_str(), TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
    Ok(safetensors::serialize(views.collect::<Result<Vec<_>>>()?, None)?)
}

/// The reference answers with the new heads': computed in f64, apart from the code that serves, from the reference vectors of the last layer, and for
/// another layer from the vectors of this engine, which has just proved itself on the last.
fn parity_with_heads(files: &PackageFiles, scorer: &Scorer, heads: &[Head]) -> Result<Vec<u8>> {
    let mut file: ParityFile = parity::parse(&files.parity).map_err(|faults| anyhow!("{}", faults[0]))?;
    let has = |name: &String| heads.iter().any(|head| head.name() == name && head.spec.input == Input::Pair);
    file.pairs.iter_mut().for_each(|pair| pair.probabilities.retain(|name, _| has(name)));
    for text in &mut file.texts {
        let known: Vec<String> = text.probabilities.keys().cloned().collect();
        known.iter().filter(|name| !heads.iter().any(|head| head.name() == *name)).for_each(|name| drop(text.probabilities.remove(name)));
        for head in heads.iter().filter(|head| head.reads_features()) {
            let layer = scorer.layer_of(head);
            let is_embedding = layer == scorer.trunk_layers() && scorer.file().embedding.pooling == Pooling::Mean;
            let features = if is_embedding { None } else { scorer.features(&[&text.text], scorer.reading_of(head))?.remove(0) };
            let features = features.unwrap_or_else(|| text.embedding.clone());
            text.probabilities.insert(head.name().to_owned(), reference_probabilities(head, &features));
        }
    }
    let mut out = Vec::new();
    serde_json::to_writer(&mut out, &file)?;
    out.push(b'\n');
    Ok(out)
}

fn reference_probabilities(head: &Head, embedding: &[f32]) -> Vec<f32> {
    let (weight, bias) = head.weights();
    let temperature = |label: usize| f64::from(head.spec.temperature[label % head.spec.temperature.len()]);
    let logit = |(label, row): (usize, &[f32])| {
        let z: f64 = row.iter().zip(embedding).map(|(w, x)| f64::from(*w) * f64::from(*x)).sum::<f64>() + f64::from(bias[label]);
        z / temperature(label) + f64::from(head.spec.bias[label])
    };
    let u: Vec<f64> = weight.chunks_exact(embedding.len()).enumerate().map(logit).collect();
    match head.spec.kind {
        Kind::SingleLabel => {
            let largest = u.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = u.iter().map(|u| (u - largest).exp()).sum();
            u.iter().map(|u| ((u - largest).exp() / sum) as f32).collect()
        }
        Kind::MultiLabel => u.iter().map(|u| (1.0 / (1.0 + (-u).exp())) as f32).collect(),
    }
}

fn to_table(report: &Value, out: &Path, digest: &str) -> String {
    let mut rows: Vec<Vec<String>> = Vec::new();
    for (key, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::Object(counts) if counts.len() <= 40 => {
                rows.extend(counts.iter().map(|(label, count)| vec![format!("rows of {label}"), count.to_string()]));
            }
            Value::Object(_) => {}
            Value::String(text) => rows.push(vec![key.clone(), text.clone()]),
            other => rows.push(vec![key.clone(), other.to_string()]),
        }
    }
    rows.push(vec!["package".into(), out.display().to_string()]);
    rows.push(vec!["digest".into(), digest.to_owned()]);
    render::table(&["fitted", ""], rows)
}
