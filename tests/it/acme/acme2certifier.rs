//! acme2certifier with our plug-in, as a process of its own, over TLS, with a CA that the test makes.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use chrono::TimeDelta;
use tempfile::TempDir;
use tn_authority::domain::Clock;
use tn_authority::signer::development::DevelopmentCa;

use super::carrier::{Carrier, EXECUTABLE, run};
use crate::support::{Logged as _, keep_text};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// A CA that trusts a carrier's root.
pub struct Ca {
    pub dir: TempDir,
    port: u16,
    server: Child,
}

impl Ca {
    pub fn trusting(carrier: &Carrier, single_use: bool) -> Self {
        let dir = TempDir::new().expect("a folder");
        let file = |name: &str| -> PathBuf { dir.path().join(name) };
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(365);
        let tls = DevelopmentCa::new("TLS of the CA", validity.clone()).expect("a CA");
        let server = tls.issue_tls_certificate(&["127.0.0.1", "localhost"], &validity);
        let server = server.expect("a certificate");
        // One file for both ends of `redeem`: the CA's TLS and the carrier's.
        let roots = [
            tls.certificate_pem().expect("a certificate"),
            fs::read_to_string(carrier.file("root.pem")).expect("a file"),
        ];
        fs::write(file("roots.pem"), roots.concat()).expect("a file");
        fs::write(file("tls.pem"), server.chain_pem).expect("a file");
        fs::write(file("tls.key"), server.key_pem).expect("a file");
        issuing_ca(dir.path());
        fs::create_dir(file("issued")).expect("a folder");

        let path = dir.path().display().to_string();
        let config = fs::read_to_string(format!("{ROOT}/tests/redeem/ca.cfg")).expect("a file");
        fs::write(file("acme_srv.cfg"), config.replace("@DIR@", &path)).expect("a file");
        let plugin = format!(
            "[tn-authority]\ncommand = {EXECUTABLE}\ntrust = {root}\nx5u_hosts = {address}\nx5u_ca = {root}\n\
             single_use = {single_use}\ntimeout = 40\ndatabase = {path}/plugin.sqlite\n",
            root = carrier.file("root.pem").display(),
            address = carrier.address,
        );
        fs::write(file("tn_authority.cfg"), plugin).expect("a file");

        let mut server = Command::new(python())
            .arg(format!("{ROOT}/tests/redeem/serve.py"))
            .args([file("tls.pem"), file("tls.key")])
            .env("PYTHONPATH", format!("{ROOT}/deploy/acme2certifier"))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("ACME_SRV_CONFIGFILE", file("acme_srv.cfg"))
            .env("TN_AUTHORITY_PLUGIN_CONFIG", file("tn_authority.cfg"))
            .stdout(Stdio::piped())
            .stderr(fs::File::create(file("server.log")).expect("a file"))
            .spawn()
            .expect("python");
        let mut line = String::new();
        let mut out = BufReader::new(server.stdout.take().expect("its output"));
        out.read_line(&mut line).expect("a line");
        let port = line.trim().parse().unwrap_or_else(|_| {
            panic!("acme2certifier did not start: {}", log(dir.path()));
        });
        Self { dir, port, server }
    }

    pub fn directory(&self) -> String {
        format!("https://127.0.0.1:{}/directory", self.port)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// What the server has written.
    pub fn log(&self) -> String {
        log(self.dir.path())
    }
}

impl Drop for Ca {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
        keep_text(&self.log());
    }
}

/// What the plug-in says when it does not start, with these settings and this variable of the environment.
pub fn start_fails(settings: Option<&str>, variable: Option<&str>) -> String {
    let dir = TempDir::new().expect("a folder");
    let mut python = Command::new(python());
    python
        .args([
            "-c",
            "import tn_authority_acme2certifier as plugin; plugin.start()",
        ])
        .current_dir(dir.path())
        .env("PYTHONPATH", format!("{ROOT}/deploy/acme2certifier"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("ACME_SRV_CONFIGFILE", dir.path().join("acme_srv.cfg"));
    fs::write(
        dir.path().join("acme_srv.cfg"),
        "[DBhandler]\ndbfile: acme.sqlite\n",
    )
    .expect("a file");
    if let Some(settings) = settings {
        fs::write(dir.path().join("plugin.cfg"), settings).expect("a file");
        python.env("TN_AUTHORITY_PLUGIN_CONFIG", dir.path().join("plugin.cfg"));
    }
    if let Some(variable) = variable {
        python.env(variable, "1");
    }
    let output = python.logged_output();
    assert!(!output.status.success(), "it started");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn log(dir: &Path) -> String {
    fs::read_to_string(dir.join("server.log")).expect("a file")
}

/// The key and the certificate that acme2certifier issues with, made by openssl.
fn issuing_ca(dir: &Path) {
    let mut openssl = Command::new("openssl");
    openssl
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
        ])
        .args(["-subj", "/CN=Issuing CA", "-days", "365", "-keyout"])
        .arg(dir.join("issuing.key"))
        .arg("-out")
        .arg(dir.join("issuing.pem"));
    run(&mut openssl);
}

/// The python of the virtual environment, which is made when it is not there.
fn python() -> &'static str {
    static PYTHON: OnceLock<String> = OnceLock::new();
    PYTHON.get_or_init(|| {
        let mut install = Command::new(format!("{ROOT}/tests/venv"));
        install.arg(format!("{ROOT}/tests/redeem/requirements.txt"));
        let target = Path::new(EXECUTABLE).ancestors().nth(2).expect("target");
        install.env("CARGO_TARGET_DIR", target);
        run(&mut install)
    })
}
