//! Text to pieces, each byte looked at once.

use super::Kind;
use super::languages::Language;

pub(super) struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    language: &'static Language,
    pieces: Vec<(std::ops::Range<usize>, Kind)>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str, language: &'static Language) -> Lexer<'a> {
        Lexer {
            bytes: text.as_bytes(),
            at: 0,
            language,
            pieces: Vec::new(),
        }
    }

    /// Pieces begin and end at ASCII bytes or at the text's ends, never within a
    /// character.
    pub(super) fn pieces(mut self) -> Vec<(std::ops::Range<usize>, Kind)> {
        while self.at < self.bytes.len() {
            let start = self.at;
            let kind = self.next();
            match self.pieces.last_mut() {
                Some((range, last)) if *last == kind => range.end = self.at,
                _ => self.pieces.push((start..self.at, kind)),
            }
        }
        self.pieces
    }

    fn begins(&self, text: &str) -> bool {
        self.bytes[self.at..].starts_with(text.as_bytes())
    }

    fn byte(&self, ahead: usize) -> u8 {
        self.bytes.get(self.at + ahead).copied().unwrap_or(0)
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        while self.at < self.bytes.len() && wanted(self.bytes[self.at]) {
            self.at += 1;
        }
    }

    fn is_line_start(&self) -> bool {
        let before = self.bytes[..self.at].iter().rev();
        before
            .take(64)
            .find(|&&byte| byte != b' ' && byte != b'\t')
            .is_none_or(|&byte| byte == b'\n')
    }

    fn next(&mut self) -> Kind {
        let language = self.language;
        if language.line_comments.iter().any(|start| self.begins(start)) {
            self.skip_while(|byte| byte != b'\n');
            return Kind::Comment;
        }
        if let Some((open, close)) = language.block_comment
            && self.begins(open)
        {
            self.block_comment(open, close);
            return Kind::Comment;
        }
        let byte = self.byte(0);
        if language.is_rust
            && let Some(kind) = self.rust(byte)
        {
            return kind;
        }
        if language.has_keys
            && let Some(quotes) = ["\"\"\"", "'''"].into_iter().find(|quotes| self.begins(quotes))
        {
            self.at += quotes.len();
            let rest = &self.bytes[self.at..];
            let end = rest
                .windows(quotes.len())
                .position(|window| window == quotes.as_bytes());
            self.at = end.map_or(self.bytes.len(), |end| self.at + end + quotes.len());
            return Kind::Text;
        }
        if language.quotes.contains(&byte) {
            self.quoted(byte);
            return Kind::Text;
        }
        if language.has_keys && byte == b'[' && self.is_line_start() {
            self.skip_while(|byte| byte != b'\n' && byte != b'#');
            return Kind::Name;
        }
        if byte.is_ascii_digit() {
            self.skip_while(|byte| is_word(byte) || byte == b'.');
            return Kind::Number;
        }
        if is_word(byte) {
            return self.word();
        }
        self.at += 1;
        Kind::Plain
    }

    fn word(&mut self) -> Kind {
        let (start, at_line_start) = (self.at, self.is_line_start());
        let dashed = self.language.has_keys;
        self.skip_while(|byte| is_word(byte) || dashed && (byte == b'-' || byte == b'.'));
        let word = &self.bytes[start..self.at];
        if dashed && at_line_start {
            return Kind::Mark;
        }
        if self.language.keywords.iter().any(|keyword| keyword.as_bytes() == word) {
            return Kind::Keyword;
        }
        match word.first() {
            Some(first)
                if self.language.is_rust && self.byte(0) == b'!' && self.byte(1) != b'=' && first.is_ascii() =>
            {
                self.at += 1;
                Kind::Mark
            }
            Some(first) if first.is_ascii_uppercase() => Kind::Name,
            _ => Kind::Plain,
        }
    }

    fn block_comment(&mut self, open: &str, close: &str) {
        let mut depth = 0usize;
        while self.at < self.bytes.len() {
            if self.begins(open) && (depth == 0 || self.language.nests) {
                depth += 1;
                self.at += open.len();
            } else if self.begins(close) {
                depth -= 1;
                self.at += close.len();
                if depth == 0 {
                    return;
                }
            } else {
                self.at += 1;
            }
        }
    }

    fn quoted(&mut self, quote: u8) {
        self.at += 1;
        while self.at < self.bytes.len() {
            match self.bytes[self.at] {
                b'\\' => self.at = (self.at + 2).min(self.bytes.len()),
                // Only Rust's go over lines.
                b'\n' if !self.language.is_rust => return,
                byte => {
                    self.at += 1;
                    if byte == quote {
                        return;
                    }
                }
            }
        }
    }

    /// What only Rust has: raw texts, lifetimes and characters, attributes.
    fn rust(&mut self, byte: u8) -> Option<Kind> {
        match byte {
            b'r' | b'b' | b'c' => {
                let mut ahead = 1 + usize::from(byte != b'r' && self.byte(1) == b'r');
                let is_raw = byte == b'r' || ahead == 2;
                let hashes = (0..255).take_while(|&i| is_raw && self.byte(ahead + i) == b'#').count();
                ahead += hashes;
                if self.byte(ahead) == b'\'' && byte == b'b' && !is_raw {
                    self.at += ahead;
                    self.quoted(b'\'');
                    return Some(Kind::Text);
                }
                if self.byte(ahead) != b'"' {
                    return None;
                }
                self.at += ahead;
                if !is_raw {
                    self.quoted(b'"');
                    return Some(Kind::Text);
                }
                self.at += 1;
                let end = [b"\"", &b"#".repeat(hashes)[..]].concat();
                let length = self.bytes[self.at..]
                    .windows(end.len())
                    .position(|window| window == end);
                self.at = length.map_or(self.bytes.len(), |length| self.at + length + end.len());
                Some(Kind::Text)
            }
            b'\'' => {
                // 'a' and '\n' are characters, 'a is a lifetime.
                if self.byte(1) == b'\\' || !is_word(self.byte(1)) {
                    let is_character = self.byte(1) == b'\\' || self.byte(2) == b'\'';
                    if !is_character {
                        self.at += 1;
                        return Some(Kind::Plain);
                    }
                    self.quoted(b'\'');
                    return Some(Kind::Text);
                }
                self.at += 1;
                self.skip_while(is_word);
                if self.byte(0) == b'\'' {
                    self.at += 1;
                    return Some(Kind::Text);
                }
                Some(Kind::Mark)
            }
            b'#' if self.byte(1) == b'[' || self.byte(1) == b'!' && self.byte(2) == b'[' => {
                self.skip_while(|byte| byte != b']' && byte != b'\n');
                self.at = (self.at + 1).min(self.bytes.len());
                Some(Kind::Mark)
            }
            _ => None,
        }
    }
}
