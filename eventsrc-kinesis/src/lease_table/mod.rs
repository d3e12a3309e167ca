//! Leases in a table of DynamoDB.
