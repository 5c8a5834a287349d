//! How sealed files are read: mapped, which costs nothing until a page is touched, or
//! into memory, which nothing that happens to the drive can take away any more.

use std::fs::File;
use std::sync::atomic::{AtomicU8, Ordering};

/// How this process reads sealed files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Mapped, but plain on file systems of drives that are pulled out and of networks.
    Auto,
    /// Always mapped: a drive that is pulled out ends the process.
    Mapped,
    /// Always into memory.
    Plain,
}

static READS: AtomicU8 = AtomicU8::new(0);

/// Chooses for all archives that this process opens from now on.
pub fn set_reads(reads: Reads) {
    READS.store(reads as u8, Ordering::Relaxed);
}

/// Whether `file` is to be read into memory.
pub(super) fn is_plain(file: &File) -> bool {
    match READS.load(Ordering::Relaxed) {
        0 => may_vanish(file),
        1 => false,
        _ => true,
    }
}

/// Whether the file lies where drives are pulled out or connections break: FAT and exFAT,
/// in which portable drives come, what user programs mount, and network file systems.
#[cfg(target_os = "linux")]
fn may_vanish(file: &File) -> bool {
    /// From Linux's `include/uapi/linux/magic.h`: MSDOS, EXFAT, FUSE, NFS, SMB, CIFS,
    /// SMB2, 9P, AFS, CEPH.
    const TYPES: [u32; 10] = [
        0x4d44,
        0x2011_bab0,
        0x6573_5546,
        0x6969,
        0x517b,
        0xff53_4d42,
        0xfe53_4d42,
        0x0102_1997,
        0x5346_414f,
        0x00c3_6400,
    ];
    rustix::fs::fstatfs(file).is_ok_and(|found| TYPES.contains(&(found.f_type as u32)))
}

/// Elsewhere the user has to say so.
#[cfg(not(target_os = "linux"))]
fn may_vanish(_file: &File) -> bool {
    false
}
