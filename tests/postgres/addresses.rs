//! Passwords and certificates.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use eventsrc_core::{ErrorKind, StorageError};
use eventsrc_postgres::{Postgres, Settings, Tls};
use eventsrc_test_servers as servers;
use rcgen::{CertifiedKey, generate_simple_self_signed};

use super::{as_user, assert_keeps, assert_says, client, database};

const PASSWORD: &str = "correct-horse";

/// A server that asks `locked` for a password and `secure` for encryption, with a certificate for the name `localhost`.
struct Guarded {
    /// The host in the address is 127.0.0.1.
    url: String,
    certificate: Vec<u8>,
    _server: servers::Postgres,
}

impl Guarded {
    async fn start() -> Self {
        let server = servers::Postgres::start().await.unwrap();
        let data = server.data_folder();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(data.join("server.crt"), cert.pem()).unwrap();
        fs::write(data.join("server.key"), signing_key.serialize_pem()).unwrap();
        fs::set_permissions(data.join("server.key"), fs::Permissions::from_mode(0o600)).unwrap();
        let others = fs::read_to_string(data.join("pg_hba.conf")).unwrap();
        let rules = "host all locked 127.0.0.1/32 scram-sha-256\nhostssl all secure 127.0.0.1/32 trust\n\
                     host all secure 127.0.0.1/32 reject\n";
        fs::write(data.join("pg_hba.conf"), rules.to_owned() + &others).unwrap();
        let url = server.database("guarded").await;
        let admin = client(&url).await;
        for sql in [
            &format!("CREATE USER locked SUPERUSER PASSWORD '{PASSWORD}'"),
            "CREATE USER secure SUPERUSER",
            "ALTER SYSTEM SET ssl = on",
            "SELECT pg_reload_conf()",
        ] {
            admin.batch_execute(sql).await.unwrap();
        }
        // A new connection uses the current settings of the server.
        super::until(async || {
            let shown = client(&url).await.query_one("SHOW ssl", &[]).await.unwrap();
            shown.get::<_, String>(0) == "on"
        })
        .await;
        Self { url, certificate: cert.pem().into_bytes(), _server: server }
    }

    async fn connect(&self, user: &str, host: &str, tls: Tls) -> Result<Postgres, StorageError> {
        let url = as_user(&self.url, user).replace("127.0.0.1", host) + "?sslmode=require";
        Postgres::connect_with(&url, Settings { tls, ..Settings::default() }).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_are_required_and_never_printed_and_certificates_are_verified() {
    let server = Guarded::start().await;
    let with = |password: &str| as_user(&server.url, &format!("locked:{password}"));
    let postgres = Postgres::connect(&with(PASSWORD)).await.unwrap();
    assert!(!format!("{postgres:?}").contains(PASSWORD), "{postgres:?}");
    let error = Postgres::connect(&with("wrong-horse")).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["cannot connect to 127.0.0.1", "password is not accepted"]);
    assert_keeps(&error, "wrong-horse");
    let error = Postgres::connect(&as_user(&server.url, "locked")).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["do not agree"]);

    let ours = || Tls::VerifiedBy(server.certificate.clone());
    let postgres = server.connect("secure", "localhost", ours()).await.unwrap();
    assert!(!format!("{postgres:?}").contains("BEGIN"), "{postgres:?}");
    server.connect(&format!("locked:{PASSWORD}"), "localhost", ours()).await.expect("both at once");
    let error = Postgres::connect(&as_user(&server.url, "secure")).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["not accepted"]);

    let error = server.connect("secure", "127.0.0.1", ours()).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["certificate is not trusted"]);
    let stranger = generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem().into_bytes();
    let error = server.connect("secure", "localhost", Tls::VerifiedBy(stranger)).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["certificate is not trusted"]);
    assert!(std::error::Error::source(&error).is_some(), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_cannot_encrypt_is_refused_where_it_has_to() {
    let CertifiedKey { cert, .. } = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let settings = Settings { tls: Tls::VerifiedBy(cert.pem().into_bytes()), ..Settings::default() };
    let url = database().await + "?sslmode=require";
    let error = Postgres::connect_with(&url, settings).await.unwrap_err();
    assert_says(&error, ErrorKind::Refused, &["do not agree"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_about_a_malformed_address_omits_its_password() {
    for url in [
        "postgres://ada:correct/horse@localhost/x",
        "postgres://ada:correct-horse@localhost:x/y",
        "correct-horse",
    ] {
        let error = Postgres::connect(url).await.unwrap_err();
        assert_says(&error, ErrorKind::Invalid, &["percent-encoded"]);
        assert_keeps(&error, "horse");
        assert_keeps(&error, "correct");
    }
}
