//! Keys and certificates of a world: how they come, and how the service finds them.

use std::path::Path;
use std::time::Duration;

use tn_authority::authority::ScanMode;
use tn_authority::domain::Caller;
use tn_authority::signer::development::SpcCertificate;
use tn_authority::signer::key_pool::PoolSettings;
use tn_authority::signer::pkcs11::Pkcs11;
use uuid::Uuid;

use super::{World, wait};

/// Modules of hardware, of which there is none.
pub fn no_hsm() -> Pkcs11 {
    Pkcs11 {
        module: None,
        pin: None,
        open_timeout: Duration::from_secs(30),
        pool: PoolSettings {
            sessions: 2,
            queue: 16,
            timeout: Duration::from_secs(5),
        },
    }
}

impl World {
    /// Looks for certificates, as the service does by itself and when it is asked to.
    pub fn looks_for_signers(&self, patience: ScanMode) {
        let caller = Caller::the_service(Uuid::from_u128(0x5e1f));
        let found = self.authority.look_for_signers(patience).expect("signers");
        wait(self.authority.agree_on_signers(&caller, found)).expect("an agreement");
    }

    /// The CA issues a certificate to a new key, in force from now on; both come into the folder, by this name.
    pub fn certificate_comes(&self, name: &str, spc: &str, lasts: i64) {
        let in_force = self.in_seconds(-60)..=self.in_seconds(lasts);
        let wanted = SpcCertificate::new(spc.parse().expect("a code"), in_force);
        let issued = self
            .ca
            .issue_spc_certificate(&wanted.expect("a certificate"));
        let issued = issued.expect("a certificate");
        write_private(&self.signers.join(format!("{name}.key")), &issued.key_pem);
        let chain = self.signers.join(format!("{name}.pem"));
        std::fs::write(chain, &issued.chain_pem).expect("a file");
    }
}

/// A file that nobody else may read.
pub fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::write(path, text).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("a mode");
}
