//! `AdminService`: convert, call, convert back.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::conversation::{memory, told};
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
}
