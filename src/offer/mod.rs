//! The archive as cargo wants it: its releases as a registry index, whoever serves it
//! or writes it down, and as folders that cargo builds from.
//!
//! Reads archives and never writes to them; knows nothing of servers or terminals.

mod cargo_config;
mod choose;
mod export;
mod index;
mod made;

pub use cargo_config::{CargoSource, cargo_config};
pub use choose::{Chosen, ChosenRelease, choose};
pub use export::{ExportError, ExportOptions, ExportReport, FileNames, Format, Layout, export, registry_base};
pub use index::{IndexFile, Offer, View, config_json};
pub use made::made_line;
