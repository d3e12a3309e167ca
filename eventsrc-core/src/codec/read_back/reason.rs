//! Why a value cannot be read back, without a part of the value.

use std::error::Error;

use serde_json::error::Category;

/// Returns the cause of `error`, which a codec returned for bytes that it has just written.
///
/// serde shows the value that it did not expect, such as `invalid type: string "hunter2", expected u32`. An error of a put
/// is logged, and the value may be secret, so it is left out, and so is each text of unknown origin.
pub(super) fn reason(error: &(dyn Error + 'static)) -> String {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(error) = cause.downcast_ref::<serde_json::Error>() {
            // An error of the syntax or of the end shows nothing.
            let is_data = error.classify() == Category::Data;
            return if is_data { without_value(&error.to_string()) } else { error.to_string() };
        }
        if let Some(error) = cause.downcast_ref::<postcard::Error>() {
            // It has only fixed texts.
            return error.to_string();
        }
        source = cause.source();
    }
    UNTOLD.into()
}

const UNTOLD: &str = "its type refuses it";

/// Beginnings of serde's texts that only have names of the type in them.
const OF_TYPES: [&str; 3] =
    ["missing field `", "duplicate field `", "data did not match any variant of untagged enum "];

/// Beginnings of serde's texts that have a value in them, which ends before what was expected.
const OF_VALUES: [&str; 3] = ["invalid type", "invalid value", "invalid length"];

/// Returns serde's text `text` without the value in it.
fn without_value(text: &str) -> String {
    if OF_TYPES.iter().any(|start| text.starts_with(start)) {
        return text.to_owned();
    }
    let Some(what) = OF_VALUES.iter().find(|start| text.starts_with(*start)) else { return UNTOLD.into() };
    let expected = text.rfind(", expected ").map_or("", |at| &text[at..]);
    format!("{what}{expected}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_value_is_told() {
        for (text, told) in [
            ("missing field `name` at line 1 column 2", "missing field `name` at line 1 column 2"),
            (r#"invalid type: string "a, expected `b", expected u32"#, "invalid type, expected u32"),
            ("invalid length 1, expected a tuple of size 2", "invalid length, expected a tuple of size 2"),
            ("unknown variant `hunter2`, expected `A` or `B`", UNTOLD),
            ("unknown field `, expected hunter2`, there are no fields", UNTOLD),
            ("hunter2 is no name", UNTOLD),
        ] {
            assert_eq!(without_value(text), told);
        }
    }
}
