//! A folder of `models/` → a [`Scorer`] that has proved itself.
//!
//! Reads every file whole (each with a bound), checks configuration, names, shapes, types, counts and numbers, builds the engine, and scores the
//! parity texts. What fails is a [`PackageError`] with every fault of that stage.

use std::fs;
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::config::TrunkConfig;
use super::encoder::candle::{CandleEncoder, Device};
use super::encoder::int8::{self, Int8Encoder};
use super::encoder::{Encoder, EngineChoice, TrunkWeights};
use super::fault::{Fault, PackageError};
use super::head::HeadsFile;
use super::lexical::Lexicon;
use super::parity::ParityFile;
use super::scorer::{Scorer, Turns};
use super::tokenizer::Tokenizer;
use super::weights::Weights;
use super::{config, encoder, head, parity, tokenizer};

/// Name of the trunk's weights inside a package.
pub const TRUNK_FILE: &str = "model.safetensors";

/// Largest sizes that are read, in bytes.
const JSON_BYTES_MAX: u64 = 64 << 20;
const WEIGHTS_BYTES_MAX: u64 = 8 << 30;

/// The files of a package as they lie on the disk.
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
    /// Reads all files of a folder; every one that is missing is named.
    pub fn read(folder: &Path) -> Result<Self, PackageError> {
        if !folder.is_dir() {
            return Err(error(folder, vec![Fault::new("", "", "no such folder", "a folder with a model package")]));
        }
        let mut faults = Vec::new();
        let mut file = |name: &str, bytes_max: u64, may_be_missing: bool| {
            let path = folder.join(name);
            if may_be_missing && !path.exists() {
                return empty_safetensors();
            }
            read_bounded(&path, bytes_max).unwrap_or_else(|found| {
                faults.push(Fault::new(name, "", found, format!("a file of at most {bytes_max} bytes")));
                Vec::new()
            })
        };
        let files = Self {
            config: file(config::FILE, JSON_BYTES_MAX, false),
            tokenizer: file(tokenizer::FILE, JSON_BYTES_MAX, false),
            trunk: file(TRUNK_FILE, WEIGHTS_BYTES_MAX, false),
            heads: file(head::FILE, JSON_BYTES_MAX, false),
            head_weights: file(head::WEIGHTS_FILE, WEIGHTS_BYTES_MAX, true),
            parity: file(parity::FILE, JSON_BYTES_MAX, false),
        };
        if faults.is_empty() { Ok(files) } else { Err(error(folder, faults)) }
    }
}

/// Loads a package onto a device and proves its parity; the engine is chosen by itself.
pub fn load(folder: &Path, device: &Device) -> Result<Scorer, PackageError> {
    load_on(folder, device, EngineChoice::Auto)
}

/// The same with an engine that the operator may have chosen.
pub fn load_on(folder: &Path, device: &Device, engine: EngineChoice) -> Result<Scorer, PackageError> {
    let files = PackageFiles::read(folder)?;
    build(files, device, engine).map_err(|faults| error(folder, faults))
}

fn build(files: PackageFiles, device: &Device, choice: EngineChoice) -> Result<Scorer, Vec<Fault>> {
    let config = config::parse(&files.config)?;
    let parity_file = parity::parse(&files.parity)?;
    let refused = if device.is_cpu() { int8::unsupported(&config) } else { Some("it computes on a CPU".to_owned()) };
    match (choice, refused) {
        (EngineChoice::Candle, _) => on_candle(&files, &config, &parity_file, device, None),
        (EngineChoice::Int8, Some(why)) => {
            Err(vec![Fault::new("", "engine", "int8", format!("candle: int8 cannot take this model, {why}"))])
        }
        (EngineChoice::Auto, Some(why)) => on_candle(&files, &config, &parity_file, device, device.is_cpu().then_some(why)),
        (EngineChoice::Int8, None) => on_int8(&files, &config, &parity_file),
        (EngineChoice::Auto, None) => match on_int8(&files, &config, &parity_file) {
            Ok(scorer) => Ok(scorer),
            // Bytes may lose too much of some model. If its files are at fault, candle finds that too, and tells it in its own figures.
            Err(faults) => {
                let why = faults.first().map_or_else(String::new, |fault| format!("its answers are too far from the reference: {fault}"));
                on_candle(&files, &config, &parity_file, device, Some(why))
            }
        },
    }
}

/// The reference engine on the files of a package, without proof: for those who write its parity file.
pub fn reference(files: &PackageFiles) -> Result<Scorer, Vec<Fault>> {
    let config = config::parse(&files.config)?;
    assemble(files, &config, None, |weights| candle(&config, weights, &Device::Cpu))
}

fn on_int8(files: &PackageFiles, config: &TrunkConfig, parity: &ParityFile) -> Result<Scorer, Vec<Fault>> {
    prove(assemble(files, config, None, |weights| Ok(Box::new(Int8Encoder::new(config, weights))))?, parity)
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
        Ok(Scorer {
            digest: digest(hashed.clone(), &[&files.heads, &files.head_weights]),
            trunk_digest: digest(hashed, &[encoder.kind().family().as_bytes()]),
            turns: Turns::default(),
            tokenizer,
            encoder,
            why_not_int8,
            heads,
            file: heads_file,
            lexicon: lexicon.join().expect("the rules are constants that compile"),
        })
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
    let faults = parity::check(&scorer, file)
        .map_err(|error| vec![Fault::new(TRUNK_FILE, "", cause(&error), "finite answers for the parity texts")])?;
    if faults.is_empty() { Ok(scorer) } else { Err(faults) }
}

fn cause(error: &dyn std::error::Error) -> String {
    error.source().map_or(error.to_string(), |source| format!("{error}: {source}"))
}

fn error(folder: &Path, faults: Vec<Fault>) -> PackageError {
    PackageError { package: folder.display().to_string(), faults }
}

fn read_bounded(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    let file = fs::File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    if bytes.len() as u64 > bytes_max { Err(format!("more than {bytes_max} bytes")) } else { Ok(bytes) }
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
