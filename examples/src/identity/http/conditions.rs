//! Strong entity tags (RFC 9110), made of streams and sequences.
//!
//! `"user/ID@3"` is a user at sequence 3. `"group/ID@7+23"` is a group at sequence 7 whose members' sequences add up to
//! 23. A command changes one stream, so a condition on a write uses the part before the `+`. The conditional write
//! itself checks it.

use axum::http::HeaderMap;
use axum::http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};
use eventsrc_core::token::TokenCodec;
use eventsrc_core::{StreamKey, Token};
use uuid::Uuid;

use super::problem::Problem;
use crate::identity::views::{GroupRow, UserRow};

/// An entity tag without its quotes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag(String);

impl Tag {
    /// Tag of a stream at `sequence`.
    pub(super) fn of<K: StreamKey>(key: &K, sequence: u64) -> Self {
        Self(format!("{}/{}@{sequence}", key.category(), key.id()))
    }

    pub(super) fn of_user(user: &UserRow) -> Self {
        Self::of(&user.id, user.sequence)
    }

    /// Tag of a page of a group. It changes with the group and with each of its members.
    pub(super) fn of_group(group: &GroupRow) -> Self {
        Self(format!("{}+{}", Self::of(&group.id, group.sequence).0, group.members_sequence))
    }

    /// Tag of a page of users with the sequences of `token`: a hash, because the text of a token is long.
    pub(super) fn of_users(token: &Token, is_last: bool) -> Result<Self, Problem> {
        let text = TokenCodec::unsigned().with_limit(usize::MAX).encode(token)?;
        let end = if is_last { "" } else { "+" };
        Ok(Self(format!("users@{}{end}", Uuid::new_v5(&Uuid::NAMESPACE_OID, text.as_bytes()))))
    }

    /// Returns the tag as it is written in a header.
    pub(super) fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

/// The tags that a condition of a request names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// `*`: any current state.
    Anything,
    /// Any of these tags. The flag is true for a weak tag.
    OneOf(Vec<(bool, Tag)>),
}

impl Condition {
    /// Reads the `If-Match` header of a request.
    pub(super) fn if_match(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        Self::read(headers, &IF_MATCH)
    }

    /// Reads the `If-None-Match` header of a request.
    pub(super) fn if_none_match(headers: &HeaderMap) -> Result<Option<Self>, Problem> {
        Self::read(headers, &IF_NONE_MATCH)
    }

    fn read(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Self>, Problem> {
        let malformed =
            || Problem::malformed(format!("the header {name} must be `*` or a list of quoted tags"));
        let mut tags = None;
        for value in headers.get_all(name) {
            let value = value.to_str().map_err(|_| malformed())?.trim();
            if value == "*" {
                return Ok(Some(Self::Anything));
            }
            tags.get_or_insert_with(Vec::new).extend(list(value).ok_or_else(malformed)?);
        }
        Ok(tags.map(Self::OneOf))
    }

    /// Returns the sequences that strong tags name for the stream of `key`, for a condition on a write.
    pub(super) fn sequences<K: StreamKey>(&self, key: &K) -> Option<Vec<u64>> {
        let Self::OneOf(tags) = self else { return None };
        let prefix = Tag::of(key, 0).0;
        let prefix = prefix.trim_end_matches('0');
        let sequence = |tag: &Tag| tag.0.strip_prefix(prefix)?.split('+').next()?.parse().ok();
        Some(tags.iter().filter(|(weak, _)| !weak).filter_map(|(_, tag)| sequence(tag)).collect())
    }

    /// True if `tag` is named by a strong or a weak tag, as reads compare tags.
    pub(super) fn names(&self, tag: &Tag) -> bool {
        match self {
            Self::Anything => true,
            Self::OneOf(tags) => tags.iter().any(|(_, named)| named == tag),
        }
    }
}

/// Parses tags with commas between them; `None` if the text is malformed.
fn list(mut text: &str) -> Option<Vec<(bool, Tag)>> {
    let mut tags = Vec::new();
    loop {
        text = text.trim_start_matches([' ', '\t', ',']);
        if text.is_empty() {
            return (!tags.is_empty()).then_some(tags);
        }
        let weak = text.starts_with("W/");
        let (tag, rest) = text.strip_prefix("W/").unwrap_or(text).strip_prefix('"')?.split_once('"')?;
        tags.push((weak, Tag(tag.into())));
        text = rest.trim_start_matches([' ', '\t']);
        if !text.is_empty() && !text.starts_with(',') {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;
    use crate::identity::keys::{GroupId, UserId};

    fn condition(values: &[&'static str]) -> Result<Option<Condition>, Problem> {
        let values = values.iter().map(|value| (IF_MATCH, HeaderValue::from_static(value)));
        Condition::if_match(&values.collect())
    }

    #[test]
    fn parses_the_tags_of_a_header() {
        let tags = |tags: &[(bool, &str)]| {
            Condition::OneOf(tags.iter().map(|(weak, tag)| (*weak, Tag((*tag).into()))).collect())
        };
        for (values, expected) in [
            (&[][..], None),
            (&["*"], Some(Condition::Anything)),
            (&[r#""a@1""#], Some(tags(&[(false, "a@1")]))),
            (&[r#""a@1" ,W/"b,c" , "" "#], Some(tags(&[(false, "a@1"), (true, "b,c"), (false, "")]))),
            (&[r#""a""#, r#""b""#], Some(tags(&[(false, "a"), (false, "b")]))),
        ] {
            assert_eq!(condition(values).unwrap(), expected, "{values:?}");
        }
        for value in ["", "a", r#""a"#, r#""a" "b""#, r#"w/"a""#, r#""a"b"#, ","] {
            assert!(condition(&[value]).is_err(), "{value:?}");
        }
    }

    #[test]
    fn a_write_condition_uses_strong_tags_of_its_own_stream_only() {
        let (ada, id) = (UserId(Uuid::from_u128(1)), Uuid::from_u128(1));
        let text = format!(
            r#""user/{id}@3", "user/{id}@12+5", W/"user/{id}@4", "group/{id}@5", "user/{}@6", "user/{id}@", "3""#,
            Uuid::from_u128(2)
        );
        let condition = Condition::OneOf(list(&text).unwrap());
        assert_eq!(condition.sequences(&ada), Some(vec![3, 12]));
        assert_eq!(condition.sequences(&GroupId(id)), Some(vec![5]));
        assert_eq!(Condition::Anything.sequences(&ada), None);
        assert!(condition.names(&Tag::of(&ada, 4)) && !condition.names(&Tag::of(&ada, 6)));
    }
}
