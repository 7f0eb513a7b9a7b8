//! The hashes of API keys, and with which API key secret each was made. `api_keys` has the keys
//! themselves.

use diesel::prelude::*;

use crate::domain::clock::Time;
use crate::store::connection::on_either;
use crate::store::error::StoreError;
use crate::store::schema::api_keys;
use crate::store::tx::Tx;

/// A hash of a key, made anew with another API key secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Rehash {
    pub id: String,
    pub old: Vec<u8>,
    pub new: Vec<u8>,
    /// The name of the API key secret that `new` was made with.
    pub hashed_by: String,
}

impl std::fmt::Debug for Rehash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut out = f.debug_struct("Rehash");
        out.field("id", &self.id).finish_non_exhaustive()
    }
}

/// The keys in use, by the API key secret of their newest hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeysByApiKeySecret {
    pub total: i64,
    /// Hashed with the one of the given name.
    pub newest: i64,
    /// Hashed with one that was not recorded.
    pub unknown: i64,
    /// Hashed with the previous one of the given name.
    pub previous: i64,
}

impl KeysByApiKeySecret {
    /// The keys that do not work, since they are hashed with neither.
    #[must_use]
    pub const fn lost(&self) -> i64 {
        self.total - self.newest - self.unknown - self.previous
    }
}

impl Tx<'_> {
    /// Replaces a hash of a key by one of the same secret. A secret that was rotated meanwhile is
    /// left alone.
    pub fn rehash_api_key(&mut self, rehash: &Rehash) -> Result<(), StoreError> {
        let new = (Some(&rehash.new), Some(&rehash.hashed_by));
        self.run(|connection| {
            on_either!(connection, c => {
                diesel::update(api_keys::table
                    .find(&rehash.id)
                    .filter(api_keys::secret_hash.eq(&rehash.old)))
                    .set((
                        api_keys::secret_hash.eq(&rehash.new),
                        api_keys::hashed_by.eq(&rehash.hashed_by),
                    ))
                    .execute(c)?;
                diesel::update(api_keys::table
                    .find(&rehash.id)
                    .filter(api_keys::previous_hash.eq(Some(&rehash.old))))
                    .set((
                        api_keys::previous_hash.eq(new.0),
                        api_keys::previous_hashed_by.eq(new.1),
                    ))
                    .execute(c)
            })
        })?;
        Ok(())
    }

    /// Counts the keys that can be used at `now`, by the API key secret of their newest hash.
    pub fn keys_by_api_key_secret(
        &mut self,
        newest: &str,
        previous: Option<&str>,
        now: Time,
    ) -> Result<KeysByApiKeySecret, StoreError> {
        let names = self.run(|connection| {
            on_either!(connection, c => api_keys::table
                .filter(api_keys::revoked_at.is_null())
                .filter(api_keys::expires_at.is_null().or(api_keys::expires_at.gt(now.timestamp())))
                .group_by(api_keys::hashed_by)
                .select((api_keys::hashed_by, diesel::dsl::count_star()))
                .load::<(Option<String>, i64)>(c))
        })?;
        let of = |wanted: &dyn Fn(Option<&str>) -> bool| {
            let counts = names.iter().filter(|(name, _)| wanted(name.as_deref()));
            counts.map(|(_, count)| count).sum()
        };
        Ok(KeysByApiKeySecret {
            total: of(&|_| true),
            newest: of(&|name| name == Some(newest)),
            unknown: of(&|name| name.is_none()),
            previous: of(&|name| name.is_some() && name == previous),
        })
    }
}
