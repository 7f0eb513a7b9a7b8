//! Real proxies between a client and the service, configured as the guide says.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use tn_authority::callers::{NewApiKey, Proxies, Trust};
use tn_authority::config;
use tn_authority::domain::{Caller, Role};
use uuid::Uuid;

use super::client::{Client, acme, trust, wanted};
use crate::support::peers::{Peer, free_port, peer};
use crate::support::service::{Api, asking};
use crate::support::{World, account, wait, write_private};
use tn_authority::signer::development::DevelopmentCa;

both!(
    nginx_passes_certificates_on,
    haproxy_passes_certificates_on,
    apache_passes_certificates_on,
    caddy_passes_certificates_on,
    envoy_passes_certificates_on,
    traefik_passes_certificates_on,
);

const GUIDE: &str = include_str!("../../../../deploy/guide/callers.md");
/// How long a proxy may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// The client's address.
const CLIENT: &str = "127.0.0.9";
const MINT: &str = "/at/account/acme/token";

/// The configuration of the service and of the proxy, as the guide shows them one below the other.
fn shown(proxy: &str) -> (config::Proxy, &'static str) {
    #[derive(serde::Deserialize)]
    struct Section {
        proxy: config::Proxy,
    }
    let (before, block) = GUIDE
        .split_once(&format!("```{proxy}\n"))
        .unwrap_or_else(|| panic!("the guide has no block for {proxy}"));
    let (block, _) = block.split_once("```\n").expect("its end");
    let (_, section) = before.rsplit_once("```toml\n").expect("a section");
    let (section, _) = section.split_once("```\n").expect("its end");
    let section: Section = toml::from_str(section).expect("a section");
    (section.proxy, block)
}

/// A client that can be tried in front of a proxy.
struct Scene {
    api: Api,
    proxy: Peer,
    port: u16,
    dir: PathBuf,
    /// The name of the field with the certificate.
    field: String,
}

/// The service behind a proxy. `command` makes the command from the folder of the program, that of the test, and the
/// configuration.
fn behind(
    world: World,
    name: &str,
    command: impl FnOnce(&Path, &Path, String) -> Command,
) -> Scene {
    let (section, block) = shown(name);
    let field = section.certificate_header.clone().expect("a field");
    let proxies = Proxies {
        addresses: section.addresses,
        certificate_header: section.certificate_header,
        certificate_encoding: section.certificate_encoding,
        certificate_chain_header: section.certificate_chain_header,
        address_header: section.address_header,
    };
    let api = Api::trusting(world, |world| Trust {
        proxies,
        ..trust(world)
    });
    let dir = api.world.dir.path().to_owned();
    let validity = api.world.in_seconds(-3600)..=api.world.in_seconds(86_400 * 3650 - 3600);
    let tls = api
        .world
        .ca
        .issue_tls_certificate(&["localhost"], &validity);
    let tls = tls.expect("a certificate");
    write_private(&dir.join("tls.key"), &tls.key_pem);
    write_private(&dir.join("tls.pem"), &tls.chain_pem);
    let both = format!("{}{}", tls.chain_pem, tls.key_pem);
    write_private(&dir.join("tls-and-key.pem"), &both);
    let root = api.world.ca.certificate_pem().expect("PEM");
    std::fs::write(dir.join("clients-ca.pem"), root).expect("a file");
    let port = free_port();
    // The port first: the address and the folder can contain its digits.
    let configuration = block
        .replace("127.0.0.1:8443", "SERVICE")
        .replace("port_value: 8443", "PORT_VALUE")
        .replace("443", &port.to_string())
        .replace("SERVICE", &api.address().to_string())
        .replace(
            "PORT_VALUE",
            &format!("port_value: {}", api.address().port()),
        )
        .replace("authority.example", "localhost")
        .replace("/etc/proxy/", &format!("{}/", dir.display()));
    let folder = peer(name);
    let mut command = command(&folder, &dir, configuration);
    let libraries = std::fs::read_dir(folder.join("usr/lib")).map(|mut all| {
        all.find_map(|one| {
            let path = one.expect("a folder").path();
            path.display()
                .to_string()
                .ends_with("-linux-gnu")
                .then_some(path)
        })
    });
    if let Some(libraries) = libraries.ok().flatten() {
        command.env("LD_LIBRARY_PATH", libraries);
    }
    command.env("HOME", &dir).current_dir(&dir);
    let mut proxy = Peer::start(&mut command, &dir.join("proxy.log"));
    proxy.listens(SocketAddr::from(([127, 0, 0, 1], port)));
    Scene {
        api,
        proxy,
        port,
        dir,
        field,
    }
}

fn write(dir: &Path, text: &str) -> PathBuf {
    let file = dir.join("proxy.conf");
    std::fs::write(&file, text).expect("a file");
    file
}

impl Scene {
    /// The status of a request, by curl; `None` if the handshake fails.
    fn status(&self, client: Option<&Client>, fields: &[String]) -> Option<u16> {
        let mut curl = Command::new("curl");
        curl.args([
            "--silent",
            "--output",
            "answer",
            "--write-out",
            "%{http_code}",
        ]);
        curl.args([
            "--cacert",
            "clients-ca.pem",
            // A client is no proxy.
            "--interface",
            CLIENT,
            "-H",
            "Content-Type: application/json",
        ]);
        curl.args(["-d", &asking(&["one:12125551001"]).to_string()]);
        if let Some(client) = client {
            let mut pem = client.certificate.to_pem().expect("PEM");
            for one in &client.chain {
                pem.extend(one.to_pem().expect("PEM"));
            }
            let key = client.key.private_key_to_pem_pkcs8().expect("PEM");
            let text = |pem: &[u8]| String::from_utf8(pem.to_vec()).expect("PEM");
            write_private(&self.dir.join("client.pem"), &text(&pem));
            write_private(&self.dir.join("client.key"), &text(&key));
            curl.args(["--cert", "client.pem", "--key", "client.key"]);
        }
        for field in fields {
            curl.args(["-H", field]);
        }
        let url = format!("https://localhost:{}{MINT}", self.port);
        let ran = curl.arg(url).current_dir(&self.dir).output().expect("curl");
        let status = String::from_utf8(ran.stdout).expect("a status");
        status.parse().ok().filter(|status| *status != 0)
    }

    #[track_caller]
    fn is(&self, status: u16, client: Option<&Client>, fields: &[String]) {
        let found = self.status(client, fields);
        let answer = std::fs::read_to_string(self.dir.join("answer")).unwrap_or_default();
        assert_eq!(found, Some(status), "{answer}\n{}", self.proxy.said());
    }

    /// A key that works from one network alone.
    fn key_from(&self, network: &str) -> String {
        let callers = &self.api.service.callers;
        let by = Caller::at_the_command_line(Uuid::nil());
        let mut new = NewApiKey::new(Role::Account, vec![account("acme")]);
        new.allow_from = vec![network.parse().expect("a network")];
        let key = wait(callers.api_keys().create(&by, new)).expect("a key");
        format!("Authorization: Bearer {}", key.key)
    }

    /// What holds behind every proxy.
    fn passes_certificates_on(&self) {
        let world = &self.api.world;
        let client = acme(world);
        self.is(200, Some(&client), &[]);
        let trail = world.trail("acme");
        let callers: Vec<&str> = trail.iter().map(|event| event.caller.as_str()).collect();
        assert!(callers.contains(&"certificate:acme"), "{callers:?}");
        // Without a certificate another credential counts, and none is none.
        let bearer = format!("Authorization: Bearer {}", self.api.acme);
        self.is(200, None, std::slice::from_ref(&bearer));
        self.is(401, None, &[]);
        self.is(403, Some(&client), &[bearer]);
        // What a client writes into the field itself is nothing.
        let forged = [
            format!("{}: {}", self.field, client.header()),
            format!("{}: {}", self.field, escaped_pem(&client)),
        ];
        for field in &forged {
            self.is(401, None, std::slice::from_ref(field));
            let other = wanted_other(world);
            self.is(403, Some(&other), std::slice::from_ref(field));
        }
        // Of a CA that is not trusted: the proxy or the service refuses it.
        let validity = world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600);
        let stranger = DevelopmentCa::new("Development CA", validity).expect("a CA");
        let strange = self.status(Some(&wanted(world).of(&stranger)), &[]);
        assert!(
            strange.is_none_or(|status| matches!(status, 400 | 403 | 495)),
            "{strange:?}"
        );
        // The proxy names the client's address, and not the one that the client claims.
        self.is(200, None, &[self.key_from(&format!("{CLIENT}/32"))]);
        let elsewhere = self.key_from("192.0.2.0/24");
        self.is(403, None, std::slice::from_ref(&elsewhere));
        for claimed in ["X-Forwarded-For: 192.0.2.1", "Forwarded: for=192.0.2.1"] {
            self.is(403, None, &[elsewhere.clone(), claimed.to_owned()]);
        }
    }
}

impl Scene {
    /// What holds behind those that pass on the intermediate certificates too.
    fn passes_chains_on(&self) {
        let world = &self.api.world;
        let validity = world.in_seconds(-3600)..=world.in_seconds(86_400 * 3650 - 3600);
        let ca = world.ca.intermediate("Clients", validity).expect("a CA");
        let lower = wanted(world).of(&ca);
        assert_eq!(lower.chain.len(), 1);
        self.is(200, Some(&lower), &[]);
    }
}

/// With a certificate that is good, and mapped to nobody.
fn wanted_other(world: &World) -> Client {
    let mut other = wanted(world);
    other.dns = &["other.example"];
    other.of(&world.ca)
}

fn escaped_pem(client: &Client) -> String {
    let pem = client.certificate.to_pem().expect("PEM");
    let pem = String::from_utf8(pem).expect("PEM");
    pem.replace('\n', "%0A").replace(' ', "%20")
}

fn nginx_passes_certificates_on(world: World) {
    let scene = behind(world, "nginx", |folder, dir, server| {
        let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .map(|kind| format!("{kind}_temp_path {kind};\n"))
            .concat();
        let file = write(
            dir,
            &format!(
                "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log stderr;\nevents {{}}\n\
                 http {{\naccess_log off;\n{temporary}{server}}}\n"
            ),
        );
        let mut nginx = Command::new(folder.join("usr/sbin/nginx"));
        nginx
            .arg("-p")
            .arg(dir)
            .arg("-c")
            .arg(file)
            .args(["-e", "stderr"]);
        nginx
    });
    scene.passes_certificates_on();
}

fn haproxy_passes_certificates_on(world: World) {
    let scene = behind(world, "haproxy", |folder, dir, frontend| {
        let timeouts = "timeout connect 10s\n    timeout client 30s\n    timeout server 30s";
        let file = write(dir, &format!("defaults\n    {timeouts}\n\n{frontend}"));
        let mut haproxy = Command::new(folder.join("usr/sbin/haproxy"));
        haproxy.arg("-db").arg("-f").arg(file);
        haproxy
    });
    scene.passes_certificates_on();
}

fn apache_passes_certificates_on(world: World) {
    let scene = behind(world, "apache", |folder, dir, host| {
        let modules = [
            "mpm_event",
            "authz_core",
            "socache_shmcb",
            "ssl",
            "headers",
            "proxy",
            "proxy_http",
        ];
        let modules = modules.map(|name| {
            let file = folder.join(format!("usr/lib/apache2/modules/mod_{name}.so"));
            format!("LoadModule {name}_module {}\n", file.display())
        });
        let port: String = host
            .chars()
            .skip_while(|c| *c != ':')
            .skip(1)
            .take_while(char::is_ascii_digit)
            .collect();
        // Root cannot serve requests, so it names somebody else.
        let user = "<IfModule unixd_module>\nUser nobody\nGroup nogroup\n</IfModule>\n";
        let text = format!(
            "{}ServerRoot {dir}\nServerName localhost\nPidFile {dir}/apache.pid\nErrorLog /dev/stderr\n\
             DefaultRuntimeDir {dir}\nMutex posixsem\n{user}Listen {port}\n{host}",
            modules.concat(),
            dir = dir.display(),
        );
        let file = write(dir, &text);
        let mut apache = Command::new(folder.join("usr/sbin/apache2"));
        apache.arg("-DFOREGROUND").arg("-f").arg(file);
        apache
    });
    scene.passes_certificates_on();
}

fn caddy_passes_certificates_on(world: World) {
    let scene = behind(world, "caddy", |folder, dir, site| {
        let file = write(
            dir,
            &format!(
                "{{\n    admin off\n    auto_https disable_redirects\n\
                 \x20   storage file_system {}/caddy\n}}\n{site}",
                dir.display()
            ),
        );
        let mut caddy = Command::new(folder.join("usr/bin/caddy"));
        caddy
            .arg("run")
            .arg("--adapter")
            .arg("caddyfile")
            .arg("--config")
            .arg(file);
        caddy
    });
    scene.passes_certificates_on();
}

fn envoy_passes_certificates_on(world: World) {
    let scene = behind(world, "envoy", |folder, dir, configuration| {
        let file = dir.join("proxy.yaml");
        std::fs::write(&file, configuration).expect("a file");
        let mut envoy = Command::new(folder.join("envoy"));
        envoy
            .args([
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "--config-path",
            ])
            .arg(file);
        envoy
    });
    scene.passes_certificates_on();
    scene.passes_chains_on();
}

fn traefik_passes_certificates_on(world: World) {
    let scene = behind(world, "traefik", |folder, dir, configuration| {
        let (options, _) = configuration.split_once('\n').expect("a first line");
        let options = options.strip_prefix("# traefik ").expect("options");
        let file = dir.join("proxy.yaml");
        std::fs::write(&file, &configuration).expect("a file");
        let mut traefik = Command::new(folder.join("traefik"));
        traefik
            .args(options.split(' '))
            .arg("--global.checkNewVersion=false")
            .arg(format!("--providers.file.filename={}", file.display()));
        traefik
    });
    // Traefik listens before it has read its routes.
    let started = Instant::now();
    while scene.status(None, &[]) != Some(401) {
        assert!(started.elapsed() < PATIENCE, "{}", scene.proxy.said());
        std::thread::sleep(Duration::from_millis(20));
    }
    scene.passes_certificates_on();
    scene.passes_chains_on();
}
