//! `baton demo`: starts the daemon on a free port, plays a conversation against it over gRPC, and shows the signals turn by turn.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};

use super::{ModelArguments, Outcome, bulk, load_model, print, render};
use crate::config::Places;
use crate::config::serve::Typed;
use crate::service::pb;
use crate::service::pb::scoring_service_client::ScoringServiceClient;
use crate::service::server::{self, Listen, Running};

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

/// Runs the command.
pub fn run(arguments: &DemoArguments, places: &Places) -> Result<Outcome> {
    let scorer = Arc::new(load_model(&arguments.model, places)?);
    let settings = Typed::default().flag("listen.address", "127.0.0.1:0", "demo").settings(bulk::workers());
    let settings = settings.map_err(|faults| anyhow!("the default settings are wrong: {}", faults[0]))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime could not be started")?;
    runtime.block_on(async {
        let running = server::start(scorer, settings).await?;
        let text = play(&running).await?;
        running.until(std::future::ready(())).await?;
        print(&text)?;
        Ok(Outcome::Success)
    })
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
