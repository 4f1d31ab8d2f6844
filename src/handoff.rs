//! SIGNALS → DECISIONS. Rules only: no I/O, no clock, no randomness, no tensors.
//!
//! What the engine decides by is a [`policy`]: triggers whose conditions are [`expression`]s over one table of names. What it reads of a message is an
//! [`observation`]; what it remembers is a [`conversation`], and of the customer the readings that [`customer`] takes. [`step`](step::step) folds an
//! input into the conversation, moves each [`trigger`], and gives a [`decision`] with its [`receipt`]. A [`journal`] chains the receipts. A
//! [`scenario`] is a conversation with the decisions that are expected of a policy.
//!
//! A decision to hand over begins a [`lifecycle`]; [`routing`] finds who takes it, by [`hours`] and with a [`wait`] that is told; the [`feed`] watches over what the
//! backend must do about it.
//!
//! What a person reads when they take over is a [`package`], made from a [`story`]: its [`summary`], [`highlights`] and [`feeling`], with what must not be read
//! [`mask`]ed, and as a private [`note`] what their helpdesk shows them; what the customer reads is a [`reply`].

pub mod conversation;
pub mod customer;
pub mod decision;
pub mod expression;
pub mod feed;
pub mod feeling;
pub mod highlights;
pub mod hours;
pub mod input;
pub mod journal;
pub mod lifecycle;
pub mod mask;
pub mod note;
pub mod observation;
pub mod package;
pub mod phrase;
pub mod policy;
pub mod receipt;
pub mod reply;
pub mod routing;
pub mod scenario;
pub mod step;
pub mod story;
pub mod summary;
pub mod transcript;
pub mod trigger;
pub mod wait;
