//! Importing what the carrier holds out of a table, all or nothing.

pub mod nanp_blocks;

use std::collections::HashSet;

use serde_json::json;

use super::allocate::must_be_free;
use super::{Action, Authority, Event, Refused};
use crate::domain::clock::from_unix;
use crate::domain::inventory::{Allocation, Basis, Belief, RowRef};
use crate::domain::{Caller, NumberRange, Spc};
use crate::store::{Tx, Versions, new_id};

/// Numbers that a table says the carrier holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    pub numbers: NumberRange,
    pub basis: Basis,
}

/// What an import did, or would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imported {
    /// Ranges that are new.
    pub added: usize,
    /// Ranges that were known already, just so.
    pub unchanged: usize,
}

impl Authority {
    /// Records that the carrier holds these numbers from now on. Ranges that are known already, with the same code and
    /// basis, stay as they are, so that an import can be repeated. With `dry_run` nothing is written.
    ///
    /// # Errors
    /// [`Refused`] if another allocation holds some of the numbers; then nothing of it stays.
    pub async fn import(
        &self,
        caller: &Caller,
        spc: Spc,
        holdings: Vec<Holding>,
        dry_run: bool,
    ) -> Result<Imported, Refused> {
        self.require(caller, Action::Provision)?;
        self.must_hold(&spc)?;
        let now = self.clock.now();
        let window = super::window(None, None, now)?;
        let event = Event::new(caller, now, "import");
        let work = move |tx: &mut Tx<'_>| {
            let numbers: Vec<NumberRange> =
                holdings.iter().map(|holding| holding.numbers).collect();
            let instant = Versions::HoldingIn {
                from: now,
                until: Some(from_unix(now.timestamp().saturating_add(1))),
            };
            let known = tx.allocations_touching(&numbers, instant, usize::MAX)?;
            let known: HashSet<_> = known
                .into_iter()
                .filter(|allocation| allocation.spc == spc && allocation.window.until().is_none())
                .map(|allocation| (allocation.numbers, allocation.basis))
                .collect();
            let new: Vec<Allocation> = holdings
                .iter()
                .filter(|holding| !known.contains(&(holding.numbers, holding.basis)))
                .map(|holding| Allocation {
                    row: RowRef {
                        id: new_id(now),
                        version: 1,
                    },
                    spc: spc.clone(),
                    numbers: holding.numbers,
                    basis: holding.basis,
                    window,
                    belief: Belief {
                        recorded_at: now,
                        superseded_at: None,
                    },
                })
                .collect();
            must_be_free(tx, &new)?;
            let done = Imported {
                added: new.len(),
                unchanged: holdings.len() - new.len(),
            };
            if !dry_run && done.added > 0 {
                tx.insert_allocations(&new)?;
                event.done(
                    tx,
                    &spc,
                    json!({ "added": done.added, "unchanged": done.unchanged }),
                )?;
            }
            Ok(done)
        };
        self.store.change("import", work).await
    }
}
