//! Effective control: what a world asks numbers with.

use std::sync::Arc;

use tn_authority::authority::{
    ChangeError, Confirmation, ControlSettings, NewControlProofs, ProofLimits, RefusedCode,
};
use tn_authority::callers::{Pepper, Peppers};
use tn_authority::domain::control::channel::Channel;
use tn_authority::domain::control::codes::{Codes, ControlCode};
use tn_authority::domain::control::proof::{ControlProof, Method, ProofState};
use tn_authority::domain::{Caller, Role};
use uuid::Uuid;

use super::{World, account, wait};

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
            wrong_codes_per_account_day: 100,
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

impl World {
    /// An account wants its numbers to be asked by text messages.
    pub fn asks(&self, id: &str, numbers: &[&str]) -> Result<Vec<ControlProof>, ChangeError> {
        self.asks_as(
            &self.caller(Role::Account, &[id]),
            id,
            numbers,
            Channel::Sms(None),
        )
    }

    pub fn asks_as(
        &self,
        caller: &Caller,
        id: &str,
        numbers: &[&str],
        channel: Channel,
    ) -> Result<Vec<ControlProof>, ChangeError> {
        let numbers = numbers.iter().map(|text| text.parse().expect("a number"));
        let new = NewControlProofs {
            account: account(id),
            numbers: numbers.collect(),
            channel,
            renewal: None,
        };
        wait(self.authority.start_control(caller, new))
    }

    /// The only number that is asked.
    pub fn asks_one(&self, id: &str, number: &str) -> ControlProof {
        let mut started = self.asks(id, &[number]).expect("a proof");
        started.pop().expect("a proof")
    }

    /// The code that is in the outbox, as the gateway would send it.
    pub fn code_of(&self, proof: &ControlProof) -> String {
        let store = self.authority.store();
        let message = store.read(|tx| tx.control_message(proof.id));
        let message = message.expect("the outbox").expect("a code");
        let code = self.codes.open(proof.id, &message.gateway, &message.sealed);
        code.expect("decrypted").expose().to_owned()
    }

    /// Whether a code is still to be sent.
    pub fn has_code(&self, proof: &ControlProof) -> bool {
        let store = self.authority.store();
        let message = store.read(|tx| tx.control_message(proof.id));
        message.expect("the outbox").is_some()
    }

    pub fn confirms(&self, id: &str, proof: &ControlProof, code: &str) -> Confirmation {
        let caller = self.caller(Role::Account, &[id]);
        self.confirms_as(&caller, proof, code).expect("an answer")
    }

    pub fn confirms_as(
        &self,
        caller: &Caller,
        proof: &ControlProof,
        code: &str,
    ) -> Result<Confirmation, ChangeError> {
        let code = ControlCode::new(code);
        let proof = self.authority.proof_to_confirm(caller, proof.id)?;
        wait(self.authority.confirm_control(caller, &proof, code))
    }

    /// A number that is asked and answers.
    pub fn proves(&self, id: &str, number: &str) -> ControlProof {
        let proof = self.asks_one(id, number);
        let code = self.code_of(&proof);
        match self.confirms(id, &proof, &code) {
            Confirmation::Confirmed(proof) => proof,
            Confirmation::Refused(refused) => panic!("{refused}"),
        }
    }

    /// The proof as it is now.
    pub fn proof(&self, proof: &ControlProof) -> ControlProof {
        self.proof_of(proof.id)
    }

    pub fn proof_of(&self, id: Uuid) -> ControlProof {
        let auditor = self.caller(Role::Auditor, &[]);
        self.authority.control_proof(&auditor, id).expect("a proof")
    }

    pub fn state(&self, proof: &ControlProof) -> ProofState {
        self.proof(proof).state(self.now())
    }
}

/// A code of the same length that is not this one.
pub fn wrong(code: &str) -> String {
    let mut wrong = code.to_owned();
    let last = if code.ends_with('7') { '3' } else { '7' };
    wrong.pop();
    wrong.push(last);
    wrong
}

/// How many more codes can be tried after one that was not accepted.
pub fn tries_left(confirmation: &Confirmation) -> u32 {
    match confirmation {
        Confirmation::Refused(RefusedCode { tries_left }) => *tries_left,
        Confirmation::Confirmed(proof) => panic!("{} is confirmed", proof.id),
    }
}
