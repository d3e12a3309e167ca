//! Generated values: each one that is accepted comes back as it was, and each one that is refused does not.

use std::cell::Cell;
use std::error::Error;

use proptest::test_runner::{Config, TestCaseError, TestError, TestRunner};
use vec1::vec1;

use super::shapes::{SECRET, Shape, shapes};
use crate::codec::encoded_payloads::EncodedPayloads;
use crate::codec::{Codec, CodecError, Json, Kind, Kinds, Postcard, Unchecked, Versioned};

/// Texts of an error and its causes.
fn texts(error: &CodecError) -> String {
    let (mut texts, mut source) = (error.to_string(), error.source());
    while let Some(cause) = source {
        texts = format!("{texts}: {cause}");
        source = cause.source();
    }
    texts
}

/// Text of a value with each part of it, also one that is not serialized.
///
/// A value with a NaN does not equal itself, so nothing but its serialized form can be compared. This is the one limit of the
/// check: the skipped fields of such a value are left out.
fn shown(value: &Shape) -> String {
    let text = format!("{value:?}");
    if *value == value.clone() {
        return text;
    }
    text.replace("cached: 1", "cached: 0").replace("read_only: 1", "read_only: 0")
}

/// Text of the value that `stored` decodes to.
fn read<C: Codec<Shape>>(codec: &C, stored: &EncodedPayloads) -> Result<String, String> {
    EncodedPayloads::decode(codec, stored.version, &stored.bytes, &stored.lengths)
        .map(|values| shown(&values[0]))
        .map_err(|(_, error)| texts(&error))
}

/// Stores `value`, and also with `unchecked`, the same codec without its check. Returns true if it was accepted.
fn store<C: Codec<Shape>>(codec: &C, unchecked: &Unchecked<C>, value: Shape) -> Result<bool, String> {
    let values = vec1![value];
    let original = shown(&values[0]);
    let error = match EncodedPayloads::encode(codec, &values) {
        Ok(stored) => {
            return match read(codec, &stored) {
                Ok(back) if back == original => Ok(true),
                back => Err(format!("it was accepted, and comes back as {back:?}")),
            };
        }
        Err((_, error)) => error,
    };
    let texts = texts(&error);
    if texts.contains(SECRET) {
        return Err(format!("the error shows a value: {texts}"));
    }
    match (error, EncodedPayloads::encode(unchecked, &values)) {
        (CodecError::Unencodable { .. }, Err(_)) => Ok(false),
        (CodecError::Lossy { .. }, Ok(stored)) if read(unchecked, &stored) != Ok(original) => Ok(false),
        _ => Err(format!("it was refused without a reason: {texts}")),
    }
}

/// Stores generated values with the codec that `make` returns.
fn holds_for_generated_values<C: Codec<Shape>>(make: impl Fn() -> C) {
    let (codec, unchecked) = (make(), Unchecked(make()));
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: 3_000, failure_persistence: None, ..Config::default() });
    let tried = runner.run(&shapes(), |value| {
        let counter = match store(&codec, &unchecked, value).map_err(TestCaseError::fail)? {
            true => &accepted,
            false => &refused,
        };
        counter.set(counter.get() + 1);
        Ok(())
    });
    match tried {
        Ok(()) => {}
        Err(TestError::Fail(reason, value)) => panic!("{reason}: {value:?}"),
        Err(aborted) => panic!("{aborted}"),
    }
    assert!(accepted.get().min(refused.get()) > 200, "{accepted:?} accepted, {refused:?} refused");
}

#[test]
fn json_accepts_exactly_what_comes_back() {
    holds_for_generated_values(|| Json);
}

#[test]
fn kinds_accept_exactly_what_comes_back() {
    holds_for_generated_values(|| Kinds::new().with("Maybe", Kind::at(2)).with("Text", Kind::at(3)));
}

#[test]
fn postcard_accepts_exactly_what_comes_back() {
    holds_for_generated_values(|| Postcard);
}

#[test]
fn versioned_codecs_accept_exactly_what_comes_back() {
    holds_for_generated_values(|| Versioned::new(Json, 3));
    holds_for_generated_values(|| Versioned::new(Postcard, 2));
}
