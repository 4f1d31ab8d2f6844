//! `baton models`: what can be done with model packages beside serving them, and ([`serving`]) with the models of a running daemon.

pub mod serving;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use clap::{Args, Subcommand};
use serde_json::json;

use super::{Outcome, print};
use crate::config::Places;
use crate::model::encoder::candle::Device;
use crate::model::fault::PackageError;
use crate::model::load::{self, PackageFiles, TRUNK_FILE};
use crate::model::quantise::{Moved, quantise};
use crate::model::{config, head, parity, tokenizer};

/// What to do.
#[derive(Debug, Args)]
pub struct ModelsArguments {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Store the matrices of a package as bytes: a quarter of the size, and what the int8 engine reads.
    Quantize(QuantizeArguments),
    #[command(flatten)]
    Serving(serving::ServingCommand),
}

/// Which package, and where to.
#[derive(Debug, Args)]
struct QuantizeArguments {
    /// Folder of a model package with matrices in f32 or f16 [default: BATON_MODEL, else models/baton-en].
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// A new folder for the result.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(arguments: &ModelsArguments, places: &Places) -> Result<Outcome> {
    match &arguments.command {
        ModelsCommand::Quantize(arguments) => quantize(arguments, places),
        ModelsCommand::Serving(command) => serving::run(command),
    }
}

fn quantize(arguments: &QuantizeArguments, places: &Places) -> Result<Outcome> {
    let base = places.find_model(arguments.model.as_deref()).map_err(|error| anyhow!(error))?;
    if arguments.out.exists() {
        bail!("output folder {}: exists; name a new one", arguments.out.display());
    }
    let faulty = |faults| PackageError { package: base.display().to_string(), faults };
    let (files, moved) = quantise(PackageFiles::read(&base)?).map_err(faulty)?;
    let name = arguments.out.file_name().ok_or_else(|| anyhow!("output folder {}: has no name", arguments.out.display()))?;
    let beside = arguments.out.with_file_name(format!("{}.new", name.to_string_lossy()));
    fs::create_dir(&beside).with_context(|| format!("folder {}, where the package is proved", beside.display()))?;
    let engine = write_and_prove(&files, &beside).and_then(|engine| {
        fs::rename(&beside, &arguments.out).with_context(|| format!("output folder {}", arguments.out.display()))?;
        Ok(engine)
    });
    if beside.exists() {
        // What is left of it is of no use to anybody; if it cannot be removed, the next run says so.
        drop(fs::remove_dir_all(&beside));
    }
    print(&told(&moved, &engine?, arguments))?;
    Ok(Outcome::Success)
}

/// Writes the package, and loads it as a server would; the engine that takes it.
fn write_and_prove(files: &PackageFiles, folder: &Path) -> Result<String> {
    let contents = [
        (config::FILE, &files.config),
        (tokenizer::FILE, &files.tokenizer),
        (TRUNK_FILE, &files.trunk),
        (head::FILE, &files.heads),
        (head::WEIGHTS_FILE, &files.head_weights),
        (parity::FILE, &files.parity),
    ];
    for (name, bytes) in contents {
        fs::write(folder.join(name), bytes).with_context(|| format!("file {}", folder.join(name).display()))?;
    }
    Ok(load::load(folder, &Device::Cpu).context("the quantised package does not serve")?.engine())
}

fn told(moved: &Moved, engine: &str, arguments: &QuantizeArguments) -> String {
    if arguments.json {
        let result = json!({
            "out": arguments.out, "engine": engine, "matrices": moved.matrices, "bytes_before": moved.bytes_before, "bytes_after": moved.bytes_after,
            "least_cosine": moved.least_cosine, "largest_difference": moved.largest_difference,
        });
        return format!("{result}\n");
    }
    format!(
        "{}: {} matrices stored as bytes, {:.1} MB instead of {:.1} MB, served by {engine}\nover the texts of its parity file: least cosine to the vectors before {:.4}, largest \
         difference of a probability {:.4}\n",
        arguments.out.display(),
        moved.matrices,
        moved.bytes_after as f64 / 1e6,
        moved.bytes_before as f64 / 1e6,
        moved.least_cosine,
        moved.largest_difference,
    )
}
