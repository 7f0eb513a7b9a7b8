//! Minting as data: a batch of orders is three steps. Load the facts of all of them, one query a table; decide each, which
//! is pure; write what was granted and every audit event, one statement a table.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::RunQueryDsl as _;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::acting::Acting;
use super::again;
use super::attempts::{Attempt, Met, Repeated};
use super::audit::{AuditEvent, with_trace};
use super::connection::on_either;
use super::error::StoreError;
use super::schema::{allocations, delegations, exclusions};
use super::touching::{Probes, Touching, Versions};
use super::tx::Tx;
use super::{
    allocations as allocation_rows, delegations as delegation_rows, exclusions as exclusion_rows,
};
use crate::domain::account::{Account, LifetimeMode};
use crate::domain::clock::Time;
use crate::domain::deciding::Deciding;
use crate::domain::decision::{self, Decision, Facts, MAX_ROWS, Question, Standing};
use crate::domain::grant::{Grant, Jti, Justification};
use crate::domain::hex::hex;
use crate::domain::inventory::{Allocation, Delegation, Exclusion, RowRef};
use crate::domain::renewal::Renewal;
use crate::domain::signing::Candidate;
use crate::domain::{AccountId, Denial, Dialect, Spc, TokenRequest};

/// How many rows of one table a batch may load before its orders are looked at one by one; and how many these may load
/// before the rest is left to the next transaction.
const ROWS_PER_BATCH: usize = 50_000;

/// How many characters of a refused list are kept.
const LONGEST_REFUSED: usize = 512;

/// An order for a token, ready to be decided and recorded.
#[derive(Debug, Clone)]
pub struct Order {
    pub account: AccountId,
    pub request: TokenRequest,
    pub jti: Jti,
    pub now: Time,
    /// The expiry that the request allows.
    pub until: Time,
    /// The expiry in grant-horizon mode, for a request that names no lifetime.
    pub horizon: Time,
    /// The shortest lifetime of a token, in seconds.
    pub minimum: u32,
    /// The chains of which one will sign.
    pub chains: Arc<[Candidate]>,
    /// Service provider codes of the carrier.
    pub spcs: Vec<Spc>,
    /// Who asks; it must still be proven when this is decided.
    pub acting: Acting,
    pub audit_id: Uuid,
    /// What policy said already; a denial is only recorded.
    pub policy: Result<(), Denial>,
    /// Which policies said so.
    pub policies: Deciding,
    /// The request that it is for, if that may come again.
    pub attempt: Option<Attempt>,
    /// The standing right that it is asked by, which must still hold when this is decided.
    pub renewal: Option<Uuid>,
}

/// What becomes of an order: it is decided, or its request was here before.
pub(super) type Outcome = Result<Result<Grant, Denial>, Repeated>;

impl Order {
    /// What the order asks, of an account whose tokens live in this way.
    pub fn question(&self, mode: LifetimeMode) -> Question<'_> {
        Question {
            account: &self.account,
            request: &self.request,
            now: self.now,
            until: self.until(mode),
            minimum: self.minimum,
            chains: &self.chains,
        }
    }

    /// The latest expiry for an account in this mode; a lifetime that was asked for is the asker's own bound.
    fn until(&self, mode: LifetimeMode) -> Time {
        match (mode, self.request.lifetime()) {
            (LifetimeMode::GrantHorizon, None) => self.horizon,
            (LifetimeMode::GrantHorizon | LifetimeMode::Proof, _) => self.until,
        }
    }

    pub(super) fn decide(&self, facts: &Facts) -> Result<Grant, Denial> {
        if let Err(denial) = &self.policy {
            // What is malformed for the account is told before what a policy says of it, but not to strangers.
            if facts.standing == Standing::Good {
                let in_dialect = self.request.is_in(facts.dialect);
                in_dialect.map_err(Denial::NotStrict)?;
            }
            return Err(denial.clone());
        }
        let decision = match self.renewal {
            None => decision::decide(&self.question(facts.lifetime), facts)?,
            Some(_) => self.decide_by_right(facts)?,
        };
        Ok(Grant {
            jti: self.jti.clone(),
            account: self.account.clone(),
            tkvalue: self.request.tkvalue().clone(),
            dialect: facts.dialect,
            ca: self.request.ca(),
            fingerprint: self.request.fingerprint(),
            issued_at: self.now,
            expires_at: decision.expires_at,
            chain: decision.chain,
            caller: self.acting.caller().to_owned(),
            request_id: self.acting.request_id(),
            justified_by: decision.justified_by,
            policies: self.policies.clone(),
            withdrawal: None,
        })
    }

    /// Whether no fact could change the answer.
    fn is_settled(&self) -> bool {
        match &self.policy {
            Ok(()) => false,
            Err(Denial::NotTheCallers) => true,
            Err(_) => self.request.is_in(Dialect::Strict).is_ok(),
        }
    }

    /// The same as any decision, on what the right leaves of the question and of the facts.
    fn decide_by_right(&self, facts: &Facts) -> Result<Decision, Denial> {
        let right = facts.renewal.as_ref().ok_or(Denial::RenewalEnded)?;
        right.covers(&self.request)?;
        let facts = right.narrowed(facts, self.now)?;
        let question = self.question(facts.lifetime);
        let until = right.capped(question.until);
        let mut decision = decision::decide(&Question { until, ..question }, &facts)?;
        decision.justified_by.push(Justification::Renewal(RowRef {
            id: right.id,
            version: 1,
        }));
        Ok(decision)
    }

    /// What the trail says of an order, unless it was decided before.
    fn event(&self, met: &Met, outcome: &Outcome) -> Option<AuditEvent> {
        let (word, mut detail) = match outcome {
            Ok(Ok(grant)) if met.recorded().is_some() => (
                "done",
                json!({ "jti": grant.jti, "expires": grant.expires_at, "again": true }),
            ),
            Ok(Ok(grant)) => (
                "done",
                json!({ "jti": grant.jti, "expires": grant.expires_at }),
            ),
            Err(ended @ Repeated::GrantEnded) => (
                "grant-ended",
                json!({ "jti": met.recorded(), "reason": ended.to_string() }),
            ),
            Err(Repeated::Answered(_) | Repeated::InFlight | Repeated::OtherRequest) => {
                return None;
            }
            Ok(Err(denial)) => (
                denial.code(),
                json!({
                    "tktype": self.request.tkvalue().tktype(),
                    "tkvalue": shortened(&self.request.tkvalue().text()),
                    "ca": self.request.ca(),
                    "lifetime": self.request.lifetime(),
                    "reason": denial.to_string(),
                }),
            ),
        };
        self.policies.tell(&mut detail);
        if let (Some(right), Some(members)) = (self.renewal, detail.as_object_mut()) {
            members.insert("renewal".to_owned(), json!(right));
        }
        Some(AuditEvent {
            id: self.audit_id,
            at: self.now,
            caller: self.acting.caller().to_owned(),
            action: "issue".to_owned(),
            subject: self.account.to_string(),
            outcome: word.to_owned(),
            detail: with_trace(detail, self.acting.trace()),
            request_id: self.acting.request_id(),
            account: match &self.policy {
                // Somebody else's account: its people are not told who has tried.
                Err(Denial::NotTheCallers) => self.acting.account().cloned(),
                Ok(()) | Err(_) => Some(self.account.clone()),
            },
            caller_account: self.acting.account().cloned(),
        })
    }
}

/// A refused list as the trail keeps it: whoever may ask must not be able to fill the database with what is refused.
fn shortened(tkvalue: &str) -> String {
    match tkvalue.get(..LONGEST_REFUSED) {
        Some(start) if tkvalue.len() > LONGEST_REFUSED => {
            let digest = hex(&Sha256::digest(tkvalue));
            format!("{start}.. ({} characters, SHA-256 {digest})", tkvalue.len())
        }
        Some(_) | None => tkvalue.to_owned(),
    }
}

/// Decides and records a batch of orders; one answer each, in their order. Orders that touch very many rows may be left
/// over at the end, for which there are no answers; never the first.
pub(super) fn decide_and_record(
    tx: &mut Tx<'_>,
    orders: &[&Order],
) -> Result<Vec<Outcome>, StoreError> {
    let facts = load(tx, orders)?;
    // The others come again, in another transaction.
    let orders = &orders[..facts.len().min(orders.len())];
    let acting: Vec<&Acting> = orders.iter().map(|order| &order.acting).collect();
    let ended = tx.ended(&acting)?;
    let attempts: Vec<_> = orders.iter().map(|order| order.attempt.as_ref()).collect();
    let met = tx.met(&attempts)?;
    let recorded = again::recorded_before(tx, &met)?;
    let asked = orders.iter().zip(&facts).zip(&met).zip(ended);
    let mut outcomes: Vec<Outcome> = asked
        .map(|(((order, facts), met), ended)| match (ended, met) {
            // Before anything else, so that nobody is told more than that.
            (Some(ended), _) => Ok(Err(Denial::ProofEnded(ended))),
            (None, Met::New | Met::Old { jti: None, .. }) => Ok(order.decide(facts)),
            (None, Met::Old { jti: Some(jti), .. }) => {
                again::decide(order, facts, recorded.get(jti))
            }
            (None, Met::Before(repeated)) => Err(repeated.clone()),
        })
        .collect();
    again::take_keys(tx, orders, &met, &mut outcomes)?;

    let new = outcomes.iter().zip(&met);
    let granted: Vec<&Grant> = new
        .filter(|(_, met)| met.recorded().is_none())
        .filter_map(|(outcome, _)| outcome.as_ref().ok()?.as_ref().ok())
        .collect();
    if !granted.is_empty() {
        tx.insert_grants(&granted)?;
    }
    let events = orders.iter().zip(&met).zip(&outcomes);
    let events: Vec<AuditEvent> = events
        .filter_map(|((order, met), outcome)| order.event(met, outcome))
        .collect();
    if !events.is_empty() {
        tx.insert_audit_events(&events)?;
    }
    Ok(outcomes)
}

impl Tx<'_> {
    /// What an order would be answered, and on what facts. Records nothing.
    ///
    /// # Errors
    /// [`StoreError`] if the store cannot answer.
    pub fn explain(&mut self, order: &Order) -> Result<(Result<Grant, Denial>, Facts), StoreError> {
        // The facts are worth knowing also where a policy says no.
        let asked = Order {
            policy: Ok(()),
            ..order.clone()
        };
        let facts = load(self, &[&asked])?.pop().unwrap_or_default();
        Ok((order.decide(&facts), facts))
    }
}

/// Reads the facts of all orders that policy has not settled; of the first ones alone, if all of them are too much.
fn load(tx: &mut Tx<'_>, orders: &[&Order]) -> Result<Vec<Facts>, StoreError> {
    let mut facts: Vec<Facts> = orders
        .iter()
        .map(|order| Facts {
            spcs: order.spcs.clone(),
            ..Facts::default()
        })
        .collect();
    let open: Vec<(usize, &Order)> = (0..)
        .zip(orders.iter().copied())
        .filter(|(_, o)| !o.is_settled())
        .collect();
    if open.is_empty() {
        return Ok(facts);
    }

    let asked = who_asks(tx, &open, &mut facts)?;
    rights(tx, &open, &mut facts)?;
    let until = |(asker, order): &(usize, &Order)| order.until(facts[*asker].lifetime);
    let (Some(from), Some(until)) = (
        open.iter().map(|(_, order)| order.now).min(),
        open.iter().map(until).max(),
    ) else {
        return Ok(facts);
    };
    if asked.probes.is_empty() {
        return Ok(facts);
    }

    let versions = Versions::HoldingIn {
        from,
        until: Some(until),
    };
    let limit = if orders.len() == 1 {
        MAX_ROWS + 1
    } else {
        ROWS_PER_BATCH
    };
    let touching = Touches {
        versions,
        limit,
        orders,
    };
    let lent = touching.lent(tx, asked.lent_probes)?;
    let lent_on = touching.lent_on(tx, &lent, &asked.probes)?;
    let held =
        Touching::<allocations::table>::new("allocations", asked.probes.clone(), versions, limit);
    let held = tx.run(
        |connection| on_either!(connection, c => held.load::<(i32, allocation_rows::Row)>(c)),
    )?;
    let kept = Touching::<exclusions::table>::new("exclusions", asked.probes, versions, limit);
    let kept = tx.run(
        |connection| on_either!(connection, c => kept.load::<(i32, exclusion_rows::Row)>(c)),
    )?;

    let found = [lent.len(), lent_on.len(), held.len(), kept.len()];
    let most = found.into_iter().max();
    if orders.len() > 1 && most >= Some(limit) {
        // Somebody asks for more than fits; alone, each is told apart.
        return one_by_one(tx, orders);
    }
    distribute::<_, Delegation>(&mut facts, lent, |facts| &mut facts.delegations)?;
    distribute::<_, Delegation>(&mut facts, lent_on, |facts| &mut facts.lent_on)?;
    distribute::<_, Allocation>(&mut facts, held, |facts| &mut facts.allocations)?;
    distribute::<_, Exclusion>(&mut facts, kept, |facts| &mut facts.exclusions)?;
    Ok(facts)
}

/// Reads the facts of orders one by one, until it is enough for one transaction.
fn one_by_one(tx: &mut Tx<'_>, orders: &[&Order]) -> Result<Vec<Facts>, StoreError> {
    let (mut all, mut rows) = (Vec::new(), 0);
    for order in orders {
        if rows >= ROWS_PER_BATCH {
            break;
        }
        let facts = load(tx, &[order])?.pop().unwrap_or_default();
        rows += facts.delegations.len()
            + facts.lent_on.len()
            + facts.allocations.len()
            + facts.exclusions.len();
        all.push(facts);
    }
    Ok(all)
}

/// What to look for.
#[derive(Default)]
struct Asked {
    /// Whose numbers: those of the accounts, and of the resellers above each.
    lent_probes: Probes,
    /// What the numbers are in.
    probes: Probes,
}

/// Says in the facts whether each asker may ask at all, and what to look for on behalf of those who may.
fn who_asks(
    tx: &mut Tx<'_>,
    open: &[(usize, &Order)],
    facts: &mut [Facts],
) -> Result<Asked, StoreError> {
    let ids: HashSet<&AccountId> = open.iter().map(|(_, order)| &order.account).collect();
    let accounts: HashMap<AccountId, Account> = tx
        .accounts(&ids.into_iter().collect::<Vec<_>>())?
        .into_iter()
        .map(|account| (account.id.clone(), account))
        .collect();
    let suspended_above = suspended_above(tx, accounts.values())?;
    let mut asked = Asked::default();
    for (asker, order) in open {
        let (facts, numbers) = (&mut facts[*asker], order.request.numbers());
        let Some(account) = accounts.get(&order.account) else {
            continue;
        };
        if account.suspended_since.is_some() {
            facts.standing = Standing::Suspended;
            continue;
        }
        facts.standing = Standing::Good;
        facts.lifetime = account.lifetime;
        facts.dialect = account.dialect;
        asked.probes.add(*asker, Some(&account.id), numbers);
        asked.lent_probes.add(*asker, Some(&account.id), numbers);
        for above in &account.above {
            asked.lent_probes.add(*asker, Some(above), numbers);
            if suspended_above.contains(above) {
                facts.suspended_above.push(above.clone());
            }
        }
    }
    Ok(asked)
}

/// Says in the facts by which right each order is asked. Most are asked by none, and spare the question.
fn rights(
    tx: &mut Tx<'_>,
    open: &[(usize, &Order)],
    facts: &mut [Facts],
) -> Result<(), StoreError> {
    let ids: Vec<Uuid> = open.iter().filter_map(|(_, order)| order.renewal).collect();
    let known = tx.renewals_of(&ids)?;
    for (asker, order) in open {
        let of_this = |right: &&Renewal| Some(right.id) == order.renewal;
        facts[*asker].renewal = known.iter().find(of_this).cloned();
    }
    Ok(())
}

/// The loans that touch the probes of some orders.
struct Touches<'a> {
    versions: Versions,
    limit: usize,
    orders: &'a [&'a Order],
}

/// Each with the number of its asker.
type Loans = Vec<(i32, delegation_rows::Row)>;

impl Touches<'_> {
    fn lent(&self, tx: &mut Tx<'_>, probes: Probes) -> Result<Loans, StoreError> {
        loans(tx, self.of(probes).of_the_account())
    }

    /// What the askers have lent on for good. Most are no resellers, and spare the question.
    fn lent_on(&self, tx: &mut Tx<'_>, lent: &Loans, probes: &Probes) -> Result<Loans, StoreError> {
        let by_its_asker = |(asker, row): &(i32, delegation_rows::Row)| {
            let asker = usize::try_from(*asker).ok();
            let order = asker.and_then(|asker| self.orders.get(asker));
            order.is_some_and(|order| row.may_be_lent_on_by(&order.account))
        };
        if lent.iter().any(by_its_asker) {
            loans(tx, self.of(probes.clone()).lent_on_by_the_account())
        } else {
            Ok(Vec::new())
        }
    }

    fn of(&self, probes: Probes) -> Touching<delegations::table> {
        Touching::new("delegations", probes, self.versions, self.limit)
    }
}

fn loans(tx: &mut Tx<'_>, query: Touching<delegations::table>) -> Result<Loans, StoreError> {
    tx.run(|connection| on_either!(connection, c => query.load::<(i32, delegation_rows::Row)>(c)))
}

/// Which of the resellers above these accounts are suspended.
fn suspended_above<'a>(
    tx: &mut Tx<'_>,
    accounts: impl Iterator<Item = &'a Account>,
) -> Result<HashSet<AccountId>, StoreError> {
    let above: HashSet<&AccountId> = accounts.flat_map(|account| &account.above).collect();
    if above.is_empty() {
        return Ok(HashSet::new());
    }
    let above = tx.accounts(&above.into_iter().collect::<Vec<_>>())?;
    let suspended = above.into_iter().filter(|a| a.suspended_since.is_some());
    Ok(suspended.map(|account| account.id).collect())
}

/// Gives each asker its rows.
fn distribute<R, T>(
    facts: &mut [Facts],
    found: Vec<(i32, R)>,
    list: impl Fn(&mut Facts) -> &mut Vec<T>,
) -> Result<(), StoreError>
where
    T: TryFrom<R, Error = StoreError>,
{
    for (asker, row) in found {
        let asker = usize::try_from(asker).map_err(StoreError::corrupt)?;
        if let Some(facts) = facts.get_mut(asker) {
            list(facts).push(row.try_into()?);
        }
    }
    Ok(())
}
