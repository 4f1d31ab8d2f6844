//! `baton package`: what the person who takes over an exported conversation would read.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use serde_json::json;

use super::policy::PolicyFileArguments;
use super::replay::read_conversation;
use super::{ModelArguments, Outcome, load_model, print};
use crate::config::Places;
use crate::handoff::package::render::{Form, render};
use crate::service::observe::{Observer, vocabulary};
use crate::service::packaging::of_transcript;
use crate::service::proving::ProvingError;

/// Arguments of `baton package`.
#[derive(Clone, Debug, clap::Args)]
pub struct PackageArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    file: PolicyFileArguments,
    /// JSON Lines file with one exported conversation; docs/conversation.md has the format; may be given several times.
    #[arg(long, value_name = "FILE", required = true)]
    conversation: Vec<PathBuf>,
    /// How it is written; json gives one object a conversation.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Markdown,
    Text,
    Json,
}

/// Runs `baton package`.
pub fn run(arguments: &PackageArguments, places: &Places) -> Result<Outcome> {
    let source = arguments.file.read()?;
    let transcripts = arguments.conversation.iter().map(|path| read_conversation(path)).collect::<Result<Vec<_>>>()?;
    let scorer = load_model(&arguments.model, places)?;
    let policy = source.read_policy(&vocabulary(&scorer)).map_err(|faults| anyhow!("{}", ProvingError::Policy(faults)))?;
    let observer = Observer::new(&scorer, &policy)?;
    for (transcript, path) in transcripts.iter().zip(&arguments.conversation) {
        let table = observer.table(&scorer, transcript.texts())?;
        let played = of_transcript(scorer.lexicon(), &policy, transcript, &table);
        print(&match arguments.format {
            Format::Markdown => render(&played.package, Form::Markdown),
            Format::Text => render(&played.package, Form::Text),
            Format::Json => format!("{}\n", json!({"file": path.display().to_string(), "package": played.package})),
        })?;
    }
    Ok(Outcome::Success)
}
