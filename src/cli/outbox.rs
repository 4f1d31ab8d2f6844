//! `baton outbox`: which letters to helpdesks and webhooks wait or were given up, and putting them back.
//!
//! With `--address` the running daemon is asked. With `--store` its folder is read, which goes while the daemon runs; letters are put back there only while none does,
//! since one process writes.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Value, json};

use super::{Outcome, print, render};
use crate::service::clock;
use crate::service::convert::outbox::{letter, resend};
use crate::service::pb;
use crate::service::store::{DATABASE, Limits, Store};
use crate::time::Timestamp;

/// Arguments of `baton outbox`.
#[derive(Clone, Debug, clap::Args)]
pub struct OutboxArguments {
    #[command(subcommand)]
    action: Option<Action>,
    /// Folder of the store [default: baton-data].
    #[arg(long, value_name = "DIR", global = true)]
    store: Option<PathBuf>,
    /// Address of the running daemon, such as 127.0.0.1:50051 or unix:/run/baton.sock.
    #[arg(long, value_name = "ADDR", global = true, conflicts_with = "store")]
    address: Option<String>,
    /// One JSON object a letter.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Clone, Debug, clap::Subcommand)]
enum Action {
    /// Put letters back, to be sent from now on with the same key.
    Resend(ResendArguments),
}

#[derive(Clone, Debug, clap::Args)]
struct ResendArguments {
    /// Keys of letters.
    #[arg(value_name = "KEY", required_unless_present = "all_dead", conflicts_with = "all_dead")]
    keys: Vec<String>,
    /// All that were given up.
    #[arg(long)]
    all_dead: bool,
}

/// Runs `baton outbox`.
pub fn run(arguments: &OutboxArguments) -> Result<Outcome> {
    let default = PathBuf::from("baton-data");
    let store = arguments.store.as_ref().unwrap_or(&default);
    match (&arguments.action, &arguments.address) {
        (None, None) => list(&listed_from(store)?, arguments.json),
        (None, Some(address)) => list(&block_on(listed_by(address))?, arguments.json),
        (Some(Action::Resend(which)), address) => {
            let request = pb::ResendOutboxRequest { keys: which.keys.clone(), all_dead: which.all_dead };
            let resent = match address {
                None => resent_in(store, request)?,
                Some(address) => block_on(resent_by(address, request))?,
            };
            tell(&resent, arguments.json)
        }
    }
}

fn block_on<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("the runtime could not be started")?;
    runtime.block_on(run)
}

async fn connect(address: &str) -> Result<pb::Admins> {
    let url = if address.starts_with("unix:") { address.to_owned() } else { format!("http://{address}") };
    pb::Admins::connect(url).await.with_context(|| format!("no daemon answers on {address}"))
}

fn database(folder: &Path) -> Result<()> {
    let path = folder.join(DATABASE);
    if path.is_file() { Ok(()) } else { bail!("store {}: found no {DATABASE}, expected the data folder of a server", folder.display()) }
}

fn listed_from(folder: &Path) -> Result<Vec<pb::OutboxLetter>> {
    database(folder)?;
    let letters = Store::letters_beside(folder).with_context(|| format!("store {}", folder.display()))?;
    Ok(letters.iter().map(letter).collect())
}

async fn listed_by(address: &str) -> Result<Vec<pb::OutboxLetter>> {
    let mut daemon = connect(address).await?;
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let page =
            daemon.list_outbox(pb::ListOutboxRequest { after, letters_max: 0 }).await.map_err(|status| anyhow!("{}", status.message()))?;
        let letters = page.into_inner().letters;
        match letters.last() {
            None => return Ok(all),
            Some(last) => after = last.number,
        }
        all.extend(letters);
    }
}

fn resent_in(folder: &Path, request: pb::ResendOutboxRequest) -> Result<pb::ResendOutboxResponse> {
    database(folder)?;
    let which = resend(request).map_err(|bad| anyhow!("{}: {}", bad.field, bad.what))?;
    let hint = || format!("store {}: while a daemon serves it, give its --address", folder.display());
    let store = Store::open(folder, Limits::default()).with_context(hint)?;
    let resent = store.resend(which, clock::wall()).and_then(|pending| pending.wait());
    let closed = store.close();
    let resent = resent.with_context(|| format!("store {}", folder.display()))?;
    closed.with_context(|| format!("store {}", folder.display()))?;
    Ok(pb::ResendOutboxResponse { letters: resent.letters, unknown_keys: resent.unknown })
}

async fn resent_by(address: &str, request: pb::ResendOutboxRequest) -> Result<pb::ResendOutboxResponse> {
    let mut daemon = connect(address).await?;
    let resent = daemon.resend_outbox(request).await.map_err(|status| anyhow!("{}", status.message()))?;
    Ok(resent.into_inner())
}

fn state(letter: &pb::OutboxLetter) -> &'static str {
    match letter.state() {
        pb::OutboxState::Pending => "pending",
        pb::OutboxState::Dead => "dead",
        pb::OutboxState::Unaddressed => "unaddressed",
        pb::OutboxState::Unspecified => "unknown",
    }
}

fn time(at: Option<&prost_types::Timestamp>) -> Option<String> {
    let at = at?;
    Timestamp::from_millis(at.seconds.checked_mul(1000)?.checked_add(i64::from(at.nanos) / 1_000_000)?).map(|at| at.to_string())
}

fn list(letters: &[pb::OutboxLetter], json: bool) -> Result<Outcome> {
    if json {
        print(&letters.iter().map(|letter| format!("{}\n", to_json(letter))).collect::<String>())?;
        return Ok(Outcome::Success);
    }
    let row = |letter: &pb::OutboxLetter| {
        vec![
            letter.key.clone(),
            letter.conversation_id.clone(),
            letter.destination.clone(),
            state(letter).to_owned(),
            letter.attempts.to_string(),
            time(letter.next_at.as_ref()).unwrap_or_default(),
            letter.reason.clone(),
        ]
    };
    if letters.is_empty() {
        print("nothing waits, and nothing was given up\n")?;
    } else {
        print(&render::table(
            &["key", "conversation", "destination", "state", "attempts", "next", "reason"],
            letters.iter().map(row).collect(),
        ))?;
    }
    Ok(Outcome::Success)
}

fn to_json(letter: &pb::OutboxLetter) -> Value {
    json!({
        "key": letter.key,
        "conversation_id": letter.conversation_id,
        "destination": letter.destination,
        "state": state(letter),
        "decided_at": time(letter.decided_at.as_ref()),
        "attempts": letter.attempts,
        "next_at": time(letter.next_at.as_ref()),
        "reason": letter.reason,
    })
}

/// A key under which there is nothing is a negative answer.
fn tell(resent: &pb::ResendOutboxResponse, json: bool) -> Result<Outcome> {
    if json {
        print(&format!("{}\n", json!({"letters": resent.letters, "unknown_keys": resent.unknown_keys})))?;
    } else {
        let unknown = resent.unknown_keys.iter().map(|key| format!("{key}: nothing waits or was given up under this key\n"));
        print(&format!("letters put back: {}\n{}", resent.letters, unknown.collect::<String>()))?;
    }
    Ok(if resent.unknown_keys.is_empty() { Outcome::Success } else { Outcome::Negative })
}
