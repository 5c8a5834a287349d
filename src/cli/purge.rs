//! `cratehold purge`.

use super::{CommandResult, bytes_bar, confirm, human};
use cratehold::archive::{self, Archive, PurgeOptions, PurgePlan, SIGNATURE_FILE, Target, Writer};
use cratehold::ids::{CrateName, Digest, InvalidId, Release, Version};
use std::path::Path;
use std::process::ExitCode;

/// How many releases are shown before a purge asks.
const SHOWN: usize = 20;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Every version of a crate, or one exact version: NAME[@VERSION].
    #[arg(value_name = "RELEASE", value_parser = parse_target, required_unless_present = "digest")]
    releases: Vec<Target>,
    /// Bytes by their SHA-256, whatever they were published as.
    #[arg(long, value_name = "HEX")]
    digest: Vec<Digest>,
    /// Why, in one line. It is kept for ever, and told to whoever asks for the bytes.
    #[arg(long, value_name = "TEXT")]
    reason: String,
    /// Only show what would be erased and rewritten.
    #[arg(short = 'n', long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
    /// The zstd level of what has to be compressed anew.
    #[arg(long, default_value_t = archive::DEFAULT_LEVEL, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Print what was found and done as one JSON object.
    #[arg(long)]
    json: bool,
}

fn parse_target(text: &str) -> Result<Target, String> {
    let say = |error: InvalidId| error.to_string();
    let Some((name, version)) = text.split_once('@') else {
        let name: CrateName = text.parse().map_err(say)?;
        return Ok(Target::Crate(name.to_string()));
    };
    let version: Version = version
        .parse()
        .map_err(|error: InvalidId| format!("{error}; what is erased has to be named exactly"))?;
    let name = name.parse().map_err(say)?;
    Ok(Target::Release(Release { name, version }))
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    archive::check_reason(&args.reason)?;
    let mut targets = args.releases;
    targets.extend(args.digest.iter().map(|digest| Target::Digest(*digest)));
    let plan = Archive::open(folder)?.plan_purge(&targets)?;
    if !args.json {
        show(&plan);
    }
    if args.dry_run {
        if args.json {
            say!("{}", as_json(&plan, false));
        }
        return Ok(ExitCode::SUCCESS);
    }
    if !plan.is_done() {
        confirm("Erase this for good?", args.yes)?;
    }
    let writer = Writer::open(folder)?;
    let bar = bytes_bar(plan.packs.iter().map(|pack| pack.live_bytes).sum());
    let options = PurgeOptions {
        reason: args.reason.trim(),
        level: args.level,
        progress: &|bytes| bar.inc(bytes),
    };
    let done = writer.purge(&targets, &options);
    bar.finish_and_clear();
    let done = done?;
    if args.json {
        say!("{}", as_json(&done, true));
        return Ok(ExitCode::SUCCESS);
    }
    match done.is_done() {
        true => say!("nothing of it was left"),
        false => say!("erased: no file of this archive has the bytes any more"),
    }
    let now = Archive::open(folder)?.coverage()?;
    if !now.is_none() && !now.is_whole() {
        say!("what was rewritten has no recovery data yet: `cratehold protect` makes it");
    }
    if folder.join(SIGNATURE_FILE).exists() {
        say!("the root hash is another now: sign it again");
    }
    say!("other copies of this archive still have them; so may free space and snapshots of the drive itself");
    Ok(ExitCode::SUCCESS)
}

fn show(plan: &PurgePlan) {
    for (release, digest) in plan.releases.iter().take(SHOWN) {
        let note = if plan.held.contains(digest) { "" } else { "  (not held)" };
        say!("{release}  {digest}{note}");
    }
    if plan.releases.len() > SHOWN {
        say!("and {} more", plan.releases.len() - SHOWN);
    }
    let rewritten: u64 = plan.packs.iter().map(|pack| pack.live_bytes).sum();
    say!(
        "{} releases, {} of .crate held; {} packs to be rewritten ({} of them stays), {} other crates to be compressed anew",
        plan.releases.len(),
        human(plan.crate_bytes),
        plan.packs.len(),
        human(rewritten),
        plan.dependents.len()
    );
    if !plan.seeds.is_empty() {
        say!("{} seeds may contain some of it, and go too", plan.seeds.len());
    }
}

fn as_json(plan: &PurgePlan, is_erased: bool) -> serde_json::Value {
    let releases = plan.releases.iter().map(|(release, digest)| {
        serde_json::json!({
            "name": release.name.as_str(), "version": release.version.as_str(), "sha256": digest.to_string(),
            "was_held": plan.held.contains(digest),
        })
    });
    let packs = plan
        .packs
        .iter()
        .map(|pack| serde_json::json!({"pack": pack.pack, "bytes": pack.bytes, "live_bytes": pack.live_bytes}));
    let list = |digests: &[Digest]| digests.iter().map(Digest::to_string).collect::<Vec<_>>();
    serde_json::json!({
        "releases": releases.collect::<Vec<_>>(), "crate_bytes": plan.crate_bytes,
        "dependents": list(&plan.dependents), "seeds": list(&plan.seeds),
        "packs": packs.collect::<Vec<_>>(), "erased": is_erased,
    })
}
