//! Free ports for servers.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;
use rand::rngs::StdRng;

/// Returns a port of 127.0.0.1 on which no process listens at the moment.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(listen()?.local_addr()?.port())
}

/// Listens on a free port of 127.0.0.1.
///
/// The port is below the range of outgoing connections. Otherwise, while no process listens on it, a client could get
/// the port for its own end, or even connect to itself.
pub(crate) fn listen() -> io::Result<TcpListener> {
    let mut draws: StdRng = rand::make_rng();
    let mut tried = Err(io::ErrorKind::AddrInUse.into());
    for _ in 0..TRIES {
        tried = TcpListener::bind((Ipv4Addr::LOCALHOST, draws.random_range(10_000..32_768)));
        if tried.is_ok() {
            break;
        }
    }
    tried
}

const TRIES: u32 = 100;
