//! Paths of files in git (bytes) as names of streams (text).

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use eventsrc_core::StreamKey;

/// Path of a file in a repository: any bytes without NUL. Each path names one stream.
///
/// Paths are ordered by their bytes, as in git. The text of a path is what `git ls-tree` prints: the path itself if it
/// is plain ASCII, otherwise the path between double quotes and with escapes. Parsing the text returns the same path.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(Box<[u8]>);

/// The bytes that are escaped with one letter, and the letter.
const LETTERS: [(u8, u8); 9] = [
    (7, b'a'),
    (8, b'b'),
    (9, b't'),
    (10, b'n'),
    (11, b'v'),
    (12, b'f'),
    (13, b'r'),
    (b'"', b'"'),
    (b'\\', b'\\'),
];

impl FilePath {
    /// Category of the streams.
    pub const CATEGORY: &str = "file";

    /// Creates a path from its bytes.
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Returns the bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Parses a path as git prints it; `None` if git prints no path as `text`.
    pub fn from_quoted(text: &str) -> Option<Self> {
        let path = match text.strip_prefix('"') {
            Some(rest) => Self(unescape(rest.strip_suffix('"')?.as_bytes())?.into()),
            None => Self::new(text.as_bytes()),
        };
        (path.quoted() == text).then_some(path)
    }

    /// Returns the path as git prints it.
    pub fn quoted(&self) -> Cow<'_, str> {
        match std::str::from_utf8(&self.0) {
            Ok(text) if self.0.iter().all(|byte| is_plain(*byte)) => text.into(),
            _ => escape(&self.0).into(),
        }
    }
}

impl StreamKey for FilePath {
    fn category(&self) -> &str {
        Self::CATEGORY
    }

    fn id(&self) -> Cow<'_, str> {
        self.quoted()
    }

    fn from_parts(category: &str, id: &str) -> Option<Self> {
        (category == Self::CATEGORY && !id.is_empty()).then(|| Self::from_quoted(id))?
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.quoted())
    }
}

fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

fn escape(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() + 16);
    text.push('"');
    for byte in bytes {
        match LETTERS.iter().find(|(special, _)| special == byte) {
            Some((_, letter)) => text.extend(['\\', char::from(*letter)]),
            None if is_plain(*byte) => text.push(char::from(*byte)),
            None => write!(text, "\\{byte:03o}").expect("writing to a string cannot fail"),
        }
    }
    text.push('"');
    text
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        let escaped = rest.next()?;
        if let Some((special, _)) = LETTERS.iter().find(|(_, letter)| *letter == escaped) {
            bytes.push(*special);
            continue;
        }
        let mut octal = 0;
        for digit in [Some(escaped), rest.next(), rest.next()] {
            octal = octal * 8 + char::from(digit?).to_digit(8)?;
        }
        bytes.push(u8::try_from(octal).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_read_back_from_its_text() {
        for byte in 1..=u8::MAX {
            for bytes in [vec![byte], vec![b'a', byte, b'7'], vec![byte, byte]] {
                let path = FilePath::new(&bytes);
                assert!(path.quoted().is_ascii(), "{path}");
                assert_eq!(FilePath::from_parts(FilePath::CATEGORY, &path.id()), Some(path));
            }
        }
    }

    #[test]
    fn text_that_git_does_not_print_is_no_path() {
        for text in
            ["", "\"", "\"plain\"", "é", "\"\\q\"", "\"\\777\"", "\"\\1\"", "\"\\", "a\\b", "\"\\011\""]
        {
            assert_eq!(FilePath::from_parts(FilePath::CATEGORY, text), None, "{text}");
        }
        assert_eq!(FilePath::from_parts("user", "a"), None);
    }
}
