//! Accounts, numbers and requests, as scenarios write them.

use tn_authority::domain::numbers::block;
use tn_authority::domain::{
    AccountId, Fingerprint, InventoryRange, NumberRange, TnAuthList, TokenRequest,
};

pub fn account(id: &str) -> AccountId {
    id.parse().expect("an account's id")
}

pub fn number(text: &str) -> NumberRange {
    NumberRange::from(text.parse::<tn_authority::domain::Tn>().expect("a number"))
}

/// A block, one number, or `+12125551000+1000`.
pub fn numbers<T: From<InventoryRange>>(text: &str) -> T {
    block::parse_inventory(text).expect("numbers").into()
}

pub fn fingerprint() -> Fingerprint {
    Fingerprint::from([0x5e; 32])
}

/// A request for a list of entries, such as `one:12125551001`.
pub fn request(entries: &[&str], ca: bool, lifetime: Option<u32>) -> TokenRequest {
    let entries = entries.iter().map(|text| text.parse().expect("an entry"));
    let list = TnAuthList::from_entries(entries.collect()).expect("a list");
    TokenRequest::new(list, ca, fingerprint(), lifetime).expect("E.164")
}
