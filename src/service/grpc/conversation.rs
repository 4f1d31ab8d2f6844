//! `ConversationService`: convert, call, convert back. The next step of a message is [`crate::service::memory`].

use std::sync::Arc;
use std::time::Instant;

use tonic::{Request, Response, Status, Streaming};

use super::stream::{Answers, Streams, check_id};
use super::{deadline, item_error};
use crate::service::convert::{conversation as convert, routing};
use crate::service::grpc::scoring::ServiceLimits;
use crate::service::memory::Memory;
use crate::service::metrics::{Metrics, Rpc};
use crate::service::pb;
use crate::service::pb::conversation_service_server::ConversationService;
use crate::service::status::{BadField, counted};

/// See the module.
pub struct Conversations {
    inner: Arc<Inner>,
    streams: Streams,
}

struct Inner {
    memory: Option<Arc<Memory>>,
    metrics: Arc<Metrics>,
    limits: ServiceLimits,
}

impl Conversations {
    /// Serves with this memory; without one, every call says why there is none.
    pub fn new(memory: Option<Arc<Memory>>, metrics: Arc<Metrics>, limits: ServiceLimits) -> Self {
        let streams = Streams::new(limits.streams_max, limits.stream_in_flight_max, Arc::clone(&metrics));
        Self { inner: Arc::new(Inner { memory, metrics, limits }), streams }
    }
}

/// The memory, or why there is none.
pub(super) fn memory(memory: Option<&Arc<Memory>>) -> Result<&Arc<Memory>, Status> {
    let why = "this server has no memory: policy.file or store.data_dir is none";
    memory.ok_or_else(|| Status::failed_precondition(why))
}

/// Counts how a call ended.
pub(super) fn told<T>(metrics: &Metrics, rpc: Rpc, result: Result<T, Status>) -> Result<T, Status> {
    metrics.item(rpc, counted(result.as_ref().map_or_else(Status::code, |_| tonic::Code::Ok)));
    result
}

impl Inner {
    fn memory(&self) -> Result<&Arc<Memory>, Status> {
        memory(self.memory.as_ref())
    }

    async fn observe(&self, request: pb::ObserveRequest, rpc: Rpc, deadline: Option<Instant>) -> Result<pb::ObserveResponse, Status> {
        let observed = async {
            let memory = self.memory()?;
            let request = convert::observe(request, self.limits.text_bytes_max)?;
            let answered = memory.observe(&request, deadline).await?;
            Ok(convert::observed(&request.message, request.sequence, &answered))
        };
        told(&self.metrics, rpc, observed.await)
    }

    async fn stream_item(&self, item: pb::ObserveStreamRequest, deadline: Option<Instant>) -> pb::ObserveStreamResponse {
        let pb::ObserveStreamRequest { id, request } = item;
        let request = check_id(&id).and_then(|()| request.ok_or_else(|| BadField::new("request", "found nothing, expected a request")));
        let result = match request {
            Ok(request) => self.observe(request, Rpc::ObserveStream, deadline).await,
            Err(bad) => told(&self.metrics, Rpc::ObserveStream, Err(bad.into())),
        };
        let outcome = match result {
            Ok(response) => pb::observe_result::Outcome::Response(response),
            Err(status) => pb::observe_result::Outcome::Error(item_error(&status)),
        };
        pb::ObserveStreamResponse { id, result: Some(pb::ObserveResult { outcome: Some(outcome) }) }
    }
}

#[tonic::async_trait]
impl ConversationService for Conversations {
    async fn observe(&self, request: Request<pb::ObserveRequest>) -> Result<Response<pb::ObserveResponse>, Status> {
        let deadline = deadline(request.metadata());
        self.inner.observe(request.into_inner(), Rpc::Observe, deadline).await.map(Response::new)
    }

    type ObserveStreamStream = Answers<pb::ObserveStreamResponse>;

    async fn observe_stream(
        &self,
        request: Request<Streaming<pb::ObserveStreamRequest>>,
    ) -> Result<Response<Self::ObserveStreamStream>, Status> {
        self.inner.memory()?;
        let deadline = deadline(request.metadata());
        let inner = Arc::clone(&self.inner);
        let answer = move |item| {
            let inner = Arc::clone(&inner);
            async move { inner.stream_item(item, deadline).await }
        };
        let lane = |item: &pb::ObserveStreamRequest| item.request.as_ref().map(|request| request.conversation_id.clone());
        self.streams.serve(request.into_inner(), lane, answer)
    }

    async fn record_event(&self, request: Request<pb::RecordEventRequest>) -> Result<Response<pb::RecordEventResponse>, Status> {
        let deadline = deadline(request.metadata());
        let recorded = async {
            let memory = self.inner.memory()?;
            let event = convert::event(request.into_inner())?;
            let answered = memory.record_event(&event, deadline).await?;
            Ok(Response::new(pb::RecordEventResponse { change: answered.as_ref().map(convert::change) }))
        };
        told(&self.inner.metrics, Rpc::RecordEvent, recorded.await)
    }

    async fn put_facts(&self, request: Request<pb::PutFactsRequest>) -> Result<Response<pb::PutFactsResponse>, Status> {
        let deadline = deadline(request.metadata());
        let put = async {
            let memory = self.inner.memory()?;
            let facts = convert::facts(request.into_inner(), self.inner.limits.text_bytes_max)?;
            let answered = memory.put_facts(&facts, deadline).await?;
            Ok(Response::new(pb::PutFactsResponse { change: Some(convert::change(&answered)) }))
        };
        told(&self.inner.metrics, Rpc::PutFacts, put.await)
    }

    async fn close_conversation(
        &self,
        request: Request<pb::CloseConversationRequest>,
    ) -> Result<Response<pb::CloseConversationResponse>, Status> {
        let closed = async {
            let memory = self.inner.memory()?;
            let request = request.into_inner();
            let id = convert::id(request.conversation_id, "conversation_id")?;
            let at = memory.close_conversation(&id, convert::outcome(request.outcome)?).await?;
            Ok(Response::new(convert::closed(at)))
        };
        told(&self.inner.metrics, Rpc::CloseConversation, closed.await)
    }

    async fn record_satisfaction(
        &self,
        request: Request<pb::RecordSatisfactionRequest>,
    ) -> Result<Response<pb::RecordSatisfactionResponse>, Status> {
        let recorded = async {
            let memory = self.inner.memory()?;
            let request = request.into_inner();
            let id = convert::id(request.conversation_id, "conversation_id")?;
            memory.record_satisfaction(&id, convert::satisfaction(request.score)?).await?;
            Ok(Response::new(pb::RecordSatisfactionResponse {}))
        };
        told(&self.inner.metrics, Rpc::RecordSatisfaction, recorded.await)
    }

    async fn get_conversation(
        &self,
        request: Request<pb::GetConversationRequest>,
    ) -> Result<Response<pb::GetConversationResponse>, Status> {
        let known = async {
            let memory = self.inner.memory()?;
            let request = request.into_inner();
            let id = convert::id(request.conversation_id, "conversation_id")?;
            let messages = convert::messages_max(request.messages_max)?;
            let known = memory.get(&id, request.after_sequence, messages).await?;
            Ok(Response::new(convert::told(known)))
        };
        told(&self.inner.metrics, Rpc::GetConversation, known.await)
    }

    async fn explain_decision(
        &self,
        request: Request<pb::ExplainDecisionRequest>,
    ) -> Result<Response<pb::ExplainDecisionResponse>, Status> {
        let explained = async {
            let memory = self.inner.memory()?;
            let request = request.into_inner();
            let id = convert::id(request.conversation_id, "conversation_id")?;
            let explained = memory.explain(&id, request.sequence).await?;
            Ok(Response::new(pb::ExplainDecisionResponse {
                words: explained.words,
                json: explained.json,
                receipt_digest: explained.receipt.to_string(),
                policy_digest: explained.policy.to_string(),
                input: explained.input,
                sequence: explained.sequence,
            }))
        };
        told(&self.inner.metrics, Rpc::ExplainDecision, explained.await)
    }

    async fn claim_reply(&self, request: Request<pb::ClaimReplyRequest>) -> Result<Response<pb::ClaimReplyResponse>, Status> {
        let deadline = deadline(request.metadata());
        let claimed = async {
            let memory = self.inner.memory()?;
            let claimed = memory.claim_reply(&routing::claim(request.into_inner())?, deadline).await?;
            Ok(Response::new(routing::claimed(claimed)))
        };
        told(&self.inner.metrics, Rpc::ClaimReply, claimed.await)
    }

    async fn erase_customer(&self, request: Request<pb::EraseCustomerRequest>) -> Result<Response<pb::EraseCustomerResponse>, Status> {
        let erased = async {
            let memory = self.inner.memory()?;
            let id = convert::id(request.into_inner().customer_id, "customer_id")?;
            let (conversations, inputs) = memory.erase(&id).await?;
            Ok(Response::new(pb::EraseCustomerResponse { conversations, inputs }))
        };
        told(&self.inner.metrics, Rpc::EraseCustomer, erased.await)
    }
}
