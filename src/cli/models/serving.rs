//! `baton models list|load|unload|promote|rollback`: the models of a running daemon.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::{Outcome, print, render};
use crate::service::pb;

/// What to do with the models of a daemon.
#[derive(Debug, Subcommand)]
pub enum ServingCommand {
    /// List the models of a running daemon, with what each does and takes.
    List(ListArguments),
    /// Load a further model into a running daemon.
    Load(LoadArguments),
    /// Take a model out of a running daemon.
    Unload(UnloadArguments),
    /// Put another package in the place of a model of a running daemon.
    Promote(PromoteArguments),
    /// Put the package back that a model of a running daemon had before.
    Rollback(RollbackArguments),
}

/// Which daemon.
#[derive(Clone, Debug, Args)]
pub struct DaemonArguments {
    /// Address of the running daemon, such as 127.0.0.1:50051 or unix:/run/baton.sock.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:50051")]
    address: String,
    /// The result as JSON.
    #[arg(long)]
    json: bool,
}

/// Arguments of `baton models list`.
#[derive(Debug, Args)]
pub struct ListArguments {
    #[command(flatten)]
    daemon: DaemonArguments,
}

/// Arguments of `baton models load`.
#[derive(Debug, Args)]
pub struct LoadArguments {
    /// By which requests name it: lower-case letters, digits and dashes.
    name: String,
    /// Folder of its package, on the machine of the daemon.
    #[arg(long, value_name = "DIR")]
    path: PathBuf,
    /// A language that it is chosen for, such as de; may be given several times.
    #[arg(long = "language", value_name = "CODE")]
    languages: Vec<String>,
    /// Its part of the queue, of the cache and of the workers' time.
    #[arg(long, value_name = "SHARE", default_value = "0.25")]
    queue_share: f64,
    /// It only scores: the policy need not prove itself on it, and no conversation is decided with it.
    #[arg(long)]
    scores_only: bool,
    /// Folder of the scenarios that the policy proves itself on with it [default: those of the policy].
    #[arg(long, value_name = "DIR")]
    scenarios: Option<PathBuf>,
    #[command(flatten)]
    daemon: DaemonArguments,
}

/// Arguments of `baton models unload`.
#[derive(Debug, Args)]
pub struct UnloadArguments {
    /// Which model.
    name: String,
    /// Only the package that it had before, which is kept for rollback.
    #[arg(long)]
    kept_only: bool,
    #[command(flatten)]
    daemon: DaemonArguments,
}

/// Arguments of `baton models promote`.
#[derive(Debug, Args)]
pub struct PromoteArguments {
    /// Which model gets it.
    #[arg(default_value = "default")]
    name: String,
    /// Folder of the package, on the machine of the daemon [default: the one that the model came from, read again].
    #[arg(long, value_name = "DIR")]
    path: Option<PathBuf>,
    #[command(flatten)]
    daemon: DaemonArguments,
}

/// Arguments of `baton models rollback`.
#[derive(Debug, Args)]
pub struct RollbackArguments {
    /// Which model.
    #[arg(default_value = "default")]
    name: String,
    #[command(flatten)]
    daemon: DaemonArguments,
}

/// Runs the command.
pub fn run(command: &ServingCommand) -> Result<Outcome> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime could not be started")?;
    runtime.block_on(async {
        match command {
            ServingCommand::List(arguments) => list(&arguments.daemon).await,
            ServingCommand::Load(arguments) => load(arguments).await,
            ServingCommand::Unload(arguments) => unload(arguments).await,
            ServingCommand::Promote(arguments) => promote(arguments).await,
            ServingCommand::Rollback(arguments) => rollback(arguments).await,
        }
    })
}

async fn connect(daemon: &DaemonArguments) -> Result<pb::Admins> {
    let address = &daemon.address;
    let url = if address.starts_with("unix:") { address.clone() } else { format!("http://{address}") };
    pb::Admins::connect(url).await.with_context(|| format!("no daemon answers on {address}"))
}

/// A path as the daemon finds it, wherever it was started.
fn absolute(path: &Path) -> Result<String> {
    let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
    path.to_str().map(str::to_owned).ok_or_else(|| anyhow!("{}: the path is not UTF-8", path.display()))
}

async fn list(daemon: &DaemonArguments) -> Result<Outcome> {
    let listed =
        connect(daemon).await?.list_models(pb::ListModelsRequest {}).await.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
    if daemon.json {
        let models: Vec<Value> = listed.models.iter().map(to_json).collect();
        let all = json!({"models": models, "resident_bytes": listed.resident_bytes, "memory_bytes_max": listed.memory_bytes_max});
        print(&format!("{all}\n"))?;
        return Ok(Outcome::Success);
    }
    let row = |model: &pb::ModelInfo| {
        vec![
            model.name.clone(),
            state(model).to_owned(),
            format!("{} {}", model.package_name, model.package_version).trim().to_owned(),
            short(&model.digest).to_owned(),
            model.engine.clone(),
            format!("{:.1}", model.resident_bytes as f64 / 1e6),
            model.languages.join(" "),
            format!("{:.2}", model.queue_share),
            model.path.clone(),
            model.reason.clone(),
        ]
    };
    let columns = ["name", "state", "package", "digest", "engine", "MB", "languages", "share", "folder", "reason"];
    print(&render::table(&columns, listed.models.iter().map(row).collect()))?;
    let most = listed.memory_bytes_max.map(|most| format!(" of {:.1} MB that they may take", most as f64 / 1e6)).unwrap_or_default();
    print(&format!("all together {:.1} MB{most}\n", listed.resident_bytes as f64 / 1e6))?;
    Ok(Outcome::Success)
}

async fn load(arguments: &LoadArguments) -> Result<Outcome> {
    let request = pb::LoadModelRequest {
        name: arguments.name.clone(),
        path: absolute(&arguments.path)?,
        languages: arguments.languages.clone(),
        queue_share: arguments.queue_share,
        scores_only: arguments.scores_only,
        scenarios: arguments.scenarios.as_deref().map(absolute).transpose()?,
    };
    let loaded =
        connect(&arguments.daemon).await?.load_model(request).await.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
    tell(&arguments.daemon, &loaded.model.unwrap_or_default(), None)
}

async fn unload(arguments: &UnloadArguments) -> Result<Outcome> {
    let request = pb::UnloadModelRequest { name: arguments.name.clone(), kept_only: arguments.kept_only };
    let unloaded =
        connect(&arguments.daemon).await?.unload_model(request).await.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
    if arguments.daemon.json {
        print(&format!("{}\n", json!({"name": arguments.name, "digests": unloaded.digests})))?;
    } else {
        let digests: Vec<&str> = unloaded.digests.iter().map(|digest| short(digest)).collect();
        print(&format!("{}: {} unloaded\n", arguments.name, digests.join(", ")))?;
    }
    Ok(Outcome::Success)
}

async fn promote(arguments: &PromoteArguments) -> Result<Outcome> {
    let path = arguments.path.as_deref().map(absolute).transpose()?.unwrap_or_default();
    let request = pb::PromoteModelRequest { name: arguments.name.clone(), path };
    let promoted =
        connect(&arguments.daemon).await?.promote_model(request).await.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
    tell(&arguments.daemon, &promoted.model.unwrap_or_default(), Some(&promoted.previous_digest))
}

async fn rollback(arguments: &RollbackArguments) -> Result<Outcome> {
    let request = pb::RollbackModelRequest { name: arguments.name.clone() };
    let returned =
        connect(&arguments.daemon).await?.rollback_model(request).await.map_err(|status| anyhow!("{}", status.message()))?.into_inner();
    tell(&arguments.daemon, &returned.model.unwrap_or_default(), Some(&returned.previous_digest))
}

/// How a model serves now, and what served before.
fn tell(daemon: &DaemonArguments, model: &pb::ModelInfo, before: Option<&str>) -> Result<Outcome> {
    if daemon.json {
        let mut told = to_json(model);
        if let (Some(before), Some(told)) = (before, told.as_object_mut()) {
            told.insert("previous_digest".to_owned(), before.into());
        }
        print(&format!("{told}\n"))?;
        return Ok(Outcome::Success);
    }
    let (name, package, version, digest) = (&model.name, &model.package_name, &model.package_version, short(&model.digest));
    let before = match before {
        None => String::new(),
        Some(before) if before == model.digest => ", as before".to_owned(),
        Some(before) => format!(", in place of {}, which is kept", short(before)),
    };
    let megabytes = model.resident_bytes as f64 / 1e6;
    print(&format!("{name}: {package} {version} ({digest}) serves with {}, {megabytes:.1} MB{before}\n", model.engine))?;
    Ok(Outcome::Success)
}

fn short(digest: &str) -> &str {
    &digest[..digest.floor_char_boundary(12)]
}

fn state(model: &pb::ModelInfo) -> &'static str {
    match model.state() {
        pb::ModelState::Loading => "loading",
        pb::ModelState::Serving => "serving",
        pb::ModelState::Retiring => "retiring",
        pb::ModelState::Kept => "kept",
        pb::ModelState::Failed => "failed",
        pb::ModelState::Unspecified => "unknown",
    }
}

fn to_json(model: &pb::ModelInfo) -> Value {
    json!({
        "name": model.name,
        "state": state(model),
        "path": model.path,
        "package_name": model.package_name,
        "package_version": model.package_version,
        "digest": model.digest,
        "engine": model.engine,
        "resident_bytes": model.resident_bytes,
        "languages": model.languages,
        "queue_share": model.queue_share,
        "queue_tokens": model.queue_tokens,
        "policy_digest": model.policy_digest,
        "embedding_size": model.embedding_size,
        "reason": model.reason,
    })
}
