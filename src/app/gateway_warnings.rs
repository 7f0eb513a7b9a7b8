//! What is configured of effective control, and does not do what it seems to.

use std::collections::BTreeSet;

use super::{AppError, database_url};
use crate::authority::PolicySet;
use crate::config::{Config, GatewayKind};
use crate::domain::control::proof::Method;
use crate::domain::network::loopback::is_loopback_host;
use crate::store::{Store, StoreError, Tx};

/// What should be checked about the gateways and the policies, without the database.
#[must_use]
pub fn gateway_warnings(config: &Config, policy: Option<&PolicySet>) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut served = BTreeSet::new();
    for (name, gateway) in &config.control.gateways {
        let host = gateway.target.rsplit_once(':').map_or("", |(host, _)| host);
        if gateway.kind == GatewayKind::Smpp && !gateway.tls && !is_loopback_host(host) {
            warnings.push(format!(
                "`control.gateways.{name}` sends its password and all codes without encryption; set `tls = true`, or \
                 use a tunnel to the SMSC"
            ));
        }
        let methods: BTreeSet<Method> = gateway.methods.iter().copied().collect();
        if methods.is_subset(&served) {
            warnings.push(format!(
                "`control.gateways.{name}` is never used: of several gateways for a method, the first by name is; \
                 remove it, or rename it"
            ));
        }
        served.extend(methods);
    }
    let wants_control = policy.is_some_and(|policy| policy.row_inputs().control);
    if wants_control && served.is_empty() {
        warnings.push(
            "the policies refer to `context.control`, but no gateway is configured, so no proof of control can be \
             started; add a section `[control.gateways.NAME]`"
                .to_owned(),
        );
    }
    warnings
}

/// Rights to renew whose control cannot be proven again, since their gateway was removed. Reads the
/// database.
pub fn lost_gateway_warnings(config: &Config) -> Result<Vec<String>, AppError> {
    let url = database_url(config)?;
    let found = Store::read_once(&url, |tx| without_gateway(config, tx))?;
    Ok(found)
}

/// The same, in a transaction.
pub(super) fn without_gateway(config: &Config, tx: &mut Tx<'_>) -> Result<Vec<String>, StoreError> {
    let gateways = config.control.gateways.values();
    let served: BTreeSet<Method> = gateways.flat_map(|one| one.methods.clone()).collect();
    let mut warnings = Vec::new();
    for method in Method::ALL {
        if served.contains(&method) {
            continue;
        }
        let count = tx.count_reproofs_by(method)?;
        if count > 0 {
            warnings.push(format!(
                "{count} rights to renew prove control by `{method}`, for which no gateway is configured, so these \
                 proofs fail; add a gateway with this method, or revoke the rights"
            ));
        }
    }
    Ok(warnings)
}
