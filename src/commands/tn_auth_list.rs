//! `tn-auth-list`: decodes and encodes the `tkvalue` of a TNAuthList.

use std::io::{self, BufRead as _, BufWriter, Write as _};

use serde_json::{Value, json};
use tn_authority::domain::tokens::tn_auth_list::TnAuthListError;
use tn_authority::domain::{TnAuthList, TnEntry};

use super::{Exit, Outcome};

/// Decode and encode TNAuthLists (RFC 8226 §9), as `tkvalue` has them.
#[derive(Debug, clap::Subcommand)]
pub enum Command {
    /// Print the entries of a list as one JSON object. Exits with 1 if it is malformed.
    #[command(after_help = "\
Example:
  tn-authority tn-auth-list decode MAigBhYEMTIzNA")]
    Decode {
        /// base64url of the DER, unpadded. `-` reads one value per line from standard input, and
        /// prints one JSON line for each.
        #[arg(allow_hyphen_values = true)]
        tkvalue: String,
        /// Expect padded standard base64, as some older authorities write it.
        #[arg(long)]
        legacy: bool,
    },
    /// Print the `tkvalue` of a list with these entries, in this order.
    #[command(after_help = "\
Example:
  tn-authority tn-auth-list encode spc:1234 one:12125551001 range:12125552000+1000")]
    Encode {
        /// `spc:1234`, `one:12125551001` or `range:12125551000+1000`. A single `-` reads one list
        /// per line from standard input, its entries separated by spaces, and prints one JSON line
        /// for each.
        #[arg(required = true, allow_hyphen_values = true, value_name = "ENTRY")]
        entries: Vec<String>,
    },
}

pub fn run(command: &Command) -> Outcome {
    match command {
        Command::Decode { tkvalue, legacy } if tkvalue == "-" => {
            each_line(|line| decoded(line, *legacy))
        }
        Command::Decode { tkvalue, legacy } => {
            let value = decoded(tkvalue, *legacy)
                .map_err(|error| format!("not a TNAuthList in base64url (RFC 8226 §9): {error}"))?;
            print(&value.to_string())
        }
        Command::Encode { entries } if entries[..] == ["-"] => each_line(|line| {
            let list = list(line.split_ascii_whitespace())?;
            Ok(json!({ "tkvalue": list.to_tkvalue() }))
        }),
        Command::Encode { entries } => {
            print(&list(entries.iter().map(String::as_str))?.to_tkvalue())
        }
    }
}

fn decoded(tkvalue: &str, legacy: bool) -> Result<Value, TnAuthListError> {
    let list = if legacy {
        TnAuthList::from_legacy_tkvalue(tkvalue)?
    } else {
        TnAuthList::from_tkvalue(tkvalue)?
    };
    Ok(json!(list))
}

fn list<'a>(entries: impl Iterator<Item = &'a str>) -> Result<TnAuthList, TnAuthListError> {
    let entries: Result<Vec<TnEntry>, _> = entries.map(str::parse).collect();
    TnAuthList::from_entries(entries?)
}

fn print(line: &str) -> Outcome {
    writeln!(io::stdout().lock(), "{line}")?;
    Ok(Exit::SUCCESS)
}

/// Prints one JSON line for each line of standard input. A malformed line gives an `error`.
fn each_line(work: impl Fn(&str) -> Result<Value, TnAuthListError>) -> Outcome {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().split(b'\n') {
        let line = line?;
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let answer = work(&String::from_utf8_lossy(line));
        let answer = answer.unwrap_or_else(|error| json!({ "error": error.to_string() }));
        writeln!(out, "{answer}")?;
    }
    out.flush()?;
    Ok(Exit::SUCCESS)
}
