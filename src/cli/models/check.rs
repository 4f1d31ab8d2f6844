//! `baton models check`: whether a folder can be served, and how.
//!
//! In: a package, or a folder in the Hugging Face layout with a label map. Out: a table of what was found, the engine that takes it and why, and every fault at
//! once. It is loaded as a server would load it, so what is said here is what will be.

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::Args;
use serde_json::{Map, Value, json};

use super::{Outcome, print};
use crate::cli::EngineName;
use crate::cli::render;
use crate::model::encoder::candle::Device;
use crate::model::fault::{Fault, PackageError};
use crate::model::folder::{self, Found};
use crate::model::head::{Head, Kind};
use crate::model::load::{self, PackageFiles};
use crate::model::scorer::Scorer;
use crate::model::window::WINDOWS_MAX;

/// Which folder.
#[derive(Debug, Args)]
pub(super) struct CheckArguments {
    /// Folder of a model: a package, or a folder in the Hugging Face layout.
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// TOML file that says what the labels of the model mean [default: baton.toml in the folder].
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// The engine that shall compute.
    #[arg(long, value_enum, default_value = "auto")]
    engine: EngineName,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// What is told of a folder.
struct Checked {
    layout: &'static str,
    found: Found,
    served: Result<Served, Vec<Fault>>,
}

/// How it serves.
struct Served {
    engine: String,
    digest: String,
    heads: Vec<(String, Kind, Vec<String>)>,
    max_seq_len: usize,
    weight_bytes: u64,
}

/// Runs the command.
pub(super) fn run(arguments: &CheckArguments) -> Result<Outcome> {
    let checked = check(&arguments.folder, arguments.labels.as_deref(), arguments.engine);
    print(&if arguments.json { format!("{}\n", checked.to_json()) } else { checked.to_table(&arguments.folder) })?;
    Ok(if checked.served.is_ok() { Outcome::Success } else { Outcome::Negative })
}

fn check(path: &Path, labels: Option<&Path>, engine: EngineName) -> Checked {
    if folder::is_in_layout(path) {
        let (found, files) = folder::inspect(path, labels, true);
        let served = files.and_then(|files| {
            let files = files.unwrap_or_else(|| unreachable!("weights were asked for"));
            let scorer = load::brought(&files, &Device::Cpu, engine.into())?;
            Ok(served(&scorer, &files))
        });
        return Checked { layout: "hugging_face", found, served };
    }
    let load = || -> Result<_, PackageError> {
        let scorer = load::load_labelled(path, labels, &Device::Cpu, engine.into())?;
        Ok((served(&scorer, &PackageFiles::read(path)?), scorer))
    };
    match load() {
        Ok((served, scorer)) => {
            let found = Found { name: scorer.file().name.clone(), version: scorer.file().version.clone(), ..Found::default() };
            Checked { layout: "package", found, served: Ok(served) }
        }
        Err(error) => Checked { layout: "package", found: Found::default(), served: Err(error.faults) },
    }
}

fn served(scorer: &Scorer, files: &PackageFiles) -> Served {
    let labels = |head: &Head| head.labels().iter().map(ToString::to_string).collect();
    Served {
        engine: scorer.engine(),
        digest: scorer.digest().to_owned(),
        heads: scorer.heads().iter().map(|head| (head.name().to_owned(), head.spec.kind, labels(head))).collect(),
        max_seq_len: scorer.file().max_seq_len,
        weight_bytes: files.weight_bytes(scorer.engine_kind()),
    }
}

/// As `problem_type` has it.
fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::SingleLabel => "single_label",
        Kind::MultiLabel => "multi_label",
    }
}

impl Checked {
    fn to_json(&self) -> Value {
        let found = &self.found;
        let labels: Map<String, Value> = found.labels.iter().map(|(label, target)| (label.clone(), json!(target))).collect();
        let mut result = json!({
            "serves": self.served.is_ok(),
            "layout": self.layout,
            "name": found.name,
            "version": found.version,
            "family": found.family,
            "tokenizer": found.tokenizer,
            "kind": found.kind.map(kind_name),
            "head": found.head,
            "labels": labels,
            "max_seq_len": found.max_seq_len,
            "weights": found.weights.map(|(files, bytes, numbers)| json!({"files": files, "bytes": bytes, "numbers": numbers})),
        });
        match &self.served {
            Ok(served) => {
                let heads =
                    served.heads.iter().map(|(name, kind, labels)| json!({"name": name, "kind": kind_name(*kind), "labels": labels}));
                result["engine"] = json!(served.engine);
                result["digest"] = json!(served.digest);
                result["heads"] = heads.collect();
                result["max_seq_len"] = json!(served.max_seq_len);
                result["windows_max"] = json!(WINDOWS_MAX);
                result["weight_bytes"] = json!(served.weight_bytes);
                result["faults"] = json!([]);
            }
            Err(faults) => {
                let fault = |fault: &Fault| json!({"file": fault.file, "key": fault.key, "found": fault.found, "expected": fault.expected});
                result["faults"] = faults.iter().map(fault).collect();
            }
        }
        result
    }

    fn to_table(&self, folder: &Path) -> String {
        let found = &self.found;
        let mut rows: Vec<Vec<String>> = Vec::new();
        let mut row = |what: &str, value: String| rows.push(vec![what.to_owned(), value]);
        row("folder", folder.display().to_string());
        row("layout", if self.layout == "package" { "package" } else { "Hugging Face" }.to_owned());
        if !found.name.is_empty() {
            row("model", format!("{} {}", found.name, found.version));
        }
        let mut row_if = |what: &str, value: Option<String>| value.into_iter().for_each(|value| row(what, value));
        row_if("family", found.family.clone());
        row_if("tokenizer", found.tokenizer.map(str::to_owned));
        let weights = |(files, bytes, numbers): (usize, u64, u64)| {
            format!(
                "{:.1} MB in {files} {}, {:.1} M numbers",
                bytes as f64 / 1e6,
                if files == 1 { "file" } else { "files" },
                numbers as f64 / 1e6
            )
        };
        row_if("weights", found.weights.map(weights));
        let kind = found.kind.map(|kind| match kind {
            Kind::SingleLabel => "softmax: one label holds",
            Kind::MultiLabel => "sigmoid: any number of labels",
        });
        row_if("labels", kind.map(str::to_owned));
        row_if("head", found.head.clone());
        for (label, target) in &found.labels {
            let target = match (&found.head, target) {
                (None, _) => "?",
                (Some(_), None) => "(ignored)",
                (Some(_), Some(target)) => target,
            };
            row_if("", Some(format!("{label} → {target}")));
        }
        match &self.served {
            Ok(served) => {
                if found.head.is_none() {
                    for (name, kind, labels) in &served.heads {
                        row_if("head", Some(format!("{name} ({}): {}", kind_name(*kind), labels.join(", "))));
                    }
                }
                row_if("window", Some(format!("{} tokens, at most {WINDOWS_MAX} of a text", served.max_seq_len)));
                row_if("memory", Some(format!("{:.1} MB of weights", served.weight_bytes as f64 / 1e6)));
                row_if("engine", Some(served.engine.clone()));
                row_if("serves", Some("yes".to_owned()));
            }
            Err(faults) => {
                row_if("window", found.max_seq_len.map(|tokens| format!("{tokens} tokens")));
                row_if("serves", Some(format!("no: {} {}", faults.len(), if faults.len() == 1 { "fault" } else { "faults" })));
            }
        }
        let table = render::table(&["", ""], rows);
        let faults: Vec<String> = self.served.as_ref().err().into_iter().flatten().map(|fault| format!("  {fault}\n")).collect();
        format!("{table}{}", faults.concat())
    }
}
