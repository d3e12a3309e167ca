//! Tag of an enum in serde's default JSON representation. No other file knows its form.
//!
//! A variant with fields is `{"Tag":body}`, and one without is `"Tag"`. A version after 1 is part of the tag: `Tag@2`.

/// JSON text of an enum, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tagged<'a> {
    /// Name of the variant, without a version.
    pub(super) name: &'a str,
    /// Version of the variant.
    pub(super) version: u32,
    /// JSON text of the fields; `null` if there are none.
    pub(super) body: &'a [u8],
    /// JSON text of the value before the end of the name, and after the version.
    pub(super) around: (&'a [u8], &'a [u8]),
}

impl<'a> Tagged<'a> {
    /// Takes `json` apart; `None` if it is not an enum, or its tag has characters that JSON escapes.
    pub(super) fn parse(json: &'a [u8]) -> Option<Self> {
        let (start, has_body) = match json.trim_ascii_start() {
            [b'{', rest @ ..] => (rest.trim_ascii_start(), true),
            rest => (rest, false),
        };
        let start = start.strip_prefix(b"\"")?;
        let length = start.iter().position(|byte| matches!(byte, b'"' | b'\\'))?;
        let (tag, after) = start.split_at(length);
        let rest = after.strip_prefix(b"\"")?.trim_ascii();
        let body = match has_body {
            true => rest.strip_prefix(b":")?.strip_suffix(b"}")?,
            false if rest.is_empty() => b"null",
            false => return None,
        };
        let tag = std::str::from_utf8(tag).ok()?;
        let (name, version) = match tag.rsplit_once('@') {
            Some((name, version)) => (name, version.parse().ok().filter(|version| *version > 0)?),
            None => (tag, 1),
        };
        let around = (&json[..json.len() - start.len() + name.len()], after);
        Some(Self { name, version, body, around })
    }

    /// True if the tag has a version.
    pub(super) fn has_version(&self, json: &[u8]) -> bool {
        self.around.0.len() + self.around.1.len() < json.len()
    }

    /// Returns the JSON text with another version; 1 is not written.
    pub(super) fn with_version(&self, version: u32) -> Vec<u8> {
        let (before, after) = self.around;
        let mut json = Vec::with_capacity(before.len() + after.len() + 4);
        json.extend_from_slice(before);
        if version > 1 {
            json.push(b'@');
            json.extend_from_slice(version.to_string().as_bytes());
        }
        json.extend_from_slice(after);
        json
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_apart_and_put_together() {
        for (json, name, version, body) in [
            (r#"{"Opened":{"a":1}}"#, "Opened", 1, r#"{"a":1}"#),
            (r#"{"Opened@12":[1,"}"]}"#, "Opened", 12, r#"[1,"}"]"#),
            (r#""Closed""#, "Closed", 1, "null"),
            (r#""Closed@2""#, "Closed", 2, "null"),
            (r#"{"a@b@3":7}"#, "a@b", 3, "7"),
        ] {
            let tagged = Tagged::parse(json.as_bytes()).unwrap();
            assert_eq!((tagged.name, tagged.version, tagged.body), (name, version, body.as_bytes()));
            assert_eq!(tagged.with_version(version), json.as_bytes());
        }
        let spaced = Tagged::parse(b" { \"Opened@2\" : {} } ").unwrap();
        assert_eq!((spaced.name, spaced.version, spaced.body.trim_ascii()), ("Opened", 2, &b"{}"[..]));
        assert_eq!(spaced.with_version(1), b" { \"Opened\" : {} } ");
    }

    #[test]
    fn other_values_have_no_tag() {
        for json in [
            "",
            "7",
            "null",
            "[]",
            "{}",
            r#"{"a"}"#,
            r#"{"a":1"#,
            r#""a"b"#,
            r#"{"a\n":1}"#,
            r#""a@x""#,
            r#""a@0""#,
        ] {
            assert_eq!(Tagged::parse(json.as_bytes()), None, "{json}");
        }
    }
}
