//! The service over HTTP: commands append to streams, the view answers queries, and tokens connect the two.

mod api;
mod body;
mod conditions;
mod groups;
mod health;
mod problem;
mod requests;
mod responses;
mod routes;
mod server;
mod users;

pub use api::Api;
pub use server::Server;
