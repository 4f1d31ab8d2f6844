//! `baton demo`: starts the daemon on a free port with a store of its own, tells it what is known of a customer and of an agent, plays a conversation against it
//! over gRPC, shows signals and decision turn by turn and the receipts in words, the way from the decision to the agent and back as the feed tells it, and then a
//! later conversation of the same customer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};

use super::{ModelArguments, Outcome, bulk, load_model, print, render};
use crate::config::Places;
use crate::config::serve::Typed;
use crate::handoff::policy;
use crate::service::clock::{self, Stopwatch};
use crate::service::pb;
use crate::service::pb::effect::Kind;
use crate::service::pb::scoring_service_client::ScoringServiceClient;
use crate::service::pb::{Conversations, Handoffs, Routings};
use crate::service::proving::{self, PolicyPlaces, ProvingError};
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

/// What is known of the customer before the conversation begins.
const CUSTOMER: &str = "dana-okafor";
/// The earlier contact, by its age in days and what it was about.
const EARLIER: (i64, &str) = (12, "you billed my subscription two times this month");
/// What the customer writes in a conversation of its own, later that day.
const LATER: &str = "Hello again, you still have not given back the second charge for my subscription";

/// Runs the command.
pub fn run(arguments: &DemoArguments, places: &Places) -> Result<Outcome> {
    let scorer = Arc::new(load_model(&arguments.model, places)?);
    let folder = tempfile::tempdir().context("no folder for the demo's store")?;
    // At night the default policy's queues are closed; the demo ends the same way at any hour.
    let always: String = policy::DEFAULT.lines().filter(|line| !line.starts_with("hours = ")).map(|line| format!("{line}\n")).collect();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, always).with_context(|| format!("{} cannot be written", file.display()))?;
    let policy = match proving::prove(&PolicyPlaces { file: Some(file), ..PolicyPlaces::default() }, &scorer) {
        Ok(proved) => Ok(proved),
        // An operator's own model may have other labels than the default policy names; its signals are shown all the same.
        Err(ProvingError::Policy(faults)) => {
            Err(format!("No decisions: the default policy does not fit this model, beginning with {}.\n", faults[0]))
        }
        Err(error) => return Err(error.into()),
    };
    let store = folder.path().join("store");
    let settings = Typed::default()
        .flag("listen.address", "127.0.0.1:0", "demo")
        .flag("store.data_dir", &store.display().to_string(), "demo")
        .settings(bulk::workers());
    let settings = settings.map_err(|faults| anyhow!("the default settings are wrong: {}", faults[0]))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the runtime could not be started")?;
    runtime.block_on(async {
        let (policy, refused) = match policy {
            Ok(proved) => (Some(proved), None),
            Err(why) => (None, Some(why)),
        };
        let running = server::start(scorer, policy, settings).await?;
        let text = match refused {
            None => converse(&running).await?,
            Some(why) => format!("{}\n{why}", play(&running).await?),
        };
        running.until(std::future::ready(())).await?;
        print(&text)?;
        Ok(Outcome::Success)
    })
}

/// Where the daemon of the demo listens, and what it is.
async fn daemon(running: &Running) -> Result<(String, String)> {
    let Listen::Tcp(address) = &running.address else { return Err(anyhow!("the demo listens on TCP")) };
    let url = format!("http://{address}");
    let mut client = ScoringServiceClient::connect(url.clone()).await.context("the daemon of the demo does not answer")?;
    let info = client.get_info(pb::GetInfoRequest {}).await?.into_inner();
    Ok((url, format!("{address}: {} {} ({})", info.model_name, info.model_version, info.engine)))
}

/// Plays the conversation against the daemon's memory: what is known before, each message, the decisions with their receipts, and what is remembered.
async fn converse(running: &Running) -> Result<String> {
    let (url, daemon) = daemon(running).await?;
    let mut client = Conversations::connect(url.clone()).await.context("the daemon of the demo does not answer")?;
    let now = clock::wall();
    let days_ago = |days: i64| prost_types::Timestamp { seconds: now.millis() / 1000 - days * 24 * 3600, nanos: 0 };
    for (number, days) in [(1, 2), (2, 1)] {
        let event = pb::RecordEventRequest {
            event_id: format!("view-{number}"),
            customer_id: Some(CUSTOMER.to_owned()),
            kind: "page_view".to_owned(),
            name: "/pricing/teams".to_owned(),
            at: Some(days_ago(days)),
            ..pb::RecordEventRequest::default()
        };
        client.record_event(event).await?;
    }
    let facts = pb::Facts {
        account_name: Some("Fennimore Freight".to_owned()),
        customer_name: Some("Dana Okafor".to_owned()),
        tier: Some("pro".to_owned()),
        value: Some(4_800.0),
        since: Some(days_ago(900)),
        open_tickets: Some(1),
        ..pb::Facts::default()
    };
    let earlier = pb::PastContact {
        contact_id: "ticket-1041".to_owned(),
        at: Some(days_ago(EARLIER.0)),
        text: Some(EARLIER.1.to_owned()),
        resolved: Some(false),
    };
    let lookup = pb::PutFactsRequest {
        lookup_id: "crm-1".to_owned(),
        conversation_id: "demo".to_owned(),
        customer_id: Some(CUSTOMER.to_owned()),
        facts: Some(facts),
        past_contacts: vec![earlier],
        ..pb::PutFactsRequest::default()
    };
    client.put_facts(lookup).await?;
    begin_shift(&url).await?;
    let mut rows = Vec::new();
    let mut decided = Vec::new();
    for (place, (speaker, text)) in CONVERSATION.into_iter().enumerate() {
        let watch = Stopwatch::start();
        let response = client.observe(message("demo", place, speaker, text)).await?.into_inner();
        let elapsed = watch.elapsed();
        let decision = response.decision.clone().unwrap_or_default();
        let told = told(&decision);
        if decision.action() != pb::DecisionAction::None {
            decided.push(response.sequence);
        }
        rows.push(match speaker {
            "bot" => vec![
                format!("bot: {}", render::shorten(text, 52)),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                String::new(),
                told,
            ],
            _ => row(text, &response.signals.unwrap_or_default(), elapsed, Some(told)),
        });
    }
    let header = ["turn", "sentiment", "emotion", "intent", "act", "rules", "decision", "ms"];
    let mut text = format!(
        "A conversation, observed over gRPC by a daemon on {daemon}.\nIt remembers of the customer: an earlier contact {} days ago, \"{}\", not solved; 2 views of \
         /pricing/teams this week; facts of the account.\n\n{}",
        EARLIER.0,
        EARLIER.1,
        render::table(&header, rows)
    );
    text.push_str("\nWhat was decided, and why; the receipts hold numbers and labels, no words of the customer.\n");
    for sequence in decided {
        text.push_str(&explained(&mut client, "demo", sequence).await?);
    }
    text.push_str(&taken_over(&url).await?);
    text.push_str(&to_a_person_and_back(&url, &mut client).await?);
    let closed = pb::CloseConversationRequest { conversation_id: "demo".to_owned(), outcome: pb::Outcome::Unresolved.into() };
    client.close_conversation(closed).await?;
    text.push_str(&format!("\nClosed as unresolved. Later that day, in a conversation of its own: \"{LATER}\"\n"));
    let response = client.observe(message("demo-later", 0, "customer", LATER)).await?.into_inner();
    text.push_str(&explained(&mut client, "demo-later", response.sequence).await?);
    Ok(text)
}

/// What the person who takes over reads, and what the customer hears.
async fn taken_over(url: &str) -> Result<String> {
    let mut client = Handoffs::connect(url.to_owned()).await.context("the daemon of the demo does not answer")?;
    let request = pb::GetPackageRequest { conversation_id: "demo".to_owned(), format: pb::PackageFormat::Text.into() };
    let package = client.get_package(request).await?.into_inner();
    let mut request = pb::RenderMessageRequest {
        conversation_id: "demo".to_owned(),
        situation: pb::MessageSituation::Connecting.into(),
        wait: Some(prost_types::Duration { seconds: 240, nanos: 0 }),
        ..pb::RenderMessageRequest::default()
    };
    let message = client.render_message(request.clone()).await?.into_inner();
    request.situation = pb::MessageSituation::Connected.into();
    request.agent_name = Some("Maya".to_owned());
    let connected = client.render_message(request).await?.into_inner();
    let told = |message: &pb::RenderMessageResponse| format!("{} {} {}", message.acknowledge, message.reassure, message.expect);
    Ok(format!(
        "\nThe person who takes over reads:\n\n{}\nThe customer hears:\n\n  {}\n\nand when Maya takes over:\n\n  {}\n\nMaya is offered as her first line:\n\n  {}\n",
        indented(&package.content),
        told(&message),
        told(&connected),
        connected.opening()
    ))
}

/// The agent of the demo, and what customers call her.
const AGENT: (&str, &str) = ("maya", "Maya");

/// Maya is there and has room.
async fn begin_shift(url: &str) -> Result<()> {
    let mut routing = Routings::connect(url.to_owned()).await.context("the daemon of the demo does not answer")?;
    let agent = pb::PutAgentRequest {
        agent_id: AGENT.0.to_owned(),
        name: AGENT.1.to_owned(),
        queue_ids: vec!["general".to_owned(), "priority".to_owned()],
        skills: [("crisis".to_owned(), 3)].into(),
        capacity: 3,
    };
    routing.put_agent(agent).await?;
    let presence = pb::SetPresenceRequest { agent_id: AGENT.0.to_owned(), presence: pb::Presence::Online.into(), ttl: None };
    routing.set_presence(presence).await?;
    Ok(())
}

/// From the decision to Maya, to the end and back to the bot: what the feed tells the backend, and what Maya and the bot do.
async fn to_a_person_and_back(url: &str, client: &mut Conversations) -> Result<String> {
    let mut handoffs = Handoffs::connect(url.to_owned()).await.context("the daemon of the demo does not answer")?;
    let mut feed = handoffs.watch_effects(pb::WatchEffectsRequest { after: 0 }).await?.into_inner();
    let mut text = "\nFrom the decision to a person and back, as the feed tells the backend:\n\n".to_owned();
    let mut follow = async |text: &mut String, handoffs: &mut Handoffs, last: fn(&Kind) -> bool| -> Result<()> {
        loop {
            let effect = feed.message().await?.context("the feed of the demo ended")?;
            let Some(kind) = effect.effect.and_then(|effect| effect.kind) else { continue };
            handoffs.ack_effect(pb::AckEffectRequest { place: effect.place }).await?;
            text.push_str(&format!("  {:>2}  {}\n", effect.place, done(&kind)));
            if last(&kind) {
                return Ok(());
            }
        }
    };
    follow(&mut text, &mut handoffs, |kind| matches!(kind, Kind::OfferHandoff(_))).await?;
    let (conversation_id, agent_id) = ("demo".to_owned(), AGENT.0.to_owned());
    let accept =
        pb::AcceptRequest { conversation_id: conversation_id.clone(), request_id: "accept-1".to_owned(), agent_id: agent_id.clone() };
    let accepted = handoffs.accept(accept).await?.into_inner().change.unwrap_or_default();
    text.push_str(&format!("      {} accepts: {}\n", AGENT.1, told_change(&accepted)));
    follow(&mut text, &mut handoffs, |kind| matches!(kind, Kind::TellCustomer(_))).await?;
    let claim = |speaker: pb::Speaker, agent_id: Option<String>, epoch| pb::ClaimReplyRequest {
        conversation_id: "demo".to_owned(),
        claim_id: format!("claim-{epoch}"),
        speaker: speaker.into(),
        agent_id,
        epoch,
        after_sequence: CONVERSATION.len() as u32,
    };
    let late = client.claim_reply(claim(pb::Speaker::Bot, None, 1)).await.err().context("the bot of the demo talked over a person")?;
    text.push_str(&format!("      the bot's late reply: {:?}, {}\n", late.code(), late.message()));
    client.claim_reply(claim(pb::Speaker::Agent, Some(agent_id.clone()), accepted.epoch)).await?;
    let reply = "I have read it all, Dana. The second charge goes back to your card today.";
    client.observe(message("demo", CONVERSATION.len(), "agent", reply)).await?;
    text.push_str(&format!("      {} claims the reply and says: {reply}\n", AGENT.1));
    let resolve = pb::ResolveRequest {
        conversation_id,
        request_id: "resolve-1".to_owned(),
        agent_id: Some(agent_id),
        // The money is on its way and not there yet: what comes of it is seen below.
        disposition: pb::Disposition::Unsolved.into(),
    };
    let resolved = handoffs.resolve(resolve).await?.into_inner().change.unwrap_or_default();
    text.push_str(&format!("      {} resolves: {}\n", AGENT.1, told_change(&resolved)));
    follow(&mut text, &mut handoffs, |kind| matches!(kind, Kind::StartBot(_))).await?;
    Ok(text)
}

fn told_change(change: &pb::HandoffChange) -> String {
    let word = |name: &str, prefix: &str| name.trim_start_matches(prefix).to_lowercase();
    let (state, owner) = (word(change.state().as_str_name(), "HANDOFF_STATE_"), word(change.owner().as_str_name(), "OWNER_"));
    format!("the handoff is {state}, the conversation is the {owner}'s, epoch {}", change.epoch)
}

/// What the backend does about an effect.
fn done(kind: &Kind) -> String {
    match kind {
        Kind::AskBot(ask) => format!("the bot makes one more attempt ({})", ask.trigger_id),
        Kind::StopBot(_) => "the bot stops".to_owned(),
        Kind::StartBot(_) => "the bot speaks again, its counters cleared and its triggers armed".to_owned(),
        Kind::RequestHandoff(request) => format!("into the queue {} ({})", request.queue_id, request.trigger_id),
        Kind::TellCustomer(told) => {
            let question = told.email_question.as_ref().map(|question| format!(" {question}")).unwrap_or_default();
            format!("to the customer: {} {} {}{question}", told.acknowledge, told.reassure, told.expect)
        }
        Kind::OfferHandoff(offer) => format!("to {}, with the package: will you take it?", offer.agent_id),
        Kind::WithdrawOffer(gone) => format!("to {}: no longer asked", gone.agent_id),
        Kind::ConnectAgent(agent) => format!("{} speaks from now on", agent.agent_id),
        Kind::ReleaseAgent(agent) => format!("{} speaks no more", agent.agent_id),
        Kind::ShowSuggestion(shown) => format!("to the agent, from the bot: {}", shown.text),
        Kind::NotifyOwner(notice) => format!("to the owner of {}: {}", notice.queue_id, notice.notice().as_str_name()),
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| if line.is_empty() { "\n".to_owned() } else { format!("  {line}\n") }).collect()
}

fn message(conversation: &str, place: usize, speaker: &str, text: &str) -> pb::ObserveRequest {
    pb::ObserveRequest {
        conversation_id: conversation.to_owned(),
        message_id: format!("m{}", place + 1),
        sequence: u32::try_from(place + 1).unwrap_or(u32::MAX),
        speaker: match speaker {
            "bot" => pb::Speaker::Bot,
            "agent" => pb::Speaker::Agent,
            _ => pb::Speaker::Customer,
        }
        .into(),
        text: text.to_owned(),
        customer_id: Some(CUSTOMER.to_owned()),
        ..pb::ObserveRequest::default()
    }
}

/// A decision in a few words.
fn told(decision: &pb::Decision) -> String {
    let name = |name: &str| name.trim_start_matches("DECISION_ACTION_").to_lowercase().replace('_', " ");
    match (decision.action(), &decision.trigger_id) {
        (pb::DecisionAction::None, _) if decision.cause() == pb::DecisionCause::HandedOver => "handed over".to_owned(),
        (pb::DecisionAction::None, _) => "-".to_owned(),
        (action, trigger) => format!("{}: {}", name(action.as_str_name()), trigger.as_deref().unwrap_or_default()),
    }
}

async fn explained(client: &mut Conversations, conversation: &str, sequence: u32) -> Result<String> {
    let request = pb::ExplainDecisionRequest { conversation_id: conversation.to_owned(), sequence };
    let explained = client.explain_decision(request).await?.into_inner();
    let digest: String = explained.receipt_digest.chars().take(12).collect();
    Ok(format!("\n{conversation}, message {sequence}: {}receipt {digest}\n", fired_first(&explained.words)))
}

/// The decision, what fired, and the first of the triggers that did not: `baton replay` shows them all.
fn fired_first(receipt: &str) -> String {
    let (told, silent): (Vec<&str>, Vec<&str>) = receipt.lines().partition(|line| !line.starts_with("not fired"));
    let rest = silent.len().saturating_sub(2);
    let mut lines: Vec<String> = told.into_iter().chain(silent.into_iter().take(2)).map(|line| format!("{line}\n")).collect();
    lines.extend((rest > 0).then(|| format!("and {rest} more that did not fire\n")));
    lines.concat()
}

/// Plays the conversation against a daemon that only scores.
async fn play(running: &Running) -> Result<String> {
    let (url, daemon) = daemon(running).await?;
    let mut client = ScoringServiceClient::connect(url).await.context("the daemon of the demo does not answer")?;
    let mut proposal = None;
    let mut rows = Vec::new();
    for (speaker, text) in CONVERSATION {
        if speaker == "bot" {
            proposal = Some(text.to_owned());
            rows.push(vec![format!("bot: {}", render::shorten(text, 52))]);
            continue;
        }
        let request = pb::ScoreRequest { text: text.to_owned(), previous_bot_text: proposal.clone(), ..pb::ScoreRequest::default() };
        let watch = Stopwatch::start();
        let response = client.score(request).await?.into_inner();
        rows.push(row(text, &response.signals.unwrap_or_default(), watch.elapsed(), None));
    }
    let header = ["turn", "sentiment", "emotion", "intent", "act", "rules", "ms"];
    Ok(format!("A conversation, scored over gRPC by a daemon on {daemon}.\n\n{}", render::table(&header, rows)))
}

fn row(text: &str, signals: &pb::Signals, elapsed: Duration, decision: Option<String>) -> Vec<String> {
    let mut rules: Vec<String> = Vec::new();
    for kind in signals.lexical.iter().map(|finding| finding.kind().as_str_name().trim_start_matches("LEXICAL_KIND_").to_lowercase()) {
        if !rules.contains(&kind) {
            rules.push(kind);
        }
    }
    let missing = pb::Classification::default();
    let mut cells = vec![
        render::shorten(text, 57),
        classification(signals.sentiment.as_ref().unwrap_or(&missing)),
        tags(signals.emotion.as_ref().unwrap_or(&pb::Tags::default())),
        classification(signals.intent.as_ref().unwrap_or(&missing)),
        classification(signals.act.as_ref().unwrap_or(&missing)),
        if rules.is_empty() { "-".to_owned() } else { rules.join(", ") },
    ];
    cells.extend(decision);
    cells.push(format!("{:.1}", elapsed.as_secs_f64() * 1000.0));
    cells
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
