//! Source text as spans that a style sheet colours.
//!
//! Not a highlighting library: those match regular expressions, which hostile text can
//! make take for ever, and know no TOML. This looks at each byte once. What it does not
//! know is plain text; it is never wrong about what the text is, only about its colours.

use super::visible;
use maud::{Markup, html};

/// What a piece of text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Comment,
    Text,
    Number,
    Keyword,
    /// A type, by its capital; a table's header in TOML.
    Name,
    /// A macro, an attribute, a lifetime, a key.
    Mark,
}

impl Kind {
    fn class(self) -> Option<&'static str> {
        Some(match self {
            Kind::Plain => return None,
            Kind::Comment => "c",
            Kind::Text => "s",
            Kind::Number => "n",
            Kind::Keyword => "k",
            Kind::Name => "t",
            Kind::Mark => "m",
        })
    }
}

/// How a family of languages is written.
struct Language {
    line_comments: &'static [&'static str],
    block_comment: Option<(&'static str, &'static str)>,
    nests: bool,
    quotes: &'static [u8],
    is_rust: bool,
    /// `key = value` and `[table]`.
    has_keys: bool,
    keywords: &'static [&'static str],
}

const RUST: Language = Language {
    line_comments: &["//"],
    block_comment: Some(("/*", "*/")),
    nests: true,
    quotes: b"\"",
    is_rust: true,
    has_keys: false,
    keywords: &[
        "as",
        "async",
        "await",
        "box",
        "break",
        "const",
        "continue",
        "crate",
        "dyn",
        "else",
        "enum",
        "extern",
        "false",
        "fn",
        "for",
        "if",
        "impl",
        "in",
        "let",
        "loop",
        "macro_rules",
        "match",
        "mod",
        "move",
        "mut",
        "pub",
        "ref",
        "return",
        "self",
        "Self",
        "static",
        "struct",
        "super",
        "trait",
        "true",
        "try",
        "type",
        "union",
        "unsafe",
        "use",
        "where",
        "while",
        "yield",
    ],
};

const TOML: Language = Language {
    line_comments: &["#"],
    block_comment: None,
    nests: false,
    quotes: b"\"'",
    is_rust: false,
    has_keys: true,
    keywords: &["true", "false"],
};

const C: Language = Language {
    line_comments: &["//"],
    block_comment: Some(("/*", "*/")),
    nests: false,
    quotes: b"\"'`",
    is_rust: false,
    has_keys: false,
    keywords: &[
        "auto",
        "break",
        "case",
        "catch",
        "char",
        "class",
        "const",
        "continue",
        "default",
        "delete",
        "do",
        "double",
        "else",
        "enum",
        "export",
        "extends",
        "extern",
        "false",
        "float",
        "for",
        "func",
        "function",
        "go",
        "goto",
        "if",
        "import",
        "in",
        "inline",
        "int",
        "interface",
        "let",
        "long",
        "namespace",
        "new",
        "null",
        "nullptr",
        "operator",
        "package",
        "private",
        "protected",
        "public",
        "register",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "struct",
        "switch",
        "template",
        "this",
        "throw",
        "true",
        "try",
        "type",
        "typedef",
        "typename",
        "union",
        "unsigned",
        "using",
        "var",
        "virtual",
        "void",
        "volatile",
        "while",
    ],
};

const SCRIPT: Language = Language {
    line_comments: &["#"],
    block_comment: None,
    nests: false,
    quotes: b"\"'",
    is_rust: false,
    has_keys: false,
    keywords: &[
        "and", "as", "assert", "break", "case", "class", "continue", "def", "do", "done", "elif", "else", "end",
        "esac", "except", "export", "false", "False", "fi", "finally", "for", "from", "function", "global", "if",
        "import", "in", "is", "lambda", "local", "None", "not", "or", "pass", "raise", "return", "self", "then",
        "true", "True", "try", "while", "with", "yield",
    ],
};

const JSON: Language = Language {
    line_comments: &[],
    block_comment: None,
    nests: false,
    quotes: b"\"",
    is_rust: false,
    has_keys: false,
    keywords: &["true", "false", "null"],
};

/// The language of a file, by its name.
fn language(path: &str) -> Option<&'static Language> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let (stem, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    Some(match extension {
        "rs" => &RUST,
        "toml" | "lock" => &TOML,
        "orig" if stem.ends_with(".toml") => &TOML,
        "c" | "h" | "cc" | "cpp" | "hpp" | "cxx" | "m" | "js" | "ts" | "jsx" | "tsx" | "mjs" | "go" | "java" | "cs"
        | "swift" | "kt" | "css" | "glsl" | "wgsl" | "proto" => &C,
        "py" | "sh" | "bash" | "rb" | "pl" | "yml" | "yaml" | "cmake" | "mk" | "nix" => &SCRIPT,
        "json" => &JSON,
        _ if matches!(name, "Makefile" | "Dockerfile" | "justfile" | ".gitignore") => &SCRIPT,
        _ => return None,
    })
}

/// The lines of `text`, as `path` is written.
pub(super) fn lines(path: &str, text: &str) -> Vec<Markup> {
    let text = &text.replace("\r\n", "\n");
    let pieces = match language(path) {
        Some(language) => Lexer::new(text, language).pieces(),
        None => vec![(0..text.len(), Kind::Plain)],
    };
    let mut lines = Vec::new();
    let mut line: Vec<(&str, Kind)> = Vec::new();
    for (range, kind) in pieces {
        let mut rest = &text[range];
        while let Some((before, behind)) = rest.split_once('\n') {
            line.push((before, kind));
            lines.push(markup(&line));
            line.clear();
            rest = behind;
        }
        line.push((rest, kind));
    }
    if line.iter().any(|(text, _)| !text.is_empty()) {
        lines.push(markup(&line));
    }
    lines
}

fn markup(line: &[(&str, Kind)]) -> Markup {
    html! {
        @for (text, kind) in line.iter().filter(|(text, _)| !text.is_empty()) {
            @match kind.class() {
                Some(class) => { span class=(class) { (visible(text)) } }
                None => { (visible(text)) }
            }
        }
    }
}

struct Lexer<'a> {
    bytes: &'a [u8],
    at: usize,
    language: &'static Language,
    pieces: Vec<(std::ops::Range<usize>, Kind)>,
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80
}

impl<'a> Lexer<'a> {
    fn new(text: &'a str, language: &'static Language) -> Lexer<'a> {
        Lexer {
            bytes: text.as_bytes(),
            at: 0,
            language,
            pieces: Vec::new(),
        }
    }

    /// Pieces begin and end at ASCII bytes or at the text's ends, never within a
    /// character.
    fn pieces(mut self) -> Vec<(std::ops::Range<usize>, Kind)> {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn html(path: &str, text: &str) -> String {
        let lines = lines(path, text).into_iter().map(maud::Markup::into_string);
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn rust_is_told_apart() {
        for (text, expected) in [
            (
                "let x = 1;",
                "<span class=\"k\">let</span> x = <span class=\"n\">1</span>;",
            ),
            ("'a' 'a", "<span class=\"s\">'a'</span> <span class=\"m\">'a</span>"),
            ("r#\"a\"b\"# c", "<span class=\"s\">r#&quot;a&quot;b&quot;#</span> c"),
            ("/* a /* b */ c */ d", "<span class=\"c\">/* a /* b */ c */</span> d"),
            (
                "println!(Vec)",
                "<span class=\"m\">println!</span>(<span class=\"t\">Vec</span>)",
            ),
            ("a // b\nc", "a <span class=\"c\">// b</span>\nc"),
            (
                "\"a\nb\"",
                "<span class=\"s\">&quot;a</span>\n<span class=\"s\">b&quot;</span>",
            ),
        ] {
            assert_eq!(html("a.rs", text), expected, "{text}");
        }
        let toml = html("Cargo.toml", "[a]\nb-c = \"d\" # e");
        assert!(toml.contains("<span class=\"m\">b-c</span>"), "{toml}");
        let toml = html("Cargo.toml", "a = \"\"\"\nb = \\\"\n\"\"\"\nc = 1");
        assert!(
            toml.contains("<span class=\"s\">b = ") && toml.contains("<span class=\"m\">c</span>"),
            "{toml}"
        );
    }

    #[test]
    fn whatever_it_is_nothing_is_lost_or_let_through() {
        let mut random = fastrand::Rng::with_seed(7);
        let parts = [
            "\"",
            "'",
            "/*",
            "*/",
            "//",
            "\n",
            "r#",
            "#[",
            "]",
            "\\",
            "é",
            "a",
            "<script>",
            "&",
            "b'",
            "1.",
            "!",
            "[",
            "\u{1F980}",
        ];
        for round in 0..3000 {
            let text: String = (0..random.usize(..30))
                .map(|_| parts[random.usize(..parts.len())])
                .collect();
            let path = ["a.rs", "a.toml", "a.c", "a.py", "a.json", "a"][round % 6];
            let html = html(path, &text);
            assert!(!html.contains("<script"), "{text}");
            let mut plain = html.replace("</span>", "");
            while let Some(start) = plain.find("<span") {
                let end = start + plain[start..].find('>').unwrap();
                plain.replace_range(start..=end, "");
            }
            let plain = plain
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&amp;", "&");
            let expected: Vec<&str> = text.strip_suffix('\n').unwrap_or(&text).split('\n').collect();
            assert_eq!(plain, expected.join("\n"), "{text:?}");
        }
    }
}
