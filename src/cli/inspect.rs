//! `cratehold inspect`: what is on disk, in words, for people who debug.

use super::{CommandResult, date, human, select};
use cratehold::archive::{Archive, head_files};
use cratehold::deflate::Engine;
use cratehold::format::head::Head;
use cratehold::format::pack::RecordMeta;
use cratehold::ids::Digest;
use std::path::Path;
use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Both heads: which files count.
    Head,
    /// The packs, or one pack's records.
    Pack {
        /// The pack's number.
        pack: Option<u32>,
    },
    /// The index segments, or all entries with `--entries`.
    Index {
        /// Print every entry.
        #[arg(long)]
        entries: bool,
    },
    /// The manifest segments and transactions, or one crate's events.
    Manifest {
        /// The crate.
        name: Option<String>,
    },
    /// One object's record, and those of its bases.
    Frame {
        /// A release, or a SHA-256.
        what: String,
    },
}

pub fn run(folder: &Path, args: Args) -> CommandResult {
    match args.what {
        What::Head => heads(folder),
        What::Pack { pack: None } => packs(&Archive::open(folder)?),
        What::Pack { pack: Some(pack) } => records(&Archive::open(folder)?, pack),
        What::Index { entries } => index(&Archive::open(folder)?, entries),
        What::Manifest { name: None } => manifest(&Archive::open(folder)?),
        What::Manifest { name: Some(name) } => events(&Archive::open(folder)?, &name),
        What::Frame { what } => frame(&Archive::open(folder)?, &what),
    }
}

fn heads(folder: &Path) -> CommandResult {
    let files = head_files(folder);
    let newest = files
        .iter()
        .filter_map(|file| Some(file.head.as_ref().ok()?.generation))
        .max();
    for file in &files {
        match &file.head {
            Ok(head) => {
                let mark = if Some(head.generation) == newest {
                    ", the newest"
                } else {
                    ""
                };
                say!("{}: snapshot {}{mark}", file.name, head.generation);
                describe(head);
            }
            Err(reason) => say!("{}: no head: {reason}", file.name),
        }
    }
    Ok(if newest.is_some() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn describe(head: &Head) {
    say!("  written        {}", date(head.time));
    say!("  archive id     {}", hex(&head.archive_id));
    say!("  root hash      {}", hex(&head.root));
    say!("  previous head  {}", hex(&head.previous_head));
    say!(
        "  features       {:#x} to read, {:#x} to write",
        head.incompatible_features,
        head.write_features
    );
    for pack in &head.packs {
        let state = if pack.sealed { "sealed" } else { "open" };
        say!("  pack {:<9} {:>12} bytes, {state}", pack.pack, pack.bytes);
    }
    for (what, segments) in [("index", &head.indexes), ("manifest", &head.manifests)] {
        for segment in segments {
            say!(
                "  {what} {:<8} {:>12} bytes, SHA-256 {}",
                segment.generation,
                segment.bytes,
                hex(&segment.sha256)
            );
        }
    }
    for extra in &head.extras {
        say!(
            "  {} {:>12} bytes, SHA-256 {}",
            extra.path,
            extra.bytes,
            hex(&extra.sha256)
        );
    }
}

fn packs(archive: &Archive) -> CommandResult {
    say!("{:>8} {:>12} {:>8}  state", "pack", "bytes", "records");
    for pack in &archive.head().packs {
        let mut records = 0u64;
        archive.walk_pack(pack.pack, |_| records += 1)?;
        let state = if pack.sealed { "sealed" } else { "open" };
        say!("{:>8} {:>12} {records:>8}  {state}", pack.pack, pack.bytes);
    }
    Ok(ExitCode::SUCCESS)
}

fn records(archive: &Archive, pack: u32) -> CommandResult {
    say!(
        "{:>10} {:>10} {:>10} {:>5} {:<11} {:<12} release",
        "offset",
        "record",
        "content",
        "depth",
        "engine",
        "base"
    );
    archive.walk_pack(pack, |record| {
        let meta = &record.meta;
        let base = meta.base.map_or_else(|| "-".to_owned(), |base| short(&base));
        say!(
            "{:>10} {:>10} {:>10} {:>5} {:<11} {base:<12} {}",
            record.offset,
            record.record_bytes,
            meta.content_bytes,
            meta.chain_depth,
            engine(meta.engine),
            label(meta)
        );
    })?;
    Ok(ExitCode::SUCCESS)
}

fn index(archive: &Archive, entries: bool) -> CommandResult {
    for (segment, entry) in archive.index_segments().iter().zip(&archive.head().indexes) {
        say!(
            "index segment {}: {} entries, {} bytes",
            entry.generation,
            segment.entry_count(),
            entry.bytes
        );
        if entries {
            for entry in segment.entries() {
                let entry = entry?;
                say!(
                    "  {} {:?} pack {} offset {} record {} content {} chain {} depth {} since {}",
                    entry.digest,
                    entry.kind,
                    entry.pack,
                    entry.record_offset,
                    entry.record_bytes,
                    entry.content_bytes,
                    entry.chain_bytes,
                    entry.chain_depth,
                    entry.held_since
                );
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn manifest(archive: &Archive) -> CommandResult {
    for segment in archive.manifest_segments() {
        say!(
            "manifest segment {}: {} crates, {} events; {}",
            segment.generation(),
            segment.crate_count(),
            segment.event_count(),
            human(segment.file_bytes())
        );
        for transaction in segment.transactions()? {
            let registry = match transaction.registry.as_str() {
                "" => String::new(),
                registry => format!(", registry {registry}"),
            };
            say!(
                "  snapshot {} by {} on {}: {} events, hash {}{registry}",
                transaction.generation,
                transaction.source,
                date(transaction.time),
                transaction.event_count,
                short(&transaction.hash)
            );
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn events(archive: &Archive, name: &str) -> CommandResult {
    let mut any = false;
    for segment in archive.manifest_segments() {
        for record in segment.find(name)? {
            for event in record.events() {
                let event = event?;
                any = true;
                let digest = event.digest.map_or_else(|| "-".to_owned(), |digest| short(&digest.0));
                let yanked = if event.yanked { " yanked" } else { "" };
                say!(
                    "snapshot {} {:?} {} {} {digest}{yanked}",
                    event.generation,
                    event.kind,
                    record.name(),
                    event.version
                );
                if event.text.is_some() {
                    let text = segment.text(record.name(), &event)?;
                    say!("    {}", String::from_utf8_lossy(&text));
                }
            }
        }
    }
    if any {
        return Ok(ExitCode::SUCCESS);
    }
    Err(select::unknown(archive, name)?.into())
}

fn frame(archive: &Archive, what: &str) -> CommandResult {
    let digest = match what.parse::<Digest>() {
        Ok(digest) => digest,
        Err(_) => select::select(archive, what, select::Which::All)?.digest,
    };
    for (i, (entry, meta)) in archive.chain(&digest)?.iter().enumerate() {
        say!("{}{}", if i == 0 { "" } else { "base: " }, label(meta));
        say!("  digest         {}", meta.id());
        say!("  place          pack {}, offset {}", entry.pack, entry.record_offset);
        say!("  crate file     {} bytes", meta.crate_bytes);
        say!(
            "  content        {} bytes, CRC-32 {:08x}, transform {}",
            meta.content_bytes,
            meta.content_crc32,
            meta.transform
        );
        say!(
            "  zstd frame     {} bytes, CRC-32 {:08x}",
            meta.frame_bytes,
            meta.frame_crc32
        );
        say!(
            "  chain          {} frames below, {} bytes to decode",
            meta.chain_depth,
            meta.chain_bytes
        );
        say!("  engine         {} ({})", meta.engine, engine(meta.engine));
        say!("  gzip OS byte   {}", meta.gzip_os);
        if let Some(header) = &meta.gzip_header {
            say!("  gzip header    {}", hex(header));
        }
        if let Some(trailer) = &meta.gzip_trailer {
            say!("  gzip trailer   {} bytes", trailer.len());
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn label(meta: &RecordMeta) -> String {
    match meta.kind {
        2 => "seed".into(),
        _ => format!("{}@{}", meta.name, meta.version),
    }
}

fn engine(number: u8) -> &'static str {
    Engine::from_number(number).map_or("as it came", Engine::name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn short(bytes: &[u8; 32]) -> String {
    hex(&bytes[..6])
}
