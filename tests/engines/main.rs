//! Each engine of our own against the library whose bits it gives, one test for every
//! rule in which the two might part; the rules stand in format-spec/engines.md.
#![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

mod generate;
mod hammer;
mod libz;
mod miniz9;
mod oracle;
mod support;
mod zlib9;
mod zlib_rs9;
mod zlib_rs_oracle;
mod zlib_shared;
