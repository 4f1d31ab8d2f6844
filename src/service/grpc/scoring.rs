//! `ScoringService`: convert, call, convert back.
//!
//! Deadlines come from `grpc-timeout`. Answers of a stream leave in the order in which they are ready.
//! The next step of a message is [`crate::service::inference`].

use std::sync::Arc;
use std::time::Instant;

use futures::StreamExt;
use tonic::{Request, Response, Status, Streaming};

use super::stream::{Answers, Streams, check_id};
use super::{deadline, item_error};
use crate::service::convert::{self, RequestLimits};
use crate::service::metrics::{self, Metrics, Rpc};
use crate::service::models::Models;
use crate::service::pb;
use crate::service::pb::scoring_service_server::ScoringService;
use crate::service::status::{BadField, counted};

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
    streams: Streams,
}

struct Inner {
    models: Arc<Models>,
    metrics: Arc<Metrics>,
    limits: ServiceLimits,
}

impl Scoring {
    /// Serves with these models.
    pub fn new(models: Arc<Models>, metrics: Arc<Metrics>, limits: ServiceLimits) -> Self {
        let streams = Streams::new(limits.streams_max, limits.stream_in_flight_max, Arc::clone(&metrics));
        Self { inner: Arc::new(Inner { models, metrics, limits }), streams }
    }
}

impl Inner {
    async fn score(&self, request: pb::ScoreRequest, at: &str, rpc: Rpc, deadline: Option<Instant>) -> Result<pb::ScoreResponse, Status> {
        let scored = async {
            let (with_vectors, named) = (request.with_vectors, request.model.clone());
            let limits = RequestLimits { text_bytes_max: self.limits.text_bytes_max };
            let request = convert::request(request, at, limits, deadline)?;
            // Held until the answer is there: whatever takes its place meanwhile, this model answers.
            let serving = self.models.choose(named.as_deref(), &request.text).map_err(|error| error.at(at))?;
            let scored = serving.model.scheduler().score(request).await?;
            Ok(convert::response(&scored, &serving.model, with_vectors))
        };
        let result: Result<pb::ScoreResponse, Status> = scored.await;
        self.metrics.item(rpc, counted(result.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok)));
        result
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
                Err(status) => pb::score_result::Outcome::Error(item_error(&status)),
            }),
        }
    }
}

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

    type ScoreStreamStream = Answers<pb::ScoreStreamResponse>;

    async fn score_stream(&self, request: Request<Streaming<pb::ScoreStreamRequest>>) -> Result<Response<Self::ScoreStreamStream>, Status> {
        let deadline = deadline(request.metadata());
        let inner = Arc::clone(&self.inner);
        let answer = move |item| {
            let inner = Arc::clone(&inner);
            async move { stream_item(&inner, item, deadline).await }
        };
        self.streams.serve(request.into_inner(), |_| None, answer)
    }

    async fn get_info(&self, _: Request<pb::GetInfoRequest>) -> Result<Response<pb::GetInfoResponse>, Status> {
        let (serving, limits) = (self.inner.models.default(), self.inner.limits);
        let scorer = serving.model.scorer();
        Ok(Response::new(pb::GetInfoResponse {
            model_name: scorer.file().name.clone(),
            model_version: scorer.file().version.clone(),
            model_digest: scorer.digest().to_owned(),
            engine: scorer.engine(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            policy_digest: serving.policy_digest().map(|digest| digest.to_string()),
            heads: convert::heads(scorer),
            embedding_size: u32::try_from(scorer.embedding_size()).unwrap_or(u32::MAX),
            limits: Some(pb::Limits {
                text_bytes_max: limits.text_bytes_max as u64,
                batch_items_max: limits.batch_items_max as u64,
                message_bytes_max: limits.message_bytes_max as u64,
                queue_tokens_max: self.inner.models.limits().queue_tokens_max as u64,
                stream_in_flight_max: limits.stream_in_flight_max as u64,
                connections_max: limits.connections_max as u64,
            }),
        }))
    }
}

async fn stream_item(inner: &Inner, item: pb::ScoreStreamRequest, deadline: Option<Instant>) -> pb::ScoreStreamResponse {
    let pb::ScoreStreamRequest { id, request } = item;
    let result = match check_id(&id) {
        Ok(()) => inner.result(request, "", Rpc::ScoreStream, deadline).await,
        Err(bad) => {
            inner.metrics.item(Rpc::ScoreStream, metrics::Code::InvalidArgument);
            pb::ScoreResult { outcome: Some(pb::score_result::Outcome::Error(item_error(&bad.into()))) }
        }
    };
    pb::ScoreStreamResponse { id, result: Some(result) }
}
