//! Letters to helpdesks and webhooks: the real daemon against servers that refuse, hang, break off and send elsewhere, and killed in between. Every letter arrives,
//! its repeats are the same, and nothing shows what it must not.
//!
//! Nothing here waits by the clock: the server tells what it got, the daemon's log and its outbox tell what became of it.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};

use baton::message::Id;
use baton::random::Random;
use baton::service::delivery::Kind;
use baton::service::pb::handoff_service_client::HandoffServiceClient;
use baton::service::pb::{self, Admins, Conversations, OutboxLetter, OutboxState};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tonic::Code;
use tonic::transport::Channel;

use crate::serving::soon;
use crate::support::{PLANTED, Place, Run, TINY};

/// Kills in a run of the tests. `cargo test --release --test it -- --ignored twenty_kills` does twenty.
const KILLS: usize = 3;
/// What the rules take for the wish to speak with a person.
const ASKS: &str = "I want to talk to a human";

const ZENDESK_TOKEN: &str = "zendesk-hunter2";
const CHATWOOT_TOKEN: &str = "chatwoot-hunter2";
const WEBHOOK_SECRET: &str = "webhook-hunter2";

/// A policy whose trigger needs no trained model.
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

// ---------------------------------------------------------------- the other side

/// What a server does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Act {
    /// This status with these further headers.
    Answer(u16, String),
    /// 200 with this body.
    Json(Value),
    /// Nothing, until the client leaves.
    Hang,
    /// The connection is reset.
    Reset,
    /// The connection ends without an answer.
    Leave,
    /// The answer is cut off in the middle of its body.
    Half,
    /// 200, with a body that never ends.
    Endless,
}

fn ok() -> Act {
    Act::Answer(200, String::new())
}

fn status(status: u16) -> Act {
    Act::Answer(status, String::new())
}

/// A request as it came, and what was done with it.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
    act: Act,
}

impl Request {
    fn key(&self) -> &str {
        &self.headers["idempotency-key"]
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// Whether the client could know that it arrived.
    fn arrived(&self) -> bool {
        self.act == ok() || matches!(self.act, Act::Endless | Act::Json(_))
    }
}

type Script = Arc<Mutex<Box<dyn FnMut(&Request) -> Act + Send>>>;

/// A server that does with each request what the script says.
struct Helpdesk {
    address: SocketAddr,
    script: Script,
    requests: mpsc::UnboundedReceiver<Request>,
    /// All that were taken from `requests`.
    seen: Vec<Request>,
}

impl Helpdesk {
    async fn start(script: impl FnMut(&Request) -> Act + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let script: Script = Arc::new(Mutex::new(Box::new(script)));
        let (sender, requests) = mpsc::unbounded_channel();
        let serving = Arc::clone(&script);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&serving), sender.clone()));
            }
        });
        Self { address, script, requests, seen: Vec::new() }
    }

    /// One that answers 200 to everything.
    async fn kind() -> Self {
        Self::start(|_| ok()).await
    }

    /// Does this from now on.
    fn now(&self, script: impl FnMut(&Request) -> Act + Send + 'static) {
        *self.script.lock().unwrap() = Box::new(script);
    }

    fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    async fn next(&mut self) -> Request {
        let request = soon("a request", self.requests.recv()).await.unwrap();
        self.seen.push(request.clone());
        request
    }

    /// Takes requests until one is as it is wanted.
    async fn until(&mut self, wanted: impl Fn(&Request) -> bool) -> Request {
        loop {
            let request = self.next().await;
            if wanted(&request) {
                return request;
            }
        }
    }

    /// All that came so far.
    fn drain(&mut self) -> &[Request] {
        while let Ok(request) = self.requests.try_recv() {
            self.seen.push(request);
        }
        &self.seen
    }

    /// Every request with the same key has the same place and the same bytes; gives the keys with how many of each arrived.
    fn arrived(&mut self) -> BTreeMap<String, usize> {
        let (mut first, mut arrived) = (BTreeMap::new(), BTreeMap::new());
        for request in self.drain() {
            let what = (request.method.clone(), request.target.clone(), request.body.clone());
            let known = first.entry(request.key().to_owned()).or_insert_with(|| what.clone());
            assert_eq!(*known, what, "a repeat differs");
            *arrived.entry(request.key().to_owned()).or_insert(0) += usize::from(request.arrived());
        }
        arrived
    }
}

async fn serve(mut stream: TcpStream, script: Script, requests: mpsc::UnboundedSender<Request>) {
    while let Some(mut request) = read(&mut stream).await {
        request.act = (script.lock().unwrap())(&request);
        let act = request.act.clone();
        // Before the answer, so that what the client knows is known here; a test that has ended wants no more.
        let _ = requests.send(request);
        if act == Act::Reset {
            stream.set_zero_linger().unwrap();
        }
        if !answer(&mut stream, &act).await {
            return;
        }
    }
}

/// Reads a request; `None` where the client left.
async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Option<Request> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap().to_owned(), first.next().unwrap().to_owned());
    let headers: BTreeMap<String, String> =
        lines.map(|line| line.split_once(':').unwrap()).map(|(name, value)| (name.to_lowercase(), value.trim().to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |length| length.parse().unwrap());
    let mut body = bytes.split_off(end + 4);
    while body.len() < length {
        if stream.read_buf(&mut body).await.ok()? == 0 {
            return None;
        }
    }
    Some(Request { method, target, headers, body, act: Act::Hang })
}

/// Does it; gives whether the connection goes on.
async fn answer(stream: &mut (impl AsyncRead + AsyncWrite + Unpin), act: &Act) -> bool {
    match act {
        Act::Answer(status, headers) => {
            let text = format!("HTTP/1.1 {status} X\r\n{headers}content-length: 2\r\n\r\n{{}}");
            stream.write_all(text.as_bytes()).await.is_ok()
        }
        Act::Json(body) => {
            let body = body.to_string();
            let text = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            stream.write_all(text.as_bytes()).await.is_ok()
        }
        Act::Hang => {
            while stream.read(&mut [0; 64]).await.is_ok_and(|bytes| bytes > 0) {}
            false
        }
        Act::Reset | Act::Leave => false,
        Act::Half => {
            drop(stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"half\":").await);
            false
        }
        Act::Endless => {
            let begun = stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.is_ok();
            while begun && stream.write_all(format!("1000\r\n{}\r\n", "x".repeat(4096)).as_bytes()).await.is_ok() {}
            false
        }
    }
}

// ---------------------------------------------------------------- the daemon

/// The real daemon, its log taken as it comes.
struct Baton {
    child: Child,
    address: String,
    metrics: SocketAddr,
    lines: mpsc::UnboundedReceiver<String>,
    log: Arc<Mutex<String>>,
}

impl Drop for Baton {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The settings of all three destinations, each below a path of the server.
fn everywhere(helpdesk: &Helpdesk) -> Vec<String> {
    let url = helpdesk.url();
    vec![
        format!("zendesk.url={url}/zendesk/"),
        "zendesk.user=baton@example.com".to_owned(),
        format!("chatwoot.url={url}/chatwoot"),
        "chatwoot.account=3".to_owned(),
        format!("webhook.url={url}/hook?from=baton"),
    ]
}

fn zendesk(helpdesk: &Helpdesk) -> Vec<String> {
    everywhere(helpdesk).into_iter().filter(|set| set.starts_with("zendesk")).collect()
}

fn webhook(helpdesk: &Helpdesk) -> Vec<String> {
    everywhere(helpdesk).into_iter().filter(|set| set.starts_with("webhook")).collect()
}

/// Pauses of milliseconds, so that tests need not wait.
const FAST: [&str; 6] = [
    "delivery.backoff_base_ms=1",
    "delivery.backoff_max_ms=5",
    "delivery.breaker_pause_ms=5",
    "delivery.timeout_ms=500",
    "delivery.retry_after_max_secs=1",
    "drain.timeout_ms=2000",
];

/// Starts it on a place's folder. Secrets come from files and from the environment, and the environment names a proxy that nobody asked for.
fn spawn(place: &Place, settings: &[String], more: &[&str]) -> Baton {
    place.write("policy.toml", POLICY);
    place.write("zendesk-token", format!("{ZENDESK_TOKEN}\n"));
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.args(["serve", "--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--model", TINY, "--policy", "policy.toml"]);
    for variable in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        command.env(variable, "http://127.0.0.1:9");
    }
    command.env_remove("no_proxy").env_remove("NO_PROXY");
    for set in settings.iter().map(String::as_str).chain(FAST) {
        command.args(["--set", set]);
        match set.split_once('=').unwrap().0 {
            "zendesk.url" => drop(command.args(["--set", "zendesk.token_file=zendesk-token"])),
            "chatwoot.url" => drop(command.env("BATON_CHATWOOT_TOKEN", CHATWOOT_TOKEN)),
            "webhook.url" => drop(command.env("BATON_WEBHOOK_SECRET", WEBHOOK_SECRET)),
            _ => {}
        }
    }
    if !more.contains(&"--log-level") {
        command.args(["--log-level", "info"]);
    }
    command.args(more).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    let (sender, lines) = mpsc::unbounded_channel();
    let log = Arc::new(Mutex::new(String::new()));
    let kept = Arc::clone(&log);
    std::thread::spawn(move || {
        for line in stderr.lines().map_while(Result::ok) {
            *kept.lock().unwrap() += &format!("{line}\n");
            // A test that has ended wants no more.
            let _ = sender.send(line);
        }
    });
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    let said = line.trim_end().strip_prefix("serving on ").and_then(|rest| rest.split_once(", metrics on http://"));
    let Some((address, metrics)) = said else { panic!("{line:?} {}", log.lock().unwrap()) };
    let metrics = metrics.strip_suffix("/metrics").unwrap().parse().unwrap();
    Baton { child, address: address.to_owned(), metrics, lines, log }
}

impl Baton {
    async fn channel(&self) -> Channel {
        let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{}", self.address)).unwrap();
        soon("a connection", endpoint.connect()).await.unwrap()
    }

    /// Hands a conversation over.
    async fn hand_over(&self, conversation: &str) {
        assert!(observe(&mut Conversations::new(self.channel().await), conversation, ASKS).await.unwrap(), "it is handed over");
    }

    async fn outbox(&self) -> Vec<OutboxLetter> {
        let mut admin = Admins::new(self.channel().await);
        admin.list_outbox(pb::ListOutboxRequest::default()).await.unwrap().into_inner().letters
    }

    /// Asks for the outbox until it is as it is wanted.
    async fn until_outbox(&self, wanted: impl Fn(&[OutboxLetter]) -> bool) -> Vec<OutboxLetter> {
        let ask = async {
            loop {
                let letters = self.outbox().await;
                if wanted(&letters) {
                    return letters;
                }
            }
        };
        soon("the outbox is as it is wanted", ask).await
    }

    async fn link(&self, conversation: &str, ticket: &str) -> Result<(), tonic::Status> {
        let request = pb::LinkTicketRequest { conversation_id: conversation.to_owned(), ticket_id: ticket.to_owned() };
        HandoffServiceClient::new(self.channel().await).link_ticket(request).await.map(drop)
    }

    /// Waits until its log says something after what was waited for before.
    async fn until_says(&mut self, words: &str) -> String {
        loop {
            let line = soon(words, self.lines.recv()).await.unwrap_or_else(|| panic!("it ended before it said {words:?}"));
            if line.contains(words) {
                return line;
            }
        }
    }

    fn metric(&self, series: &str) -> f64 {
        let mut stream = std::net::TcpStream::connect(self.metrics).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{series} is not in:\n{text}")).parse().unwrap()
    }

    fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn signal_end(&self) {
        let pid = self.child.id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }

    /// Ends it with SIGTERM; gives its log.
    async fn terminate(mut self) -> String {
        self.signal_end();
        while soon("the end of the log", self.lines.recv()).await.is_some() {}
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
        self.log.lock().unwrap().clone()
    }
}

/// Says something as a customer of their own; gives whether it is handed over.
async fn observe(client: &mut Conversations, conversation: &str, text: &str) -> Result<bool, tonic::Status> {
    let request = pb::ObserveRequest {
        conversation_id: conversation.to_owned(),
        message_id: "m-1".to_owned(),
        sequence: 1,
        speaker: pb::Speaker::Customer.into(),
        text: text.to_owned(),
        customer_id: Some(format!("u-{conversation}")),
        ..pb::ObserveRequest::default()
    };
    let answer = client.observe(request).await?.into_inner();
    Ok(answer.decision.unwrap().action() == pb::DecisionAction::HandOver)
}

fn listed(place: &Place) -> Vec<Value> {
    place.baton(&["outbox", "--store", "baton-data", "--json"]).json_lines()
}

// ---------------------------------------------------------------- every letter arrives

/// What a hostile server may do, by turns at random.
fn hostile(random: &mut Random, elsewhere: SocketAddr) -> Act {
    match random.below(12) {
        0 => status(500),
        1 => status(503),
        2 => Act::Answer(429, "retry-after: 0\r\n".to_owned()),
        3 => Act::Hang,
        4 => Act::Reset,
        5 => Act::Leave,
        6 => Act::Half,
        7 => Act::Answer(302, format!("location: http://{elsewhere}/\r\n")),
        8 => Act::Answer(307, format!("location: http://{elsewhere}/\r\n")),
        9 => status(409),
        10 => Act::Answer(308, "location: http://192.0.2.1/\r\n".to_owned()),
        _ => Act::Endless,
    }
}

/// Does something hostile twice in three times.
fn often_hostile(seed: u64, elsewhere: SocketAddr) -> impl FnMut(&Request) -> Act + Send {
    let mut random = Random::new(seed);
    move |_| if random.below(3) > 0 { hostile(&mut random, elsewhere) } else { ok() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_letter_arrives_whatever_the_server_does() {
    let place = Place::new();
    let mut elsewhere = Helpdesk::kind().await;
    let mut helpdesk = Helpdesk::start(often_hostile(11, elsewhere.address)).await;
    let baton = spawn(&place, &everywhere(&helpdesk), &[]);
    let conversations = 12;
    for number in 1..=conversations {
        baton.hand_over(&number.to_string()).await;
    }
    baton.until_outbox(<[OutboxLetter]>::is_empty).await;
    let arrived = helpdesk.arrived();
    assert_eq!(arrived.len(), 3 * conversations, "a key for each conversation and destination");
    assert!(arrived.values().all(|times| *times >= 1), "{arrived:?}");
    assert!(helpdesk.seen.len() > arrived.len(), "the server was hostile");
    assert_eq!(elsewhere.drain().len(), 0, "a redirect was followed");
    assert_eq!(baton.metric("baton_outbox{destination=\"zendesk\",state=\"pending\"}"), 0.0);
    assert_eq!(baton.metric("baton_delivery_attempts_total{destination=\"webhook\",result=\"delivered\"}"), conversations as f64);
    let log = baton.terminate().await;
    assert_eq!(log.matches("letter_delivered").count(), 3 * conversations);
    assert_eq!(listed(&place), Vec::<Value>::new());
}

/// Hands conversations over until the daemon is gone or there were enough; notes those that were acknowledged.
async fn send(address: String, client: usize, acknowledged: Arc<Mutex<BTreeSet<String>>>, begin: usize) {
    let Ok(mut daemon) = Conversations::connect(format!("http://{address}")).await else { return };
    for number in begin..begin + CONVERSATIONS {
        let id = (client * 1_000_000 + number).to_string();
        match observe(&mut daemon, &id, ASKS).await {
            Ok(handed_over) => assert!(handed_over && acknowledged.lock().unwrap().insert(id)),
            Err(_) => return,
        }
    }
}

/// Conversations of each client in a round: enough letters for requests until the kill, few enough to be delivered soon.
const CONVERSATIONS: usize = 25;
const CLIENTS: usize = 4;

async fn kill(times: usize, seed: u64) {
    let place = Place::new();
    let mut random = Random::new(seed);
    let elsewhere = Helpdesk::kind().await;
    let mut helpdesk = Helpdesk::start(often_hostile(seed, elsewhere.address)).await;
    let acknowledged: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    for round in 0..times {
        let mut baton = spawn(&place, &everywhere(&helpdesk), &["--log-level", "error"]);
        let mut clients = JoinSet::new();
        for client in 1..=CLIENTS {
            clients.spawn(send(baton.address.clone(), client, Arc::clone(&acknowledged), round * CONVERSATIONS));
        }
        for _ in 0..1 + random.below(CLIENTS * CONVERSATIONS * 2) {
            helpdesk.next().await;
        }
        baton.kill();
        while let Some(ended) = soon("the clients end", clients.join_next()).await {
            ended.unwrap();
        }
    }
    helpdesk.now(|_| ok());
    let baton = spawn(&place, &everywhere(&helpdesk), &[]);
    baton.until_outbox(<[OutboxLetter]>::is_empty).await;
    let arrived = helpdesk.arrived();
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= times, "{} conversations", acknowledged.len());
    for id in &acknowledged {
        for kind in Kind::ALL {
            let times = arrived.get(&kind.key(&Id::new(id.as_str()).unwrap(), 1)).copied().unwrap_or_default();
            assert!(times >= 1, "{kind:?} of {id} is lost");
        }
    }
    drop(baton);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_daemon_loses_no_letter() {
    kill(KILLS, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the long form: a minute or two"]
async fn twenty_kills() {
    kill(20, 2).await;
}

/// The very moment between an answer and its mark: the letter comes again, the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_and_not_marked_comes_again_with_the_same_key_and_bytes() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start(|_| Act::Hang).await;
    let mut baton = spawn(&place, &webhook(&helpdesk), &["--set", "delivery.timeout_ms=60000"]);
    baton.hand_over("1").await;
    let first = helpdesk.next().await;
    baton.kill();
    assert_eq!(listed(&place)[0]["key"], first.key(), "what a killed daemon left can be listed");
    helpdesk.now(|_| ok());
    let mut baton = spawn(&place, &webhook(&helpdesk), &[]);
    let second = helpdesk.next().await;
    assert_eq!((first.key(), &first.body), (second.key(), &second.body));
    baton.until_says("letter_delivered").await;
    assert_eq!(listed(&place), Vec::<Value>::new());
}

/// A letter of several requests: what was done is not done again, and each has a key of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_requests_of_a_letter_go_in_order_and_each_until_it_was_done() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start(|request| if request.target.ends_with("/tags") { Act::Hang } else { ok() }).await;
    let mut settings = zendesk(&helpdesk);
    settings.extend(["notes.tags=baton".to_owned(), "notes.priority=on".to_owned()]);
    let mut baton = spawn(&place, &settings, &["--set", "delivery.timeout_ms=60000"]);
    baton.hand_over("7").await;
    helpdesk.until(|request| request.target.ends_with("/tags")).await;
    baton.kill();
    helpdesk.now(|_| ok());
    let mut baton = spawn(&place, &settings, &[]);
    baton.until_says("letter_delivered").await;
    let came: Vec<(&str, &str)> = helpdesk.drain().iter().map(|request| (request.target.as_str(), request.key())).collect();
    let key = Kind::Zendesk.key(&Id::new("7").unwrap(), 1);
    let (second, third) = (format!("{key}-2"), format!("{key}-3"));
    let (ticket, tags) = ("/zendesk/api/v2/tickets/7", ("/zendesk/api/v2/tickets/7/tags", second.as_str()));
    assert_eq!(came, [(ticket, key.as_str()), tags, tags, (ticket, third.as_str())]);
    assert_eq!(helpdesk.drain()[3].json(), serde_json::json!({"ticket": {"priority": "urgent"}}));
}

/// What the helpdesk replaces as a whole is read, merged and written; nothing is written where all is there, or where what is there could not be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_there_is_merged_and_never_taken_away() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::kind().await;
    let mut settings: Vec<String> = everywhere(&helpdesk).into_iter().filter(|set| set.starts_with("chatwoot")).collect();
    settings.extend(["notes.tags=baton,vip".to_owned(), "notes.merge=on".to_owned()]);
    let mut baton = spawn(&place, &settings, &[]);
    for (ticket, there, written) in [
        ("1", serde_json::json!({"payload": ["late", "vip"]}), Some(serde_json::json!({"labels": ["late", "vip", "baton"]}))),
        ("2", serde_json::json!({"payload": ["vip", "baton"]}), None),
    ] {
        helpdesk.now(move |request| if request.method == "GET" { Act::Json(there.clone()) } else { ok() });
        baton.hand_over(ticket).await;
        baton.until_says("letter_delivered").await;
        let labels = format!("/chatwoot/api/v1/accounts/3/conversations/{ticket}/labels");
        let posts = helpdesk.drain().iter().filter(|request| request.target == labels && request.method == "POST").map(Request::json);
        assert_eq!(posts.collect::<Vec<_>>(), Vec::from_iter(written), "{ticket}");
    }
    helpdesk.now(|request| if request.method == "GET" { Act::Json(serde_json::json!({"error": "hidden words"})) } else { ok() });
    baton.hand_over("3").await;
    let line = baton.until_says("letter_died").await;
    assert!(line.contains("the answer to be merged has no list of texts at /payload") && !line.contains("hidden"), "{line}");
    let writes = |request: &&Request| request.method == "POST" && request.target.ends_with("/3/labels");
    assert_eq!(helpdesk.drain().iter().filter(writes).count(), 0);
    assert_eq!(helpdesk.drain().iter().filter(|request| request.target.ends_with("/3/messages")).count(), 1, "the note came first");
}

// ---------------------------------------------------------------- what is sent

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_destination_gets_its_request() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::kind().await;
    let baton = spawn(&place, &everywhere(&helpdesk), &[]);
    baton.hand_over("4711").await;
    let mut requests = BTreeMap::new();
    for _ in 0..3 {
        let request = helpdesk.next().await;
        requests.insert(request.target.clone(), request);
    }
    let note = &requests["/zendesk/api/v2/tickets/4711"];
    assert_eq!((note.method.as_str(), note.headers["content-type"].as_str()), ("PUT", "application/json"));
    assert_eq!(note.headers["authorization"], "Basic YmF0b25AZXhhbXBsZS5jb20vdG9rZW46emVuZGVzay1odW50ZXIy");
    assert_eq!(note.json()["ticket"]["comment"]["public"], false);
    assert!(note.json()["ticket"]["comment"]["html_body"].as_str().unwrap().contains(ASKS));
    let note = &requests["/chatwoot/api/v1/accounts/3/conversations/4711/messages"];
    assert_eq!((note.method.as_str(), note.headers["api_access_token"].as_str()), ("POST", CHATWOOT_TOKEN));
    assert_eq!((&note.json()["private"], &note.json()["message_type"]), (&Value::from(true), &Value::from("outgoing")));
    let event = &requests["/hook?from=baton"];
    assert_eq!(event.method, "POST");
    assert!(event.headers["content-type"].starts_with("application/cloudevents+json"));
    assert!(event.headers["user-agent"].starts_with("baton/"));
    let json = event.json();
    assert_eq!(json["specversion"], "1.0");
    assert_eq!((json["id"].as_str().unwrap(), json["subject"].as_str().unwrap()), (event.key(), "4711"));
    assert_eq!((json["type"].as_str().unwrap(), json["source"].as_str().unwrap()), ("com.baton.handoff.decided.v1", "/baton"));
    assert!(json["time"].as_str().unwrap().ends_with('Z') && json["datacontenttype"] == "application/json");
    assert_eq!(json["data"]["package"]["reason"]["value"]["trigger"], "asks");
    for form in ["markdown", "text"] {
        assert!(json["data"][form].as_str().unwrap().contains("Why"), "{form}");
    }
    let notes = &json["data"]["notes"];
    assert_eq!(notes["zendesk"]["requests"][0]["body"], requests["/zendesk/api/v2/tickets/4711"].json());
    assert_eq!(notes["freshdesk"]["requests"][0]["path"], "/api/v2/tickets/4711/notes");
    assert_eq!(notes["chatwoot"]["absent"], "account_id: no number is known");
    let keys: BTreeSet<&str> = requests.values().map(Request::key).collect();
    assert_eq!(keys.len(), 3, "each destination has its own key");
    for (kind, target) in [(Kind::Webhook, "/hook?from=baton"), (Kind::Zendesk, "/zendesk/api/v2/tickets/4711")] {
        assert_eq!(requests[target].key(), kind.key(&Id::new("4711").unwrap(), 1));
    }
}

/// HMAC as RFC 2104 defines it, from the hash alone.
fn hmac_sha256(key: &[u8], message: &[u8]) -> String {
    let mut block = [0u8; 64];
    block[..key.len()].copy_from_slice(key);
    let of = |pad: u8, rest: &[u8]| Sha256::digest([block.map(|byte| byte ^ pad).as_slice(), rest].concat());
    of(0x5c, &of(0x36, message)).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_is_signed_with_the_time_of_the_attempt() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start({
        let mut first = true;
        move |_| if std::mem::take(&mut first) { status(500) } else { ok() }
    })
    .await;
    let baton = spawn(&place, &webhook(&helpdesk), &[]);
    let before = baton::service::clock::wall().millis() / 1000;
    baton.hand_over("1").await;
    let attempts = [helpdesk.next().await, helpdesk.next().await];
    let after = baton::service::clock::wall().millis() / 1000;
    for attempt in &attempts {
        let signature = &attempt.headers["baton-signature"];
        let (time, digest) = signature.strip_prefix("t=").unwrap().split_once(",v1=").unwrap();
        assert!((before..=after).contains(&time.parse().unwrap()), "{time} is not in {before}..={after}");
        assert_eq!(digest, hmac_sha256(WEBHOOK_SECRET.as_bytes(), &[time.as_bytes(), b".", &attempt.body].concat()));
    }
    assert_eq!(attempts[0].body, attempts[1].body);
}

/// The page for operators shows a program that verifies; it accepts what Baton sends and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_program_of_the_documentation_verifies() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/delivery.md")).unwrap();
    let program = page.split("```python\n").nth(1).unwrap().split("```").next().unwrap();
    let place = Place::new();
    let mut helpdesk = Helpdesk::kind().await;
    let baton = spawn(&place, &webhook(&helpdesk), &[]);
    baton.hand_over("1").await;
    let event = helpdesk.next().await;
    place.write("body", &event.body);
    let signature = &event.headers["baton-signature"];
    let (time, _) = signature[2..].split_once(',').unwrap();
    let check = format!(
        "{program}\nbody, signature, now = open('body', 'rb').read(), {signature:?}, {time}\n\
         assert verified(b'{WEBHOOK_SECRET}', signature, body, now)\n\
         assert not verified(b'another', signature, body, now)\n\
         assert not verified(b'{WEBHOOK_SECRET}', signature, body + b' ', now)\n\
         assert not verified(b'{WEBHOOK_SECRET}', signature, body, now + 3600)\n\
         assert not verified(b'{WEBHOOK_SECRET}', 'nonsense', body, now)\n"
    );
    let mut python = std::process::Command::new("python3");
    python.args(["-c", &check]).current_dir(place.path("."));
    match python.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr)),
        // A machine without Python can build and test Baton; CI has one.
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{error}"),
    }
}

// ---------------------------------------------------------------- dead letters

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_listed_and_put_back() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start(|_| status(422)).await;
    let mut baton = spawn(&place, &webhook(&helpdesk), &[]);
    for conversation in ["1", "2"] {
        baton.hand_over(conversation).await;
        let line = baton.until_says("letter_died").await;
        assert!(line.contains("found 422 Unprocessable Entity"), "{line}");
    }
    let first = helpdesk.drain().to_vec();
    assert_eq!(first.len(), 2, "what is refused is not tried again");
    let letters = listed(&place);
    let keys: Vec<&str> = letters.iter().map(|letter| letter["key"].as_str().unwrap()).collect();
    assert_eq!(keys, first.iter().map(Request::key).collect::<Vec<_>>());
    assert_eq!((&letters[0]["state"], &letters[0]["destination"], &letters[0]["attempts"]), (&"dead".into(), &"webhook".into(), &1.into()));
    assert_eq!((&letters[0]["conversation_id"], &letters[0]["reason"]), (&"1".into(), &"found 422 Unprocessable Entity".into()));
    assert_eq!(baton.metric("baton_outbox{destination=\"webhook\",state=\"dead\"}"), 2.0);
    let address = baton.address.clone();
    assert_eq!(place.baton(&["outbox", "--address", &address, "--json"]).json_lines(), letters, "asked for, it is the same");
    assert!(place.baton(&["outbox"]).success().contains(keys[1]), "as a table, of the usual folder");

    // While the daemon runs, it puts them back; the folder is its own.
    place.baton(&["outbox", "resend", "--store", "baton-data", keys[0]]).failure(&["--address", "another process serves this folder"]);
    helpdesk.now(|_| ok());
    let resent = place.baton(&["outbox", "resend", "--address", &address, keys[0], "unknown"]);
    assert_eq!(resent.code, Some(1), "a key is unknown: {}", resent.stderr);
    assert!(resent.stdout.contains("letters put back: 1") && resent.stdout.contains("unknown: "), "{}", resent.stdout);
    let again = helpdesk.next().await;
    assert_eq!((again.key(), &again.body), (first[0].key(), &first[0].body));
    baton.until_says("letter_delivered").await;
    assert_eq!(listed(&place).len(), 1);

    // Without a daemon the folder's letters are put back where they lie.
    baton.terminate().await;
    assert_eq!(place.baton(&["outbox", "resend", "--all-dead", "--json"]).json()["letters"], 1);
    assert_eq!(listed(&place)[0]["state"], "pending");
    let mut baton = spawn(&place, &webhook(&helpdesk), &[]);
    let again = helpdesk.next().await;
    assert_eq!((again.key(), &again.body), (first[1].key(), &first[1].body));
    baton.until_says("letter_delivered").await;
    place.baton(&["outbox", "--store", "nowhere"]).failure(&["nowhere", "baton.db"]);
    place.baton(&["outbox", "resend", "--store", "nowhere", "--all-dead"]).failure(&["nowhere", "baton.db"]);
    assert!(!place.path("nowhere").exists(), "nothing is made");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_letter_is_given_up_after_its_attempts_or_its_age() {
    for (limit, words) in [
        ("delivery.attempts_max=3", "given up after 3 attempts; last: found 500"),
        ("delivery.age_max_secs=1", "given up after 1 s; last: found 500"),
    ] {
        let place = Place::new();
        let mut helpdesk = Helpdesk::start(|_| status(500)).await;
        let mut baton = spawn(&place, &webhook(&helpdesk), &["--set", "delivery.attempts_max=1000000", "--set", limit]);
        baton.hand_over("1").await;
        let line = baton.until_says("letter_died").await;
        assert!(line.contains(words), "{line}");
        assert!(limit.contains("age") || helpdesk.drain().len() == 3, "{:?}", helpdesk.seen);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_outbox_gives_up_the_next_letter_and_no_decision() {
    let place = Place::new();
    let helpdesk = Helpdesk::start(|_| Act::Hang).await;
    let baton = spawn(&place, &webhook(&helpdesk), &["--set", "delivery.pending_max=1", "--set", "delivery.timeout_ms=60000"]);
    baton.hand_over("1").await;
    baton.hand_over("2").await;
    let letters = baton.outbox().await;
    assert_eq!(letters.iter().map(OutboxLetter::state).collect::<Vec<_>>(), [OutboxState::Pending, OutboxState::Dead]);
    assert_eq!(letters[1].reason, "the outbox was full when it was decided");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pause_that_is_asked_for_is_kept() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start(|_| Act::Answer(429, "retry-after: 1800\r\n".to_owned())).await;
    let mut baton = spawn(&place, &webhook(&helpdesk), &["--set", "delivery.retry_after_max_secs=3600"]);
    let before = baton::service::clock::wall().millis() / 1000;
    baton.hand_over("1").await;
    baton.until_says("destination_rests").await;
    let letters = baton.outbox().await;
    assert!(letters[0].next_at.unwrap().seconds >= before + 1800, "{letters:?}");
    assert_eq!((letters[0].attempts, letters[0].reason.as_str()), (1, "found 429 Too Many Requests"));
    assert_eq!(baton.metric("baton_destination_rests{destination=\"webhook\"}"), 1.0);
    baton.hand_over("2").await;
    let drained = helpdesk.drain().len();
    assert_eq!(drained, 1, "nothing else is sent meanwhile");
    // An operator does not wait.
    helpdesk.now(|_| ok());
    assert_eq!(place.baton(&["outbox", "resend", "--address", &baton.address, &letters[0].key]).code, Some(0));
    baton.until_outbox(<[OutboxLetter]>::is_empty).await;
    assert_eq!(baton.metric("baton_destination_rests{destination=\"webhook\"}"), 0.0);
}

// ---------------------------------------------------------------- tickets

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_that_is_linked_is_the_one_that_gets_the_note() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start(|request| if request.target.ends_with("/404") { status(404) } else { ok() }).await;
    let mut baton = spawn(&place, &zendesk(&helpdesk), &[]);
    // An id that is no ticket: it waits for one.
    baton.hand_over("chat-1").await;
    let line = baton.until_says("letter_died").await;
    assert!(line.contains("no ticket was linked") && line.contains("LinkTicket") && !line.contains("chat-1"), "{line}");
    assert_eq!(listed(&place)[0]["state"], "unaddressed");
    for wrong in ["", "a b", "CASE-7", "7/../8", &"7".repeat(65)] {
        let refused = baton.link("chat-1", wrong).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
        assert!(refused.message().starts_with("ticket_id: "), "{refused:?}");
    }
    assert_eq!(baton.link("nobody", "7").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(helpdesk.drain().len(), 0);
    // One that the helpdesk does not know: it waits for another.
    baton.link("chat-1", "404").await.unwrap();
    let line = baton.until_says("letter_died").await;
    assert!(line.contains("found 404 Not Found: the helpdesk has no such ticket"), "{line}");
    baton.link("chat-1", "4711").await.unwrap();
    let note = helpdesk.until(|request| request.target.ends_with("/4711")).await;
    assert_eq!(note.key(), Kind::Zendesk.key(&Id::new("chat-1").unwrap(), 1));
    baton.until_says("letter_delivered").await;
    baton.link("chat-1", "4711").await.unwrap();

    // Before the decision, and kept over a restart.
    assert!(!observe(&mut Conversations::new(baton.channel().await), "chat-2", "hello there").await.unwrap());
    baton.link("chat-2", "9").await.unwrap();
    baton.link("chat-2", "12").await.unwrap();
    baton.kill();
    let mut baton = spawn(&place, &zendesk(&helpdesk), &[]);
    let asks = pb::ObserveRequest {
        conversation_id: "chat-2".to_owned(),
        message_id: "m-2".to_owned(),
        sequence: 2,
        speaker: pb::Speaker::Customer.into(),
        text: ASKS.to_owned(),
        ..pb::ObserveRequest::default()
    };
    Conversations::new(baton.channel().await).observe(asks).await.unwrap();
    baton.until_says("letter_delivered").await;
    assert_eq!(helpdesk.next().await.target, "/zendesk/api/v2/tickets/12");
    assert_eq!(helpdesk.drain().iter().filter(|request| request.arrived()).count(), 2);
}

// ---------------------------------------------------------------- what must not stay, and what must not be seen

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erased_customer_leaves_no_letter_and_no_byte_of_one() {
    let place = Place::new();
    let helpdesk = Helpdesk::start(|_| Act::Answer(503, "retry-after: 3600\r\n".to_owned())).await;
    let mut baton = spawn(&place, &webhook(&helpdesk), &["--set", "delivery.retry_after_max_secs=3600"]);
    let text = format!("{ASKS}, my order {PLANTED} is late");
    assert!(observe(&mut Conversations::new(baton.channel().await), "1", &text).await.unwrap());
    baton.until_says("destination_rests").await;
    assert_eq!(baton.outbox().await.len(), 1);
    let has_planted = || {
        let files = ["baton.db", "baton.db-wal"].map(|name| std::fs::read(place.path("baton-data").join(name)).unwrap_or_default());
        files.iter().any(|bytes| bytes.windows(PLANTED.len()).any(|window| window == PLANTED.as_bytes()))
    };
    assert!(has_planted(), "what is sent is stored");
    let erase = pb::EraseCustomerRequest { customer_id: "u-1".to_owned() };
    Conversations::new(baton.channel().await).erase_customer(erase).await.unwrap();
    assert_eq!(baton.outbox().await, []);
    assert!(!has_planted());
    assert_eq!(baton.link("1", "7").await.unwrap_err().code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_shows_a_secret_or_what_a_customer_wrote() {
    let place = Place::new();
    let echo = Act::Answer(400, format!("x-echo: {ZENDESK_TOKEN} {PLANTED}\r\n"));
    let mut helpdesk = Helpdesk::start(move |request| match request.target.as_bytes()[1] {
        b'z' => echo.clone(),
        b'c' => Act::Answer(302, format!("location: http://127.0.0.1:9/{CHATWOOT_TOKEN}\r\n")),
        _ => ok(),
    })
    .await;
    let settings = everywhere(&helpdesk);
    let mut baton = spawn(&place, &settings, &["--log-level", "trace", "--set", "delivery.attempts_max=2"]);
    assert!(observe(&mut Conversations::new(baton.channel().await), "1", &format!("{ASKS} {PLANTED}")).await.unwrap());
    baton.until_says("letter_died").await;
    baton.until_says("letter_died").await;
    helpdesk.until(|request| request.target.starts_with("/hook")).await;
    let letters = format!("{:?}", baton.outbox().await);
    let log = baton.terminate().await;
    assert!(log.contains("letter_delivered") && log.contains("a redirect is not followed"), "{log}");
    let database = place.read("baton-data/baton.db");
    let basic = "emVuZGVzay1odW50ZXIy";
    for secret in [ZENDESK_TOKEN, CHATWOOT_TOKEN, WEBHOOK_SECRET, basic] {
        assert!(!log.contains(secret) && !letters.contains(secret), "{secret} is shown");
        assert!(!database.windows(secret.len()).any(|window| window == secret.as_bytes()), "{secret} is stored");
    }
    assert!(!log.contains(PLANTED) && !letters.contains(PLANTED));
    let check: Run =
        place.baton(&["check", "--set", "webhook.url=https://hooks.example", "--set", &format!("webhook.secret={WEBHOOK_SECRET}")]);
    assert!(check.code != Some(0) && !check.stderr.contains(WEBHOOK_SECRET) && !check.stdout.contains(WEBHOOK_SECRET), "{check:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_texts_a_letter_arrives_all_the_same() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::kind().await;
    let baton = spawn(&place, &webhook(&helpdesk), &["--set", "store.text=none"]);
    assert!(observe(&mut Conversations::new(baton.channel().await), "1", &format!("{ASKS} {PLANTED}")).await.unwrap());
    let event = helpdesk.next().await;
    assert_eq!(event.json()["data"]["package"]["reason"]["value"]["trigger"], "asks");
    assert!(!String::from_utf8(event.body).unwrap().contains(PLANTED));
}

// ---------------------------------------------------------------- ends

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_at_the_end_gets_its_time_and_the_rest_stays() {
    let place = Place::new();
    let mut helpdesk = Helpdesk::start(|_| Act::Hang).await;
    let baton = spawn(&place, &webhook(&helpdesk), &["--set", "delivery.timeout_ms=60000", "--set", "drain.timeout_ms=100"]);
    baton.hand_over("1").await;
    helpdesk.next().await;
    baton.terminate().await;
    let letters = listed(&place);
    assert_eq!((letters.len(), &letters[0]["state"], &letters[0]["attempts"]), (1, &"pending".into(), &0.into()));

    // One that answers while the daemon drains is delivered.
    let (sender, receiver) = oneshot::channel::<()>();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("webhook.url=http://{}", listener.local_addr().unwrap());
    let (came, coming) = oneshot::channel();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        read(&mut stream).await.unwrap();
        came.send(()).unwrap();
        receiver.await.unwrap();
        answer(&mut stream, &ok()).await
    });
    let mut baton = spawn(&place, &[url], &["--set", "drain.timeout_ms=30000", "--set", "delivery.timeout_ms=60000"]);
    soon("the request", coming).await.unwrap();
    baton.signal_end();
    baton.until_says("draining").await;
    sender.send(()).unwrap();
    while soon("the end of the log", baton.lines.recv()).await.is_some() {}
    assert_eq!(baton.child.wait().unwrap().code(), Some(0));
    assert_eq!(listed(&place), Vec::<Value>::new());
}

// ---------------------------------------------------------------- the way there

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proxy_is_used_where_the_settings_name_one() {
    let place = Place::new();
    let mut proxy = Helpdesk::kind().await;
    let settings = ["webhook.url=http://localhost:9/hook".to_owned(), format!("delivery.proxy={}", proxy.url())];
    let mut baton = spawn(&place, &settings, &[]);
    baton.hand_over("1").await;
    assert_eq!(proxy.next().await.target, "http://localhost:9/hook");
    baton.until_says("letter_delivered").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_authority_of_the_site_is_believed_where_its_file_says_so() {
    let mut authority = rcgen::CertificateParams::default();
    authority.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let ca_pem = authority.self_signed(&key).unwrap().pem();
    let issuer = rcgen::Issuer::new(authority, key);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = rcgen::CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, &issuer).unwrap();
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = tokio_rustls::rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions().unwrap();
    let key = tokio_rustls::rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("webhook.url=https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let (sender, mut requests) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // Who does not believe the certificate leaves.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            if let Some(request) = read(&mut stream).await {
                sender.send(request).unwrap();
                answer(&mut stream, &ok()).await;
            }
        }
    });
    let place = Place::new();
    place.write("other.pem", {
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap().pem()
    });
    place.write("ca.pem", ca_pem);
    let mut baton = spawn(&place, &[url.clone(), "webhook.ca_file=other.pem".to_owned()], &[]);
    baton.hand_over("1").await;
    let line = baton.until_says("letter_postponed").await;
    assert!(line.contains("no connection: invalid peer certificate"), "{line}");
    baton.kill();
    let mut baton = spawn(&place, &[url, "webhook.ca_file=ca.pem".to_owned()], &[]);
    assert_eq!(soon("a request", requests.recv()).await.unwrap().target, "/hook");
    baton.until_says("letter_delivered").await;
}
