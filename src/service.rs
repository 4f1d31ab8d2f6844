//! THE WORLD. Everything that waits, spawns, opens, logs or reads a clock.
//!
//! Today: [`events`], every log line in one typed list; [`clock`], the one reader of a clock.

pub mod clock;
pub mod events;
