//! The variable-length encoding of small structures: bincode 2, "standard"
//! configuration (little-endian, variable-length integers), spelled out byte by
//! byte in the spec, section 3. [R 3.1]

use super::Damaged;
use bincode::{Decode, Encode};

/// No structure that is encoded this way may be longer. [R 3.3]
pub const MAX_STRUCT_BYTES: usize = 1 << 26;

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<MAX_STRUCT_BYTES>()
}

/// `value` as bytes.
pub fn encode<T: Encode>(value: &T) -> Vec<u8> {
    // Encoding into a Vec fails only on types that this crate does not use
    // (RefCell, SystemTime, unsized sequences).
    bincode::encode_to_vec(value, config()).unwrap_or_default()
}

/// One value from the front of `bytes`, and how many bytes it took.
///
/// # Errors
/// When the bytes end early, hold an invalid value, or ask for more than
/// [`MAX_STRUCT_BYTES`].
pub fn decode_prefix<T: Decode<()>>(bytes: &[u8], what: &'static str) -> Result<(T, usize), Damaged> {
    bincode::decode_from_slice(bytes, config())
        .map_err(|error| Damaged::new(what, 0, "a valid encoding", format!("{error:?}")))
}

/// One value that fills `bytes` exactly.
///
/// # Errors
/// As [`decode_prefix`], and when bytes are left over.
pub fn decode<T: Decode<()>>(bytes: &[u8], what: &'static str) -> Result<T, Damaged> {
    match decode_prefix(bytes, what)? {
        (value, used) if used == bytes.len() => Ok(value),
        (_, used) => Err(Damaged::new(
            what,
            used as u64,
            "the end",
            format!("{} more bytes", bytes.len() - used),
        )),
    }
}

/// Appends a variable-length integer. [R 3.2]
pub fn push_uint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=250 => out.push(value as u8),
        251..=0xffff => {
            out.push(251);
            out.extend((value as u16).to_le_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(252);
            out.extend((value as u32).to_le_bytes());
        }
        _ => {
            out.push(253);
            out.extend(value.to_le_bytes());
        }
    }
}

/// Reads from a slice, never past its end.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    what: &'static str,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`; `what` names it in errors.
    pub fn new(bytes: &'a [u8], what: &'static str) -> Cursor<'a> {
        Cursor { bytes, at: 0, what }
    }

    /// Bytes already taken.
    pub fn position(&self) -> usize {
        self.at
    }

    /// Whether nothing is left.
    pub fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// The next `len` bytes.
    ///
    /// # Errors
    /// When fewer are left.
    #[inline]
    pub fn take(&mut self, len: usize) -> Result<&'a [u8], Damaged> {
        match self.bytes.get(self.at..).and_then(|rest| rest.get(..len)) {
            Some(taken) => {
                self.at += len;
                Ok(taken)
            }
            None => Err(Damaged::new(
                self.what,
                self.at as u64,
                format!("{len} more bytes"),
                format!("{}", self.bytes.len().saturating_sub(self.at)),
            )),
        }
    }

    /// The next byte.
    ///
    /// # Errors
    /// At the end.
    #[inline]
    pub fn byte(&mut self) -> Result<u8, Damaged> {
        Ok(self.take(1)?[0])
    }

    /// The next variable-length integer.
    ///
    /// # Errors
    /// When it is cut short or its tag is not one of spec section 3's.
    #[inline]
    pub fn uint(&mut self) -> Result<u64, Damaged> {
        let mut le = [0; 8];
        let width = match self.byte()? {
            small @ 0..=250 => return Ok(u64::from(small)),
            251 => 2,
            252 => 4,
            253 => 8,
            tag => {
                return Err(Damaged::new(
                    self.what,
                    self.at as u64 - 1,
                    "an integer",
                    format!("tag {tag}"),
                ));
            }
        };
        le[..width].copy_from_slice(self.take(width)?);
        Ok(u64::from_le_bytes(le))
    }

    /// A length, then that many bytes.
    ///
    /// # Errors
    /// When they are not all there.
    #[inline]
    pub fn bytes(&mut self) -> Result<&'a [u8], Damaged> {
        let len = self.uint()?;
        self.take(usize::try_from(len).unwrap_or(usize::MAX))
    }

    /// What stands before the next `end`, which is taken too.
    ///
    /// # Errors
    /// When there is none.
    #[inline]
    pub fn until(&mut self, end: u8) -> Result<&'a [u8], Damaged> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        match rest.iter().position(|&byte| byte == end) {
            Some(len) => {
                self.at += len + 1;
                Ok(&rest[..len])
            }
            None => Err(Damaged::new(
                self.what,
                self.at as u64,
                format!("a byte {end}"),
                format!("{} others", rest.len()),
            )),
        }
    }

    /// As [`Cursor::bytes`], as UTF-8.
    ///
    /// # Errors
    /// When they are not all there or not UTF-8.
    #[inline]
    pub fn text(&mut self) -> Result<&'a str, Damaged> {
        let at = self.at as u64;
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map_err(|_| Damaged::new(self.what, at, "UTF-8 text", "other bytes"))
    }

    /// A digest's 32 bytes.
    ///
    /// # Errors
    /// When fewer are left.
    #[inline]
    pub fn digest(&mut self) -> Result<crate::ids::Digest, Damaged> {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.take(32)?);
        Ok(crate::ids::Digest(digest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_integers_agree_with_bincode() {
        for value in [
            0,
            1,
            250,
            251,
            252,
            0xffff,
            0x1_0000,
            0xffff_ffff,
            0x1_0000_0000,
            u64::MAX,
        ] {
            let mut own = Vec::new();
            push_uint(&mut own, value);
            assert_eq!(own, encode(&value), "{value}");
            assert_eq!(Cursor::new(&own, "test").uint(), Ok(value));
        }
    }

    #[test]
    fn cut_and_oversized_input_is_an_error() {
        let good = encode(&("text".to_owned(), 70_000u64));
        for len in 0..good.len() {
            assert!(decode::<(String, u64)>(&good[..len], "test").is_err());
        }
        assert!(decode::<Vec<u8>>(&[253, 255, 255, 255, 255, 255, 255, 255, 127], "test").is_err());
    }
}
