//! Certificates.

use std::sync::Arc;

use eventsrc_core::{ErrorKind, StorageError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::Tls;

/// What encrypts connections as `tls` says.
///
/// # Errors
///
/// `Refused` if there is no authority to trust.
pub(crate) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, StorageError> {
    let roots = match tls {
        Tls::VerifiedBy(pem) => given(pem)?,
        Tls::Verified | Tls::Disabled => of_the_system()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StorageError::new(ErrorKind::Refused, "cannot encrypt").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// What the system trusts. A certificate that cannot be read is left out, as every program does.
fn of_the_system() -> Result<RootCertStore, StorageError> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let refused = StorageError::new(ErrorKind::Refused, "the system has no certificates to trust");
    Err(match found.errors.pop() {
        Some(error) => refused.because(error),
        None => refused,
    })
}

fn given(pem: &[u8]) -> Result<RootCertStore, StorageError> {
    let refused =
        |why| StorageError::new(ErrorKind::Refused, format!("cannot trust the given certificates: {why}"));
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| refused("they are not PEM").because(error))?;
        roots.add(certificate).map_err(|error| refused("one of them is malformed").because(error))?;
    }
    if roots.is_empty() { Err(refused("there is none")) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_that_are_none_are_refused() {
        let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n";
        for pem in ["", "hello", malformed, broken] {
            let error = connector(&Tls::VerifiedBy(pem.into())).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Refused, "{pem:?}");
        }
    }
}
