//! Several models in one daemon, as clients and operators meet them: real servers in this process, real packages, real clients. What is loaded while the server serves
//! goes through the same loader as in the program, with a gate in front of it that a test can close.
//!
//! Nothing here waits by the clock. [`WAIT`] is only how long a test may hang before it fails.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use baton::config::serve::Typed;
use baton::model::encoder::EncodeError;
use baton::model::encoder::candle::{DeviceChoice, open_device};
use baton::model::load::{self, PackageFiles, load};
use baton::model::scorer::{ScoreInput, Scorer};
use baton::service::memory::{Editions, Replayed, replay};
use baton::service::models::{First, Loader, Models};
use baton::service::pb;
use baton::service::pb::admin_service_client::AdminServiceClient;
use baton::service::pb::conversation_service_client::ConversationServiceClient;
use baton::service::pb::scoring_service_client::ScoringServiceClient;
use baton::service::proving::prove;
use baton::service::server::{self, Listen, PolicyChoice, ServerError};
use baton::service::store::{Limits, Store};
use baton::signal::Signals;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Response, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::support::{Package, Place, TINY, encode_by};

/// After this time a test fails in place of hanging.
const WAIT: Duration = Duration::from_secs(120);
/// Messages of the clients under load; few enough that caches and twins take part.
const TEXTS: usize = 40;
/// A probability of the two packages differs by at least this for each of these texts.
const APART: f32 = 0.2;
/// And is this near to what the same package gives alone.
const NEAR: f32 = 1e-4;

async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(WAIT, future).await.unwrap_or_else(|_| panic!("{what}: nothing within {WAIT:?}"))
}

fn scorer(folder: &Path) -> Scorer {
    load(folder, &open_device(DeviceChoice::Cpu).unwrap()).unwrap()
}

fn digest(folder: &Path) -> String {
    scorer(folder).digest().to_owned()
}

// ---------------------------------------------------------------- packages

/// The tiny package with other heads, and with the reference answers that follow from them.
fn package(place: &Place, name: &str, edit: impl FnOnce(&mut Value)) -> PathBuf {
    let package = place.package(name, TINY);
    package.edit_json("heads.json", |heads| {
        heads["name"] = json!(name);
        edit(heads);
    });
    refer(&package);
    PathBuf::from(package.path())
}

/// Computes the reference answers of a package anew.
fn refer(package: &Package) {
    let reference = load::reference(&PackageFiles::read(Path::new(package.path())).unwrap()).unwrap_or_else(|faults| panic!("{faults:?}"));
    let mut parity = package.read_json("parity.json");
    let by_head = |probabilities: Vec<(String, Vec<f32>)>| probabilities.into_iter().collect::<BTreeMap<_, _>>();
    for text in parity["texts"].as_array_mut().unwrap() {
        let answer = reference.reference(text["text"].as_str().unwrap()).unwrap();
        text["embedding"] = json!(answer.embedding.0);
        text["probabilities"] = json!(by_head(answer.probabilities));
    }
    for pair in parity["pairs"].as_array_mut().unwrap() {
        let (text, previous) = (pair["text"].as_str().unwrap(), pair["previous"].as_str().unwrap());
        pair["probabilities"] = json!(by_head(reference.reference_of_pair(text, previous).unwrap()));
    }
    package.write("parity.json", parity.to_string());
}

/// Every customer is unhappy, and everything is about a refund.
fn unhappy(heads: &mut Value) {
    heads["heads"][0]["bias"] = json!([9.0, 0.0, -9.0]);
    about_refunds(heads);
}

/// Every customer is happy, and everything is about a refund.
fn happy(heads: &mut Value) {
    heads["heads"][0]["bias"] = json!([-9.0, 0.0, 9.0]);
    about_refunds(heads);
}

fn about_refunds(heads: &mut Value) {
    heads["heads"][2]["bias"] = json!([6.0, 0.0, 0.0, -6.0]);
    heads["heads"][2]["scope"]["threshold"] = json!(0.0);
}

/// A text of its own for each number.
fn text(number: usize) -> String {
    format!("where is my money {number}")
}

// ---------------------------------------------------------------- engines and loading

/// What a test may hold: loading, and engines.
#[derive(Default)]
struct Gate {
    closed: Mutex<bool>,
    opened: Condvar,
    passing: watch::Sender<usize>,
}

impl Gate {
    fn close(&self) {
        *self.closed.lock().unwrap() = true;
    }

    fn open(&self) {
        *self.closed.lock().unwrap() = false;
        self.opened.notify_all();
    }

    fn pass(&self) {
        self.passing.send_modify(|passing| *passing += 1);
        drop(self.opened.wait_while(self.closed.lock().unwrap(), |closed| *closed).unwrap());
    }

    fn so_far(&self) -> usize {
        *self.passing.borrow()
    }

    /// Waits until so many have come to the gate.
    async fn until(&self, passing: usize) {
        soon("somebody comes to the gate", self.passing.subscribe().wait_for(|so_far| *so_far >= passing)).await.unwrap();
    }
}

/// Calls of engines, in order: which model, and how many messages.
type Calls = Arc<Mutex<Vec<(String, usize)>>>;

// ---------------------------------------------------------------- the server

struct Daemon {
    address: SocketAddr,
    metrics: SocketAddr,
    channel: Channel,
    models: Option<Arc<Models>>,
    loading: Arc<Gate>,
    engines: Arc<Gate>,
    calls: Calls,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<Result<(), ServerError>>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.loading.open();
        self.engines.open();
    }
}

impl Daemon {
    /// Without a policy.
    async fn start(folder: &Path, settings: &[&str]) -> Self {
        let none = ["policy.file=none", "store.data_dir=none"];
        Self::serve(folder, &none.iter().chain(settings).copied().collect::<Vec<_>>()).await.unwrap()
    }

    async fn serve(folder: &Path, settings: &[&str]) -> Result<Self, ServerError> {
        let ours = ["listen.address=127.0.0.1:0", "listen.metrics=127.0.0.1:0", "store.score_timeout_ms=100000", "limits.workers=2"];
        let typed = ours.iter().chain(settings).fold(Typed::default(), |typed, setting| typed.set(setting));
        let settings = typed.settings(2).unwrap_or_else(|faults| panic!("{faults:?}"));
        let (loading, engines, calls) = (Arc::new(Gate::default()), Arc::new(Gate::default()), Calls::default());
        let loader: Loader = {
            let (loading, engines, calls) = (Arc::clone(&loading), Arc::clone(&engines), Arc::clone(&calls));
            Arc::new(move |folder| {
                loading.pass();
                let scorer = load(folder, &open_device(DeviceChoice::Cpu)?)?;
                let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
                Ok(match name.split('-').next() {
                    Some("mute") => scorer.exchange_encoder(|inner| encode_by(inner, |_, _, _| Err(EncodeError::NotFinite))),
                    Some("gated") => {
                        let (gate, calls) = (Arc::clone(&engines), Arc::clone(&calls));
                        scorer.exchange_encoder(|inner| {
                            encode_by(inner, move |inner, sequences, layers| {
                                calls.lock().unwrap().push((name.clone(), sequences.len()));
                                gate.pass();
                                inner.encode(sequences, layers)
                            })
                        })
                    }
                    _ => scorer,
                })
            })
        };
        let scorer = Arc::new(loader(folder).unwrap());
        let policy = match &settings.policy {
            PolicyChoice::None => None,
            PolicyChoice::Places(places) => Some(prove(places, &scorer).unwrap()),
        };
        let first = First { scorer, folder: Some(folder.to_owned()), loader };
        let running = soon("the start", server::start_from(first, policy, settings)).await?;
        let Listen::Tcp(address) = running.address else { panic!("the server listens on TCP") };
        let metrics = running.metrics_address.unwrap();
        let models = Some(Arc::clone(running.models()));
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(running.until(async { drop(stopped.await) }));
        let channel = soon("a connection", Endpoint::from_shared(format!("http://{address}")).unwrap().connect()).await.unwrap();
        Ok(Self { address, metrics, channel, models, loading, engines, calls, stop: Some(stop), ended })
    }

    async fn end(mut self) {
        self.models = None;
        self.loading.open();
        self.engines.open();
        self.stop.take().unwrap().send(()).unwrap();
        soon("the end", &mut self.ended).await.unwrap().unwrap();
    }

    fn admin(&self) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channel.clone())
    }

    fn scoring(&self) -> ScoringServiceClient<Channel> {
        ScoringServiceClient::new(self.channel.clone())
    }

    fn conversations(&self) -> ConversationServiceClient<Channel> {
        ConversationServiceClient::new(self.channel.clone())
    }

    async fn score(&self, model: Option<&str>, text: &str) -> Result<pb::ScoreResponse, Status> {
        let request = pb::ScoreRequest { text: text.to_owned(), model: model.map(str::to_owned), ..pb::ScoreRequest::default() };
        answer(self.scoring().score(request)).await
    }

    async fn promote(&self, name: &str, folder: &Path) -> Result<pb::PromoteModelResponse, Status> {
        let request = pb::PromoteModelRequest { name: name.to_owned(), path: folder.display().to_string() };
        answer(self.admin().promote_model(request)).await
    }

    async fn roll_back(&self, name: &str) -> Result<pb::RollbackModelResponse, Status> {
        answer(self.admin().rollback_model(pb::RollbackModelRequest { name: name.to_owned() })).await
    }

    async fn load(&self, request: pb::LoadModelRequest) -> Result<pb::ModelInfo, Status> {
        answer(self.admin().load_model(request)).await.map(|loaded| loaded.model.unwrap())
    }

    async fn unload(&self, name: &str, kept_only: bool) -> Result<pb::UnloadModelResponse, Status> {
        answer(self.admin().unload_model(pb::UnloadModelRequest { name: name.to_owned(), kept_only })).await
    }

    async fn list(&self) -> pb::ListModelsResponse {
        answer(self.admin().list_models(pb::ListModelsRequest {})).await.unwrap()
    }

    /// Name, state and package of every model.
    async fn told(&self) -> Vec<(String, pb::ModelState, String)> {
        let tell = |model: pb::ModelInfo| (model.name.clone(), model.state(), model.package_name);
        self.list().await.models.into_iter().map(tell).collect()
    }

    async fn observe(&self, request: pb::ObserveRequest) -> Result<pb::ObserveResponse, Status> {
        answer(self.conversations().observe(request)).await
    }

    async fn is_serving(&self) -> bool {
        let request = HealthCheckRequest { service: String::new() };
        answer(HealthClient::new(self.channel.clone()).check(request)).await.unwrap().status() == ServingStatus::Serving
    }

    /// The value of a series, by its whole name with labels; `None` where there is none.
    async fn metric(&self, name: &str) -> Option<f64> {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(self.metrics).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.metrics);
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        soon("the metrics", stream.read_to_string(&mut text)).await.unwrap();
        let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
        Some(value.parse().unwrap())
    }
}

async fn answer<T>(call: impl Future<Output = Result<Response<T>, Status>>) -> Result<T, Status> {
    soon("an answer", call).await.map(Response::into_inner)
}

fn load_request(name: &str, folder: &Path) -> pb::LoadModelRequest {
    pb::LoadModelRequest { name: name.to_owned(), path: folder.display().to_string(), ..pb::LoadModelRequest::default() }
}

/// The call was refused with this code, and its words hold these.
#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, words: &str) {
    let status = result.expect_err("the call is refused");
    assert!(status.code() == code && status.message().contains(words), "expected {code:?} {words:?}, found {status:?}");
}

// ---------------------------------------------------------------- what is answered

/// What each package says to each text, by its digest.
struct Expected(BTreeMap<String, Vec<Signals>>);

impl Expected {
    fn of(folders: &[&Path]) -> Self {
        let of = |folder: &&Path| {
            let scorer = scorer(folder);
            let signals = (0..TEXTS).map(|number| scorer.score(&[ScoreInput::message(&text(number))]).unwrap().remove(0));
            (scorer.digest().to_owned(), signals.collect())
        };
        let all: BTreeMap<String, Vec<Signals>> = folders.iter().map(of).collect();
        assert_eq!(all.len(), folders.len(), "each package has a digest of its own");
        let first = |signals: &Signals| signals.sentiment.as_ref().unwrap().probabilities[0].1.get();
        for number in 0..TEXTS {
            let values: Vec<f32> = all.values().map(|signals| first(&signals[number])).collect();
            assert!((values[0] - values[1]).abs() > APART, "the packages say the same: {values:?}");
        }
        Self(all)
    }

    /// The answer is what the package that it names says, in every head.
    fn check(&self, number: usize, found: &pb::ScoreResponse) -> Result<(), String> {
        let expected = self.0.get(&found.model_digest).ok_or_else(|| format!("no package has the digest {}", found.model_digest))?;
        let (expected, signals) = (&expected[number], found.signals.as_ref().ok_or("there are no signals")?);
        for (head, found, expected) in
            [("sentiment", &signals.sentiment, &expected.sentiment), ("intent", &signals.intent, &expected.intent)]
        {
            let found: Vec<f32> = found.as_ref().unwrap().probabilities.iter().map(|label| label.probability).collect();
            let expected: Vec<f32> = expected.as_ref().unwrap().probabilities.iter().map(|(_, p)| p.get()).collect();
            let near = found.len() == expected.len() && found.iter().zip(&expected).all(|(a, b)| (a - b).abs() <= NEAR);
            if !near {
                return Err(format!("{head} of text {number}: found {found:?}, the package alone says {expected:?}"));
            }
        }
        Ok(())
    }
}

/// A client under load: scores until it is told to stop, and counts its answers by package.
async fn keep_asking(channel: Channel, expected: Arc<Expected>, from: usize, done: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    let mut client = ScoringServiceClient::new(channel);
    let mut counts = BTreeMap::new();
    let mut number = from;
    while !done.load(Ordering::Relaxed) {
        number = (number + 7) % TEXTS;
        let request = pb::ScoreRequest { text: text(number), ..pb::ScoreRequest::default() };
        let found = answer(client.score(request)).await.unwrap_or_else(|status| panic!("an answer failed: {status}"));
        expected.check(number, &found).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(found.model, "default");
        *counts.entry(found.model_digest).or_default() += 1;
    }
    counts
}

/// The same in one stream, with many messages in work at once.
async fn keep_streaming(channel: Channel, expected: Arc<Expected>, done: Arc<AtomicBool>) -> BTreeMap<String, usize> {
    const IN_WORK: usize = 16;
    let (requests, receiver) = mpsc::channel(IN_WORK);
    let mut answers =
        soon("a stream", ScoringServiceClient::new(channel).score_stream(ReceiverStream::new(receiver))).await.unwrap().into_inner();
    let mut counts = BTreeMap::new();
    let (mut sent, mut got) = (0, 0);
    loop {
        while sent < got + IN_WORK && !done.load(Ordering::Relaxed) {
            let request = Some(pb::ScoreRequest { text: text(sent % TEXTS), ..pb::ScoreRequest::default() });
            soon("room in the stream", requests.send(pb::ScoreStreamRequest { id: (sent % TEXTS).to_string(), request })).await.unwrap();
            sent += 1;
        }
        if got == sent {
            return counts;
        }
        let found = soon("an answer of the stream", answers.message()).await.unwrap().expect("the stream goes on");
        let number: usize = found.id.parse().unwrap();
        match found.result.unwrap().outcome.unwrap() {
            pb::score_result::Outcome::Response(response) => {
                expected.check(number, &response).unwrap_or_else(|what| panic!("{what}"));
                *counts.entry(response.model_digest).or_default() += 1;
            }
            pb::score_result::Outcome::Error(error) => panic!("an answer of the stream failed: {error:?}"),
        }
        got += 1;
    }
}

// ---------------------------------------------------------------- swapping

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_swaps_under_load_fail_no_answer_and_mix_none() {
    let place = Place::new();
    let folders = [package(&place, "unhappy", unhappy), package(&place, "happy", happy)];
    let expected = Arc::new(Expected::of(&[&folders[0], &folders[1]]));
    let digests = [digest(&folders[0]), digest(&folders[1])];
    let daemon = Daemon::start(&folders[0], &["limits.batch_tokens_max=64"]).await;
    let done = Arc::new(AtomicBool::new(false));
    let mut clients: Vec<JoinHandle<BTreeMap<String, usize>>> =
        (0..4).map(|client| tokio::spawn(keep_asking(daemon.channel.clone(), Arc::clone(&expected), client, Arc::clone(&done)))).collect();
    clients.extend((0..2).map(|_| tokio::spawn(keep_streaming(daemon.channel.clone(), Arc::clone(&expected), Arc::clone(&done)))));
    for swap in 1..=100 {
        let (new, old) = (swap % 2, (swap + 1) % 2);
        let promoted = daemon.promote("", &folders[new]).await.unwrap_or_else(|status| panic!("swap {swap}: {status}"));
        let model = promoted.model.unwrap();
        assert_eq!((model.digest.as_str(), promoted.previous_digest.as_str()), (digests[new].as_str(), digests[old].as_str()), "{swap}");
        // From the answer on, nothing that comes is scored by the old one.
        let number = swap % TEXTS;
        let found = daemon.score(None, &text(number)).await.unwrap();
        assert_eq!(found.model_digest, digests[new], "swap {swap}");
        expected.check(number, &found).unwrap();
        let finished = clients.iter().filter(|client| client.is_finished()).count();
        assert_eq!(finished, 0, "swap {swap}: a client has met a wrong answer");
    }
    done.store(true, Ordering::Relaxed);
    let mut all: BTreeMap<String, usize> = BTreeMap::new();
    for client in clients {
        let counts = soon("a client", client).await.unwrap();
        counts.into_iter().for_each(|(digest, count)| *all.entry(digest).or_default() += count);
    }
    assert_eq!(all.keys().collect::<Vec<_>>(), digests.iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>());
    assert_eq!(daemon.metric(r#"baton_model_changes_total{change="promote",result="done"}"#).await, Some(100.0));
    // Of all that were replaced only the last is still there.
    let states: Vec<pb::ModelState> = daemon.told().await.into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, [pb::ModelState::Serving, pb::ModelState::Kept]);
    assert!(daemon.is_serving().await);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_admitted_is_answered_by_the_model_that_it_was_admitted_to() {
    let place = Place::new();
    let (old, new) = (package(&place, "gated-unhappy", unhappy), package(&place, "happy", happy));
    let daemon = Daemon::start(&old, &[]).await;
    // Both workers hold a message of the old model, and more wait for it.
    let calls = daemon.engines.so_far();
    daemon.engines.close();
    let mut waiting = Vec::new();
    for number in 0..8 {
        let mut client = daemon.scoring();
        let request = pb::ScoreRequest { text: text(number), ..pb::ScoreRequest::default() };
        waiting.push(tokio::spawn(async move { answer(client.score(request)).await }));
        if number < 2 {
            // One for each worker before there are more: one worker might take them all.
            daemon.engines.until(calls + number + 1).await;
        }
    }
    // The new model must prove itself on workers that the old one holds: it does so as soon as one is free.
    let promoting = {
        let mut admin = daemon.admin();
        let request = pb::PromoteModelRequest { name: String::new(), path: new.display().to_string() };
        tokio::spawn(async move { answer(admin.promote_model(request)).await })
    };
    daemon.loading.until(2).await;
    daemon.engines.open();
    let promoted = promoting.await.unwrap().unwrap();
    for waiting in waiting {
        let found = waiting.await.unwrap().unwrap();
        assert!([&promoted.previous_digest, &promoted.model.as_ref().unwrap().digest].contains(&&found.model_digest));
        let negative = found.signals.unwrap().sentiment.unwrap().probabilities[0].probability;
        assert_eq!(found.model_digest == promoted.previous_digest, negative > 0.5, "the answer is of the package that it names");
    }
    assert_eq!(daemon.score(None, &text(0)).await.unwrap().model_digest, digest(&new), "and not from the old one's cache");
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_model_that_fails_changes_nothing() {
    let place = Place::new();
    let serving = package(&place, "unhappy", unhappy);
    let before = digest(&serving);
    let far = package(&place, "far", happy);
    Package::at(&far).edit_json("parity.json", |parity| parity["texts"][0]["probabilities"]["sentiment"] = json!([0.1, 0.1, 0.8]));
    Package::at(&far).edit_json("heads.json", |heads| heads["heads"][0]["bias"] = json!([4.0, 0.0, -4.0]));
    let broken = package(&place, "broken", happy);
    Package::at(&broken).remove("model.safetensors");
    let mute = package(&place, "mute-happy", happy);
    let missing = place.path("missing");
    let daemon = Daemon::start(&serving, &[]).await;
    let cases: [(&Path, &str); 4] = [
        (&missing, "no such folder"),
        (&broken, "model.safetensors"),
        (&far, "parity.json: texts[0].probabilities.sentiment"),
        (&mute, "did not answer the canary: the encoder gave a number that is not finite"),
    ];
    for (folder, words) in cases {
        refused(daemon.promote("", folder).await, Code::FailedPrecondition, words);
        refused(daemon.load(load_request("further", folder)).await, Code::FailedPrecondition, words);
        let told = daemon.told().await;
        let expected = [("default", pb::ModelState::Serving), ("default", pb::ModelState::Failed), ("further", pb::ModelState::Failed)];
        assert_eq!(told.iter().map(|(name, state, _)| (name.as_str(), *state)).collect::<Vec<_>>(), expected);
        assert!(daemon.list().await.models[1].reason.contains(words), "the list says why");
        assert_eq!(daemon.score(None, &text(1)).await.unwrap().model_digest, before);
        refused(daemon.roll_back("").await, Code::FailedPrecondition, "nothing is kept");
        assert!(daemon.is_serving().await);
    }
    assert_eq!(daemon.metric(r#"baton_model_changes_total{change="promote",result="refused"}"#).await, Some(4.0));
    // What failed under a name is told until something is done under it.
    let good = package(&place, "happy", happy);
    daemon.promote("", &good).await.unwrap();
    let names: Vec<String> = daemon.told().await.into_iter().map(|(name, state, _)| format!("{name} {state:?}")).collect();
    assert_eq!(names, ["default Serving", "default Kept", "further Failed"]);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_replaced_returns_at_once_and_may_be_given_up() {
    let place = Place::new();
    let (first, second) = (package(&place, "unhappy", unhappy), package(&place, "happy", happy));
    let (one, two) = (digest(&first), digest(&second));
    let daemon = Daemon::start(&first, &[]).await;
    daemon.promote("", &second).await.unwrap();
    let bytes = daemon.list().await.resident_bytes;
    // Nothing is loaded for it: the gate is closed.
    let loads = daemon.loading.so_far();
    daemon.loading.close();
    for (now, before) in [(&one, &two), (&two, &one), (&one, &two)] {
        let back = daemon.roll_back("").await.unwrap();
        assert_eq!((&back.model.unwrap().digest, &back.previous_digest), (now, before));
        assert_eq!(&daemon.score(None, &text(3)).await.unwrap().model_digest, now);
    }
    assert_eq!(daemon.loading.so_far(), loads);
    daemon.loading.open();
    // A package that serves already is an answer, and what is kept stays.
    let again = daemon.promote("", &first).await.unwrap();
    assert_eq!((again.model.unwrap().digest, again.previous_digest), (one.clone(), one.clone()));
    assert_eq!(daemon.roll_back("default").await.unwrap().model.unwrap().digest, two);
    // Without a folder the one is read again that the model came from.
    Package::at(&second).edit_json("heads.json", |heads| heads["version"] = json!("0.2.0"));
    let promoted = answer(daemon.admin().promote_model(pb::PromoteModelRequest::default())).await.unwrap();
    let model = promoted.model.unwrap();
    assert_eq!((model.package_version.as_str(), model.path.as_str()), ("0.2.0", second.to_str().unwrap()));
    assert_eq!(daemon.unload("default", true).await.unwrap().digests, [two]);
    refused(daemon.roll_back("").await, Code::FailedPrecondition, "name: nothing is kept");
    refused(daemon.unload("default", true).await, Code::FailedPrecondition, "name: nothing is kept");
    refused(daemon.unload("default", false).await, Code::FailedPrecondition, "name: default answers what names no model, and stays");
    assert!(daemon.list().await.resident_bytes < bytes, "what is given up takes no memory");
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_change_at_a_time_and_none_while_draining() {
    let place = Place::new();
    let (first, second) = (package(&place, "unhappy", unhappy), package(&place, "happy", happy));
    let before = digest(&first);
    let mut daemon = Daemon::start(&first, &[]).await;
    let loads = daemon.loading.so_far();
    daemon.loading.close();
    let promoting = {
        let mut admin = daemon.admin();
        let request = pb::PromoteModelRequest { name: String::new(), path: second.display().to_string() };
        tokio::spawn(async move { answer(admin.promote_model(request)).await })
    };
    daemon.loading.until(loads + 1).await;
    // While it is loaded the old one serves, and the list tells of both.
    assert_eq!(daemon.score(None, &text(2)).await.unwrap().model_digest, before);
    let told = daemon.told().await;
    assert_eq!(told[1], ("default".to_owned(), pb::ModelState::Loading, String::new()), "{told:?}");
    let busy = "another change of the models or of the policy is under way";
    refused(daemon.promote("", &second).await, Code::Aborted, busy);
    refused(daemon.load(load_request("further", &second)).await, Code::Aborted, busy);
    refused(daemon.roll_back("").await, Code::Aborted, busy);
    refused(daemon.unload("default", true).await, Code::Aborted, busy);
    assert_eq!(daemon.loading.so_far(), loads + 1, "nothing was loaded for those that were refused");
    // The server is told to stop before the package is there: it never serves.
    let models = daemon.models.take().unwrap();
    models.workers().close();
    daemon.loading.open();
    refused(promoting.await.unwrap(), Code::Unavailable, "the server is draining");
    assert_eq!(models.default().model.digest(), before);
    refused(daemon.promote("", &second).await, Code::Unavailable, "the server is draining");
    drop(models);
    daemon.end().await;
}

// ---------------------------------------------------------------- several models

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_chooses_its_model_by_name_or_by_language() {
    const GERMAN: &str = "Guten Tag, ich habe meine Bestellung immer noch nicht erhalten und möchte bitte mein Geld zurück haben";
    const ENGLISH: &str = "Hello, I still have not received the order that I placed last week and I would like to have my money back";
    let place = Place::new();
    let (first, german, topics) = (package(&place, "unhappy", unhappy), package(&place, "german", happy), package(&place, "topics", happy));
    let setting = format!("models.german.path={}", german.display());
    let daemon = Daemon::start(&first, &[&setting, "models.german.languages=de, nl", "models.german.queue_share=0.3"]).await;
    daemon.load(pb::LoadModelRequest { queue_share: 0.1, scores_only: true, ..load_request("topics", &topics) }).await.unwrap();
    for (named, text, expected) in [
        (None, GERMAN, "german"),
        (None, ENGLISH, "default"),
        // Nobody can tell.
        (None, "ok", "default"),
        (Some("default"), GERMAN, "default"),
        (Some("german"), ENGLISH, "german"),
        (Some("topics"), GERMAN, "topics"),
    ] {
        let found = daemon.score(named, text).await.unwrap();
        let folder =
            [("german", &german), ("default", &first), ("topics", &topics)].into_iter().find(|(name, _)| *name == expected).unwrap().1;
        assert_eq!((found.model.as_str(), found.model_digest), (expected, digest(folder)), "{named:?} {text:?}");
    }
    // The same text is not answered from the cache of another model.
    let (a, b) = (daemon.score(Some("default"), "thanks").await.unwrap(), daemon.score(Some("german"), "thanks").await.unwrap());
    assert_ne!(a.signals, b.signals);
    let unknown = "model: found \"french\", expected one of default, german, topics";
    refused(daemon.score(Some("french"), "hello").await, Code::NotFound, unknown);
    let request =
        |model: Option<&str>| pb::ScoreRequest { text: "hello".to_owned(), model: model.map(str::to_owned), ..pb::ScoreRequest::default() };
    let items = vec![request(None), request(Some("german")), request(Some("french"))];
    let batch = answer(daemon.scoring().score_batch(pb::ScoreBatchRequest { items })).await.unwrap();
    let outcome = |result: pb::ScoreResult| match result.outcome.unwrap() {
        pb::score_result::Outcome::Response(response) => response.model,
        pb::score_result::Outcome::Error(error) => format!("{:?} {}", Code::from(error.code), error.message),
    };
    let outcomes: Vec<String> = batch.results.into_iter().map(outcome).collect();
    assert_eq!(outcomes, ["default".to_owned(), "german".to_owned(), format!("NotFound items[2].{unknown}")]);
    let list = daemon.list().await.models;
    let shares: Vec<(&str, f64)> = list.iter().map(|model| (model.name.as_str(), model.queue_share)).collect();
    assert_eq!(shares, [("default", 0.6), ("german", 0.3), ("topics", 0.1)]);
    assert_eq!(list[1].languages, ["de", "nl"]);
    assert!(list.iter().all(|model| model.resident_bytes > 10_000 && model.embedding_size == 32 && model.heads.len() == 4));
    assert!(daemon.metric(r#"baton_model_messages_total{model="german"}"#).await.unwrap() > 0.0);
    assert_eq!(daemon.metric(r#"baton_model_queue_tokens{model="german"}"#).await, Some(0.0));
    assert_eq!(daemon.metric(r#"baton_model_resident_bytes{model="german"}"#).await, Some(list[1].resident_bytes as f64));
    // One more or less, while the others serve.
    daemon.promote("german", &topics).await.unwrap();
    assert_eq!(daemon.score(None, GERMAN).await.unwrap().model_digest, digest(&topics));
    daemon.roll_back("german").await.unwrap();
    assert_eq!(daemon.unload("german", false).await.unwrap().digests, [digest(&german), digest(&topics)]);
    assert_eq!(daemon.score(None, GERMAN).await.unwrap().model, "default");
    refused(daemon.score(Some("german"), GERMAN).await, Code::NotFound, "expected one of default, topics");
    assert_eq!(daemon.metric(r#"baton_model_messages_total{model="german"}"#).await, None, "its series go with it");
    assert_eq!(daemon.list().await.models[0].queue_share, 0.9);
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_does_not_go_together_is_refused() {
    let place = Place::new();
    let (first, second) = (package(&place, "unhappy", unhappy), package(&place, "happy", happy));
    let daemon = Daemon::start(&first, &[]).await;
    daemon.load(pb::LoadModelRequest { languages: vec!["de".into()], queue_share: 0.5, ..load_request("a", &second) }).await.unwrap();
    let other = |edit: fn(&mut pb::LoadModelRequest)| {
        let mut request = load_request("b", &second);
        edit(&mut request);
        request
    };
    for (request, code, words) in [
        (other(|r| r.name = "default".into()), Code::InvalidArgument, "name: found default"),
        (other(|r| r.name = "Größe".into()), Code::InvalidArgument, "name: found \"Größe\", expected 1 to 32 lower-case letters"),
        (other(|r| r.name = "x".repeat(33)), Code::InvalidArgument, "name: found "),
        (other(|r| r.name.clear()), Code::InvalidArgument, "name: found \"\""),
        (other(|r| r.path.clear()), Code::InvalidArgument, "path: found 0 bytes"),
        (other(|r| r.path = "x".repeat(5000)), Code::InvalidArgument, "path: found 5000 bytes"),
        (
            other(|r| r.languages = vec!["en".into(), "deutsch".into()]),
            Code::InvalidArgument,
            "languages[1]: found \"deutsch\", expected one of ar,",
        ),
        (other(|r| r.queue_share = 1.5), Code::InvalidArgument, "queue_share: found 1.5"),
        (other(|r| r.queue_share = f64::NAN), Code::InvalidArgument, "queue_share: found NaN"),
        (other(|r| r.queue_share = 0.95), Code::InvalidArgument, "queue_share: found 0.95, expected at most 0.9"),
        (
            other(|r| r.queue_share = 0.41),
            Code::FailedPrecondition,
            "queue_share: found 0.41, the other models have 0.5 and all may have 0.9",
        ),
        (other(|r| r.languages = vec!["de".into()]), Code::FailedPrecondition, "languages: de is that of the model \"a\" already"),
        (other(|r| r.name = "a".into()), Code::AlreadyExists, "name: found \"a\", which is loaded already"),
    ] {
        refused(daemon.load(request).await, code, words);
    }
    refused(daemon.promote("b", &second).await, Code::NotFound, "name: found \"b\", expected one of default, a");
    refused(daemon.roll_back("b").await, Code::NotFound, "name: found \"b\"");
    refused(daemon.unload("b", false).await, Code::NotFound, "name: found \"b\"");
    // As many as there may be, and no more.
    daemon.unload("a", false).await.unwrap();
    for number in 0..8 {
        daemon.load(pb::LoadModelRequest { queue_share: 0.1, ..load_request(&format!("m{number}"), &second) }).await.unwrap();
    }
    let more = pb::LoadModelRequest { queue_share: 0.1, ..load_request("more", &second) };
    refused(daemon.load(more).await, Code::FailedPrecondition, "8 models are loaded beside default, which is the most");
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bound_of_memory_holds_for_all_models_together() {
    let place = Place::new();
    let (first, second) = (package(&place, "unhappy", unhappy), package(&place, "happy", happy));
    let daemon = Daemon::start(&first, &[]).await;
    let one = daemon.list().await.resident_bytes;
    daemon.end().await;
    let files = fs::metadata(first.join("model.safetensors")).unwrap().len() + fs::metadata(first.join("heads.safetensors")).unwrap().len();
    // Room for two as they serve, and for one while another is loaded from its files.
    let most = (2 * one).max(one + files) + one / 2;
    let setting = format!("models.memory_bytes_max={most}");
    let daemon = Daemon::start(&first, &[&setting]).await;
    daemon.promote("", &second).await.unwrap();
    let list = daemon.list().await;
    assert_eq!((list.resident_bytes, list.memory_bytes_max), (2 * one, Some(most)));
    let words = format!("models.memory_bytes_max is {most}, the models that are loaded take {} and its files have {files} bytes", 2 * one);
    refused(daemon.promote("", &first).await, Code::FailedPrecondition, &words);
    refused(daemon.load(load_request("further", &first)).await, Code::FailedPrecondition, &words);
    assert_eq!(daemon.list().await.resident_bytes, 2 * one);
    // What is kept may return, which loads nothing; and once it is given up there is room.
    daemon.roll_back("").await.unwrap();
    daemon.unload("default", true).await.unwrap();
    daemon.load(load_request("further", &second)).await.unwrap();
    daemon.end().await;
    let setting = "models.memory_bytes_max=1000";
    let error = Daemon::serve(&first, &["policy.file=none", "store.data_dir=none", setting]).await.err().unwrap();
    assert!(
        error.to_string().starts_with("models.memory_bytes_max is 1000, and the model that the server is started with takes"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_model_starves_another_and_each_has_its_own_queue() {
    let place = Place::new();
    let (first, second) = (package(&place, "gated-busy", unhappy), package(&place, "gated-quiet", happy));
    let setting = format!("models.quiet.path={}", second.display());
    let limits = ["limits.workers=1", "limits.batch_tokens_max=1", "limits.queue_messages_max=50", "models.quiet.queue_share=0.1"];
    let daemon = Daemon::start(&first, &[&[setting.as_str()], &limits[..]].concat()).await;
    let score = |model: &str, number: usize| {
        let mut client = daemon.scoring();
        let request = pb::ScoreRequest { text: text(number), model: Some(model.to_owned()), ..pb::ScoreRequest::default() };
        tokio::spawn(async move { answer(client.score(request)).await })
    };
    let alone = scorer(&first);
    // The worker holds one message of the busy model, thirty wait behind it, and then a few come for the quiet one.
    let calls = daemon.engines.so_far();
    daemon.calls.lock().unwrap().clear();
    daemon.engines.close();
    let mut busy = vec![score("default", 100)];
    daemon.engines.until(calls + 1).await;
    busy.extend((0..30).map(|number| score("default", number)));
    let waiting = async |model: &str, tokens: usize| {
        let of = async || daemon.list().await.models.iter().find(|info| info.name == model).map_or(0, |info| info.queue_tokens);
        soon("they wait", async {
            while of().await != tokens as u64 {
                tokio::task::yield_now().await;
            }
        })
        .await;
    };
    let tokens =
        |numbers: std::ops::Range<usize>| numbers.map(|number| alone.reference(&text(number)).unwrap().input_ids.len()).sum::<usize>();
    waiting("default", tokens(0..30)).await;
    let mut quiet: Vec<_> = (0..5).map(|number| score("quiet", number)).collect();
    waiting("quiet", tokens(0..5)).await;
    // The queue of the quiet model is full with five messages, a tenth of all; that of the busy one is not.
    refused(daemon.score(Some("quiet"), "one more").await, Code::ResourceExhausted, "queue_messages_max is 5, 5 wait");
    busy.push(score("default", 31));
    daemon.engines.open();
    for answered in busy.drain(..).chain(quiet.drain(..)) {
        answered.await.unwrap().unwrap();
    }
    let order: Vec<String> = daemon.calls.lock().unwrap().iter().map(|(name, _)| name.clone()).collect();
    let first_of_quiet = order.iter().position(|name| name == "gated-quiet").unwrap();
    assert_eq!(first_of_quiet, 1, "the quiet model has its turn before the many that came before: {order:?}");
    let last_of_busy = order.iter().rposition(|name| name == "gated-busy").unwrap();
    assert_eq!((order.len(), order.iter().filter(|name| *name == "gated-quiet").count()), (37, 5));
    assert!(last_of_busy > first_of_quiet, "and the busy one goes on: {order:?}");
    daemon.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_further_model_of_the_settings_that_fails_stops_the_start() {
    let place = Place::new();
    let first = package(&place, "unhappy", unhappy);
    let setting = format!("models.further.path={}", place.path("missing").display());
    let error = Daemon::serve(&first, &["policy.file=none", "store.data_dir=none", &setting]).await.err().unwrap();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(error.to_string() == "the model \"further\" does not serve" && cause.contains("no such folder"), "{error}: {cause}");
}

// ---------------------------------------------------------------- decisions

/// A policy that tells the two packages apart, and counts contacts about one issue.
const POLICY: &str = r#"
[[trigger]]
id = "same"
kind = "proactive"
basis = "behaviour"
urgency = "immediate"
category = "repeat_contact"
priority = 50
when = 'contacts.same_issue(days(30)) >= 2 && intent("refund") > 0.01'
queue = "general"
message = "generic"

[[trigger]]
id = "sad"
kind = "reactive"
basis = "behaviour"
urgency = "soft"
category = "frustration"
priority = 20
when = 'conversation.valence_mean(3) < -0.9 && conversation.customer_turns >= 9'
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

struct Home {
    place: Place,
    unhappy: PathBuf,
    happy: PathBuf,
}

impl Home {
    fn new() -> Self {
        let place = Place::new();
        place.write("policy.toml", POLICY);
        let (unhappy, happy) = (package(&place, "unhappy", unhappy), package(&place, "happy", happy));
        Self { place, unhappy, happy }
    }

    async fn serve(&self, settings: &[&str]) -> Daemon {
        let policy = format!("policy.file={}", self.place.path("policy.toml").display());
        let data = format!("store.data_dir={}", self.place.path("data").display());
        Daemon::serve(&self.unhappy, &[&[policy.as_str(), data.as_str()], settings].concat()).await.unwrap()
    }

    /// Every conversation of the store, decided again: how many inputs lead to what they led to.
    fn replayed(&self) -> BTreeMap<String, u64> {
        let folder = self.place.path("data");
        let (store, editions) = (Store::open(&folder, Limits::default()).unwrap(), Editions::open(&folder).unwrap());
        let one = |id: baton::message::Id| match replay(&store, &editions, &id).unwrap() {
            Replayed::Same { inputs } => (id.to_string(), inputs),
            other => panic!("{id}: {other:?}"),
        };
        let all = store.conversations(0, usize::MAX).unwrap().into_iter().map(|(_, id)| one(id)).collect();
        store.close().unwrap();
        all
    }
}

fn say(conversation: &str, sequence: u32, text: &str) -> pb::ObserveRequest {
    pb::ObserveRequest {
        conversation_id: conversation.to_owned(),
        message_id: format!("m{sequence}"),
        sequence,
        speaker: pb::Speaker::Customer.into(),
        customer_id: Some("ada".to_owned()),
        text: text.to_owned(),
        ..pb::ObserveRequest::default()
    }
}

fn by(response: &pb::ObserveResponse) -> (&str, &str) {
    let decision = response.decision.as_ref().unwrap();
    (decision.trigger_id.as_deref().unwrap_or_default(), &decision.model_digest)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_with_swaps_in_its_middle_replays_and_compares_no_vectors_of_two_models() {
    let home = Home::new();
    let (one, two) = (digest(&home.unhappy), digest(&home.happy));
    let daemon = home.serve(&[]).await;
    let issue = "where is my refund";
    let first = daemon.observe(say("c1", 1, issue)).await.unwrap();
    assert_eq!(by(&first), ("", one.as_str()));
    let second = daemon.observe(say("c2", 1, issue)).await.unwrap();
    assert_eq!(by(&second), ("same", one.as_str()), "the same issue twice, with one model");
    // A long conversation, through two swaps; snapshots are taken on the way.
    let mut sequence: u32 = 0;
    let mut talk = async |rounds: u32, model: &str| {
        for _ in 0..rounds {
            sequence += 1;
            let speaker = if sequence.is_multiple_of(2) { pb::Speaker::Bot } else { pb::Speaker::Customer };
            let request = pb::ObserveRequest {
                speaker: speaker.into(),
                customer_id: Some("bob".into()),
                ..say("long", sequence, &text(sequence as usize))
            };
            let answered = daemon.observe(request).await.unwrap();
            assert_eq!(answered.decision.unwrap().model_digest, model, "message {sequence}");
        }
    };
    talk(15, &one).await;
    let policy = answer(daemon.scoring().get_info(pb::GetInfoRequest {})).await.unwrap().policy_digest.unwrap();
    daemon.promote("", &home.happy).await.unwrap();
    let info = answer(daemon.scoring().get_info(pb::GetInfoRequest {})).await.unwrap();
    assert!(
        info.model_digest == two && info.policy_digest.is_some_and(|digest| digest != policy),
        "the policy is compiled for the new model"
    );
    talk(15, &two).await;
    let third = daemon.observe(say("c3", 1, issue)).await.unwrap();
    assert_eq!(by(&third), ("", two.as_str()), "vectors of the old model are not compared with those of the new one");
    let fourth = daemon.observe(say("c4", 1, issue)).await.unwrap();
    assert_eq!(by(&fourth), ("same", two.as_str()));
    let request = pb::GetPackageRequest { conversation_id: "long".to_owned(), format: pb::PackageFormat::Json.into() };
    let mut handoffs = pb::handoff_service_client::HandoffServiceClient::new(daemon.channel.clone());
    answer(handoffs.get_package(request)).await.unwrap();
    daemon.roll_back("").await.unwrap();
    talk(15, &one).await;
    let fifth = daemon.observe(say("c5", 1, issue)).await.unwrap();
    assert_eq!(by(&fifth), ("same", one.as_str()), "those of the old one are still known when it returns");
    // Enough of the customer that a snapshot is taken while the vectors are of two models.
    for number in 0..20 {
        let visit = pb::RecordEventRequest {
            event_id: format!("e{number}"),
            customer_id: Some("ada".to_owned()),
            kind: "page_view".to_owned(),
            name: "/pricing".to_owned(),
            ..pb::RecordEventRequest::default()
        };
        answer(daemon.conversations().record_event(visit)).await.unwrap();
    }
    // What was answered before is answered the same, whichever model serves now.
    assert_eq!(daemon.observe(say("c3", 1, issue)).await.unwrap(), third);
    daemon.end().await;
    let replayed = home.replayed();
    assert_eq!((replayed["long"], replayed.len()), (45, 6));
    // After a restart the configuration says what serves, and what is known of the customer is still of two models.
    let daemon = home.serve(&[]).await;
    let sixth = daemon.observe(say("c6", 1, issue)).await.unwrap();
    assert_eq!(by(&sixth), ("same", one.as_str()));
    daemon.promote("", &home.happy).await.unwrap();
    let seventh = daemon.observe(say("c7", 1, issue)).await.unwrap();
    assert_eq!(by(&seventh), ("same", two.as_str()), "c3 and c4 were of this model");
    daemon.end().await;
    home.replayed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_conversation_stays_with_its_model_unless_a_message_says_otherwise() {
    const GERMAN: &str = "Guten Tag, ich habe meine Bestellung immer noch nicht erhalten und möchte bitte mein Geld zurück haben";
    let home = Home::new();
    let (one, two) = (digest(&home.unhappy), digest(&home.happy));
    let german = format!("models.german.path={}", home.happy.display());
    let daemon = home.serve(&[&german, "models.german.languages=de"]).await;
    daemon.load(pb::LoadModelRequest { scores_only: true, ..load_request("topics", &home.happy) }).await.unwrap();
    let named = |model: &str, request: pb::ObserveRequest| pb::ObserveRequest { model: Some(model.to_owned()), ..request };
    for (request, expected) in [
        (say("c", 1, "ok"), &one),
        (say("c", 2, GERMAN), &two),
        (say("c", 3, "ok"), &two),
        (pb::ObserveRequest { speaker: pb::Speaker::Agent.into(), ..say("c", 4, "hello") }, &two),
        (named("default", say("c", 5, GERMAN)), &one),
        (say("c", 6, "ok"), &one),
        (named("german", say("c", 7, "ok")), &two),
    ] {
        let sequence = request.sequence;
        assert_eq!(by(&daemon.observe(request).await.unwrap()).1, expected, "message {sequence}");
    }
    // What is no message does not make the conversation forget its model.
    let facts = pb::PutFactsRequest {
        lookup_id: "l".to_owned(),
        conversation_id: "c".to_owned(),
        facts: Some(pb::Facts { tier: Some("gold".to_owned()), ..pb::Facts::default() }),
        ..pb::PutFactsRequest::default()
    };
    let put = answer(daemon.conversations().put_facts(facts)).await.unwrap();
    assert_eq!(put.change.unwrap().decision.unwrap().model_digest, two);
    refused(
        daemon.observe(named("french", say("c", 8, "ok"))).await,
        Code::NotFound,
        "model: found \"french\", expected one of default, german, topics",
    );
    let only = "model: found \"topics\", with which no policy decides: it only scores";
    refused(daemon.observe(named("topics", say("c", 8, "ok"))).await, Code::FailedPrecondition, only);
    let list = daemon.list().await.models;
    assert_eq!(list.iter().map(|model| model.policy_digest.is_some()).collect::<Vec<_>>(), [true, true, false]);
    daemon.unload("german", false).await.unwrap();
    assert_eq!(by(&daemon.observe(say("c", 8, "ok")).await.unwrap()).1, one, "its model is gone");
    daemon.end().await;
    assert_eq!(home.replayed()["c"], 9);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_proves_itself_on_every_model_that_decides() {
    let home = Home::new();
    let one = digest(&home.unhappy);
    // Nine unhappy messages: the policy does with one package what its scenario expects, and not with the other.
    let turn = |number: usize| format!("  {{ customer = \"{}\" }},\n", text(number));
    let scenario = |expect: &str| {
        format!("[[scenario]]\nname = \"nine\"\nturns = [\n{}]\nexpect = [{expect}]\n", (0..9).map(turn).collect::<String>())
    };
    let sad = "{ turn = 9, action = \"attempt\", trigger = \"sad\", urgency = \"soft\", queue = \"general\" }";
    for (folder, expect) in [("scenarios", sad), ("happy-scenarios", "")] {
        fs::create_dir(home.place.path(folder)).unwrap();
        home.place.write(&format!("{folder}/nine.toml"), scenario(expect));
    }
    let other_labels = package(&home.place, "other-labels", |heads| {
        unhappy(heads);
        heads["heads"][2]["labels"][0] = json!("money_back");
    });
    let daemon = home.serve(&[]).await;
    let fails = "the policy does not prove itself on this model: the policy fails 1 of its 1 scenarios";
    refused(daemon.promote("", &home.happy).await, Code::FailedPrecondition, fails);
    refused(daemon.load(load_request("further", &home.happy)).await, Code::FailedPrecondition, fails);
    let wrong = "the policy does not prove itself on this model: the policy is wrong";
    refused(daemon.promote("", &other_labels).await, Code::FailedPrecondition, wrong);
    assert_eq!(daemon.score(None, "ok").await.unwrap().model_digest, one);
    // With scenarios of its own, or where it only scores, it loads.
    let scenarios = Some(home.place.path("happy-scenarios").display().to_string());
    daemon.load(pb::LoadModelRequest { scenarios, ..load_request("further", &home.happy) }).await.unwrap();
    daemon.load(pb::LoadModelRequest { scores_only: true, ..load_request("topics", &other_labels) }).await.unwrap();
    // A policy that is read again proves itself on all, or nothing changes.
    let reload = async || answer(daemon.admin().reload_policy(pb::ReloadPolicyRequest {})).await;
    let before = reload().await.unwrap().policy_digest;
    home.place.write("happy-scenarios/nine.toml", scenario(sad));
    refused(reload().await, Code::FailedPrecondition, "model \"further\": the policy fails 1 of its 1 scenarios");
    let digest_now = async || daemon.list().await.models[0].policy_digest.clone().unwrap();
    assert_eq!(digest_now().await, before);
    home.place.write("happy-scenarios/nine.toml", scenario(""));
    // What is kept need not take the new policy; but then it cannot return.
    let same = package(&home.place, "same", unhappy);
    daemon.promote("", &same).await.unwrap();
    home.place.write("policy.toml", POLICY.replace("intent(\"refund\")", "intent(\"greeting\")"));
    reload().await.unwrap();
    daemon.roll_back("").await.unwrap();
    let changed = package(&home.place, "changed", |heads| {
        unhappy(heads);
        heads["heads"][2]["labels"][1] = json!("hello");
    });
    home.place.write("policy.toml", POLICY);
    reload().await.unwrap();
    daemon.promote("", &changed).await.unwrap();
    daemon.roll_back("").await.unwrap();
    home.place.write("policy.toml", POLICY.replace("intent(\"refund\")", "intent(\"greeting\")"));
    reload().await.unwrap();
    let kept = &daemon.list().await.models[1];
    assert!(kept.state() == pb::ModelState::Kept && kept.reason.contains("the policy is wrong"), "{kept:?}");
    refused(daemon.roll_back("").await, Code::FailedPrecondition, "the policy that decides now does not prove itself on the model before");
    daemon.end().await;
}

// ---------------------------------------------------------------- the command

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_lists_and_changes_the_models_of_a_running_daemon() {
    let place = Arc::new(Place::new());
    let (first, second) = (package(&place, "unhappy", unhappy), package(&place, "happy", happy));
    let daemon = Daemon::start(&first, &[]).await;
    let address = daemon.address.to_string();
    let runs = AtomicUsize::new(0);
    let baton = async |arguments: &[&str]| {
        runs.fetch_add(1, Ordering::Relaxed);
        let arguments: Vec<String> =
            ["models"].iter().chain(arguments).chain(&["--address", address.as_str()]).map(|&word| word.to_owned()).collect();
        let place = Arc::clone(&place);
        let run = move || place.baton(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        tokio::task::spawn_blocking(run).await.unwrap()
    };
    let loaded = baton(&["load", "german", "--path", "happy", "--language", "de", "--queue-share", "0.3", "--json"]).await.json();
    assert_eq!((&loaded["name"], &loaded["digest"], &loaded["path"]), (&json!("german"), &json!(digest(&second)), &json!(second)));
    let promoted = baton(&["promote", "--path", "happy"]).await;
    assert!(
        promoted.success().starts_with("default: happy 0.1.0 (") && promoted.success().contains("which is kept"),
        "{}",
        promoted.stdout
    );
    let list = baton(&["list"]).await;
    let rows: Vec<Vec<&str>> = list.success().lines().map(|line| line.split_whitespace().collect()).collect();
    assert!(list.stdout.contains("all together"), "{}", list.stdout);
    let of = |name: &str, state: &str| rows.iter().any(|row| row.contains(&name) && row.contains(&state));
    assert!(of("default", "serving") && of("default", "kept") && of("german", "serving"), "{}", list.stdout);
    let all = baton(&["list", "--json"]).await.json();
    assert_eq!(all["models"].as_array().unwrap().len(), 3);
    let back = baton(&["rollback", "--json"]).await.json();
    assert_eq!((&back["digest"], &back["previous_digest"]), (&json!(digest(&first)), &json!(digest(&second))));
    baton(&["unload", "default", "--kept-only"]).await.success();
    baton(&["unload", "german"]).await.success();
    baton(&["unload", "german"]).await.failure(&["name: found \"german\", expected one of default"]);
    baton(&["promote", "--path", "missing"]).await.failure(&["no such folder"]);
    assert_eq!(daemon.told().await.len(), 2, "one serves, and one failure is told");
    assert_eq!(runs.load(Ordering::Relaxed), 9);
    daemon.end().await;
}
