//! SIGNALS → DECISIONS. Rules only: no I/O, no clock, no randomness, no tensors.
//!
//! What the engine decides by is a [`policy`]: triggers whose conditions are [`expression`]s over one table of names. What it reads of a message is an
//! [`observation`]; what it remembers is a [`conversation`], and of the customer the readings that [`customer`] takes. [`step`](step::step) folds an
//! input into the conversation, moves each [`trigger`], and gives a [`decision`] with its [`receipt`]. A [`journal`] chains the receipts. A
//! [`scenario`] is a conversation with the decisions that are expected of a policy.

pub mod conversation;
pub mod customer;
pub mod decision;
pub mod expression;
pub mod input;
pub mod journal;
pub mod observation;
pub mod phrase;
pub mod policy;
pub mod receipt;
pub mod scenario;
pub mod step;
pub mod transcript;
pub mod trigger;
