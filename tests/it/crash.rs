//! The real daemon killed under load, out of room, and twice on one store: what was acknowledged is there, once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::{Arc, Mutex};

use baton::random::Random;
use baton::service::pb::effect::Kind;
use baton::service::pb::{self, Conversations, Handoffs, Routings};
use serde_json::Value;
use tokio::task::JoinSet;
use tonic::Code;

use crate::serving::{Daemon, soon};
use crate::support::{Place, Run};

/// Kills in a run of the tests. `cargo test --release --test it -- --ignored fifty_kills` does fifty.
const KILLS: usize = 5;
const CONVERSATIONS: usize = 16;
/// What is said, by turns; few texts, so that most signals are cached and the load is on the store.
const TEXTS: [&str; 6] = [
    "hello, my parcel has not arrived",
    "Have you looked at the tracking page?",
    "yes and it says delivered, which is not true",
    "Could a neighbour have taken it?",
    "no, I asked them all",
    "I will open an inquiry for you.",
];

/// What one client sent and what was acknowledged of it.
#[derive(Default)]
struct Client {
    /// For each sequence, the digest of its receipt.
    messages: BTreeMap<u32, String>,
    /// For each event, that of the receipt that it led to.
    events: BTreeMap<u32, String>,
    /// The sequence that was sent last, acknowledged or not.
    sent: u32,
}

fn daemon(place: &Place, before: &str) -> Daemon {
    let mut command = if before.is_empty() {
        place.command(Path::new(env!("CARGO_BIN_EXE_baton")))
    } else {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{before} exec \"$0\" \"$@\"")]).arg(env!("CARGO_BIN_EXE_baton"));
        shell.current_dir(place.path("."));
        shell
    };
    Daemon::spawn({
        command.args(["serve", "--listen", "127.0.0.1:0", "--model", crate::support::SHIPPED]);
        command
    })
}

/// With further arguments.
fn daemon_with(place: &Place, arguments: &[&str]) -> Daemon {
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.args(["serve", "--listen", "127.0.0.1:0", "--model", crate::support::SHIPPED]).args(arguments);
    Daemon::spawn(command)
}

async fn connect(address: &str) -> Conversations {
    soon("a connection", Conversations::connect(format!("http://{address}"))).await.unwrap()
}

fn message(client: usize, sequence: u32) -> pb::ObserveRequest {
    let speaker = if sequence % 2 == 1 { pb::Speaker::Customer } else { pb::Speaker::Bot };
    pb::ObserveRequest {
        conversation_id: format!("c-{client}"),
        message_id: format!("m-{sequence}"),
        sequence,
        speaker: speaker.into(),
        text: TEXTS[(sequence as usize - 1) % TEXTS.len()].to_owned(),
        customer_id: Some(format!("u-{}", client % 4)),
        ..pb::ObserveRequest::default()
    }
}

fn event(client: usize, number: u32) -> pb::RecordEventRequest {
    pb::RecordEventRequest {
        event_id: format!("e-{client}-{number}"),
        conversation_id: Some(format!("c-{client}")),
        customer_id: Some(format!("u-{}", client % 4)),
        kind: "page_view".to_owned(),
        name: "/pricing".to_owned(),
        ..pb::RecordEventRequest::default()
    }
}

/// Sends until the daemon is gone; tells of each acknowledgement.
async fn send(address: String, number: usize, client: Arc<Mutex<Client>>, acknowledged: tokio::sync::mpsc::UnboundedSender<()>) {
    let mut daemon = connect(&address).await;
    loop {
        let sequence = client.lock().unwrap().messages.keys().next_back().copied().unwrap_or(0) + 1;
        client.lock().unwrap().sent = sequence;
        let Ok(answer) = daemon.observe(message(number, sequence)).await else { return };
        let digest = answer.into_inner().decision.unwrap().receipt_digest;
        client.lock().unwrap().messages.insert(sequence, digest);
        if sequence.is_multiple_of(5) {
            let Ok(answer) = daemon.record_event(event(number, sequence)).await else { return };
            let digest = answer.into_inner().change.unwrap().decision.unwrap().receipt_digest;
            client.lock().unwrap().events.insert(sequence, digest);
        }
        // Who waits for it may have seen enough.
        let _ = acknowledged.send(());
    }
}

/// Every acknowledged message and event is there, once, and nothing that was not sent.
async fn check(daemon: &mut Conversations, number: usize, client: &Client, round: usize) {
    let (mut stored, mut after) = (Vec::new(), 0);
    loop {
        let request = pb::GetConversationRequest { conversation_id: format!("c-{number}"), messages_max: 1000, after_sequence: after };
        let page = daemon.get_conversation(request).await.unwrap().into_inner();
        let Some(last) = page.messages.last() else { break };
        after = last.sequence;
        stored.extend(page.messages);
    }
    let count = u32::try_from(stored.len()).unwrap();
    let acknowledged = client.messages.len() as u32;
    assert!((acknowledged..=client.sent).contains(&count), "round {round}: {count} stored, {acknowledged} acknowledged");
    for (place, message) in stored.iter().enumerate() {
        let sent = self::message(number, place as u32 + 1);
        assert_eq!((message.sequence, message.message_id.as_str()), (sent.sequence, sent.message_id.as_str()), "round {round}");
        assert_eq!((message.text.as_deref(), message.speaker), (Some(sent.text.as_str()), sent.speaker), "round {round}");
    }
    for (sequence, digest) in client.messages.iter().rev().take(3).chain(client.messages.iter().take(3)) {
        let again = daemon.observe(message(number, *sequence)).await.unwrap().into_inner();
        assert_eq!(again.decision.unwrap().receipt_digest, *digest, "round {round}: message {sequence} got another answer");
    }
    for (sequence, digest) in client.events.iter().rev().take(3) {
        let again = daemon.record_event(event(number, *sequence)).await.unwrap().into_inner();
        assert_eq!(again.change.unwrap().decision.unwrap().receipt_digest, *digest, "round {round}: event {sequence} got another answer");
    }
}

fn replay(place: &Place) -> Value {
    let run = place.baton(&["replay", "--store", "baton-data", "--json"]);
    let value: Value = serde_json::from_str(run.success()).unwrap();
    assert_eq!(value["differences"], 0, "{value}");
    value
}

async fn kill(times: usize, seed: u64) {
    let place = Place::new();
    let mut random = Random::new(seed);
    let clients: Vec<Arc<Mutex<Client>>> = (0..CONVERSATIONS).map(|_| Arc::default()).collect();
    for round in 0..=times {
        let mut daemon = daemon(&place, "");
        if round > 0 {
            let mut connection = connect(&daemon.address).await;
            for (number, client) in clients.iter().enumerate() {
                let client = std::mem::take(&mut *client.lock().unwrap());
                check(&mut connection, number, &client, round).await;
                *clients[number].lock().unwrap() = client;
            }
        }
        if round == times {
            break;
        }
        let (acknowledged, mut count) = tokio::sync::mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        for (number, client) in clients.iter().enumerate() {
            tasks.spawn(send(daemon.address.clone(), number, Arc::clone(client), acknowledged.clone()));
        }
        drop(acknowledged);
        for _ in 0..CONVERSATIONS as u64 + random.bits() % 2_000 {
            soon("an acknowledgement", count.recv()).await.expect("the daemon answers");
        }
        daemon.kill();
        while let Some(ended) = soon("the clients end", tasks.join_next()).await {
            ended.unwrap();
        }
    }
    let replayed = replay(&place);
    let sent: usize = clients.iter().map(|client| client.lock().unwrap().messages.len()).sum();
    assert!(replayed["inputs"].as_u64().unwrap() >= sent as u64, "{replayed}");
    assert_eq!(replayed["conversations"], CONVERSATIONS);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_loses_nothing_that_it_acknowledged() {
    kill(KILLS, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long form: some minutes"]
async fn fifty_kills() {
    kill(50, 2).await;
}

/// What clients of handoffs were told that holds.
#[derive(Clone, Default)]
struct Promised {
    /// Conversations whose handoff was decided.
    asked: Vec<String>,
    /// Those that the agent was told are theirs.
    accepted: Vec<String>,
    /// Those that were told to be over.
    resolved: Vec<String>,
    /// Places of the feed that were acknowledged.
    done: BTreeSet<u64>,
}

/// An agent who is there, with room for all.
async fn shift(address: &str) {
    let mut routing = soon("a connection", Routings::connect(format!("http://{address}"))).await.unwrap();
    let queue_ids = ["general", "priority", "customer-success"].map(str::to_owned).to_vec();
    let agent = pb::PutAgentRequest { agent_id: "ana".to_owned(), name: "Ana".to_owned(), queue_ids, capacity: 100, ..Default::default() };
    routing.put_agent(agent).await.unwrap();
    let ttl = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
    let presence = pb::SetPresenceRequest { agent_id: "ana".to_owned(), presence: pb::Presence::Online.into(), ttl };
    routing.set_presence(presence).await.unwrap();
}

/// Customers ask for a person until the daemon is gone.
async fn ask(address: String, round: usize, promised: Arc<Mutex<Promised>>, acknowledged: tokio::sync::mpsc::UnboundedSender<()>) {
    let mut daemon = connect(&address).await;
    for number in 0.. {
        let conversation = format!("h-{round}-{number}");
        let text = "I want to talk to a human".to_owned();
        let asks = pb::ObserveRequest { conversation_id: conversation.clone(), text, ..message(0, 1) };
        if daemon.observe(pb::ObserveRequest { customer_id: None, ..asks }).await.is_err() {
            return;
        }
        promised.lock().unwrap().asked.push(conversation);
        let _ = acknowledged.send(());
    }
}

/// The backend and the agent do what the feed says until the daemon is gone: every other conversation is resolved.
async fn follow(address: String, promised: Arc<Mutex<Promised>>) -> Option<()> {
    let mut handoffs = soon("a connection", Handoffs::connect(format!("http://{address}"))).await.unwrap();
    let mut feed = handoffs.watch_effects(pb::WatchEffectsRequest { after: 0 }).await.ok()?.into_inner();
    loop {
        let effect = feed.message().await.ok()??;
        let (place, conversation_id) = (effect.place, effect.conversation_id);
        assert!(!promised.lock().unwrap().done.contains(&place), "what was acknowledged came again: {place}");
        if let Some(Kind::OfferHandoff(offer)) = effect.effect.unwrap().kind {
            let (request_id, agent_id) = (format!("a-{place}"), offer.agent_id);
            let accept = pb::AcceptRequest { conversation_id: conversation_id.clone(), request_id, agent_id: agent_id.clone() };
            // An offer of before the kill may be over by now.
            if handoffs.accept(accept).await.is_ok() {
                promised.lock().unwrap().accepted.push(conversation_id.clone());
                if place.is_multiple_of(2) {
                    let (request_id, disposition) = (format!("r-{place}"), pb::Disposition::Solved.into());
                    let agent_id = Some(agent_id);
                    let resolve = pb::ResolveRequest { conversation_id: conversation_id.clone(), request_id, agent_id, disposition };
                    handoffs.resolve(resolve).await.ok()?;
                    promised.lock().unwrap().resolved.push(conversation_id);
                }
            }
        }
        handoffs.ack_effect(pb::AckEffectRequest { place }).await.ok()?;
        promised.lock().unwrap().done.insert(place);
    }
}

/// What was promised holds: who was accepted is with the agent or was ended, who was resolved is with the bot, and who only asked is on the way.
async fn holds(address: &str, promised: &Promised, round: usize) {
    let mut handoffs = soon("a connection", Handoffs::connect(format!("http://{address}"))).await.unwrap();
    for conversation in &promised.asked {
        let request = pb::GetHandoffRequest { conversation_id: conversation.clone() };
        let standing = handoffs.get_handoff(request).await;
        let state = standing.as_ref().map(|handoff| handoff.get_ref().life.as_ref().unwrap().state());
        let accepted = promised.accepted.contains(conversation);
        match state {
            // An end that nobody was told of may have been stored all the same.
            Err(status) => assert!(status.code() == Code::NotFound && accepted, "round {round}: {conversation}: {status:?}"),
            Ok(state) => {
                assert!(!promised.resolved.contains(conversation), "round {round}: {conversation} stands again as {state:?}");
                assert!(!accepted || state == pb::HandoffState::Accepted, "round {round}: {conversation} is {state:?}");
            }
        }
    }
}

/// Handoffs, their timers and the feed, with the daemon killed while customers ask and an agent accepts.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_keeps_its_handoffs_and_what_must_still_be_done() {
    let place = Place::new();
    let policy = baton::handoff::policy::DEFAULT;
    place.write(
        "policy.toml",
        policy.lines().filter(|line| !line.starts_with("hours = ")).map(|line| format!("{line}\n")).collect::<String>(),
    );
    let mut random = Random::new(4);
    let promised = Arc::new(Mutex::new(Promised::default()));
    for round in 0..=KILLS {
        let mut daemon = daemon_with(&place, &["--policy", "policy.toml"]);
        let so_far = promised.lock().unwrap().clone();
        holds(&daemon.address, &so_far, round).await;
        if round == KILLS {
            break;
        }
        shift(&daemon.address).await;
        let (acknowledged, mut count) = tokio::sync::mpsc::unbounded_channel();
        let asking = tokio::spawn(ask(daemon.address.clone(), round, Arc::clone(&promised), acknowledged));
        let following = tokio::spawn(follow(daemon.address.clone(), Arc::clone(&promised)));
        for _ in 0..10 + random.bits() % 40 {
            soon("an acknowledgement", count.recv()).await.expect("the daemon answers");
        }
        daemon.kill();
        soon("the clients end", asking).await.unwrap();
        soon("the backend ends", following).await.unwrap();
    }
    let promised = promised.lock().unwrap();
    assert!(promised.accepted.len() > KILLS && !promised.resolved.is_empty(), "little happened: {}", promised.asked.len());
    replay(&place);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_second_daemon_on_a_store_refuses_to_start() {
    let place = Place::new();
    let first = daemon(&place, "");
    connect(&first.address).await.observe(message(0, 1)).await.unwrap();
    let second = place.baton(&["serve", "--listen", "127.0.0.1:0", "--model", crate::support::SHIPPED]);
    second.failure(&["the store in baton-data does not open"]);
    assert_eq!(place.baton(&["replay", "--store", "baton-data"]).code, Some(2), "nor is it replayed meanwhile");
    connect(&first.address).await.observe(message(0, 2)).await.unwrap();
    assert_eq!(first.terminate().0, Some(0));
    assert_eq!(replay(&place)["inputs"], 2);
}

/// Writing fails as on a full disk: the file system takes no more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(unix)]
async fn a_full_disk_is_told_and_nothing_is_lost() {
    let place = Place::new();
    // In units of 512 bytes in some shells and of 1,024 in others. Writing beyond it is then an error and no signal.
    let full = daemon(&place, "trap '' XFSZ; ulimit -f 2000;");
    let mut client = connect(&full.address).await;
    let mut acknowledged = 0;
    let refused = loop {
        match client.observe(message(0, acknowledged + 1)).await {
            Ok(_) => acknowledged += 1,
            Err(status) => break status,
        }
    };
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("nothing was changed"), "{refused:?}");
    // What is known is still told, also for the conversation whose state was dropped.
    let request = pb::GetConversationRequest { conversation_id: "c-0".to_owned(), ..pb::GetConversationRequest::default() };
    assert_eq!(client.get_conversation(request).await.unwrap().into_inner().next_sequence, acknowledged + 1);
    client.observe(message(0, acknowledged)).await.expect("a repeat needs no room");
    drop(full);

    let roomy = daemon(&place, "");
    let mut client = connect(&roomy.address).await;
    client.observe(message(0, acknowledged + 1)).await.expect("there is room again");
    assert_eq!(roomy.terminate().0, Some(0));
    assert_eq!(replay(&place)["inputs"], acknowledged + 1);
}

/// The policy is read again on SIGHUP; one that is wrong changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(unix)]
async fn sighup_reads_the_policy_again() {
    let place = Place::new();
    let policy = |queue: &str| baton::handoff::policy::DEFAULT.replace("name = \"support\"", &format!("name = \"{queue}\""));
    place.write("policy.toml", policy("support"));
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.args([
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--model",
        crate::support::SHIPPED,
        "--policy",
        "policy.toml",
        "--log-level",
        "info",
    ]);
    let mut daemon = Daemon::spawn(command);
    let mut client = connect(&daemon.address).await;
    let digest = |answer: pb::ObserveResponse| answer.decision.unwrap().policy_digest;
    let first = digest(client.observe(message(0, 1)).await.unwrap().into_inner());
    place.write("policy.toml", policy("the help desk"));
    daemon.signal("HUP");
    daemon.until_says("policy_reloaded");
    let second = digest(client.observe(message(0, 2)).await.unwrap().into_inner());
    assert_ne!(first, second);
    place.write("policy.toml", "[[trigger]]\n");
    daemon.signal("HUP");
    daemon.until_says("policy_refused");
    assert_eq!(digest(client.observe(message(0, 3)).await.unwrap().into_inner()), second);
    assert_eq!(daemon.terminate().0, Some(0));
    assert_eq!(replay(&place)["inputs"], 3, "each input replays under its own policy");
}

#[test]
fn replay_tells_a_store_from_another_folder() {
    let place = Place::new();
    place.baton(&["replay", "--store", "nowhere"]).failure(&["store nowhere", "baton.db"]);
    assert!(!place.path("nowhere").exists(), "nothing is made");
    let run: Run = place.baton(&["replay", "--store", ".", "--policy", "x.toml"]);
    assert_eq!(run.code, Some(2), "a stored conversation has its own policy: {}", run.stderr);
}
