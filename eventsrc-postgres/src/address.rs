//! Where the server is, and whether the way there has to be encrypted.

use std::net::IpAddr;
use std::time::Duration;

use eventsrc_core::{ErrorKind, StorageError};
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::settings::{Settings, Tls};

/// A server and a database on it.
pub(crate) struct Address {
    pub(crate) config: Config,
    /// What errors call the server; without a password, a user or a database.
    pub(crate) name: String,
}

impl Address {
    /// The address that `url` names, a URL or `key=value` pairs as `libpq` takes them.
    ///
    /// # Errors
    ///
    /// `Invalid` if it is malformed, which is told without a word of it, since a password may be anywhere in it.
    /// `Refused` if it and the settings do not agree on encryption.
    pub(crate) fn new(url: &str, settings: &Settings) -> Result<Self, StorageError> {
        let url = with_known_modes(url);
        if !is_plain(&url) {
            return Err(malformed());
        }
        // The source could quote a part of a password.
        let mut config: Config = url.parse().map_err(|_| malformed())?;
        let name = name(&config).ok_or_else(malformed)?;
        let encrypted = encrypts(&settings.tls, config.get_ssl_mode(), is_local(&config)).map_err(|why| {
            StorageError::new(ErrorKind::Refused, format!("cannot connect to {name}: {why}"))
        })?;
        config.ssl_mode(if encrypted { SslMode::Require } else { SslMode::Disable });
        add_defaults(&mut config, settings);
        Ok(Self { config, name })
    }

    /// Whether connections are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        self.config.get_ssl_mode() == SslMode::Require
    }
}

/// Certificates are always verified, which is the most that these modes ask for.
fn with_known_modes(url: &str) -> String {
    url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require")
}

/// Whether it is certain where the password of a URL ends. Where `@`, `/` or `?` in it are not percent-encoded, a part of
/// the password would be taken for a host or a database, and told in errors.
fn is_plain(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once("://") else { return true };
    let authority = rest.split(['/', '?']).next().unwrap_or(rest);
    matches!(scheme, "postgres" | "postgresql")
        && rest.matches('@').count() == authority.matches('@').count()
        && authority.matches('@').count() <= 1
}

fn name(config: &Config) -> Option<String> {
    let port = config.get_ports().first().copied().unwrap_or(5432);
    let host = match config.get_hosts().first() {
        Some(Host::Tcp(host)) => {
            let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:".contains(&byte);
            if host.is_empty() || !host.bytes().all(fits) {
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

fn encrypts(tls: &Tls, mode: SslMode, local: bool) -> Result<bool, &'static str> {
    match (tls, mode) {
        (Tls::Disabled, SslMode::Require) => {
            Err("its `sslmode` asks for encryption, and the settings disable it")
        }
        (Tls::Disabled, _) => Ok(false),
        (_, SslMode::Disable) if !local => Err(
            "its `sslmode` asks for no encryption, which the settings have to say too for a host that is not local",
        ),
        (_, SslMode::Require) => Ok(true),
        _ => Ok(!local),
    }
}

/// A peer that is gone without a word is noticed after about this long.
const SILENCE: Duration = Duration::from_secs(30);

fn add_defaults(config: &mut Config, settings: &Settings) {
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(settings.connect_timeout);
    }
    if config.get_application_name().is_none() {
        config.application_name("eventsrc");
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(SILENCE);
    }
    if config.get_keepalives_idle() == Config::new().get_keepalives_idle() {
        config.keepalives_idle(SILENCE / 3).keepalives_interval(SILENCE / 3).keepalives_retries(2);
    }
}

fn malformed() -> StorageError {
    StorageError::new(
        ErrorKind::Invalid,
        "this is no address of a Postgres database: it takes a URL such as `postgres://user@host:5432/database`, in \
         which special characters of the user and the password are percent-encoded",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(url: &str, tls: Tls) -> Result<Address, StorageError> {
        Address::new(url, &Settings { tls, ..Settings::default() })
    }

    #[test]
    fn what_is_not_local_is_encrypted_and_what_is_local_may_be() {
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
    fn an_address_alone_does_not_turn_encryption_off() {
        let remote = "postgres://u@db.example.com/d?sslmode=disable";
        assert_eq!(address(remote, Tls::Verified).err().unwrap().kind(), ErrorKind::Refused);
        assert!(!address(remote, Tls::Disabled).unwrap().is_encrypted());
        assert!(!address("postgres://u@db.example.com/d", Tls::Disabled).unwrap().is_encrypted());
        assert!(!address("postgres://u@localhost/d?sslmode=disable", Tls::Verified).unwrap().is_encrypted());
        let required = "postgres://u@db.example.com/d?sslmode=require";
        assert_eq!(address(required, Tls::Disabled).err().unwrap().kind(), ErrorKind::Refused);
    }

    #[test]
    fn a_malformed_address_is_told_without_a_word_of_it() {
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
            let told = format!("{error} {error:?}");
            assert!(!told.contains("hunter") && !told.contains("ter2"), "{url}: {told}");
        }
    }

    #[test]
    fn errors_name_the_server_and_nothing_else() {
        let named = |url| address(url, Tls::Verified).unwrap().name;
        assert_eq!(named("postgres://ada:hunter2@db.example.com:6543/secret"), "db.example.com:6543");
        assert_eq!(named("postgresql://ada:p%40ss@localhost/names"), "localhost:5432");
        assert_eq!(named("host=/tmp user=ada"), "/tmp:5432");
    }
}
