//! `RoutingService`: convert, call, convert back.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use super::conversation::{memory, told};
use crate::service::convert::conversation::id;
use crate::service::convert::routing as convert;
use crate::service::memory::Memory;
use crate::service::metrics::{Metrics, Rpc};
use crate::service::pb;
use crate::service::pb::routing_service_server::RoutingService;

/// See the module.
pub struct Routing {
    memory: Option<Arc<Memory>>,
    metrics: Arc<Metrics>,
}

impl Routing {
    /// Serves with this memory; without one, every call says why there is none.
    pub fn new(memory: Option<Arc<Memory>>, metrics: Arc<Metrics>) -> Self {
        Self { memory, metrics }
    }
}

#[tonic::async_trait]
impl RoutingService for Routing {
    async fn put_agent(&self, request: Request<pb::PutAgentRequest>) -> Result<Response<pb::PutAgentResponse>, Status> {
        let put = async {
            let memory = memory(self.memory.as_ref())?;
            memory.put_agent(convert::profile(request.into_inner())?).await?;
            Ok(Response::new(pb::PutAgentResponse {}))
        };
        told(&self.metrics, Rpc::PutAgent, put.await)
    }

    async fn set_presence(&self, request: Request<pb::SetPresenceRequest>) -> Result<Response<pb::SetPresenceResponse>, Status> {
        let set = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            let (presence, ttl) = convert::presence(&request)?;
            let status = memory.set_presence(&id(request.agent_id, "agent_id")?, presence, ttl).await?;
            Ok(Response::new(pb::SetPresenceResponse { held: u32::try_from(status.held).unwrap_or(u32::MAX) }))
        };
        told(&self.metrics, Rpc::SetPresence, set.await)
    }

    async fn list_queues(&self, _: Request<pb::ListQueuesRequest>) -> Result<Response<pb::ListQueuesResponse>, Status> {
        let queues = memory(self.memory.as_ref()).map(|memory| Response::new(convert::queues(memory.queues())));
        told(&self.metrics, Rpc::ListQueues, queues)
    }

    async fn estimate_wait(&self, request: Request<pb::EstimateWaitRequest>) -> Result<Response<pb::EstimateWaitResponse>, Status> {
        let estimated = async {
            let memory = memory(self.memory.as_ref())?;
            let request = request.into_inner();
            let wait = memory.estimate(&request.queue_id, convert::priority(request.priority)?)?;
            Ok(Response::new(pb::EstimateWaitResponse { wait: wait.map(convert::wait) }))
        };
        told(&self.metrics, Rpc::EstimateWait, estimated.await)
    }
}
