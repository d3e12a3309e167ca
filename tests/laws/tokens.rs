//! Tokens are a lattice, and their text form is either decoded to the same token or refused.

use std::cmp::Ordering;

use eventsrc_core::stream::{Zone, ZonedSequence};
use eventsrc_core::token::{TokenCodec, TokenError, TokenKey};
use eventsrc_core::{Sequence, StreamName, Token};
use proptest::collection::vec;
use proptest::prelude::*;

fn names() -> impl Strategy<Value = StreamName> {
    prop_oneof!["[a-c]/[0-3]", "\\PC{1,8}/\\PC{1,40}"]
        .prop_filter_map("a name", |text: String| text.parse::<StreamName>().ok())
}

fn sequences() -> impl Strategy<Value = ZonedSequence> {
    (prop_oneof![1..4_u64, 1..=i64::MAX as u64], prop_oneof![Just(0), 0..3_u16, any::<u16>()])
        .prop_map(|(number, zone)| ZonedSequence::from_parts(number, Zone(zone)).unwrap())
}

fn tokens() -> impl Strategy<Value = Token> {
    vec((names(), sequences()), 0..6).prop_map(|entries| {
        entries.iter().fold(Token::default(), |token, (name, sequence)| {
            token.join(&Token::claimed(name, *sequence).unwrap())
        })
    })
}

fn join(a: &Token, b: &Token) -> Token {
    a.clone().join(b)
}

fn key(id: &str) -> TokenKey {
    TokenKey::new(id, format!("a secret of the key {id}")).unwrap()
}

proptest! {
    #[test]
    fn join_is_associative_commutative_and_idempotent(a in tokens(), b in tokens(), c in tokens()) {
        prop_assert_eq!(join(&a, &join(&b, &c)), join(&join(&a, &b), &c));
        prop_assert_eq!(join(&a, &b), join(&b, &a));
        prop_assert_eq!(&join(&a, &a), &a);
        prop_assert_eq!(&join(&a, &Token::default()), &a);
    }

    #[test]
    fn the_order_is_that_of_the_join(a in tokens(), b in tokens()) {
        let joined = join(&a, &b);
        prop_assert!(a <= joined && b <= joined);
        prop_assert_eq!(a <= b, joined == b);
        prop_assert_eq!(a.partial_cmp(&b) == Some(Ordering::Equal), a == b);
    }

    #[test]
    fn the_join_is_the_least_of_all_that_include_both(a in tokens(), b in tokens(), c in tokens()) {
        let above = join(&join(&a, &b), &c);
        prop_assert!(join(&a, &b) <= above);
    }

    #[test]
    fn a_join_is_trusted_if_both_sides_are(a in tokens(), b in tokens(), trust in any::<(bool, bool)>()) {
        let vouch = |token: Token, trust: bool| if trust { token.vouched() } else { token };
        let (a, b) = (vouch(a, trust.0), vouch(b, trust.1));
        prop_assert_eq!(join(&a, &b).is_trusted(), a.is_trusted() && b.is_trusted());
    }

    #[test]
    fn text_round_trips_and_is_safe_in_a_header(token in tokens(), signed in any::<bool>()) {
        let codec = if signed { TokenCodec::signed(key("k1"), []) } else { TokenCodec::unsigned() };
        let text = codec.encode(&token).unwrap();
        prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        let decoded = codec.decode(&text).unwrap();
        prop_assert_eq!(&decoded, &token);
        prop_assert_eq!(decoded.is_trusted(), signed);
        prop_assert_eq!(codec.encode(&decoded).unwrap(), text);
    }

    #[test]
    fn truncated_text_is_refused(token in tokens(), signed in any::<bool>(), cut in any::<prop::sample::Index>()) {
        let codec = if signed { TokenCodec::signed(key("k1"), []) } else { TokenCodec::unsigned() };
        let text = codec.encode(&token).unwrap();
        prop_assert!(codec.decode(&text[..cut.index(text.len())]).is_err());
    }

    #[test]
    fn garbage_is_refused_without_a_panic(text in "\\PC{0,60}|[12]\\.[A-Za-z0-9_-]{0,60}(\\.[a-z0-9]{1,4}\\.[A-Za-z0-9_-]{0,50})?") {
        prop_assert!(TokenCodec::signed(key("k1"), []).decode(&text).is_err());
        let _ = TokenCodec::unsigned().decode(&text);
    }

    #[test]
    fn a_changed_byte_is_a_forgery_or_garbage(token in tokens(), place in any::<prop::sample::Index>(), with in "[A-Za-z0-9_-]") {
        let codec = TokenCodec::signed(key("k1"), [key("k2")]);
        let text = codec.encode(&token).unwrap();
        let place = place.index(text.len());
        let forged = format!("{}{with}{}", &text[..place], &text[place + 1..]);
        prop_assume!(forged != text);
        prop_assert!(codec.decode(&forged).is_err(), "{forged}");
    }
}

fn some_token() -> Token {
    let name = |text: &str| text.parse::<StreamName>().unwrap();
    Token::claimed(&name("user/42"), 7_u64)
        .unwrap()
        .join(&Token::claimed(&name("group/a/b"), 300_u64).unwrap())
}

/// Written by the first version. Later versions must still read it.
const SAMPLE: &str = "1.Aglncm91cC9hL2KsAgAHdXNlci80MgcA";
const SIGNED_SAMPLE: &str =
    "1.Aglncm91cC9hL2KsAgAHdXNlci80MgcA.k1.SUZ9Gry8TE2wYZkF0ViudjaqyTvOANbbZa_01DHUUSM";

#[test]
fn stored_samples_stay_readable() {
    assert_eq!(TokenCodec::unsigned().decode(SAMPLE).unwrap(), some_token());
    assert_eq!(TokenCodec::signed(key("k1"), []).decode(SIGNED_SAMPLE).unwrap(), some_token());
}

#[test]
fn each_kind_of_invalid_text_has_its_own_error() {
    let codec = TokenCodec::signed(key("k2"), [key("k1")]);
    let old = TokenCodec::signed(key("k1"), []).encode(&some_token()).unwrap();
    assert!(codec.decode(&old).unwrap().is_trusted(), "a key that is being replaced is still read");
    let retired = TokenCodec::signed(key("k0"), []).encode(&some_token()).unwrap();
    assert_eq!(codec.decode(&retired), Err(TokenError::UnknownKey("k0".into())));
    let forged = TokenCodec::signed(TokenKey::new("k2", "another secret, same id").unwrap(), []);
    assert_eq!(codec.decode(&forged.encode(&some_token()).unwrap()), Err(TokenError::Forged));
    let unsigned = TokenCodec::unsigned().encode(&some_token()).unwrap();
    assert_eq!(codec.decode(&unsigned), Err(TokenError::Unsigned));
    assert_eq!(codec.decode("9.AA"), Err(TokenError::UnknownVersion("9".into())));
    assert!(matches!(codec.decode(""), Err(TokenError::Malformed(_))));
    assert!(matches!(
        TokenCodec::unsigned().decode(&unsigned[..unsigned.len() - 4]),
        Err(TokenError::Malformed(_))
    ));
    assert!(!TokenCodec::unsigned().decode(&old).unwrap().is_trusted(), "without keys nothing is trusted");
}

#[test]
fn a_token_is_bounded_at_both_ends() {
    let many = (0..1_000).fold(Token::default(), |token, id| {
        token.join(&Token::claimed(&StreamName::new("user", &id.to_string()).unwrap(), 1_u64).unwrap())
    });
    let codec = TokenCodec::unsigned();
    let Err(TokenError::TooLarge { size, limit: 4096 }) = codec.encode(&many) else {
        panic!("it is too large")
    };
    let wide = codec.clone().with_limit(size);
    let text = wide.encode(&many).unwrap();
    assert_eq!(text.len(), size);
    assert_eq!(wide.decode(&text).unwrap(), many);
    assert_eq!(codec.decode(&text), Err(TokenError::TooLarge { size, limit: 4096 }));
}

#[test]
fn no_secret_is_printed() {
    let codec = TokenCodec::signed(TokenKey::new("k1", "canary canary canary").unwrap(), []);
    assert!(!format!("{codec:?}").contains("canary"));
    for secret in ["", "short"] {
        assert_eq!(TokenKey::new("k1", secret).map(drop), Err(TokenError::BadKey));
    }
    for id in ["", "a.b", "a b", &"x".repeat(33)] {
        assert_eq!(TokenKey::new(id, "a secret that is long enough").map(drop), Err(TokenError::BadKey));
    }
}

#[test]
fn dependencies_are_readable_json() {
    let json = serde_json::to_string(&some_token()).unwrap();
    assert_eq!(json, r#"{"group/a/b":[300,0],"user/42":[7,0]}"#);
    let read: Token = serde_json::from_str(&json).unwrap();
    assert_eq!(read, some_token());
    assert!(!read.is_trusted());
}
