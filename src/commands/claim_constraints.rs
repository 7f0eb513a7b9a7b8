//! `claim-constraints`: decodes and encodes the `tkvalue` of JWTClaimConstraints.

use std::io::{self, Write as _};

use tn_authority::domain::tokens::claim_constraints::{
    ClaimConstraints, ClaimName, Constraints, PermittedValues,
};

use super::{Exit, Outcome};

/// Decode and encode JWTClaimConstraints (RFC 8226 §8, RFC 9118), as `tkvalue` has them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print constraints as one JSON object. Exits with 1 if they are malformed.
    Decode {
        /// base64url of the DER, unpadded.
        #[arg(allow_hyphen_values = true)]
        tkvalue: String,
    },
    /// Print the `tkvalue` of these constraints, in this order.
    #[command(after_help = "\
Example:
  tn-authority claim-constraints encode --must-include rcd --permit attest=A --permit attest=B")]
    Encode {
        /// A claim that a PASSporT must have (repeatable).
        #[arg(long, value_name = "CLAIM")]
        must_include: Vec<ClaimName>,
        /// A value that a claim can have (repeatable). The values of one claim are grouped.
        #[arg(long, value_name = "CLAIM=VALUE", value_parser = permitted)]
        permit: Vec<(ClaimName, String)>,
        /// A claim that a PASSporT must not have (RFC 9118; repeatable).
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
            let constraints = Constraints {
                must_include,
                permitted_values: group_by_claim(permit),
                must_exclude,
            };
            ClaimConstraints::new(constraints)?.to_tkvalue()
        }
    };
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(Exit::SUCCESS)
}

fn group_by_claim(permitted: Vec<(ClaimName, String)>) -> Vec<PermittedValues> {
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
