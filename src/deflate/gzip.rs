//! The gzip container (RFC 1952): finding header, deflate stream and trailer.

use zlib_rs_06::{Inflate, InflateFlush, Status};

/// The first allocation for a tar is at most this; declared sizes are not trusted.
const FIRST_ALLOCATION_BYTES: usize = 8 << 20;

/// Why a crate file cannot be undone.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UndoError {
    /// Something else than gzip.
    #[error("not gzip: expected the bytes 1f 8b 08 at its start, found {found}")]
    NotGzip {
        /// The first bytes, as text.
        found: String,
    },
    /// The file ends early.
    #[error("truncated: the gzip {part} ends at byte {offset}, before it is complete")]
    Truncated {
        /// Which part.
        part: &'static str,
        /// The file's length.
        offset: usize,
    },
    /// The deflate stream is invalid.
    #[error("corrupt: invalid deflate data near byte {offset}")]
    Corrupt {
        /// Where, roughly.
        offset: usize,
    },
    /// The trailer does not match the contents.
    #[error("corrupt: the gzip trailer says {expected}, the contents give {found}")]
    Mismatch {
        /// CRC-32 and length of the trailer.
        expected: String,
        /// CRC-32 and length found.
        found: String,
    },
    /// A gzip bomb.
    #[error("unpacks to more than {limit} bytes, cargo's own limit for a file of this size")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
}

pub(super) struct Parts<'a> {
    pub header: &'a [u8],
    pub stream: &'a [u8],
    pub trailer: &'a [u8],
    pub tar: Vec<u8>,
}

/// What cargo itself agrees to unpack: 512 MiB, or 20 times the packed size.
pub fn unpack_limit_bytes(packed_bytes: u64) -> u64 {
    (512 << 20).max(packed_bytes.saturating_mul(20))
}

/// The contents of a gzip file's first member.
///
/// # Errors
/// As [`super::undo`].
pub fn gunzip(file: &[u8]) -> Result<Vec<u8>, UndoError> {
    parse(file).map(|parts| parts.tar)
}

/// The first bytes of a gzip file's contents, at most `limit_bytes`, from its
/// first bytes: neither the whole file nor valid sums are asked for.
///
/// # Errors
/// When it is not gzip, or its deflate stream is invalid that early.
pub fn gunzip_start(start: &[u8], limit_bytes: usize) -> Result<Vec<u8>, UndoError> {
    let header_bytes = header_length(start)?;
    let mut out = vec![0; limit_bytes];
    let mut inflate = Inflate::new(false, 15);
    inflate
        .decompress(&start[header_bytes..], &mut out, InflateFlush::NoFlush)
        .map_err(|_| UndoError::Corrupt {
            offset: header_bytes + inflate.total_in() as usize,
        })?;
    out.truncate(inflate.total_out() as usize);
    Ok(out)
}

pub(super) fn parse(file: &[u8]) -> Result<Parts<'_>, UndoError> {
    let header_bytes = header_length(file)?;
    let (header, rest) = file.split_at(header_bytes);
    let (tar, stream_bytes) = inflate(rest, unpack_limit_bytes(file.len() as u64), header_bytes)?;
    let (stream, trailer) = rest.split_at(stream_bytes);
    let Some(sums) = trailer.first_chunk::<8>() else {
        return Err(UndoError::Truncated {
            part: "trailer",
            offset: file.len(),
        });
    };
    let found = [crc32fast::hash(&tar).to_le_bytes(), (tar.len() as u32).to_le_bytes()].concat();
    if found != sums {
        let shown = |sums: &[u8]| sums.iter().rev().map(|byte| format!("{byte:02x}")).collect::<String>();
        return Err(UndoError::Mismatch {
            expected: shown(sums),
            found: shown(&found),
        });
    }
    Ok(Parts {
        header,
        stream,
        trailer,
        tar,
    })
}

fn header_length(file: &[u8]) -> Result<usize, UndoError> {
    if !file.starts_with(&[0x1f, 0x8b, 8]) {
        let found = match file {
            [] => "an empty file".to_owned(),
            _ => format!("`{}`", file[..file.len().min(16)].escape_ascii()),
        };
        return Err(UndoError::NotGzip { found });
    }
    let short = UndoError::Truncated {
        part: "header",
        offset: file.len(),
    };
    let flags = *file.get(3).ok_or(short.clone())?;
    let mut at = 10;
    if flags & 4 != 0 {
        let len = file.get(at..at + 2).ok_or(short.clone())?;
        at += 2 + usize::from(u16::from_le_bytes([len[0], len[1]]));
    }
    for flag in [8, 16] {
        if flags & flag != 0 {
            let text = file.get(at..).ok_or(short.clone())?;
            at += text.iter().position(|&byte| byte == 0).ok_or(short.clone())? + 1;
        }
    }
    if flags & 2 != 0 {
        at += 2;
    }
    if at > file.len() { Err(short) } else { Ok(at) }
}

/// The contents of a raw deflate stream and its length.
fn inflate(stream: &[u8], limit: u64, header_bytes: usize) -> Result<(Vec<u8>, usize), UndoError> {
    let mut inflate = Inflate::new(false, 15);
    let mut out = vec![0; stream.len().saturating_mul(6).clamp(4096, FIRST_ALLOCATION_BYTES)];
    loop {
        let (taken, made) = (inflate.total_in() as usize, inflate.total_out() as usize);
        if made == out.len() {
            if made as u64 > limit {
                return Err(UndoError::TooLarge { limit });
            }
            out.resize(made * 2, 0);
        }
        let status = inflate.decompress(&stream[taken..], &mut out[made..], InflateFlush::NoFlush);
        let (now_taken, now_made) = (inflate.total_in() as usize, inflate.total_out() as usize);
        match status {
            Err(_) => {
                return Err(UndoError::Corrupt {
                    offset: header_bytes + now_taken,
                });
            }
            Ok(Status::StreamEnd) if now_made as u64 > limit => return Err(UndoError::TooLarge { limit }),
            Ok(Status::StreamEnd) => {
                out.truncate(now_made);
                return Ok((out, now_taken));
            }
            Ok(_) if (now_taken, now_made) == (taken, made) => {
                return Err(UndoError::Truncated {
                    part: "deflate stream",
                    offset: header_bytes + now_taken,
                });
            }
            Ok(_) => {}
        }
    }
}
