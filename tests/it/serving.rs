//! The daemon as its clients meet it: in this process with an engine that waits, fails or panics when a test says so, and as the real binary.
//!
//! Nothing here waits by the clock. [`Control`] holds the engine until the test opens it and tells when a call has come; [`Stream::fence`] tells that all
//! that was sent before is queued. [`WAIT`] is only how long a test may hang before it fails.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard};
use std::time::Duration;

use baton::config::serve::Typed;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::encoder::{EncodeError, Encoder, HiddenStates};
use baton::model::load::load;
use baton::model::scorer::{ScoreInput, Scorer};
use baton::service::pb;
use baton::service::pb::score_result::Outcome;
use baton::service::pb::scoring_service_client::ScoringServiceClient;
use baton::service::server::{self, Listen, ServerError};
use baton::service::status::retry_after_ms;
use baton::signal::{Classification, Signals};
use prost::Message as _;
use prost::bytes::{Buf as _, BufMut as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder as WireEncoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status, Streaming};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::support::{PLANTED, Place, Run, SHIPPED, TINY, each_case, encode_by};

/// After this time a test fails in place of hanging.
const WAIT: Duration = Duration::from_secs(30);
/// A word of the tiny model, and so one token, that no other text here holds.
const TRIGGER: &str = "lawyer";
const SERVICE: &str = "baton.v1.ScoringService";

static PLAIN: LazyLock<Scorer> = LazyLock::new(tiny);

fn tiny() -> Scorer {
    load(Path::new(TINY), &open_device(DeviceChoice::Cpu).unwrap()).unwrap()
}

pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("{what}: nothing within {WAIT:?}"))
}

/// A text of its own for each number.
fn text(number: usize) -> String {
    format!("where is my money {number}")
}

/// What the engine is given for a text.
fn ids(text: &str) -> Vec<u32> {
    PLAIN.reference(text).unwrap().input_ids
}

fn request(text: impl Into<String>) -> pb::ScoreRequest {
    pb::ScoreRequest { text: text.into(), ..pb::ScoreRequest::default() }
}

fn with_priority(text: impl Into<String>, priority: i32) -> pb::ScoreRequest {
    pb::ScoreRequest { priority: Some(priority), ..request(text) }
}

// ---------------------------------------------------------------- the engine

/// Holds the engine of a server and sees what it is given.
struct Control {
    state: Mutex<State>,
    opened: Condvar,
    /// Engine calls that have begun.
    calls: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    closed: bool,
    sequences: Vec<Vec<u32>>,
    poison: Option<u32>,
    panic: Option<u32>,
}

impl Control {
    fn new() -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), opened: Condvar::new(), calls: watch::Sender::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn close(&self) {
        self.state().closed = true;
    }

    fn open(&self) {
        self.state().closed = false;
        self.opened.notify_all();
    }

    /// Every call that holds this word fails.
    fn poison(&self, word: &str) {
        self.state().poison = Some(ids(word)[1]);
    }

    /// Every call that holds this word panics.
    fn panic_on(&self, word: &str) {
        self.state().panic = Some(ids(word)[1]);
    }

    fn calls(&self) -> usize {
        *self.calls.borrow()
    }

    /// Waits until so many calls have begun.
    async fn until_calls(&self, calls: usize) {
        soon("the engine is called", self.calls.subscribe().wait_for(|so_far| *so_far >= calls)).await.unwrap();
    }

    /// What the engine was given, in order.
    fn sequences(&self) -> Vec<Vec<u32>> {
        self.state().sequences.clone()
    }

    /// How often the engine was given a text.
    fn count(&self, text: &str) -> usize {
        let ids = ids(text);
        self.state().sequences.iter().filter(|sequence| **sequence == ids).count()
    }
}

impl Control {
    fn encode(&self, inner: &dyn Encoder, sequences: &[&[u32]], layers: &[usize]) -> Result<Vec<HiddenStates>, EncodeError> {
        let mut state = self.state();
        state.sequences.extend(sequences.iter().map(|sequence| sequence.to_vec()));
        self.calls.send_modify(|calls| *calls += 1);
        state = self.opened.wait_while(state, |state| state.closed).unwrap();
        let holds = |token: Option<u32>| token.is_some_and(|token| sequences.iter().any(|sequence| sequence.contains(&token)));
        let (poisoned, panics) = (holds(state.poison), holds(state.panic));
        drop(state);
        if panics {
            // A panic without the hook, which would write on stderr.
            std::panic::resume_unwind(Box::new("the engine was told to panic"));
        }
        if poisoned { Err(EncodeError::NotFinite) } else { inner.encode(sequences, layers) }
    }
}

// ---------------------------------------------------------------- the server in this process

/// A server with one worker; whatever a test does, its engine is open when the test ends.
struct Server {
    address: SocketAddr,
    metrics: SocketAddr,
    engine: Arc<Control>,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServerError>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.engine.open();
    }
}

impl Server {
    async fn start(settings: &[&str]) -> Self {
        let ours = ["listen.address=127.0.0.1:0", "listen.metrics=127.0.0.1:0", "limits.workers=1"];
        let typed = ours.iter().chain(settings).fold(Typed::default(), |typed, setting| typed.set(setting));
        let engine = Control::new();
        let control = Arc::clone(&engine);
        let scorer =
            tiny().exchange_encoder(|inner| encode_by(inner, move |inner, sequences, layers| control.encode(inner, sequences, layers)));
        let running = soon("the start", server::start(Arc::new(scorer), None, typed.settings(1).unwrap())).await.unwrap();
        let Listen::Tcp(address) = running.address else { panic!("the server listens on TCP") };
        let metrics = running.metrics_address.unwrap();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(running.until(async { drop(stopped.await) }));
        engine.state().sequences.clear();
        Self { address, metrics, engine, stop: Some(stop), ended }
    }

    fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.address)).unwrap()
    }

    async fn channel(&self) -> Channel {
        soon("a connection", self.endpoint().connect()).await.unwrap()
    }

    async fn client(&self) -> Client {
        Client(ScoringServiceClient::new(self.channel().await))
    }

    /// Closes the engine with one message in it.
    async fn occupy(&self, client: &Client) -> JoinHandle<Result<pb::ScoreResponse, Status>> {
        let calls = self.engine.calls();
        self.engine.close();
        let occupying = client.spawn(request("hello"));
        self.engine.until_calls(calls + 1).await;
        occupying
    }

    fn metrics_text(&self) -> String {
        metrics_text(self.metrics)
    }

    /// The value of a series, by its whole name with labels.
    fn metric(&self, name: &str) -> f64 {
        let text = self.metrics_text();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("{name} is not in:\n{text}")).parse().unwrap()
    }

    /// Reads the metrics until one has this value.
    async fn until_metric(&self, name: &str, value: f64) {
        let reads = async {
            while self.metric(name) != value {
                tokio::task::yield_now().await;
            }
        };
        soon(name, reads).await;
    }

    async fn watch(&self) -> Streaming<HealthCheckResponse> {
        let request = HealthCheckRequest { service: SERVICE.to_owned() };
        soon("a watch", HealthClient::new(self.channel().await).watch(request)).await.unwrap().into_inner()
    }

    fn stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    async fn end(&mut self) {
        soon("the end", &mut self.ended).await.unwrap().unwrap();
    }
}

async fn until_health(watch: &mut Streaming<HealthCheckResponse>, status: ServingStatus) {
    while soon("health", watch.message()).await.unwrap().expect("the watch goes on").status() != status {}
}

/// The text that Prometheus would read.
fn metrics_text(address: SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    write!(stream, "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    answer
}

#[derive(Clone)]
struct Client(ScoringServiceClient<Channel>);

impl Client {
    async fn score(&self, request: impl tonic::IntoRequest<pb::ScoreRequest>) -> Result<pb::ScoreResponse, Status> {
        let mut client = self.0.clone();
        soon("an answer", client.score(request)).await.map(tonic::Response::into_inner)
    }

    fn spawn(&self, request: pb::ScoreRequest) -> JoinHandle<Result<pb::ScoreResponse, Status>> {
        let client = self.clone();
        tokio::spawn(async move { client.score(request).await })
    }

    async fn batch(&self, items: Vec<pb::ScoreRequest>) -> Result<Vec<Outcome>, Status> {
        let answer = soon("an answer", self.0.clone().score_batch(pb::ScoreBatchRequest { items })).await?;
        Ok(answer.into_inner().results.into_iter().map(|result| result.outcome.unwrap()).collect())
    }

    async fn info(&self) -> pb::GetInfoResponse {
        soon("an answer", self.0.clone().get_info(pb::GetInfoRequest {})).await.unwrap().into_inner()
    }

    async fn stream(&self) -> Stream {
        self.stream_with(None).await
    }

    async fn stream_with(&self, timeout: Option<Duration>) -> Stream {
        let (requests, receiver) = mpsc::channel(1024);
        let mut request = Request::new(ReceiverStream::new(receiver));
        timeout.inspect(|timeout| request.set_timeout(*timeout));
        let answers = soon("a stream", self.0.clone().score_stream(request)).await.unwrap().into_inner();
        Stream { requests, answers }
    }
}

/// A stream of a client.
struct Stream {
    requests: mpsc::Sender<pb::ScoreStreamRequest>,
    answers: Streaming<pb::ScoreStreamResponse>,
}

impl Stream {
    async fn send(&self, id: impl Into<String>, request: impl Into<Option<pb::ScoreRequest>>) {
        let request = pb::ScoreStreamRequest { id: id.into(), request: request.into() };
        soon("room in the stream", self.requests.send(request)).await.unwrap();
    }

    async fn next(&mut self) -> Option<(String, Outcome)> {
        let answer = soon("an answer of the stream", self.answers.message()).await.unwrap()?;
        Some((answer.id, answer.result.unwrap().outcome.unwrap()))
    }

    /// When this returns, everything that was sent before is queued: a message that is refused is answered at once, and in its turn. Only while nothing
    /// else is answered.
    async fn fence(&mut self) {
        self.send("fence", request("")).await;
        let (id, _) = self.next().await.unwrap();
        assert_eq!(id, "fence", "something was answered while the engine was closed");
    }

    /// Sends no more; gives what is answered until the end, by id.
    async fn rest(mut self) -> BTreeMap<String, Outcome> {
        let mut all = BTreeMap::new();
        self.requests = mpsc::channel(1).0;
        while let Some((id, outcome)) = self.next().await {
            assert!(all.insert(id.clone(), outcome).is_none(), "{id} was answered twice");
        }
        all
    }
}

#[track_caller]
fn scored(outcome: &Outcome) -> &pb::ScoreResponse {
    match outcome {
        Outcome::Response(response) => response,
        Outcome::Error(error) => panic!("expected an answer, found {error:?}"),
    }
}

#[track_caller]
fn refused(outcome: &Outcome) -> (Code, &pb::ItemError) {
    match outcome {
        Outcome::Response(_) => panic!("expected an error, found an answer"),
        Outcome::Error(error) => (Code::from(error.code), error),
    }
}

fn timing(response: &pb::ScoreResponse) -> &pb::Timing {
    response.timing.as_ref().unwrap()
}

// ---------------------------------------------------------------- comparing signals

fn assert_near(a: f32, b: f32) {
    assert!((a - b).abs() <= 1e-5, "{a} is not {b}");
}

fn assert_classification(found: Option<&pb::Classification>, expected: &Classification) {
    let found = found.unwrap();
    assert_eq!(found.absence(), pb::AbsenceReason::Unspecified);
    assert_near(found.probabilities.iter().map(|label| label.probability).sum(), 1.0);
    assert_eq!(found.probabilities.len(), expected.probabilities.len());
    for (found, (label, p)) in found.probabilities.iter().zip(&expected.probabilities) {
        assert_eq!(found.label, label.to_string());
        assert_near(found.probability, p.get());
    }
    assert_eq!(found.label.as_deref(), expected.label().map(|(label, _)| label));
}

fn assert_signals(found: &pb::ScoreResponse, expected: &Signals) {
    let found = found.signals.as_ref().unwrap();
    assert_classification(found.sentiment.as_ref(), expected.sentiment.as_ref().unwrap());
    assert_classification(found.intent.as_ref(), expected.intent.as_ref().unwrap());
    match &expected.act {
        Ok(act) => assert_classification(found.act.as_ref(), act),
        Err(_) => assert_eq!(found.act.as_ref().unwrap().absence(), pb::AbsenceReason::NoProposal),
    }
    let emotion = expected.emotion.as_ref().unwrap();
    for (found, (_, p)) in found.emotion.as_ref().unwrap().probabilities.iter().zip(&emotion.probabilities) {
        assert_near(found.probability, p.get());
    }
    assert!(found.language.as_ref().unwrap().known);
    assert_eq!(found.lexical.len(), expected.lexical.findings.len());
}

fn assert_vectors(found: &pb::ScoreResponse, expected: &Signals) {
    let found = found.signals.as_ref().unwrap();
    let expected_embedding = &expected.embedding.as_ref().unwrap().0;
    assert_eq!(found.embedding.len(), expected_embedding.len());
    found.embedding.iter().zip(expected_embedding).for_each(|(a, b)| assert_near(*a, *b));
    assert_eq!(found.sentences.len(), expected.sentences.len());
}

fn expected(text: &str, proposal: Option<&str>) -> Signals {
    PLAIN.score(&[ScoreInput { text, proposal }]).unwrap().remove(0)
}

// ---------------------------------------------------------------- what is answered

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_idle_workers_help_with_is_answered_as_by_one() {
    let (one, several) = (Server::start(&[]).await, Server::start(&["limits.workers=4"]).await);
    let (by_one, by_several) = (one.client().await, several.client().await);
    for number in 0..100 {
        let request = || pb::ScoreRequest {
            with_vectors: true,
            ..request(format!("{number} {}", "my order has not arrived ".repeat(1 + number % 30)))
        };
        let [one, several] = [by_one.score(request()).await.unwrap(), by_several.score(request()).await.unwrap()];
        assert_eq!(pb::ScoreResponse { timing: None, ..one }, pb::ScoreResponse { timing: None, ..several });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn score_answers_what_the_scorer_says_and_the_second_time_from_the_cache() {
    let server = Server::start(&[]).await;
    let client = server.client().await;
    let words = "I want a human! My card is late. Is it a good bank?";
    let first = client.score(request(words)).await.unwrap();
    assert_signals(&first, &expected(words, None));
    assert_eq!(first.model_digest, PLAIN.digest());
    assert_eq!((timing(&first).batch_messages, timing(&first).cached), (1, false));
    assert!(timing(&first).inference_us > 0);
    assert!(first.signals.as_ref().unwrap().embedding.is_empty() && first.signals.as_ref().unwrap().sentences.is_empty());

    let second = client.score(pb::ScoreRequest { with_vectors: true, ..request(words) }).await.unwrap();
    assert!(timing(&second).cached);
    assert_signals(&second, &expected(words, None));
    assert_vectors(&second, &expected(words, None));
    assert_eq!(server.engine.count(words), 1);
    assert_eq!(server.metric("baton_cache_hits_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_turn_of_the_bot_feeds_act_and_is_part_of_the_cache_key() {
    let server = Server::start(&[]).await;
    let client = server.client().await;
    for proposal in [None, Some("Can I change the delivery for you?"), Some("Do you have a card?"), None] {
        let request = pb::ScoreRequest { previous_bot_text: proposal.map(str::to_owned), ..request("that is great") };
        assert_signals(&client.score(request).await.unwrap(), &expected("that is great", proposal));
    }
    assert_eq!(server.metric("baton_cache_hits_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_is_answered_in_its_order_and_one_bad_item_fails_alone() {
    let server = Server::start(&[]).await;
    let mut items: Vec<pb::ScoreRequest> = (0..300).map(|number| request(text(number))).collect();
    items[7] = request(" ");
    let results = server.client().await.batch(items).await.unwrap();
    assert_eq!(results.len(), 300);
    for (number, result) in results.iter().enumerate().filter(|(number, _)| *number != 7) {
        assert_signals(scored(result), &expected(&text(number), None));
    }
    assert_eq!((refused(&results[7]).0, refused(&results[7]).1.retry_after_ms), (Code::InvalidArgument, None));
    assert!(refused(&results[7]).1.message.starts_with("items[7].text: "), "{:?}", results[7]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_answers_each_id_once_and_ends() {
    let server = Server::start(&["limits.stream_in_flight_max=4"]).await;
    let stream = server.client().await.stream().await;
    for number in 0..50 {
        stream.send(number.to_string(), request(text(number))).await;
    }
    let answers = stream.rest().await;
    assert_eq!(answers.len(), 50);
    for number in 0..50 {
        assert_signals(scored(&answers[&number.to_string()]), &expected(&text(number), None));
    }
    server.until_metric("baton_streams", 0.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn get_info_tells_the_model_and_the_limits_that_were_set() {
    let limits = [
        ("text_bytes_max", 1111),
        ("batch_items_max", 12),
        ("message_bytes_max", 13131),
        ("queue_tokens_max", 14141),
        ("stream_in_flight_max", 15),
        ("connections_max", 16),
    ];
    let settings: Vec<String> = limits.iter().map(|(name, value)| format!("limits.{name}={value}")).collect();
    let server = Server::start(&settings.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let info = server.client().await.info().await;
    let found = info.limits.unwrap();
    let found = [
        found.text_bytes_max,
        found.batch_items_max,
        found.message_bytes_max,
        found.queue_tokens_max,
        found.stream_in_flight_max,
        found.connections_max,
    ];
    assert_eq!(found, limits.map(|(_, value)| value));
    assert_eq!((info.model_name.as_str(), info.model_version.as_str()), ("tiny-bert", "0.1.0"));
    assert_eq!((info.model_digest.as_str(), info.engine, info.embedding_size), (PLAIN.digest(), PLAIN.engine(), 32));
    assert_eq!(info.server_version, env!("CARGO_PKG_VERSION"));
    let heads: Vec<(&str, usize, bool)> = info.heads.iter().map(|head| (head.name.as_str(), head.labels.len(), head.multi_label)).collect();
    assert_eq!(heads, [("sentiment", 3, false), ("emotion", 2, true), ("intent", 4, false), ("act", 3, false)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reflection_lists_the_service_and_health_is_serving() {
    let server = Server::start(&[]).await;
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let requests = tokio_stream::once(ServerReflectionRequest { host: String::new(), message_request });
    let mut client = ServerReflectionClient::new(server.channel().await);
    let mut answers = soon("reflection", client.server_reflection_info(requests)).await.unwrap().into_inner();
    let answer = soon("reflection", answers.message()).await.unwrap().unwrap();
    let Some(MessageResponse::ListServicesResponse(services)) = answer.message_response else { panic!("{answer:?}") };
    assert!(services.service.iter().any(|service| service.name == SERVICE), "{services:?}");
    for service in ["", SERVICE] {
        let request = HealthCheckRequest { service: service.to_owned() };
        let health = soon("health", HealthClient::new(server.channel().await).check(request)).await.unwrap().into_inner();
        assert_eq!(health.status(), ServingStatus::Serving, "{service:?}");
    }
}

// ---------------------------------------------------------------- what is refused

/// Each part stands in the message of the error, and nothing of the text does.
#[track_caller]
fn assert_names(found: (Code, &str), code: Code, parts: &[&str]) {
    assert_eq!(found.0, code, "{}", found.1);
    for part in parts {
        assert!(found.1.contains(part), "{part:?} is not in {:?}", found.1);
    }
    assert!(!found.1.contains(PLANTED), "{} shows the text", found.1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_out_of_range_is_refused_by_every_rpc_naming_field_found_and_limit() {
    let server = Server::start(&["limits.text_bytes_max=64"]).await;
    let client = server.client().await;
    let long = PLANTED.repeat(9);
    let proposal = |text: &str| pb::ScoreRequest { previous_bot_text: Some(text.to_owned()), ..request(PLANTED) };
    let cases: [(pb::ScoreRequest, &[&str]); 8] = [
        (with_priority(PLANTED, 7), &["priority: ", "found 7", "PRIORITY_LIVE (1)", "PRIORITY_BULK (2)"]),
        (with_priority(PLANTED, -1), &["priority: ", "found -1"]),
        (with_priority(PLANTED, 0), &["priority: ", "found PRIORITY_UNSPECIFIED", "PRIORITY_LIVE"]),
        (request(""), &["text: ", "found nothing", "expected a text"]),
        (request(" \t\u{2003}\n"), &["text: ", "found nothing"]),
        (request(long.clone()), &["text: ", "found 108 bytes", "text_bytes_max is 64"]),
        (proposal(" "), &["previous_bot_text: ", "found nothing"]),
        (proposal(&long), &["previous_bot_text: ", "found 108 bytes", "text_bytes_max is 64"]),
    ];
    let mut stream = client.stream().await;
    for (request, parts) in cases {
        let status = client.score(request.clone()).await.unwrap_err();
        assert_names((status.code(), status.message()), Code::InvalidArgument, parts);
        let results = client.batch(vec![self::request("hello"), request.clone()]).await.unwrap();
        scored(&results[0]);
        let (code, error) = refused(&results[1]);
        assert_names((code, &error.message), Code::InvalidArgument, &[parts, &["items[1]."]].concat());
        stream.send("a", request).await;
        let (id, outcome) = stream.next().await.unwrap();
        let (code, error) = refused(&outcome);
        assert_eq!(id, "a");
        assert_names((code, &error.message), Code::InvalidArgument, parts);
    }
    stream.send("b", request("hello")).await;
    scored(&stream.next().await.unwrap().1);
    assert!(!server.metrics_text().contains(PLANTED));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_names_what_is_wrong_with_id_or_request_and_goes_on() {
    let server = Server::start(&[]).await;
    let mut stream = server.client().await.stream().await;
    let long = PLANTED.repeat(22);
    let cases: [(&str, Option<pb::ScoreRequest>, &[&str]); 3] = [
        ("a", None, &["request: ", "found nothing"]),
        ("", Some(request(PLANTED)), &["id: ", "found 0 bytes", "1 to 256"]),
        (&long, Some(request(PLANTED)), &["id: ", "found 264 bytes", "1 to 256"]),
    ];
    for (id, request, parts) in cases {
        stream.send(id, request).await;
        let (answered, outcome) = stream.next().await.unwrap();
        let (code, error) = refused(&outcome);
        assert_eq!(answered, id);
        assert_names((code, &error.message), Code::InvalidArgument, parts);
    }
    stream.send("i".repeat(256), request("hello")).await;
    scored(&stream.next().await.unwrap().1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn batches_and_messages_beyond_their_limit_are_refused_with_both_numbers() {
    let server = Server::start(&["limits.batch_items_max=3", "limits.message_bytes_max=1024"]).await;
    let client = server.client().await;
    let status = client.batch(Vec::new()).await.unwrap_err();
    assert_names((status.code(), status.message()), Code::InvalidArgument, &["items: ", "found 0", "batch_items_max 3"]);
    let status = client.batch(vec![request(PLANTED); 4]).await.unwrap_err();
    assert_names((status.code(), status.message()), Code::InvalidArgument, &["items: ", "found 4", "batch_items_max 3"]);
    assert_eq!(client.batch(vec![request(PLANTED); 3]).await.unwrap().len(), 3);

    let long = request(PLANTED.repeat(100));
    let found = long.encoded_len().to_string();
    let status = client.score(long).await.unwrap_err();
    assert_names((status.code(), status.message()), Code::OutOfRange, &[&found, "1024"]);
    client.score(request("hello")).await.unwrap();
}

/// Bytes as they are.
#[derive(Clone, Copy, Default)]
struct Raw;

impl Codec for Raw {
    type Encode = Vec<u8>;
    type Decode = Vec<u8>;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl WireEncoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn encode(&mut self, item: Vec<u8>, bytes: &mut EncodeBuf<'_>) -> Result<(), Status> {
        bytes.put_slice(&item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Vec<u8>;
    type Error = Status;

    fn decode(&mut self, bytes: &mut DecodeBuf<'_>) -> Result<Option<Vec<u8>>, Status> {
        Ok(Some(bytes.copy_to_bytes(bytes.remaining()).to_vec()))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_message_are_refused_without_showing_them() {
    let server = Server::start(&[]).await;
    let mut invalid_utf8 = request(format!("{PLANTED}#")).encode_to_vec();
    *invalid_utf8.last_mut().unwrap() = 0xff;
    let mut cut = request(PLANTED).encode_to_vec();
    cut.pop();
    for (bytes, parts) in [(invalid_utf8, ["ScoreRequest.text", "UTF-8"]), (cut, ["ScoreRequest.text", "buffer underflow"])] {
        let mut client = tonic::client::Grpc::new(server.channel().await);
        client.ready().await.unwrap();
        let path = PathAndQuery::from_static("/baton.v1.ScoringService/Score");
        let status = soon("an answer", client.unary(Request::new(bytes), path, Raw)).await.unwrap_err();
        assert_names((status.code(), status.message()), Code::Internal, &parts);
    }
    server.client().await.score(request("hello")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_clients_than_the_queue_holds_are_refused_with_a_hint_and_the_others_answered() {
    let server = Server::start(&["limits.queue_messages_max=64"]).await;
    let first = server.occupy(&server.client().await).await;
    let mut clients = JoinSet::new();
    for number in 0..199 {
        let client = server.client().await;
        clients.spawn(async move { client.score(request(text(number))).await });
    }
    // One is in the engine and 64 wait, so that nobody else can have another answer than this.
    for _ in 64..199 {
        let status = soon("a refusal", clients.join_next()).await.unwrap().unwrap().unwrap_err();
        assert_names((status.code(), status.message()), Code::ResourceExhausted, &["queue_messages_max is 64", "64 wait"]);
        assert!(retry_after_ms(&status).unwrap() >= 1);
    }
    server.engine.open();
    assert_eq!(timing(&first.await.unwrap().unwrap()).batch_messages, 1);
    while let Some(answer) = soon("an answer", clients.join_next()).await {
        assert!(timing(&answer.unwrap().unwrap()).batch_messages >= 1);
    }
    assert_eq!(server.engine.sequences().len(), 65);
    assert_eq!(server.metric("baton_queue_tokens"), 0.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_that_wait_are_bounded_and_bulk_may_fill_half() {
    let cost = ids(&text(100)).len();
    let server = Server::start(&[&format!("limits.queue_tokens_max={}", 8 * cost)]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    for (number, priority) in (100..106).map(|number| (number, 2)).chain((200..206).map(|number| (number, 1))) {
        stream.send(number.to_string(), with_priority(text(number), priority)).await;
    }
    for id in ["104", "105", "204", "205"] {
        let (answered, outcome) = stream.next().await.unwrap();
        let (code, error) = refused(&outcome);
        assert_eq!((answered.as_str(), code), (id, Code::ResourceExhausted), "{error:?}");
        assert!(error.message.contains("queue_tokens_max") && error.retry_after_ms.unwrap() >= 1, "{error:?}");
    }
    server.engine.open();
    first.await.unwrap().unwrap();
    let answers = stream.rest().await;
    assert_eq!(answers.len(), 8);
    for outcome in answers.values() {
        scored(outcome);
    }
}

// ---------------------------------------------------------------- what fails

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_spoils_its_batch_fails_alone() {
    let server = Server::start(&[]).await;
    server.engine.poison(TRIGGER);
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    for number in 0..4 {
        stream.send(number.to_string(), request(text(number))).await;
    }
    stream.send("poison", request(format!("{TRIGGER} {PLANTED}"))).await;
    stream.send("after", request(text(9))).await;
    stream.fence().await;
    server.engine.open();
    first.await.unwrap().unwrap();
    let mut answers = stream.rest().await;
    let poisoned = answers.remove("poison").unwrap();
    assert_names((refused(&poisoned).0, &refused(&poisoned).1.message), Code::Internal, &["not finite"]);
    assert_eq!(answers.len(), 5);
    for outcome in answers.values() {
        assert_eq!(timing(scored(outcome)).batch_messages, 6, "it was in the batch that was spoilt");
    }
    assert_signals(scored(&answers["after"]), &expected(&text(9), None));
    assert_eq!((server.metric("baton_batch_retries_total"), server.metric("baton_worker_panics_total")), (1.0, 0.0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_panics_loses_its_batch_only_and_health_says_so_until_a_canary_is_scored() {
    let server = Server::start(&["limits.batch_tokens_max=64"]).await;
    server.engine.panic_on(TRIGGER);
    let client = server.client().await;
    let mut health = server.watch().await;
    until_health(&mut health, ServingStatus::Serving).await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    for number in 0..3 {
        stream.send(number.to_string(), request(text(number))).await;
    }
    stream.send("panic", request(TRIGGER)).await;
    // Beyond the token budget of the first batch.
    stream.send("later", request(format!("{} {}", text(7), "money ".repeat(15)))).await;
    stream.fence().await;
    let calls = server.engine.calls();
    server.engine.open();
    first.await.unwrap().unwrap();
    // Closed again before the canary, so that NOT_SERVING can be seen.
    server.engine.until_calls(calls + 2).await;
    server.engine.close();
    until_health(&mut health, ServingStatus::NotServing).await;
    assert_eq!((server.metric("baton_worker_panics_total"), server.metric("baton_serving")), (1.0, 0.0));
    server.engine.open();
    until_health(&mut health, ServingStatus::Serving).await;
    let answers = stream.rest().await;
    for lost in ["0", "1", "2", "panic"] {
        assert_names((refused(&answers[lost]).0, &refused(&answers[lost]).1.message), Code::Internal, &["worker", "replaced"]);
    }
    scored(&answers["later"]);
    assert_signals(&client.score(request(text(0))).await.unwrap(), &expected(&text(0), None));
    assert_eq!((server.metric("baton_worker_panics_total"), server.metric("baton_serving")), (1.0, 1.0));
}

// ---------------------------------------------------------------- deadlines and callers that leave

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_whose_deadline_passes_in_the_queue_is_answered_so_and_never_scored() {
    let server = Server::start(&[]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream_with(Some(Duration::from_millis(400))).await;
    stream.send("late", request(text(1))).await;
    let (_, outcome) = stream.next().await.unwrap();
    assert_names((refused(&outcome).0, &refused(&outcome).1.message), Code::DeadlineExceeded, &["deadline"]);
    server.engine.open();
    first.await.unwrap().unwrap();
    client.score(request(text(2))).await.unwrap();
    assert_eq!((server.engine.count(&text(1)), server.engine.count(&text(2))), (0, 1));
    assert_eq!(server.metric("baton_expired_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_whose_deadline_passes_in_the_queue_ends_and_is_never_scored() {
    let server = Server::start(&[]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut late = Request::new(request(text(1)));
    late.set_timeout(Duration::from_millis(400));
    // tonic's client gives up by itself at the same moment, and calls it CANCELLED.
    let status = client.score(late).await.unwrap_err();
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()), "{status:?}");
    server.engine.open();
    first.await.unwrap().unwrap();
    client.score(request(text(2))).await.unwrap();
    assert_eq!((server.engine.count(&text(1)), server.engine.count(&text(2))), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_is_dropped_takes_its_messages_along() {
    let server = Server::start(&[]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    stream.send("gone", request(text(1))).await;
    stream.fence().await;
    drop(stream);
    server.until_metric("baton_streams", 0.0).await;
    server.engine.open();
    first.await.unwrap().unwrap();
    client.score(request(text(2))).await.unwrap();
    assert_eq!((server.engine.count(&text(1)), server.engine.count(&text(2))), (0, 1));
    assert_eq!(server.metric("baton_expired_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deadline_that_the_queue_cannot_keep_is_refused_at_once() {
    let server = Server::start(&["limits.queue_tokens_max=1000000"]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut waiting = client.stream().await;
    // Eight windows each: 50,000 tokens, far more than were scored in a second so far.
    for number in 0..200 {
        waiting.send(number.to_string(), request(format!("{} {}", text(number), "money ".repeat(300)))).await;
    }
    waiting.fence().await;
    let mut hurried = client.stream_with(Some(Duration::from_secs(1))).await;
    hurried.send("hurried", request(text(1000))).await;
    let (_, outcome) = hurried.next().await.unwrap();
    let (code, error) = refused(&outcome);
    assert_names((code, &error.message), Code::ResourceExhausted, &["the wait would be", "the deadline leaves"]);
    assert!(error.retry_after_ms.unwrap() >= 1);
    drop(waiting);
    server.until_metric("baton_streams", 1.0).await;
    server.engine.open();
    first.await.unwrap().unwrap();
}

// ---------------------------------------------------------------- sharing the engine

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twins_in_work_are_scored_once_and_all_answered() {
    let server = Server::start(&["limits.cache_bytes_max=0"]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    for number in 0..20 {
        stream.send(number.to_string(), request(text(0))).await;
    }
    stream.fence().await;
    server.engine.open();
    first.await.unwrap().unwrap();
    let answers = stream.rest().await;
    assert_eq!((answers.len(), server.engine.count(&text(0))), (20, 1));
    assert_eq!(answers.values().filter(|outcome| timing(scored(outcome)).cached).count(), 19);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_twin_stays_when_the_first_caller_leaves() {
    let server = Server::start(&[]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let (mut leaves, mut stays) = (client.stream().await, client.stream().await);
    for stream in [&mut leaves, &mut stays] {
        stream.send("twin", request(text(0))).await;
        stream.fence().await;
    }
    drop(leaves);
    server.until_metric("baton_streams", 1.0).await;
    server.engine.open();
    first.await.unwrap().unwrap();
    scored(&stays.next().await.unwrap().1);
    assert_eq!(server.engine.count(&text(0)), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_is_scored_while_live_messages_wait() {
    // A budget of one token makes every batch a single message.
    let server = Server::start(&["limits.batch_tokens_max=1"]).await;
    let client = server.client().await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    for number in 0..3 {
        stream.send(format!("bulk {number}"), with_priority(text(100 + number), 2)).await;
    }
    for number in 0..40 {
        stream.send(number.to_string(), with_priority(text(number), 1)).await;
    }
    stream.fence().await;
    server.engine.open();
    first.await.unwrap().unwrap();
    let answers = stream.rest().await;
    answers.values().for_each(|outcome| assert_eq!(timing(scored(outcome)).batch_messages, 1));
    let order = server.engine.sequences();
    let at = |text: String| order.iter().position(|sequence| *sequence == ids(&text)).unwrap();
    let live: Vec<usize> = (0..40).map(|number| at(text(number))).collect();
    assert!(live.is_sorted(), "live messages keep their order: {live:?}");
    let bulk = [at(text(100)), at(text(101)), at(text(102))];
    assert!(bulk.is_sorted() && bulk[2] < live[39], "bulk at {bulk:?}, the last live message at {}", live[39]);
    assert!(bulk[0] > live[0], "live goes first");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_reads_no_answers_is_held_back_and_the_others_are_served() {
    const IN_FLIGHT: usize = 8;
    const WINDOW: u32 = 65_535;
    /// What hyper keeps to send for one stream, and what tonic encodes at once.
    const BUFFERS: usize = 400 * 1024 + 64 * 1024;
    const MOST: usize = 10_000;
    let server = Server::start(&["limits.stream_in_flight_max=8", "limits.cache_bytes_max=0"]).await;
    let narrow = server.endpoint().initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
    // A runtime of its own, which goes as a client whose process dies: tonic's keeps a connection while it has something to send.
    let process = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let narrow = process.spawn(async move { narrow.connect().await });
    let client = Client(ScoringServiceClient::new(soon("a connection", narrow).await.unwrap().unwrap()));
    // Large to send and small to score.
    let words = |number: usize| format!("{}{}", text(number), " ".repeat(4_000));
    let message = |number: usize| pb::ScoreRequest { with_vectors: true, ..request(words(number)) };
    let answer_bytes = client.score(message(0)).await.unwrap().encoded_len();

    let (requests, receiver) = mpsc::channel(1);
    let answers = soon("a stream", client.0.clone().score_stream(ReceiverStream::new(receiver))).await.unwrap();
    let mut sent = 0;
    // When a message finds no room for a second, the server has stopped reading; a machine that is merely slow stops earlier.
    while sent < MOST {
        sent += 1;
        let request = pb::ScoreStreamRequest { id: sent.to_string(), request: Some(message(sent)) };
        if tokio::time::timeout(Duration::from_secs(1), requests.send(request)).await.is_err() {
            break;
        }
    }
    let scored = server.metric("baton_items_total{rpc=\"ScoreStream\",code=\"Ok\"}");
    let bound = 2 * IN_FLIGHT + (2 * WINDOW as usize + BUFFERS) / answer_bytes;
    assert!(sent < MOST, "the server read all {MOST} messages of a client that reads no answer");
    assert!(scored <= bound as f64, "{scored} messages were scored for nobody; expected at most {bound}");
    assert_eq!(server.metric("baton_streams"), 1.0);
    let other = server.client().await;
    other.score(request("hello")).await.unwrap();
    process.shutdown_background();
    server.until_metric("baton_streams", 0.0).await;
    other.score(request("hello again")).await.unwrap();
    drop((requests, answers));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streams_beyond_streams_max_are_refused_until_one_ends() {
    let server = Server::start(&["limits.streams_max=1"]).await;
    let held = server.client().await.stream().await;
    let other = server.client().await;
    let status = soon("an answer", other.0.clone().score_stream(tokio_stream::pending())).await.unwrap_err();
    assert_names((status.code(), status.message()), Code::ResourceExhausted, &["streams_max is 1"]);
    drop(held);
    server.until_metric("baton_streams", 0.0).await;
    // The place is given back after the metric was.
    let opens = async { while other.0.clone().score_stream(tokio_stream::pending()).await.is_err() {} };
    soon("a place for a stream", opens).await;
}

// ---------------------------------------------------------------- the end

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_refuses_new_work_and_finishes_what_was_accepted() {
    let mut server = Server::start(&["drain.timeout_ms=3600000"]).await;
    let client = server.client().await;
    let mut health = server.watch().await;
    until_health(&mut health, ServingStatus::Serving).await;
    let first = server.occupy(&client).await;
    let mut stream = client.stream().await;
    for number in 0..3 {
        stream.send(number.to_string(), request(text(number))).await;
    }
    stream.fence().await;
    server.stop();
    until_health(&mut health, ServingStatus::NotServing).await;
    // Health says so just before the queue closes: what comes in between is accepted, and has no answer before the fence.
    let mut accepted = 3;
    loop {
        stream.send(format!("new {accepted}"), request(text(50 + accepted))).await;
        stream.send("fence", request("")).await;
        let (id, outcome) = stream.next().await.unwrap();
        if id != "fence" {
            assert_names((refused(&outcome).0, &refused(&outcome).1.message), Code::Unavailable, &["draining"]);
            assert_eq!(stream.next().await.unwrap().0, "fence");
            break;
        }
        accepted += 1;
    }
    let late = Client(ScoringServiceClient::new(server.endpoint().connect_lazy()));
    assert_eq!(late.score(request(text(98))).await.unwrap_err().code(), Code::Unavailable);
    server.engine.open();
    first.await.unwrap().unwrap();
    let answers = stream.rest().await;
    assert_eq!(answers.len(), accepted);
    for outcome in answers.values() {
        scored(outcome);
    }
    drop((health, client));
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_at_its_deadline_although_a_client_holds_a_stream() {
    let mut server = Server::start(&["drain.timeout_ms=200"]).await;
    let mut stream = server.client().await.stream().await;
    stream.fence().await;
    server.stop();
    server.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_ends_at_its_deadline_although_the_engine_hangs() {
    let mut server = Server::start(&["drain.timeout_ms=200"]).await;
    let _stuck = server.occupy(&server.client().await).await;
    server.stop();
    server.end().await;
}

// ---------------------------------------------------------------- the binary

/// `baton serve`, killed with the test.
pub(crate) struct Daemon {
    child: Child,
    pub(crate) address: String,
    metrics: Option<SocketAddr>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn serve(place: &Place, arguments: &[&str]) -> Command {
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    // The tiny model has none of the labels that the default policy names.
    command.args(["serve", "--model", TINY, "--set", "policy.file=none"]).args(arguments);
    command
}

impl Daemon {
    /// Starts it with the tiny model and reads where it listens from its first line.
    fn start(place: &Place, arguments: &[&str]) -> Self {
        Self::spawn(serve(place, arguments))
    }

    pub(crate) fn spawn(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let rest = line.trim_end().strip_prefix("serving on ").unwrap_or_else(|| panic!("{line:?}"));
        let (address, metrics) =
            rest.split_once(", metrics on http://").map_or((rest, None), |(address, metrics)| (address, Some(metrics)));
        let metrics = metrics.map(|metrics| metrics.strip_suffix("/metrics").unwrap().parse().unwrap());
        Self { address: address.to_owned(), metrics, child }
    }

    async fn client(&self) -> Client {
        let at = if self.address.starts_with("unix:") { self.address.clone() } else { format!("http://{}", self.address) };
        Client(ScoringServiceClient::new(soon("a connection", Endpoint::from_shared(at).unwrap().connect()).await.unwrap()))
    }

    /// Resident memory in kB.
    fn resident_kb(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits until its log says something.
    pub(crate) fn until_says(&mut self, words: &str) {
        let mut stderr = BufReader::new(self.child.stderr.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(stderr.read_line(&mut line).unwrap() > 0, "the daemon ended before it said {words:?}");
        }
    }

    /// Sends it a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap().success());
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends SIGTERM; gives the exit code and stderr.
    pub(crate) fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("TERM");
        let mut stderr = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
        (self.child.wait().unwrap().code(), stderr)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sigterm_ends_the_daemon_with_success_although_a_client_holds_a_stream() {
    let place = Place::new();
    let daemon = Daemon::start(&place, &["--listen", "127.0.0.1:0", "--set", "drain.timeout_ms=200"]);
    let mut stream = daemon.client().await.stream().await;
    stream.send("1", request(PLANTED)).await;
    scored(&stream.next().await.unwrap().1);
    let (code, stderr) = daemon.terminate();
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stderr.contains("drain_timed_out") && !stderr.contains(PLANTED), "{stderr}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unix_socket_is_served_once_and_taken_over_from_a_server_that_is_gone() {
    let place = Place::new();
    let socket = place.path("baton.sock");
    let arguments = ["--unix-socket", socket.to_str().unwrap(), "--set", "drain.timeout_ms=0"];
    let mut daemon = Daemon::start(&place, &arguments);
    daemon.client().await.score(request("hello")).await.unwrap();
    Run::of(serve(&place, &arguments), b"").failure(&["another server listens there", socket.to_str().unwrap()]);
    daemon.client().await.score(request("hello")).await.unwrap();

    daemon.kill();
    assert!(socket.exists(), "a server that was killed leaves its socket");
    let next = Daemon::start(&place, &arguments);
    next.client().await.score(request("hello")).await.unwrap();
    assert_eq!(next.terminate().0, Some(0));

    place.write("file", "kept");
    let file = place.path("file");
    Run::of(serve(&place, &["--unix-socket", file.to_str().unwrap()]), b"").failure(&["no socket"]);
    assert_eq!(place.read_text("file"), "kept");
}

#[test]
fn serve_refuses_what_it_cannot_listen_on() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    type Flags<'a> = (&'a [&'a str], &'a [&'a str]);
    let cases: [(&str, Flags<'_>); 4] = [
        ("not loopback", (&["--listen", "0.0.0.0:0"], &["--listen", "0.0.0.0:0", "loopback"])),
        ("metrics not loopback", (&["--listen", "127.0.0.1:0", "--metrics", "[::]:0"], &["--metrics", "[::]:0", "loopback"])),
        ("taken", (&["--listen", &taken], &["cannot listen on", &taken])),
        ("both", (&["--listen", "127.0.0.1:0", "--unix-socket", "s"], &["--unix-socket", "listen.address"])),
    ];
    each_case(cases, |(arguments, expected)| {
        let place = Place::new();
        Run::of(serve(&place, arguments), b"").failure(expected);
    });
}

#[test]
fn check_lists_all_faults_at_once_and_says_when_there_are_none() {
    let place = Place::new();
    place.write("baton.toml", "[limits]\nqueue_token_max = 5\nworkers = -1\n[listen]\naddress = \"0.0.0.0:50051\"\n");
    let run = place.baton(&["check", "--config", "baton.toml", "--set", "drain.timeout_ms=soon"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    let expected = [
        "limits.queue_token_max: no such key; did you mean limits.queue_tokens_max?",
        "limits.workers: found \"-1\", expected a whole number in 0..=1024",
        "listen.address: found \"0.0.0.0:50051\", expected a loopback address",
        "--set drain.timeout_ms: found \"soon\"",
    ];
    for fault in expected {
        assert!(run.stdout.contains(fault), "{fault:?} is not in {}", run.stdout);
    }
    place.write("sound.toml", "[limits]\nqueue_tokens_max = 5\n[listen]\naddress = \"127.0.0.1:7777\"\n");
    assert!(place.baton(&["check", "--config", "sound.toml"]).success().contains("127.0.0.1:7777"));
    let keys = place.baton(&["check", "--keys"]);
    baton::config::serve::KEYS.iter().for_each(|key| assert!(keys.success().contains(key.name), "{} is not listed", key.name));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_metrics_are_there_from_the_start_and_neither_they_nor_the_log_hold_a_text() {
    let place = Place::new();
    let log = ["--log-level", "debug", "--log-format", "json"];
    let daemon = Daemon::start(&place, &[&["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0"], &log[..]].concat());
    let metrics = daemon.metrics.unwrap();
    let text = metrics_text(metrics);
    let names = [
        "baton_cache_hits_total 0",
        "baton_expired_total 0",
        "baton_batch_retries_total 0",
        "baton_worker_panics_total 0",
        "baton_queue_tokens 0",
        "baton_streams 0",
        "baton_serving 1",
        "baton_batch_fill_ratio_count 1",
    ];
    let stages = ["Queue", "Tokenise", "Inference"].map(|stage| format!("baton_stage_seconds_count{{stage=\"{stage}\"}} 1"));
    let codes = ["Ok", "InvalidArgument", "ResourceExhausted", "DeadlineExceeded", "Unavailable", "Internal"];
    let items = ["Score", "ScoreBatch", "ScoreStream"].into_iter().flat_map(|rpc| codes.map(|code| (rpc, code)));
    let items = items.map(|(rpc, code)| format!("baton_items_total{{rpc=\"{rpc}\",code=\"{code}\"}} 0"));
    for line in names.map(str::to_owned).into_iter().chain(stages).chain(items) {
        assert!(text.contains(&format!("\n{line}\n")), "{line} is not in:\n{text}");
    }
    assert!(text.ends_with("# EOF\n"));

    let client = daemon.client().await;
    let words = format!("{PLANTED} wants a human");
    client.score(request(words.clone())).await.unwrap();
    client.score(with_priority(words.clone(), 9)).await.unwrap_err();
    client.batch(vec![pb::ScoreRequest { previous_bot_text: Some(words.clone()), ..request(words.clone()) }]).await.unwrap();
    let mut stream = client.stream().await;
    stream.send(PLANTED, request(words)).await;
    scored(&stream.next().await.unwrap().1);
    drop((stream, client));
    let text = metrics_text(metrics);
    assert!(text.contains("baton_items_total{rpc=\"Score\",code=\"Ok\"} 1\n") && !text.contains(PLANTED), "{text}");
    let (code, stderr) = daemon.terminate();
    assert_eq!(code, Some(0));
    assert!(!stderr.contains(PLANTED), "a text is in the log");
    assert!(stderr.contains("\"event\":\"serving\""), "{stderr}");
    assert!(stderr.contains("\"event\":\"draining\""), "{stderr}");
}

/// The issue asks for it ten seconds later; at once is stricter.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_clients_at_once_all_end_and_leave_no_memory_behind() {
    let place = Place::new();
    let mut command = place.command(Path::new(env!("CARGO_BIN_EXE_baton")));
    command.args(["serve", "--model", SHIPPED, "--listen", "127.0.0.1:0", "--set", "limits.queue_messages_max=64"]);
    let daemon = Daemon::spawn(command);
    let client = daemon.client().await;
    for number in 0..64 {
        client.score(request(text(number))).await.unwrap();
    }
    // The first round fills what is kept for good: stacks of threads, arenas of the allocator. The second must leave nothing behind.
    let mut resident = Vec::new();
    for round in 0..2 {
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(daemon.client().await);
        }
        let calls: Vec<_> = clients.iter().zip(1000 * (round + 1)..).map(|(client, number)| client.spawn(request(text(number)))).collect();
        let mut answered = 0;
        for call in calls {
            match call.await.unwrap() {
                Ok(_) => answered += 1,
                Err(status) => assert_eq!(status.code(), Code::ResourceExhausted, "{status:?}"),
            }
        }
        assert!(answered >= 64, "only {answered} were answered");
        drop(clients);
        resident.push(daemon.resident_kb());
    }
    assert!(5 * resident[1] <= 6 * resident[0], "{resident:?} kB after each round");
    assert_eq!(daemon.terminate().0, Some(0));
}
