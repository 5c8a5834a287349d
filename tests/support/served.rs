//! `cratehold serve` as a process of its own, on loopback.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Ends with whoever started it.
pub struct Served {
    pub child: Child,
    pub port: u16,
}

impl Served {
    /// Back as soon as it listens.
    pub fn start(folder: &Path) -> Served {
        let mut child = Command::new(env!("CARGO_BIN_EXE_cratehold"))
            .arg("-a")
            .arg(folder)
            .args(["serve", "--listen", "127.0.0.1:0"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let port = line.split("listening on 127.0.0.1:").nth(1).unwrap();
        let port = port.split_whitespace().next().unwrap().parse().unwrap();
        // Read on, so that what is printed later finds a reader.
        std::thread::spawn(move || std::io::copy(&mut out, &mut std::io::sink()));
        Served { child, port }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
