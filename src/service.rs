//! THE WORLD. Everything that waits, spawns, opens, logs or reads a clock.
//!
//! The path of a message: [`server`] listens and drains; [`grpc`] takes the call; [`convert`] translates; [`models`] says which model answers; [`inference`] queues, batches and scores; and
//! [`status`] maps what went wrong to a code. [`events`] and [`metrics`] list every log line and metric; [`clock`] is the one reader of a clock; [`pb`] is the
//! contract. [`observe`] turns signals into what decisions read, and [`proving`] lets a policy prove itself on its scenarios. [`memory`] remembers
//! conversations and lets the policy decide; [`packaging`] makes the package of one; [`store`] keeps their rows, and what is known of customers, on the disk. [`delivery`] sends
//! what was decided to helpdesks and webhooks. `hub`, a feature, fetches models by name.

pub mod clock;
pub mod convert;
pub mod delivery;
pub mod events;
pub mod grpc;
#[cfg(feature = "hub")]
pub mod hub;
pub mod inference;
pub mod memory;
pub mod metrics;
pub mod models;
pub mod observe;
pub mod packaging;
pub mod pb;
pub mod proving;
pub mod server;
pub mod status;
pub mod store;
