//! One connection through a proxy.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::sync::watch;

use super::faults::{Faults, Stalled, Way};
use super::lane::{Lane, copy};
use super::postgres;
use super::protocol::Protocol;

/// The faults of one connection.
pub(super) struct Connection {
    faults: Arc<Faults>,
    stalled: watch::Receiver<Stalled>,
    /// The random cut of the connection, if one was drawn.
    cut: Option<(Way, u64)>,
}

impl Connection {
    pub(super) fn new(faults: Arc<Faults>, stalled: watch::Receiver<Stalled>) -> Self {
        let cut = faults.draw_cut();
        Self { faults, stalled, cut }
    }

    pub(super) fn count_cut(&self) {
        self.faults.count(|injected| &mut injected.cut);
    }

    /// Forwards both directions until both have ended or the connection is cut. A cut is an error like any other.
    pub(super) async fn forward(
        &self,
        mut client: TcpStream,
        server: SocketAddr,
        protocol: Protocol,
    ) -> io::Result<()> {
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let to_client = self.lane(Way::ToClient, to_client);
        let to_server = self.lane(Way::ToServer, to_server);
        match protocol {
            Protocol::Any => {
                tokio::try_join!(copy(from_client, to_server), copy(from_server, to_client)).map(drop)
            }
            Protocol::Postgres => {
                postgres::forward(&self.faults, from_client, to_server, from_server, to_client).await
            }
        }
    }

    fn lane<W>(&self, way: Way, to: W) -> Lane<W> {
        let cut = self.cut.filter(|(cut, _)| *cut == way).map(|(_, bytes)| bytes);
        Lane::new(Arc::clone(&self.faults), self.stalled.clone(), way, cut, to)
    }
}
