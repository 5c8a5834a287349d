//! `cratehold copy`.

use super::interrupt::{INTERRUPTED, on_ctrl_c};
use super::selection::SelectionArgs;
use super::{CommandResult, bytes_bar, human, threads};
use cratehold::archive::{Archive, COMPANIONS, CopyError, CopyOptions, PartCrate, PartOptions, copy, copy_part};
use cratehold::offer;
use cratehold::registry::{CRATES_IO, Stop};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What may lie in the folder that a copy is made in, beside an archive's companions:
/// what a first copy that was stopped leaves, and what operating systems put on every drive.
const EXPECTED: [&str; 11] = [
    "packs",
    "index",
    "manifest",
    "lock",
    "lost+found",
    "System Volume Information",
    "$RECYCLE.BIN",
    ".Spotlight-V100",
    ".Trashes",
    ".fseventsd",
    ".DS_Store",
];

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive to copy, unless `--archive` says it, then the folder to copy it to.
    #[arg(required = true, num_args = 1..=2, value_names = ["SRC", "DEST"])]
    folders: Vec<PathBuf>,
    /// Compare all that is at DEST already with SRC, byte for byte, and mend what is
    /// damaged there.
    #[arg(long)]
    check: bool,
    // Of what SRC holds, a part as an archive of its own.
    #[command(flatten)]
    selection: SelectionArgs,
    /// With a selection: also what the registry no longer has. What is named exactly, as
    /// lockfiles do, comes along in any case.
    #[arg(long)]
    removed: bool,
}

pub fn run(archive: Option<&Path>, args: Args) -> CommandResult {
    let (from, to) = match (&args.folders[..], archive) {
        ([from, to], _) => (&**from, &**to),
        ([to], Some(from)) => (from, &**to),
        _ => {
            eprintln!("error: expected `copy SRC DEST`, or `--archive SRC` and `copy DEST`");
            return Ok(ExitCode::from(2));
        }
    };
    match args.selection.is_empty() {
        true if args.removed => Err("`--removed` goes with a selection: a whole copy has everything".into()),
        true => whole(from, to, &args),
        false if args.check => Err("`--check` is for whole copies; `cratehold verify` checks a part".into()),
        false => part(from, to, &args),
    }
}

fn whole(from: &Path, to: &Path, args: &Args) -> CommandResult {
    let archive = Archive::open(from)?;
    check_folder(from, to)?;
    let stop = Stop::default();
    on_ctrl_c(&stop, "what was copied is kept")?;
    let bar = bytes_bar(0);
    let options = CopyOptions {
        check: args.check,
        stop: &|| stop.is_set(),
        begin: &|bytes| bar.set_length(bytes),
        progress: &|bytes| bar.inc(bytes),
    };
    let result = copy(&archive, to, &options);
    bar.finish_and_clear();
    let report = match result {
        Err(stopped @ CopyError::Stopped) => {
            eprintln!("{stopped}");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        result => result?,
    };
    let mended = match report.mended_bytes {
        0 => String::new(),
        bytes => format!(", {} that were damaged there mended", human(bytes)),
    };
    say!(
        "{} copied and read back, {} there already{mended}; {} is now snapshot {}",
        human(report.copied_bytes),
        human(report.kept_bytes),
        to.display(),
        report.snapshot
    );
    Ok(ExitCode::SUCCESS)
}

/// A small archive of its own, of what is selected.
fn part(from: &Path, to: &Path, args: &Args) -> CommandResult {
    let archive = Archive::open(from)?;
    check_folder(from, to)?;
    let registry = archive.known_registry()?.unwrap_or_else(|| CRATES_IO.to_owned());
    let is_everything = !args.selection.names_any();
    let selection = args.selection.clone().selection(is_everything, &registry)?;
    let chosen = offer::choose(&archive, &selection, args.removed)?;
    let mut failures: Vec<String> = chosen
        .missing
        .iter()
        .map(|missing| format!("{}: {}", missing.what, missing.cause))
        .collect();
    if chosen.releases.is_empty() {
        failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
        return Err("nothing that is held was selected, so nothing was copied".into());
    }
    let crates: Vec<PartCrate> = chosen
        .releases
        .chunk_by(|a, b| a.release.name == b.release.name)
        .map(|releases| PartCrate {
            name: releases[0].release.name.to_string(),
            digests: releases.iter().map(|one| one.digest).collect(),
        })
        .collect();
    let mut total_bytes = 0;
    for one in &chosen.releases {
        total_bytes += archive
            .find(&one.digest)?
            .map_or(0, |entry| u64::from(entry.record_bytes));
    }
    let stop = Stop::default();
    on_ctrl_c(&stop, "what was copied is kept")?;
    let bar = bytes_bar(total_bytes);
    let options = PartOptions {
        threads: threads(),
        stop: &|| stop.is_set(),
        progress: &|bytes| bar.inc(bytes),
    };
    let result = copy_part(&archive, &crates, to, &options);
    bar.finish_and_clear();
    let report = result?;
    say!(
        "{} releases of {} crates copied and read back ({}; {} compressed anew), {} there already, {} missing; {} is now snapshot {}",
        report.copied,
        crates.len(),
        human(report.record_bytes),
        report.compressed_anew,
        report.kept,
        failures.len(),
        to.display(),
        report.snapshot
    );
    failures.extend(
        report
            .failures
            .into_iter()
            .map(|(name, cause)| format!("{name}: {cause}")),
    );
    failures.iter().for_each(|failure| eprintln!("failed: {failure}"));
    report
        .problems
        .iter()
        .for_each(|problem| eprintln!("problem: {}: {problem}", to.display()));
    if report.stopped {
        eprintln!("{}", CopyError::Stopped);
        return Ok(ExitCode::from(INTERRUPTED));
    }
    Ok(match failures.is_empty() && report.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

/// That a copy does not land among files that have nothing to do with it.
fn check_folder(from: &Path, to: &Path) -> Result<(), String> {
    if to
        .canonicalize()
        .ok()
        .is_some_and(|to| from.canonicalize().is_ok_and(|from| from == to))
    {
        return Err(format!("{}: source and destination are the same folder", to.display()));
    }
    let entries = match std::fs::read_dir(to) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries.map_err(|error| format!("{}: {error}", to.display()))?,
    };
    for entry in entries {
        let name = entry.map_err(|error| format!("{}: {error}", to.display()))?.file_name();
        let name = name.to_string_lossy();
        let ours = to.join("head0").exists() || to.join("head1").exists();
        let mut expected = EXPECTED.iter().chain(&COMPANIONS);
        if !ours && !expected.any(|expected| name.eq_ignore_ascii_case(expected)) {
            return Err(format!(
                "{}: is neither an archive nor empty (it has `{name}`); name a new folder in it, such as {}",
                to.display(),
                to.join("archive").display()
            ));
        }
    }
    Ok(())
}
