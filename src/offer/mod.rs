//! The archive as cargo wants it: its releases as a registry index, whoever serves it
//! or writes it down.
//!
//! Reads archives and never writes to them; knows nothing of servers or terminals.

mod index;
mod made;

pub use index::{IndexFile, Offer, View, config_json};
pub use made::made_line;
