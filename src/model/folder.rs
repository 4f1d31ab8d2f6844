//! A folder in the Hugging Face layout → the files of a package, in memory.
//!
//! In: a folder with `config.json`, a tokenizer and `safetensors` weights of a `...ForSequenceClassification`, as the reference library saves one and the hub
//! keeps it, and a label map ([`labels`]). Out: [`PackageFiles`] without `parity.json`, so that everything behind it is one path, and [`Found`], what was
//! read. Nothing is written.
//!
//! Whoever made the folder may not wish us well: files are opened by [`super::files`], every claim of a header is held against the length of its file
//! ([`shards`]) and the sizes of `config.json` against the tensors before a number of them is read, a tokenizer is weighed before it is built
//! ([`super::tokenizer`]). No code of a folder is run; a pickle is refused.
//!
//! | part | in | out |
//! |---|---|---|
//! | [`classifier`] | `config.json` | labels, softmax or sigmoid, where the classifier's weights are |
//! | [`labels`] | label map | what the labels mean |
//! | [`vocabulary`], [`sentencepiece`] | the tokenizer in any form | `tokenizer.json` |
//! | [`shards`] | weights | trunk and head |
//! | [`texts`] | | texts that the engines are held against, where a model brings no reference answers |

mod classifier;
pub mod labels;
mod sentencepiece;
mod shards;
pub mod texts;
mod vocabulary;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use safetensors::tensor::{Dtype, TensorView};
use serde_json::{Map, Value, json};

use self::classifier::Classifier;
use self::labels::{LabelMap, Labels};
use self::shards::{Checkpoint, Wanted};
use super::config::{self, TrunkConfig};
use super::fault::Fault;
use super::files::{Folder, snapshot_of};
use super::head::{self, Decision, EmbeddingSpec, HeadSpec, HeadsFile, Input, Kind, Pooling};
use super::load::{PackageFiles, TRUNK_FILE, least_parameters, most_parameters};
use super::parity;
use super::weights::Weights;

/// Largest `config.json`: ten thousand labels, there and back, have a tenth of it.
const CONFIG_BYTES_MAX: u64 = 8 << 20;
/// Tokens of one window at most: what most models were trained with, and a bound on what attention costs.
const WINDOW_TOKENS_MAX: usize = 512;
/// p from which a label of a multi-label head counts as present, as long as no labelled file says better: the library's own.
const THRESHOLD: f32 = 0.5;
/// What a checkpoint may hold beside a classifier: the heads of its first training, which the library passes over as well.
const LEFT_OVER: [&str; 8] =
    ["cls.", "lm_head.", "vocab_transform.", "vocab_layer_norm.", "vocab_projector.", "lm_predictions.", "mask_predictions.", "decoder."];

/// What was read of a folder, as far as it could be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// How the model is called: its name on the hub, or the folder's.
    pub name: String,
    /// The revision of a hub snapshot.
    pub version: String,
    /// `model_type` and shape in words.
    pub family: Option<String>,
    /// Files that the tokenizer comes from.
    pub tokenizer: Option<&'static str>,
    /// Softmax or sigmoid.
    pub kind: Option<Kind>,
    /// Name of the head.
    pub head: Option<String>,
    /// Each label of the model, and what it means; nothing where it is ignored.
    pub labels: Vec<(String, Option<String>)>,
    /// Tokens of one window.
    pub max_seq_len: Option<usize>,
    /// Files of weights, their bytes, and their numbers.
    pub weights: Option<(usize, u64, u64)>,
    /// Numbers in matrices of the trunk, and the others.
    pub parameters: Option<(u64, u64)>,
}

/// Whether a folder is in this layout: a `config.json`, and neither of the files that only packages have.
pub fn is_in_layout(folder: &Path) -> bool {
    let of_packages = [head::FILE, parity::FILE];
    Folder::open(folder).is_ok_and(|folder| folder.has(config::FILE) && !of_packages.iter().any(|name| folder.has(name)))
}

/// Reads a folder; the error holds every fault.
pub fn read(folder: &Path, labels: Option<&Path>) -> Result<PackageFiles, Vec<Fault>> {
    let (_, files) = inspect(folder, labels, true);
    files.map(|files| files.expect("weights were asked for"))
}

/// What a folder holds, and its files where it has no fault; without them only headers of the weights are read.
pub fn inspect(path: &Path, labels: Option<&Path>, with_weights: bool) -> (Found, Result<Option<PackageFiles>, Vec<Fault>>) {
    let mut found = Found::default();
    let folder = match Folder::open(path) {
        Ok(folder) => folder,
        Err(fault) => return (found, Err(vec![fault])),
    };
    (found.name, found.version) = name_of(&folder);
    let mut faults = Vec::new();
    let parts = look(&folder, labels, &mut found, &mut faults);
    let files = match parts {
        Some(parts) if faults.is_empty() && with_weights => parts.files(&found).map(Some),
        Some(_) if faults.is_empty() => Ok(None),
        _ => Err(faults),
    };
    (found, files)
}

/// All that files are made of.
struct Parts {
    config: Vec<u8>,
    tokenizer: Vec<u8>,
    checkpoint: Checkpoint,
    classifier: Classifier,
    labels: Labels,
    max_seq_len: usize,
    trunk: Vec<Wanted>,
}

/// Reads everything but the weights themselves, and notes every fault of every part.
fn look(folder: &Folder, labels: Option<&Path>, found: &mut Found, faults: &mut Vec<Fault>) -> Option<Parts> {
    let checkpoint = Checkpoint::open(folder, faults);
    found.weights = checkpoint.as_ref().map(|all| (all.files(), all.bytes(), all.tensors().values().map(shards::Stored::elements).sum()));
    let map = LabelMap::read(folder, labels, faults);
    let config = folder.read_or_fault(config::FILE, CONFIG_BYTES_MAX, faults)?;
    let object: Map<String, Value> = match serde_json::from_slice(&config) {
        Ok(object) => object,
        Err(error) => {
            faults.push(Fault::new(config::FILE, "", error.to_string(), "a JSON object"));
            return None;
        }
    };
    let classifier = classifier::read(&object, faults);
    let trunk = config::parse(&config).map_err(|found| faults.extend(found)).ok();
    found.family = trunk.as_ref().map(|trunk| family(trunk, &object));
    let model_type = object.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let tokenizer = vocabulary::read(folder, model_type, faults);
    found.tokenizer = tokenizer.as_ref().map(|tokenizer| tokenizer.source);
    found.kind = classifier.as_ref().map(|classifier| classifier.kind);
    let labels = map.zip(classifier.as_ref()).and_then(|(map, classifier)| {
        let applied = map.apply(&classifier.labels, classifier.kind);
        applied.map_err(|wrong| faults.extend(wrong)).ok()
    });
    if let (Some(classifier), Some(labels)) = (&classifier, &labels) {
        found.head = Some(labels.head.clone());
        let meaning = labels.places.iter().map(|place| place.map(|place| labels.labels[place].clone()));
        found.labels = classifier.labels.iter().cloned().zip(meaning).collect();
    } else if let Some(classifier) = &classifier {
        found.labels = classifier.labels.iter().map(|label| (label.clone(), None)).collect();
    }
    let wanted = checkpoint.as_ref().zip(classifier.as_ref()).and_then(|(all, classifier)| trunk_of(all, classifier, faults));
    if let (Some(all), Some(wanted), Some(trunk)) = (&checkpoint, &wanted, &trunk) {
        found.parameters = Some(parameters(wanted));
        check_sizes(all, wanted, trunk, faults);
    }
    if let (Some(all), Some(classifier)) = (&checkpoint, &classifier) {
        check_head(all, classifier, faults);
    }
    let (trunk, tokenizer) = (trunk?, tokenizer?);
    let longest = trunk.max_seq_len().min(WINDOW_TOKENS_MAX).min(tokenizer.model_max_length.unwrap_or(usize::MAX));
    found.max_seq_len = Some(longest);
    Some(Parts {
        config,
        tokenizer: tokenizer.json,
        checkpoint: checkpoint?,
        classifier: classifier?,
        labels: labels?,
        max_seq_len: longest,
        trunk: wanted?,
    })
}

/// Its name and revision on the hub; else the folder's name.
fn name_of(folder: &Folder) -> (String, String) {
    let plain = |name: &str| name.chars().filter(|c| !c.is_control()).take(200).collect::<String>();
    if let Some((model, revision)) = snapshot_of(folder.real()) {
        let name = model.file_name().unwrap_or_default().to_string_lossy().trim_start_matches("models--").replace("--", "/");
        return (plain(&name), plain(revision));
    }
    let name = folder.real().file_name().unwrap_or_default().to_string_lossy();
    (plain(&name), "local".to_owned())
}

fn family(trunk: &TrunkConfig, config: &Map<String, Value>) -> String {
    let model_type = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
    format!("{model_type}, {} layers of {}, {} words", trunk.num_hidden_layers, trunk.hidden_size, trunk.vocab_size)
}

/// The tensors of the trunk, under the names that a package has for them; what is neither trunk nor classifier is a fault.
fn trunk_of(all: &Checkpoint, classifier: &Classifier, faults: &mut Vec<Fault>) -> Option<Vec<Wanted>> {
    let names = classifier.names;
    let of_head = head_tensors(classifier);
    let mut wanted = Vec::new();
    for (name, stored) in all.tensors() {
        if of_head.iter().any(|(tensor, _)| tensor == name) || LEFT_OVER.iter().any(|prefix| name.starts_with(prefix)) {
            continue;
        }
        match name.strip_prefix(names.prefix) {
            // Made by the library and read by nobody; RoBERTa's pooler is left over from its first training.
            Some("embeddings.position_ids") => {}
            Some(rest) if rest.starts_with("pooler.") => {}
            Some(rest) => wanted.push(Wanted { stored: Some(name.clone()), name: rest.to_owned(), shape: stored.shape.clone() }),
            None => {
                let expected = format!("no tensor but those of the classifier, and those that begin with {:?}", names.prefix);
                faults.push(Fault::new(all.file_of(stored), name, format!("shape {:?}", stored.shape), expected));
            }
        }
    }
    if wanted.is_empty() {
        faults.push(Fault::new(TRUNK_FILE, format!("{}*", names.prefix), "nothing", "the weights of the trunk"));
        return None;
    }
    Some(wanted)
}

/// The names of the classifier's tensors, and whether each must be there.
fn head_tensors(classifier: &Classifier) -> Vec<(String, bool)> {
    let names = classifier.names;
    let mut tensors = vec![
        (format!("{}.weight", names.dense), true),
        // ModernBERT's have none.
        (format!("{}.bias", names.dense), false),
        (format!("{}.weight", names.linear), true),
        (format!("{}.bias", names.linear), true),
    ];
    if let Some(norm) = names.norm {
        tensors.extend([(format!("{norm}.weight"), true), (format!("{norm}.bias"), false)]);
    }
    tensors
}

fn check_head(all: &Checkpoint, classifier: &Classifier, faults: &mut Vec<Fault>) {
    for (name, _) in head_tensors(classifier).iter().filter(|(name, needed)| *needed && !all.tensors().contains_key(name)) {
        faults.push(Fault::new(TRUNK_FILE, name, "nothing", "a tensor of the classifier; a trunk alone has no labels"));
    }
    let labels = classifier.labels.len();
    let rows = format!("{labels} rows, one a label of id2label");
    let mut check = |name: String, expected: &str, fits: &dyn Fn(&[usize]) -> bool| {
        if let Some(stored) = all.tensors().get(&name).filter(|stored| !fits(&stored.shape)) {
            faults.push(Fault::new(all.file_of(stored), name, format!("shape {:?}", stored.shape), expected));
        }
    };
    let names = classifier.names;
    check(format!("{}.weight", names.linear), &rows, &|shape| shape.len() == 2 && shape[0] == labels);
    check(format!("{}.bias", names.linear), &rows, &|shape| *shape == [labels]);
    check(format!("{}.weight", names.dense), "rows and columns", &|shape| shape.len() == 2);
}

/// Holds the sizes that `config.json` names against what is stored, before anything of that size is made: at least the word table and the matrices of all
/// layers, and no more than a few times as much.
fn check_sizes(all: &Checkpoint, wanted: &[Wanted], trunk: &TrunkConfig, faults: &mut Vec<Fault>) {
    let least = least_parameters(trunk);
    let (matrices, others) = parameters(wanted);
    let stored = matrices + others;
    if stored < least {
        let found = format!("sizes of {least} numbers in the word table and the layers");
        faults.push(Fault::new(config::FILE, "", found, format!("no more than the {stored} that the weights have")));
    }
    let most = most_parameters(trunk);
    if stored > most {
        let name = all.tensors().values().next().map_or(TRUNK_FILE, |tensor| all.file_of(tensor));
        faults.push(Fault::new(name, "", format!("{stored} numbers"), format!("at most {most} for the sizes of config.json")));
    }
}

/// Numbers in matrices, and in all else.
fn parameters(wanted: &[Wanted]) -> (u64, u64) {
    let count = |matrices: bool| {
        let of_kind = wanted.iter().filter(|tensor| (tensor.shape.len() == 2) == matrices);
        of_kind.map(|tensor| tensor.shape.iter().map(|size| *size as u64).product::<u64>()).sum()
    };
    (count(true), count(false))
}

impl Parts {
    /// Reads the weights.
    fn files(mut self, found: &Found) -> Result<PackageFiles, Vec<Fault>> {
        let trunk = self.checkpoint.collect(&self.trunk).map_err(|fault| vec![fault])?;
        let head_weights = self.head_weights()?;
        let heads = HeadsFile {
            format: head::FORMAT,
            name: found.name.clone(),
            version: found.version.clone(),
            max_seq_len: self.max_seq_len,
            embedding: EmbeddingSpec { pooling: Pooling::Mean },
            heads: vec![self.spec(found)],
            language: None,
            examples: None,
        };
        let heads = serde_json::to_vec_pretty(&heads).map_err(|error| vec![Fault::new(head::FILE, "", error.to_string(), "numbers")])?;
        Ok(PackageFiles { config: self.config, tokenizer: self.tokenizer, trunk, heads, head_weights, parity: Vec::new() })
    }

    /// The classifier's weights as those of a head: rows of ignored labels are left out.
    fn head_weights(&mut self) -> Result<Vec<u8>, Vec<Fault>> {
        let names = self.classifier.names;
        let wanted: Vec<Wanted> = head_tensors(&self.classifier)
            .into_iter()
            .filter_map(|(name, _)| {
                let shape = self.checkpoint.tensors().get(&name)?.shape.clone();
                Some(Wanted { stored: Some(name.clone()), name, shape })
            })
            .collect();
        let stored = self.checkpoint.collect(&wanted).map_err(|fault| vec![fault])?;
        let mut weights = Weights::read(TRUNK_FILE, &stored)?;
        let mut tensors: BTreeMap<String, (Vec<usize>, Vec<u8>)> = BTreeMap::new();
        for Wanted { name, shape, .. } in &wanted {
            let mut values = weights.take(name, shape).values;
            let mut shape = shape.clone();
            let (layer, part) = name.rsplit_once('.').unwrap_or((name, ""));
            let stage = if layer == names.linear {
                let width = values.len() / shape.first().copied().unwrap_or(1).max(1);
                let kept = self.labels.places.iter().zip(values.chunks(width.max(1))).filter(|(place, _)| place.is_some());
                values = kept.flat_map(|(_, row)| row.iter().copied()).collect();
                shape[0] = self.labels.places.iter().flatten().count();
                ""
            } else if Some(layer) == names.norm {
                "norm."
            } else {
                "dense."
            };
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            tensors.insert(format!("{}.{stage}{part}", self.labels.head), (shape, bytes));
        }
        let faults = weights.finish();
        if !faults.is_empty() {
            return Err(faults);
        }
        let fault = |error: safetensors::SafeTensorError| vec![Fault::new(head::WEIGHTS_FILE, "", error.to_string(), "tensors of a head")];
        let views = tensors.iter().map(|(name, (shape, bytes))| Ok((name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)));
        safetensors::serialize(views.collect::<Result<Vec<_>, _>>().map_err(fault)?, None).map_err(fault)
    }

    fn spec(&self, found: &Found) -> HeadSpec {
        let labels = &self.labels.labels;
        let rows: Vec<usize> = self.labels.places.iter().flatten().copied().collect();
        let meaning: Map<String, Value> = found.labels.iter().map(|(label, target)| (label.clone(), json!(target))).collect();
        let multi = self.classifier.kind == Kind::MultiLabel;
        HeadSpec {
            name: self.labels.head.clone(),
            kind: self.classifier.kind,
            input: Input::Message,
            pooling: self.classifier.pooling,
            normalize: false,
            layer: None,
            dense: Some(self.classifier.dense),
            labels: labels.clone(),
            temperature: vec![1.0],
            bias: vec![0.0; rows.len()],
            // Nobody has counted; the decision does not ask for them.
            priors: vec![1.0 / labels.len() as f32; labels.len()],
            decision: Decision::Probability,
            thresholds: if multi { vec![THRESHOLD; labels.len()] } else { Vec::new() },
            window_max: Vec::new(),
            scope: None,
            trained_on: Some(json!({"model": found.name, "revision": found.version, "labels": meaning, "calibration": "uncalibrated"})),
            row_labels: (rows.iter().collect::<BTreeSet<_>>().len() < rows.len()).then_some(rows),
        }
    }
}
