//! Whether OpenSSL finds root certificates by default. The one that is built in was not installed
//! by the system, and does not know where the system keeps them.

use std::env;
use std::fs;
use std::path::PathBuf;

use openssl::version;
use openssl::x509::store::X509StoreBuilder;

use super::settings::database_url;
use crate::config::Config;

/// A warning if the URL of the database has `sslrootcert=system`, and OpenSSL has no root
/// certificates.
#[must_use]
pub fn roots_warning(config: &Config) -> Option<String> {
    let url = database_url(config).ok()?;
    (url.uses_system_roots() && !has_roots()).then(|| {
        "`sslrootcert=system` finds no root certificates, since OpenSSL is built in; set `SSL_CERT_FILE` to those of \
         the system, or name them in `database.url`, as in `sslrootcert=/etc/ssl/certs/ca-certificates.crt`"
            .to_owned()
    })
}

/// Whether there is a certificate in the default file, or a file in a default folder. OpenSSL reads
/// the folder only when it searches for an issuer.
fn has_roots() -> bool {
    let store = X509StoreBuilder::new().and_then(|mut store| {
        store.set_default_paths()?;
        Ok(store.build())
    });
    let in_file = store.is_ok_and(|store| !store.all_certificates().is_empty());
    let folders = match env::var_os("SSL_CERT_DIR") {
        Some(folders) => env::split_paths(&folders).collect(),
        None => built_in_folder().into_iter().collect::<Vec<_>>(),
    };
    let has_file = |folder: PathBuf| {
        let entries = fs::read_dir(folder);
        entries.is_ok_and(|mut entries| entries.next().is_some())
    };
    in_file || folders.into_iter().any(has_file)
}

/// The folder of certificates in `OPENSSLDIR: "/usr/local/ssl"`.
fn built_in_folder() -> Option<PathBuf> {
    let folder = version::dir().split('"').nth(1)?;
    Some(PathBuf::from(folder).join("certs"))
}
