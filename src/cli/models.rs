//! `baton models`: what can be done with models beside serving them, and ([`serving`]) with those of a running daemon.

mod check;
mod fresh;
mod import;
mod pull;
mod quantize;
pub mod serving;

use anyhow::Result;
use clap::{Args, Subcommand};

use super::{Outcome, print};
use crate::config::Places;

/// What to do.
#[derive(Debug, Args)]
pub struct ModelsArguments {
    #[command(subcommand)]
    command: ModelsCommand,
}

#[derive(Debug, Subcommand)]
enum ModelsCommand {
    /// Tell whether a folder can be served and how, with every fault at once.
    Check(check::CheckArguments),
    /// Make a package of a folder in the Hugging Face layout.
    Import(import::ImportArguments),
    /// Store the matrices of a package as bytes: a quarter of the size, and what the int8 engine reads.
    Quantize(quantize::QuantizeArguments),
    /// Fetch a model of the hub of Hugging Face into its cache, pinned and verified by a lock file.
    Pull(pull::PullArguments),
    #[command(flatten)]
    Serving(serving::ServingCommand),
}

/// Runs the command.
pub fn run(arguments: &ModelsArguments, places: &Places) -> Result<Outcome> {
    match &arguments.command {
        ModelsCommand::Check(arguments) => check::run(arguments),
        ModelsCommand::Import(arguments) => import::run(arguments),
        ModelsCommand::Quantize(arguments) => quantize::run(arguments, places),
        ModelsCommand::Pull(arguments) => pull::run(arguments),
        ModelsCommand::Serving(command) => serving::run(command),
    }
}
