//! The carrier's set-up: a folder with certificates and a configuration, and the service that uses
//! them.

use std::error::Error;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use crate::commands::output::say;
use chrono::TimeDelta;
use tn_authority::app;
use tn_authority::config::Config;
use tn_authority::domain::Clock;
use tn_authority::signer::development::{DevelopmentCa, IssuedChain, SpcCertificate};

/// What the configuration of the demo determines. Variables for a service of the user's own would
/// make the demo listen elsewhere than it calls, or write to that service's database.
const OWN_SECTIONS: [&str; 10] = [
    "api_keys",
    "carrier",
    "client_certificates",
    "database",
    "oauth",
    "operations",
    "policy",
    "proxy",
    "server",
    "signer",
];

/// The carrier's folder and the address of its service.
pub struct Carrier {
    dir: PathBuf,
    /// Whether the folder is deleted when the demo ends.
    temporary: bool,
    url: String,
    ca_pem: String,
    config: Config,
    /// Variables that the configuration ignores.
    ignored: Vec<OsString>,
}

/// The service, on a thread of its own.
pub struct Serving {
    stopper: app::Stopper,
    thread: JoinHandle<Result<(), String>>,
}

impl Carrier {
    pub fn build(dir: Option<PathBuf>, keep: bool) -> Result<Self, Box<dyn Error>> {
        let temporary = dir.is_none() && !keep;
        let dir = match dir {
            Some(dir) => dir,
            None => std::env::temp_dir().join(format!("tn-authority-demo-{}", std::process::id())),
        };
        fs::create_dir_all(&dir)?;
        if fs::read_dir(&dir)?.next().is_some() {
            return Err(format!(
                "`{}` is not empty; name another folder with --dir",
                dir.display()
            )
            .into());
        }
        let dir = dir.canonicalize()?;
        let port = free_port()?;
        let now = Clock::system().now();
        let validity = now - TimeDelta::hours(1)..=now + TimeDelta::days(7);
        let ca = DevelopmentCa::new("tn-authority development CA", validity.clone())?;
        let spc =
            ca.issue_spc_certificate(&SpcCertificate::new("1234".parse()?, validity.clone())?)?;
        let tls = ca.issue_tls_certificate(&["localhost", "127.0.0.1"], &validity)?;
        let ca_pem = ca.certificate_pem()?;
        let mut carrier = Self {
            dir,
            temporary,
            url: format!("https://localhost:{port}"),
            ca_pem,
            config: Config::default(),
            ignored: Vec::new(),
        };
        carrier.write_files(&spc, &tls, port)?;
        (carrier.config, carrier.ignored) =
            Config::load_ignoring(&carrier.config_file(), &OWN_SECTIONS)?;
        Ok(carrier)
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The names of the environment variables that the demo ignores.
    pub fn ignored(&self) -> Vec<String> {
        let name = |name: &OsString| name.to_string_lossy().into_owned();
        self.ignored.iter().map(name).collect()
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    pub fn ca_file(&self) -> PathBuf {
        self.dir.join("ca.pem")
    }

    pub fn config_file(&self) -> PathBuf {
        self.dir.join("tn-authority.toml")
    }

    /// Starts the service as `serve` does.
    pub fn serve(&self) -> Result<Serving, Box<dyn Error>> {
        let config = self.config.clone();
        let (started, start) = mpsc::channel();
        let thread = thread::spawn(move || {
            let service =
                app::open_with_signer(&config, &Clock::system()).map_err(|e| e.to_string())?;
            app::block_on(async {
                let running = app::start(Arc::new(service), &config).map_err(|e| e.to_string())?;
                let stopper = running.stopper();
                app::on_hangup(async move { stopper.stop().await }).map_err(|e| e.to_string())?;
                let _ = started.send(running.stopper());
                running.wait().await.map_err(|e| e.to_string())
            })
        });
        match start.recv() {
            Ok(stopper) => Ok(Serving { stopper, thread }),
            // The thread has ended; its result says why.
            Err(_) => Err(joined(thread)
                .err()
                .unwrap_or_else(|| "the service stopped without an error".into())),
        }
    }

    /// Creates an API key with `tn-authority api-key create`.
    pub fn api_key(&self, role: &str, account: Option<&str>) -> Result<String, Box<dyn Error>> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .arg("--config")
            .arg(self.config_file())
            .args(["api-key", "create", "--role", role]);
        for name in &self.ignored {
            command.env_remove(name);
        }
        command.args(account.iter().flat_map(|account| ["--account", account]));
        let output = command.output()?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
        }
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    }

    /// Says how to make calls by hand, on the screen and as shell variables in a file.
    pub fn print_access(
        &self,
        keys: &[(&str, &str)],
        account_key: &str,
    ) -> Result<(), Box<dyn Error>> {
        let jwk = self.dir.join("account-key.jwk");
        fs::write(&jwk, account_key)?;
        say!("\n== Serving until Ctrl-C");
        say!("   URL                   {}", self.url);
        say!("   CA file               {}", self.ca_file().display());
        say!("   configuration         {}", self.config_file().display());
        say!("   ACME account key      {}", jwk.display());
        let mut variables = format!(
            "TNA_URL='{}'\nTNA_CA='{}'\n",
            self.url,
            self.ca_file().display()
        );
        for (name, key) in keys {
            writeln!(variables, "{}_KEY='{key}'", name.to_ascii_uppercase())?;
            say!("   API key {name:<13} {key}");
        }
        let env = self.dir.join("env");
        write_private(&env, &variables)?;
        say!("   as shell variables    . {}", env.display());
        Ok(())
    }

    fn write_files(
        &self,
        spc: &IssuedChain,
        tls: &IssuedChain,
        port: u16,
    ) -> Result<(), Box<dyn Error>> {
        let write = |name: &str, text: &str| fs::write(self.dir.join(name), text);
        write("ca.pem", &self.ca_pem)?;
        write_private(&self.dir.join("signing-key.pem"), &spc.key_pem)?;
        write("signing-chain.pem", &spc.chain_pem)?;
        write_private(&self.dir.join("tls-key.pem"), &tls.key_pem)?;
        write("tls-chain.pem", &tls.chain_pem)?;
        let path = |name: &str| toml_string(&self.dir.join(name).to_string_lossy());
        let config = format!(
            "[carrier]\nspcs = [\"1234\"]\naccount = \"carrier\"\n\n\
             [server]\nlisten = \"127.0.0.1:{port}\"\npublic_url = \"{}\"\n\
             tls_certificate = {}\ntls_key = {}\n\n\
             [operations]\nlisten = \"127.0.0.1:0\"\n\n\
             [database]\nurl = {}\n\n\
             [signer]\nkey_file = {}\nchain_file = {}\n",
            self.url,
            path("tls-chain.pem"),
            path("tls-key.pem"),
            toml_string(&format!(
                "sqlite:{}",
                self.dir.join("tn-authority.sqlite").display()
            )),
            path("signing-key.pem"),
            path("signing-chain.pem"),
        );
        Ok(write("tn-authority.toml", &config)?)
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        if self.temporary {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

impl Serving {
    /// Stops the service as SIGTERM does.
    pub fn stop(self) -> Result<(), Box<dyn Error>> {
        app::block_on(self.stopper.stop());
        joined(self.thread)
    }

    /// Waits until the service is stopped.
    pub fn wait(self) -> Result<(), Box<dyn Error>> {
        joined(self.thread)
    }
}

fn joined(thread: JoinHandle<Result<(), String>>) -> Result<(), Box<dyn Error>> {
    let ended = thread
        .join()
        .map_err(|_| "the thread of the service panicked")?;
    Ok(ended?)
}

/// A loopback port that is free now.
fn free_port() -> Result<u16, Box<dyn Error>> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// A TOML basic string, whose escapes are those of JSON.
fn toml_string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
