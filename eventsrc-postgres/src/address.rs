//! Address of a server and a database, and the decision whether connections to it use TLS.

use std::net::IpAddr;
use std::time::Duration;

use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::settings::{Settings, Tls};

/// A server and a database on it.
pub(crate) struct Address {
    pub(crate) config: Config,
    /// Host and port, as errors name the server. It contains no password, user or database.
    pub(crate) name: String,
}

impl Address {
    /// Parses `url`, a URL or `key=value` pairs in the syntax of `libpq`.
    ///
    /// # Errors
    ///
    /// - [`ErrorKind::Invalid`] if it is malformed. The error quotes no part of it, because any part may be a password.
    /// - [`ErrorKind::Refused`] if the address and the settings do not agree on encryption.
    pub(crate) fn new(url: &str, settings: &Settings) -> Result<Self, StorageError> {
        let url = with_supported_modes(url);
        if !password_ends_clearly(&url) {
            return Err(malformed());
        }
        // The error of the parser could quote a part of a password, so it is dropped.
        let mut config: Config = url.parse().map_err(|_| malformed())?;
        let name = name(&config).ok_or_else(malformed)?;
        let encrypted =
            uses_tls(&settings.tls, config.get_ssl_mode(), is_local(&config)).map_err(|reason| {
                StorageError::new(ErrorKind::Refused, format!("cannot connect to {name}: {reason}"))
            })?;
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        add_defaults(&mut config, settings);
        Ok(Self { config, name })
    }

    /// True if connections use TLS.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }
}

/// Replaces modes that the client library does not know by `require`, which here always verifies the certificate.
fn with_supported_modes(url: &str) -> String {
    url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require")
}

/// True if the end of the password in a URL is unambiguous. If `@`, `/` or `?` in a password are not percent-encoded, a
/// part of the password would be parsed as a host or a database and appear in errors.
fn password_ends_clearly(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return true };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    matches!(scheme, "postgres" | "postgresql")
        && rest.matches('@').count() == authority.matches('@').count()
        && authority.matches('@').count() <= 1
}

/// Host and port of the first server of `config`; `None` if the host contains unexpected characters.
fn name(config: &Config) -> Option<String> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
            if host.is_empty() || !host.bytes().all(is_allowed) {
                return None;
            }
            host.clone()
        }
        #[cfg(unix)]
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first()?.to_string(),
    };
    Some(format!("{host}:{port}"))
}

/// True if each host of `config` is a Unix socket, a loopback address or `localhost`.
fn is_local(config: &Config) -> bool {
    let addresses = config.get_hostaddrs();
    if !addresses.is_empty() {
        return addresses.iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Tcp(host) => host == "localhost" || host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()),
        #[cfg(unix)]
        Host::Unix(_) => true,
    })
}

fn uses_tls(tls: &Tls, mode: SslMode, local: bool) -> Result<bool, &'static str> {
    match (tls, mode) {
        (Tls::Disabled, SslMode::Require) => {
            Err("its `sslmode` requires encryption, but the settings disable it")
        }
        (Tls::Disabled, _) => Ok(false),
        (_, SslMode::Disable) if !local => Err(
            "its `sslmode` disables encryption, which for a remote host needs `Tls::Disabled` in the settings as well",
        ),
        (_, SslMode::Require) => Ok(true),
        _ => Ok(!local),
    }
}

/// Approximate time after which a connection to an unreachable peer is closed.
const PEER_TIMEOUT: Duration = Duration::from_secs(30);

fn add_defaults(config: &mut Config, settings: &Settings) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(settings.connect_timeout);
    }
    if config.get_application_name().is_none() {
        config.application_name("eventsrc");
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(PEER_TIMEOUT);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(PEER_TIMEOUT / 3).keepalives_interval(PEER_TIMEOUT / 3).keepalives_retries(2);
    }
}

fn malformed() -> StorageError {
    StorageError::new(
        ErrorKind::Invalid,
        "malformed address of a Postgres database: use a URL such as `postgres://user@host:5432/database`, in which \
         special characters of the user and the password are percent-encoded",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, tls: Tls) -> Result<Address, StorageError> {
        Address::new(url, &Settings { tls, ..Settings::default() })
    }

    #[test]
    fn remote_connections_use_tls_and_local_ones_do_on_request() {
        let cases = [
            ("postgres://u@127.0.0.1/d", false),
            ("postgres://u@localhost:5433/d", false),
            ("postgres://u@[::1]/d", false),
            ("host=/var/run/postgresql user=u", false),
            ("postgres://u@localhost/d?sslmode=require", true),
            ("postgres://u@db.example.com/d", true),
            ("postgres://u@db.example.com/d?sslmode=prefer", true),
            ("postgres://u@db.example.com/d?sslmode=verify-full", true),
            ("postgres://u@10.0.0.1/d", true),
            ("postgres://u@localhost,db.example.com/d", true),
            ("host=localhost hostaddr=10.0.0.1 user=u", true),
            ("host=db.example.com hostaddr=127.0.0.1 user=u", false),
        ];
        for (url, encrypted) in cases {
            assert_eq!(address(url, Tls::Verified).unwrap().is_encrypted(), encrypted, "{url}");
        }
    }

    #[test]
    fn an_address_alone_cannot_disable_tls() {
        let remote = "postgres://u@db.example.com/d?sslmode=disable";
        assert_eq!(address(remote, Tls::Verified).err().unwrap().kind(), ErrorKind::Refused);
        assert!(!address(remote, Tls::Disabled).unwrap().is_encrypted());
        assert!(!address("postgres://u@db.example.com/d", Tls::Disabled).unwrap().is_encrypted());
        assert!(!address("postgres://u@localhost/d?sslmode=disable", Tls::Verified).unwrap().is_encrypted());
        let required = "postgres://u@db.example.com/d?sslmode=require";
        assert_eq!(address(required, Tls::Disabled).err().unwrap().kind(), ErrorKind::Refused);
    }

    #[test]
    fn the_error_for_a_malformed_address_quotes_no_part_of_it() {
        let urls = [
            "postgres://user:hunter2@",
            "postgres://user:hunter2@host:port/db",
            "postgres://user:hun/ter2@host/db",
            "postgres://user:12/hunter2@host/db",
            "postgres://user:12?hunter2=1@host/db",
            "postgres://user:hun@ter2@host/db",
            "postgres://user:hunter2@host/db?password2=hunter2",
            "mysql://user:hunter2@host/db",
            "host=h password=a hunter2=b",
            "password=hunter2",
            "hunter2",
        ];
        for url in urls {
            let error = address(url, Tls::Verified).err().expect(url);
            assert_eq!(error.kind(), ErrorKind::Invalid, "{url}");
            let message = format!("{error} {error:?}");
            assert!(!message.contains("hunter") && !message.contains("ter2"), "{url}: {message}");
        }
    }

    #[test]
    fn errors_name_only_host_and_port() {
        let name_of = |url| address(url, Tls::Verified).unwrap().name;
        assert_eq!(name_of("postgres://ada:hunter2@db.example.com:6543/secret"), "db.example.com:6543");
        assert_eq!(name_of("postgresql://ada:p%40ss@localhost/names"), "localhost:5432");
        assert_eq!(name_of("host=/tmp user=ada"), "/tmp:5432");
    }
}
