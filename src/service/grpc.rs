//! The services of the contract: each handler converts, calls, and converts back.

pub mod scoring;
