//! Which authorities are trusted: SSL_CERT_FILE and SSL_CERT_DIR, as OpenSSL and
//! its many users read them, else the web's, which are built in.

use super::Error;
use std::path::{Path, PathBuf};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};

/// The TLS settings that the environment asks for.
pub(super) fn tls() -> Result<TlsConfig, Error> {
    let get = |name: &str| {
        std::env::var_os(name)
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    };
    let (file, folder) = (get("SSL_CERT_FILE"), get("SSL_CERT_DIR"));
    let builder = TlsConfig::builder();
    if file.is_none() && folder.is_none() {
        return Ok(builder.build());
    }
    let mut roots = Vec::new();
    if let Some(path) = &file {
        roots.extend(certificates(path).map_err(fail("SSL_CERT_FILE", path))?);
    }
    if let Some(folder) = &folder {
        roots.extend(in_folder(folder).map_err(fail("SSL_CERT_DIR", folder))?);
    }
    if roots.is_empty() {
        let (name, path) = match (&file, &folder) {
            (Some(file), _) => ("SSL_CERT_FILE", file.as_path()),
            (None, Some(folder)) => ("SSL_CERT_DIR", folder.as_path()),
            (None, None) => return Ok(builder.build()),
        };
        return Err(fail(name, path)("expected certificates in PEM form, found none".into()));
    }
    Ok(builder.root_certs(RootCerts::from(roots)).build())
}

fn fail(name: &str, path: &Path) -> impl FnOnce(String) -> Error {
    let path = format!("{name} {}", path.display());
    move |cause| Error::File { path, cause }
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let pem = std::fs::read(path).map_err(|error| error.to_string())?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|error| error.to_string())? {
            found.push(certificate);
        }
    }
    Ok(found)
}

/// Of all files: folders made for OpenSSL hold other things as well, and many links
/// to the same certificates.
fn in_folder(folder: &Path) -> Result<Vec<Certificate<'static>>, String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| error.to_string())? {
        let path = entry.map_err(|error| error.to_string())?.path();
        if path.is_file() {
            found.extend(certificates(&path).unwrap_or_default());
        }
    }
    Ok(found)
}
