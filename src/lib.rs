//! Baton: reads what customers write to a bot, and decides when a person must take over.
//!
//! ```text
//! message in → tokens → signals → conversation state → triggers → decision
//!            → package and summary → routing → message and note out → store and measures
//! ```
//!
//! What exists today goes from the message to the person and back to the bot; measures do not. Modules in reading order, each with what it may know:
//!
//! | module | holds | uses |
//! |---|---|---|
//! | [`signal`] | vocabulary: the signals of one message | nothing of ours |
//! | [`message`] | vocabulary: who speaks, and ids | nothing of ours |
//! | [`time`] | vocabulary: points in time and spans; no clock | nothing of ours |
//! | [`random`] | vocabulary: reproducible random numbers | nothing of ours |
//! | [`model`] | TEXT → SIGNALS, and how heads are fitted and measured. Arithmetic only | the vocabulary |
//! | [`handoff`] | SIGNALS → DECISIONS: policy, conversation, triggers, receipts; what a person reads and a customer hears; routing and the life of handoffs. Rules only | the vocabulary |
//! | [`service`] | THE WORLD: gRPC server, scheduler, memory, store, delivery, metrics, events, clock | everything above |
//! | [`config`] | what file, environment and command line mean | everything above |
//! | [`cli`] | the commands of the one binary | everything |
//!
//! What is not there: no clock and no environment in `model` and `handoff`, which do not see each other; no tensor type outside `model`; no customer text in
//! an event, a receipt or an error.
//! A test (`tests/it/layers.rs`) reads the `use` lines and holds the table.
//!
//! The path of one message: [`service::grpc`] → [`service::models`] → [`service::inference`] → [`model::scorer`] → [`signal::Signals`]; from a command, [`cli::score`] → [`model::scorer`].
//! The path of one observed message: [`service::grpc::conversation`] → [`service::memory`] → [`handoff::step`] → [`service::store`].
//! The path of one handoff: [`handoff::step`] (decided) → [`service::memory`] (routed by [`handoff::routing`], written down) → [`handoff::lifecycle`] → the feed of
//! [`service::grpc::handoff`].
//! The path of one letter: [`service::memory`] (written with the decision) → [`service::store`] → [`service::delivery`] (rendered, sent, marked).
//! The path of one decision: [`cli::replay`] → [`service::observe`] → [`handoff::step`] → [`handoff::receipt`].

pub mod cli;
pub mod config;
pub mod handoff;
pub mod message;
pub mod model;
pub mod random;
pub mod service;
pub mod signal;
pub mod time;
