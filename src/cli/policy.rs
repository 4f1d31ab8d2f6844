//! `baton policy`: the policy as a document. And which policy a command means.

use std::path::PathBuf;

use anyhow::{Result, anyhow};

use super::{ModelArguments, Outcome, load_model, print};
use crate::config::Places;
use crate::handoff::policy::document;
use crate::service::observe::vocabulary;
use crate::service::proving::{PolicyPlaces, ProvingError, Source};

/// Which policy.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyFileArguments {
    /// TOML file with the policy [default: the one that is compiled in].
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

impl PolicyFileArguments {
    /// The text of the policy.
    pub fn read(&self) -> Result<Source, ProvingError> {
        PolicyPlaces { file: self.policy.clone(), ..PolicyPlaces::default() }.policy()
    }
}

/// Which policy, and what belongs to it.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyPlaceArguments {
    /// The policy itself.
    #[command(flatten)]
    pub file: PolicyFileArguments,
    /// Folder with scenarios [default: `scenarios` beside the policy].
    #[arg(long, value_name = "DIR")]
    pub scenarios: Option<PathBuf>,
}

impl PolicyPlaceArguments {
    /// As the service takes them.
    pub fn places(&self) -> PolicyPlaces {
        PolicyPlaces { file: self.file.policy.clone(), scenarios: self.scenarios.clone(), proof: None }
    }
}

/// Arguments of `baton policy`.
#[derive(Clone, Debug, clap::Args)]
pub struct PolicyArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    file: PolicyFileArguments,
    /// Print the names that conditions may use instead.
    #[arg(long)]
    names: bool,
}

/// Runs `baton policy`.
pub fn run(arguments: &PolicyArguments, places: &Places) -> Result<Outcome> {
    if arguments.names {
        print(&document::names())?;
        return Ok(Outcome::Success);
    }
    let source = arguments.file.read()?;
    let scorer = load_model(&arguments.model, places)?;
    match source.read_policy(&vocabulary(&scorer)) {
        Ok(policy) => {
            print(&document::document(&policy))?;
            Ok(Outcome::Success)
        }
        Err(faults) => Err(anyhow!("{}", ProvingError::Policy(faults))),
    }
}
