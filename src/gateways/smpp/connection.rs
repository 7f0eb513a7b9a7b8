//! Connections to an SMSC: TCP, or TLS by OpenSSL.

use std::fmt;
use std::io;
use std::path::Path;
use std::pin::Pin;

use openssl::error::ErrorStack;
use openssl::ssl::{SslConnector, SslConnectorBuilder, SslMethod, SslVersion};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

use super::SmppSettings;
use crate::domain::control::sending::SendFailure;
use crate::gateways::error::GatewayError;
use crate::outgoing::HostPort;

/// A stream of either kind.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Opens connections to one SMSC.
pub(super) struct Connector {
    target: String,
    host: String,
    tls: Option<SslConnector>,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(settings: &SmppSettings) -> Result<Self, GatewayError> {
        let parsed: Result<HostPort, _> = settings.target.parse();
        let parts = settings.target.rsplit_once(':').filter(|_| parsed.is_ok());
        let Some((host, _)) = parts.filter(|(_, port)| port.parse::<u16>().is_ok()) else {
            let why = "must be `host:port`, the name or the address of the SMSC and its port";
            return Err(GatewayError::wrong("target", &why));
        };
        let host = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .to_owned();
        let tls = if settings.tls {
            Some(connector(settings.ca_file.as_deref())?)
        } else {
            None
        };
        Ok(Self {
            target: settings.target.clone(),
            host,
            tls,
        })
    }

    /// Opens a connection. The caller limits the time.
    ///
    /// # Errors
    /// Why there is none, and what OpenSSL or the system says.
    pub(super) async fn connect(&self) -> Result<Box<dyn Stream>, (SendFailure, String)> {
        let unreachable = |error: io::Error| (SendFailure::Unreachable, error.to_string());
        let stream = TcpStream::connect(&self.target)
            .await
            .map_err(unreachable)?;
        stream.set_nodelay(true).map_err(unreachable)?;
        let Some(tls) = &self.tls else {
            return Ok(Box::new(stream));
        };
        let failed = |error: &dyn fmt::Display| (SendFailure::Tls, error.to_string());
        let configured = tls.configure().map_err(|error| failed(&error))?;
        // The name or the address is verified against the certificate.
        let ssl = configured
            .into_ssl(&self.host)
            .map_err(|error| failed(&error))?;
        let mut stream = SslStream::new(ssl, stream).map_err(|error| failed(&error))?;
        let connected = Pin::new(&mut stream).connect().await;
        connected.map_err(|error| failed(&error))?;
        Ok(Box::new(stream))
    }
}

fn connector(ca_file: Option<&Path>) -> Result<SslConnector, GatewayError> {
    let built = |mut builder: SslConnectorBuilder| -> Result<SslConnector, ErrorStack> {
        builder.set_min_proto_version(Some(SslVersion::TLS1_2))?;
        match ca_file {
            Some(path) => {
                // Only these, not those of the system that a new builder has.
                builder.set_cert_store(openssl::x509::store::X509StoreBuilder::new()?.build());
                builder.set_ca_file(path)?;
            }
            None => {
                // An OpenSSL that is built in does not know where the system keeps its CAs.
                if let Some(path) = openssl_probe::probe().cert_file {
                    builder.set_ca_file(path)?;
                }
            }
        }
        Ok(builder.build())
    };
    let connector = SslConnector::builder(SslMethod::tls_client()).and_then(built);
    connector.map_err(|error| GatewayError::wrong("ca_file", &error))
}
