//! What may be sent to a terminal: crates are written by strangers.

use std::io::{IsTerminal, Write};

/// Whether standard output is a terminal whose owner wants colours.
pub fn wants_colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none()
}

/// A path as it may be printed: what could command a terminal is escaped.
pub fn shown(path: &str) -> String {
    path.chars()
        .map(|c| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        })
        .collect()
}

/// Writes `text` without what could command a terminal.
pub fn printable(out: &mut impl Write, text: &[u8]) -> std::io::Result<()> {
    let harmless: Vec<u8> = text
        .iter()
        .map(|&byte| {
            if byte == b'\t' || byte >= b' ' && byte != 0x7f {
                byte
            } else {
                b'?'
            }
        })
        .collect();
    out.write_all(&harmless)
}
