//! TLS configuration and trusted certificates.

use std::sync::Arc;

use eventsrc_core::{ErrorKind, StorageError};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::settings::Tls;

/// TLS connector that trusts the authorities of `tls`.
///
/// # Errors
///
/// [`ErrorKind::Refused`] if no authority is trusted.
pub(crate) fn connector(tls: &Tls) -> Result<MakeRustlsConnect, StorageError> {
    let roots = match tls {
        Tls::VerifiedBy(pem) => roots_from_pem(pem)?,
        Tls::Verified | Tls::Disabled => system_roots()?,
    };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| StorageError::new(ErrorKind::Refused, "cannot configure TLS").because(error))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Authorities that the system trusts. A certificate that cannot be read is ignored, as other programs do.
fn system_roots() -> Result<RootCertStore, StorageError> {
    let mut found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if !roots.is_empty() {
        return Ok(roots);
    }
    let refused = StorageError::new(ErrorKind::Refused, "the system has no trusted certificates");
    Err(match found.errors.pop() {
        Some(error) => refused.because(error),
        None => refused,
    })
}

fn roots_from_pem(pem: &[u8]) -> Result<RootCertStore, StorageError> {
    let refused = |reason| {
        let what = format!("cannot read the certificates in `Tls::VerifiedBy`: {reason}");
        StorageError::new(ErrorKind::Refused, what)
    };
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
    fn malformed_certificates_are_refused() {
        let malformed = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let broken = "-----BEGIN CERTIFICATE-----\n%%\n-----END CERTIFICATE-----\n";
        for pem in ["", "hello", malformed, broken] {
            let error = connector(&Tls::VerifiedBy(pem.into())).err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Refused, "{pem:?}");
        }
    }
}
