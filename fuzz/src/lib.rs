//! The fuzz targets as functions; see `targets`.
#![allow(clippy::unwrap_used, reason = "a panic is how a fuzz target fails")]

pub mod targets;
