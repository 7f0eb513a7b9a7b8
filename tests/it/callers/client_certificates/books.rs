//! The books of a CA of clients, kept by the openssl command line.

use std::path::PathBuf;
use std::process::Command;

use openssl::asn1::Asn1Time;
use openssl::pkey::PKey;
use openssl::x509::X509;
use tn_authority::domain::Time;

use super::client::Client;
use crate::support::World;

const CONFIG: &str = "unique_subject=no\n[ca]\ndefault_ca=d\n[d]\nunique_subject=no\ndatabase=index.txt\n\
    default_md=sha256\ncrlnumber=crlnumber\nnew_certs_dir=.\nserial=serial\npolicy=p\ndefault_days=1\n\
    crl_extensions=crl\n[crl]\nauthorityKeyIdentifier=keyid\n\
    [p]\ncommonName=supplied\n[req]\ndistinguished_name=n\nprompt=no\n[n]\nCN=Clients\n\
    [v3]\nbasicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n\
    subjectKeyIdentifier=hash\n[client]\nauthorityKeyIdentifier=keyid\nextendedKeyUsage=clientAuth\nsubjectAltName=DNS:acme.example\n";

pub struct Books {
    dir: PathBuf,
}

impl Books {
    /// A CA with this common name, and its files in a folder.
    pub fn open(world: &World, folder: &str, name: &str) -> Self {
        let dir = world.dir.path().join(folder);
        std::fs::create_dir(&dir).expect("a folder");
        let config = CONFIG.replace("CN=Clients", &format!("CN={name}"));
        for (file, text) in [
            ("ca.cnf", config.as_str()),
            ("index.txt", ""),
            ("crlnumber", "01\n"),
            ("serial", "01\n"),
        ] {
            std::fs::write(dir.join(file), text).expect("a file");
        }
        let books = Self { dir };
        books.request(
            "-x509 -extensions v3 -keyout ca.key -out root.pem -days 3650",
            None,
        );
        // Its certificate begins when the test runs, and the world starts earlier.
        let root = X509::from_pem(&books.file("root.pem")).expect("a root");
        let epoch = Asn1Time::from_unix(0).expect("a time");
        let since = epoch.diff(root.not_before()).expect("a time");
        let begins = i64::from(since.days) * 86_400 + i64::from(since.secs);
        world.seconds_pass((begins + 3_600 - world.now().timestamp()).max(0));
        books
    }

    pub fn root(&self) -> String {
        String::from_utf8(self.file("root.pem")).expect("PEM")
    }

    pub fn client(&self, name: &str) -> Client {
        let files = format!("-keyout {name}.key -out {name}.csr");
        self.request(&files, Some("/CN=client"));
        self.ca(&format!(
            "-batch -notext -extensions client -in {name}.csr -out {name}.pem \
             -startdate 20250101000000Z -enddate 20350101000000Z"
        ));
        let (key, certificate) = (format!("{name}.key"), format!("{name}.pem"));
        Client {
            key: PKey::private_key_from_pem(&self.file(&key)).expect("a key"),
            certificate: X509::from_pem(&self.file(&certificate)).expect("a certificate"),
            chain: Vec::new(),
        }
    }

    pub fn revoke(&self, name: &str) {
        self.ca(&format!("-revoke {name}.pem"));
    }

    /// The list of what is revoked, for this period.
    pub fn crl(&self, from: Time, until: Time) -> String {
        let at = |time: Time| time.format("%Y%m%d%H%M%SZ").to_string();
        self.ca(&format!(
            "-gencrl -crl_lastupdate {} -crl_nextupdate {} -out crl.pem",
            at(from),
            at(until)
        ));
        String::from_utf8(self.file("crl.pem")).expect("PEM")
    }

    fn file(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.dir.join(name)).expect("a file")
    }

    fn request(&self, more: &str, subject: Option<&str>) {
        let mut arguments =
            "req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -config ca.cnf".to_owned();
        arguments = format!("{arguments} {more}");
        if let Some(subject) = subject {
            arguments = format!("{arguments} -subj {subject}");
        }
        self.openssl(&arguments);
    }

    fn ca(&self, more: &str) {
        self.openssl(&format!(
            "ca -config ca.cnf -cert root.pem -keyfile ca.key {more}"
        ));
    }

    fn openssl(&self, arguments: &str) {
        let run = Command::new("openssl")
            .args(arguments.split_whitespace())
            .current_dir(&self.dir)
            .output()
            .expect("openssl");
        let said = String::from_utf8_lossy(&run.stderr);
        assert!(run.status.success(), "{arguments}: {said}");
    }
}
