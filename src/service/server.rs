//! The server: listen, prove that the model answers, serve, drain.
//!
//! Health is that of the default model: NOT_SERVING until a canary message was scored, again while a worker that panicked over one of its batches has not proved
//! itself, and from the first moment of the drain. A drain refuses new work with UNAVAILABLE, finishes what was accepted, and ends at its deadline whatever clients still hold open: tonic's
//! own graceful shutdown waits without limit.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{fmt, io};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{TcpListenerStream, UnixListenerStream};
use tonic::transport::Server;
use tonic::transport::server::Connected;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use super::clock::{self, Stopwatch};
use super::delivery::{Delivery, DeliverySettings};
use super::events::{Event, emit};
use super::grpc::admin::Admin;
use super::grpc::conversation::Conversations;
use super::grpc::handoff::Handoffs;
use super::grpc::routing::Routing;
use super::grpc::scoring::{Scoring, ServiceLimits};
use super::inference::Limits;
use super::memory::{Memory, MemorySettings, Swept};
use super::metrics::Metrics;
use super::models::{self, First, Models, ModelsSettings};
use super::pb;
use super::pb::admin_service_server::AdminServiceServer;
use super::pb::conversation_service_server::ConversationServiceServer;
use super::pb::handoff_service_server::HandoffServiceServer;
use super::pb::routing_service_server::RoutingServiceServer;
use super::pb::scoring_service_server::ScoringServiceServer;
use super::proving::{PolicyPlaces, Proved};
use crate::model::scorer::Scorer;

/// A connection whose peer is gone is found out after this time.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long the batches in work may take after the drain's deadline.
const WORKERS_GRACE: Duration = Duration::from_millis(200);
/// How often the count of panicked workers is looked at.
const WATCH_PERIOD: Duration = Duration::from_millis(200);
/// How often deadlines of handoffs are looked at.
const ROUTE_PERIOD: Duration = Duration::from_secs(1);
/// The services of the contract, as health names them.
const SERVICES: [&str; 5] = [
    "baton.v1.ScoringService",
    "baton.v1.ConversationService",
    "baton.v1.HandoffService",
    "baton.v1.RoutingService",
    "baton.v1.AdminService",
];
/// How often idle and old conversations are looked for.
const SWEEP_PERIOD: Duration = Duration::from_secs(60);

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A TCP address; loopback only, until TLS and tokens exist.
    Tcp(SocketAddr),
    /// A Unix socket; a socket file that is there is taken over only when nobody listens on it.
    Unix(PathBuf),
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Everything that the server is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Where it listens.
    pub listen: Listen,
    /// Where Prometheus reads; loopback only.
    pub metrics: Option<SocketAddr>,
    /// What the scheduler accepts.
    pub scheduler: Limits,
    /// The models beside the one that the server is started with.
    pub models: ModelsSettings,
    /// What the service accepts.
    pub service: ServiceLimits,
    /// Which policy decides.
    pub policy: PolicyChoice,
    /// How conversations are remembered; `None` where they are not.
    pub memory: Option<MemorySettings>,
    /// What goes beside the notes for helpdesks.
    pub notes: crate::handoff::note::Options,
    /// How letters are sent; `None` where nobody is told of handoffs.
    pub delivery: Option<Arc<DeliverySettings>>,
    /// How long a drain may take.
    pub drain_timeout: Duration,
}

/// Which policy decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PolicyChoice {
    /// None: signals without decisions.
    None,
    /// The policy of these places.
    Places(PolicyPlaces),
}

/// Why the server did not start, or ended.
#[derive(Debug)]
pub struct ServerError {
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl ServerError {
    fn new(what: impl Into<String>, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { what: what.into(), source: Some(source.into()) }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for ServerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|source| source.as_ref() as _)
    }
}

/// A server that runs.
pub struct Running {
    /// Where it listens; the real port where 0 was asked for.
    pub address: Listen,
    /// Where the metrics are.
    pub metrics_address: Option<SocketAddr>,
    models: Arc<Models>,
    memory: Option<Arc<Memory>>,
    stop: watch::Sender<bool>,
    ended: oneshot::Receiver<Result<(), ServerError>>,
}

impl Running {
    /// The models behind it.
    pub fn models(&self) -> &Arc<Models> {
        &self.models
    }

    /// The memory behind it, if it has one.
    pub fn memory(&self) -> Option<&Arc<Memory>> {
        self.memory.as_ref()
    }

    /// Waits until `shutdown` is ready, then drains; ends with the server.
    pub async fn until(self, shutdown: impl Future<Output = ()>) -> Result<(), ServerError> {
        let Self { stop, ended, .. } = self;
        tokio::pin!(ended);
        tokio::select! {
            result = &mut ended => return flatten(result),
            () = shutdown => {}
        }
        // Nobody listens only if the server has ended by itself, and then there is nothing to stop.
        let _ = stop.send(true);
        flatten(ended.await)
    }
}

fn flatten(result: Result<Result<(), ServerError>, oneshot::error::RecvError>) -> Result<(), ServerError> {
    result.unwrap_or_else(|error| Err(ServerError::new("the server task died", error)))
}

/// As [`start_from`], with a model of which nobody says where it came from; others load onto the CPU.
pub async fn start(scorer: Arc<Scorer>, policy: Option<Proved>, settings: Settings) -> Result<Running, ServerError> {
    start_from(First { scorer, folder: None, loader: models::cpu_loader() }, policy, settings).await
}

/// Opens the store, loads the further models of the settings, starts listening, proves the first model with a canary, and serves. The policy has proved itself on
/// that one before; `None` serves signals without decisions.
pub async fn start_from(first: First, policy: Option<Proved>, settings: Settings) -> Result<Running, ServerError> {
    let metrics = Metrics::new();
    let models = Models::start(first, settings.scheduler, settings.models.memory_bytes_max, Arc::clone(&metrics));
    let models = models.map_err(|error| ServerError::new("a worker could not be started", error))?;
    let (health, health_service) = tonic_health::server::health_reporter();
    set_health(&health, &metrics, false).await;
    let (stop, stopped) = watch::channel(false);
    let memory = open_memory(policy, &settings, &models, &metrics).await?;
    load_further(&models, &settings.models).await?;
    let delivery = match (&memory, &settings.delivery) {
        (Some(memory), Some(delivery)) => {
            Some(Delivery::start(memory, delivery, &metrics).map_err(|error| ServerError::new("the delivery does not start", error))?)
        }
        (_, None) | (None, _) => None,
    };
    let metrics_address = match settings.metrics {
        Some(address) => Some(serve_metrics(address, Arc::clone(&metrics), Arc::clone(&models), memory.clone(), stopped.clone()).await?),
        None => None,
    };
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(pb::FILE_DESCRIPTOR_SET)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .map_err(|error| ServerError::new("the reflection service could not be built", error))?;
    let bytes_max = settings.service.message_bytes_max;
    let scoring = Scoring::new(Arc::clone(&models), Arc::clone(&metrics), settings.service);
    let scoring = ScoringServiceServer::new(scoring).max_decoding_message_size(bytes_max);
    let conversations = Conversations::new(memory.clone(), Arc::clone(&metrics), settings.service);
    let conversations = ConversationServiceServer::new(conversations).max_decoding_message_size(bytes_max);
    let (notes, watchers_max) = (settings.notes.clone(), settings.service.streams_max);
    let handoffs = Handoffs::new(memory.clone(), Arc::clone(&metrics), notes, watchers_max, stopped.clone());
    let handoffs = HandoffServiceServer::new(handoffs);
    let routing = RoutingServiceServer::new(Routing::new(memory.clone(), Arc::clone(&metrics)));
    let admin = AdminServiceServer::new(Admin::new(memory.clone(), Arc::clone(&models), Arc::clone(&metrics)));
    let router = Server::builder()
        .max_concurrent_streams(u32::try_from(settings.service.streams_max).ok())
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(scoring)
        .add_service(conversations)
        .add_service(handoffs)
        .add_service(routing)
        .add_service(admin);
    let permits = Arc::new(Semaphore::new(settings.service.connections_max));
    let mut stop_listening = stopped.clone();
    let signal = async move { drop(stop_listening.wait_for(|stop| *stop).await) };
    let (address, serving) = match &settings.listen {
        Listen::Tcp(address) => {
            let listener =
                TcpListener::bind(address).await.map_err(|error| ServerError::new(format!("cannot listen on {address}"), error))?;
            let bound = listener.local_addr().map_err(|error| ServerError::new("the address of the listener", error))?;
            // An answer is several small writes; without this the second waits 40 ms for the peer to acknowledge the first.
            let at_once = |stream: io::Result<TcpStream>| stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
            let incoming = limited(TcpListenerStream::new(listener).map(at_once), permits);
            (Listen::Tcp(bound), tokio::spawn(router.serve_with_incoming_shutdown(incoming, signal)))
        }
        Listen::Unix(path) => {
            let listener = bind_unix(path).await?;
            let incoming = limited(UnixListenerStream::new(listener), permits);
            (settings.listen.clone(), tokio::spawn(router.serve_with_incoming_shutdown(incoming, signal)))
        }
    };
    models.canary().await.map_err(|error| ServerError::new("the model did not answer the canary", error))?;
    set_health(&health, &metrics, true).await;
    emit(&Event::Serving { address: &address.to_string() });
    let (sender, ended) = oneshot::channel();
    let mut tasks = Vec::new();
    if let Some(memory) = &memory {
        tasks.push(tokio::spawn(sweep(Arc::clone(memory), stopped.clone())));
        tasks.push(tokio::spawn(route(Arc::clone(memory), stopped.clone())));
    }
    let supervised = Supervised { models: Arc::clone(&models), memory: memory.clone(), tasks, delivery, metrics, health };
    tokio::spawn(supervise(supervised, serving, stopped, settings.drain_timeout, sender));
    Ok(Running { address, metrics_address, models, memory, stop, ended })
}

/// Opens the memory, where there is a policy that decides and a folder to remember in.
async fn open_memory(
    policy: Option<Proved>,
    settings: &Settings,
    models: &Arc<Models>,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<Memory>>, ServerError> {
    let Some(proved) = policy else { return Ok(None) };
    let places = match &settings.policy {
        PolicyChoice::Places(places) => places.clone(),
        PolicyChoice::None => PolicyPlaces::default(),
    };
    let (models, metrics, watch) = (Arc::clone(models), Arc::clone(metrics), Stopwatch::start());
    let Some(memory) = settings.memory.clone() else {
        let decided = tokio::task::spawn_blocking(move || models.decide_by(places, None, proved)).await;
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| ServerError::new("the policy does not decide", error);
        decided.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
        return Ok(None);
    };
    let folder = memory.folder.display().to_string();
    let opened = tokio::task::spawn_blocking(move || Memory::open(memory, places, proved, models, metrics)).await;
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| ServerError::new(format!("the store in {folder} does not open"), error);
    let memory = opened.map_err(|error| failed(error.into()))?.map_err(|error| failed(error.into()))?;
    emit(&Event::StoreOpened { folder: &folder, elapsed: watch.elapsed() });
    Ok(Some(Arc::new(memory)))
}

/// Loads the models of the settings, in their order.
async fn load_further(models: &Arc<Models>, settings: &ModelsSettings) -> Result<(), ServerError> {
    let (bytes, most) = models.bytes();
    if let Some(most) = most.filter(|most| bytes > *most) {
        let what = format!("models.memory_bytes_max is {most}, and the model that the server is started with takes {bytes} bytes");
        return Err(ServerError { what, source: None });
    }
    for model in &settings.named {
        let failed = |error| ServerError::new(format!("the model {:?} does not serve", model.name), error);
        drop(models.load(model.clone()).await.map_err(failed)?);
    }
    Ok(())
}

/// Closes idle conversations and deletes old ones, from the start on.
async fn sweep(memory: Arc<Memory>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = async { drop(stopped.wait_for(|stop| *stop).await) } => return,
            _ = ticks.tick() => {}
        }
        match memory.sweep(clock::wall()).await {
            Ok(swept) if swept == Swept::default() => {}
            Ok(Swept { closed, deleted, customers_deleted, letters_deleted }) => {
                emit(&Event::Swept { closed, deleted, customers_deleted, letters_deleted });
            }
            Err(error) => emit(&Event::StoreFailed { reason: &error.to_string() }),
        }
    }
}

/// Finds people for who waits, and does what is due: whenever something changed, and every moment.
async fn route(memory: Arc<Memory>, mut stopped: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(ROUTE_PERIOD);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = async { drop(stopped.wait_for(|stop| *stop).await) } => return,
            () = memory.to_route() => {}
            _ = ticks.tick() => {}
        }
        if let Err(error) = memory.route(clock::wall()).await {
            // What failed is tried again at the next tick.
            emit(&Event::RoutingFailed { reason: &error.to_string() });
        }
    }
}

/// What ends with the server.
struct Supervised {
    models: Arc<Models>,
    memory: Option<Arc<Memory>>,
    /// What works on the memory by itself, and ends when it is told to stop.
    tasks: Vec<tokio::task::JoinHandle<()>>,
    delivery: Option<Delivery>,
    metrics: Arc<Metrics>,
    health: HealthReporter,
}

type Serving = tokio::task::JoinHandle<Result<(), tonic::transport::Error>>;

/// Watches the workers while the server serves; drains when it is told to stop.
async fn supervise(
    Supervised { models, memory, tasks, delivery, metrics, health }: Supervised,
    mut serving: Serving,
    mut stopped: watch::Receiver<bool>,
    drain_timeout: Duration,
    ended: oneshot::Sender<Result<(), ServerError>>,
) {
    let mut panics = models.workers().panics();
    let mut of_default = models.default_panics();
    let mut ticks = tokio::time::interval(WATCH_PERIOD);
    let result = loop {
        tokio::select! {
            // Being told to stop comes first: without a connection the server ends at once, and that is a drain all the same.
            biased;
            () = async { drop(stopped.wait_for(|stop| *stop).await) } => break None,
            result = &mut serving => break Some(result),
            _ = ticks.tick() => {
                let now = models.workers().panics();
                if now == panics {
                    continue;
                }
                panics = now;
                emit(&Event::WorkerReplaced { panics });
                // What another model did, or another package in the place of the default, says nothing about the one that answers now.
                let (package, now) = models.default_panics();
                let before = if package == of_default.0 { of_default.1 } else { 0 };
                of_default = (package, now);
                if now > before {
                    set_health(&health, &metrics, false).await;
                    // Beside this loop, which must hear of a stop even while the model hangs.
                    let (models, health, metrics, stopped) = (Arc::clone(&models), health.clone(), Arc::clone(&metrics), stopped.clone());
                    tokio::spawn(async move {
                        if models.canary().await.is_ok() && !*stopped.borrow() {
                            set_health(&health, &metrics, true).await;
                        }
                    });
                }
            }
        }
    };
    let deadline = tokio::time::Instant::now() + drain_timeout;
    set_health(&health, &metrics, false).await;
    if let Some(delivery) = &delivery {
        delivery.stop();
    }
    // A server without connections may end in the very moment in which it is told to stop; that is a drain all the same.
    if result.is_none() || *stopped.borrow() {
        emit(&Event::Draining);
        models.workers().close();
    }
    let result = match result {
        Some(result) => result,
        None => match tokio::time::timeout_at(deadline, &mut serving).await {
            Ok(result) => result,
            Err(_) => {
                serving.abort();
                emit(&Event::DrainTimedOut);
                Ok(Ok(()))
            }
        },
    };
    let stopping = Arc::clone(&models);
    // The workers finish the batch they are in, unless the engine hangs: then the process ends without them.
    let stopped_in_time =
        tokio::time::timeout_at(deadline + WORKERS_GRACE, tokio::task::spawn_blocking(move || stopping.workers().stop())).await;
    if stopped_in_time.is_err() {
        emit(&Event::DrainTimedOut);
    }
    if let Some(delivery) = delivery {
        delivery.ended(deadline).await;
    }
    // A server that ended by itself was not told to stop, and its tasks end with the process.
    if *stopped.borrow() {
        for task in tasks {
            // A task that died has nothing more to do with the store.
            drop(tokio::time::timeout_at(deadline + WORKERS_GRACE, task).await);
        }
    }
    // What was taken is stored, however long that takes: a store that is not closed is only slower to open.
    if let Some(memory) = memory {
        match tokio::task::spawn_blocking(move || memory.close()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => emit(&Event::StoreFailed { reason: &error.to_string() }),
            Err(_) => emit(&Event::StoreFailed { reason: "the thread that closes the store died" }),
        }
    }
    let result = match result {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(ServerError::new("the server ended", error)),
        Err(error) => Err(ServerError::new("the server task died", error)),
    };
    // Nobody waits any more only if the process is ending anyway.
    drop(ended.send(result));
}

async fn set_health(health: &HealthReporter, metrics: &Metrics, serving: bool) {
    let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
    // The empty name stands for the whole server.
    health.set_service_status("", status).await;
    for service in SERVICES {
        health.set_service_status(service, status).await;
    }
    metrics.serving.set(u64::from(serving));
}

/// A socket file of a server that is gone is removed; one on which somebody listens, or a file that is no socket, is refused.
async fn bind_unix(path: &std::path::Path) -> Result<UnixListener, ServerError> {
    use std::os::unix::fs::FileTypeExt;
    let here = |what: &str| format!("cannot listen on {}: {what}", path.display());
    if let Ok(metadata) = std::fs::symlink_metadata(path) {
        if !metadata.file_type().is_socket() {
            return Err(ServerError { what: here("a file that is no socket is there"), source: None });
        }
        if tokio::net::UnixStream::connect(path).await.is_ok() {
            return Err(ServerError { what: here("another server listens there"), source: None });
        }
        std::fs::remove_file(path).map_err(|error| ServerError::new(here("the old socket cannot be removed"), error))?;
    }
    UnixListener::bind(path).map_err(|error| ServerError::new(here("the socket cannot be made"), error))
}

/// Connections wait in the listener's backlog while as many as allowed are open; each gives its place back when it closes.
fn limited<S, E>(
    incoming: impl tokio_stream::Stream<Item = Result<S, E>>,
    permits: Arc<Semaphore>,
) -> impl tokio_stream::Stream<Item = Result<Counted<S>, E>> {
    incoming.then(move |connection| {
        let permits = Arc::clone(&permits);
        async move {
            let permit = permits.acquire_owned().await.expect("the semaphore of connections is never closed");
            connection.map(|inner| Counted { inner, _permit: permit })
        }
    })
}

/// Prometheus text on `GET /metrics`.
async fn serve_metrics(
    address: SocketAddr,
    metrics: Arc<Metrics>,
    models: Arc<Models>,
    memory: Option<Arc<Memory>>,
    mut stopped: watch::Receiver<bool>,
) -> Result<SocketAddr, ServerError> {
    let listener =
        TcpListener::bind(address).await.map_err(|error| ServerError::new(format!("cannot listen for metrics on {address}"), error))?;
    let bound = listener.local_addr().map_err(|error| ServerError::new("the address of the metrics listener", error))?;
    let text = move || async move {
        let headers = [(axum::http::header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")];
        models.tell();
        if let Some(memory) = memory {
            metrics.store(memory.progress());
            // A store that cannot be read tells the figures of before; that it cannot be read is told by whoever needs it.
            if let Ok(counts) = memory.letter_counts().await {
                metrics.outbox(&counts);
            }
        }
        metrics.text().map(|text| (headers, text)).map_err(|_| axum::http::StatusCode::INTERNAL_SERVER_ERROR)
    };
    let router = axum::Router::new().route("/metrics", axum::routing::get(text));
    let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
    // Metrics end with the process; a failure of their listener after the start is the scraper's to notice.
    tokio::spawn(async move { drop(axum::serve(listener, router).with_graceful_shutdown(stop).await) });
    Ok(bound)
}

/// A connection that holds its place among the allowed ones.
struct Counted<S> {
    inner: S,
    _permit: tokio::sync::OwnedSemaphorePermit,
}

impl<S: Connected> Connected for Counted<S> {
    type ConnectInfo = S::ConnectInfo;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.inner.connect_info()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
