//! The archive as cargo wants it: registry index files, exports, and the real cargo
//! building from them without a network.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

#[path = "../support/mod.rs"]
mod support;

mod cargo;
mod export;
mod index;
mod part;
mod world;
