//! Values of generated serde shapes: each attribute that can lose something, around and inside each other.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

/// Value with any attribute at any level, which is a variant in serde's default representation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum Shape {
    Unit,
    Flag(bool),
    Small(i8),
    Whole(u64),
    Signed(i64),
    Wide(u128),
    SignedWide(i128),
    Single(f32),
    Real(f64),
    Letter(char),
    Text(String),
    Maybe(Option<Box<Shape>>),
    MaybeReal(Option<f64>),
    MaybeMaybe(Option<Option<u8>>),
    MaybeNothing(Option<()>),
    MaybeTransparent(Option<Transparent>),
    MaybeUntagged(Option<Box<Untagged>>),
    Many(Vec<Shape>),
    Pair(u8, Box<Shape>),
    ByName(BTreeMap<String, Shape>),
    ByNumber(BTreeMap<i32, Shape>),
    ByWide(BTreeMap<u128, u8>),
    ByFlag(BTreeMap<bool, u8>),
    ByLetter(BTreeMap<char, u8>),
    ByKind(BTreeMap<Kind, Shape>),
    ByPair(BTreeMap<(u8, u8), u8>),
    Internal(Box<Internal>),
    Adjacent(Box<Adjacent>),
    Untagged(Box<Untagged>),
    Flattened(Box<Flattened>),
    FlattenedMap(FlattenedMap),
    Skipping(Box<Skipping>),
    Aliased(Aliased),
}

/// Value that is transparent, so that two options meet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Transparent(Option<u8>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    First,
    #[serde(rename = "2")]
    Second,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type")]
pub(super) enum Internal {
    Unit,
    Struct {
        inner: Shape,
    },
    Map(BTreeMap<i32, u8>),
    Named(BTreeMap<String, u8>),
    Wide {
        number: u128,
    },
    Flattened(Flattened),
    Skipping(Skipping),
    /// A tag can only be written into a map or a struct.
    Inside(Shape),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", content = "content")]
pub(super) enum Adjacent {
    Unit,
    Inside(Shape),
    Maybe(Option<u8>),
    Struct { inner: Shape },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Untagged {
    Nothing,
    Maybe(Option<u8>),
    Real(f64),
    Whole(i64),
    Text(String),
    Letter(char),
    One { a: u8 },
    Two { a: u8, b: Option<u8> },
    Pair(u8, u8),
    Many(Vec<u8>),
    Inside(Shape),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Flattened {
    name: u8,
    #[serde(flatten)]
    inner: FlattenedInside,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FlattenedInside {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    note: Option<f64>,
    value: Shape,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FlattenedMap {
    name: u8,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Skipping {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    optional: Option<u8>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    required: Vec<u8>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inner: Option<Shape>,
    #[serde(default = "seven", skip_serializing_if = "is_zero")]
    seven: u8,
    #[serde(skip)]
    cached: u8,
}

fn seven() -> u8 {
    7
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u8) -> bool {
    *number == 0
}

/// Names that differ when they are read and written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Aliased {
    #[serde(rename(serialize = "new", deserialize = "old"), default)]
    renamed: u8,
    #[serde(skip_deserializing)]
    written_only: u8,
    #[serde(skip_serializing, default)]
    read_only: u8,
}

/// Text of a value that must not stand in an error.
pub(super) const SECRET: &str = "hunter2";

fn texts() -> impl Strategy<Value = String> {
    prop_oneof![Just(SECRET.to_owned()), Just("name".into()), Just("a".into()), any::<String>()]
}

fn reals() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits), Just(f64::NAN), Just(1.0), Just(-0.0)]
}

/// Values of all shapes, some of them nested deeper than 128 levels.
pub(super) fn shapes() -> impl Strategy<Value = Shape> {
    let nested = leaves().prop_recursive(5, 24, 3, |inner| around(&inner));
    prop_oneof![
        8 => nested.clone(),
        1 => (nested, 100..200_usize, any::<bool>()).prop_map(|(inner, depth, is_list)| deep(inner, depth, is_list)),
    ]
}

fn deep(inner: Shape, depth: usize, is_list: bool) -> Shape {
    let wrap = |inner| match is_list {
        true => Shape::Many(vec![inner]),
        false => Shape::Adjacent(Box::new(Adjacent::Inside(inner))),
    };
    (0..depth / 2).fold(inner, |inner, _| wrap(inner))
}

fn leaves() -> BoxedStrategy<Shape> {
    let numbers = prop_oneof![
        any::<i8>().prop_map(Shape::Small),
        any::<u64>().prop_map(Shape::Whole),
        any::<i64>().prop_map(Shape::Signed),
        any::<u128>().prop_map(Shape::Wide),
        any::<i128>().prop_map(Shape::SignedWide),
        any::<u32>().prop_map(|bits| Shape::Single(f32::from_bits(bits))),
        reals().prop_map(Shape::Real),
    ];
    let options = prop_oneof![
        any::<Option<()>>().prop_map(Shape::MaybeNothing),
        any::<Option<Option<u8>>>().prop_map(Shape::MaybeMaybe),
        any::<Option<Option<u8>>>().prop_map(|value| Shape::MaybeTransparent(value.map(Transparent))),
        proptest::option::of(reals()).prop_map(Shape::MaybeReal),
    ];
    let maps = prop_oneof![
        btree_map(any::<u128>(), any::<u8>(), 0..3).prop_map(Shape::ByWide),
        btree_map(any::<bool>(), any::<u8>(), 0..3).prop_map(Shape::ByFlag),
        btree_map(any::<char>(), any::<u8>(), 0..3).prop_map(Shape::ByLetter),
        btree_map(any::<(u8, u8)>(), any::<u8>(), 0..2).prop_map(Shape::ByPair),
        (any::<u8>(), named()).prop_map(|(name, rest)| Shape::FlattenedMap(FlattenedMap { name, rest })),
    ];
    let others = prop_oneof![
        Just(Shape::Unit),
        any::<bool>().prop_map(Shape::Flag),
        any::<char>().prop_map(Shape::Letter),
        texts().prop_map(Shape::Text),
        (0..2_u8, 0..2_u8, 0..2_u8).prop_map(|(renamed, written_only, read_only)| {
            Shape::Aliased(Aliased { renamed, written_only, read_only })
        }),
        untagged_leaves().prop_map(|value| Shape::Untagged(Box::new(value))),
        proptest::option::of(untagged_leaves()).prop_map(|value| Shape::MaybeUntagged(value.map(Box::new))),
    ];
    prop_oneof![numbers, options, maps, others].boxed()
}

fn named() -> impl Strategy<Value = BTreeMap<String, u8>> {
    btree_map(texts(), any::<u8>(), 0..3)
}

fn untagged_leaves() -> impl Strategy<Value = Untagged> {
    prop_oneof![
        Just(Untagged::Nothing),
        any::<Option<u8>>().prop_map(Untagged::Maybe),
        reals().prop_map(Untagged::Real),
        any::<i64>().prop_map(Untagged::Whole),
        texts().prop_map(Untagged::Text),
        any::<char>().prop_map(Untagged::Letter),
        any::<u8>().prop_map(|a| Untagged::One { a }),
        any::<(u8, Option<u8>)>().prop_map(|(a, b)| Untagged::Two { a, b }),
        any::<(u8, u8)>().prop_map(|(a, b)| Untagged::Pair(a, b)),
        vec(any::<u8>(), 0..4).prop_map(Untagged::Many),
    ]
}

/// Shapes that contain `inner`.
fn around(inner: &BoxedStrategy<Shape>) -> impl Strategy<Value = Shape> + use<> {
    let values = || inner.clone();
    let kinds = prop_oneof![Just(Kind::First), Just(Kind::Second)];
    let containers = prop_oneof![
        proptest::option::of(values()).prop_map(|value| Shape::Maybe(value.map(Box::new))),
        vec(values(), 0..3).prop_map(Shape::Many),
        (any::<u8>(), values()).prop_map(|(first, value)| Shape::Pair(first, Box::new(value))),
        btree_map(texts(), values(), 0..3).prop_map(Shape::ByName),
        btree_map(any::<i32>(), values(), 0..3).prop_map(Shape::ByNumber),
        btree_map(kinds, values(), 0..3).prop_map(Shape::ByKind),
    ];
    let adjacent = prop_oneof![
        Just(Adjacent::Unit),
        any::<Option<u8>>().prop_map(Adjacent::Maybe),
        values().prop_map(Adjacent::Inside),
        values().prop_map(|inner| Adjacent::Struct { inner }),
    ];
    let attributes = prop_oneof![
        internal(values()).prop_map(|value| Shape::Internal(Box::new(value))),
        adjacent.prop_map(|value| Shape::Adjacent(Box::new(value))),
        values().prop_map(|value| Shape::Untagged(Box::new(Untagged::Inside(value)))),
        flattened(values()).prop_map(|value| Shape::Flattened(Box::new(value))),
        skipping(values()).prop_map(|value| Shape::Skipping(Box::new(value))),
    ];
    prop_oneof![containers, attributes]
}

fn internal(values: BoxedStrategy<Shape>) -> impl Strategy<Value = Internal> {
    prop_oneof![
        Just(Internal::Unit),
        values.clone().prop_map(|inner| Internal::Struct { inner }),
        btree_map(any::<i32>(), any::<u8>(), 0..3).prop_map(Internal::Map),
        named().prop_map(Internal::Named),
        any::<u128>().prop_map(|number| Internal::Wide { number }),
        flattened(values.clone()).prop_map(Internal::Flattened),
        skipping(values.clone()).prop_map(Internal::Skipping),
        values.prop_map(Internal::Inside),
    ]
}

fn flattened(values: BoxedStrategy<Shape>) -> impl Strategy<Value = Flattened> {
    (any::<u8>(), proptest::option::of(reals()), values, named()).prop_map(|(name, note, value, rest)| {
        Flattened { name, inner: FlattenedInside { note, value }, rest }
    })
}

fn skipping(values: BoxedStrategy<Shape>) -> impl Strategy<Value = Skipping> {
    let inner = proptest::option::of(values);
    (any::<Option<u8>>(), vec(any::<u8>(), 0..3), inner, 0..9_u8, 0..2_u8).prop_map(
        |(optional, required, inner, seven, cached)| Skipping { optional, required, inner, seven, cached },
    )
}
