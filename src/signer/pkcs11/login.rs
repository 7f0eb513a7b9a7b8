//! Logging in to tokens. A token locks after a few wrong PINs, and unlocking it takes its security
//! officer, or is impossible. So what a refusal has shown is remembered for the process, not for a
//! key or a session: every key of the token, every scan and every session would repeat it.

use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::session::{Session, SessionState, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use parking_lot::Mutex;

use super::device;
use crate::domain::Passphrase;
use crate::signer::error::HsmError;
use crate::signer::file_stamp::KeyFileStamp;
use crate::signer::secret::SecretSource;

/// The PINs that tokens have refused in this process. There is one more only after an operator has
/// configured another wrong one.
static REFUSED: Mutex<Vec<RefusedPin>> = Mutex::new(Vec::new());

/// What identifies a token, whichever slot, module or URI leads to it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct TokenId {
    manufacturer: String,
    model: String,
    serial: String,
    label: String,
}

struct RefusedPin {
    token: TokenId,
    pin: Passphrase,
    /// The file that the PIN was in.
    file: Option<KeyFileStamp>,
}

impl TokenId {
    fn of(token: &TokenInfo) -> Self {
        Self {
            manufacturer: token.manufacturer_id().to_owned(),
            model: token.model().to_owned(),
            serial: token.serial_number().to_owned(),
            label: token.label().to_owned(),
        }
    }
}

/// Logs a session in as the user (PKCS #11 v3.0 §5.6.8), unless the token is logged in already.
///
/// # Errors
/// [`HsmError`] if the token refuses the PIN. It is not tried if this process has seen it refused,
/// or if the token's flags (§3.2, `CK_TOKEN_INFO`) say that a wrong one would lock it.
pub(super) fn log_in(
    session: &Session,
    token: &TokenInfo,
    source: &SecretSource,
) -> Result<(), HsmError> {
    if is_logged_in(session)? {
        return Ok(());
    }
    if token.user_pin_locked() {
        return Err(HsmError::PinLocked);
    }
    let read = source.read_stamped("PIN of the HSM");
    let (pin, file) = read.map_err(|e| HsmError::Device(e.to_string()))?;
    if pin.expose().is_empty() {
        // As while the file is being written again; that must not cost a try.
        return Err(HsmError::Device("the PIN is empty".to_owned()));
    }
    let id = TokenId::of(token);
    // The file of a PIN that was reset to the configured one need only be written again. If the
    // token still counts wrong PINs, it has not been reset.
    let is_refused = |known: &RefusedPin| {
        known.token == id && known.pin == pin && (known.file == file || token.user_pin_count_low())
    };
    if REFUSED.lock().iter().any(is_refused) {
        return Err(HsmError::Pin);
    }
    if token.user_pin_final_try() {
        return Err(HsmError::PinLastTry);
    }
    if token.user_pin_count_low() {
        log::warn!(token = token.label(); "the HSM has refused a PIN before; trying the configured one once");
    }
    match session.login(UserType::User, Some(&AuthPin::new(pin.expose().into()))) {
        Ok(()) | Err(ModuleError::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
            REFUSED.lock().retain(|known| known.token != id);
            Ok(())
        }
        Err(ModuleError::Pkcs11(
            RvError::PinIncorrect
            | RvError::PinInvalid
            | RvError::PinLenRange
            | RvError::PinLocked
            | RvError::PinExpired,
            _,
        )) => {
            let mut refused = REFUSED.lock();
            refused.retain(|known| known.token != id || known.pin != pin);
            refused.push(RefusedPin {
                token: id,
                pin,
                file,
            });
            Err(HsmError::Pin)
        }
        Err(error) => Err(device(&error)),
    }
}

/// All sessions of a process with one token are logged in together (PKCS #11 v3.0 §5.6.8).
pub(super) fn is_logged_in(session: &Session) -> Result<bool, HsmError> {
    let info = session.get_session_info().map_err(|e| device(&e))?;
    Ok(match info.session_state() {
        SessionState::RoUser | SessionState::RwUser => true,
        SessionState::RoPublic | SessionState::RwPublic | SessionState::RwSecurityOfficer => false,
    })
}
