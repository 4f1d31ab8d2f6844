//! `baton demo`: starts the daemon on a free port, plays a conversation against it over gRPC, shows the signals turn by turn, and then what the default policy
//! decides and why.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use super::{ModelArguments, Outcome, bulk, load_model, print, render};
use crate::config::Places;
use crate::config::serve::Typed;
use crate::handoff::decision::Action;
use crate::handoff::observation::Unscored;
use crate::handoff::policy::Policy;
use crate::handoff::step::Step;
use crate::handoff::transcript::{Entry, Said, Transcript, What};
use crate::message::{Id, Speaker};
use crate::model::scorer::Scorer;
use crate::service::observe::Observer;
use crate::service::pb;
use crate::service::pb::scoring_service_client::ScoringServiceClient;
use crate::service::proving::{self, PolicyPlaces, ProvingError};
use crate::service::server::{self, Listen, Running};
use crate::time::Timestamp;

/// Arguments of `baton demo`.
#[derive(Debug, clap::Args)]
pub struct DemoArguments {
    #[command(flatten)]
    model: ModelArguments,
}

/// Who speaks, and what.
const CONVERSATION: [(&str, &str); 9] = [
    ("customer", "Hi, I was charged twice for my subscription this month"),
    ("bot", "I am sorry to hear that. Would you like me to open the billing FAQ for you?"),
    ("customer", "no, I already read it and it does not help"),
    ("bot", "You can update your payment method in the settings. Shall I take you there?"),
    ("customer", "That is NOT what I asked. I want the second payment back!!"),
    ("bot", "I found an article about refunds. Does this answer your question?"),
    ("customer", "this is ridiculous, third time this year. is there anyone alive over there?"),
    ("customer", "if it is not back by friday my lawyer will be in touch. card 4111 1111 1111 1111"),
    ("customer", "Ich möchte bitte mein Geld zurück"),
];

/// When the conversation begins: 2026-11-02T09:00:00Z.
const FIRST_MESSAGE_MS: i64 = 1_793_610_000_000;

/// Runs the command.
pub fn run(arguments: &DemoArguments, places: &Places) -> Result<Outcome> {
    let scorer = Arc::new(load_model(&arguments.model, places)?);
    let (policy, decisions) = match proving::prove(&PolicyPlaces::default(), &scorer) {
        Ok(proved) => {
            let decisions = decisions(&scorer, &proved.policy)?;
            (Some(Arc::new(proved.policy)), decisions)
        }
        // An operator's own model may have other labels than the default policy names; its signals are shown all the same.
        Err(ProvingError::Policy(faults)) => {
            (None, format!("No decisions: the default policy does not fit this model, beginning with {}.\n", faults[0]))
        }
        Err(error) => return Err(error.into()),
    };
    let settings = Typed::default().flag("listen.address", "127.0.0.1:0", "demo").settings(bulk::workers());
    let settings = settings.map_err(|faults| anyhow!("the default settings are wrong: {}", faults[0]))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime could not be started")?;
    runtime.block_on(async {
        let running = server::start(scorer, policy, settings).await?;
        let text = play(&running).await?;
        running.until(std::future::ready(())).await?;
        print(&format!("{text}\n{decisions}"))?;
        Ok(Outcome::Success)
    })
}

/// What the policy decides about the conversation, with the receipt of each decision in words.
fn decisions(scorer: &Scorer, policy: &Policy) -> Result<String> {
    let observer = Observer::new(scorer, policy)?;
    let id = |text: String| Id::new(text).expect("short and printable");
    let entry = |(place, (speaker, text)): (usize, &(&str, &str))| {
        let speaker = if *speaker == "bot" { Speaker::Bot } else { Speaker::Customer };
        let said =
            Said { id: id(format!("m{}", place + 1)), speaker, text: (*text).to_owned(), confidence: None, proposal: true, unscored: None };
        let at = Timestamp::from_millis(FIRST_MESSAGE_MS + 30_000 * place as i64).expect("a constant");
        Entry { at, what: What::Message(said) }
    };
    let entries = CONVERSATION.iter().enumerate().map(entry).collect();
    let transcript = Transcript { id: id("demo".to_owned()), before: Vec::new(), entries };
    let table = observer.table(scorer, transcript.texts())?;
    let mut text = format!(
        "What the policy {} decides, and why; the receipts hold numbers and labels, no words of the customer.\n",
        policy.digest.short()
    );
    transcript.play(
        policy,
        |scorable| table.get(scorable).cloned().ok_or(Unscored::NotAsked),
        |place, step: &Step| {
            if step.decision.action != Action::None {
                text.push_str(&format!("\nTurn {}: {}", place + 1, fired_first(&step.receipt.in_words(policy))));
            }
        },
    );
    Ok(text)
}

/// The decision, what fired, and the first of the triggers that did not: `baton replay` shows them all.
fn fired_first(receipt: &str) -> String {
    let (told, silent): (Vec<&str>, Vec<&str>) = receipt.lines().partition(|line| !line.starts_with("not fired"));
    let rest = silent.len().saturating_sub(2);
    let mut lines: Vec<String> = told.into_iter().chain(silent.into_iter().take(2)).map(|line| format!("{line}\n")).collect();
    lines.extend((rest > 0).then(|| format!("and {rest} more that did not fire\n")));
    lines.concat()
}

async fn play(running: &Running) -> Result<String> {
    let Listen::Tcp(address) = &running.address else { return Err(anyhow!("the demo listens on TCP")) };
    let mut client = ScoringServiceClient::connect(format!("http://{address}")).await.context("the daemon of the demo does not answer")?;
    let info = client.get_info(pb::GetInfoRequest {}).await?.into_inner();
    let mut proposal = None;
    let mut rows = Vec::new();
    for (speaker, text) in CONVERSATION {
        if speaker == "bot" {
            proposal = Some(text.to_owned());
            rows.push(vec![format!("bot: {}", render::shorten(text, 52))]);
            continue;
        }
        let request = pb::ScoreRequest { text: text.to_owned(), previous_bot_text: proposal.clone(), ..pb::ScoreRequest::default() };
        let response = client.score(request).await?.into_inner();
        rows.push(row(text, &response));
    }
    let header = ["turn", "sentiment", "emotion", "intent", "act", "rules", "ms"];
    Ok(format!(
        "A conversation, scored over gRPC by a daemon on {address}: {} {} ({}).\n\n{}",
        info.model_name,
        info.model_version,
        info.engine,
        render::table(&header, rows)
    ))
}

fn row(text: &str, response: &pb::ScoreResponse) -> Vec<String> {
    let signals = response.signals.clone().unwrap_or_default();
    let timing = response.timing.unwrap_or_default();
    let micros = timing.queue_us + timing.tokenise_us + timing.inference_us;
    let mut rules: Vec<String> = Vec::new();
    for kind in signals.lexical.iter().map(|finding| finding.kind().as_str_name().trim_start_matches("LEXICAL_KIND_").to_lowercase()) {
        if !rules.contains(&kind) {
            rules.push(kind);
        }
    }
    vec![
        render::shorten(text, 57),
        classification(&signals.sentiment.unwrap_or_default()),
        tags(&signals.emotion.unwrap_or_default()),
        classification(&signals.intent.unwrap_or_default()),
        classification(&signals.act.unwrap_or_default()),
        if rules.is_empty() { "-".to_owned() } else { rules.join(", ") },
        format!("{:.1}", micros as f64 / 1000.0),
    ]
}

fn classification(found: &pb::Classification) -> String {
    match (found.absence(), &found.label, found.in_scope) {
        (pb::AbsenceReason::Unspecified, Some(label), _) => format!("{label} {:.0} %", 100.0 * found.confidence()),
        (pb::AbsenceReason::Unspecified, None, Some(p)) => format!("- (in scope {:.0} %)", 100.0 * p),
        (pb::AbsenceReason::Unspecified, None, None) => "-".to_owned(),
        (reason, ..) => absent(reason),
    }
}

fn tags(found: &pb::Tags) -> String {
    if found.absence() != pb::AbsenceReason::Unspecified {
        return absent(found.absence());
    }
    let present = found.probabilities.iter().filter(|label| found.present.contains(&label.label));
    let shown: Vec<String> = present.map(|label| format!("{} {:.0} %", label.label, 100.0 * label.probability)).collect();
    if shown.is_empty() { "-".to_owned() } else { shown.join(", ") }
}

fn absent(reason: pb::AbsenceReason) -> String {
    format!("- ({})", reason.as_str_name().trim_start_matches("ABSENCE_REASON_").to_lowercase())
}
