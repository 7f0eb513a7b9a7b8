//! IP networks, trusted proxies, and which addresses are public.

pub mod cidr;
pub mod public_address;
pub mod trusted_proxy;
pub mod web_url;
