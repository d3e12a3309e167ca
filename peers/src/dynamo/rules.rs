//! The charges of the service by its published rules, from a request and its response.
//!
//! A write costs one unit per KB of the larger of the old and the new item, and twice as much in a transaction. A
//! strongly consistent read costs one unit per 4 KB, and at least one: of all items together that a query reads, or of
//! each item of a get. DynamoDB Local reports less for transactions.

use std::collections::HashMap;
use std::ops::AddAssign;

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value};

#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Units {
    pub(super) write: f64,
    pub(super) read: f64,
}

impl AddAssign for Units {
    fn add_assign(&mut self, more: Self) {
        self.write += more.write;
        self.read += more.read;
    }
}

type Item = Map<String, Value>;

/// The stored items by table. They are needed because an update is charged for the whole item.
#[derive(Default)]
pub(super) struct Stored(HashMap<String, Vec<Item>>);

impl Stored {
    /// Returns the units of a request; `None` for a request that has no units.
    pub(super) fn units(
        &mut self,
        operation: &str,
        request: &Value,
        response: &Value,
    ) -> Result<Option<Units>> {
        let write = |units| Ok(Some(Units { write: units, read: 0.0 }));
        let read = |units| Ok(Some(Units { write: 0.0, read: units }));
        match operation {
            "PutItem" => write(self.put(request)?),
            "TransactWriteItems" => {
                let mut units = 0.0;
                for action in list(&request["TransactItems"])? {
                    units += 2.0
                        * match (&action["Put"], &action["Update"]) {
                            (put @ Value::Object(_), _) => self.put(put)?,
                            (_, update @ Value::Object(_)) => self.update(update)?,
                            _ => bail!("unexpected action in a transaction: {action}"),
                        };
                }
                write(units)
            }
            "Query" => {
                let items = list(&response["Items"])?;
                let bytes = match request["ProjectionExpression"] {
                    Value::Null => sizes(items)?.sum(),
                    // Attributes that the projection leaves out are charged too, and only the server knows their size.
                    _ => {
                        4096 * response["ConsumedCapacity"]["CapacityUnits"]
                            .as_f64()
                            .unwrap_or_default()
                            .ceil() as usize
                    }
                };
                read(read_units(bytes, &request["ConsistentRead"]))
            }
            "GetItem" => {
                let bytes = response["Item"].as_object().map(size).transpose()?.unwrap_or_default();
                read(read_units(bytes, &request["ConsistentRead"]))
            }
            "BatchGetItem" => {
                let mut units = 0.0;
                for (table, asked) in object(&request["RequestItems"])? {
                    let found = response["Responses"][table].as_array().map_or(&[][..], Vec::as_slice);
                    let missing = list(&asked["Keys"])?.len() - found.len();
                    let sizes = sizes(found)?.chain(std::iter::repeat_n(0, missing));
                    units += sizes.map(|bytes| read_units(bytes, &asked["ConsistentRead"])).sum::<f64>();
                }
                read(units)
            }
            "CreateTable" | "DescribeTable" => Ok(None),
            _ => bail!("unexpected request: {operation}"),
        }
    }

    fn put(&mut self, put: &Value) -> Result<f64> {
        let item = object(&put["Item"])?;
        self.0.entry(text(&put["TableName"])?.into()).or_default().push(item.clone());
        Ok(write_units(size(item)?))
    }

    fn update(&mut self, update: &Value) -> Result<f64> {
        let key = object(&update["Key"])?;
        let has_key = |item: &&mut Item| key.iter().all(|(name, value)| item.get(name) == Some(value));
        let items = self.0.entry(text(&update["TableName"])?.into()).or_default();
        let item = items.iter_mut().find(has_key).context("the updated item was not put before")?;
        let before = size(item)?;
        let sets = text(&update["UpdateExpression"])?
            .strip_prefix("SET ")
            .context("the update sets no attributes")?;
        for set in sets.split(", ") {
            let (name, value) = set.split_once(" = ").context("the update sets an attribute to no value")?;
            let value = &update["ExpressionAttributeValues"][value];
            ensure!(value.is_object(), "the update sets {name} to no value");
            item.insert(name.into(), value.clone());
        }
        Ok(write_units(size(item)?.max(before)))
    }
}

fn write_units(bytes: usize) -> f64 {
    bytes.div_ceil(1024).max(1) as f64
}

fn read_units(bytes: usize, consistent: &Value) -> f64 {
    let units = bytes.div_ceil(4096).max(1) as f64;
    if consistent == &Value::Bool(true) { units } else { units / 2.0 }
}

fn sizes(items: &[Value]) -> Result<impl Iterator<Item = usize>> {
    let sizes: Result<Vec<_>> = items.iter().map(|item| size(object(item)?)).collect();
    Ok(sizes?.into_iter())
}

/// Returns the size of an item: the names and values of its attributes.
fn size(item: &Item) -> Result<usize> {
    item.iter().map(|(name, value)| Ok(name.len() + value_size(value)?)).sum()
}

fn value_size(value: &Value) -> Result<usize> {
    let (kind, value) = object(value)?.iter().next().context("the value has no type")?;
    Ok(match kind.as_str() {
        "S" => text(value)?.len(),
        "N" => {
            let digits = text(value)?;
            let significant = digits.trim_start_matches('-').trim_matches('0').len();
            significant.div_ceil(2) + 1 + usize::from(digits.starts_with('-'))
        }
        "B" => BASE64_STANDARD.decode(text(value)?)?.len(),
        "BOOL" | "NULL" => 1,
        "L" => 3 + list(value)?.iter().map(|of| Ok(1 + value_size(of)?)).sum::<Result<usize>>()?,
        "M" => {
            let parts = object(value)?.iter().map(|(name, of)| Ok(1 + name.len() + value_size(of)?));
            3 + parts.sum::<Result<usize>>()?
        }
        _ => bail!("unexpected type of a value: {kind}"),
    })
}

fn object(value: &Value) -> Result<&Item> {
    value.as_object().with_context(|| format!("not an object: {value}"))
}

fn list(value: &Value) -> Result<&[Value]> {
    value.as_array().map(Vec::as_slice).with_context(|| format!("not a list: {value}"))
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("not a text: {value}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(bytes: usize) -> Value {
        json!({ "k": { "S": "x".repeat(bytes - 1) } })
    }

    #[test]
    fn a_transaction_is_two_units_a_kilobyte_and_item() {
        let put = |bytes| json!({ "Put": { "TableName": "events", "Item": item(bytes) } });
        let request = json!({ "TransactItems": [put(300), put(1024), put(1025)] });
        let units = Stored::default().units("TransactWriteItems", &request, &json!({})).unwrap();
        assert_eq!(units, Some(Units { write: 8.0, read: 0.0 }));
    }

    #[test]
    fn an_update_is_charged_for_the_whole_item() {
        let mut stored = Stored::default();
        let put =
            json!({ "TableName": "heads", "Item": { "k": { "S": "1" }, "e": { "S": "x".repeat(2_000) } } });
        assert_eq!(stored.units("PutItem", &put, &json!({})).unwrap().unwrap().write, 2.0);
        let update = json!({ "TransactItems": [{ "Update": {
            "TableName": "heads", "Key": { "k": { "S": "1" } }, "UpdateExpression": "SET n = :n",
            "ExpressionAttributeValues": { ":n": { "N": "2" } },
        } }] });
        assert_eq!(stored.units("TransactWriteItems", &update, &json!({})).unwrap().unwrap().write, 4.0);
    }

    #[test]
    fn a_query_is_charged_for_all_its_items_together_and_a_batch_for_each() {
        let query = json!({ "ConsistentRead": true });
        let response = json!({ "Items": [item(3_000), item(3_000)] });
        let units = Stored::default().units("Query", &query, &response).unwrap().unwrap();
        assert_eq!(units.read, 2.0);
        let units = Stored::default().units("Query", &json!({}), &response).unwrap().unwrap();
        assert_eq!(units.read, 1.0, "half for an eventually consistent read");
        let batch = json!({ "RequestItems": { "heads": { "Keys": [{}, {}], "ConsistentRead": true } } });
        let response = json!({ "Responses": { "heads": [item(5_000)] } });
        let units = Stored::default().units("BatchGetItem", &batch, &response).unwrap().unwrap();
        assert_eq!(units.read, 3.0, "a missing item is charged too");
    }
}
