//! Builds the gateways that send codes, from the configuration and the files that it names.

use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::config::{self, Config, GatewayKind};
use crate::domain::Passphrase;
use crate::gateways::{
    ConfiguredGateway, Gateway, GatewayError, Gateways, HttpGateway, HttpSettings, IN_MESSAGES,
    KannelGateway, KannelSettings, SipGateway, SipSettings, SmppGateway, SmppSettings, Template,
    TemplateError,
};
use crate::regular_file;
use crate::signer::key::warn_if_open_to_others;

/// What warnings call the secret of a gateway.
const WHAT: &str = "secret of a gateway";
/// How long an SMPP session is idle before it is checked.
const ENQUIRE_INTERVAL: Duration = Duration::from_secs(30);

/// Why a gateway cannot be used.
#[derive(Debug, Error)]
pub enum GatewaysError {
    #[error("control.message {0}")]
    Message(#[from] TemplateError),
    #[error("control.gateways.{name}: {error}")]
    Gateway { name: String, error: GatewayError },
    #[error("control.gateways.{name}: the `{key}` `{path}` cannot be read: {error}")]
    File {
        name: String,
        key: &'static str,
        path: PathBuf,
        error: std::io::Error,
    },
    #[error(
        "control.gateways.{name}: the `secret_file` `{path}` is empty; write the password or the secret into it"
    )]
    NoSecret { name: String, path: PathBuf },
}

/// All gateways; nothing is connected.
pub(super) fn open(config: &Config) -> Result<Gateways, GatewaysError> {
    let all = config.control.gateways.iter();
    Ok(Gateways {
        all: all
            .map(|(name, section)| configured(name, section))
            .collect::<Result<_, _>>()?,
        message: Template::parse(&config.control.message, IN_MESSAGES)?,
    })
}

/// Whether the message and each gateway can be used: the name of what was checked, and what is
/// wrong with it. Nothing is sent, and nothing is connected.
#[must_use]
pub fn check_gateways(config: &Config) -> Vec<(String, Result<(), GatewaysError>)> {
    if config.control.gateways.is_empty() {
        return Vec::new();
    }
    let message = Template::parse(&config.control.message, IN_MESSAGES);
    let message = message.map(|_| ()).map_err(GatewaysError::from);
    let gateways = config.control.gateways.iter();
    let gateways = gateways.map(|(name, section)| {
        let checked = configured(name, section).map(|_| ());
        (format!("`{name}`"), checked)
    });
    std::iter::once(("message".to_owned(), message))
        .chain(gateways)
        .collect()
}

fn configured(name: &str, section: &config::Gateway) -> Result<ConfiguredGateway, GatewaysError> {
    let wrong = |error| GatewaysError::Gateway {
        name: name.to_owned(),
        error,
    };
    let timeout = Duration::from_secs(section.timeout.into());
    let concurrency = u16::try_from(section.concurrency).unwrap_or(u16::MAX);
    let secret = section.secret_file.as_deref();
    let secret = secret.map(|path| secret_in(name, path)).transpose()?;
    let ca_pem = section.ca_file.as_deref();
    let ca_pem = ca_pem.map(|path| read(name, "ca_file", path)).transpose()?;
    let gateway: Box<dyn Gateway> = match section.kind {
        GatewayKind::Http => {
            let headers = section.headers.iter();
            let settings = HttpSettings {
                target: section.target.clone(),
                method: section.http_method.clone(),
                headers: headers
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect(),
                body: section.body.clone(),
                expected_status: section.expected_status,
                expected_text: section.expected_text.clone(),
                secret,
                ca_pem,
                allow_plain: section.allow_plain,
                timeout,
            };
            Box::new(HttpGateway::new(&settings).map_err(wrong)?)
        }
        GatewayKind::Kannel => {
            let settings = KannelSettings {
                target: section.target.clone(),
                username: section.username.clone().unwrap_or_default(),
                password: secret.unwrap_or_else(|| "".into()),
                from: section.from.clone(),
                ca_pem,
                allow_plain: section.allow_plain,
                timeout,
            };
            Box::new(KannelGateway::new(settings).map_err(wrong)?)
        }
        GatewayKind::Smpp => {
            let settings = SmppSettings {
                name: name.to_owned(),
                target: section.target.clone(),
                system_id: section.username.clone().unwrap_or_default(),
                password: secret.unwrap_or_else(|| "".into()),
                system_type: section.system_type.clone().unwrap_or_default(),
                from: section.from.clone(),
                tls: section.tls,
                ca_file: section.ca_file.clone(),
                timeout,
                enquire_interval: ENQUIRE_INTERVAL,
                window: concurrency,
            };
            Box::new(SmppGateway::new(&settings).map_err(wrong)?)
        }
        GatewayKind::Sip => {
            let target = section.target.parse();
            let target = target.map_err(|error| wrong(GatewayError::wrong("target", &error)))?;
            let settings = SipSettings {
                target,
                from: section.from.clone().unwrap_or_default(),
                timeout,
            };
            Box::new(SipGateway::new(settings).map_err(wrong)?)
        }
    };
    Ok(ConfiguredGateway {
        name: name.to_owned(),
        gateway,
        concurrency,
        timeout,
    })
}

fn secret_in(name: &str, path: &Path) -> Result<Passphrase, GatewaysError> {
    warn_if_open_to_others(WHAT, path);
    let secret = Passphrase::from(read(name, "secret_file", path)?.as_str());
    if secret.expose().is_empty() {
        return Err(GatewaysError::NoSecret {
            name: name.to_owned(),
            path: path.to_owned(),
        });
    }
    Ok(secret)
}

fn read(name: &str, key: &'static str, path: &Path) -> Result<String, GatewaysError> {
    regular_file::read_text(path).map_err(|error| GatewaysError::File {
        name: name.to_owned(),
        key,
        path: path.to_owned(),
        error,
    })
}
