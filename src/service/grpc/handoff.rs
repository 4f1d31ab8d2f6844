//! `HandoffService`: convert, call, convert back. The next step is [`crate::service::memory`].

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::conversation::{memory, told};
use crate::handoff::note::Options;
use crate::service::convert::conversation::id;
use crate::service::convert::handoff as convert;
use crate::service::memory::{Memory, no_handoff};
use crate::service::metrics::{Metrics, Rpc};
use crate::service::pb;
use crate::service::pb::handoff_service_server::HandoffService;

/// See the module.
pub struct Handoffs {
    memory: Option<Arc<Memory>>,
    metrics: Arc<Metrics>,
    notes: Options,
}

impl Handoffs {
    /// Serves with this memory; without one, every call says why there is none. `notes` is what goes beside a note.
    pub fn new(memory: Option<Arc<Memory>>, metrics: Arc<Metrics>, notes: Options) -> Self {
        Self { memory, metrics, notes }
    }
}

#[tonic::async_trait]
impl HandoffService for Handoffs {
    async fn get_handoff(&self, request: Request<pb::GetHandoffRequest>) -> Result<Response<pb::GetHandoffResponse>, Status> {
        let handoff = async {
            let memory = memory(self.memory.as_ref())?;
            let packaged = memory.package(&id(request.into_inner().conversation_id, "conversation_id")?).await?;
            Ok(Response::new(convert::handoff(&packaged).ok_or_else(no_handoff)?))
        };
        told(&self.metrics, Rpc::GetHandoff, handoff.await)
    }

    async fn get_package(&self, request: Request<pb::GetPackageRequest>) -> Result<Response<pb::GetPackageResponse>, Status> {
        let package = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            let format = convert::format(request.format)?;
            let packaged = memory.package(&id(request.conversation_id, "conversation_id")?).await?;
            Ok(Response::new(convert::package(&packaged.package, format)))
        };
        told(&self.metrics, Rpc::GetPackage, package.await)
    }

    async fn render_note(&self, request: Request<pb::RenderNoteRequest>) -> Result<Response<pb::RenderNoteResponse>, Status> {
        let note = async {
            let memory = memory(self.memory.as_ref())?;
            let asked = convert::asked_note(request.into_inner())?;
            let packaged = memory.package(&asked.conversation).await?;
            Ok(Response::new(convert::note(&packaged.package, &asked, &self.notes)?))
        };
        told(&self.metrics, Rpc::RenderNote, note.await)
    }

    async fn render_message(&self, request: Request<pb::RenderMessageRequest>) -> Result<Response<pb::RenderMessageResponse>, Status> {
        let message = async {
            let memory = memory(self.memory.as_ref())?;
            let asked = convert::asked(request.into_inner())?;
            let packaged = memory.package(&asked.conversation).await?;
            Ok(Response::new(convert::message(&packaged, &asked)?.ok_or_else(no_handoff)?))
        };
        told(&self.metrics, Rpc::RenderMessage, message.await)
    }

    async fn link_ticket(&self, request: Request<pb::LinkTicketRequest>) -> Result<Response<pb::LinkTicketResponse>, Status> {
        let linked = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            memory.link_ticket(&id(request.conversation_id, "conversation_id")?, &request.ticket_id).await?;
            Ok(Response::new(pb::LinkTicketResponse {}))
        };
        told(&self.metrics, Rpc::LinkTicket, linked.await)
    }
}
