//! `baton models quantize`: a package whose matrices are numbers → the same with bytes.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use serde_json::json;

use super::{Outcome, fresh, print};
use crate::config::Places;
use crate::model::fault::PackageError;
use crate::model::load::PackageFiles;
use crate::model::quantise::{Moved, quantise};

/// Which package, and where to.
#[derive(Debug, Args)]
pub(super) struct QuantizeArguments {
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
pub(super) fn run(arguments: &QuantizeArguments, places: &Places) -> Result<Outcome> {
    let base = places.find_model(arguments.model.as_deref()).map_err(|error| anyhow!(error))?;
    fresh::check_new(&arguments.out)?;
    let faulty = |faults| PackageError { package: base.display().to_string(), faults };
    let (files, moved) = quantise(PackageFiles::read(&base)?).map_err(faulty)?;
    let engine = fresh::write(&files, &arguments.out, "the quantised package")?.engine();
    print(&told(&moved, &engine, arguments))?;
    Ok(Outcome::Success)
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
