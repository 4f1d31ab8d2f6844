//! `AdminService`: convert, call, convert back.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::conversation::{memory, told};
use crate::service::convert::{models, outbox as convert};
use crate::service::events::{Event, emit};
use crate::service::memory::{Memory, MemoryError, Reloaded};
use crate::service::metrics::{Metrics, Rpc};
use crate::service::models::Models;
use crate::service::pb;
use crate::service::pb::admin_service_server::AdminService;

/// See the module.
pub struct Admin {
    memory: Option<Arc<Memory>>,
    models: Arc<Models>,
    metrics: Arc<Metrics>,
}

impl Admin {
    /// Changes these models, and what this memory decides by.
    pub fn new(memory: Option<Arc<Memory>>, models: Arc<Models>, metrics: Arc<Metrics>) -> Self {
        Self { memory, models, metrics }
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

    async fn list_models(&self, _: Request<pb::ListModelsRequest>) -> Result<Response<pb::ListModelsResponse>, Status> {
        let (resident_bytes, memory_bytes_max) = self.models.bytes();
        let models = self.models.list().iter().map(models::info).collect();
        let listed = Ok(Response::new(pb::ListModelsResponse { models, resident_bytes, memory_bytes_max }));
        told(&self.metrics, Rpc::ListModels, listed)
    }

    async fn load_model(&self, request: Request<pb::LoadModelRequest>) -> Result<Response<pb::LoadModelResponse>, Status> {
        let loaded = async {
            let settings = models::settings(request.into_inner())?;
            let loaded = self.models.load(settings).await?;
            Ok(Response::new(pb::LoadModelResponse { model: Some(models::info(&loaded)) }))
        };
        told(&self.metrics, Rpc::LoadModel, loaded.await)
    }

    async fn unload_model(&self, request: Request<pb::UnloadModelRequest>) -> Result<Response<pb::UnloadModelResponse>, Status> {
        let unloaded = async {
            let pb::UnloadModelRequest { name, kept_only } = request.into_inner();
            let digests = self.models.unload(&models::name(name), kept_only).await?;
            Ok(Response::new(pb::UnloadModelResponse { digests }))
        };
        told(&self.metrics, Rpc::UnloadModel, unloaded.await)
    }

    async fn promote_model(&self, request: Request<pb::PromoteModelRequest>) -> Result<Response<pb::PromoteModelResponse>, Status> {
        let promoted = async {
            let pb::PromoteModelRequest { name, path } = request.into_inner();
            let exchanged = self.models.promote(&models::name(name), models::folder(path)).await?;
            Ok(Response::new(models::promoted(&exchanged)))
        };
        told(&self.metrics, Rpc::PromoteModel, promoted.await)
    }

    async fn rollback_model(&self, request: Request<pb::RollbackModelRequest>) -> Result<Response<pb::RollbackModelResponse>, Status> {
        let rolled_back = async {
            let exchanged = self.models.roll_back(&models::name(request.into_inner().name)).await?;
            Ok(Response::new(models::rolled_back(&exchanged)))
        };
        told(&self.metrics, Rpc::RollbackModel, rolled_back.await)
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
