//! `ScoringService`: convert, call, convert back.
//!
//! Deadlines come from `grpc-timeout`. Answers of a stream leave in the order in which they are ready; the stream is not read while
//! [`ServiceLimits::stream_in_flight_max`] of its requests are in work, so a client that never reads its answers is held back by its own window.
//! The next step of a message is [`crate::service::inference`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::stream::FuturesUnordered;
use futures::{Stream, StreamExt};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status, Streaming};

use crate::service::clock;
use crate::service::convert::{self, RequestLimits};
use crate::service::inference::Scheduler;
use crate::service::metrics::{self, Metrics, Rpc};
use crate::service::pb;
use crate::service::pb::scoring_service_server::ScoringService;
use crate::service::status::{BadField, counted, retry_after_ms};

/// Longest id of a request in a stream, in bytes.
const ID_BYTES_MAX: usize = 256;
/// Items of a batch that are in work at once.
const BATCH_IN_FLIGHT: usize = 256;

/// What this service accepts beside the scheduler's own limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServiceLimits {
    /// Bytes of one text.
    pub text_bytes_max: usize,
    /// Items of one `ScoreBatch`.
    pub batch_items_max: usize,
    /// Bytes of one gRPC message.
    pub message_bytes_max: usize,
    /// Requests of one stream in work.
    pub stream_in_flight_max: usize,
    /// Streams at a time.
    pub streams_max: usize,
    /// Connections at a time.
    pub connections_max: usize,
}

/// See the module.
pub struct Scoring {
    inner: Arc<Inner>,
    streams: Arc<Semaphore>,
}

struct Inner {
    scheduler: Arc<Scheduler>,
    metrics: Arc<Metrics>,
    limits: ServiceLimits,
    policy_digest: Option<String>,
}

impl Scoring {
    /// Serves with this scheduler. `policy_digest` is that of the policy that decides, if one does.
    pub fn new(scheduler: Arc<Scheduler>, metrics: Arc<Metrics>, limits: ServiceLimits, policy_digest: Option<String>) -> Self {
        Self { inner: Arc::new(Inner { scheduler, metrics, limits, policy_digest }), streams: Arc::new(Semaphore::new(limits.streams_max)) }
    }
}

impl Inner {
    async fn score(&self, request: pb::ScoreRequest, at: &str, rpc: Rpc, deadline: Option<Instant>) -> Result<pb::ScoreResponse, Status> {
        let with_vectors = request.with_vectors;
        let limits = RequestLimits { text_bytes_max: self.limits.text_bytes_max };
        let result = match convert::request(request, at, limits, deadline) {
            Ok(request) => self.scheduler.score(request).await.map_err(Status::from),
            Err(bad) => Err(bad.into()),
        };
        self.metrics.item(rpc, counted(result.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok)));
        result.map(|scored| convert::response(&scored, self.scheduler.scorer().digest(), with_vectors))
    }

    async fn result(&self, request: Option<pb::ScoreRequest>, at: &str, rpc: Rpc, deadline: Option<Instant>) -> pb::ScoreResult {
        let outcome = match request {
            Some(request) => self.score(request, at, rpc, deadline).await,
            None => {
                self.metrics.item(rpc, metrics::Code::InvalidArgument);
                Err(BadField::new(format!("{at}request"), "found nothing, expected a request").into())
            }
        };
        pb::ScoreResult {
            outcome: Some(match outcome {
                Ok(response) => pb::score_result::Outcome::Response(response),
                Err(status) => pb::score_result::Outcome::Error(pb::ItemError {
                    code: status.code() as i32,
                    message: status.message().to_owned(),
                    retry_after_ms: retry_after_ms(&status),
                }),
            }),
        }
    }
}

type ResponseStream = Pin<Box<dyn Stream<Item = Result<pb::ScoreStreamResponse, Status>> + Send>>;

#[tonic::async_trait]
impl ScoringService for Scoring {
    async fn score(&self, request: Request<pb::ScoreRequest>) -> Result<Response<pb::ScoreResponse>, Status> {
        let deadline = deadline(request.metadata());
        self.inner.score(request.into_inner(), "", Rpc::Score, deadline).await.map(Response::new)
    }

    async fn score_batch(&self, request: Request<pb::ScoreBatchRequest>) -> Result<Response<pb::ScoreBatchResponse>, Status> {
        let deadline = deadline(request.metadata());
        let items = request.into_inner().items;
        let most = self.inner.limits.batch_items_max;
        if items.is_empty() || items.len() > most {
            let what = format!("found {} items, expected 1 to batch_items_max {most}", items.len());
            self.inner.metrics.item(Rpc::ScoreBatch, metrics::Code::InvalidArgument);
            return Err(BadField::new("items", what).into());
        }
        let numbered = futures::stream::iter(items.into_iter().enumerate());
        let answers = numbered.map(|(number, item)| async move {
            self.inner.result(Some(item), &format!("items[{number}]."), Rpc::ScoreBatch, deadline).await
        });
        Ok(Response::new(pb::ScoreBatchResponse { results: answers.buffered(BATCH_IN_FLIGHT).collect().await }))
    }

    type ScoreStreamStream = ResponseStream;

    async fn score_stream(&self, request: Request<Streaming<pb::ScoreStreamRequest>>) -> Result<Response<ResponseStream>, Status> {
        let permit = Arc::clone(&self.streams)
            .try_acquire_owned()
            .map_err(|_| Status::resource_exhausted(format!("streams_max is {}, all are open", self.inner.limits.streams_max)))?;
        let deadline = deadline(request.metadata());
        let (sender, receiver) = mpsc::channel(self.inner.limits.stream_in_flight_max);
        let inner = Arc::clone(&self.inner);
        tokio::spawn(async move {
            inner.metrics.streams.inc();
            pump(&inner, request.into_inner(), &sender, deadline).await;
            inner.metrics.streams.dec();
            drop(permit);
        });
        Ok(Response::new(Box::pin(ReceiverStream::new(receiver))))
    }

    async fn get_info(&self, _: Request<pb::GetInfoRequest>) -> Result<Response<pb::GetInfoResponse>, Status> {
        let (scorer, limits) = (self.inner.scheduler.scorer(), self.inner.limits);
        Ok(Response::new(pb::GetInfoResponse {
            model_name: scorer.file().name.clone(),
            model_version: scorer.file().version.clone(),
            model_digest: scorer.digest().to_owned(),
            engine: scorer.engine(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_digest: self.inner.policy_digest.clone(),
            heads: convert::heads(scorer),
            embedding_size: u32::try_from(scorer.embedding_size()).unwrap_or(u32::MAX),
            limits: Some(pb::Limits {
                text_bytes_max: limits.text_bytes_max as u64,
                batch_items_max: limits.batch_items_max as u64,
                message_bytes_max: limits.message_bytes_max as u64,
                queue_tokens_max: self.inner.scheduler.limits().queue_tokens_max as u64,
                stream_in_flight_max: limits.stream_in_flight_max as u64,
                connections_max: limits.connections_max as u64,
            }),
        }))
    }
}

type Sender = mpsc::Sender<Result<pb::ScoreStreamResponse, Status>>;

/// Reads requests while there is room, answers as answers come, ends when the client has closed and all is answered, or when nobody reads any more.
async fn pump(inner: &Inner, mut requests: Streaming<pb::ScoreStreamRequest>, sender: &Sender, deadline: Option<Instant>) {
    let mut in_work = FuturesUnordered::new();
    let mut open = true;
    while open || !in_work.is_empty() {
        let room = in_work.len() < inner.limits.stream_in_flight_max;
        tokio::select! {
            () = sender.closed() => return,
            next = requests.next(), if open && room => match next {
                Some(Ok(request)) => in_work.push(stream_item(inner, request, deadline)),
                Some(Err(status)) => {
                    // The transport broke or the message was no message: the stream ends with the same words.
                    drop(sender.send(Err(status)).await);
                    return;
                }
                None => open = false,
            },
            Some(answer) = in_work.next(), if !in_work.is_empty() => {
                if sender.send(Ok(answer)).await.is_err() {
                    return;
                }
            }
        }
    }
}

async fn stream_item(inner: &Inner, item: pb::ScoreStreamRequest, deadline: Option<Instant>) -> pb::ScoreStreamResponse {
    let pb::ScoreStreamRequest { id, request } = item;
    let result = if id.is_empty() || id.len() > ID_BYTES_MAX {
        let bad = BadField::new("id", format!("found {} bytes, expected 1 to {ID_BYTES_MAX}", id.len()));
        let status = Status::from(bad);
        inner.metrics.item(Rpc::ScoreStream, metrics::Code::InvalidArgument);
        let error = pb::ItemError { code: status.code() as i32, message: status.message().to_owned(), retry_after_ms: None };
        pb::ScoreResult { outcome: Some(pb::score_result::Outcome::Error(error)) }
    } else {
        inner.result(request, "", Rpc::ScoreStream, deadline).await
    };
    pb::ScoreStreamResponse { id, result: Some(result) }
}

/// The end of `grpc-timeout`, if there is one that can be read: up to eight digits and a unit.
fn deadline(metadata: &MetadataMap) -> Option<Instant> {
    let value = metadata.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    let amount: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    let timeout = match unit {
        "H" => Duration::from_secs(amount * 3600),
        "M" => Duration::from_secs(amount * 60),
        "S" => Duration::from_secs(amount),
        "m" => Duration::from_millis(amount),
        "u" => Duration::from_micros(amount),
        "n" => Duration::from_nanos(amount),
        _ => return None,
    };
    // tonic keeps the same time-out, began a moment earlier and would end the call as CANCELLED: ours ends before, by a twentieth, 1 to 5 ms.
    let margin = (timeout / 20).clamp(Duration::from_millis(1), Duration::from_millis(5)).min(timeout / 2);
    clock::now().checked_add(timeout - margin)
}
