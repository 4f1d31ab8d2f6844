//! From decision to person as clients meet it: a real server, its feed read as a backend reads it, stopped and started again. Time is moved by telling the
//! router another one; nothing waits by the clock, and [`WAIT`] is only how long a test may hang before it fails.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use baton::config::serve::Typed;
use baton::handoff::conversation::Conversation;
use baton::handoff::decision::{Action, Cause};
use baton::handoff::input::{Body, Input};
use baton::handoff::policy::Policy;
use baton::handoff::step::step;
use baton::message::Speaker;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::load::load;
use baton::service::clock;
use baton::service::memory::{Editions, Memory, Replayed, replay};
use baton::service::pb::effect::Kind;
use baton::service::pb::{self, Conversations, Handoffs, Routings};
use baton::service::proving::prove;
use baton::service::server::{self, Listen, PolicyChoice, ServerError};
use baton::service::store::{DATABASE, Limits, Store};
use baton::time::Timestamp;
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Endpoint;
use tonic::{Code, Status, Streaming};

use crate::silence::{POLICY as ROUTED, id, observation};
use crate::support::{Place, TINY};

const WAIT: Duration = Duration::from_secs(120);
/// What the rules take for the wish to speak with a person, whatever the model says.
const ASKS: &str = "I want to talk to a human";

const POLICY: &str = r#"
[handoff]
offer_secs = 30
lease_secs = 60

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
mode = "soft"

[[queue]]
id = "general"
name = "support"
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

struct Home(Place);

impl Home {
    fn new() -> Self {
        Self::with(POLICY)
    }

    fn with(policy: &str) -> Self {
        let place = Place::new();
        place.write("policy.toml", policy);
        Self(place)
    }

    fn data(&self) -> PathBuf {
        self.0.path("data")
    }

    fn database(&self) -> Connection {
        Connection::open(self.data().join(DATABASE)).unwrap()
    }

    async fn serve(&self) -> Server {
        let policy = self.0.path("policy.toml").display().to_string();
        let typed = [
            "listen.address=127.0.0.1:0".to_owned(),
            "limits.workers=1".to_owned(),
            format!("policy.file={policy}"),
            format!("store.data_dir={}", self.data().display()),
        ];
        let settings = typed.iter().fold(Typed::default(), |typed, setting| typed.set(setting)).settings(1).unwrap();
        let PolicyChoice::Places(places) = &settings.policy else { panic!("there is a policy") };
        let scorer = load(Path::new(TINY), &open_device(DeviceChoice::Cpu).unwrap()).unwrap();
        let proved = prove(places, &scorer).unwrap();
        let running = soon("the start", server::start(Arc::new(scorer), Some(proved), settings)).await.unwrap();
        let Listen::Tcp(address) = running.address else { panic!("the server listens on TCP") };
        let memory = Arc::clone(running.memory().unwrap());
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(running.until(async { drop(stopped.await) }));
        let channel = soon("a connection", Endpoint::from_shared(format!("http://{address}")).unwrap().connect()).await.unwrap();
        let (handoffs, routing) = (Handoffs::new(channel.clone()), Routings::new(channel.clone()));
        Server { talks: Conversations::new(channel), handoffs, routing, memory: Some(memory), stop: Some(stop), ended }
    }

    /// Every input leads to what it led to.
    fn replays(&self) {
        let store = Store::open(&self.data(), Limits::default()).unwrap();
        let editions = Editions::open(&self.data()).unwrap();
        for (_, id) in store.conversations(0, usize::MAX).unwrap() {
            assert!(matches!(replay(&store, &editions, &id).unwrap(), Replayed::Same { .. }), "{id}");
        }
        store.close().unwrap();
    }
}

struct Server {
    talks: Conversations,
    handoffs: Handoffs,
    routing: Routings,
    memory: Option<Arc<Memory>>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServerError>>,
}

impl Server {
    fn memory(&self) -> &Arc<Memory> {
        self.memory.as_ref().unwrap()
    }

    async fn stop(mut self) {
        self.memory = None;
        self.stop.take().unwrap().send(()).unwrap();
        soon("the end", self.ended).await.unwrap().unwrap();
    }

    async fn says(&mut self, conversation: &str, sequence: u32, speaker: pb::Speaker, text: &str) -> pb::ObserveResponse {
        let request = pb::ObserveRequest {
            conversation_id: conversation.to_owned(),
            message_id: format!("m{sequence}"),
            sequence,
            speaker: speaker.into(),
            text: text.to_owned(),
            ..pb::ObserveRequest::default()
        };
        soon("an answer", self.talks.observe(request)).await.unwrap().into_inner()
    }

    async fn asks(&mut self, conversation: &str) {
        let answer = self.says(conversation, 1, pb::Speaker::Customer, ASKS).await;
        assert_eq!(answer.decision.unwrap().action(), pb::DecisionAction::HandOver);
    }

    async fn agent(&mut self, agent: &str, capacity: u32) {
        let put = pb::PutAgentRequest {
            agent_id: agent.to_owned(),
            name: format!("The {agent}"),
            queue_ids: vec!["general".to_owned()],
            capacity,
            ..pb::PutAgentRequest::default()
        };
        self.routing.put_agent(put).await.unwrap();
        self.presence(agent, pb::Presence::Online).await;
    }

    /// An agent who is known and not there.
    async fn away(&mut self, agent: &str) {
        self.agent(agent, 1).await;
        self.presence(agent, pb::Presence::Offline).await;
    }

    async fn presence(&mut self, agent: &str, presence: pb::Presence) -> u32 {
        let ttl = Some(prost_types::Duration { seconds: 3600, nanos: 0 });
        let set = pb::SetPresenceRequest { agent_id: agent.to_owned(), presence: presence.into(), ttl };
        self.routing.set_presence(set).await.unwrap().into_inner().held
    }

    async fn feed(&mut self, after: u64) -> Feed {
        Feed(self.handoffs.watch_effects(pb::WatchEffectsRequest { after }).await.unwrap().into_inner())
    }

    async fn estimate(&mut self) -> pb::WaitEstimate {
        let request = pb::EstimateWaitRequest { queue_id: "general".to_owned(), priority: 0 };
        self.routing.estimate_wait(request).await.unwrap().into_inner().wait.expect("ana is there")
    }

    async fn life(&mut self, conversation: &str) -> pb::HandoffLife {
        let request = pb::GetHandoffRequest { conversation_id: conversation.to_owned() };
        self.handoffs.get_handoff(request).await.unwrap().into_inner().life.unwrap()
    }

    async fn accept(&mut self, conversation: &str, agent: &str, request: &str) -> Result<pb::AcceptResponse, Status> {
        let request =
            pb::AcceptRequest { conversation_id: conversation.to_owned(), request_id: request.to_owned(), agent_id: agent.to_owned() };
        soon("an answer", self.handoffs.accept(request)).await.map(tonic::Response::into_inner)
    }

    async fn claim(&mut self, conversation: &str, agent: Option<&str>, epoch: u64, after: u32) -> Result<pb::ClaimReplyResponse, Status> {
        let request = pb::ClaimReplyRequest {
            conversation_id: conversation.to_owned(),
            claim_id: format!("claim-{}-{after}", agent.unwrap_or("bot")),
            speaker: if agent.is_some() { pb::Speaker::Agent } else { pb::Speaker::Bot }.into(),
            agent_id: agent.map(str::to_owned),
            epoch,
            after_sequence: after,
        };
        soon("an answer", self.talks.claim_reply(request)).await.map(tonic::Response::into_inner)
    }

    /// The daemon wakes at a later time.
    async fn later(&self, secs: u64) {
        let at = clock::wall().plus(Duration::from_secs(secs));
        self.memory().route(at).await.unwrap();
    }
}

/// The feed as a backend reads it.
struct Feed(Streaming<pb::WatchEffectsResponse>);

impl Feed {
    async fn next(&mut self) -> pb::WatchEffectsResponse {
        soon("an effect", self.0.message()).await.unwrap().expect("the feed does not end")
    }

    /// The next that the test waits for; what comes before is passed over.
    async fn until(&mut self, wanted: impl Fn(&Kind) -> bool) -> (pb::WatchEffectsResponse, Kind) {
        loop {
            let effect = self.next().await;
            let kind = effect.effect.clone().unwrap().kind.unwrap();
            if wanted(&kind) {
                return (effect, kind);
            }
        }
    }

    async fn told(&mut self) -> (u64, pb::TellCustomer) {
        match self.until(|kind| matches!(kind, Kind::TellCustomer(_))).await {
            (effect, Kind::TellCustomer(told)) => (effect.place, told),
            other => panic!("{other:?}"),
        }
    }

    async fn offered(&mut self) -> String {
        match self.until(|kind| matches!(kind, Kind::OfferHandoff(_))).await.1 {
            Kind::OfferHandoff(offer) => offer.agent_id,
            other => panic!("{other:?}"),
        }
    }
}

fn metadata<'a>(status: &'a Status, key: &str) -> &'a str {
    status.metadata().get(key).unwrap().to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_goes_from_the_trigger_to_a_person_and_back_to_the_bot() {
    let home = Home::new();
    let mut server = home.serve().await;
    server.agent("ana", 2).await;
    let mut feed = server.feed(0).await;
    server.asks("c").await;

    let places: Vec<(u64, Kind)> = {
        let mut places = Vec::new();
        for _ in 0..4 {
            let effect = feed.next().await;
            assert_eq!((effect.conversation_id.as_str(), effect.again), ("c", false));
            places.push((effect.place, effect.effect.unwrap().kind.unwrap()));
        }
        places
    };
    let [(1, Kind::StopBot(_)), (2, Kind::RequestHandoff(asked)), (3, Kind::TellCustomer(told)), (4, Kind::OfferHandoff(offer))] =
        places.as_slice()
    else {
        panic!("{places:?}")
    };
    assert_eq!((asked.queue_id.as_str(), asked.trigger_id.as_str(), offer.agent_id.as_str()), ("general", "asks", "ana"));
    assert_eq!((told.situation(), told.wait.unwrap().seconds), (pb::MessageSituation::Connecting, 30));
    assert_eq!(told.expect, "They answer within about 1 minute.", "the words, with the wait");
    let offered = server.life("c").await;
    assert_eq!((offered.state(), offered.agent_id.as_deref(), offered.offers), (pb::HandoffState::Offered, Some("ana"), 1));

    let refused = server.accept("c", "ben", "r0").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(
        refused.message().contains("another agent is asked or has it; the handoff is offered, allowed: accept, decline"),
        "{refused:?}"
    );
    let accepted = server.accept("c", "ana", "r1").await.unwrap();
    let change = accepted.change.unwrap();
    assert_eq!((change.state(), change.owner(), change.epoch), (pb::HandoffState::Accepted, pb::Owner::Person, 3));
    assert!(accepted.opening().contains("The ana"), "{accepted:?}");
    assert_eq!(server.accept("c", "ana", "r1").await.unwrap().change, accepted.change, "the same request again");
    assert_eq!(server.accept("c", "ben", "r1").await.unwrap_err().code(), Code::AlreadyExists);
    assert_eq!(server.accept("c", "ana", "r2").await.unwrap_err().code(), Code::FailedPrecondition);
    assert_eq!(feed.told().await.1.agent_name(), "The ana");

    // The bot can no longer talk over her.
    let late = server.claim("c", None, 1, 1).await.unwrap_err();
    assert_eq!((late.code(), metadata(&late, "owner"), metadata(&late, "epoch")), (Code::Aborted, "person", "3"));
    assert_eq!(server.claim("c", None, 3, 1).await.unwrap_err().code(), Code::Aborted);
    let claimed = server.claim("c", Some("ana"), 3, 1).await.unwrap();
    assert_eq!(server.claim("c", Some("ana"), 3, 1).await.unwrap().until, claimed.until, "the same claim again");

    let text = "her card is 4111 1111 1111 1111".to_owned();
    let suggestion = pb::SuggestRequest { conversation_id: "c".to_owned(), request_id: "s1".to_owned(), text };
    server.handoffs.suggest(suggestion).await.unwrap();
    let (_, shown) = feed.until(|kind| matches!(kind, Kind::ShowSuggestion(_))).await;
    let Kind::ShowSuggestion(shown) = shown else { panic!("{shown:?}") };
    assert_eq!((shown.agent_id(), shown.text.as_str()), ("ana", "her card is [card number]"));

    let back = pb::ReturnRequest {
        conversation_id: "c".to_owned(),
        request_id: "r3".to_owned(),
        agent_id: Some("ana".to_owned()),
        note: Some("refund agreed".to_owned()),
    };
    let back = server.handoffs.r#return(back).await.unwrap().into_inner().change.unwrap();
    assert_eq!((back.state(), back.owner(), back.epoch), (pb::HandoffState::Returned, pb::Owner::Bot, 4));
    let (last, started) = feed.until(|kind| matches!(kind, Kind::StartBot(_))).await;
    assert_eq!(started, Kind::StartBot(pb::StartBot { note: Some("refund agreed".to_owned()) }));
    let label = pb::LabelRequest {
        conversation_id: "c".to_owned(),
        request_id: "l1".to_owned(),
        needed: Some(false),
        intent: Some("refund".to_owned()),
    };
    server.handoffs.label(label).await.unwrap();
    assert_eq!(server.presence("ana", pb::Presence::Online).await, 0, "she has room again");
    assert_eq!(server.claim("c", None, 4, 1).await.unwrap().owner(), pb::Owner::Bot);

    let list = pb::ListHandoffsRequest { handoffs_max: 10, ..pb::ListHandoffsRequest::default() };
    let listed = server.handoffs.list_handoffs(list).await.unwrap().into_inner().handoffs;
    let [handoff] = listed.as_slice() else { panic!("{listed:?}") };
    assert_eq!((handoff.conversation_id.as_str(), handoff.needed, handoff.intent()), ("c", Some(false), "refund"));
    let life = handoff.life.as_ref().unwrap();
    assert_eq!((life.state(), life.disposition()), (pb::HandoffState::Returned, pb::Disposition::Returned));
    assert!(life.first_promise.is_some() && life.accepted_at.is_some(), "promised and actual wait: {life:?}");

    // What was acknowledged does not come again, what was not does: after a restart as well.
    for place in 1..last.place {
        server.handoffs.ack_effect(pb::AckEffectRequest { place }).await.unwrap();
    }
    server.handoffs.ack_effect(pb::AckEffectRequest { place: 1 }).await.expect("acknowledged before is acknowledged");
    assert_eq!(server.handoffs.ack_effect(pb::AckEffectRequest { place: 999 }).await.unwrap_err().code(), Code::InvalidArgument);
    drop(feed);
    server.stop().await;
    home.replays();
    let mut again = home.serve().await;
    let mut feed = again.feed(0).await;
    assert_eq!(feed.next().await.place, last.place);
    drop(feed);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_accept_in_time_gives_way_to_the_next_and_capacity_holds_over_a_restart() {
    let home = Home::new();
    let mut server = home.serve().await;
    server.agent("ana", 1).await;
    let mut feed = server.feed(0).await;
    server.asks("c").await;
    assert_eq!(feed.offered().await, "ana");
    server.agent("ben", 1).await;
    server.later(31).await;
    assert!(
        matches!(feed.until(|kind| matches!(kind, Kind::WithdrawOffer(_))).await.1, Kind::WithdrawOffer(gone) if gone.agent_id == "ana")
    );
    let (offer, kind) = feed.until(|kind| matches!(kind, Kind::OfferHandoff(_))).await;
    assert!(matches!(kind, Kind::OfferHandoff(next) if next.agent_id == "ben"));
    drop(feed);
    server.stop().await;

    let mut server = home.serve().await;
    assert_eq!(server.life("c").await.agent_id(), "ben");
    assert_eq!(server.presence("ben", pb::Presence::Online).await, 1, "the offer still takes his only slot");
    server.accept("c", "ben", "r").await.unwrap();
    server.presence("ana", pb::Presence::Offline).await;
    server.asks("d").await;
    let mut feed = server.feed(offer.place).await;
    feed.until(|kind| matches!(kind, Kind::RequestHandoff(_))).await;
    server.later(0).await;
    assert_eq!(server.life("d").await.state(), pb::HandoffState::Queued, "nobody has room");
    // Nothing is heard of him: the conversation goes back to the queue, with a word to the customer, and to the next who is there.
    server.presence("ben", pb::Presence::Offline).await;
    server.agent("ana", 1).await;
    assert_eq!(feed.until(|kind| matches!(kind, Kind::OfferHandoff(_))).await.0.conversation_id, "d");
    server.accept("d", "ana", "r").await.unwrap();
    server.later(61).await;
    let (lost, _) = feed.until(|kind| matches!(kind, Kind::ReleaseAgent(gone) if gone.agent_id == "ben")).await;
    assert_eq!(lost.conversation_id, "c");
    let life = server.life("c").await;
    assert_eq!((life.state(), life.agent_id), (pb::HandoffState::Queued, None));
    drop(feed);
    server.stop().await;
    home.replays();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn how_long_people_took_is_known_after_a_restart() {
    let home = Home::new();
    let mut server = home.serve().await;
    server.agent("ana", 1).await;
    let mut feed = server.feed(0).await;
    for number in 0..8 {
        let id = format!("c{number}");
        server.asks(&id).await;
        feed.offered().await;
        server.accept(&id, "ana", "taken").await.unwrap();
        assert!(!server.estimate().await.handling_measured, "{number} conversations are too few");
        let done = pb::ResolveRequest {
            conversation_id: id,
            request_id: "done".to_owned(),
            agent_id: Some("ana".to_owned()),
            disposition: pb::Disposition::Solved.into(),
        };
        server.handoffs.resolve(done).await.unwrap();
    }
    let measured = server.estimate().await;
    assert!(measured.handling_measured);
    drop(feed);
    server.stop().await;
    let mut again = home.serve().await;
    assert_eq!(again.estimate().await, measured);
    again.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_nobody_there_the_customer_hears_so_and_who_leaves_is_followed_up() {
    let home = Home::new();
    let mut server = home.serve().await;
    server.away("ana").await;
    let mut feed = server.feed(0).await;
    server.asks("c").await;
    let (_, told) = feed.told().await;
    assert_eq!((told.situation(), told.ask_email, told.wait), (pb::MessageSituation::AtCapacity, true, None));
    assert_eq!(told.email_question.as_deref(), Some("At which e-mail address can they reach you if you leave this chat?"));
    assert_eq!(server.life("c").await.state(), pb::HandoffState::Deferred);
    let queues = server.routing.list_queues(pb::ListQueuesRequest {}).await.unwrap().into_inner().queues;
    assert_eq!((queues[0].open, queues[0].agents_there, queues[0].wait), (true, 0, None));
    server.agent("ana", 1).await;
    assert_eq!(feed.offered().await, "ana", "somebody came");

    let abandon = pb::AbandonRequest { conversation_id: "c".to_owned(), request_id: "gone".to_owned() };
    let left = server.handoffs.abandon(abandon).await.unwrap().into_inner().change.unwrap();
    assert_eq!(left.state(), pb::HandoffState::Abandoned);
    assert!(
        matches!(feed.until(|kind| matches!(kind, Kind::WithdrawOffer(_))).await.1, Kind::WithdrawOffer(gone) if gone.agent_id == "ana")
    );
    let (_, notice) = feed.until(|kind| matches!(kind, Kind::NotifyOwner(_))).await;
    let Kind::NotifyOwner(notice) = notice else { panic!("{notice:?}") };
    assert_eq!((notice.queue_id.as_str(), notice.notice()), ("general", pb::OwnerNotice::FollowUpDue));
    assert_eq!(server.life("c").await.state(), pb::HandoffState::FollowUp);
    server.says("c", 2, pb::Speaker::Customer, "are you still there?").await;
    assert_eq!(feed.told().await.1.situation(), pb::MessageSituation::Connecting, "who comes back is heard");
    assert_eq!(feed.offered().await, "ana");

    // Closing ends what stands, with its outcome.
    server.accept("c", "ana", "r").await.unwrap();
    let close = pb::CloseConversationRequest { conversation_id: "c".to_owned(), outcome: pb::Outcome::Resolved.into() };
    server.talks.close_conversation(close).await.unwrap();
    let list = pb::ListHandoffsRequest { handoffs_max: 10, states: vec![pb::HandoffState::Resolved.into()], ..Default::default() };
    let listed = server.handoffs.list_handoffs(list).await.unwrap().into_inner().handoffs;
    assert_eq!(listed[0].life.as_ref().unwrap().disposition(), pb::Disposition::Solved);
    drop(feed);
    server.stop().await;
    home.replays();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_nobody_acknowledges_is_sent_again() {
    let home = Home::new();
    let mut server = home.serve().await;
    server.away("ana").await;
    let mut feed = server.feed(0).await;
    server.asks("c").await;
    let (place, _) = feed.told().await;
    let later = clock::wall().plus(Duration::from_secs(6));
    let routed = server.memory().route(later).await.unwrap();
    assert_eq!(routed.again, 1);
    let again = feed.next().await;
    assert_eq!((again.place, again.again), (place, true));
    server.handoffs.ack_effect(pb::AckEffectRequest { place }).await.unwrap();
    assert_eq!(server.memory().route(later.plus(Duration::from_secs(60))).await.unwrap().again, 0);
    drop(feed);
    server.stop().await;
}

/// Two clients claim the same reply, ten thousand times, at the same time: exactly one gets it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_two_claims_on_a_reply_exactly_one_wins() {
    const CONVERSATIONS: usize = 100;
    const REPLIES: usize = 100;
    let home = Home::new();
    let mut server = home.serve().await;
    for conversation in 0..CONVERSATIONS {
        server.says(&format!("c{conversation}"), 1, pb::Speaker::Customer, "hello").await;
    }
    let memory = Arc::clone(server.memory());
    let claim = |conversation: usize, reply: usize, client: usize| {
        let memory = Arc::clone(&memory);
        async move {
            let claim = baton::service::memory::ClaimReply {
                conversation: id(format!("c{conversation}")),
                claim: id(format!("claim-{client}-{reply}")),
                claimant: baton::handoff::conversation::Claimant::Bot,
                epoch: 1,
                after: u32::try_from(reply + 1).unwrap(),
            };
            memory.claim_reply(&claim, None).await.is_ok()
        }
    };
    let mut won = [0usize; 2];
    for reply in 0..REPLIES {
        let mut rounds = tokio::task::JoinSet::new();
        for conversation in 0..CONVERSATIONS {
            let (first, second) = (claim(conversation, reply, 0), claim(conversation, reply, 1));
            // Who is asked first takes turns.
            let (first, second, turned) = if (reply + conversation) % 2 == 0 { (first, second, false) } else { (second, first, true) };
            rounds.spawn(async move {
                let (first, second) = (tokio::spawn(first), tokio::spawn(second));
                let (first, second) = (first.await.unwrap(), second.await.unwrap());
                if turned { (second, first) } else { (first, second) }
            });
        }
        while let Some(round) = soon("a round", rounds.join_next()).await {
            let (first, second) = round.unwrap();
            assert!(first != second, "reply {reply}: {first} {second}");
            won[usize::from(second)] += 1;
        }
        for conversation in 0..CONVERSATIONS {
            let sequence = u32::try_from(reply + 2).unwrap();
            server.says(&format!("c{conversation}"), sequence, pb::Speaker::Bot, "").await;
        }
    }
    assert_eq!(won[0] + won[1], CONVERSATIONS * REPLIES);
    assert!(won.iter().all(|won| *won > 0), "{won:?}");
    drop(memory);
    server.stop().await;
}

/// A store of before handoffs had lives: its handoff is found, placed and told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handoff_of_an_older_store_finds_its_queue() {
    let home = Home::new();
    let mut server = home.serve().await;
    server.says("quiet", 1, pb::Speaker::Customer, "hello").await;
    server.asks("c").await;
    server.stop().await;
    let database = home.database();
    let older = "DROP TABLE agents; DROP TABLE timers; DROP TABLE handoffs; DROP TABLE feed; DROP TABLE claims; DELETE FROM snapshots;
                 DELETE FROM journal WHERE ordinal > 1; PRAGMA user_version = 2;";
    database.execute_batch(older).unwrap();
    drop(database);
    std::fs::read_dir(home.data()).unwrap().map(|file| file.unwrap().path()).filter(|path| path.ends_with("clean")).for_each(|path| {
        std::fs::remove_file(path).unwrap();
    });
    let mut server = home.serve().await;
    let mut feed = server.feed(0).await;
    server.later(0).await;
    assert_eq!(server.life("c").await.state(), pb::HandoffState::Requested, "nobody routes here before an agent is known");
    server.agent("ana", 1).await;
    let (_, told) = feed.told().await;
    let situation = told.situation();
    // She is known a moment before she is there; the customer is told at once, whichever it is by then.
    assert!([pb::MessageSituation::AtCapacity, pb::MessageSituation::Connecting].contains(&situation), "{situation:?}");
    assert_eq!(feed.offered().await, "ana");
    server.later(0).await;
    assert_eq!(server.life("c").await.state(), pb::HandoffState::Offered);
    let timers: i64 = home.database().query_row("SELECT count(*) FROM timers", [], |row| row.get(0)).unwrap();
    assert_eq!(timers, 1, "only what is pending keeps a timer");
    drop(feed);
    server.stop().await;
    home.replays();
}

// ---------------------------------------------------------------- pilot and shadow

fn decide(policy: &Policy, conversation: &str, text: &str) -> (Action, Cause, Vec<String>) {
    let at = Timestamp::parse("2026-11-23T09:00:00Z").unwrap();
    let body = Body::Message(observation(policy, 1, Speaker::Customer, text));
    let done = step(policy, Conversation::new(id(conversation)), &Input { at, body, customer: Vec::new() });
    let fired = done.decision.fired.iter().map(|place| policy.triggers[usize::from(*place)].id.clone()).collect();
    assert_eq!(done.duties.is_empty(), done.decision.action == Action::None, "what is only recorded does nothing");
    (done.decision.action, done.decision.cause, fired)
}

fn routed(from: &str, to: &str) -> Policy {
    assert!(ROUTED.contains(from), "{from}");
    Policy::read("pilot.toml", &ROUTED.replacen(from, to, 1), &Default::default()).unwrap_or_else(|faults| panic!("{faults:?}"))
}

#[test]
fn a_shadow_decides_beside_the_live_ones_and_does_nothing() {
    let policy = routed("mode = \"soft\"", "shadow = true");
    assert_eq!(decide(&policy, "c", "a person please"), (Action::None, Cause::Shadow, vec!["person".to_owned()]));
    let both = decide(&policy, "c", "fraud, a person please");
    assert_eq!(both, (Action::HandOver, Cause::Fired, vec!["fraud".to_owned(), "person".to_owned()]), "recorded beside the live one");
}

#[test]
fn a_pilot_is_a_stable_share_and_safety_stands_outside_it() {
    let policy = |share: &str| routed("[soft]", &format!("[pilot]\nshare = {share}\nalways = [\"security\"]\n[soft]"));
    let (tenth, half) = (policy("0.1"), policy("0.5"));
    let members = |policy: &Policy| (0..20_000).filter(|n| policy.pilot.has(&id(format!("c-{n}")))).collect::<Vec<_>>();
    let (few, many) = (members(&tenth), members(&half));
    assert!((1_800..2_200).contains(&few.len()) && (9_700..10_300).contains(&many.len()), "{} {}", few.len(), many.len());
    assert!(few.iter().all(|member| many.contains(member)), "who is in stays in where the share grows");
    let outside = (0..).find(|n| !few.contains(n)).map(|n| format!("c-{n}")).unwrap();
    assert_eq!(decide(&tenth, &outside, "a person please").1, Cause::Shadow);
    assert_eq!(decide(&tenth, &outside, "this is fraud").0, Action::HandOver, "safety is no experiment");
    assert_eq!(decide(&tenth, &format!("c-{}", few[0]), "a person please").0, Action::HandOver);
    assert_eq!(decide(&policy("0"), "c-1", "I am angry"), (Action::None, Cause::Shadow, vec!["angry".to_owned()]));
}
