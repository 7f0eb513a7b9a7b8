//! `claim-constraints`: what a `tkvalue` of type JWTClaimConstraints says, and which `tkvalue` says it.

use std::io::{self, Write as _};

use tn_authority::domain::tokens::claim_constraints::{
    ClaimConstraints, ClaimName, Constraints, PermittedValues,
};

use super::{Exit, Outcome};

/// Read and write JWTClaimConstraints (RFC 8226 §8, RFC 9118) in the form of `tkvalue`.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print what constraints say as one JSON object; exit 1 if they are malformed.
    Decode {
        /// base64url of the DER.
        #[arg(allow_hyphen_values = true)]
        tkvalue: String,
    },
    /// Print the `tkvalue` of these constraints, in this order.
    Encode {
        /// A claim that has to be there. May be given more than once.
        #[arg(long, value_name = "CLAIM")]
        must_include: Vec<ClaimName>,
        /// A value that a claim may have. May be given more than once; values of one claim are listed together.
        #[arg(long, value_name = "CLAIM=VALUE", value_parser = permitted)]
        permit: Vec<(ClaimName, String)>,
        /// A claim that may not be there (RFC 9118). May be given more than once.
        #[arg(long, value_name = "CLAIM")]
        must_exclude: Vec<ClaimName>,
    },
}

pub fn run(command: Command) -> Outcome {
    let line = match command {
        Command::Decode { tkvalue } => {
            serde_json::to_string(&ClaimConstraints::from_tkvalue(&tkvalue)?)?
        }
        Command::Encode {
            must_include,
            permit,
            must_exclude,
        } => {
            let says = Constraints {
                must_include,
                permitted_values: together(permit),
                must_exclude,
            };
            ClaimConstraints::new(says)?.to_tkvalue()
        }
    };
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(Exit::SUCCESS)
}

fn together(permitted: Vec<(ClaimName, String)>) -> Vec<PermittedValues> {
    let mut all: Vec<PermittedValues> = Vec::new();
    for (claim, value) in permitted {
        match all.iter_mut().find(|known| known.claim == claim) {
            Some(known) => known.values.push(value),
            None => all.push(PermittedValues {
                claim,
                values: vec![value],
            }),
        }
    }
    all
}

fn permitted(text: &str) -> Result<(ClaimName, String), String> {
    let (claim, value) = text.split_once('=').ok_or("expected CLAIM=VALUE")?;
    Ok((claim.parse().map_err(|e| format!("{e}"))?, value.to_owned()))
}
