//! The messages of the contract, generated from `proto/` when the crate is built. Nothing outside `service` names them but clients in `cli` and tests.

#![expect(clippy::large_enum_variant, reason = "generated from the contract")]

tonic::include_proto!("baton.v1");

/// The contract as descriptors, for reflection.
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/baton.v1.bin"));

/// A client of `AdminService`.
pub type Admins = admin_service_client::AdminServiceClient<tonic::transport::Channel>;
/// A client of `HandoffService`.
pub type Handoffs = handoff_service_client::HandoffServiceClient<tonic::transport::Channel>;
/// A client of `RoutingService`.
pub type Routings = routing_service_client::RoutingServiceClient<tonic::transport::Channel>;
/// A client of `ConversationService`.
pub type Conversations = conversation_service_client::ConversationServiceClient<tonic::transport::Channel>;
