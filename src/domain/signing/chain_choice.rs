//! Which certificate chain signs at an instant: the chains that the replicas share, and the rule
//! that chooses among them.
//!
//! Each replica computes the answer from the same rows and the same second, so the replicas need
//! not communicate.

use crate::domain::clock::Time;
use crate::domain::decision::denial::Denial;
use crate::domain::numbers::spc::Spc;
use crate::domain::signing::distrust::Distrust;
use crate::domain::text::words::words;

/// A certificate chain that the replicas publish (RFC 9447: `x5u`), and when it signs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SigningChain {
    /// SHA-256 of the published bytes, in hex; part of the `x5u` URL.
    pub name: String,
    /// The service provider codes of its certificate, in the order of the certificate.
    pub spcs: Vec<Spc>,
    /// The published PEM, leaf first.
    pub pem: String,
    /// The first instant at which all of its certificates are valid.
    pub not_before: Time,
    /// The last second at which all of its certificates are valid.
    pub not_after: Time,
    pub published_at: Time,
    /// From when it signs, unless a later chain does. This is after `published_at`, so that every
    /// replica knows the chain by then.
    pub active_from: Time,
    /// From when it is no longer published. Once this is set, no replica starts to sign with it.
    pub retired_at: Option<Time>,
    /// The last state that was recorded in the audit trail.
    pub noted: ChainState,
    /// Set if its key must not sign any more.
    pub distrust: Option<Distrust>,
}

/// The state of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ChainState {
    /// Published at its `x5u`, but not used for signing yet.
    Published,
    /// Used for signing.
    Active,
    /// No longer used for signing, but published until the last token that it signed has expired.
    Retiring,
    /// No longer published.
    Retired,
    /// Its key is distrusted: it signs nothing, and is not published.
    Distrusted,
}

words! {
    /// The name in the API and the database.
    for ChainState {
        Published = "published",
        Active = "active",
        Retiring = "retiring",
        Retired = "retired",
        Distrusted = "distrusted",
    }
}

impl SigningChain {
    /// Whether all of its certificates are valid at `at`.
    #[must_use]
    pub fn in_force(&self, at: Time) -> bool {
        (self.not_before..=self.not_after).contains(&at)
    }

    /// The state of this chain, given all chains.
    #[must_use]
    pub fn state(&self, all: &[Self], at: Time) -> ChainState {
        if self.distrust.is_some() {
            return ChainState::Distrusted;
        }
        if self.retired_at.is_some_and(|retired| retired <= at) {
            return ChainState::Retired;
        }
        if self.active_from > at {
            return ChainState::Published;
        }
        let signs = |spc: &Spc| active(all, spc, at).is_some_and(|active| active.name == self.name);
        if self.spcs.iter().any(signs) {
            ChainState::Active
        } else {
            ChainState::Retiring
        }
    }
}

/// The chain that signs for a code at an instant, whether or not this replica has its key.
#[must_use]
pub fn active<'a>(all: &'a [SigningChain], spc: &Spc, at: Time) -> Option<&'a SigningChain> {
    all.iter()
        .filter(|chain| chain.spcs.contains(spc) && chain.retired_at.is_none())
        .filter(|chain| chain.distrust.is_none())
        .filter(|chain| chain.active_from <= at && chain.in_force(at))
        .max_by(|a, b| rank(a).cmp(&rank(b)))
}

/// The newest chain wins; of two with the same start, the one whose certificates are younger.
fn rank(chain: &SigningChain) -> (Time, Time, &str) {
    (chain.active_from, chain.not_before, &chain.name)
}

/// A chain that this process could sign with, for one service provider code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    pub spc: Spc,
    /// The name of the chain.
    pub chain: String,
    pub active_from: Time,
    pub not_before: Time,
    /// The last second at which the chain is valid. No token expires later.
    pub ends: Time,
}

impl Candidate {
    /// One candidate for each code of a chain.
    pub fn of(chain: &SigningChain) -> impl Iterator<Item = Self> {
        chain.spcs.iter().map(|spc| Self {
            spc: spc.clone(),
            chain: chain.name.clone(),
            active_from: chain.active_from,
            not_before: chain.not_before,
            ends: chain.not_after,
        })
    }
}

/// Chooses the chain that signs for a code now: the rule of [`active`], limited to chains whose key
/// this process has. A replica that does not have the newest key yet continues with the previous
/// chain, which stays valid and published as long as it is listed.
#[must_use]
pub fn choose<'a>(candidates: &'a [Candidate], spc: &Spc, now: Time) -> Option<&'a Candidate> {
    candidates
        .iter()
        .filter(|one| one.spc == *spc && one.active_from <= now)
        .filter(|one| (one.not_before..=one.ends).contains(&now))
        .max_by(|a, b| {
            let rank = |one: &'a Candidate| (one.active_from, one.not_before, &one.chain);
            rank(a).cmp(&rank(b))
        })
}

/// Chooses the chain for a token that concerns no particular code: that of the first code with a
/// valid chain.
///
/// # Errors
/// [`Denial::NoCertificate`] if there is none.
pub fn choose_any<'a>(
    candidates: &'a [Candidate],
    spcs: &[Spc],
    now: Time,
) -> Result<&'a Candidate, Denial> {
    let none = || match spcs.first() {
        Some(first) => Denial::NoCertificate(first.clone()),
        // Cannot happen: a service that signs has a code.
        None => Denial::SeveralSpcs(Vec::new()),
    };
    let mut chosen = spcs.iter().filter_map(|spc| choose(candidates, spc, now));
    chosen.next().ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::clock::from_unix;

    fn chain(name: &str, spcs: &[&str], active_from: i64, not_after: i64) -> SigningChain {
        SigningChain {
            name: name.to_owned(),
            spcs: spcs
                .iter()
                .map(|spc| spc.parse().expect("a code"))
                .collect(),
            pem: String::new(),
            not_before: from_unix(0),
            not_after: from_unix(not_after),
            published_at: from_unix(active_from - 10),
            active_from: from_unix(active_from),
            retired_at: None,
            noted: ChainState::Published,
            distrust: None,
        }
    }

    fn states(all: &[SigningChain], at: i64) -> Vec<ChainState> {
        all.iter()
            .map(|chain| chain.state(all, from_unix(at)))
            .collect()
    }

    #[test]
    fn the_newest_that_is_in_force_signs() {
        use ChainState::{Active, Published, Retired, Retiring};
        let mut all = [
            chain("a", &["1234"], 100, 1_000),
            chain("b", &["1234", "5678"], 200, 500),
            chain("c", &["5678"], 300, 1_000),
        ];
        assert_eq!(states(&all, 99), [Published, Published, Published]);
        assert_eq!(states(&all, 199), [Active, Published, Published]);
        assert_eq!(states(&all, 200), [Retiring, Active, Published]);
        // One of its codes is enough.
        assert_eq!(states(&all, 300), [Retiring, Active, Active]);
        assert_eq!(states(&all, 500), [Retiring, Active, Active]);
        // An expired chain signs nothing, so the previous one signs again.
        assert_eq!(states(&all, 501), [Active, Retiring, Active]);
        all[0].retired_at = Some(from_unix(600));
        assert_eq!(states(&all, 599), [Retiring, Retiring, Active]);
        assert_eq!(states(&all, 600), [Retired, Retiring, Active]);
        let spc = "1234".parse().expect("a code");
        assert_eq!(
            active(&all, &spc, from_unix(599)),
            None,
            "none begins to use it"
        );
    }

    #[test]
    fn a_distrusted_chain_signs_nothing_and_the_one_before_signs_again() {
        let mut all = [
            chain("a", &["1234"], 100, 1_000),
            chain("b", &["1234"], 200, 1_000),
        ];
        all[1].distrust = Some(Distrust {
            id: uuid::Uuid::nil(),
            chain: "b".to_owned(),
            public_key: String::new(),
            certificate: String::new(),
            at: from_unix(300),
            reason: "stolen".to_owned(),
            by: "admin".to_owned(),
        });
        assert_eq!(
            states(&all, 300),
            [ChainState::Active, ChainState::Distrusted]
        );
        // Also after it is retired.
        all[1].retired_at = Some(from_unix(300));
        assert_eq!(states(&all, 2_000)[1], ChainState::Distrusted);
    }

    #[test]
    fn a_replica_without_the_newest_key_stays_with_the_one_before() {
        let all = [
            chain("a", &["1234"], 100, 1_000),
            chain("b", &["1234"], 200, 1_000),
        ];
        let candidates: Vec<_> = all.iter().flat_map(Candidate::of).collect();
        let spc = "1234".parse().expect("a code");
        let chosen = |candidates: &[Candidate], at| {
            choose(candidates, &spc, from_unix(at)).map(|one| one.chain.clone())
        };
        assert_eq!(chosen(&candidates, 99), None);
        assert_eq!(chosen(&candidates, 199).as_deref(), Some("a"));
        assert_eq!(chosen(&candidates, 200).as_deref(), Some("b"));
        assert_eq!(chosen(&candidates[..1], 200).as_deref(), Some("a"));
        assert_eq!(chosen(&candidates, 1_001), None);
        assert_eq!(
            choose(
                &candidates,
                &"1235".parse().expect("a code"),
                from_unix(200)
            ),
            None
        );
    }
}
