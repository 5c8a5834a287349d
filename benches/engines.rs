//! Each engine beside the library whose bits it gives, in the same process:
//!
//! ```console
//! $ cargo bench --bench engines -- FOLDER [EVERY_NTH_FILE]
//! $ RUSTFLAGS='-C target-cpu=native' cargo bench --bench engines -- FOLDER
//! ```
//!
//! Every tar of the folder goes through every engine, not only through the one that
//! made it, and the outputs are compared. Without a folder, only made inputs.
#![allow(clippy::unwrap_used, reason = "a panic is how a benchmark fails")]
#![allow(clippy::print_stdout, reason = "printing is what a benchmark is for")]

#[path = "../tests/engines/generate.rs"]
mod generate;

use cratehold::deflate::{self, Engine, Recipe};
use generate::Random;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Each input is deflated this often by both, in turn; the best time of each counts.
const RUNS: usize = 3;
const CLASSES: [(&str, usize); 4] = [
    ("tars below 50 KB", 50_000),
    ("to 500 KB", 500_000),
    ("to 3 MB", 3_000_000),
    ("above", usize::MAX),
];

#[derive(Default)]
struct Total {
    bytes: usize,
    library: Duration,
    own: Duration,
}

impl Total {
    fn add(&mut self, bytes: usize, (library, own): (Duration, Duration)) {
        self.bytes += bytes;
        self.library += library;
        self.own += own;
    }

    fn print(&self, name: &str) {
        if self.bytes == 0 {
            return;
        }
        let rate = |time: Duration| self.bytes as f64 / 1e6 / time.as_secs_f64();
        println!(
            "  {name:<18} {:>7.1} MB  library {:>6.1} MB/s  own {:>6.1} MB/s  {:>6.2} times as fast",
            self.bytes as f64 / 1e6,
            rate(self.library),
            rate(self.own),
            self.library.as_secs_f64() / self.own.as_secs_f64()
        );
    }
}

fn measure(input: &[u8], engine: Engine) -> (Duration, Duration) {
    let recipe = Recipe {
        engine,
        header: Vec::new(),
        trailer: Vec::new(),
    };
    let (mut library, mut own) = (Duration::MAX, Duration::MAX);
    for _ in 0..RUNS {
        let start = Instant::now();
        let expected = deflate::redo_by_library(input, &recipe).unwrap();
        library = library.min(start.elapsed());
        let start = Instant::now();
        let found = deflate::redo(input, &recipe);
        own = own.min(start.elapsed());
        assert!(
            found == expected,
            "{} gives other bytes than its library",
            engine.name()
        );
    }
    (library, own)
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let nth = args.get(1).map_or(1, |nth| nth.parse().unwrap());
    let tars: Vec<Vec<u8>> = crate_files(args.first()).iter().step_by(nth).map(tar_of).collect();
    let made = made_inputs();
    for engine in Engine::ALL {
        println!("{}", engine.name());
        let mut totals: [Total; CLASSES.len()] = Default::default();
        let mut all = Total::default();
        for tar in &tars {
            let times = measure(tar, engine);
            let class = CLASSES
                .iter()
                .position(|(_, below)| tar.len() < *below)
                .unwrap_or(CLASSES.len() - 1);
            totals[class].add(tar.len(), times);
            all.add(tar.len(), times);
        }
        for (total, (name, _)) in totals.iter().zip(CLASSES) {
            total.print(name);
        }
        all.print("all tars");
        for (name, input) in &made {
            let mut total = Total::default();
            total.add(input.len(), measure(input, engine));
            total.print(name);
        }
    }
}

fn crate_files(folder: Option<&String>) -> Vec<PathBuf> {
    let Some(folder) = folder else { return Vec::new() };
    let entries = std::fs::read_dir(folder).unwrap();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "crate"));
    paths.sort();
    paths
}

fn tar_of(path: &PathBuf) -> Vec<u8> {
    deflate::gunzip(&std::fs::read(path).unwrap()).unwrap()
}

/// What engines are easily slow at.
fn made_inputs() -> Vec<(&'static str, Vec<u8>)> {
    let mut random = Random::new(1);
    vec![
        ("zeros", vec![0; 4 << 20]),
        ("period 2", generate::periodic(2, 2, 2 << 20)),
        ("period 7", generate::periodic(7, 7, 2 << 20)),
        ("period 300", generate::periodic(300, 300, 2 << 20)),
        ("period 5000", generate::periodic(5000, 5000, 2 << 20)),
        ("random", random.bytes(2 << 20)),
        ("hex", random.letters(b"0123456789abcdef", 1 << 20)),
        ("DNA", random.letters(b"ACGT", 512 << 10)),
        ("bits", random.letters(b"01", 128 << 10)),
        ("a long table", generate::table(3, 2 << 20)),
        ("prose", generate::prose(4, 2 << 20)),
    ]
}
