//! Ports for servers that are told where to listen.

use std::io;
use std::net::{Ipv4Addr, TcpListener};

use rand::RngExt;
use rand::rngs::StdRng;

/// A port of 127.0.0.1 on which nothing listens at the moment.
pub(super) fn free_port() -> io::Result<u16> {
    Ok(listen()?.local_addr()?.port())
}

/// Listens on a port of 127.0.0.1 that was free.
///
/// It is below those that outgoing connections are given: otherwise, while nothing listens there, one of its clients
/// could take the port, or even reach itself.
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
