//! PKCS #11 modules (shared libraries). Each is loaded and initialized once per process, as PKCS
//! #11 requires. Open sessions are registered here, so that they can be closed when the module has
//! to be restarted: some modules find a token that was removed and reinserted only after a restart.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use cryptoki::slot::{Slot, TokenInfo};
use parking_lot::Mutex;

use super::opening::ModuleLoading;
use super::uri::KeyUri;
use super::{device, objects};
use crate::domain::text::printable::printable;
use crate::signer::error::HsmError;

/// The shortest time between two restarts of a module.
const MIN_RESTART_INTERVAL: Duration = Duration::from_secs(1);

/// A loaded module.
pub(super) struct Library {
    context: Pkcs11,
    state: Mutex<LibraryState>,
}

/// A module, once it is loaded.
type LoadedModule = Mutex<Option<Arc<Library>>>;

#[derive(Default)]
struct LibraryState {
    sessions: Vec<Weak<Mutex<Option<OpenSession>>>>,
    restarted: Option<Instant>,
}

/// A token in its slot.
struct Token {
    slot: Slot,
    info: TokenInfo,
}

/// An open session and the key that it was opened for.
struct OpenSession {
    session: Session,
    key: ObjectHandle,
}

/// A registered session. It is closed, and this is `None`, once the module has been restarted.
pub(super) struct SessionSlot(Arc<Mutex<Option<OpenSession>>>);

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

impl Library {
    /// Returns the module at this path, and loads it if necessary.
    pub(super) fn get(path: &Path, loading: &ModuleLoading) -> Result<Arc<Self>, HsmError> {
        // Each has a lock of its own, since one that hangs while it is loaded must not keep others
        // from it.
        static LOADED: Mutex<BTreeMap<PathBuf, Arc<LoadedModule>>> = Mutex::new(BTreeMap::new());
        let loaded = Arc::clone(LOADED.lock().entry(path.to_owned()).or_default());
        let mut loaded = loaded.lock();
        if let Some(library) = &*loaded {
            return Ok(Arc::clone(library));
        }
        let cannot_load = |e: &dyn fmt::Display| {
            HsmError::Device(format!(
                "cannot load the PKCS #11 module `{}`: {e}",
                path.display()
            ))
        };
        // The loader would wait for the writer of a pipe. A name without a folder is its to find.
        if fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(cannot_load(&"it is not a regular file"));
        }
        let context = loading
            .during(|| Pkcs11::new(path))
            .map_err(|e| cannot_load(&e))?;
        initialize(&context).map_err(|e| cannot_load(&e))?;
        let library = Arc::new(Self {
            context,
            state: Mutex::default(),
        });
        *loaded = Some(Arc::clone(&library));
        Ok(library)
    }

    /// Opens a session with the token that the URI names, and lets `find` log in and find the key.
    ///
    /// If that fails for a key that was found earlier, the module is restarted once: some modules
    /// detect a reinserted token only then. A key that was never found does not cause a restart
    /// while other sessions are open, since that would close them.
    pub(super) fn open(
        &self,
        uri: &KeyUri,
        was_found: bool,
        mut find: impl FnMut(&Session, &TokenInfo) -> Result<ObjectHandle, HsmError>,
    ) -> Result<SessionSlot, HsmError> {
        let mut state = self.state.lock();
        let open = match self.try_open(uri, &mut find) {
            Err(HsmError::Device(_))
                if (was_found || !state.is_used()) && self.restart(&mut state) =>
            {
                self.try_open(uri, &mut find)?
            }
            outcome => outcome?,
        };
        let slot = Arc::new(Mutex::new(Some(open)));
        state.sessions.retain(|slot| slot.strong_count() > 0);
        state.sessions.push(Arc::downgrade(&slot));
        Ok(SessionSlot(slot))
    }

    /// Opens a session that can write to the one token that the URI fits, for `work`.
    pub(super) fn open_to_write(
        &self,
        uri: &KeyUri,
        work: impl FnOnce(&Session, &TokenInfo) -> Result<ObjectHandle, HsmError>,
    ) -> Result<(), HsmError> {
        let _state = self.state.lock();
        let tokens = self.tokens(uri)?;
        let [token] = &tokens[..] else {
            return Err(ambiguous(uri, &tokens));
        };
        let session = self.context.open_rw_session(token.slot);
        work(&session.map_err(|e| device(&e))?, &token.info).map(drop)
    }

    fn try_open(
        &self,
        uri: &KeyUri,
        find: &mut impl FnMut(&Session, &TokenInfo) -> Result<ObjectHandle, HsmError>,
    ) -> Result<OpenSession, HsmError> {
        let tokens = self.tokens(uri)?;
        let token = match &tokens[..] {
            [only] => only,
            several => self.token_with_key(uri, several)?,
        };
        let session = self.session(token)?;
        let key = find(&session, &token.info)?;
        Ok(OpenSession { session, key })
    }

    /// The tokens that the URI fits, of which there is at least one.
    fn tokens(&self, uri: &KeyUri) -> Result<Vec<Token>, HsmError> {
        let no_token = || {
            HsmError::Device(format!(
                "no token matches `{uri}`; check that it is connected"
            ))
        };
        if uri.names_a_library() {
            let info = self.context.get_library_info().map_err(|e| device(&e))?;
            if !uri.is_in_library(&info) {
                return Err(no_token());
            }
        }
        let mut tokens = Vec::new();
        for slot in self
            .context
            .get_slots_with_token()
            .map_err(|e| device(&e))?
        {
            let Ok(info) = self.context.get_token_info(slot) else {
                continue;
            };
            let fits = uri.is_in(&info)
                && (!uri.names_a_slot()
                    || (self.context.get_slot_info(slot))
                        .is_ok_and(|place| uri.is_in_slot(slot.id(), &place)));
            if fits {
                tokens.push(Token { slot, info });
            }
        }
        if tokens.is_empty() {
            return Err(no_token());
        }
        Ok(tokens)
    }

    /// The one of several tokens that shows the key without a login: a PIN that is sent to another
    /// one would cost it a try. Tokens that show the same key, as replicated HSMs do, are equally
    /// good.
    fn token_with_key<'a>(&self, uri: &KeyUri, tokens: &'a [Token]) -> Result<&'a Token, HsmError> {
        let mut found: Vec<(&Token, Vec<Vec<u8>>)> = Vec::new();
        for token in tokens {
            let session = self.session(token)?;
            let keys = objects::visible_public_keys(&session, uri)?;
            if !keys.is_empty() || objects::private_key(&session, uri)?.is_some() {
                found.push((token, keys));
            }
        }
        let same =
            |keys: &[Vec<u8>]| keys.len() == 1 && found.iter().all(|(_, others)| others == keys);
        match &found[..] {
            [(only, _)] => Ok(only),
            [(first, keys), ..] if same(keys) => Ok(first),
            _ => Err(ambiguous(uri, tokens)),
        }
    }

    fn session(&self, token: &Token) -> Result<Session, HsmError> {
        let session = self.context.open_ro_session(token.slot);
        session.map_err(|e| device(&e))
    }

    /// Closes all sessions and restarts the module, unless a session is in use or the last restart
    /// was just now.
    fn restart(&self, state: &mut LibraryState) -> bool {
        if state
            .restarted
            .is_some_and(|at| at.elapsed() < MIN_RESTART_INTERVAL)
        {
            return false;
        }
        let slots: Vec<_> = state.sessions.iter().filter_map(Weak::upgrade).collect();
        // A locked slot is signing. Lock all of them, so that none starts to sign during the
        // restart.
        let mut locked = Vec::new();
        for slot in &slots {
            match slot.try_lock() {
                Some(slot) => locked.push(slot),
                None => return false,
            }
        }
        for mut slot in locked {
            slot.take();
        }
        state.restarted = Some(Instant::now());
        state.sessions.clear();
        if let Err(error) = self.context.clone().finalize() {
            log::warn!("cannot finalize the PKCS #11 module: {error}");
        }
        match initialize(&self.context) {
            Ok(()) => true,
            Err(error) => {
                log::warn!("cannot restart the PKCS #11 module: {error}");
                false
            }
        }
    }
}

impl LibraryState {
    /// Whether any session is open. A slot that is locked is signing, so it is open.
    fn is_used(&self) -> bool {
        let mut slots = self.sessions.iter().filter_map(Weak::upgrade);
        slots.any(|slot| slot.try_lock().is_none_or(|slot| slot.is_some()))
    }
}

impl SessionSlot {
    /// Runs `work` with the session and the key.
    pub(super) fn with<T>(
        &self,
        work: impl FnOnce(&Session, ObjectHandle) -> Result<T, HsmError>,
    ) -> Result<T, HsmError> {
        match &*self.0.lock() {
            Some(open) => work(&open.session, open.key),
            None => Err(HsmError::Device("the session was closed".to_owned())),
        }
    }
}

fn ambiguous(uri: &KeyUri, tokens: &[Token]) -> HsmError {
    let describe = |token: &Token| {
        let (label, serial) = (token.info.label(), token.info.serial_number());
        format!("`{}` (serial `{}`)", printable(label), printable(serial))
    };
    let all: Vec<String> = tokens.iter().map(describe).collect();
    HsmError::Ambiguous(format!(
        "`{uri}` fits {} tokens: {}; add `token=` or `serial=` to it, because a PIN that is sent to the wrong \
         one could lock it",
        tokens.len(),
        all.join(", ")
    ))
}

fn initialize(context: &Pkcs11) -> Result<(), ModuleError> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        outcome => outcome,
    }
}
