//! `cratehold grep`.

use super::as_of::{self, AsOf};
use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::{CommandResult, threads};
use cratehold::archive::{FileMatches, GrepOptions, Line, Pattern, PatternOptions};
use cratehold::ids::{CrateName, Version};
use cratehold::registry::Stop;
use cratehold::sync::{CrateWant, Want};
use std::io::{BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// A regular expression, as ripgrep takes them.
    #[arg(value_name = "PATTERN")]
    pattern: String,
    /// Only these crates, and of these the versions that match: NAME or NAME@REQ.
    #[arg(long = "crate", value_name = "NAME[@REQ]")]
    crates: Vec<CrateWant>,
    /// Of each crate only the newest release.
    #[arg(long)]
    latest: bool,
    /// Letters match in either case.
    #[arg(short, long)]
    ignore_case: bool,
    /// The pattern is the text itself.
    #[arg(short = 'F', long)]
    fixed_strings: bool,
    /// Only whole words match.
    #[arg(short, long)]
    word_regexp: bool,
    /// Print only the files with a match.
    #[arg(short = 'l', long)]
    files_with_matches: bool,
    /// Print JSON, one object a line.
    #[arg(long)]
    json: bool,
    /// What the registry had at this snapshot, day or instant.
    #[arg(long, value_name = "SNAP|DATE")]
    as_of: Option<AsOf>,
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    let pattern = Pattern::new(
        &args.pattern,
        PatternOptions {
            ignore_case: args.ignore_case,
            fixed: args.fixed_strings,
            word: args.word_regexp,
        },
    );
    let pattern = match pattern {
        Ok(pattern) => pattern,
        Err(error) => {
            eprintln!("error: {error}");
            return Ok(ExitCode::from(2));
        }
    };
    let archive = as_of::open(folder, args.as_of)?;
    let mut names: Vec<CrateName> = args.crates.iter().map(|wanted| wanted.name.clone()).collect();
    names.sort_by_key(CrateName::key);
    names.dedup_by_key(|name| name.key());
    for name in &names {
        if archive.crate_state(name.as_str())?.is_none() {
            return Err(super::select::unknown(&archive, name.as_str())?.into());
        }
    }
    let stop = Stop::default();
    on_ctrl_c(&stop, "ending the search")?;
    let options = GrepOptions {
        crates: (!names.is_empty()).then_some(names),
        takes: &|name, version| takes(&args.crates, name, version),
        latest: args.latest,
        files_only: args.files_with_matches,
        threads: threads(),
        stop: &|| stop.is_set(),
    };
    let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let mut out = BufWriter::with_capacity(1 << 16, std::io::stdout());
    let mut failed = None;
    let mut found = |file: FileMatches| {
        let written = match (args.json, args.files_with_matches) {
            (true, _) => json(&mut out, &pattern, &file),
            (false, true) => writeln!(out, "{}/{}", file.release.stem(), shown(&file.path)),
            (false, false) => lines(&mut out, &pattern, &file, colour),
        };
        match written {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                failed = Some(error);
                ControlFlow::Break(())
            }
        }
    };
    let report = archive.grep(&pattern, &options, &mut found)?;
    match failed.map_or_else(|| out.flush(), Err) {
        // Whoever reads has gone: then the work is done.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => return Ok(ExitCode::SUCCESS),
        other => other?,
    }
    for failure in &report.failures {
        eprintln!("failed: {failure}");
    }
    if stop.is_set() {
        return Ok(ExitCode::from(INTERRUPTED));
    }
    match report.failures.len() {
        0 => Ok(ExitCode::SUCCESS),
        failed => Err(format!("{failed} releases could not be searched").into()),
    }
}

/// Whether a release is among those asked for.
fn takes(wanted: &[CrateWant], name: &CrateName, version: &Version) -> bool {
    let mut of_crate = wanted
        .iter()
        .filter(|wanted| wanted.name.key() == name.key())
        .peekable();
    of_crate.peek().is_none()
        || of_crate.any(|wanted| match &wanted.want {
            Want::All => true,
            Want::Matching(requirement) => requirement.matches(version.semver()),
            Want::Exact(exact, _) => exact == version,
        })
}

/// A path as it may be printed: what could command a terminal is escaped.
fn shown(path: &str) -> String {
    path.chars()
        .map(|c| match c.is_control() {
            true => c.escape_default().to_string(),
            false => c.to_string(),
        })
        .collect()
}

/// `NAME-VERSION/PATH:LINE:TEXT`, as ripgrep prints it of unpacked crates.
fn lines(out: &mut impl Write, pattern: &Pattern, file: &FileMatches, colour: bool) -> std::io::Result<()> {
    let place = format!("{}/{}", file.release.stem(), shown(&file.path));
    for Line { number, text } in &*file.lines {
        if !colour {
            write!(out, "{place}:{number}:")?;
            out.write_all(text)?;
            out.write_all(b"\n")?;
            continue;
        }
        write!(out, "\x1b[35m{place}\x1b[0m:\x1b[32m{number}\x1b[0m:")?;
        let mut at = 0;
        for range in pattern.find_in(text) {
            printable(out, &text[at..range.start])?;
            out.write_all(b"\x1b[1;31m")?;
            printable(out, &text[range.clone()])?;
            out.write_all(b"\x1b[0m")?;
            at = range.end;
        }
        printable(out, &text[at..])?;
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// To a terminal nothing is sent that could command it.
fn printable(out: &mut impl Write, text: &[u8]) -> std::io::Result<()> {
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

fn json(out: &mut impl Write, pattern: &Pattern, file: &FileMatches) -> std::io::Result<()> {
    for Line { number, text } in &*file.lines {
        let matches: Vec<[usize; 2]> = pattern
            .find_in(text)
            .iter()
            .map(|range| [range.start, range.end])
            .collect();
        let json = serde_json::json!({
            "name": file.release.name.as_str(), "version": file.release.version.as_str(), "path": file.path,
            "line": number, "text": String::from_utf8_lossy(text), "matches": matches,
        });
        writeln!(out, "{json}")?;
    }
    Ok(())
}
