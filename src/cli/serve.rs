//! `baton serve`: the scoring daemon.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use tokio::signal::unix::{SignalKind, signal};

use super::{ModelArguments, Outcome, bulk, load_first, print};
use crate::config::serve::{ConfigFault, Typed};
use crate::config::{self, Places};
use crate::model::scorer::Scorer;
use crate::service::clock::Stopwatch;
use crate::service::events::{self, Event};
use crate::service::grpc::admin::reload;
use crate::service::proving::{self, Proved};
use crate::service::server::{self, PolicyChoice, Settings};

/// Most bytes of a configuration file.
const CONFIG_BYTES_MAX: u64 = 1 << 20;

/// Arguments of `baton serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArguments {
    #[command(flatten)]
    model: ModelArguments,
    #[command(flatten)]
    settings: SettingsArguments,
    /// TOML file with the policy, or none for signals without decisions [default: the one that is compiled in].
    #[arg(long, value_name = "FILE")]
    policy: Option<String>,
    /// Folder in which conversations are remembered, or none [default: baton-data].
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
}

/// Where the settings come from.
#[derive(Clone, Debug, clap::Args)]
pub struct SettingsArguments {
    /// TOML file with settings; `baton check --keys` lists them.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// TCP address of the gRPC server, loopback only; port 0 takes a free one.
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    /// Path of a Unix socket to listen on, in place of --listen.
    #[arg(long, value_name = "PATH")]
    unix_socket: Option<String>,
    /// TCP address for Prometheus, loopback only.
    #[arg(long, value_name = "ADDR")]
    metrics: Option<String>,
    /// Any setting, such as limits.queue_tokens_max=65536; may be given several times.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

/// Runs `baton serve`.
pub fn run(arguments: &ServeArguments, places: &Places) -> Result<Outcome> {
    let typed = typed(&arguments.settings)?;
    let typed = arguments.policy.iter().fold(typed, |typed, file| typed.flag("policy.file", file, "--policy"));
    let typed = arguments.data_dir.iter().fold(typed, |typed, folder| typed.flag("store.data_dir", folder, "--data-dir"));
    let settings = typed.settings(bulk::workers()).map_err(|faults| anyhow!("{}", list(&faults)))?;
    let first = load_first(&arguments.model, places)?;
    let policy = prove(&settings.policy, &first.scorer)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime could not be started")?;
    let result = runtime.block_on(async {
        // Before anybody knows the address, so that no signal meets its default.
        let (mut term, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let mut hangup = signal(SignalKind::hangup())?;
        let running = server::start_from(first, policy, settings).await?;
        let memory = running.memory().cloned();
        let metrics = running.metrics_address.map(|address| format!(", metrics on http://{address}/metrics")).unwrap_or_default();
        print(&format!("serving on {}{metrics}\n", running.address))?;
        // What becomes of the policy is told by the log; without a memory there is none to read again.
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                if let Some(memory) = &memory {
                    drop(reload(memory).await);
                }
            }
        });
        let asked = async {
            tokio::select! {
                _ = term.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        running.until(asked).await?;
        Ok(Outcome::Success)
    });
    // Without waiting for a worker whose engine hangs: the drain has had its time.
    runtime.shutdown_background();
    result
}

/// The policy that serves, proved; `None` where the settings want none.
fn prove(choice: &PolicyChoice, scorer: &Scorer) -> Result<Option<Proved>> {
    let PolicyChoice::Places(places) = choice else { return Ok(None) };
    let watch = Stopwatch::start();
    let hint = "baton check shows more; policy.file = \"none\" serves signals without decisions";
    let proved = proving::prove(places, scorer).map_err(|error| anyhow::Error::new(error).context(hint))?;
    let digest = proved.policy.digest.short();
    let event =
        Event::PolicyProved { digest: &digest, scenarios: proved.scenarios as u64, by_file: proved.by_file, elapsed: watch.elapsed() };
    events::emit(&event);
    Ok(Some(proved))
}

/// What file, environment and flags mean, or every fault.
pub(super) fn settings(arguments: &SettingsArguments) -> Result<Result<Settings, Vec<ConfigFault>>> {
    Ok(typed(arguments)?.settings(bulk::workers()))
}

/// What was typed.
fn typed(arguments: &SettingsArguments) -> Result<Typed> {
    let mut typed = Typed::default();
    if let Some(path) = &arguments.config {
        typed = typed.file(&path.display().to_string(), &read(path)?);
    }
    typed = typed.environment(config::environment());
    let named = [("listen.address", &arguments.listen, "--listen"), ("listen.unix_socket", &arguments.unix_socket, "--unix-socket")];
    for (key, value, flag) in named.into_iter().chain([("listen.metrics", &arguments.metrics, "--metrics")]) {
        if let Some(value) = value {
            typed = typed.flag(key, value, flag);
        }
    }
    Ok(arguments.set.iter().fold(typed, |typed, assignment| typed.set(assignment)))
}

fn read(path: &Path) -> Result<String> {
    let at = || format!("configuration file {}", path.display());
    let bytes = std::fs::metadata(path).with_context(at)?.len();
    if bytes > CONFIG_BYTES_MAX {
        bail!("{}: found {bytes} bytes, expected at most {CONFIG_BYTES_MAX}", at());
    }
    std::fs::read_to_string(path).with_context(at)
}

/// The faults, a line each.
pub(super) fn list(faults: &[ConfigFault]) -> String {
    let lines: Vec<String> = faults.iter().map(ToString::to_string).collect();
    format!("the settings are wrong:\n  {}", lines.join("\n  "))
}
