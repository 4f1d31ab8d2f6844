//! A folder of `models/` → a [`Scorer`] that has proved itself.
//!
//! Reads every file whole (each with a bound), checks configuration, names, shapes, types, counts and numbers, builds the engine, and scores the
//! parity texts. What fails is a [`PackageError`] with every fault of that stage.
//! A folder in the Hugging Face layout is read by [`folder`] into the same files. It brings no reference answers: the reference engine makes them at every load,
//! on texts of ours, for the faster engine to be held against; what serves says so.

use std::path::Path;

use sha2::{Digest, Sha256};

use super::config::TrunkConfig;
use super::encoder::candle::{CandleEncoder, Device};
use super::encoder::int8::{self, Int8Encoder, Precision};
use super::encoder::{Encoder, EngineChoice, EngineKind, TrunkWeights};
use super::fault::{Fault, PackageError};
use super::files::{Folder, JSON_BYTES_MAX, WEIGHTS_BYTES_MAX, too_large_or_missing};
use super::folder::{self, texts};
use super::head::HeadsFile;
use super::lexical::Lexicon;
use super::parity::ParityFile;
use super::scorer::{ScoreError, Scorer, Turns};
use super::tokenizer::Tokenizer;
use super::weights::Weights;
use super::{config, encoder, head, parity, tokenizer};

/// Name of the trunk's weights inside a package.
pub const TRUNK_FILE: &str = "model.safetensors";

/// Largest file with the weights of heads.
const HEAD_BYTES_MAX: u64 = 1 << 30;

/// The files of a package as they lie on the disk.
#[derive(Clone)]
pub struct PackageFiles {
    /// `config.json`
    pub config: Vec<u8>,
    /// `tokenizer.json`
    pub tokenizer: Vec<u8>,
    /// `model.safetensors`
    pub trunk: Vec<u8>,
    /// `heads.json`
    pub heads: Vec<u8>,
    /// `heads.safetensors`; empty where `heads.json` names no head.
    pub head_weights: Vec<u8>,
    /// `parity.json`
    pub parity: Vec<u8>,
}

impl PackageFiles {
    /// Reads all files of a folder; every one that is missing is named. Weights are read only once `config.json` says how many there may be.
    pub fn read(path: &Path) -> Result<Self, PackageError> {
        let folder = Folder::open(path).map_err(|fault| error(path, vec![fault]))?;
        if folder::is_in_layout(path) {
            let expected = "a package; baton models import makes one of such a folder";
            return Err(error(path, vec![Fault::new("", "", "a folder in the Hugging Face layout", expected)]));
        }
        let mut faults = Vec::new();
        let mut file = |name: &str, bytes_max: u64| folder.read_or_fault(name, bytes_max, &mut faults).unwrap_or_default();
        let [config, tokenizer, heads, parity] =
            [config::FILE, tokenizer::FILE, head::FILE, parity::FILE].map(|name| file(name, JSON_BYTES_MAX));
        let head_weights = if folder.has(head::WEIGHTS_FILE) { file(head::WEIGHTS_FILE, HEAD_BYTES_MAX) } else { empty_safetensors() };
        if let Err(found) = folder.file(TRUNK_FILE, WEIGHTS_BYTES_MAX) {
            faults.push(too_large_or_missing(TRUNK_FILE, found, WEIGHTS_BYTES_MAX));
        }
        let mut trunk = Vec::new();
        if faults.is_empty() {
            let sizes = config::parse(&config).map_err(|faults| error(path, faults))?;
            let bytes_max = most_parameters(&sizes).saturating_mul(4).min(WEIGHTS_BYTES_MAX);
            trunk = folder.read_or_fault(TRUNK_FILE, bytes_max, &mut faults).unwrap_or_default();
        }
        let files = Self { config, tokenizer, trunk, heads, head_weights, parity };
        if faults.is_empty() { Ok(files) } else { Err(error(path, faults)) }
    }

    /// Bytes that the weights of the trunk take in an engine: int8 keeps matrices as bytes, everything else is `f32`.
    pub fn weight_bytes(&self, engine: EngineKind) -> u64 {
        let Ok(tensors) = safetensors::SafeTensors::deserialize(&self.trunk) else { return 0 };
        let bytes = |view: &safetensors::tensor::TensorView<'_>| {
            let elements: u64 = view.shape().iter().map(|size| *size as u64).product();
            let as_bytes = matches!(engine, EngineKind::Int8(..)) && view.shape().len() == 2;
            if as_bytes { elements } else { 4 * elements }
        };
        tensors.iter().map(|(_, view)| bytes(&view)).sum()
    }
}

/// Fewest numbers of a trunk of these sizes, in any family: words, and in each layer four products of attention and two of the feed-forward part.
pub(super) fn least_parameters(sizes: &TrunkConfig) -> u64 {
    let [words, hidden, inner, layers] =
        [sizes.vocab_size, sizes.hidden_size, sizes.intermediate_size, sizes.num_hidden_layers].map(|size| size as u64);
    let layer = hidden.saturating_mul(hidden).saturating_mul(4).saturating_add(hidden.saturating_mul(inner).saturating_mul(2));
    words.saturating_mul(hidden).saturating_add(layer.saturating_mul(layers))
}

/// Most numbers of one, with room for what families add: products of their own, tables of distances, norms, a pooler that is passed over.
pub(super) fn most_parameters(sizes: &TrunkConfig) -> u64 {
    let tables =
        (sizes.max_position_embeddings as u64).saturating_add(sizes.type_vocab_size as u64).saturating_mul(sizes.hidden_size as u64);
    least_parameters(sizes).saturating_add(tables).saturating_mul(2).saturating_add(1 << 24)
}

/// Loads a package onto a device and proves its parity; the engine is chosen by itself.
pub fn load(folder: &Path, device: &Device) -> Result<Scorer, PackageError> {
    load_on(folder, device, EngineChoice::Auto)
}

/// The same with an engine that the operator may have chosen.
pub fn load_on(folder: &Path, device: &Device, engine: EngineChoice) -> Result<Scorer, PackageError> {
    load_labelled(folder, None, device, engine)
}

/// The same with a label map for a folder in the Hugging Face layout; without one it is that of the folder.
pub fn load_labelled(path: &Path, labels: Option<&Path>, device: &Device, engine: EngineChoice) -> Result<Scorer, PackageError> {
    let of_folder = |faults| error(path, faults);
    if folder::is_in_layout(path) {
        return brought(&folder::read(path, labels).map_err(of_folder)?, device, engine).map_err(of_folder);
    }
    if let Some(labels) = labels {
        let expected = "no label map: a package names its labels in heads.json";
        return Err(of_folder(vec![Fault::new("", "labels", labels.display().to_string(), expected)]));
    }
    build(PackageFiles::read(path)?, device, engine).map_err(of_folder)
}

/// The files of a folder in the Hugging Face layout, which has no `parity.json`: the reference engine is built first, and what it says of our texts is what
/// int8 must say.
pub fn brought(files: &PackageFiles, device: &Device, choice: EngineChoice) -> Result<Scorer, Vec<Fault>> {
    let config = config::parse(&files.config)?;
    let refused = if device.is_cpu() { int8::unsupported(&config) } else { Some("it computes on a CPU".to_owned()) };
    if let (EngineChoice::Int8(precision), Some(why)) = (choice, &refused) {
        return Err(vec![int8_refused(precision, why)]);
    }
    let wants_int8 = refused.is_none() && choice != EngineChoice::Candle;
    let (reference, faster) = std::thread::scope(|scope| {
        // The faster engine is packed while the reference reads the texts.
        let faster = wants_int8.then(|| scope.spawn(|| packed(files, &config, choice.precision())));
        let reference = assemble_hashed(files, &config, None, |weights| candle(&config, weights, device))
            .and_then(|(scorer, hashed)| Ok((answers(&scorer)?, scorer, hashed)));
        (reference, faster.map(|faster| faster.join().expect("packing checked weights does not panic")))
    });
    let (expected, mut scorer, hashed) = reference?;
    scorer.without_reference = true;
    let Some(faster) = faster else {
        scorer.why_not_int8 = refused.filter(|_| device.is_cpu() && choice != EngineChoice::Candle);
        return Ok(scorer);
    };
    let reference = scorer.exchange(Box::new(faster?), &hashed);
    let mut faults = parity::check(&scorer, &expected).map_err(not_finite)?;
    if faults.is_empty() {
        return Ok(scorer);
    }
    faults.iter_mut().for_each(|fault| fault.file = "built-in texts".to_owned());
    if matches!(choice, EngineChoice::Int8(_)) {
        return Err(faults);
    }
    scorer.exchange(reference, &hashed);
    scorer.why_not_int8 = Some(too_far(&faults));
    Ok(scorer)
}

/// The int8 engine of files whose trunk has no fault.
fn packed(files: &PackageFiles, config: &TrunkConfig, precision: Precision) -> Result<Int8Encoder, Vec<Fault>> {
    let mut weights = Weights::read_trunk(TRUNK_FILE, &files.trunk)?;
    let trunk = encoder::take_trunk(&mut weights, config);
    let faults = weights.finish();
    if faults.is_empty() { Ok(Int8Encoder::new(config, trunk, precision)) } else { Err(faults) }
}

/// What a scorer says of our own texts, as the parity file of a model that brings none.
pub fn answers(scorer: &Scorer) -> Result<ParityFile, Vec<Fault>> {
    let made_by = format!("baton {}, {}", env!("CARGO_PKG_VERSION"), scorer.encoder.kind().as_str());
    let file = parity::answers(scorer, &texts::TEXTS, made_by).map_err(not_finite)?;
    if file.texts.is_empty() {
        return Err(vec![Fault::new(tokenizer::FILE, "", "no token in any text", "a vocabulary that texts have tokens of")]);
    }
    Ok(file)
}

impl Scorer {
    /// Puts another engine of the same trunk in; gives the one before.
    fn exchange(&mut self, encoder: Box<dyn Encoder>, hashed: &Sha256) -> Box<dyn Encoder> {
        self.turns = Turns::default();
        self.trunk_digest = digest(hashed.clone(), &[encoder.kind().family().as_bytes()]);
        std::mem::replace(&mut self.encoder, encoder)
    }
}

fn int8_refused(precision: Precision, why: &str) -> Fault {
    let name = precision.as_str();
    Fault::new("", "engine", name, format!("candle: {name} cannot take this model, {why}"))
}

fn too_far(faults: &[Fault]) -> String {
    faults.first().map_or_else(String::new, |fault| format!("its answers are too far from the reference: {fault}"))
}

fn not_finite(error: ScoreError) -> Vec<Fault> {
    vec![Fault::new(TRUNK_FILE, "", cause(&error), "finite answers for the parity texts")]
}

fn build(files: PackageFiles, device: &Device, choice: EngineChoice) -> Result<Scorer, Vec<Fault>> {
    let config = config::parse(&files.config)?;
    let parity_file = parity::parse(&files.parity)?;
    let refused = if device.is_cpu() { int8::unsupported(&config) } else { Some("it computes on a CPU".to_owned()) };
    match (choice, refused) {
        (EngineChoice::Candle, _) => on_candle(&files, &config, &parity_file, device, None),
        (EngineChoice::Int8(precision), Some(why)) => Err(vec![int8_refused(precision, &why)]),
        (EngineChoice::Auto, Some(why)) => on_candle(&files, &config, &parity_file, device, device.is_cpu().then_some(why)),
        (EngineChoice::Int8(precision), None) => on_int8(&files, &config, &parity_file, precision),
        (EngineChoice::Auto, None) => match on_int8(&files, &config, &parity_file, choice.precision()) {
            Ok(scorer) => Ok(scorer),
            // Bytes may lose too much of some model. If its files are at fault, candle finds that too, and tells it in its own figures.
            Err(faults) => on_candle(&files, &config, &parity_file, device, Some(too_far(&faults))),
        },
    }
}

/// The reference engine on the files of a package, without proof: for those who write its parity file.
pub fn reference(files: &PackageFiles) -> Result<Scorer, Vec<Fault>> {
    let config = config::parse(&files.config)?;
    assemble(files, &config, None, |weights| candle(&config, weights, &Device::Cpu))
}

fn on_int8(files: &PackageFiles, config: &TrunkConfig, parity: &ParityFile, precision: Precision) -> Result<Scorer, Vec<Fault>> {
    prove(assemble(files, config, None, |weights| Ok(Box::new(Int8Encoder::new(config, weights, precision))))?, parity)
}

fn on_candle(
    files: &PackageFiles,
    config: &TrunkConfig,
    parity: &ParityFile,
    device: &Device,
    why_not_int8: Option<String>,
) -> Result<Scorer, Vec<Fault>> {
    prove(assemble(files, config, why_not_int8, |weights| candle(config, weights, device))?, parity)
}

fn candle(config: &TrunkConfig, weights: TrunkWeights, device: &Device) -> Result<Box<dyn Encoder>, Vec<Fault>> {
    match CandleEncoder::new(config, weights, device) {
        Ok(engine) => Ok(Box::new(engine)),
        Err(error) => Err(vec![Fault::new(TRUNK_FILE, "", cause(&error), "weights that the device takes")]),
    }
}

fn assemble(
    files: &PackageFiles,
    config: &TrunkConfig,
    why_not_int8: Option<String>,
    engine: impl FnOnce(TrunkWeights) -> Result<Box<dyn Encoder>, Vec<Fault>>,
) -> Result<Scorer, Vec<Fault>> {
    assemble_hashed(files, config, why_not_int8, engine).map(|(scorer, _)| scorer)
}

/// The same with the hash of the trunk's files, to which the family of an engine may come.
fn assemble_hashed(
    files: &PackageFiles,
    config: &TrunkConfig,
    why_not_int8: Option<String>,
    engine: impl FnOnce(TrunkWeights) -> Result<Box<dyn Encoder>, Vec<Fault>>,
) -> Result<(Scorer, Sha256), Vec<Fault>> {
    std::thread::scope(|scope| {
        // Compiling the rules and hashing the files take as long as all the rest: they run beside it.
        let lexicon = scope.spawn(Lexicon::new);
        let hashed = scope.spawn(|| hashed(&[&files.config, &files.tokenizer, &files.trunk]));
        let heads_file = head::parse(&files.heads)?;
        let tokenizer = Tokenizer::read(&files.tokenizer, config.vocab_size)?;
        check_sizes(&heads_file, config, &tokenizer)?;
        let heads = head::assemble(&heads_file, &files.head_weights, config.hidden_size)?;
        let mut weights = Weights::read_trunk(TRUNK_FILE, &files.trunk)?;
        let trunk = encoder::take_trunk(&mut weights, config);
        let faults = weights.finish();
        if !faults.is_empty() {
            return Err(faults);
        }
        let encoder = engine(trunk)?;
        let hashed = hashed.join().expect("hashing does not panic");
        let scorer = Scorer {
            digest: digest(hashed.clone(), &[&files.heads, &files.head_weights]),
            trunk_digest: digest(hashed.clone(), &[encoder.kind().family().as_bytes()]),
            turns: Turns::default(),
            tokenizer,
            encoder,
            why_not_int8,
            without_reference: false,
            heads,
            file: heads_file,
            lexicon: lexicon.join().expect("the rules are constants that compile"),
        };
        Ok((scorer, hashed))
    })
}

fn check_sizes(heads: &HeadsFile, config: &config::TrunkConfig, tokenizer: &Tokenizer) -> Result<(), Vec<Fault>> {
    let (least, most) = (tokenizer.specials_per_window() + 1, config.max_seq_len());
    let mut faults: Vec<Fault> = heads.language.iter().flat_map(|guard| guard.check()).collect();
    faults.extend(heads.examples.iter().flat_map(|examples| examples.check()));
    if !(least..=most).contains(&heads.max_seq_len) {
        faults.push(Fault::new(head::FILE, "max_seq_len", heads.max_seq_len.to_string(), format!("{least} to {most}, the position table")));
    }
    for (i, layer) in heads.heads.iter().enumerate().filter_map(|(i, head)| Some((i, head.layer?))) {
        if !(1..=config.num_hidden_layers).contains(&layer) {
            let expected = format!("1 to {}, the layers of the trunk", config.num_hidden_layers);
            faults.push(Fault::new(head::FILE, format!("heads[{i}].layer"), layer.to_string(), expected));
        }
    }
    if faults.is_empty() { Ok(()) } else { Err(faults) }
}

/// The scorer, if it gives the answers of the file.
fn prove(scorer: Scorer, file: &ParityFile) -> Result<Scorer, Vec<Fault>> {
    let faults = parity::check(&scorer, file).map_err(not_finite)?;
    if faults.is_empty() { Ok(scorer) } else { Err(faults) }
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {source}"))
}

fn error(folder: &Path, faults: Vec<Fault>) -> PackageError {
    PackageError { package: folder.display().to_string(), faults }
}

/// A safetensors file without tensors: an eight-byte length and an empty header.
fn empty_safetensors() -> Vec<u8> {
    [&2u64.to_le_bytes()[..], b"{}"].concat()
}

/// The hash of files, each with its length before it, to which more may come.
fn hashed(files: &[&[u8]]) -> Sha256 {
    with_files(Sha256::new(), files)
}

fn with_files(mut hasher: Sha256, files: &[&[u8]]) -> Sha256 {
    for file in files {
        hasher.update((file.len() as u64).to_le_bytes());
        hasher.update(file);
    }
    hasher
}

/// SHA-256 over the files that were hashed and these, in hex.
fn digest(hashed: Sha256, files: &[&[u8]]) -> String {
    hex(&with_files(hashed, files).finalize())
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
