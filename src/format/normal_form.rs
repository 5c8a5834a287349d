//! The normal form of a tar: transform 1, section 17 of the spec. What its headers say
//! is gathered in front, the files' bytes follow one after another, and what can be
//! computed (padding, checksums, lengths told twice) is left out.

use super::Damaged;
use super::wire::{Cursor, push_uint};
use std::ops::{ControlFlow, Range};

/// Headers, and what is padded, come in blocks of this. [R 17.1]
const BLOCK_BYTES: usize = 512;
/// Where in a header the path is. [R 17.1]
const PATH: Range<usize> = 0..100;
/// Where the length of the body is, in octal digits. [R 17.1]
const SIZE: Range<usize> = 124..136;
/// Where the sum of the header's bytes is, in octal digits. [R 17.1]
const SUM: Range<usize> = 148..156;
/// A tar is at most so many times as long as its normal form, and [`SMALL_TAR_BYTES`]:
/// a few bytes must not ask for much memory. [R 17.8]
const MAX_GROWTH: u64 = 64;
const SMALL_TAR_BYTES: u64 = 1 << 20;
/// Differences of two headers are told as one where so few bytes between are the same.
const MERGED_GAP_BYTES: usize = 4;
const ZEROS: [u8; BLOCK_BYTES] = [0; BLOCK_BYTES];
const WHAT: &str = "normal form of a tar";

type Header = [u8; BLOCK_BYTES];

/// The normal form of `tar`; none if it has none, as when its padding is not zeros.
/// What is returned gives exactly `tar` again.
pub fn encode(tar: &[u8]) -> Option<Vec<u8>> {
    let (mut paths, mut sizes, mut changes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut bodies, mut unchanged) = (Vec::new(), 0u64);
    let (mut last_path, mut last_template): (&[u8], Header) = (&[], ZEROS);
    let mut rest = tar;
    while let Some((header, behind)) = rest.split_first_chunk::<BLOCK_BYTES>() {
        if *header == ZEROS {
            break;
        }
        let path = trimmed(&header[PATH]);
        let shared = path.iter().zip(last_path).take_while(|(a, b)| a == b).count();
        push_uint(&mut paths, shared as u64);
        paths.extend_from_slice(&path[shared..]);
        paths.push(0);
        last_path = path;
        let size = octal(&header[SIZE])?;
        push_uint(&mut sizes, size as u64);
        let template = template(header);
        if template == last_template {
            unchanged += 1;
        } else {
            push_uint(&mut changes, unchanged);
            push_patches(&mut changes, &last_template, &template);
            (last_template, unchanged) = (template, 0);
        }
        let (body, behind) = behind.split_at_checked(size)?;
        let (padding, behind) = behind.split_at_checked(padding_bytes(size))?;
        if padding.iter().any(|&byte| byte != 0) {
            return None;
        }
        bodies.push(body);
        rest = behind;
    }
    let end_bytes = rest.len();
    let mut content = Vec::with_capacity(tar.len() - end_bytes);
    push_uint(&mut content, end_bytes as u64);
    for column in [&paths, &sizes, &changes] {
        push_uint(&mut content, column.len() as u64);
        content.extend_from_slice(column);
    }
    for body in bodies {
        content.extend_from_slice(body);
    }
    gives(&content, tar).then_some(content)
}

/// Whether `content` is a normal form of `tar`.
fn gives(content: &[u8], tar: &[u8]) -> bool {
    let mut rest = tar;
    let decoded = NormalForm::parse(content).and_then(|form| {
        form.pieces(|piece| match rest.strip_prefix(piece) {
            Some(behind) => {
                rest = behind;
                ControlFlow::Continue(())
            }
            None => ControlFlow::Break(()),
        })
    });
    decoded.is_ok_and(|whole| whole.is_continue()) && rest.is_empty()
}

/// A normal form, its lengths found to agree.
#[derive(Debug, Clone)]
pub struct NormalForm<'a> {
    end_bytes: u64,
    paths: &'a [u8],
    sizes: &'a [u8],
    changes: &'a [u8],
    bodies: &'a [u8],
    tar_bytes: u64,
}

impl<'a> NormalForm<'a> {
    /// Reads the lengths in `content`.
    ///
    /// # Errors
    /// When they do not agree with each other, or with the length of `content`, or give
    /// a tar that is too long for it. [R 17.8]
    pub fn parse(content: &'a [u8]) -> Result<NormalForm<'a>, Damaged> {
        let mut cursor = Cursor::new(content, WHAT);
        let end_bytes = cursor.uint()?;
        let (paths, sizes, changes) = (cursor.bytes()?, cursor.bytes()?, cursor.bytes()?);
        let bodies_at = cursor.position();
        let bodies = &content[bodies_at..];
        let mut each_size = Cursor::new(sizes, WHAT);
        let (mut body_bytes, mut tar_bytes) = (0u64, end_bytes);
        while !each_size.is_empty() {
            let size = each_size.uint()?;
            body_bytes = body_bytes.saturating_add(size);
            if body_bytes > bodies.len() as u64 {
                break;
            }
            tar_bytes = tar_bytes.saturating_add((BLOCK_BYTES + padding_bytes(size as usize)) as u64 + size);
        }
        let damaged = |expected: String, found: u64| Err(Damaged::new(WHAT, bodies_at as u64, expected, found));
        if body_bytes != bodies.len() as u64 {
            return damaged(format!("{} bytes of bodies", bodies.len()), body_bytes);
        }
        let limit = (content.len() as u64)
            .saturating_mul(MAX_GROWTH)
            .saturating_add(SMALL_TAR_BYTES);
        if tar_bytes > limit.min(u64::from(u32::MAX)) {
            return damaged(format!("a tar of at most {limit} bytes"), tar_bytes);
        }
        Ok(NormalForm {
            end_bytes,
            paths,
            sizes,
            changes,
            bodies,
            tar_bytes,
        })
    }

    /// Length of the tar.
    pub fn tar_bytes(&self) -> u64 {
        self.tar_bytes
    }

    /// The tar.
    ///
    /// # Errors
    /// When what is said of its headers is damaged.
    pub fn tar(&self) -> Result<Vec<u8>, Damaged> {
        let mut tar = Vec::new();
        tar.try_reserve_exact(self.tar_bytes as usize)
            .map_err(|_| Damaged::new(WHAT, 0, format!("memory for a tar of {} bytes", self.tar_bytes), "none"))?;
        let whole = self.pieces(|piece| {
            tar.extend_from_slice(piece);
            ControlFlow::Continue(())
        })?;
        debug_assert!(whole.is_continue() && tar.len() as u64 == self.tar_bytes);
        Ok(tar)
    }

    /// Hands on the tar piece by piece, until told to stop.
    ///
    /// # Errors
    /// As [`NormalForm::tar`].
    pub fn pieces(&self, mut sink: impl FnMut(&[u8]) -> ControlFlow<()>) -> Result<ControlFlow<()>, Damaged> {
        let mut paths = Cursor::new(self.paths, WHAT);
        let mut sizes = Cursor::new(self.sizes, WHAT);
        let mut changes = Cursor::new(self.changes, WHAT);
        let mut template = ZEROS;
        let mut path_bytes = 0;
        let mut path = [0; PATH.end];
        let mut bodies = self.bodies;
        // How many members go by before the template changes next.
        let mut unchanged = next_change(&mut changes)?;
        while !sizes.is_empty() {
            match unchanged {
                Some(0) => {
                    patch(&mut template, &mut changes)?;
                    unchanged = next_change(&mut changes)?;
                }
                Some(more) => unchanged = Some(more - 1),
                None => {}
            }
            let at = paths.position() as u64;
            let (shared, own) = (paths.uint()?, paths.until(0)?);
            if shared > path_bytes as u64 || shared as usize + own.len() > path.len() {
                let found = format!("{shared} bytes of {path_bytes} and {} more", own.len());
                return Err(Damaged::new(WHAT, at, "a path of at most 100 bytes", found));
            }
            let shared = shared as usize;
            path_bytes = shared + own.len();
            path[shared..path_bytes].copy_from_slice(own);
            let size = sizes.uint()? as usize;
            let header = header(&template, &path[..path_bytes], size)?;
            let (body, behind) = bodies
                .split_at_checked(size)
                .ok_or_else(|| Damaged::new(WHAT, 0, format!("{size} bytes of body"), bodies.len()))?;
            bodies = behind;
            for piece in [&header[..], body, &ZEROS[..padding_bytes(size)]] {
                if sink(piece).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
        }
        if unchanged.is_some() || !paths.is_empty() {
            return Err(Damaged::new(WHAT, 0, "the last member", "paths or changes of others"));
        }
        let mut end_bytes = self.end_bytes as usize;
        while end_bytes > 0 {
            let piece = &ZEROS[..end_bytes.min(BLOCK_BYTES)];
            if sink(piece).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            end_bytes -= piece.len();
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// A header with what is told elsewhere taken out: its path, and all digits of size
/// and sum made 0. [R 17.4]
fn template(header: &Header) -> Header {
    let mut template = *header;
    template[PATH].fill(0);
    for field in [SIZE, SUM] {
        let digits = leading(&template[field.clone()], |byte| (b'0'..=b'7').contains(&byte));
        template[field][..digits].fill(b'0');
    }
    template
}

/// The header that `template` gives. [R 17.5]
fn header(template: &Header, path: &[u8], size: usize) -> Result<Header, Damaged> {
    let mut header = *template;
    header[PATH][..path.len()].copy_from_slice(path);
    put_octal(&mut header[SIZE], size, "length")?;
    let sum_digits = leading(&header[SUM], |byte| byte == b'0');
    if sum_digits > 0 {
        let all: usize = header.iter().map(|&byte| usize::from(byte)).sum();
        let field: usize = header[SUM].iter().map(|&byte| usize::from(byte)).sum();
        put_octal(&mut header[SUM], all - field + SUM.len() * usize::from(b' '), "sum")?;
    }
    Ok(header)
}

/// Writes `value` in place of the zeros in front of `field`, if there are any.
fn put_octal(field: &mut [u8], value: usize, what: &str) -> Result<(), Damaged> {
    let digits = leading(field, |byte| byte == b'0');
    let mut left = value;
    for byte in field[..digits].iter_mut().rev() {
        *byte = b'0' + (left & 7) as u8;
        left >>= 3;
    }
    if left > 0 && digits > 0 {
        let found = format!("{digits} digits for {value}");
        return Err(Damaged::new(WHAT, 0, format!("room for a header's {what}"), found));
    }
    Ok(())
}

/// The value of the octal digits in front of `field`; none if there are none.
fn octal(field: &[u8]) -> Option<usize> {
    let digits = leading(field, |byte| (b'0'..=b'7').contains(&byte));
    let value = field[..digits]
        .iter()
        .fold(0, |value, byte| value << 3 | usize::from(byte - b'0'));
    (digits > 0).then_some(value)
}

fn leading(field: &[u8], is: impl Fn(u8) -> bool) -> usize {
    field.iter().take_while(|&&byte| is(byte)).count()
}

fn trimmed(field: &[u8]) -> &[u8] {
    let used = field.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &field[..used]
}

fn padding_bytes(size: usize) -> usize {
    size.wrapping_neg() % BLOCK_BYTES
}

/// Tells `now` as changes of `before`: stretches of bytes and where they go. [R 17.6]
fn push_patches(out: &mut Vec<u8>, before: &Header, now: &Header) {
    let mut stretches: Vec<Range<usize>> = Vec::new();
    for at in (0..BLOCK_BYTES).filter(|&at| before[at] != now[at]) {
        match stretches.last_mut() {
            Some(stretch) if at - stretch.end < MERGED_GAP_BYTES => stretch.end = at + 1,
            _ => stretches.push(at..at + 1),
        }
    }
    push_uint(out, stretches.len() as u64);
    for stretch in stretches {
        push_uint(out, stretch.start as u64);
        push_uint(out, stretch.len() as u64);
        out.extend_from_slice(&now[stretch]);
    }
}

fn next_change(changes: &mut Cursor<'_>) -> Result<Option<u64>, Damaged> {
    match changes.is_empty() {
        true => Ok(None),
        false => changes.uint().map(Some),
    }
}

fn patch(template: &mut Header, changes: &mut Cursor<'_>) -> Result<(), Damaged> {
    for _ in 0..changes.uint()? {
        let at = changes.position() as u64;
        let (offset, bytes) = (changes.uint()?, changes.bytes()?);
        let place = usize::try_from(offset)
            .ok()
            .and_then(|offset| template.get_mut(offset..));
        match place.and_then(|place| place.get_mut(..bytes.len())) {
            Some(place) => place.copy_from_slice(bytes),
            None => {
                let found = format!("{} bytes at {offset}", bytes.len());
                return Err(Damaged::new(WHAT, at, "a change within 512 bytes", found));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is how a test fails")]

    use super::*;

    /// A tar of (path, size, what to do to its header).
    type Odd = fn(&mut tar::Header);

    fn tar_of(new: fn() -> tar::Header, files: &[(&str, usize, Odd)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, bytes, odd) in files {
            let mut header = new();
            header.set_size(*bytes as u64);
            header.set_mode(0o644);
            odd(&mut header);
            let body: Vec<u8> = (0..*bytes).map(|i| (i * 7 % 251) as u8).collect();
            builder.append_data(&mut header, path, &body[..]).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn plain(_: &mut tar::Header) {}

    fn sample() -> Vec<u8> {
        tar_of(
            tar::Header::new_gnu,
            &[
                ("x-1.0.0/Cargo.toml", 300, |header| header.set_mtime(1_500_000_000)),
                ("x-1.0.0/src/lib.rs", 512, |header| header.set_mtime(1_500_000_007)),
                ("x-1.0.0/empty", 0, plain),
                ("x-1.0.0/run.sh", 1025, |header| header.set_mode(0o755)),
            ],
        )
    }

    /// The tar of the normal form, which must exist.
    fn round(tar: &[u8]) -> Vec<u8> {
        let content = encode(tar).unwrap();
        let form = NormalForm::parse(&content).unwrap();
        assert_eq!(form.tar_bytes(), tar.len() as u64);
        form.tar().unwrap()
    }

    #[test]
    fn tars_of_every_kind_come_back() {
        let long = format!("x-1.0.0/{}/a.rs", "deep/".repeat(40));
        let files: &[(&str, usize, Odd)] = &[
            ("x-1.0.0/a", 10, plain),
            (&long, 700, |header| header.set_uid(0o7_777_777)),
            ("x-1.0.0/b", 0, |header| {
                header.set_entry_type(tar::EntryType::Directory)
            }),
            ("x-1.0.0/c", 3, |header| header.as_mut_bytes()[136..148].fill(0)),
        ];
        for new in [tar::Header::new_gnu, tar::Header::new_ustar, tar::Header::new_old] {
            // Only GNU headers have a way to tell so long a path.
            let files: Vec<_> = files
                .iter()
                .filter(|(path, ..)| path.len() < 100 || new().as_gnu().is_some())
                .copied()
                .collect();
            let tar = tar_of(new, &files);
            assert!(round(&tar) == tar);
        }
        for end in [0, 1, 512, 10_240] {
            let mut tar = sample();
            tar.truncate(tar.len() - 1024);
            tar.resize(tar.len() + end, 0);
            assert!(round(&tar) == tar, "{end} zeros at its end");
        }
        assert!(round(&[]).is_empty());
    }

    #[test]
    fn sums_of_six_digits_or_with_spaces_come_back() {
        for field in [
            &b"012345\0 "[..],
            b"0012345 ",
            b" 12345\0 ",
            b"        ",
            b"\xff\0\0\0\0\0\0\0",
        ] {
            let mut tar = sample();
            tar[SUM].copy_from_slice(field);
            match encode(&tar) {
                // The sum itself is wrong, so its digits cannot be computed.
                None => assert_eq!(field[0], b'0'),
                Some(_) => assert!(round(&tar) == tar),
            }
        }
        let mut tar = sample();
        let six = tar[149..155].to_vec();
        tar[148..154].copy_from_slice(&six);
        tar[154..156].copy_from_slice(b"\0 ");
        assert!(round(&tar) == tar);
    }

    #[test]
    fn what_cannot_come_back_has_no_normal_form() {
        let good = sample();
        let spoil = |at: usize, byte: u8| {
            let mut tar = good.clone();
            tar[at] = byte;
            encode(&tar)
        };
        assert_eq!(spoil(512 + 300, 1), None, "padding that is not zeros");
        assert_eq!(spoil(good.len() - 1, 1), None, "an end that is not zeros");
        assert_eq!(spoil(99, b'x'), None, "a path with a zero in it");
        assert_eq!(spoil(124, 0x80), None, "a size that is not octal");
        assert_eq!(encode(&good[..512 + 100]), None, "a body that is cut off");
        assert_eq!(encode(&good[..512 + 400]), None, "padding that is cut off");
        assert_eq!(encode(b"no tar at all"), None);
    }

    #[test]
    fn headers_take_little_room() {
        let files: Vec<(String, usize, Odd)> = (0..50)
            .map(|i| (format!("x-1.0.0/src/f{i}.rs"), 512, plain as Odd))
            .collect();
        let files: Vec<_> = files.iter().map(|(path, size, odd)| (&path[..], *size, *odd)).collect();
        let tar = tar_of(tar::Header::new_gnu, &files);
        assert!(encode(&tar).unwrap().len() < 50 * (512 + 12) + 100);
    }

    /// Damage is an error or another tar of the length that was announced, never a panic.
    #[test]
    fn every_flip_and_cut_is_an_error_or_keeps_to_its_length() {
        let content = encode(&sample()).unwrap();
        let check = |bytes: &[u8]| {
            let Ok(form) = NormalForm::parse(bytes) else { return };
            if let Ok(tar) = form.tar() {
                assert_eq!(tar.len() as u64, form.tar_bytes());
            }
        };
        for at in 0..content.len() {
            assert!(NormalForm::parse(&content[..at]).is_err(), "cut at {at}");
            for bit in 0..8 {
                let mut bad = content.clone();
                bad[at] ^= 1 << bit;
                check(&bad);
            }
        }
    }

    #[test]
    fn a_few_bytes_cannot_ask_for_much() {
        let with = |end: u64, members: usize| {
            let mut content = Vec::new();
            push_uint(&mut content, end);
            push_uint(&mut content, 2 * members as u64);
            content.extend(vec![0; 2 * members]);
            push_uint(&mut content, members as u64);
            content.extend(vec![0; members]);
            push_uint(&mut content, 0);
            content
        };
        assert!(NormalForm::parse(&with(1 << 19, 10)).is_ok());
        assert!(NormalForm::parse(&with(1 << 21, 10)).is_err());
        assert!(NormalForm::parse(&with(u64::MAX, 10)).is_err());
        let error = NormalForm::parse(&with(0, 100_000)).unwrap_err();
        assert!(error.expected.starts_with("a tar of at most"), "{error}");
        // Such a tar is stored as it is.
        let files: Vec<(String, usize, Odd)> = (0..5000).map(|i| (format!("{i:04}"), 0, plain as Odd)).collect();
        let files: Vec<_> = files.iter().map(|(path, size, odd)| (&path[..], *size, *odd)).collect();
        assert_eq!(encode(&tar_of(tar::Header::new_gnu, &files)), None);
    }
}
