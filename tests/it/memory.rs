//! The memory as its clients meet it: a real client against a server in this process, stopped and started again on the same folder.
//!
//! Nothing here waits by the clock: [`Control`] holds the engine until a test opens it and tells when a call has come. [`WAIT`] is only how long a
//! test may hang before it fails.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use baton::config::serve::Typed;
use baton::message::{Id, Speaker};
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::encoder::{EncodeError, Encoder, HiddenStates};
use baton::model::load::load;
use baton::model::scorer::{ScoreInput, Scorer};
use baton::random::Random;
use baton::service::memory::{Editions, Memory, Observe, Replayed, replay};
use baton::service::pb;
use baton::service::pb::admin_service_client::AdminServiceClient;
use baton::service::pb::conversation_service_client::ConversationServiceClient;
use baton::service::pb::scoring_service_client::ScoringServiceClient;
use baton::service::proving::prove;
use baton::service::server::{self, Listen, PolicyChoice, ServerError};
use baton::service::status::expected_sequence;
use baton::service::store::{DATABASE, Limits, Store};
use baton::signal::QuantizedEmbedding;
use baton::time::Timestamp;
use prost::Message as _;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};

use crate::support::{PLANTED, Place, SHIPPED, TINY, encode_by};

/// After this time a test fails in place of hanging.
const WAIT: Duration = Duration::from_secs(120);
/// What the rules take for the wish to speak with a person, whatever the model says.
const ASKS: &str = "I want to talk to a human";
const DAY_MS: i64 = 24 * 3_600_000;

/// A policy whose triggers need no trained model.
const POLICY: &str = r#"
[[trigger]]
id = "asks"
kind = "reactive"
basis = "intent"
urgency = "immediate"
category = "talk_to_human"
priority = 80
when = 'asks_for_person()'
queue = "general"
message = "generic"

[[trigger]]
id = "vip"
kind = "proactive"
basis = "behaviour"
urgency = "immediate"
category = "vip"
priority = 70
when = 'account.tier == "enterprise" && mentions("legal")'
queue = "general"
message = "generic"

[[trigger]]
id = "visits"
kind = "behavioural"
basis = "behaviour"
urgency = "immediate"
category = "churn"
priority = 60
when = 'events.count("page_view", "/pricing*", days(7)) >= 3'
queue = "general"
message = "generic"

[[trigger]]
id = "again"
kind = "proactive"
basis = "behaviour"
urgency = "immediate"
category = "repeat_contact"
priority = 50
when = 'contacts.count(days(30)) >= 3'
queue = "general"
message = "generic"

[[trigger]]
id = "same"
kind = "proactive"
basis = "behaviour"
urgency = "soft"
category = "repeat_contact"
priority = 40
when = 'contacts.same_issue(days(30)) >= 100 || conversation.failed_attempts >= 100'
queue = "general"
message = "generic"

[[trigger]]
id = "unsure"
kind = "reactive"
basis = "behaviour"
urgency = "soft"
category = "low_confidence"
priority = 20
when = 'bot.confidence < 0.2'
queue = "general"
message = "generic"

[[queue]]
id = "general"
owner = "lead@example.com"
skills = []
strategy = "least_loaded"
fallback = "follow_up"

[[message]]
id = "generic"
acknowledge = "This is about {{ issue }}."
reassure = "A person takes over."
expect = "They answer within {{ wait }}."
expect_unknown_wait = "They answer soon."
"#;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("{what}: nothing within {WAIT:?}"))
}

fn scorer(model: &str) -> Scorer {
    load(Path::new(model), &open_device(DeviceChoice::Cpu).unwrap()).unwrap()
}

fn now() -> Timestamp {
    baton::service::clock::wall()
}

fn later(at: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_millis(at.millis() + millis).unwrap()
}

/// So many milliseconds ago, for a request.
fn ago(millis: i64) -> Option<prost_types::Timestamp> {
    let at = now().millis() - millis;
    Some(prost_types::Timestamp { seconds: at / 1000, nanos: i32::try_from(at % 1000).unwrap() * 1_000_000 })
}

// ---------------------------------------------------------------- the engine

/// Holds the engine of a server.
struct Control {
    state: Mutex<Engine>,
    opened: Condvar,
    /// Engine calls that have begun.
    calls: watch::Sender<usize>,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum Engine {
    #[default]
    Open,
    Closed,
    Poisoned,
    Panics,
}

impl Control {
    fn set(&self, engine: Engine) {
        *self.state.lock().unwrap() = engine;
        self.opened.notify_all();
    }

    async fn until_calls(&self, calls: usize) {
        soon("the engine is called", self.calls.subscribe().wait_for(|so_far| *so_far >= calls)).await.unwrap();
    }
}

impl Control {
    fn encode(&self, inner: &dyn Encoder, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError> {
        self.calls.send_modify(|calls| *calls += 1);
        let state = self.state.lock().unwrap();
        let engine = *self.opened.wait_while(state, |state| *state == Engine::Closed).unwrap();
        match engine {
            // A panic without the hook, which would write on stderr.
            Engine::Panics => std::panic::resume_unwind(Box::new("the engine was told to panic")),
            Engine::Poisoned => Err(EncodeError::NotFinite),
            Engine::Open | Engine::Closed => inner.encode(sequences, layers),
        }
    }
}

// ---------------------------------------------------------------- the server

/// A folder in which servers are started one after the other.
struct Home {
    place: Place,
    model: &'static str,
    policy: &'static str,
}

impl Home {
    fn new() -> Self {
        let place = Place::new();
        place.write("policy.toml", POLICY);
        Self { place, model: TINY, policy: "policy.toml" }
    }

    /// With the model and the policy of the repository.
    fn shipped() -> Self {
        Self { place: Place::new(), model: SHIPPED, policy: "default" }
    }

    fn data(&self) -> PathBuf {
        self.place.path("data")
    }

    async fn serve(&self, settings: &[&str]) -> Server {
        let policy = if self.policy == "default" { "default".into() } else { self.place.path(self.policy).display().to_string() };
        let ours = ["listen.address=127.0.0.1:0".into(), "limits.workers=1".into(), "store.score_timeout_ms=100000".into()];
        let typed = ours.into_iter().chain([format!("policy.file={policy}"), format!("store.data_dir={}", self.data().display())]);
        let typed = typed.fold(Typed::default(), |typed, setting: String| typed.set(&setting));
        let settings = settings.iter().fold(typed, |typed, setting| typed.set(setting)).settings(1).unwrap();
        let control = Arc::new(Control { state: Mutex::default(), opened: Condvar::new(), calls: watch::Sender::new(0) });
        let engine = Arc::clone(&control);
        let scorer = scorer(self.model)
            .exchange_encoder(|inner| encode_by(inner, move |inner, sequences, layers| control.encode(inner, sequences, layers)));
        let PolicyChoice::Places(places) = &settings.policy else { panic!("there is a policy") };
        let proved = prove(places, &scorer).unwrap();
        let running = soon("the start", server::start(Arc::new(scorer), Some(proved), settings)).await.unwrap();
        let Listen::Tcp(address) = running.address else { panic!("the server listens on TCP") };
        let memory = Arc::clone(running.memory().unwrap());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(running.until(async { drop(stopped.await) }));
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = soon("a connection", endpoint.connect()).await.unwrap();
        Server { client: Client(channel), engine, memory: Some(memory), stop: Some(stop), ended }
    }

    /// What is stored decided again: how many inputs of each conversation lead to what they led to; `None` where it was erased.
    fn replayed(&self) -> BTreeMap<String, Option<u64>> {
        let store = Store::open(&self.data(), Limits::default()).unwrap();
        let editions = Editions::open(&self.data()).unwrap();
        let mut all = BTreeMap::new();
        for (_, id) in store.conversations(0, usize::MAX).unwrap() {
            let inputs = match replay(&store, &editions, &id).unwrap() {
                Replayed::Same { inputs } => Some(inputs),
                Replayed::Erased => None,
                Replayed::Differs(broken) => panic!("{id}: {broken:?}"),
            };
            all.insert(id.to_string(), inputs);
        }
        store.close().unwrap();
        all
    }

    /// Every file of the store's folder, those of folders in it included.
    fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut folders = vec![self.data()];
        let mut found = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    found.push((path.clone(), fs::read(path).unwrap()));
                }
            }
        }
        found
    }

    /// Files that hold some bytes.
    fn holding(&self, bytes: &[u8]) -> Vec<PathBuf> {
        let holds = |content: &[u8]| content.windows(bytes.len()).any(|window| window == bytes);
        self.files().into_iter().filter(|(_, content)| holds(content)).map(|(path, _)| path).collect()
    }

    /// The planted words that are in a file, each with its numbers and points up to the last point.
    fn planted(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for (_, content) in self.files() {
            for place in 0..content.len() {
                let Some(rest) = content[place..].strip_prefix(PLANTED.as_bytes()) else { continue };
                let numbers: String = rest.iter().map(|byte| char::from(*byte)).take_while(|c| c.is_ascii_digit() || *c == '.').collect();
                found.insert(format!("{PLANTED}{}.", numbers.rsplit_once('.').map_or("", |(before, _)| before)));
            }
        }
        found
    }

    fn database(&self) -> Connection {
        Connection::open(self.data().join(DATABASE)).unwrap()
    }
}

/// A server with one worker; whatever a test does, its engine is open when the test ends.
struct Server {
    client: Client,
    engine: Arc<Control>,
    memory: Option<Arc<Memory>>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServerError>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.engine.set(Engine::Open);
    }
}

impl Server {
    fn memory(&self) -> &Arc<Memory> {
        self.memory.as_ref().unwrap()
    }

    async fn stop(mut self) {
        self.engine.set(Engine::Open);
        self.memory = None;
        self.stop.take().unwrap().send(()).unwrap();
        soon("the end", &mut self.ended).await.unwrap().unwrap();
    }
}

#[derive(Clone)]
struct Client(Channel);

async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    soon("an answer", call).await.map(Response::into_inner)
}

impl Client {
    fn service(&self) -> ConversationServiceClient<Channel> {
        ConversationServiceClient::new(self.0.clone()).max_decoding_message_size(64 << 20)
    }

    async fn observe(&self, request: pb::ObserveRequest) -> Result<pb::ObserveResponse, Status> {
        answer(self.service().observe(request)).await
    }

    /// Says something as the next message and gives the answer.
    async fn said(&self, request: pb::ObserveRequest) -> pb::ObserveResponse {
        let name = format!("{} {}", request.conversation_id, request.sequence);
        self.observe(request).await.unwrap_or_else(|status| panic!("{name}: {status}"))
    }

    async fn event(&self, request: pb::RecordEventRequest) -> Result<pb::RecordEventResponse, Status> {
        answer(self.service().record_event(request)).await
    }

    async fn facts(&self, request: pb::PutFactsRequest) -> Result<pb::PutFactsResponse, Status> {
        answer(self.service().put_facts(request)).await
    }

    async fn close(&self, conversation: &str, outcome: pb::Outcome) -> Result<pb::CloseConversationResponse, Status> {
        let request = pb::CloseConversationRequest { conversation_id: conversation.to_owned(), outcome: outcome.into() };
        answer(self.service().close_conversation(request)).await
    }

    async fn satisfaction(&self, conversation: &str, score: u32) -> Result<pb::RecordSatisfactionResponse, Status> {
        let request = pb::RecordSatisfactionRequest { conversation_id: conversation.to_owned(), score };
        answer(self.service().record_satisfaction(request)).await
    }

    async fn get(&self, conversation: &str) -> Result<pb::GetConversationResponse, Status> {
        self.get_from(conversation, 1000, 0).await
    }

    async fn get_from(&self, conversation: &str, most: u32, after: u32) -> Result<pb::GetConversationResponse, Status> {
        let id = conversation.to_owned();
        answer(self.service().get_conversation(pb::GetConversationRequest {
            conversation_id: id,
            messages_max: most,
            after_sequence: after,
        }))
        .await
    }

    async fn explain(&self, conversation: &str, sequence: u32) -> Result<pb::ExplainDecisionResponse, Status> {
        let request = pb::ExplainDecisionRequest { conversation_id: conversation.to_owned(), sequence };
        answer(self.service().explain_decision(request)).await
    }

    async fn erase(&self, customer: &str) -> pb::EraseCustomerResponse {
        let request = pb::EraseCustomerRequest { customer_id: customer.to_owned() };
        answer(self.service().erase_customer(request)).await.unwrap()
    }

    async fn reload(&self) -> Result<pb::ReloadPolicyResponse, Status> {
        answer(AdminServiceClient::new(self.0.clone()).reload_policy(pb::ReloadPolicyRequest {})).await
    }

    async fn policy_digest(&self) -> String {
        answer(ScoringServiceClient::new(self.0.clone()).get_info(pb::GetInfoRequest {})).await.unwrap().policy_digest.unwrap()
    }
}

// ---------------------------------------------------------------- what is said

/// The customer says something; the message's id follows from its place.
fn say(conversation: &str, sequence: u32, text: &str) -> pb::ObserveRequest {
    pb::ObserveRequest {
        conversation_id: conversation.to_owned(),
        message_id: format!("m{sequence}"),
        sequence,
        speaker: pb::Speaker::Customer.into(),
        text: text.to_owned(),
        ..pb::ObserveRequest::default()
    }
}

fn bot(conversation: &str, sequence: u32, text: &str) -> pb::ObserveRequest {
    pb::ObserveRequest { speaker: pb::Speaker::Bot.into(), ..say(conversation, sequence, text) }
}

fn agent(conversation: &str, sequence: u32, text: &str) -> pb::ObserveRequest {
    pb::ObserveRequest { speaker: pb::Speaker::Agent.into(), ..say(conversation, sequence, text) }
}

/// What an agent says, which is not scored, without the wire.
fn agent_says(conversation: &str, sequence: u32) -> Observe {
    Observe {
        conversation: Id::new(conversation).unwrap(),
        customer: None,
        message: Id::new(format!("m{sequence}")).unwrap(),
        sequence,
        speaker: Speaker::Agent,
        text: "hello".to_owned(),
        bot_confidence: None,
        proposal: true,
        at: None,
        model: None,
    }
}

fn of(customer: &str, request: pb::ObserveRequest) -> pb::ObserveRequest {
    pb::ObserveRequest { customer_id: Some(customer.to_owned()), ..request }
}

fn visit(event: &str, customer: &str) -> pb::RecordEventRequest {
    pb::RecordEventRequest {
        event_id: event.to_owned(),
        customer_id: Some(customer.to_owned()),
        kind: "page_view".to_owned(),
        name: "/pricing/teams".to_owned(),
        ..pb::RecordEventRequest::default()
    }
}

/// The same in a conversation whose customer is known.
fn heard(event: &str, conversation: &str) -> pb::RecordEventRequest {
    pb::RecordEventRequest { customer_id: None, conversation_id: Some(conversation.to_owned()), ..visit(event, "") }
}

fn lookup(id: &str, conversation: &str, tier: &str) -> pb::PutFactsRequest {
    pb::PutFactsRequest {
        lookup_id: id.to_owned(),
        conversation_id: conversation.to_owned(),
        facts: Some(pb::Facts { tier: Some(tier.to_owned()), ..pb::Facts::default() }),
        ..pb::PutFactsRequest::default()
    }
}

fn past(id: &str) -> pb::PastContact {
    pb::PastContact { contact_id: id.to_owned(), at: ago(DAY_MS), ..pb::PastContact::default() }
}

fn decided(response: &pb::ObserveResponse) -> &pb::Decision {
    response.decision.as_ref().unwrap()
}

/// The trigger that decides, or nothing.
fn by(response: &pb::ObserveResponse) -> &str {
    decided(response).trigger_id.as_deref().unwrap_or_default()
}

fn digest(response: &pb::ObserveResponse) -> &str {
    &decided(response).receipt_digest
}

/// The call was refused with this code, and its words begin so.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, words: &str) {
    let status = result.expect_err("the call is refused");
    assert!(status.code() == code && status.message().starts_with(words), "expected {code:?} {words:?}, found {status:?}");
}

fn texts(told: &pb::GetConversationResponse) -> Vec<&str> {
    told.messages.iter().map(|message| message.text.as_deref().unwrap_or_default()).collect()
}

// ---------------------------------------------------------------- the same again

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_gets_the_same_answer_also_when_it_was_forgotten_and_after_a_restart() {
    let home = Home::new();
    let settings = ["store.cached=1"];
    let mut server = home.serve(&settings).await;
    let messages = [
        of("ada", say("c", 1, "where is my refund")),
        pb::ObserveRequest { bot_confidence: Some(0.1), proposal: Some(false), ..bot("c", 2, "it is on its way") },
        say("c", 3, ASKS),
        agent("c", 4, "hello"),
        say("c", 5, ""),
        of("ada", say("c", 6, "thanks")),
    ];
    let mut answers = Vec::new();
    for message in &messages {
        answers.push(server.client.said(message.clone()).await);
    }
    assert_eq!(answers.iter().map(by).collect::<Vec<_>>(), ["", "unsure", "asks", "", "", ""]);
    let (event, facts) = (heard("e", "c"), lookup("l", "c", "gold"));
    let heard_first = server.client.event(event.clone()).await.unwrap();
    let put_first = server.client.facts(facts.clone()).await.unwrap();
    server.client.event(visit("v", "ada")).await.unwrap();
    for round in ["at once", "after others took its place", "after a restart"] {
        if round == "after others took its place" {
            for n in 0..40 {
                server.client.said(of(&format!("u{n}"), say(&format!("other-{n}"), 1, "hello"))).await;
            }
        }
        if round == "after a restart" {
            server.stop().await;
            server = home.serve(&settings).await;
        }
        for (message, first) in messages.iter().zip(&answers) {
            let again = server.client.said(message.clone()).await;
            assert_eq!(again, *first, "{round}");
            assert_eq!(again.encode_to_vec(), first.encode_to_vec(), "{round}");
        }
        assert_eq!(server.client.event(event.clone()).await.unwrap(), heard_first, "{round}");
        assert_eq!(server.client.facts(facts.clone()).await.unwrap(), put_first, "{round}");
        assert_eq!(server.client.event(visit("v", "ada")).await.unwrap(), pb::RecordEventResponse::default(), "{round}");
        let other = |request: pb::ObserveRequest, words: &'static str| (request, words);
        for (request, words) in [
            other(say("c", 3, "something else"), "text: "),
            other(bot("c", 3, ASKS), "text: "),
            other(pb::ObserveRequest { message_id: "new".into(), ..say("c", 3, ASKS) }, "sequence: "),
            other(pb::ObserveRequest { message_id: "m1".into(), ..say("c", 7, ASKS) }, "message_id: "),
        ] {
            refused(server.client.observe(request).await, Code::AlreadyExists, words);
        }
        for event in [
            pb::RecordEventRequest { name: "/other".into(), ..event.clone() },
            pb::RecordEventRequest { kind: "other".into(), ..event.clone() },
            pb::RecordEventRequest { at: ago(1000), ..event.clone() },
            pb::RecordEventRequest { name: "/other".into(), ..visit("v", "ada") },
        ] {
            refused(server.client.event(event).await, Code::AlreadyExists, "event_id: ");
        }
        for facts in [
            lookup("l", "c", "other"),
            pb::PutFactsRequest { failure: Some("late".into()), ..facts.clone() },
            pb::PutFactsRequest { past_contacts: vec![past("p")], ..facts.clone() },
        ] {
            refused(server.client.facts(facts).await, Code::AlreadyExists, "lookup_id: ");
        }
        let told = server.client.get("c").await.unwrap();
        assert_eq!((told.inputs, told.next_sequence, told.messages.len()), (8, 7, 6), "{round}");
    }
    server.stop().await;
    assert_eq!(home.replayed()["c"], Some(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gap_is_refused_with_the_sequence_that_comes_next_and_stores_nothing() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let gap = |status: Status| (status.code(), expected_sequence(&status));
    for sequence in [2, 3, u32::MAX] {
        assert_eq!(
            gap(server.client.observe(of("ada", say("new", sequence, "hello"))).await.unwrap_err()),
            (Code::FailedPrecondition, Some(1))
        );
    }
    refused(server.client.get("new").await, Code::NotFound, "conversation_id: ");
    for sequence in 1..=20 {
        server.client.said(say("c", sequence, "hello")).await;
        let status = server.client.observe(say("c", sequence + 2, "hello")).await.unwrap_err();
        assert_eq!(gap(status), (Code::FailedPrecondition, Some(sequence + 1)));
    }
    server.stop().await;
    assert_eq!(home.replayed(), BTreeMap::from([("c".to_owned(), Some(20))]));
}

// ---------------------------------------------------------------- what cannot be taken

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_taken_is_refused_by_its_field_without_the_customers_words_and_stores_nothing() {
    let home = Home::new();
    let server = home.serve(&["limits.text_bytes_max=64"]).await;
    let client = &server.client;
    let mut refusals: Vec<(String, Result<(), Status>)> = Vec::new();
    let message = || pb::ObserveRequest { customer_id: Some("ada".into()), ..say("c", 1, PLANTED) };
    let stamp = |seconds, nanos| Some(prost_types::Timestamp { seconds, nanos });
    let mut messages: Vec<(&str, pb::ObserveRequest)> = vec![
        ("sequence", pb::ObserveRequest { sequence: 0, ..message() }),
        ("speaker", pb::ObserveRequest { speaker: 0, ..message() }),
        ("speaker", pb::ObserveRequest { speaker: 4, ..message() }),
        ("speaker", pb::ObserveRequest { speaker: -1, ..message() }),
        ("bot_confidence", pb::ObserveRequest { bot_confidence: Some(0.5), ..message() }),
        ("bot_confidence", pb::ObserveRequest { bot_confidence: Some(0.5), ..agent("c", 1, PLANTED) }),
        ("proposal", pb::ObserveRequest { proposal: Some(false), ..message() }),
        ("proposal", pb::ObserveRequest { proposal: Some(true), ..agent("c", 1, PLANTED) }),
        ("text", say("c", 1, &PLANTED.repeat(6))),
    ];
    for confidence in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, 2.0, -1.0, 1.000_001, -f32::MIN_POSITIVE] {
        messages.push(("bot_confidence", pb::ObserveRequest { bot_confidence: Some(confidence), ..bot("c", 1, PLANTED) }));
    }
    let times = [(-1, 0), (0, -1), (5, 1_000_000_000), (253_402_300_800, 0), (i64::MAX, 999_999_999), (i64::MIN, 0), (1 << 53, 0)];
    for (seconds, nanos) in times {
        messages.push(("at", pb::ObserveRequest { at: stamp(seconds, nanos), ..message() }));
    }
    let ids = ["", "a b", " a", "a\n", "ä", "\u{200b}", "a\0", &"x".repeat(129)];
    for id in ids {
        messages.push(("conversation_id", pb::ObserveRequest { conversation_id: id.into(), ..message() }));
        messages.push(("message_id", pb::ObserveRequest { message_id: id.into(), ..message() }));
        messages.push(("customer_id", pb::ObserveRequest { customer_id: Some(id.into()), ..message() }));
    }
    for (field, request) in messages {
        refusals.push((field.to_owned(), client.observe(request).await.map(drop)));
    }
    let event = || pb::RecordEventRequest { name: PLANTED.into(), conversation_id: Some("c".into()), ..visit("e", "ada") };
    let mut events = vec![
        ("name", pb::RecordEventRequest { name: format!("{PLANTED}{}", "x".repeat(501)), ..event() }),
        ("customer_id", pb::RecordEventRequest { customer_id: None, conversation_id: None, ..event() }),
    ];
    for id in ids {
        events.push(("event_id", pb::RecordEventRequest { event_id: id.into(), ..event() }));
        events.push(("customer_id", pb::RecordEventRequest { customer_id: Some(id.into()), ..event() }));
        events.push(("conversation_id", pb::RecordEventRequest { conversation_id: Some(id.into()), ..event() }));
        events.push(("kind", pb::RecordEventRequest { kind: id.into(), ..event() }));
    }
    for (seconds, nanos) in times {
        events.push(("at", pb::RecordEventRequest { at: stamp(seconds, nanos), ..event() }));
    }
    for (field, request) in events {
        refusals.push((field.to_owned(), client.event(request).await.map(drop)));
    }
    let put = || pb::PutFactsRequest { customer_id: Some("ada".into()), ..lookup("l", "c", PLANTED) };
    let with = |facts: pb::Facts| pb::PutFactsRequest { facts: Some(facts), ..put() };
    let facts = pb::Facts::default;
    let own = |name: &str, value: Option<pb::fact_value::Value>| pb::Facts {
        own: [(name.to_owned(), pb::FactValue { value })].into(),
        ..facts()
    };
    use pb::fact_value::Value;
    let long = format!("{PLANTED}{}", "x".repeat(1024));
    let with_past = |contact: pb::PastContact| pb::PutFactsRequest { past_contacts: vec![past("p"), contact], ..put() };
    let mut lookups = vec![
        ("failure", pb::PutFactsRequest { failure: Some(String::new()), ..put() }),
        ("failure", pb::PutFactsRequest { failure: Some(" \n".into()), ..put() }),
        ("failure", pb::PutFactsRequest { failure: Some(format!("{PLANTED}{}", "x".repeat(256))), ..put() }),
        ("facts.account_name", with(pb::Facts { account_name: Some(long.clone()), ..facts() })),
        ("facts.customer_name", with(pb::Facts { customer_name: Some(long.clone()), ..facts() })),
        ("facts.tier", with(pb::Facts { tier: Some(long.clone()), ..facts() })),
        ("facts.value", with(pb::Facts { value: Some(f64::NAN), ..facts() })),
        ("facts.value", with(pb::Facts { value: Some(f64::INFINITY), ..facts() })),
        ("facts.since", with(pb::Facts { since: stamp(-1, 0), ..facts() })),
        ("facts.own[note]", with(own("note", Some(Value::Text(long))))),
        ("facts.own[note]", with(own("note", Some(Value::Number(f64::NAN))))),
        ("facts.own[value]", with(own("note", None))),
        ("facts.own[tier]", with(own("tier", Some(Value::Flag(true))))),
        ("facts.own[account]", with(own("account", Some(Value::Flag(true))))),
        ("facts.own[", with(own("", Some(Value::Flag(true))))),
        ("facts.own[", with(own("a b", Some(Value::Flag(true))))),
        (
            "facts.own[",
            with(pb::Facts {
                own: (0..65).map(|n| (format!("f{n}"), pb::FactValue { value: Some(Value::Flag(true)) })).collect(),
                ..facts()
            }),
        ),
        ("past_contacts", pb::PutFactsRequest { past_contacts: (0..129).map(|n| past(&format!("p{n}"))).collect(), ..put() }),
        ("past_contacts[1].at", with_past(pb::PastContact { at: None, ..past("q") })),
        ("past_contacts[1].at", with_past(pb::PastContact { at: stamp(-1, 0), ..past("q") })),
        ("past_contacts[1].contact_id", with_past(past(""))),
        ("past_contacts[1].text", with_past(pb::PastContact { text: Some(PLANTED.repeat(6)), ..past("q") })),
    ];
    for id in ids {
        lookups.push(("lookup_id", pb::PutFactsRequest { lookup_id: id.into(), ..put() }));
        lookups.push(("customer_id", pb::PutFactsRequest { customer_id: Some(id.into()), ..put() }));
        lookups.push(("conversation_id", pb::PutFactsRequest { conversation_id: id.into(), ..put() }));
    }
    for (seconds, nanos) in times {
        lookups.push(("fetched_at", pb::PutFactsRequest { fetched_at: stamp(seconds, nanos), ..put() }));
    }
    for (field, request) in lookups {
        refusals.push((field.to_owned(), client.facts(request).await.map(drop)));
    }
    for id in ids {
        refusals.push(("conversation_id".into(), client.close(id, pb::Outcome::Resolved).await.map(drop)));
        refusals.push(("conversation_id".into(), client.satisfaction(id, 3).await.map(drop)));
        refusals.push(("conversation_id".into(), client.get(id).await.map(drop)));
        refusals.push(("conversation_id".into(), client.explain(id, 1).await.map(drop)));
        let request = pb::EraseCustomerRequest { customer_id: id.into() };
        refusals.push(("customer_id".into(), answer(client.service().erase_customer(request)).await.map(drop)));
    }
    for outcome in [pb::Outcome::Unspecified, pb::Outcome::Idle] {
        refusals.push(("outcome".into(), client.close("c", outcome).await.map(drop)));
    }
    for score in [0, 6, u32::MAX] {
        refusals.push(("score".into(), client.satisfaction("c", score).await.map(drop)));
    }
    refusals.push(("messages_max".into(), client.get_from("c", 1001, 0).await.map(drop)));
    let mut wrong = Vec::new();
    for (place, (field, result)) in refusals.iter().enumerate() {
        let sound = |status: &Status| {
            let named = status.message().starts_with(field.as_str()) && !status.message().contains(PLANTED);
            status.code() == Code::InvalidArgument && named
        };
        if !result.as_ref().is_err_and(sound) {
            wrong.push(format!("case {place}, {field}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    refused(client.get("c").await, Code::NotFound, "conversation_id: ");
    server.stop().await;
    let store = Store::open(&home.data(), Limits::default()).unwrap();
    let counts = store.counts().unwrap();
    assert_eq!((counts.conversations, counts.customers), (0, 0));
    assert_eq!(home.holding(PLANTED.as_bytes()), Vec::<PathBuf>::new());
}

// ---------------------------------------------------------------- many at once

/// Says a text in a conversation to which others say something too, wherever there is room, and gives the sequence.
async fn say_somewhere(client: &Client, conversation: &str, id: &str, text: &str) -> u32 {
    let mut sequence = 1;
    for _ in 0..10_000 {
        let request = pb::ObserveRequest { message_id: id.to_owned(), ..say(conversation, sequence, text) };
        match client.observe(request).await {
            Ok(_) => return sequence,
            Err(status) if status.code() == Code::AlreadyExists => sequence += 1,
            Err(status) => sequence = expected_sequence(&status).unwrap_or_else(|| panic!("{conversation} {id}: {status}")),
        }
    }
    panic!("{id} found no room");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_clients_of_one_conversation_lose_nothing_and_say_nothing_twice() {
    let home = Home::new();
    let server = home.serve(&["store.cached=1"]).await;
    let mut clients = JoinSet::new();
    for n in 0..64 {
        let client = server.client.clone();
        clients.spawn(async move {
            for turn in 0..2 {
                say_somewhere(&client, "c", &format!("{n}-{turn}"), &format!("hello {n} {turn}")).await;
            }
        });
    }
    clients.join_all().await;
    let told = server.client.get("c").await.unwrap();
    assert_eq!((told.next_sequence, told.inputs), (129, 128));
    let sequences: Vec<u32> = told.messages.iter().map(|message| message.sequence).collect();
    assert_eq!(sequences, (1..=128).collect::<Vec<_>>());
    let ids: BTreeSet<&str> = told.messages.iter().map(|message| message.message_id.as_str()).collect();
    assert_eq!(ids.len(), 128, "a message is there twice");
    server.stop().await;
    assert_eq!(home.replayed(), BTreeMap::from([("c".to_owned(), Some(128))]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_conversations_of_one_customer_and_of_many_stand_beside_each_other() {
    let home = Home::new();
    let server = home.serve(&["store.cached=1"]).await;
    let mut clients = JoinSet::new();
    for n in 0..64 {
        let client = server.client.clone();
        clients.spawn(async move {
            let (conversation, customer) = (format!("c{n}"), if n % 2 == 0 { "ada".to_owned() } else { format!("u{n}") });
            for sequence in 1..=4 {
                client.said(of(&customer, say(&conversation, sequence, &format!("hello {n} {sequence}")))).await;
                client.event(visit(&format!("v-{n}-{sequence}"), &customer)).await.unwrap();
                client.event(heard(&format!("h-{n}-{sequence}"), &conversation)).await.unwrap();
                client.facts(lookup(&format!("l{sequence}"), &conversation, "gold")).await.unwrap();
            }
            client.close(&conversation, pb::Outcome::Resolved).await.unwrap();
        });
    }
    clients.join_all().await;
    for n in 0..64 {
        let told = server.client.get(&format!("c{n}")).await.unwrap();
        assert_eq!((told.next_sequence, told.inputs, told.outcome()), (5, 12, pb::Outcome::Resolved), "c{n}");
        assert_eq!(texts(&told), (1..=4).map(|sequence| format!("hello {n} {sequence}")).collect::<Vec<_>>());
    }
    server.stop().await;
    let replayed = home.replayed();
    assert_eq!(replayed.len(), 64);
    assert!(replayed.values().all(|inputs| *inputs == Some(12)), "{replayed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_half_way_and_comes_back_finds_the_message_once() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let mut random = Random::new(7);
    // Held in the engine, then left.
    server.engine.set(Engine::Closed);
    let calls = *server.engine.calls.borrow();
    let client = server.client.clone();
    let left = tokio::spawn(async move { client.observe(of("ada", say("held", 1, "hello there"))).await });
    server.engine.until_calls(calls + 1).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    server.engine.set(Engine::Open);
    server.client.said(of("ada", say("held", 1, "hello there"))).await;
    // Left wherever they are.
    for sequence in 1..=40 {
        let mut calls = JoinSet::new();
        for _ in 0..3 {
            let client = server.client.clone();
            calls.spawn(async move { drop(client.observe(of("ada", say("c", sequence, &format!("hello {sequence}")))).await) });
        }
        for _ in 0..random.below(200) {
            tokio::task::yield_now().await;
        }
        calls.abort_all();
        let event = server.client.clone();
        let event = tokio::spawn(async move { drop(event.event(visit(&format!("v{sequence}"), "ada")).await) });
        for _ in 0..random.below(100) {
            tokio::task::yield_now().await;
        }
        event.abort();
        server.client.said(of("ada", say("c", sequence, &format!("hello {sequence}")))).await;
        server.client.event(visit(&format!("v{sequence}"), "ada")).await.unwrap();
    }
    let told = server.client.get("c").await.unwrap();
    assert_eq!((told.next_sequence, told.inputs, told.messages.len()), (41, 40, 40));
    server.stop().await;
    assert_eq!(home.replayed(), BTreeMap::from([("c".to_owned(), Some(40)), ("held".to_owned(), Some(1))]));
}

/// The same without the wire: who leaves does so at any of the places where the memory waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wherever_a_caller_leaves_the_message_is_known_again() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let mut callers = JoinSet::new();
    for n in 0..16 {
        let memory = Arc::clone(server.memory());
        callers.spawn(async move {
            let mut random = Random::new(n);
            for sequence in 1..=200 {
                let request = agent_says(&format!("c{n}"), sequence);
                let left = async {
                    for _ in 0..random.below(400) {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    answered = memory.observe(&request, None) => drop(answered.unwrap()),
                    () = left => {}
                }
                if let Err(error) = memory.observe(&request, None).await {
                    let again = memory.observe(&request, None).await.map(drop);
                    let next = memory.observe(&agent_says(&format!("c{n}"), sequence + 1), None).await.map(drop);
                    return Some(format!("c{n} {sequence}: {error}; again: {again:?}; the next: {next:?}"));
                }
            }
            None
        });
    }
    let stopped: Vec<String> = soon("the callers", callers.join_all()).await.into_iter().flatten().collect();
    assert!(stopped.is_empty(), "{stopped:#?}");
    server.stop().await;
    assert!(home.replayed().values().all(|inputs| *inputs == Some(200)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_reads_after_a_caller_has_left_is_told_what_is_stored() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let mut callers = JoinSet::new();
    for n in 0..16 {
        let memory = Arc::clone(server.memory());
        callers.spawn(async move {
            let mut random = Random::new(n);
            let mut wrong = Vec::new();
            for round in 1..=60 {
                let conversation = format!("c{n}-{round}");
                let id = Id::new(conversation.as_str()).unwrap();
                memory.observe(&agent_says(&conversation, 1), None).await.unwrap();
                let request = agent_says(&conversation, 2);
                let left = async {
                    for _ in 0..random.below(400) {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    biased;
                    answered = memory.observe(&request, None) => drop(answered.unwrap()),
                    () = left => {}
                }
                // The first reading may come before the write, the second comes after it: the writer keeps the order.
                memory.get(&id, 0, 0).await.unwrap();
                memory.observe(&agent_says(&format!("fence-{n}"), round), None).await.unwrap();
                let told = memory.get(&id, 0, 0).await.unwrap();
                let (stored, state) = (told.stored.inputs, told.conversation.unwrap().inputs);
                if stored != state {
                    wrong.push(format!("{conversation}: {stored} inputs are stored, the state is that after {state}"));
                }
            }
            wrong
        });
    }
    let wrong: Vec<String> = soon("the callers", callers.join_all()).await.into_iter().flatten().collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_while_the_server_was_stopped_is_there() {
    let home = Home::new();
    let mut server = home.serve(&[]).await;
    let (sent, mut said) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for n in 0..16 {
        let (client, sent) = (server.client.clone(), sent.clone());
        clients.spawn(async move {
            for sequence in 1.. {
                let request = of("ada", say(&format!("c{n}"), sequence, &format!("hello {sequence}")));
                match client.observe(request.clone()).await {
                    Ok(response) => sent.send((request, response)).unwrap(),
                    // The drain, or the connection that it ended: what tonic makes of that differs.
                    Err(_) => break,
                }
            }
        });
    }
    drop(sent);
    let mut answered = Vec::new();
    for _ in 0..100 {
        answered.push(soon("a message", said.recv()).await.unwrap());
    }
    server.stop().await;
    soon("the clients", clients.join_all()).await;
    while let Ok(message) = said.try_recv() {
        answered.push(message);
    }
    assert!(home.replayed().values().all(Option::is_some));
    server = home.serve(&[]).await;
    for (request, response) in answered {
        assert_eq!(server.client.said(request).await, response);
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_store_takes_nothing_more_and_loses_nothing() {
    let home = Home::new();
    let mut server = home.serve(&["store.bytes_max=400000"]).await;
    let text = "a lawyer ".repeat(1000);
    let mut answers = Vec::new();
    let refusal = loop {
        let request = of("ada", say("c", u32::try_from(answers.len()).unwrap() + 1, &text));
        match server.client.observe(request.clone()).await {
            Ok(response) => answers.push((request, response)),
            Err(status) => break status,
        }
        assert!(answers.len() < 100, "the store does not get full");
    };
    assert_eq!(refusal.code(), Code::Unavailable, "{refusal}");
    for settings in [&["store.bytes_max=400000"][..], &[]] {
        for (request, response) in &answers {
            assert_eq!(server.client.said(request.clone()).await, *response);
        }
        server.stop().await;
        server = home.serve(settings).await;
    }
    let next = u32::try_from(answers.len()).unwrap() + 1;
    server.client.said(of("ada", say("c", next, &text))).await;
    server.stop().await;
    assert_eq!(home.replayed()["c"], Some(u64::from(next)));
}

// ---------------------------------------------------------------- scoring that fails or is late

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_cannot_be_scored_is_decided_without_signals_and_stays_so() {
    let home = Home::new();
    let mut server = home.serve(&["store.score_timeout_ms=1"]).await;
    server.engine.set(Engine::Closed);
    let late = server.client.said(of("ada", say("late", 1, "my refund is late"))).await;
    assert_eq!((late.unscored(), &late.signals, by(&late)), (pb::UnscoredReason::Late, &None, ""));
    let spoken = server.client.said(agent("late", 2, "let me look")).await;
    assert_eq!(spoken.unscored(), pb::UnscoredReason::NotAsked);
    server.stop().await;
    server = home.serve(&[]).await;
    server.engine.set(Engine::Poisoned);
    let failed = server.client.said(say("failed", 1, "where is my money")).await;
    server.engine.set(Engine::Panics);
    let panicked = server.client.said(say("panicked", 1, "where is my card")).await;
    server.engine.set(Engine::Open);
    for (conversation, answer, reason, text, words) in [
        ("late", &late, pb::UnscoredReason::Late, "my refund is late", "scoring late"),
        ("failed", &failed, pb::UnscoredReason::Failed, "where is my money", "scoring failed"),
        ("panicked", &panicked, pb::UnscoredReason::Failed, "where is my card", "scoring failed"),
    ] {
        assert_eq!((answer.unscored(), &answer.signals), (reason, &None), "{conversation}");
        let mut again = say(conversation, 1, text);
        again.customer_id = (conversation == "late").then(|| "ada".to_owned());
        assert_eq!(server.client.said(again).await, *answer, "{conversation}");
        let explained = server.client.explain(conversation, 1).await.unwrap();
        assert!(
            explained.words.contains(words) || explained.words.contains(&words.replace(' ', "_")),
            "{conversation}: {}",
            explained.words
        );
        let next = if conversation == "late" { 3 } else { 2 };
        let goes_on = server.client.said(say(conversation, next, ASKS)).await;
        assert_eq!((goes_on.unscored(), goes_on.signals.is_some(), by(&goes_on)), (pb::UnscoredReason::Unspecified, true, "asks"));
    }
    server.stop().await;
    let all = [("failed", 2), ("late", 3), ("panicked", 2)].map(|(id, inputs)| (id.to_owned(), Some(inputs)));
    assert_eq!(home.replayed(), BTreeMap::from(all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_with_less_time_than_scoring_may_take_gets_a_decision_without_signals() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    server.engine.set(Engine::Closed);
    // Without the wire, which would end the call as well, and sooner on a busy machine.
    let text = "where is my refund".to_owned();
    let request = Observe { speaker: Speaker::Customer, text, ..agent_says("c", 1) };
    let deadline = baton::service::clock::now() + Duration::from_millis(200);
    let answered = soon("a decision", server.memory().observe(&request, Some(deadline))).await.unwrap();
    assert_eq!(answered.unscored.map(|unscored| unscored.as_str()), Some("scoring_late"));
    server.engine.set(Engine::Open);
    let again = server.client.said(say("c", 1, "where is my refund")).await;
    assert_eq!((again.unscored(), digest(&again)), (pb::UnscoredReason::Late, answered.receipt.to_string().as_str()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waits_behind_another_message_longer_than_they_may_changes_nothing() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let calls = *server.engine.calls.borrow();
    server.engine.set(Engine::Closed);
    let client = server.client.clone();
    let first = tokio::spawn(async move { client.observe(say("c", 1, "where is my refund")).await });
    server.engine.until_calls(calls + 1).await;
    let deadline = baton::service::clock::now() + Duration::from_millis(20);
    let late = soon("an answer", server.memory().observe(&agent_says("c", 2), Some(deadline))).await.map(drop);
    assert_eq!(Status::from(late.unwrap_err()).code(), Code::DeadlineExceeded);
    server.engine.set(Engine::Open);
    first.await.unwrap().unwrap();
    assert_eq!(server.client.get("c").await.unwrap().next_sequence, 2);
    server.client.said(agent("c", 2, "hello")).await;
}

// ---------------------------------------------------------------- another policy

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_that_is_read_again_decides_from_then_on_and_the_old_decisions_stay_explained() {
    let home = Home::new();
    let mut server = home.serve(&[]).await;
    let first = server.client.policy_digest().await;
    let before = server.client.said(say("c", 1, "a lawyer will sue you")).await;
    assert_eq!((by(&before), &decided(&before).policy_digest), ("", &first));
    // Not broken in one way only.
    for broken in [
        "",
        "[[trigger]]",
        &POLICY.replace("asks_for_person()", "asks_for_persons()"),
        &POLICY.replace("queue = \"general\"", "queue = \"x\""),
    ] {
        home.place.write("policy.toml", broken);
        let status = server.client.reload().await.unwrap_err();
        assert!(status.code() == Code::FailedPrecondition && status.message().contains("policy"), "{status:?}");
        assert_eq!(server.client.policy_digest().await, first);
    }
    fs::remove_file(home.place.path("policy.toml")).unwrap();
    assert_eq!(server.client.reload().await.unwrap_err().code(), Code::FailedPrecondition);
    let held = server.client.said(say("c", 2, "hello")).await;
    assert_eq!(decided(&held).policy_digest, first, "the old one goes on");
    let text =
        POLICY.replace("when = 'asks_for_person()'", "when = 'asks_for_person() || says(\"sue you\")'").replace("\"asks\"", "\"wants\"");
    home.place.write("policy.toml", &text);
    let reloaded = server.client.reload().await.unwrap();
    let second = server.client.policy_digest().await;
    assert_ne!(first, second);
    assert_eq!((&reloaded.policy_digest, &reloaded.previous_policy_digest, reloaded.scenarios), (&second, &first, 0));
    let after = server.client.said(say("c", 3, "a lawyer will sue you")).await;
    assert_eq!((by(&after), &decided(&after).policy_digest), ("wants", &second));
    for round in ["at once", "after a restart"] {
        assert_eq!(server.client.said(say("c", 1, "a lawyer will sue you")).await, before, "{round}");
        assert_eq!(server.client.said(say("c", 3, "a lawyer will sue you")).await, after, "{round}");
        for (sequence, answer, policy, trigger) in [(1, &before, &first, "asks"), (2, &held, &first, "asks"), (3, &after, &second, "wants")]
        {
            let explained = server.client.explain("c", sequence).await.unwrap();
            assert_eq!((explained.receipt_digest.as_str(), &explained.policy_digest), (digest(answer), policy), "{round}, {sequence}");
            assert!(explained.json.contains(&format!("\"{trigger}\"")), "{round}, {sequence}: {}", explained.json);
        }
        let same = server.client.reload().await.unwrap();
        assert_eq!((same.policy_digest, same.previous_policy_digest), (second.clone(), second.clone()));
        server.stop().await;
        assert_eq!(home.replayed()["c"], Some(3));
        server = home.serve(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_decision_is_that_of_one_policy_although_policies_change_meanwhile() {
    let home = Home::new();
    let server = home.serve(&["store.cached=2"]).await;
    let reloads = watch::Sender::new(0);
    let mut clients = JoinSet::new();
    for n in 0..8 {
        let (client, reloads) = (server.client.clone(), reloads.subscribe());
        clients.spawn(async move {
            let (conversation, mut answers) = (format!("c{n}"), Vec::new());
            while *reloads.borrow() < 6 {
                let sequence = u32::try_from(answers.len()).unwrap() + 1;
                answers.push(client.said(of("ada", say(&conversation, sequence, "hello"))).await);
            }
            (conversation, answers)
        });
    }
    let mut digests = BTreeSet::new();
    for reload in 1..=6 {
        home.place.write("policy.toml", format!("{POLICY}\n# {}", reload % 2));
        digests.insert(server.client.reload().await.unwrap().policy_digest);
        reloads.send(reload).unwrap();
    }
    assert_eq!(digests.len(), 2);
    for (conversation, answers) in soon("the clients", clients.join_all()).await {
        for answer in answers.iter().rev().take(5) {
            let explained = server.client.explain(&conversation, answer.sequence).await.unwrap();
            assert_eq!((&explained.policy_digest, explained.receipt_digest.as_str()), (&decided(answer).policy_digest, digest(answer)));
        }
    }
    server.stop().await;
    assert!(home.replayed().values().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_model_goes_on_where_the_one_before_stopped_and_answers_what_that_answered() {
    let mut home = Home::new();
    let mut answers = Vec::new();
    for (round, model) in (1..).zip([TINY, SHIPPED, TINY]) {
        home.model = model;
        let server = home.serve(&[]).await;
        for sequence in 20 * round - 19..=20 * round {
            let text = format!("where is my refund {sequence}");
            let request = if sequence % 3 == 0 { bot("c", sequence, &text) } else { of("ada", say("c", sequence, &text)) };
            answers.push((request.clone(), server.client.said(request).await));
            server.client.event(heard(&format!("e{sequence}"), "c")).await.unwrap();
        }
        for (request, answer) in &answers {
            assert_eq!(server.client.said(request.clone()).await, *answer, "round {round}");
            let explained = server.client.explain("c", request.sequence).await.unwrap();
            assert_eq!(explained.receipt_digest, digest(answer), "round {round}");
        }
        server.stop().await;
        assert_eq!(home.replayed()["c"], Some(40 * u64::from(round)));
    }
    let models: BTreeSet<&str> = answers.iter().map(|(_, answer)| decided(answer).model_digest.as_str()).collect();
    assert_eq!(models.len(), 2);
}

// ---------------------------------------------------------------- why

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_decision_is_explained_by_the_receipt_of_its_answer() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    refused(server.client.explain("c", 0).await, Code::NotFound, "conversation_id: ");
    let hello = server.client.said(say("c", 1, "hello")).await;
    let last = server.client.explain("c", 0).await.unwrap();
    assert_eq!((last.sequence, last.input, last.receipt_digest.as_str()), (1, 1, digest(&hello)), "nothing was decided: the last input");
    server.client.facts(lookup("l", "c", "gold")).await.unwrap();
    let last = server.client.explain("c", 0).await.unwrap();
    assert_eq!((last.sequence, last.input), (1, 2), "nothing was decided: the last input, which was no message");
    let asks = server.client.said(say("c", 2, ASKS)).await;
    server.client.said(say("c", 3, "hello")).await;
    let put = server.client.facts(lookup("l2", "c", "silver")).await.unwrap();
    for (sequence, expected, input) in [(1, &hello, 1), (2, &asks, 3), (0, &asks, 3)] {
        let explained = server.client.explain("c", sequence).await.unwrap();
        assert_eq!((explained.receipt_digest.as_str(), explained.input), (digest(expected), input), "sequence {sequence}");
        assert_eq!(explained.policy_digest, decided(expected).policy_digest);
        let json: serde_json::Value = serde_json::from_str(&explained.json).unwrap();
        assert_eq!(json["receipt"], digest(expected));
        assert_eq!(json["trigger"].as_str().unwrap_or_default(), by(expected), "{json}");
        assert!(explained.words.contains("asks for a person"), "{}", explained.words);
    }
    assert_ne!(put.change.unwrap().decision.unwrap().receipt_digest, digest(&asks));
    // What a customer wrote and what is known of the account stay out of it.
    server.client.facts(lookup("private", "p", PLANTED)).await.unwrap();
    server.client.said(say("p", 1, &format!("a lawyer will sue you, {PLANTED}"))).await;
    let private = server.client.explain("p", 1).await.unwrap();
    assert!(!format!("{private:?}").contains(PLANTED), "{private:?}");
    for sequence in [4, u32::MAX] {
        refused(server.client.explain("c", sequence).await, Code::NotFound, "sequence: ");
    }
    refused(server.client.explain("d", 1).await, Code::NotFound, "conversation_id: ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_of_an_input_is_told() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    for sequence in 1..=3 {
        server.client.said(of("ada", say("c", sequence, "where is my refund"))).await;
    }
    server.stop().await;
    let input: Vec<u8> = home.database().query_row("SELECT input FROM journal WHERE ordinal = 2", [], |row| row.get(0)).unwrap();
    let write = |bytes: &[u8]| home.database().execute("UPDATE journal SET input = ?1 WHERE ordinal = 2", [bytes]).unwrap();
    // The request's place says that it is none, the rest is hashed: no byte is spare.
    let mut unseen = Vec::new();
    for place in 0..input.len() {
        let mut changed = input.clone();
        changed[place] ^= 1;
        write(&changed);
        let store = Store::open(&home.data(), Limits::default()).unwrap();
        let editions = Editions::open(&home.data()).unwrap();
        if !matches!(replay(&store, &editions, &Id::new("c").unwrap()), Ok(Replayed::Differs(_))) {
            unseen.push(place);
        }
        store.close().unwrap();
    }
    assert!(unseen.is_empty(), "of {} bytes, these may change unseen: {unseen:?}", input.len());
    let mut changed = input.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    write(&changed);
    let server = home.serve(&[]).await;
    for sequence in [0, 2, 3] {
        assert_eq!(server.client.explain("c", sequence).await.unwrap_err().code(), Code::DataLoss, "{sequence}");
    }
    assert!(server.client.explain("c", 1).await.is_ok(), "what came before is sound");
    assert_eq!(server.client.observe(say("c", 4, "hello")).await.unwrap_err().code(), Code::DataLoss);
    server.client.said(say("other", 1, "hello")).await;
    server.stop().await;
    write(&input);
    assert_eq!(home.replayed()["c"], Some(3));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_owner_epoch_or_time_of_an_answer_is_told() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let mut signals = server.client.said(say("c", 1, "where is my refund")).await.signals.unwrap();
    server.stop().await;
    let answer: Vec<u8> = home.database().query_row("SELECT answer FROM journal", [], |row| row.get(0)).unwrap();
    for found in [&mut signals.sentiment, &mut signals.intent].into_iter().flatten() {
        found.probabilities.iter_mut().for_each(|label| label.label.clear());
    }
    signals.emotion.as_mut().unwrap().probabilities.iter_mut().for_each(|label| label.label.clear());
    let signals = signals.encode_to_vec();
    assert!(answer.ends_with(&signals), "the signals come last");
    let mut unseen = Vec::new();
    for place in 0..answer.len() - signals.len() {
        let mut changed = answer.clone();
        changed[place] ^= 1;
        home.database().execute("UPDATE journal SET answer = ?1", [&changed]).unwrap();
        let store = Store::open(&home.data(), Limits::default()).unwrap();
        let editions = Editions::open(&home.data()).unwrap();
        if matches!(replay(&store, &editions, &Id::new("c").unwrap()), Ok(Replayed::Same { .. })) {
            unseen.push(place);
        }
        store.close().unwrap();
    }
    assert!(unseen.is_empty(), "of {} bytes before the signals, these may change unseen: {unseen:?}", answer.len() - signals.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_byte_of_a_snapshot_is_told_before_it_decides() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    for sequence in 1..=16 {
        server.client.said(say("c", sequence, &format!("where is my refund {sequence}"))).await;
    }
    server.stop().await;
    let state: Vec<u8> = home.database().query_row("SELECT state FROM snapshots", [], |row| row.get(0)).unwrap();
    let sound = fs::read(home.data().join(DATABASE)).unwrap();
    let mut unseen = Vec::new();
    for place in (0..state.len()).step_by(state.len() / 24) {
        fs::write(home.data().join(DATABASE), &sound).unwrap();
        let mut changed = state.clone();
        changed[place] ^= 1;
        home.database().execute("UPDATE snapshots SET state = ?1", [&changed]).unwrap();
        let server = home.serve(&[]).await;
        let said = server.client.observe(say("c", 17, "hello")).await;
        server.stop().await;
        let store = Store::open(&home.data(), Limits::default()).unwrap();
        let editions = Editions::open(&home.data()).unwrap();
        let replayed = replay(&store, &editions, &Id::new("c").unwrap()).unwrap();
        store.close().unwrap();
        if said.is_ok() && replayed != (Replayed::Same { inputs: 17 }) {
            unseen.push((place, replayed));
        }
    }
    assert!(unseen.is_empty(), "of {} bytes, these changed what was decided next: {unseen:?}", state.len());
}

// ---------------------------------------------------------------- the end of a conversation

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_closed_conversation_keeps_its_outcome_until_the_customer_opens_it_again() {
    use pb::Outcome::{Abandoned, Resolved, Unresolved, Unspecified};
    let home = Home::new();
    let mut server = home.serve(&[]).await;
    refused(server.client.close("c", Resolved).await, Code::NotFound, "conversation_id: ");
    refused(server.client.satisfaction("c", 3).await, Code::NotFound, "conversation_id: ");
    let asked = server.client.said(of("ada", say("c", 1, ASKS))).await;
    assert_eq!((asked.owner(), asked.epoch), (pb::Owner::Nobody, 2));
    let closed = server.client.close("c", Resolved).await.unwrap();
    for round in ["at once", "after a restart"] {
        assert_eq!(server.client.close("c", Resolved).await.unwrap(), closed, "{round}");
        for other in [Unresolved, Abandoned] {
            refused(server.client.close("c", other).await, Code::FailedPrecondition, "outcome: ");
        }
        for score in [5, 1, 4] {
            server.client.satisfaction("c", score).await.unwrap();
        }
        let told = server.client.get("c").await.unwrap();
        assert_eq!((told.outcome(), told.closed_at, told.satisfaction), (Resolved, closed.closed_at, Some(4)), "{round}");
        server.stop().await;
        server = home.serve(&[]).await;
    }
    // Neither the bot, nor a person, nor what happens elsewhere opens it.
    server.client.said(bot("c", 2, "was that helpful?")).await;
    server.client.said(agent("c", 3, "bye")).await;
    server.client.event(heard("e", "c")).await.unwrap();
    server.client.facts(lookup("l", "c", "gold")).await.unwrap();
    assert_eq!(server.client.get("c").await.unwrap().outcome(), Resolved);
    let opened = server.client.said(say("c", 4, "hello again")).await;
    assert_eq!((opened.owner(), opened.epoch), (pb::Owner::Bot, 4), "the person who said bye had it, and their part is over");
    for round in ["at once", "after a restart"] {
        let told = server.client.get("c").await.unwrap();
        assert_eq!(
            (told.outcome(), told.closed_at, told.satisfaction, told.owner(), told.epoch),
            (Unspecified, None, Some(4), pb::Owner::Bot, 4),
            "{round}"
        );
        assert_eq!(
            (told.handoff, told.inputs, told.next_sequence),
            (None, 7, 5),
            "four messages, an event, a lookup and the return; {round}"
        );
        server.stop().await;
        server = home.serve(&[]).await;
    }
    assert_eq!(server.client.said(say("c", 4, "hello again")).await, opened);
    let asked = server.client.said(say("c", 5, ASKS)).await;
    assert_eq!((by(&asked), asked.epoch), ("asks", 5), "it can be handed over again");
    server.client.close("c", Unresolved).await.unwrap();
    server.stop().await;
    assert_eq!(home.replayed()["c"], Some(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_conversation_is_closed_gives_way_and_keeps_its_handoff() {
    let home = Home::new();
    let server = home.serve(&["store.idle_close_secs=3600"]).await;
    let at = |request, hours: i64| pb::ObserveRequest { at: ago(hours * 3_600_000), ..request };
    server.client.said(at(say("old", 1, ASKS), 3)).await;
    server.client.said(at(say("said", 1, "hello"), 3)).await;
    server.client.said(at(say("young", 1, "hello"), 0)).await;
    let swept = server.memory().sweep(now()).await.unwrap();
    assert_eq!((swept.closed, swept.deleted), (2, 0));
    assert_eq!(server.memory().sweep(now()).await.unwrap().closed, 0);
    let outcomes = async |ids: [&str; 3]| {
        let mut all = Vec::new();
        for id in ids {
            all.push(server.client.get(id).await.unwrap().outcome());
        }
        all
    };
    use pb::Outcome::{Idle, Resolved, Unspecified};
    assert_eq!(outcomes(["old", "said", "young"]).await, [Idle, Idle, Unspecified]);
    server.client.close("said", Resolved).await.unwrap();
    let back = server.client.said(say("old", 2, "hello?")).await;
    assert_eq!((back.owner(), back.epoch), (pb::Owner::Nobody, 2), "nobody ended the person's part");
    assert_eq!(outcomes(["old", "said", "young"]).await, [Unspecified, Resolved, Unspecified]);
    server.stop().await;
    assert_eq!(home.replayed().into_values().sum::<Option<u64>>(), Some(4));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn conversations_that_lookups_keep_open_do_not_keep_others_open() {
    let home = Home::new();
    let server = home.serve(&["store.idle_close_secs=3600"]).await;
    let mut clients = JoinSet::new();
    for n in 0..256 {
        let client = server.client.clone();
        clients.spawn(async move {
            let conversation = format!("kept-{n}");
            client.said(pb::ObserveRequest { at: ago(4 * 3_600_000), ..say(&conversation, 1, "hello") }).await;
            client.facts(lookup("l", &conversation, "gold")).await.unwrap();
        });
    }
    clients.join_all().await;
    server.client.said(pb::ObserveRequest { at: ago(3 * 3_600_000), ..say("idle", 1, "hello") }).await;
    let swept = server.memory().sweep(now()).await.unwrap();
    assert_eq!((swept.closed, server.client.get("idle").await.unwrap().outcome()), (1, pb::Outcome::Idle));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_for_its_age_is_gone_and_its_id_begins_anew() {
    let home = Home::new();
    let settings = ["store.retention_days=10", "store.idle_close_secs=0"];
    let mut server = home.serve(&settings).await;
    server.client.said(of("ada", say("c", 1, &format!("{PLANTED} hello")))).await;
    server.client.close("c", pb::Outcome::Resolved).await.unwrap();
    server.client.said(of("bob", say("open", 1, "hello"))).await;
    assert_eq!(server.memory().sweep(later(now(), 9 * DAY_MS)).await.unwrap(), baton::service::memory::Swept::default());
    let swept = server.memory().sweep(later(now(), 12 * DAY_MS)).await.unwrap();
    assert_eq!((swept.closed, swept.deleted, swept.customers_deleted), (0, 1, 1));
    server.stop().await;
    server = home.serve(&settings).await;
    refused(server.client.get("c").await, Code::NotFound, "conversation_id: ");
    server.client.said(of("bob", say("c", 1, "hello"))).await;
    assert_eq!(server.client.get("open").await.unwrap().next_sequence, 2);
    server.stop().await;
    assert_eq!(home.replayed().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_just_deleted_for_its_age_is_not_taken_for_known() {
    let home = Home::new();
    let server = home.serve(&["store.retention_days=10"]).await;
    for id in ["c", "d", "e"] {
        server.client.said(of("ada", say(id, 1, "hello"))).await;
        server.client.close(id, pb::Outcome::Resolved).await.unwrap();
    }
    assert_eq!(server.memory().sweep(later(now(), 12 * DAY_MS)).await.unwrap().deleted, 3);
    let mut wrong = Vec::new();
    let satisfaction = server.client.satisfaction("c", 3).await;
    if !satisfaction.as_ref().is_err_and(|status| status.code() == Code::NotFound) {
        wrong.push(format!("satisfaction: {satisfaction:?}"));
    }
    let closed = server.client.close("e", pb::Outcome::Resolved).await;
    if !closed.as_ref().is_err_and(|status| status.code() == Code::NotFound) {
        wrong.push(format!("close: {closed:?}"));
    }
    let begun = server.client.observe(say("d", 1, "hello")).await;
    if begun.is_err() {
        wrong.push(format!("the first message of a new conversation: {begun:?}"));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_known_of_a_customer_who_was_deleted_for_their_age_decides_nothing() {
    let home = Home::new();
    let server = home.serve(&["store.retention_days=1"]).await;
    for n in 0..3 {
        server.client.event(visit(&format!("v{n}"), "ada")).await.unwrap();
    }
    assert_eq!(server.memory().sweep(later(now(), 3 * DAY_MS)).await.unwrap().customers_deleted, 1);
    assert_eq!(by(&server.client.said(of("ada", bot("c", 1, "hello"))).await), "", "three visits, but they were deleted");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_ahead_of_the_clock_or_before_the_last_counts_as_now_and_as_the_last() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let at = |request, millis| pb::ObserveRequest { at: ago(millis), ..request };
    let millis = |at: Option<prost_types::Timestamp>| at.map(|at| at.seconds * 1000 + i64::from(at.nanos) / 1_000_000).unwrap();
    let before = now().millis();
    let ahead = server.client.said(at(say("c", 1, "hello"), -DAY_MS)).await;
    assert!((before..=now().millis()).contains(&millis(ahead.at)), "{ahead:?}");
    let behind = server.client.said(at(say("c", 2, "hello"), DAY_MS)).await;
    assert_eq!(behind.at, ahead.at);
    let first = pb::ObserveRequest { at: Some(prost_types::Timestamp::default()), ..say("d", 1, "hello") };
    assert_eq!(millis(server.client.said(first).await.at), 0);
    let told = server.client.get("d").await.unwrap();
    assert_eq!((millis(told.started_at), millis(told.last_at)), (0, 0));
    server.client.said(say("d", 2, "hello")).await;
    server.stop().await;
    assert_eq!(home.replayed(), BTreeMap::from(["c", "d"].map(|id| (id.to_owned(), Some(2)))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_conversation_is_deleted_for_its_age_like_any_other() {
    let home = Home::new();
    let server = home.serve(&["store.retention_days=10"]).await;
    server.client.said(of("ada", say("c", 1, "hello"))).await;
    server.client.erase("ada").await;
    // Idle after a day; ten days later it is old.
    for days in [2, 30, 400] {
        server.memory().sweep(later(now(), days * DAY_MS)).await.unwrap();
    }
    refused(server.client.get("c").await, Code::NotFound, "conversation_id: ");
}

// ---------------------------------------------------------------- the customer across conversations

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn contacts_count_for_their_customer_alone_whenever_it_is_said_who_that_is() {
    let home = Home::new();
    let server = home.serve(&["store.cached=1"]).await;
    let client = &server.client;
    // Others, and nobody, do not count.
    for n in 0..4 {
        client.said(of("bob", say(&format!("b{n}"), 1, "hello"))).await;
        client.said(say(&format!("n{n}"), 1, "hello")).await;
    }
    assert_eq!(by(&client.said(of("ada", say("a1", 1, "hello"))).await), "");
    assert_eq!(by(&client.said(of("ada", say("a2", 1, "hello"))).await), "");
    assert_eq!(by(&client.said(say("a3", 1, "hello")).await), "", "nobody said who it is");
    assert_eq!(by(&client.said(of("ada", say("a3", 2, "hello"))).await), "again", "the third");
    assert_eq!(by(&client.said(of("bob", say("b4", 1, "hello"))).await), "again");
    // What the backend knows of earlier ones.
    let carol = pb::PutFactsRequest {
        customer_id: Some("carol".into()),
        past_contacts: vec![past("p1"), past("p2"), past("p1")],
        ..lookup("l", "k", "gold")
    };
    let change = client.facts(carol).await.unwrap().change.unwrap();
    assert_eq!(change.decision.unwrap().trigger_id.as_deref(), Some("again"), "two contacts and this one");
    let old = pb::PastContact { at: ago(31 * DAY_MS), ..past("p2") };
    let dave = pb::PutFactsRequest { customer_id: Some("dave".into()), past_contacts: vec![past("p1"), old], ..lookup("l", "m", "gold") };
    assert_eq!(client.facts(dave).await.unwrap().change.unwrap().decision.unwrap().trigger_id, None, "one is too old");
    refused(
        client.facts(pb::PutFactsRequest { past_contacts: vec![past("p1")], ..lookup("l", "n1", "gold") }).await,
        Code::FailedPrecondition,
        "customer_id: ",
    );
    // Who the customer is does not change.
    for request in [of("bob", say("a1", 2, "hello")), of("bob", bot("a1", 2, "hello"))] {
        refused(client.observe(request).await, Code::FailedPrecondition, "customer_id: ");
    }
    let event = pb::RecordEventRequest { customer_id: Some("bob".into()), ..heard("e", "a1") };
    refused(client.event(event).await, Code::FailedPrecondition, "customer_id: ");
    refused(client.event(heard("e", "n1")).await, Code::FailedPrecondition, "customer_id: ");
    let facts = pb::PutFactsRequest { customer_id: Some("bob".into()), ..lookup("l", "a1", "gold") };
    refused(client.facts(facts).await, Code::FailedPrecondition, "customer_id: ");
    let told = client.get("a1").await.unwrap();
    assert_eq!((told.customer_id.as_deref(), told.inputs), (Some("ada"), 1));
    server.stop().await;
    assert!(home.replayed().values().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_contact_counts_although_a_lookup_or_an_event_said_last_who_it_was() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let client = &server.client;
    client.said(say("a1", 1, "hello")).await;
    client.facts(pb::PutFactsRequest { customer_id: Some("ada".into()), ..lookup("l", "a1", "gold") }).await.unwrap();
    client.said(say("a2", 1, "hello")).await;
    client.event(pb::RecordEventRequest { customer_id: Some("ada".into()), ..heard("e", "a2") }).await.unwrap();
    assert_eq!(by(&client.said(of("ada", say("a3", 1, "hello"))).await), "again", "the third");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_count_in_their_window_in_whatever_order_they_come() {
    let home = Home::new();
    let mut server = home.serve(&[]).await;
    let at = |event: pb::RecordEventRequest, days: i64| pb::RecordEventRequest { at: ago(days * DAY_MS), ..event };
    for event in [
        at(visit("e1", "ada"), 6),
        at(visit("e2", "ada"), 8),
        at(visit("e3", "ada"), 1),
        pb::RecordEventRequest { name: "/prices".into(), ..visit("e4", "ada") },
        pb::RecordEventRequest { kind: "purchase".into(), ..visit("e5", "ada") },
        visit("e6", "bob"),
    ] {
        server.client.event(event.clone()).await.unwrap();
        server.client.event(event).await.unwrap();
    }
    assert_eq!(by(&server.client.said(of("ada", say("c", 1, "hello"))).await), "", "two visits in the window");
    server.stop().await;
    server = home.serve(&[]).await;
    let change = server.client.event(at(heard("e7", "c"), 0)).await.unwrap().change.unwrap();
    assert_eq!(change.decision.unwrap().trigger_id.as_deref(), Some("visits"), "the third");
    assert_eq!(change.epoch, 2);
    server.stop().await;
    assert_eq!(home.replayed()["c"], Some(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_sent_again_counts_once_whichever_conversation_hears_of_it() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    server.client.said(of("ada", say("c", 1, "hello"))).await;
    let both = pb::RecordEventRequest { conversation_id: Some("c".into()), ..visit("e", "ada") };
    server.client.event(visit("e", "ada")).await.unwrap();
    let heard_too = server.client.event(both.clone()).await;
    server.client.event(both).await.ok();
    let elsewhere = server.client.event(pb::RecordEventRequest { conversation_id: Some("d".into()), ..visit("e", "ada") }).await;
    let change = server.client.said(of("ada", say("c", 2, "hello"))).await;
    assert_eq!(by(&change), "", "one event counts as three: {heard_too:?} {elsewhere:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_third_contact_about_one_issue_is_known_by_its_meaning() {
    let home = Home::shipped();
    let mut server = home.serve(&[]).await;
    let refund = ["I still have not received my refund.", "My refund has not arrived yet.", "Where is my refund? It has not come."];
    assert_eq!(by(&server.client.said(of("ada", say("a1", 1, refund[0]))).await), "");
    server.client.close("a1", pb::Outcome::Unresolved).await.unwrap();
    assert_eq!(by(&server.client.said(of("ada", say("a2", 1, refund[1]))).await), "");
    server.client.said(of("bob", say("b1", 1, refund[0]))).await;
    server.client.said(of("bob", say("b2", 1, "How do I change my password?"))).await;
    server.stop().await;
    server = home.serve(&[]).await;
    assert_eq!(by(&server.client.said(of("bob", say("b3", 1, refund[2]))).await), "", "the second about this");
    let third = server.client.said(of("ada", say("a3", 1, refund[2]))).await;
    assert_eq!((by(&third), third.owner()), ("repeat-contact", pb::Owner::Nobody));
    let words = server.client.explain("a3", 0).await.unwrap().words;
    assert!(words.contains("contacts about this issue in 30 days 3"), "{words}");
    assert_eq!(by(&server.client.said(of("eve", say("e1", 1, "I want to talk to a person."))).await), "asks-for-person");
    server.stop().await;
    assert!(home.replayed().values().all(Option::is_some));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_issue_that_was_solved_before_it_was_known_whose_it_is_stays_solved() {
    let home = Home::shipped();
    let server = home.serve(&[]).await;
    let refund = "I still have not received my refund.";
    for id in ["a1", "a2"] {
        server.client.said(say(id, 1, refund)).await;
        server.client.close(id, pb::Outcome::Resolved).await.unwrap();
        server.client.said(of("ada", bot(id, 2, "Was that helpful?"))).await;
    }
    assert_eq!(by(&server.client.said(of("ada", say("a3", 1, refund))).await), "", "the first that is not solved");
}

// ---------------------------------------------------------------- without texts

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_texts_neither_words_nor_vectors_are_in_any_file() {
    let text = format!("{PLANTED} where is my refund");
    let issue = format!("{PLANTED} card is wrong");
    let vector = |text: &str| {
        let model = scorer(TINY);
        let signals = model.score(&[ScoreInput { text, proposal: None }]).unwrap().remove(0);
        QuantizedEmbedding::new(signals.embedding.as_ref().unwrap()).values().iter().map(|value| *value as u8).collect::<Vec<_>>()
    };
    let vectors = [vector(&text), vector(&issue)];
    for (keeps, setting) in [(true, "store.text=full"), (false, "store.text=none")] {
        let home = Home::new();
        let mut server = home.serve(&[setting]).await;
        let mut answers = Vec::new();
        let put = pb::PutFactsRequest {
            customer_id: Some("ada".into()),
            past_contacts: vec![pb::PastContact { text: Some(issue.clone()), ..past("p") }],
            ..lookup("l", "c", "gold")
        };
        server.client.facts(put.clone()).await.unwrap();
        for sequence in 1..=20 {
            let request = if sequence % 4 == 0 { bot("c", sequence, &text) } else { say("c", sequence, &text) };
            answers.push((request.clone(), server.client.said(request).await));
        }
        answers.push((say("c", 21, ASKS), server.client.said(say("c", 21, ASKS)).await));
        assert_eq!(by(&answers[20].1), "asks", "{setting}");
        let held =
            |home: &Home| (!home.holding(PLANTED.as_bytes()).is_empty(), vectors.iter().any(|vector| !home.holding(vector).is_empty()));
        assert_eq!(held(&home), (keeps, keeps), "{setting}, while it serves");
        for round in ["at once", "after a restart"] {
            for (request, first) in &answers {
                assert_eq!(server.client.said(request.clone()).await, *first, "{setting}, {round}");
            }
            refused(server.client.observe(say("c", 1, "other words")).await, Code::AlreadyExists, "text: ");
            let told = server.client.get("c").await.unwrap();
            assert_eq!(told.messages.iter().filter(|message| message.text.is_some()).count(), if keeps { 21 } else { 0 }, "{setting}");
            server.stop().await;
            assert_eq!(held(&home), (keeps, keeps), "{setting}, {round}");
            server = home.serve(&[setting]).await;
        }
        server.stop().await;
        assert_eq!(home.replayed()["c"], Some(22), "{setting}");
    }
}

// ---------------------------------------------------------------- erasure

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_of_an_erased_customer_is_in_any_file_and_others_are_untouched() {
    let home = Home::new();
    let mut server = home.serve(&[]).await;
    let word = |of: &str| format!("{PLANTED}-{of}");
    let customer = word("customer");
    let planted = ["text", "message", "event", "kind", "name", "own", "tier", "account", "failure", "past", "issue", "customer", "late"];
    for conversation in ["c1", "c2"] {
        for sequence in 1..=20 {
            let request = say(conversation, sequence, &format!("{} hello {sequence}", word("text")));
            server.client.said(of(&customer, pb::ObserveRequest { message_id: format!("{}{sequence}", word("message")), ..request })).await;
        }
    }
    for n in 0..20 {
        let event =
            pb::RecordEventRequest { name: word("event"), kind: word("kind"), ..visit(&format!("{}{n}", word("event")), &customer) };
        server.client.event(event.clone()).await.unwrap();
        let event = pb::RecordEventRequest { conversation_id: Some("c2".into()), event_id: format!("x{n}"), ..event };
        server.client.event(event).await.unwrap();
    }
    let own = [(word("own"), pb::FactValue { value: Some(pb::fact_value::Value::Text(word("own"))) })].into();
    let facts = pb::Facts {
        customer_name: Some(word("name")),
        account_name: Some(word("account")),
        tier: Some(word("tier")),
        own,
        ..pb::Facts::default()
    };
    let past_contact = pb::PastContact { text: Some(word("issue")), ..past(&word("past")) };
    let put = pb::PutFactsRequest {
        facts: Some(facts),
        failure: Some(word("failure")),
        past_contacts: vec![past_contact],
        ..lookup("l", "c1", "")
    };
    server.client.facts(put.clone()).await.unwrap();
    // One whose customer became known last.
    server.client.said(say("c3", 1, &word("late"))).await;
    server.client.facts(pb::PutFactsRequest { customer_id: Some(customer.clone()), ..lookup("l", "c3", "gold") }).await.unwrap();
    let kept = server.client.said(of("bob", say("kept", 1, "nothing of mine"))).await;
    let missing: Vec<&str> = planted.into_iter().filter(|of| home.holding(word(of).as_bytes()).is_empty()).collect();
    assert_eq!(missing, ["issue"], "all but the text of an earlier contact is in a file before");
    let erased = server.client.erase(&customer).await;
    assert_eq!((erased.conversations, erased.inputs), (3, 20 + 20 + 20 + 1 + 2));
    for round in ["at once", "after a restart"] {
        assert_eq!(home.holding(PLANTED.as_bytes()), Vec::<PathBuf>::new(), "{round}");
        for conversation in ["c1", "c2", "c3"] {
            for sequence in [1, 2, 21, 22, 99] {
                let request = say(conversation, sequence, "hello");
                refused(server.client.observe(request.clone()).await, Code::FailedPrecondition, "conversation_id: ");
                refused(server.client.observe(of("bob", request)).await, Code::FailedPrecondition, "conversation_id: ");
            }
            refused(server.client.explain(conversation, 1).await, Code::FailedPrecondition, "conversation_id: ");
            refused(server.client.close(conversation, pb::Outcome::Resolved).await, Code::FailedPrecondition, "conversation_id: ");
            refused(server.client.satisfaction(conversation, 1).await, Code::FailedPrecondition, "conversation_id: ");
            refused(server.client.facts(lookup("new", conversation, "gold")).await, Code::FailedPrecondition, "conversation_id: ");
            let event = pb::RecordEventRequest { conversation_id: Some(conversation.into()), ..visit("new", "bob") };
            refused(server.client.event(event).await, Code::FailedPrecondition, "conversation_id: ");
            let told = server.client.get(conversation).await.unwrap();
            assert!(told.erased && told.messages.is_empty() && told.customer_id.is_none() && told.inputs > 0, "{told:?}");
        }
        assert_eq!(server.client.said(of("bob", say("kept", 1, "nothing of mine"))).await, kept, "{round}");
        assert_eq!(server.client.erase(&customer).await, pb::EraseCustomerResponse::default(), "{round}");
        server.stop().await;
        server = home.serve(&[]).await;
    }
    // They are a new customer, of whom nothing is known.
    let back = server.client.said(of(&customer, say("c4", 1, "hello"))).await;
    assert_eq!(by(&back), "");
    server.stop().await;
    let all = [("c1", None), ("c2", None), ("c3", None), ("c4", Some(1)), ("kept", Some(1))].map(|(id, inputs)| (id.to_owned(), inputs));
    assert_eq!(home.replayed(), BTreeMap::from(all));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_answered_before_an_erasure_is_gone_although_others_go_on_writing() {
    erase_while_clients_write(&[Code::FailedPrecondition, Code::DataLoss]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_while_their_customer_is_erased_is_told_so() {
    for _ in 0..8 {
        erase_while_clients_write(&[Code::FailedPrecondition]).await;
    }
}

/// Sixteen clients write for one customer, who is erased four times meanwhile; a message may be refused with these codes.
async fn erase_while_clients_write(codes: &'static [Code]) {
    let home = Home::new();
    let server = home.serve(&["store.cached=4"]).await;
    let rounds = watch::Sender::new(0);
    let (sent, mut said) = mpsc::unbounded_channel();
    let mut clients = JoinSet::new();
    for n in 0..16 {
        let (client, rounds, sent) = (server.client.clone(), rounds.subscribe(), sent.clone());
        clients.spawn(async move {
            let (mut name, mut sequence, mut after) = (0, 1, 0);
            // Some more after the last erasure, so that what comes later is there.
            while after < 3 {
                after += usize::from(*rounds.borrow() == 4);
                let conversation = format!("c-{n}-{name}");
                let word = format!("{PLANTED}.{n}.{name}.{sequence}.");
                match client.observe(of("ada", say(&conversation, sequence, &word))).await {
                    Ok(_) => {
                        sequence += 1;
                        // Nobody listens after the last round.
                        drop(sent.send(word));
                    }
                    Err(status) => {
                        assert!(codes.contains(&status.code()), "{conversation} {sequence}: {status}");
                        (name, sequence) = (name + 1, 1);
                    }
                }
                client.event(visit(&format!("v-{n}-{name}-{sequence}-{after}"), "ada")).await.unwrap();
            }
        });
    }
    drop(sent);
    let mut answered = BTreeSet::new();
    for round in 1..=4 {
        for _ in 0..48 {
            answered.insert(soon("a message", said.recv()).await.unwrap());
        }
        while let Ok(word) = said.try_recv() {
            answered.insert(word);
        }
        server.client.erase("ada").await;
        let left: Vec<String> = home.planted().intersection(&answered).cloned().collect();
        assert_eq!(left, Vec::<String>::new(), "answered before erasure {round}, and still in a file");
        let conversations: BTreeSet<String> =
            answered.iter().map(|word| word.split('.').skip(1).take(2).collect::<Vec<_>>().join("-")).collect();
        for conversation in conversations {
            let told = server.client.get(&format!("c-{conversation}")).await.unwrap();
            assert!(told.erased && told.started_at.is_none() && told.owner() == pb::Owner::Unspecified, "{round}: {told:?}");
        }
        rounds.send(round).unwrap();
    }
    soon("the clients", clients.join_all()).await;
    server.stop().await;
    let planted = home.planted();
    assert!(!planted.is_empty() && planted.is_disjoint(&answered), "what was said later is there, and nothing else");
    let replayed = home.replayed();
    assert!(replayed.values().any(Option::is_some) && replayed.values().any(Option::is_none));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_leaves_before_an_erasure_is_answered_leaves_nothing_that_decides() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    for n in 0..3 {
        let event = pb::RecordEventRequest { name: format!("/pricing/{PLANTED}"), ..visit(&format!("v{n}"), "ada") };
        server.client.event(event).await.unwrap();
    }
    assert_eq!(by(&server.client.said(of("ada", say("c", 1, "hello"))).await), "visits");
    // A message in the engine holds its conversation, for which the erasure waits once the files are clean.
    let calls = *server.engine.calls.borrow();
    server.engine.set(Engine::Closed);
    let client = server.client.clone();
    let held = tokio::spawn(async move { client.observe(say("c", 2, "where is my refund")).await });
    server.engine.until_calls(calls + 1).await;
    let client = server.client.clone();
    let left = tokio::spawn(async move { client.erase("ada").await });
    let clean = async {
        while !home.holding(PLANTED.as_bytes()).is_empty() {
            tokio::task::yield_now().await;
        }
    };
    soon("the files are clean", clean).await;
    left.abort();
    assert!(left.await.unwrap_err().is_cancelled());
    server.engine.set(Engine::Open);
    refused(held.await.unwrap(), Code::FailedPrecondition, "conversation_id: ");
    assert_eq!(by(&server.client.said(of("ada", bot("d", 1, "hello"))).await), "", "three visits, but they were erased");
}

// ---------------------------------------------------------------- streams

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_keeps_the_order_of_a_conversation_and_a_bad_item_fails_alone() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    let (requests, receiver) = mpsc::channel(1024);
    let mut items = Vec::new();
    for sequence in 1..=200 {
        items.push((format!("c/{sequence}"), Some(say("c", sequence, &format!("hello {sequence}"))), Code::Ok, ""));
        if sequence % 40 == 0 {
            items.push((format!("gap/{sequence}"), Some(say("c", sequence + 2, "hello")), Code::FailedPrecondition, "sequence: "));
            items.push((format!("none/{sequence}"), None, Code::InvalidArgument, "request: "));
            items.push((format!("bad/{sequence}"), Some(say("", sequence, "hello")), Code::InvalidArgument, "conversation_id: "));
            items.push(("x".repeat(257), Some(say("c", sequence + 1, "hello")), Code::InvalidArgument, "id: "));
            items.push((String::new(), Some(say("c", sequence + 1, "hello")), Code::InvalidArgument, "id: "));
            items.push((format!("d/{sequence}"), Some(say("d", sequence / 40, "hello")), Code::Ok, ""));
            items.push((format!("other/{sequence}"), Some(say("c", sequence, "other")), Code::AlreadyExists, "text: "));
        }
    }
    for (id, request, ..) in &items {
        requests.send(pb::ObserveStreamRequest { id: id.clone(), request: request.clone() }).await.unwrap();
    }
    drop(requests);
    let mut answers = answer(server.client.service().observe_stream(ReceiverStream::new(receiver))).await.unwrap();
    let mut found = Vec::new();
    while let Some(item) = soon("an answer", answers.message()).await.unwrap() {
        found.push((item.id, item.result.unwrap().outcome.unwrap()));
    }
    assert_eq!(found.len(), items.len());
    for conversation in ["c/", "d/"] {
        let of = |id: &&String| id.starts_with(conversation);
        let order: Vec<&String> = found.iter().map(|(id, _)| id).filter(of).collect();
        assert_eq!(order, items.iter().map(|(id, ..)| id).filter(of).collect::<Vec<_>>());
    }
    for (id, request, code, words) in &items {
        use pb::observe_result::Outcome;
        let expected = |outcome: &Outcome| match outcome {
            Outcome::Response(response) => *code == Code::Ok && Some(response.sequence) == request.as_ref().map(|request| request.sequence),
            Outcome::Error(error) => error.code == *code as i32 && error.message.starts_with(words),
        };
        let all: Vec<_> = found.iter().filter(|(other, _)| other == id).map(|(_, outcome)| outcome).collect();
        assert!(!all.is_empty() && all.iter().all(|outcome| expected(outcome)), "{id}: {all:?}");
    }
    let told = server.client.get("c").await.unwrap();
    assert_eq!(texts(&told), (1..=200).map(|sequence| format!("hello {sequence}")).collect::<Vec<_>>());
    assert_eq!(server.client.get("d").await.unwrap().next_sequence, 6);
    // A page at a time.
    let page = server.client.get_from("c", 3, 197).await.unwrap();
    assert_eq!(page.messages.iter().map(|message| message.sequence).collect::<Vec<_>>(), [198, 199, 200]);
    for (most, after) in [(0, 0), (1000, 200), (1000, u32::MAX)] {
        assert_eq!(server.client.get_from("c", most, after).await.unwrap().messages, []);
    }
    server.stop().await;
    assert_eq!(home.replayed(), BTreeMap::from([("c".to_owned(), Some(200)), ("d".to_owned(), Some(5))]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_left_half_way_said_nothing_twice_and_left_nothing_out() {
    let home = Home::new();
    let server = home.serve(&[]).await;
    for round in 0..8 {
        let conversation = format!("c{round}");
        let text = |sequence| format!("hello {sequence}");
        let items: Vec<_> = (1..=60).map(|sequence| say(&conversation, sequence, &text(sequence))).collect();
        let (requests, receiver) = mpsc::channel(64);
        for request in items.clone() {
            requests.send(pb::ObserveStreamRequest { id: request.message_id.clone(), request: Some(request) }).await.unwrap();
        }
        let mut answers = answer(server.client.service().observe_stream(ReceiverStream::new(receiver))).await.unwrap();
        for _ in 0..round * 7 {
            soon("an answer", answers.message()).await.unwrap().unwrap();
        }
        drop((answers, requests));
        for request in items {
            server.client.said(request).await;
        }
        let told = server.client.get(&conversation).await.unwrap();
        assert_eq!((told.inputs, texts(&told)), (60, (1..=60).map(text).collect::<Vec<_>>().iter().map(String::as_str).collect()));
    }
    server.stop().await;
    assert!(home.replayed().values().all(|inputs| *inputs == Some(60)));
}

// ---------------------------------------------------------------- anything in any order

/// A conversation as it should be.
#[derive(Debug, Default)]
struct Expected {
    said: Vec<(pb::ObserveRequest, pb::ObserveResponse)>,
    requests: BTreeMap<String, Option<pb::Change>>,
    customer: Option<String>,
    outcome: pb::Outcome,
    satisfaction: Option<u32>,
    inputs: u64,
    handed_over: bool,
    erased: bool,
}

impl Expected {
    fn next(&self) -> u32 {
        u32::try_from(self.said.len()).unwrap() + 1
    }
}

struct World {
    home: Home,
    server: Option<Server>,
    random: Random,
    expected: BTreeMap<String, Expected>,
}

impl World {
    const SETTINGS: [&str; 1] = ["store.cached=2"];

    fn client(&self) -> Client {
        self.server.as_ref().unwrap().client.clone()
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.random.below(all.len())]
    }

    async fn one(&mut self) {
        let id = self.pick(&["a", "b", "c", "d"]);
        // Each customer has two conversations.
        let customer = if id < "c" { "u" } else { "v" };
        match self.random.below(20) {
            0..9 => self.say(id, customer).await,
            9..11 => self.repeat(id).await,
            11 => self.refused(id).await,
            12..14 => self.hear(id, customer).await,
            14..16 => self.put(id).await,
            16 => self.close(id).await,
            17 => self.rate(id).await,
            18 => self.restart_or_erase(customer).await,
            _ => self.compare().await,
        }
    }

    async fn say(&mut self, id: &str, customer: &str) {
        let text = self.pick(&["hello", "where is my refund", "no", "yes", "thanks", "", "the bot is not of help", ASKS]);
        let speaker = self.random.below(5);
        let named = self.random.below(2) == 0;
        let client = self.client();
        let expected = self.expected.entry(id.to_owned()).or_default();
        let request = match speaker {
            0 => bot(id, expected.next(), text),
            1 => agent(id, expected.next(), text),
            _ => say(id, expected.next(), text),
        };
        let request = if named { of(customer, request) } else { request };
        let result = client.observe(request.clone()).await;
        if expected.erased {
            return refused(result, Code::FailedPrecondition, "conversation_id: ");
        }
        let response = result.unwrap();
        if named {
            expected.customer = Some(customer.to_owned());
        }
        expected.inputs += 1;
        if request.speaker() == pb::Speaker::Customer && expected.outcome != pb::Outcome::Unspecified {
            expected.inputs += u64::from(expected.handed_over);
            expected.outcome = pb::Outcome::Unspecified;
        }
        expected.handed_over = response.owner() != pb::Owner::Bot;
        expected.said.push((request, response));
    }

    async fn repeat(&mut self, id: &str) {
        let Some(expected) = self.expected.get(id).filter(|expected| !expected.said.is_empty()) else { return };
        let (request, response) = &expected.said[self.random.below(expected.said.len())];
        let again = self.server.as_ref().unwrap().client.observe(request.clone()).await;
        if expected.erased {
            return refused(again, Code::FailedPrecondition, "conversation_id: ");
        }
        assert_eq!(again.unwrap(), *response, "{id}");
    }

    async fn refused(&mut self, id: &str) {
        let Some(expected) = self.expected.get(id).filter(|expected| !expected.erased) else { return };
        let next = expected.next();
        let client = self.client();
        refused(client.observe(say(id, next + 1, "hello")).await, Code::FailedPrecondition, "sequence: ");
        if next > 1 {
            refused(client.observe(say(id, next - 1, "never said")).await, Code::AlreadyExists, "text: ");
            let request = pb::ObserveRequest { sequence: next, ..say(id, next - 1, "hello") };
            refused(client.observe(request).await, Code::AlreadyExists, "message_id: ");
        }
        if expected.customer.is_some() {
            refused(client.observe(of("w", say(id, next, "hello"))).await, Code::FailedPrecondition, "customer_id: ");
        }
    }

    async fn hear(&mut self, id: &str, customer: &str) {
        let event = format!("e{}", self.random.below(6));
        let request = pb::RecordEventRequest { conversation_id: Some(id.to_owned()), ..visit(&event, customer) };
        let result = self.client().event(request).await.map(|response| response.change);
        self.other(id, event, Some(customer), result);
    }

    async fn put(&mut self, id: &str) {
        let name = format!("l{}", self.random.below(6));
        let tier = if name.as_str() < "l3" { "enterprise" } else { "gold" };
        let result = self.client().facts(lookup(&name, id, tier)).await.map(|response| response.change);
        self.other(id, name, None, result);
    }

    fn other(&mut self, id: &str, name: String, customer: Option<&str>, result: Result<Option<pb::Change>, Status>) {
        let expected = self.expected.entry(id.to_owned()).or_default();
        if expected.erased {
            return refused(result, Code::FailedPrecondition, "conversation_id: ");
        }
        let change = result.unwrap();
        if let Some(before) = expected.requests.get(&name) {
            assert_eq!(change, *before, "{id} {name}");
            return;
        }
        expected.handed_over = change.as_ref().unwrap().owner() != pb::Owner::Bot;
        expected.inputs += 1;
        expected.customer = expected.customer.take().or(customer.map(str::to_owned));
        expected.requests.insert(name, change);
    }

    async fn close(&mut self, id: &str) {
        let outcome = [pb::Outcome::Resolved, pb::Outcome::Unresolved, pb::Outcome::Abandoned][self.random.below(3)];
        let result = self.client().close(id, outcome).await;
        match self.expected.get_mut(id) {
            None => refused(result, Code::NotFound, "conversation_id: "),
            Some(expected) if expected.erased => refused(result, Code::FailedPrecondition, "conversation_id: "),
            Some(expected) if expected.outcome == pb::Outcome::Unspecified || expected.outcome == outcome => {
                result.unwrap();
                expected.outcome = outcome;
            }
            Some(_) => refused(result, Code::FailedPrecondition, "outcome: "),
        }
    }

    async fn rate(&mut self, id: &str) {
        let score = u32::try_from(self.random.below(5)).unwrap() + 1;
        let result = self.client().satisfaction(id, score).await;
        match self.expected.get_mut(id) {
            None => refused(result, Code::NotFound, "conversation_id: "),
            Some(expected) if expected.erased => refused(result, Code::FailedPrecondition, "conversation_id: "),
            Some(expected) => {
                result.unwrap();
                expected.satisfaction = Some(score);
            }
        }
    }

    async fn restart_or_erase(&mut self, customer: &str) {
        if self.random.below(8) == 0 {
            let theirs = self.expected.values_mut().filter(|expected| expected.customer.as_deref() == Some(customer));
            let (mut conversations, mut inputs) = (0, 0);
            for expected in theirs {
                (conversations, inputs) = (conversations + 1, inputs + expected.inputs);
                (expected.erased, expected.customer) = (true, None);
            }
            assert_eq!(self.client().erase(customer).await, pb::EraseCustomerResponse { conversations, inputs });
            return;
        }
        self.server.take().unwrap().stop().await;
        let replayed = self.home.replayed();
        for (id, expected) in &self.expected {
            assert_eq!(replayed.get(id), Some(&(!expected.erased).then_some(expected.inputs)), "{id}");
        }
        assert_eq!(replayed.len(), self.expected.len());
        self.server = Some(self.home.serve(&Self::SETTINGS).await);
    }

    async fn compare(&mut self) {
        for id in ["a", "b", "c", "d"] {
            let told = self.client().get(id).await;
            let Some(expected) = self.expected.get(id) else {
                refused(told, Code::NotFound, "conversation_id: ");
                continue;
            };
            let told = told.unwrap();
            let found = (told.next_sequence, told.inputs, told.satisfaction, told.outcome(), told.customer_id.clone(), told.erased);
            let should =
                (expected.next(), expected.inputs, expected.satisfaction, expected.outcome, expected.customer.clone(), expected.erased);
            assert_eq!(found, should, "{id}");
            if expected.erased {
                assert_eq!(told.messages, []);
                continue;
            }
            assert_eq!(told.owner() != pb::Owner::Bot, expected.handed_over, "{id}");
            assert_eq!(told.messages.len(), expected.said.len(), "{id}");
            for (message, (request, response)) in told.messages.iter().zip(&expected.said) {
                assert_eq!(
                    (&message.message_id, message.sequence, message.speaker),
                    (&request.message_id, request.sequence, request.speaker)
                );
                assert_eq!(
                    (message.text.as_ref(), message.at, message.action),
                    (Some(&request.text), response.at, decided(response).action)
                );
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_happens_in_whatever_order_is_as_it_should_be_also_after_restarts() {
    for seed in 0..6 {
        let home = Home::new();
        let server = Some(home.serve(&World::SETTINGS).await);
        let mut world = World { home, server, random: Random::new(seed), expected: BTreeMap::new() };
        for _ in 0..150 {
            world.one().await;
        }
        world.compare().await;
        world.server.take().unwrap().stop().await;
        let replayed = world.home.replayed();
        for (id, expected) in &world.expected {
            assert_eq!(replayed.get(id), Some(&(!expected.erased).then_some(expected.inputs)), "seed {seed}, {id}");
        }
    }
}

// ---------------------------------------------------------------- hostile

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strange_texts_and_the_longest_ids_are_taken_and_told_as_they_were() {
    let home = Home::new();
    let mut server = home.serve(&["limits.message_bytes_max=67108864"]).await;
    let id = |end: char| format!("{}{end}", "~".repeat(127));
    let long = "a lawyer ".repeat((1 << 20) / 9);
    let texts = [
        "",
        " ",
        "\n\t\r",
        "\u{200b}\u{200d}\u{feff}",
        "😀🎉👩‍👩‍👧‍👦🇩🇪",
        "a\0b",
        "\u{202e}evil\u{202c}",
        "e\u{301}\u{301}\u{301}",
        "'; DROP TABLE journal; --",
        "{{ issue }} \\u0000 %s %n",
        &"😀".repeat(1 << 12),
        &"x".repeat(1 << 20),
        &long,
    ];
    let mut answers = Vec::new();
    for (sequence, text) in (1..).zip(texts) {
        for request in [say(&id('c'), sequence, text), bot(&id('b'), sequence, text), agent(&id('a'), sequence, text)] {
            let request = pb::ObserveRequest { message_id: format!("{:~<128}", sequence), ..of(&id('u'), request) };
            answers.push((request.clone(), server.client.said(request).await));
        }
    }
    refused(server.client.observe(say(&id('c'), 14, &"x".repeat((1 << 20) + 1))).await, Code::InvalidArgument, "text: ");
    let event =
        pb::RecordEventRequest { kind: id('k'), name: "\0😀*".into(), conversation_id: Some(id('c')), ..visit(&id('e'), &id('u')) };
    server.client.event(event).await.unwrap();
    server.client.facts(lookup(&id('l'), &id('c'), "\0")).await.unwrap();
    server.stop().await;
    server = home.serve(&[]).await;
    for (request, first) in &answers {
        assert_eq!(server.client.said(request.clone()).await, *first, "{:?}", request.text.chars().take(20).collect::<String>());
    }
    for end in ['a', 'b', 'c'] {
        assert!(self::texts(&server.client.get(&id(end)).await.unwrap()) == texts, "the texts of {end}");
    }
    assert_eq!(server.client.erase(&id('u')).await.conversations, 3);
    server.stop().await;
    assert_eq!(home.holding(b"DROP TABLE journal"), Vec::<PathBuf>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_events_stays_within_bounds_and_an_id_may_name_a_conversation_and_a_customer() {
    let home = Home::new();
    let mut server = home.serve(&[]).await;
    let mut clients = JoinSet::new();
    for n in 0..8 {
        let client = server.client.clone();
        clients.spawn(async move {
            for m in 0..250 {
                let event = pb::RecordEventRequest { at: ago(8 * DAY_MS), ..visit(&format!("v-{n}-{m}"), "same") };
                client.event(event).await.unwrap();
            }
        });
    }
    soon("the flood", clients.join_all()).await;
    // Older than the window: the flood does not fire, but must not push out what is newer.
    for n in 0..3 {
        server.client.event(visit(&format!("v{n}"), "same")).await.unwrap();
    }
    let counted = server.client.said(of("same", say("same", 1, "hello"))).await;
    assert_eq!(by(&counted), "visits");
    server.stop().await;
    let store = Store::open(&home.data(), Limits::default()).unwrap();
    let known = store.customer(&Id::new("same").unwrap()).unwrap().unwrap();
    let bytes = known.snapshot.as_ref().unwrap().len() + known.changes.iter().map(Vec::len).sum::<usize>();
    assert!(known.changes.len() < 16 && bytes < 100_000, "{} changes, {bytes} bytes", known.changes.len());
    store.close().unwrap();
    drop(store);
    server = home.serve(&[]).await;
    assert_eq!(server.client.said(of("same", say("same", 1, "hello"))).await, counted);
    assert_eq!(server.client.erase("same").await, pb::EraseCustomerResponse { conversations: 1, inputs: 1 });
    server.stop().await;
}
