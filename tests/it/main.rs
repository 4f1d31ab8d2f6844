//! The one integration binary: the program and its library as a user meets them.
#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected shall stop where it stands")]

mod commands;
mod crash;
mod decisions;
mod delivery;
mod families;
mod folders;
mod handoffs;
#[cfg(feature = "hub")]
mod hub;
mod layers;
mod malformed_input;
mod malformed_package;
mod malicious_folder;
mod masking;
mod memory;
mod models;
mod notes;
mod packages;
mod parity;
mod policies;
mod readme;
mod replies;
mod routing;
mod serving;
mod silence;
mod store;
mod support;
mod waits;
