//! What `redeem` works with, read once from its arguments.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tn_authority::acme::renewal::{Renewed, ValidityPeriod};
use tn_authority::acme::{
    AccountKey, AcmeError, AcmeSession, AutoRenewal, CertificateRequest, ExternalBinding, Kind,
    Pause, SessionSettings, TokenEndpoint, TokenWanted, check_issued, redeem,
};
use tn_authority::domain::{Clock, Passphrase, TnAuthList, TnEntry};
use tn_authority::outgoing::{HttpsUrl, Outgoing, ReplyLimits, Way};
use tn_authority::signer::{Chain, FileKey};

use super::Args;
use super::files;
use crate::commands::file;

/// Holds the API key, when no file does.
const API_KEY: &str = "TN_AUTHORITY_API_KEY";
/// More than any answer of RFC 8555 with a chain of this field in it.
const MAX_ANSWER: u64 = 256 * 1024;
const MAX_ANSWER_BYTES: Duration = Duration::from_secs(30);

/// A certificate in its file.
pub(super) struct Redeemed {
    pub(super) out: PathBuf,
    pub(super) key: PathBuf,
    pub(super) chain: Chain,
    pub(super) order: HttpsUrl,
    pub(super) star: Option<HttpsUrl>,
}

/// All that is needed to redeem.
pub(super) struct Redemption {
    clock: Clock,
    http: Outgoing,
    settings: SessionSettings,
    account: AccountKey,
    goal: Option<Goal>,
    /// An order that the CA renews: itself, and where its certificates are.
    star: Option<(HttpsUrl, HttpsUrl)>,
}

/// What is to come of it.
struct Goal {
    list: TnAuthList,
    ca: bool,
    subject: String,
    renewal: Option<AutoRenewal>,
    tokens: TokenEndpoint,
    key: FileKey,
    key_file: PathBuf,
    out: PathBuf,
}

impl Redemption {
    pub(super) fn prepare(args: &Args, clock: &Clock) -> Result<Self, Box<dyn Error>> {
        let limits = ReplyLimits {
            body: MAX_ANSWER,
            time: MAX_ANSWER_BYTES,
        };
        let roots = args.ca_file.as_deref().map(file::text).transpose()?;
        let http = Outgoing::new(roots.as_deref(), limits, Way::Environment)?;
        let binding = match (&args.eab_kid, &args.eab_key_file) {
            (Some(kid), Some(file)) => {
                Some(ExternalBinding::new(kid, files::secret(file)?.expose())?)
            }
            _ => None,
        };
        let contacts = args.contact.iter().map(|contact| {
            if contact.contains(':') {
                contact.clone()
            } else {
                format!("mailto:{contact}")
            }
        });
        let settings = SessionSettings {
            directory: args.directory.clone(),
            contacts: contacts.collect(),
            agrees_to_terms: args.agree_tos,
            binding,
            member: args.challenge_member,
            timeout: Duration::from_secs(args.timeout.into()),
        };
        // Before a key is made, for what it would be made for may be wrong.
        let goal = Goal::read(args, &http, clock)?;
        let key = match args.star_cancel {
            // No new account has an order.
            Some(_) => files::own_key(&args.account_key)?,
            None => files::key(&args.account_key)?,
        };
        Ok(Self {
            clock: clock.clone(),
            account: AccountKey::new(key)?,
            http,
            settings,
            goal,
            star: None,
        })
    }

    /// Ends an order that the CA renews.
    pub(super) fn cancel(&self, order: &HttpsUrl, pause: &dyn Pause) -> Result<(), AcmeError> {
        self.session(pause)?.cancel(order)
    }

    /// Orders a certificate and puts it into its place.
    pub(super) fn redeem(&self, pause: &dyn Pause) -> Result<Redeemed, AcmeError> {
        let goal = self.goal()?;
        let session = self.session(pause)?;
        let token = |wanted: &TokenWanted<'_>| goal.tokens.token(wanted);
        let issued = redeem(&session, &goal.wanted(), &goal.key, &token)?;
        file::publish(&goal.out, &issued.chain.pem()).map_err(AcmeError::Files)?;
        Ok(Redeemed {
            out: goal.out.clone(),
            key: goal.key_file.clone(),
            chain: issued.chain,
            order: issued.order,
            star: issued.star,
        })
    }

    /// The certificate that is in its place already, if it is the one that is wanted and has not expired.
    pub(super) fn held(&self) -> Result<Option<ValidityPeriod>, Box<dyn Error>> {
        let goal = self.goal()?;
        // An order that the CA renews is known to this process alone.
        if goal.renewal.is_some() {
            return Ok(None);
        }
        let chain = file::text_if_any(&goal.out)?.and_then(|pem| Chain::from_pem(&pem).ok());
        let wanted = goal.wanted();
        let fits =
            |chain: &Chain| check_issued(chain, &wanted, &goal.key, self.clock.now()).is_ok();
        Ok(chain.filter(fits).map(|chain| held(&chain)))
    }

    /// The next certificate: of a new order, or of the one that the CA renews.
    pub(super) fn renew(&mut self, pause: &dyn Pause) -> Result<Renewed, AcmeError> {
        if let Some((order, url)) = self.star.clone() {
            return self.follow(&order, &url, pause);
        }
        let redeemed = self.redeem(pause)?;
        if let Some(star) = redeemed.star {
            log::info!(order = redeemed.order.as_str(); "the CA renews this order; `--star-cancel` ends it");
            self.star = Some((redeemed.order, star));
        }
        Ok(Renewed::ValidityPeriod(held(&redeemed.chain)))
    }

    /// Nobody asks the authority when the CA renews by itself. So it is asked here for a token, which is not used: if it
    /// refuses, the numbers have gone, and the order is ended (RFC 9060 §8.1).
    fn follow(
        &self,
        order: &HttpsUrl,
        url: &HttpsUrl,
        pause: &dyn Pause,
    ) -> Result<Renewed, AcmeError> {
        let goal = self.goal()?;
        let ends = goal.renewal.as_ref().map(|renewal| renewal.until);
        if ends.is_some_and(|ends| ends <= self.clock.now()) {
            return Ok(Renewed::Over);
        }
        let asked = goal.tokens.token(&TokenWanted {
            list: &goal.list,
            ca: goal.ca,
            fingerprint: self.account.fingerprint(),
        });
        match asked {
            Err(refusal) if refusal.kind() == Kind::AuthorityRefuses => {
                // If the CA is out of reach, this is tried again.
                self.session(pause)?.cancel(order)?;
                log::info!(order = order.as_str(); "the order is canceled");
                return Err(refusal);
            }
            // An authority that cannot answer now has not refused.
            Err(_) | Ok(_) => {}
        }
        let chain = self.session(pause)?.next_star(url)?;
        check_issued(&chain, &goal.wanted(), &goal.key, self.clock.now())?;
        file::publish(&goal.out, &chain.pem()).map_err(AcmeError::Files)?;
        Ok(Renewed::ValidityPeriod(held(&chain)))
    }

    fn session<'a>(&'a self, pause: &'a dyn Pause) -> Result<AcmeSession<'a>, AcmeError> {
        AcmeSession::open(
            &self.settings,
            &self.http,
            &self.account,
            &self.clock,
            pause,
        )
    }

    fn goal(&self) -> Result<&Goal, AcmeError> {
        let missing = || AcmeError::Files("nothing was said to be redeemed".to_owned());
        self.goal.as_ref().ok_or_else(missing)
    }
}

impl Goal {
    fn read(args: &Args, http: &Outgoing, clock: &Clock) -> Result<Option<Self>, Box<dyn Error>> {
        let (Some(url), Some(out)) = (&args.token_url, &args.out) else {
            return Ok(None);
        };
        let mut entries: Vec<TnEntry> = args.spc.iter().cloned().map(TnEntry::from).collect();
        for numbers in &args.numbers {
            entries.push((*numbers).try_into()?);
        }
        let usual = match (args.spc.first(), args.numbers.first()) {
            (Some(spc), _) => format!("CN=SHAKEN {spc}"),
            (None, Some(numbers)) => format!("CN={}", numbers.first().to_digits()),
            (None, None) => return Ok(None),
        };
        let list = TnAuthList::from_entries(entries)?;
        let renewal = match (args.star_until, args.star_lifetime) {
            (Some(until), Some(lifetime)) => Some(AutoRenewal { until, lifetime }),
            _ => None,
        };
        let tokens = TokenEndpoint {
            http: http.clone(),
            url: url.clone(),
            api_key: api_key(args)?,
            lifetime: args.lifetime,
            clock: clock.clone(),
        };
        let key_file = args
            .csr_key
            .clone()
            .unwrap_or_else(|| out.with_extension("key"));
        if key_file == *out || key_file == args.account_key || *out == args.account_key {
            return Err("the certificate, its key and the account's key need a file each".into());
        }
        Ok(Some(Self {
            list,
            ca: args.ca,
            subject: args.subject.clone().unwrap_or(usual),
            renewal,
            tokens,
            key: files::key(&key_file)?,
            key_file,
            out: out.clone(),
        }))
    }

    fn wanted(&self) -> CertificateRequest<'_> {
        CertificateRequest {
            list: &self.list,
            ca: self.ca,
            subject: &self.subject,
            renewal: self.renewal.as_ref(),
        }
    }
}

/// Never an argument, since every user of the machine can see those.
fn api_key(args: &Args) -> Result<Passphrase, Box<dyn Error>> {
    let key = match &args.api_key_file {
        Some(file) => files::secret(file)?,
        None => std::env::var(API_KEY)
            .map(|key| Passphrase::from(key.trim()))
            .map_err(|_| format!("no API key: give `--api-key-file`, or set {API_KEY}"))?,
    };
    // What is no text of a header would only be found out while it is being sent.
    if key.expose().is_empty() || !key.expose().bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the API key is empty, or has white space in it".into());
    }
    Ok(key)
}

fn held(chain: &Chain) -> ValidityPeriod {
    ValidityPeriod {
        not_before: chain.leaf().not_before(),
        not_after: chain.leaf().not_after(),
    }
}
