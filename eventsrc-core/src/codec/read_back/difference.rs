//! Path of the first difference of two values in serde's data model.

use std::borrow::Cow;
use std::fmt;

use serde_content::{Data, Number, Value};

/// Path of a difference, such as `$.Placed.lines[2].price`, built from its end.
///
/// `{2}` is the third entry of a map. Its key is not shown: it is a part of the value, which may be secret.
pub(super) struct Path(Vec<String>);

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        self.0.iter().rev().try_for_each(|step| f.write_str(step))
    }
}

impl Path {
    fn below(mut self, step: String) -> Self {
        self.0.push(step);
        self
    }
}

/// Returns the path of the first difference of two values.
pub(super) fn difference(one: &Value<'_>, other: &Value<'_>) -> Option<Path> {
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
        // The order of a hash map may differ.
        (Value::Map(a), Value::Map(b)) if a.len() == b.len() => {
            a.iter().enumerate().find_map(|(index, (key, value))| {
                let found = b.iter().find(|(other, _)| difference(key, other).is_none());
                let path = found.map_or_else(here, |(_, other)| difference(value, other));
                path.map(|path| path.below(format!("{{{index}}}")))
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

type Field<'a> = (Cow<'static, str>, Value<'a>);

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
