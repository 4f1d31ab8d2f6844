//! `AdminService`: convert, call, convert back.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::conversation::{memory, told};
use crate::service::convert::outbox as convert;
use crate::service::events::{Event, emit};
use crate::service::memory::{Memory, MemoryError, Reloaded};
use crate::service::metrics::{Metrics, Rpc};
use crate::service::pb;
use crate::service::pb::admin_service_server::AdminService;

/// See the module.
pub struct Admin {
    memory: Option<Arc<Memory>>,
    metrics: Arc<Metrics>,
}

impl Admin {
    /// Changes what this memory decides by.
    pub fn new(memory: Option<Arc<Memory>>, metrics: Arc<Metrics>) -> Self {
        Self { memory, metrics }
    }
}

/// Lets the memory read its policy again, and writes what became of it to the log.
pub async fn reload(memory: &Memory) -> Result<Reloaded, MemoryError> {
    let result = memory.reload().await;
    match &result {
        Ok(reloaded) => emit(&Event::PolicyReloaded {
            digest: &reloaded.digest.short(),
            before: &reloaded.before.short(),
            scenarios: reloaded.scenarios as u64,
            by_file: reloaded.by_file,
        }),
        Err(error) => emit(&Event::PolicyRefused { reason: &error.to_string() }),
    }
    result
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn reload_policy(&self, _: Request<pb::ReloadPolicyRequest>) -> Result<Response<pb::ReloadPolicyResponse>, Status> {
        let reloaded = async { reload(memory(self.memory.as_ref())?).await.map_err(Status::from) }.await;
        told(&self.metrics, Rpc::ReloadPolicy, reloaded).map(|reloaded| {
            Response::new(pb::ReloadPolicyResponse {
                policy_digest: reloaded.digest.to_string(),
                previous_policy_digest: reloaded.before.to_string(),
                scenarios: reloaded.scenarios as u64,
            })
        })
    }

    async fn list_outbox(&self, request: Request<pb::ListOutboxRequest>) -> Result<Response<pb::ListOutboxResponse>, Status> {
        let listed = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            let letters = memory.open_letters(request.after, convert::letters_max(request.letters_max)).await?;
            Ok(Response::new(pb::ListOutboxResponse { letters: letters.iter().map(convert::letter).collect() }))
        };
        told(&self.metrics, Rpc::ListOutbox, listed.await)
    }

    async fn resend_outbox(&self, request: Request<pb::ResendOutboxRequest>) -> Result<Response<pb::ResendOutboxResponse>, Status> {
        let resent = async {
            let memory = memory(self.memory.as_ref())?;
            let resent = memory.resend(convert::resend(request.into_inner())?).await?;
            Ok(Response::new(pb::ResendOutboxResponse { letters: resent.letters, unknown_keys: resent.unknown }))
        };
        told(&self.metrics, Rpc::ResendOutbox, resent.await)
    }
}
