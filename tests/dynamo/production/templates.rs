//! The CloudFormation templates and the meaning of their policies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

/// Prefix of the ARNs of all tables.
const BEFORE: &str = "arn:aws:dynamodb:eu-west-1:000000000000:table/";

/// The tables of the template, with `table` for its parameter.
pub(super) fn tables(table: &str) -> BTreeMap<String, Value> {
    resources("tables.json", "AWS::DynamoDB::Table", table)
}

/// The policies of the template, with `table` for its parameter.
pub(super) fn policies(table: &str) -> BTreeMap<String, Policy> {
    let resources = resources("policies.json", "AWS::IAM::ManagedPolicy", table);
    let policy = |resource: &Value| Policy::new(&resource["Properties"]["PolicyDocument"]);
    resources.iter().map(|(role, resource)| (role.clone(), policy(resource))).collect()
}

/// The text in `value`. Panics if it is not a string.
pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

/// The permissions of a role.
#[derive(Debug, Clone)]
pub(super) struct Policy(Vec<Statement>);

#[derive(Debug, Clone)]
struct Statement {
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
}

impl Policy {
    fn new(document: &Value) -> Self {
        assert_eq!(document["Version"], "2012-10-17");
        let texts = |value: &Value| match value {
            Value::Array(values) => values.iter().map(text).map(str::to_owned).collect(),
            value => vec![text(value).to_owned()],
        };
        let statement = |statement: &Value| {
            let names = BTreeSet::from_iter(statement.as_object().unwrap().keys().map(String::as_str));
            assert_eq!(
                names,
                BTreeSet::from(["Sid", "Effect", "Action", "Resource"]),
                "nothing else is understood"
            );
            let effect = text(&statement["Effect"]);
            assert!(["Allow", "Deny"].contains(&effect), "{effect}");
            let (actions, resources) = (texts(&statement["Action"]), texts(&statement["Resource"]));
            Statement { allows: effect == "Allow", actions, resources }
        };
        Self(document["Statement"].as_array().unwrap().iter().map(statement).collect())
    }

    /// The permissions of an administrator.
    pub(super) fn everything() -> Self {
        Self(vec![Statement { allows: true, actions: vec!["*".into()], resources: vec!["*".into()] }])
    }

    /// The statements of both.
    pub(super) fn and(&self, other: Self) -> Self {
        Self([self.0.clone(), other.0].concat())
    }

    /// True if a statement allows `action` on a table, or a part of one, and no statement denies it.
    pub(super) fn allows(&self, action: &str, table: &str) -> bool {
        let resource = format!("{BEFORE}{table}");
        let about = |patterns: &[String], text: &str| patterns.iter().any(|pattern| matches(pattern, text));
        let is_meant = |statement: &&Statement| {
            about(&statement.actions, action) && about(&statement.resources, &resource)
        };
        let meant = Vec::from_iter(self.0.iter().filter(is_meant));
        !meant.is_empty() && meant.iter().all(|statement| statement.allows)
    }

    /// Each allowed action, with its table or part of one.
    pub(super) fn allowed(&self) -> BTreeSet<(String, String)> {
        let of = |statement: &Statement| {
            let table = |resource: &String| resource.strip_prefix(BEFORE).unwrap().to_owned();
            let tables = Vec::from_iter(statement.resources.iter().map(table));
            let each = |action: &String| {
                tables.iter().map(|table| (action.clone(), table.clone())).collect::<Vec<_>>()
            };
            statement.actions.iter().flat_map(each).collect::<Vec<_>>()
        };
        self.0.iter().filter(|statement| statement.allows).flat_map(of).collect()
    }
}

/// True if `text` matches `pattern`, in which a star stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            let mut ends = rest.char_indices().map(|(index, _)| index).chain([rest.len()]);
            ends.any(|end| matches(after, &rest[end..]))
        }),
    }
}

fn resources(template: &str, kind: &str, table: &str) -> BTreeMap<String, Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../eventsrc-dynamo/aws").join(template);
    let template: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(template["AWSTemplateFormatVersion"], "2010-09-09");
    let resources = template["Resources"].as_object().unwrap();
    assert!(resources.values().all(|resource| resource["Type"] == kind), "{resources:?}");
    resources.iter().map(|(name, resource)| (name.clone(), resolved(resource, table))).collect()
}

/// A part of a template with its parameters inserted.
fn resolved(value: &Value, table: &str) -> Value {
    let variables = [
        ("Table", table),
        ("AWS::Partition", "aws"),
        ("AWS::Region", "eu-west-1"),
        ("AWS::AccountId", "000000000000"),
    ];
    match value {
        Value::Object(object) => match object.iter().next() {
            Some((name, of)) if name == "Ref" => {
                let (_, value) = variables.iter().find(|(variable, _)| variable == of).unwrap();
                (*value).into()
            }
            Some((name, of)) if name == "Fn::Sub" => {
                let put =
                    |text: String, (name, value): (&str, &str)| text.replace(&format!("${{{name}}}"), value);
                let text = variables.into_iter().fold(text(of).to_owned(), put);
                assert!(!text.contains("${"), "{text}");
                text.into()
            }
            _ => object.iter().map(|(name, value)| (name.clone(), resolved(value, table))).collect(),
        },
        Value::Array(values) => values.iter().map(|value| resolved(value, table)).collect(),
        value => value.clone(),
    }
}

#[test]
fn a_star_is_any_text() {
    for (pattern, text, is) in [
        ("*", "", true),
        ("a*c", "abc", true),
        ("a*c", "ac", true),
        ("a*c", "acb", false),
        ("*b*", "abc", true),
        ("abc", "abcd", false),
    ] {
        assert_eq!(matches(pattern, text), is, "{pattern} {text}");
    }
}
