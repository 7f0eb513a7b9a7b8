//! The work of `redeem`: an order at the CA, prepared once from the arguments.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tn_authority::acme::renewal::{Renewed, ValidityPeriod};
use tn_authority::acme::{
    AccountKey, AcmeError, AcmeSession, AutoRenewal, CertificateRequest, ExternalBinding,
    IssuedCertificate, Kind, OpenOrder, Pause, SessionSettings, TokenEndpoint, TokenWanted,
    check_issued,
};
use tn_authority::domain::{Clock, Passphrase, TnAuthList, TnEntry};
use tn_authority::outgoing::{HttpsUrl, Outgoing, ReplyLimits, Way};
use tn_authority::signer::{Chain, FileKey};

use super::Args;
use super::files;
use crate::commands::file;

/// The variable with the API key, if no file is given.
const API_KEY: &str = "TN_AUTHORITY_API_KEY";
/// Larger than any answer of RFC 8555, even one with a certificate chain.
const MAX_ANSWER_BYTES: u64 = 256 * 1024;
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

/// A certificate that is stored in its file.
pub(super) struct Redeemed {
    pub(super) out: PathBuf,
    pub(super) key: PathBuf,
    pub(super) chain: Chain,
    pub(super) order: HttpsUrl,
    pub(super) star: Option<HttpsUrl>,
}

/// Everything needed to redeem a token.
pub(super) struct Redemption {
    clock: Clock,
    http: Outgoing,
    settings: SessionSettings,
    account: AccountKey,
    goal: Option<Goal>,
    /// An order that the CA had not decided when the timeout ended.
    open: OpenOrder,
    /// An order that the CA renews: its URL, and the URL of its current certificate.
    star: Option<(HttpsUrl, HttpsUrl)>,
}

/// The certificate to be obtained, and where it is stored.
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
            body: MAX_ANSWER_BYTES,
            time: ANSWER_TIMEOUT,
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
        // Before a key is generated, since the arguments can turn out to be wrong.
        let goal = Goal::read(args, &http, clock)?;
        let key = match args.star_cancel {
            // A new account could not have the order that is to be canceled.
            Some(_) => file::own_key(&args.account_key)?,
            None => files::key(&args.account_key)?,
        };
        Ok(Self {
            clock: clock.clone(),
            account: AccountKey::new(key)?,
            http,
            settings,
            goal,
            open: OpenOrder::default(),
            star: None,
        })
    }

    /// Cancels an order that the CA renews.
    pub(super) fn cancel(&self, order: &HttpsUrl, pause: &dyn Pause) -> Result<(), AcmeError> {
        self.session(pause)?.cancel(order)
    }

    /// Orders a certificate, or continues the order of the last attempt, and stores the
    /// certificate.
    pub(super) fn redeem(&mut self, pause: &dyn Pause) -> Result<Redeemed, AcmeError> {
        let mut open = std::mem::take(&mut self.open);
        let issued = self.order(&mut open, pause);
        self.open = open;
        let (issued, goal) = (issued?, self.goal()?);
        file::publish(&goal.out, &issued.chain.pem()).map_err(AcmeError::Files)?;
        Ok(Redeemed {
            out: goal.out.clone(),
            key: goal.key_file.clone(),
            chain: issued.chain,
            order: issued.order,
            star: issued.star,
        })
    }

    fn order(
        &self,
        open: &mut OpenOrder,
        pause: &dyn Pause,
    ) -> Result<IssuedCertificate, AcmeError> {
        let goal = self.goal()?;
        let session = self.session(pause)?;
        let token = |request: &TokenWanted<'_>| goal.tokens.token(request);
        open.redeem(&session, &goal.request(), &goal.key, &token)
    }

    /// The validity of the stored certificate, if it is as requested and has not expired.
    pub(super) fn current(&self) -> Result<Option<ValidityPeriod>, Box<dyn Error>> {
        let goal = self.goal()?;
        // Only the process that made it knows an order that the CA renews.
        if goal.renewal.is_some() {
            return Ok(None);
        }
        let chain = file::text_if_any(&goal.out)?.and_then(|pem| Chain::from_pem(&pem).ok());
        let request = goal.request();
        let fits =
            |chain: &Chain| check_issued(chain, &request, &goal.key, self.clock.now()).is_ok();
        Ok(chain.filter(fits).map(|chain| validity(&chain)))
    }

    /// Gets the next certificate: from a new order, or from the one that the CA renews.
    pub(super) fn renew(&mut self, pause: &dyn Pause) -> Result<Renewed, AcmeError> {
        if let Some((order, url)) = self.star.clone() {
            return self.follow(&order, &url, pause);
        }
        let redeemed = self.redeem(pause)?;
        if let Some(star) = redeemed.star {
            log::info!(order = redeemed.order.as_str(); "the CA renews this order; `--star-cancel` ends it");
            self.star = Some((redeemed.order, star));
        }
        Ok(Renewed::ValidityPeriod(validity(&redeemed.chain)))
    }

    /// Fetches the next certificate of an order that the CA renews.
    ///
    /// A CA does not consult the authority when it renews. So this requests a token and discards
    /// it: if the authority refuses, the account has lost the numbers, and the order is canceled
    /// (RFC 9060 §8.1).
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
        let answer = goal.tokens.token(&TokenWanted {
            list: &goal.list,
            ca: goal.ca,
            fingerprint: self.account.fingerprint(),
        });
        match answer {
            // The numbers can be proven while the last certificate is valid.
            Err(refusal) if refusal.kind() == Kind::ControlNotProven && self.is_valid()? => {
                return Err(refusal);
            }
            Err(refusal)
                if matches!(
                    refusal.kind(),
                    Kind::AuthorityRefuses | Kind::ControlNotProven
                ) =>
            {
                // If the CA cannot be reached, the caller retries.
                self.session(pause)?.cancel(order)?;
                log::info!(order = order.as_str(); "the order is canceled");
                return Err(refusal);
            }
            // An authority that is unavailable has not refused.
            Err(_) | Ok(_) => {}
        }
        let chain = self.session(pause)?.next_star(url)?;
        check_issued(&chain, &goal.request(), &goal.key, self.clock.now())?;
        file::publish(&goal.out, &chain.pem()).map_err(AcmeError::Files)?;
        Ok(Renewed::ValidityPeriod(validity(&chain)))
    }

    /// Whether the stored certificate has not ended.
    fn is_valid(&self) -> Result<bool, AcmeError> {
        let pem = file::text_if_any(&self.goal()?.out);
        let pem = pem.map_err(AcmeError::Files)?;
        let chain = pem.and_then(|pem| Chain::from_pem(&pem).ok());
        Ok(chain.is_some_and(|chain| chain.leaf().not_after() > self.clock.now()))
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
        let missing = || {
            AcmeError::Files("there is nothing to redeem; give `--token-url`, `--out`, and `--numbers` or `--spc`".to_owned())
        };
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
        let default_subject = match (args.spc.first(), args.numbers.first()) {
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
            return Err(
                "`--out`, `--csr-key` and `--account-key` must name three different files".into(),
            );
        }
        Ok(Some(Self {
            list,
            ca: args.ca,
            subject: args.subject.clone().unwrap_or(default_subject),
            renewal,
            tokens,
            key: files::key(&key_file)?,
            key_file,
            out: out.clone(),
        }))
    }

    fn request(&self) -> CertificateRequest<'_> {
        CertificateRequest {
            list: &self.list,
            ca: self.ca,
            subject: &self.subject,
            renewal: self.renewal.as_ref(),
        }
    }
}

/// The API key. Never an argument, since every user of the machine can see arguments.
fn api_key(args: &Args) -> Result<Passphrase, Box<dyn Error>> {
    let key = match &args.api_key_file {
        Some(file) => files::secret(file)?,
        None => std::env::var(API_KEY)
            .map(|key| Passphrase::from(key.trim()))
            .map_err(|_| format!("no API key: give `--api-key-file`, or set `{API_KEY}`"))?,
    };
    // Checked here, since a header field could not carry it and sending would fail later.
    if key.expose().is_empty() || !key.expose().bytes().all(|b| b.is_ascii_graphic()) {
        return Err("the API key is empty, or contains white space or non-ASCII characters".into());
    }
    Ok(key)
}

fn validity(chain: &Chain) -> ValidityPeriod {
    ValidityPeriod {
        not_before: chain.leaf().not_before(),
        not_after: chain.leaf().not_after(),
    }
}
