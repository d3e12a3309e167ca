//! Comparison of a value with the one that its encoded bytes decode to.

use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_content::{Data, Number, Serializer, Value};

use super::contract::{Codec, CodecError};

/// Checks that `bytes`, which `codec` has just written, decode to a value that equals `value`.
///
/// # Errors
///
/// [`CodecError::Lossy`], with the path of the difference. It has no part of the value, which may be secret.
pub(super) fn read_back<T, C>(codec: &C, value: &T, bytes: &[u8]) -> Result<(), CodecError>
where
    T: Serialize + DeserializeOwned + PartialEq,
    C: Codec<T>,
{
    let version = codec.version_of(value);
    let lossy = |source| CodecError::Lossy { version, source };
    let decoded = match codec.decode(version, bytes) {
        Ok(decoded) => decoded,
        Err(error) => return Err(lossy(error.into())),
    };
    if decoded == *value {
        return Ok(());
    }
    // Either a real difference, or a value that does not equal itself, such as one with a NaN.
    let trees = Serializer::new().serialize(value).and_then(|tree| {
        let other = Serializer::new().serialize(&decoded)?;
        Ok((tree.into_owned(), other.into_owned()))
    });
    let (tree, other) = trees.map_err(|error| lossy(error.into()))?;
    #[expect(clippy::eq_op, reason = "a value with a NaN does not equal itself")]
    let equals_itself = *value == *value;
    match difference(&tree, &other) {
        Some(path) => Err(lossy(format!("it comes back different at {path}").into())),
        None if equals_itself => Err(lossy(
            "it comes back different in a part that is not serialized, or as another variant".into(),
        )),
        None => Ok(()),
    }
}

/// Path of a difference, such as `$.lines[2].price`, built from its end.
struct Path(Vec<String>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().rev().try_for_each(|step| f.write_str(step))
    }
}

/// Returns the path of the first difference of two values.
fn difference(one: &Value<'_>, other: &Value<'_>) -> Option<Path> {
    let here = || Some(Path(Vec::new()));
    match (one, other) {
        (Value::Number(a), Value::Number(b)) => {
            if equal_numbers(a, b) {
                None
            } else {
                here()
            }
        }
        (Value::Seq(a), Value::Seq(b)) | (Value::Tuple(a), Value::Tuple(b)) => elements(a, b),
        (Value::Option(Some(a)), Value::Option(Some(b))) => difference(a, b),
        (Value::Map(a), Value::Map(b)) if a.len() == b.len() => {
            // The order of a hash map may differ.
            let key_of = |key: &Value<'_>| match key {
                Value::String(name) => format!(".{name}"),
                _ => "[key]".into(),
            };
            a.iter().find_map(|(key, value)| {
                let found = b.iter().find(|(other, _)| difference(key, other).is_none());
                match found {
                    Some((_, other)) => difference(value, other).map(|path| path.below(key_of(key))),
                    None => here().map(|path| path.below(key_of(key))),
                }
            })
        }
        (Value::Struct(a), Value::Struct(b)) if a.name == b.name => data(&a.data, &b.data),
        (Value::Enum(a), Value::Enum(b)) if (&a.name, a.variant_index) == (&b.name, b.variant_index) => {
            data(&a.data, &b.data).map(|path| path.below(format!(".{}", a.variant)))
        }
        (a, b) => {
            if a == b {
                None
            } else {
                here()
            }
        }
    }
}

fn data(one: &Data<'_>, other: &Data<'_>) -> Option<Path> {
    match (one, other) {
        (Data::Unit, Data::Unit) => None,
        (Data::NewType { value: a }, Data::NewType { value: b }) => difference(a, b),
        (Data::Tuple { values: a }, Data::Tuple { values: b }) => elements(a, b),
        (Data::Struct { fields: a }, Data::Struct { fields: b }) => fields(a, b),
        _ => Some(Path(Vec::new())),
    }
}

fn elements(one: &[Value<'_>], other: &[Value<'_>]) -> Option<Path> {
    let pairs = one.iter().zip(other).enumerate();
    let found = pairs
        .into_iter()
        .find_map(|(index, (a, b))| difference(a, b).map(|path| path.below(format!("[{index}]"))));
    found.or_else(|| {
        (one.len() != other.len())
            .then(|| Path(Vec::new()).below(format!("[{}]", one.len().min(other.len()))))
    })
}

type Field<'a> = (std::borrow::Cow<'static, str>, Value<'a>);

fn fields(one: &[Field<'_>], other: &[Field<'_>]) -> Option<Path> {
    let found = one.iter().find_map(|(name, value)| {
        let path = match other.iter().find(|(known, _)| known == name) {
            Some((_, other)) => difference(value, other),
            None => Some(Path(Vec::new())),
        };
        path.map(|path| path.below(format!(".{name}")))
    });
    found.or_else(|| {
        let (name, _) = other.iter().find(|(name, _)| one.iter().all(|(known, _)| known != name))?;
        Some(Path(Vec::new()).below(format!(".{name}")))
    })
}

/// True if two numbers have the same type and the same bits.
fn equal_numbers(one: &Number, other: &Number) -> bool {
    match (one, other) {
        (Number::F32(a), Number::F32(b)) => a.to_bits() == b.to_bits(),
        (Number::F64(a), Number::F64(b)) => a.to_bits() == b.to_bits(),
        (a, b) => a == b,
    }
}

impl Path {
    fn below(mut self, step: String) -> Self {
        self.0.push(step);
        self
    }
}

#[cfg(test)]
mod tests;
