//! Codes of effective control: drawn, hashed for the proof, encrypted for the outbox. A copy of the
//! database reveals no code, and cannot be searched for one, although there are only a million.
//!
//! Both keys are derived from the secret of the API keys. While that is being changed, the previous
//! one works too.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use openssl::hash::MessageDigest;
use openssl::memcmp;
use openssl::pkey::{PKey, Private};
use openssl::sign::Signer;
use uuid::Uuid;

use super::aead::{self, SealError, part};
use super::pepper::{Pepper, PepperError, Peppers};
use crate::domain::AccountId;
use crate::domain::control::codes::{CodeError, CodeForm, Codes, ControlCode};

/// Draws codes, and protects them in the database.
pub struct ControlCodes {
    newest: CodeKeys,
    previous: Option<CodeKeys>,
}

/// The keys that are derived from one secret.
struct CodeKeys {
    hashing: PKey<Private>,
    sampling: PKey<Private>,
    sealing: Vec<u8>,
}

impl std::fmt::Debug for ControlCodes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ControlCodes(..)")
    }
}

impl Peppers {
    /// What draws and protects codes of effective control.
    ///
    /// # Errors
    /// [`PepperError`] if no key can be derived.
    pub fn control_codes(&self) -> Result<ControlCodes, PepperError> {
        Ok(ControlCodes {
            newest: CodeKeys::of(&self.newest)?,
            previous: self.previous.as_ref().map(CodeKeys::of).transpose()?,
        })
    }
}

impl CodeKeys {
    fn of(pepper: &Pepper) -> Result<Self, PepperError> {
        Ok(Self {
            hashing: PKey::hmac(&pepper.derive("control codes")?)?,
            sampling: PKey::hmac(&pepper.derive("control samples")?)?,
            sealing: pepper.derive("control messages")?,
        })
    }

    /// HMAC-SHA256 over the proof, whose length is fixed, and the code.
    fn hash(&self, proof: Uuid, code: &ControlCode) -> Result<Vec<u8>, CodeError> {
        let text = [proof.as_bytes().as_slice(), code.expose().as_bytes()].concat();
        hmac(&self.hashing, &text)
    }
}

fn hmac(key: &PKey<Private>, text: &[u8]) -> Result<Vec<u8>, CodeError> {
    let signer = Signer::new(MessageDigest::sha256(), key);
    let hash = signer.and_then(|mut signer| signer.sign_oneshot_to_vec(text));
    hash.map_err(|error| CodeError::OpenSsl(error.to_string()))
}

impl Codes for ControlCodes {
    fn draw(&self, form: CodeForm) -> Result<ControlCode, CodeError> {
        match form {
            CodeForm::Digits(digits) => {
                drawn_digits(digits, || random::<4>().map(u32::from_be_bytes))
            }
            CodeForm::Nonce => {
                let bits = random::<32>()?;
                Ok(ControlCode::new(&URL_SAFE_NO_PAD.encode(bits)))
            }
        }
    }

    fn hash(&self, proof: Uuid, code: &ControlCode) -> Result<Vec<u8>, CodeError> {
        self.newest.hash(proof, code)
    }

    fn matches(&self, proof: Uuid, code: &ControlCode, hash: &[u8]) -> Result<bool, CodeError> {
        let mut matches = false;
        // Both are always computed, so that the time does not say which secret it was.
        for keys in std::iter::once(&self.newest).chain(&self.previous) {
            let own = keys.hash(proof, code)?;
            matches |= own.len() == hash.len() && memcmp::eq(&own, hash);
        }
        Ok(matches)
    }

    fn sample_bits(&self, account: &AccountId, day: i64) -> Result<[u8; 32], CodeError> {
        let mut text = day.to_be_bytes().to_vec();
        text.extend_from_slice(account.as_str().as_bytes());
        let bits = hmac(&self.newest.sampling, &text)?;
        <[u8; 32]>::try_from(bits)
            .map_err(|bits| CodeError::OpenSsl(format!("HMAC-SHA256 has {} bytes", bits.len())))
    }

    fn seal(&self, proof: Uuid, gateway: &str, code: &ControlCode) -> Result<Vec<u8>, CodeError> {
        let bound = associated_data(proof, gateway);
        let sealed = aead::close(&self.newest.sealing, &bound, code.expose().as_bytes());
        sealed.map_err(CodeError::from)
    }

    fn open(&self, proof: Uuid, gateway: &str, sealed: &[u8]) -> Result<ControlCode, CodeError> {
        let bound = associated_data(proof, gateway);
        let newest = aead::open(&self.newest.sealing, &bound, sealed);
        let opened = match (newest, &self.previous) {
            (Err(SealError::Broken), Some(previous)) => {
                aead::open(&previous.sealing, &bound, sealed)
            }
            (newest, _) => newest,
        };
        let text = String::from_utf8(opened?).map_err(|_| CodeError::Broken)?;
        Ok(ControlCode::new(&text))
    }
}

impl From<SealError> for CodeError {
    fn from(error: SealError) -> Self {
        match error {
            SealError::OpenSsl(why) => Self::OpenSsl(why),
            SealError::Broken => Self::Broken,
        }
    }
}

/// Binds a code to its proof and gateway, so that it cannot be moved to another row.
fn associated_data(proof: Uuid, gateway: &str) -> Vec<u8> {
    let mut text = Vec::new();
    part(&mut text, &proof.to_string());
    part(&mut text, gateway);
    text
}

/// Digits, each number of them equally likely: what would favour the small ones is drawn again.
fn drawn_digits(
    digits: u32,
    mut draw: impl FnMut() -> Result<u32, CodeError>,
) -> Result<ControlCode, CodeError> {
    let digits = digits.clamp(1, 9);
    let count = 10_u32.pow(digits);
    let usable = u32::MAX - u32::MAX % count;
    loop {
        let drawn = draw()?;
        if drawn < usable {
            let width = digits as usize;
            return Ok(ControlCode::new(&format!("{:0width$}", drawn % count)));
        }
    }
}

fn random<const N: usize>() -> Result<[u8; N], CodeError> {
    let mut bits = [0; N];
    getrandom::fill(&mut bits).map_err(|error| CodeError::Random(error.to_string()))?;
    Ok(bits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pepper(byte: u8) -> Pepper {
        Pepper::new(&[byte; 32]).expect("a pepper")
    }

    fn codes(newest: u8, previous: Option<u8>) -> ControlCodes {
        let peppers = Peppers::new(pepper(newest), previous.map(pepper)).expect("peppers");
        peppers.control_codes().expect("codes")
    }

    #[test]
    fn only_the_code_of_this_proof_matches() {
        let codes = codes(1, None);
        let (proof, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let code = ControlCode::new("012345");
        let hash = codes.hash(proof, &code).expect("a hash");
        let matches = |proof, text: &str| codes.matches(proof, &ControlCode::new(text), &hash);
        assert_eq!(matches(proof, "012345"), Ok(true));
        for wrong in ["12345", "0123456", "012346", "", " 012345"] {
            assert_eq!(matches(proof, wrong), Ok(false), "{wrong}");
        }
        assert_eq!(matches(other, "012345"), Ok(false));
        assert_eq!(codes.matches(proof, &code, &hash[..31]), Ok(false));
        assert_eq!(codes.matches(proof, &code, &[]), Ok(false));
        assert_eq!(
            format!("{code:?} {codes:?}"),
            "ControlCode(..) ControlCodes(..)"
        );
    }

    #[test]
    fn the_bits_of_samples_differ_by_account_day_and_secret() {
        let account = |id: &str| id.parse::<AccountId>().expect("an id");
        let bits = |secret, id, day| codes(secret, None).sample_bits(&account(id), day);
        let one = bits(1, "acme", 20_000).expect("bits");
        assert_eq!(bits(1, "acme", 20_000), Ok(one));
        for (secret, id, day) in [
            (2, "acme", 20_000),
            (1, "other", 20_000),
            (1, "acme", 20_001),
        ] {
            assert_ne!(bits(secret, id, day), Ok(one), "{secret} {id} {day}");
        }
    }

    #[test]
    fn a_code_opens_for_its_proof_and_gateway_alone() {
        let codes = codes(1, None);
        let (proof, other) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let code = ControlCode::new("012345");
        let sealed = codes.seal(proof, "sms", &code).expect("sealed");
        assert!(!sealed.windows(6).any(|part| part == b"012345"));
        assert_eq!(codes.open(proof, "sms", &sealed), Ok(code));
        assert_eq!(codes.open(other, "sms", &sealed), Err(CodeError::Broken));
        assert_eq!(codes.open(proof, "voice", &sealed), Err(CodeError::Broken));
        assert_eq!(codes.open(proof, "sms", &[]), Err(CodeError::Broken));
    }

    #[test]
    fn what_the_previous_secret_protected_still_works() {
        let (old, both, new) = (codes(1, None), codes(2, Some(1)), codes(2, None));
        let proof = Uuid::from_u128(1);
        let code = ControlCode::new("012345");
        let hash = old.hash(proof, &code).expect("a hash");
        let sealed = old.seal(proof, "sms", &code).expect("sealed");
        assert_eq!(both.matches(proof, &code, &hash), Ok(true));
        assert_eq!(both.open(proof, "sms", &sealed), Ok(code.clone()));
        assert_eq!(new.matches(proof, &code, &hash), Ok(false));
        assert_eq!(new.open(proof, "sms", &sealed), Err(CodeError::Broken));
        let hash = both.hash(proof, &code).expect("a hash");
        assert_eq!(new.matches(proof, &code, &hash), Ok(true));
    }

    #[test]
    fn digits_are_uniform_and_complete() {
        // From 4,294,000,000 on there is no whole million left, which would favour small codes.
        let mut numbers = vec![4_294_000_000, u32::MAX, 7].into_iter();
        let drawn = drawn_digits(6, || Ok(numbers.next().expect("a draw"))).expect("a code");
        assert_eq!((drawn.expose(), numbers.len()), ("000007", 0));
        let mut numbers = vec![4_293_999_999].into_iter();
        let drawn = drawn_digits(6, || Ok(numbers.next().expect("a draw"))).expect("a code");
        assert_eq!(drawn.expose(), "999999");
        let codes = codes(1, None);
        let mut seen = [0_u32; 10];
        for _ in 0..2_000 {
            let code = codes.draw(CodeForm::Digits(8)).expect("a code");
            assert_eq!(code.expose().len(), 8);
            for digit in code.expose().bytes() {
                seen[usize::from(digit - b'0')] += 1;
            }
        }
        // 16,000 digits: 1,600 of each, with a standard deviation of 38.
        assert!(
            seen.iter().all(|count| (1_300..1_900).contains(count)),
            "{seen:?}"
        );
        let nonce = codes.draw(CodeForm::Nonce).expect("a nonce");
        assert_eq!(nonce.expose().len(), 43);
        assert_ne!(codes.draw(CodeForm::Nonce), Ok(nonce));
    }
}
