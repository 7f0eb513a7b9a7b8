//! Shared libraries of modules: each is loaded and initialised once a process, as PKCS #11 wants it. Sessions have a seat
//! here, so that the module can be started anew when its token has gone and come back.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error as ModuleError, RvError};
use cryptoki::object::ObjectHandle;
use cryptoki::session::Session;
use parking_lot::Mutex;

use super::device;
use super::uri::KeyUri;
use crate::signer::error::HsmError;

/// How often a module may be started anew.
const PAUSE: Duration = Duration::from_secs(1);

/// A module.
pub(super) struct Library {
    context: Pkcs11,
    state: Mutex<LibraryState>,
}

#[derive(Default)]
struct LibraryState {
    seats: Vec<Weak<Mutex<Option<OpenLibrary>>>>,
    started_anew: Option<Instant>,
}

/// An open session, with the key that it was opened for.
struct OpenLibrary {
    session: Session,
    key: ObjectHandle,
}

/// A session's place. It is empty when the module was started anew in the meantime.
pub(super) struct Seat(Arc<Mutex<Option<OpenLibrary>>>);

impl fmt::Debug for Library {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Library").finish_non_exhaustive()
    }
}

impl Library {
    /// The module of this path.
    pub(super) fn get(path: &Path) -> Result<Arc<Self>, HsmError> {
        static KNOWN: Mutex<BTreeMap<PathBuf, Arc<Library>>> = Mutex::new(BTreeMap::new());
        let mut known = KNOWN.lock();
        if let Some(library) = known.get(path) {
            return Ok(Arc::clone(library));
        }
        let failed = |e: &ModuleError| {
            HsmError::Device(format!(
                "the module `{}` cannot be used: {e}",
                path.display()
            ))
        };
        let context = Pkcs11::new(path).map_err(|e| failed(&e))?;
        initialize(&context).map_err(|e| failed(&e))?;
        let library = Arc::new(Self {
            context,
            state: Mutex::default(),
        });
        known.insert(path.to_owned(), Arc::clone(&library));
        Ok(library)
    }

    /// Opens a session with the token of a URI, and lets `find` log in and find the key. If that fails for a key that was
    /// there before, the module is started anew once: several find a token that came back in no other way. A key that
    /// never was there does not disturb the others.
    pub(super) fn open(
        &self,
        uri: &KeyUri,
        to_write: bool,
        was_there: bool,
        mut find: impl FnMut(&Session) -> Result<ObjectHandle, HsmError>,
    ) -> Result<Seat, HsmError> {
        let mut state = self.state.lock();
        let open = match self.try_open(uri, to_write, &mut find) {
            Err(HsmError::Device(_))
                if (was_there || !state.is_used()) && self.start_anew(&mut state) =>
            {
                self.try_open(uri, to_write, &mut find)?
            }
            outcome => outcome?,
        };
        let seat = Arc::new(Mutex::new(Some(open)));
        state.seats.retain(|seat| seat.strong_count() > 0);
        state.seats.push(Arc::downgrade(&seat));
        Ok(Seat(seat))
    }

    fn try_open(
        &self,
        uri: &KeyUri,
        to_write: bool,
        find: &mut impl FnMut(&Session) -> Result<ObjectHandle, HsmError>,
    ) -> Result<OpenLibrary, HsmError> {
        let slots = self.context.get_slots_with_token();
        for slot in slots.map_err(|e| device(&e))? {
            let Ok(token) = self.context.get_token_info(slot) else {
                continue;
            };
            if !uri.is_in(slot.id(), &token) {
                continue;
            }
            let session = if to_write {
                self.context.open_rw_session(slot)
            } else {
                self.context.open_ro_session(slot)
            };
            let session = session.map_err(|e| device(&e))?;
            let key = find(&session)?;
            return Ok(OpenLibrary { session, key });
        }
        Err(HsmError::Device(format!("there is no token for `{uri}`")))
    }

    /// Closes all sessions and starts the module again, unless one is signing, or it was done just now.
    fn start_anew(&self, state: &mut LibraryState) -> bool {
        if state.started_anew.is_some_and(|at| at.elapsed() < PAUSE) {
            return false;
        }
        let seats: Vec<_> = state.seats.iter().filter_map(Weak::upgrade).collect();
        let mut taken = Vec::new();
        for seat in &seats {
            match seat.try_lock() {
                Some(seat) => taken.push(seat),
                None => return false,
            }
        }
        for mut seat in taken {
            seat.take();
        }
        state.started_anew = Some(Instant::now());
        state.seats.clear();
        if let Err(error) = self.context.clone().finalize() {
            log::warn!("the HSM's module did not end: {error}");
        }
        match initialize(&self.context) {
            Ok(()) => true,
            Err(error) => {
                log::warn!("the HSM's module did not start again: {error}");
                false
            }
        }
    }
}

impl LibraryState {
    /// Whether any session is open. One that is signing is.
    fn is_used(&self) -> bool {
        let mut seats = self.seats.iter().filter_map(Weak::upgrade);
        seats.any(|seat| seat.try_lock().is_none_or(|seat| seat.is_some()))
    }
}

impl Seat {
    /// Uses the session.
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

fn initialize(context: &Pkcs11) -> Result<(), ModuleError> {
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Err(ModuleError::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(()),
        outcome => outcome,
    }
}
