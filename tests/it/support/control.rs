//! Effective control: what a world asks numbers with.

use std::sync::Arc;

use tn_authority::authority::{ControlSettings, ProofLimits};
use tn_authority::callers::{Pepper, Peppers};
use tn_authority::domain::control::codes::Codes;
use tn_authority::domain::control::proof::Method;

/// The defaults of the service, with a gateway for each method.
pub fn control_settings() -> ControlSettings {
    let gateway = |method| (format!("{method}-gateway"), [method].into());
    ControlSettings {
        digits: 6,
        valid: 600,
        tries: 5,
        sample: 0,
        limits: ProofLimits {
            per_number_hour: 3,
            per_number_day: 10,
            per_account_hour: 200,
            per_gateway_hour: 10_000,
        },
        gateways: [Method::Sms, Method::Voice, Method::Sip]
            .map(gateway)
            .into(),
    }
}

/// What a service with these secrets protects codes with.
pub fn codes((newest, previous): (u8, Option<u8>)) -> Arc<dyn Codes> {
    let pepper = |byte: u8| Pepper::new(&[byte; 32]).expect("a pepper");
    let peppers = Peppers::new(pepper(newest), previous.map(pepper)).expect("peppers");
    Arc::new(peppers.control_codes().expect("codes"))
}
