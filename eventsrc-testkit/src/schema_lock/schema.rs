//! JSON Schemas of the kinds of an enum, and their comparison.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// Returns the schema of each variant of `E`, in the default representation of enums. A type that is no such enum is one
/// variant without a name.
pub(super) fn variants<E: JsonSchema>() -> BTreeMap<String, Value> {
    let settings = SchemaSettings::default().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut root = settings.into_generator().into_root_schema_for::<E>().to_value();
    strip_texts(&mut root);
    let parts = root.get("oneOf").and_then(Value::as_array).cloned().unwrap_or_else(|| vec![root.clone()]);
    let mut variants = BTreeMap::new();
    for part in parts {
        let listed = part.get("enum").and_then(Value::as_array).into_iter().flatten();
        let names: Vec<_> = part.get("const").into_iter().chain(listed).filter_map(Value::as_str).collect();
        if !names.is_empty() {
            variants.extend(names.into_iter().map(|name| (name.to_owned(), Value::Null)));
        } else if let Some((name, body)) = only_property(&part) {
            variants.insert(name, body);
        } else {
            return BTreeMap::from([(String::new(), root)]);
        }
    }
    variants
}

/// The name and the schema of the property of an object that has just one, which is required.
fn only_property(schema: &Value) -> Option<(String, Value)> {
    let properties = schema.get("properties")?.as_object()?;
    let [name] = &schema.get("required")?.as_array()?[..] else { return None };
    let (only, body) = properties.iter().next().filter(|_| properties.len() == 1)?;
    (name == only).then(|| (only.clone(), body.clone()))
}

/// Removes titles and descriptions, which come from doc comments.
fn strip_texts(schema: &mut Value) {
    match schema {
        Value::Object(object) => {
            object.remove("title");
            object.remove("description");
            for (keyword, value) in object.iter_mut() {
                match value {
                    // The keys of these are names.
                    Value::Object(named) if matches!(keyword.as_str(), "properties" | "$defs") => {
                        named.values_mut().for_each(strip_texts);
                    }
                    value => strip_texts(value),
                }
            }
        }
        Value::Array(parts) => parts.iter_mut().for_each(strip_texts),
        _ => {}
    }
}

/// Returns the optional fields that `new` has in addition to `old`; `None` if it differs in anything else.
pub(super) fn added_fields(old: &Value, new: &Value) -> Option<BTreeSet<String>> {
    let (old, new) = (old.as_object()?, new.as_object()?);
    let empty = Map::new();
    let properties = |schema: &Map<String, Value>| {
        schema.get("properties").and_then(Value::as_object).unwrap_or(&empty).clone()
    };
    let (before, mut after) = (properties(old), properties(new));
    let added: BTreeSet<_> = after.keys().filter(|name| !before.contains_key(*name)).cloned().collect();
    after.retain(|name, _| !added.contains(name));
    let without_properties = |schema: &Map<String, Value>| {
        let mut schema = schema.clone();
        schema.remove("properties");
        schema
    };
    // Required fields are listed outside of the properties, so an added one is a difference there.
    (before == after && without_properties(old) == without_properties(new)).then_some(added)
}
