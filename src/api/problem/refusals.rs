//! Refusals: the request was understood, and a rule forbids it.

use actix_web::http::{StatusCode, header};

use super::{IdentifierView, Problem, SpcIdentifierView, SubproblemView, uri};
use crate::authority::{CannotStart, ChangeError, IssueError, RefusedCode, RefusedStart, TooMany};
use crate::domain::decision::denial::{RefusedPart, Subject};
use crate::domain::tokens::claims::NotStrict;
use crate::domain::{Denial, NumberRange};

impl From<IssueError> for Problem {
    fn from(error: IssueError) -> Self {
        match error {
            IssueError::Denied(denial) => denial.into(),
            IssueError::Store(error) => error.into(),
            IssueError::TooMany(too_many) => too_many.into(),
            IssueError::Signer(_) | IssueError::NoSigner | IssueError::Random(_) => {
                Self::unavailable(&error)
            }
            IssueError::Lint(_) => Self::internal(&error),
        }
    }
}

impl From<TooMany> for Problem {
    fn from(too_many: TooMany) -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            "too-many-requests",
            "Too many requests",
        )
        .with_detail(too_many)
        .with_header(header::RETRY_AFTER, too_many.seconds.into())
    }
}

impl From<Denial> for Problem {
    fn from(denial: Denial) -> Self {
        let title = match &denial {
            Denial::NotTheCallers | Denial::ProofEnded(_) => return Self::forbidden(),
            Denial::Policy { .. } => "Forbidden by a policy",
            Denial::ControlNotProven { .. } => "Control of the numbers is not proven",
            Denial::NotAuthorized(_) => "Not authorized for these numbers",
            Denial::EndsTooSoon { .. } => "The authority ends too soon",
            Denial::SeveralSpcs(_) => "Several service provider codes",
            Denial::NoCertificate(_) => return Self::unavailable(&denial),
            Denial::KeyDistrusted(_) => return Self::key_distrusted(&denial),
            Denial::RenewalEnded => "The right to renew has ended",
            Denial::OutsideRenewal(_) => "Outside the right to renew",
            Denial::TooFragmented { .. } => "Too many inventory rows",
            Denial::NotStrict(NotStrict::TkValue(_)) => {
                return Self::malformed("malformed-tkvalue", &denial);
            }
            Denial::NotStrict(NotStrict::Fingerprint(_)) => {
                return Self::malformed("malformed-fingerprint", &denial);
            }
        };
        let subproblems = denial.refusals().iter().map(SubproblemView::from).collect();
        Self::new(StatusCode::FORBIDDEN, denial.code().to_owned(), title)
            .with_detail(&denial)
            .with_subproblems(subproblems)
            .with_policies(denial.policies())
    }
}

impl From<ChangeError> for Problem {
    fn from(refused: ChangeError) -> Self {
        let (status, title) = match &refused {
            ChangeError::Forbidden => return Self::forbidden(),
            ChangeError::Store(error) => return error.clone().into(),
            ChangeError::UnknownAccount(_) | ChangeError::NotFound(_) => {
                (StatusCode::NOT_FOUND, "Not found")
            }
            ChangeError::ParentChange | ChangeError::OwnParent | ChangeError::TooDeep => {
                (StatusCode::CONFLICT, "Invalid parent")
            }
            ChangeError::NoParent => (StatusCode::BAD_REQUEST, "Invalid parent"),
            ChangeError::OwnAccount | ChangeError::SuspendedAbove => {
                (StatusCode::FORBIDDEN, "The reseller cannot change this")
            }
            ChangeError::NotACustomer { .. } => {
                (StatusCode::CONFLICT, "Not a customer of the reseller")
            }
            ChangeError::NotToBeLentOn(_)
            | ChangeError::NotTheLenders(_)
            | ChangeError::OutsideTheLenders(_)
            | ChangeError::CaNotLent => (StatusCode::CONFLICT, "The reseller cannot delegate this"),
            ChangeError::Overlap { .. } => (
                StatusCode::CONFLICT,
                "The numbers overlap an existing entry",
            ),
            ChangeError::NotHeld(_) | ChangeError::MeetsNothing(_) => (
                StatusCode::CONFLICT,
                "The carrier does not hold the numbers",
            ),
            ChangeError::SpcNotHeld(_) => (
                StatusCode::BAD_REQUEST,
                "Not a service provider code of the carrier",
            ),
            ChangeError::Window(_) | ChangeError::Over(_) | ChangeError::TooLate(_) => {
                (StatusCode::BAD_REQUEST, "Invalid time window")
            }
            ChangeError::UnknownClass(_) => (StatusCode::BAD_REQUEST, "Unknown aging class"),
            ChangeError::Twice(_) => (StatusCode::BAD_REQUEST, "The numbers occur more than once"),
            ChangeError::TooFragmented { .. } => {
                (StatusCode::BAD_REQUEST, "Too many inventory rows")
            }
            ChangeError::NameTheAccount => (StatusCode::BAD_REQUEST, "The account is missing"),
            ChangeError::TooManyWebhooks => (StatusCode::CONFLICT, "Too many webhooks"),
            ChangeError::TooManyDeliveries => (StatusCode::CONFLICT, "Too many pending deliveries"),
            ChangeError::NotSentYet => (StatusCode::CONFLICT, "Not sent yet"),
            ChangeError::DelegationEnded => (StatusCode::CONFLICT, "The delegation has ended"),
            ChangeError::TooManyRenewals => (StatusCode::CONFLICT, "Too many rights to renew"),
            ChangeError::NotOfTheDelegation(_) => {
                (StatusCode::CONFLICT, "Not part of the delegation")
            }
            ChangeError::SpcNotRenewed(_) => (
                StatusCode::BAD_REQUEST,
                "A right to renew is for numbers only",
            ),
            ChangeError::RenewalLifetime(_) => (StatusCode::BAD_REQUEST, "Lifetime not allowed"),
            ChangeError::WebhookEnded => (StatusCode::CONFLICT, "The webhook has ended"),
            ChangeError::NotReturned | ChangeError::NotUndoable(_) => {
                (StatusCode::CONFLICT, "Nothing to undo")
            }
            ChangeError::AlreadyUndone(_) => (StatusCode::CONFLICT, "Undone already"),
            ChangeError::UndoFirst { .. } => (StatusCode::CONFLICT, "Undo a later change first"),
            ChangeError::InUse { .. } => (StatusCode::CONFLICT, "The numbers are in use"),
            ChangeError::CannotStart(refused) => return refused.into(),
            ChangeError::HowManyNumbers { .. } => {
                (StatusCode::BAD_REQUEST, "No numbers, or too many")
            }
            ChangeError::NoGateway(_) => (StatusCode::CONFLICT, "No gateway for this method"),
            ChangeError::ReproofingAge(_) => (StatusCode::BAD_REQUEST, "Maximum age not allowed"),
            ChangeError::TooLongToProve { .. } => {
                (StatusCode::CONFLICT, "Too many numbers to prove control of")
            }
            ChangeError::SignedAnswerNeeded => (StatusCode::CONFLICT, "A signed answer is needed"),
            ChangeError::NotPending => (StatusCode::CONFLICT, "Not pending"),
            ChangeError::TooManyWrongCodes { seconds } => {
                let title = "Too many wrong codes";
                return Self::new(StatusCode::TOO_MANY_REQUESTS, refused.code(), title)
                    .with_detail(&refused)
                    .with_header(header::RETRY_AFTER, (*seconds).into());
            }
            ChangeError::List(_) => (StatusCode::BAD_REQUEST, "Malformed request"),
        };
        let subproblems = refused.ranges().iter().map(|numbers| SubproblemView {
            kind: uri(refused.code()),
            code: refused.code(),
            detail: title.to_ascii_lowercase(),
            identifier: IdentifierView::Numbers((*numbers).into()),
        });
        Self::new(status, refused.code(), title)
            .with_detail(&refused)
            .with_subproblems(subproblems.collect())
    }
}

impl From<&CannotStart> for Problem {
    fn from(refused: &CannotStart) -> Self {
        let code = refused.code();
        let (status, title) = match code {
            CannotStart::PENDING => (StatusCode::CONFLICT, "Asked already"),
            CannotStart::TOO_MANY => (StatusCode::TOO_MANY_REQUESTS, "Asked too often"),
            _ => (StatusCode::FORBIDDEN, "Not authorized for these numbers"),
        };
        let subproblems = refused.refused.iter().map(SubproblemView::from).collect();
        let problem = Self::new(status, code, title)
            .with_detail(refused)
            .with_subproblems(subproblems);
        if status == StatusCode::TOO_MANY_REQUESTS {
            problem.with_header(header::RETRY_AFTER, refused.retry_after().into())
        } else {
            problem
        }
    }
}

impl From<RefusedCode> for Problem {
    fn from(refused: RefusedCode) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            RefusedCode::CODE,
            "Code not accepted",
        )
        .with_detail(refused)
    }
}

impl From<&RefusedStart> for SubproblemView {
    fn from(refused: &RefusedStart) -> Self {
        let code = refused.cause.code();
        Self {
            kind: uri(code),
            code,
            detail: refused.cause.to_string(),
            identifier: IdentifierView::Numbers(NumberRange::from(refused.number).into()),
        }
    }
}

impl From<&RefusedPart> for SubproblemView {
    fn from(refusal: &RefusedPart) -> Self {
        Self {
            kind: uri(refusal.cause.code()),
            code: refusal.cause.code(),
            detail: refusal.cause.to_string(),
            identifier: match &refusal.subject {
                Subject::Numbers(numbers) => IdentifierView::Numbers((*numbers).into()),
                Subject::Spc(spc) => IdentifierView::Spc(SpcIdentifierView {
                    spc: spc.to_string(),
                }),
            },
        }
    }
}
