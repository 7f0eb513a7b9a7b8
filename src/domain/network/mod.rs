//! IP networks, trusted proxies, and which addresses are public or count as one client.

pub mod cidr;
pub mod embedded_ipv4;
pub mod loopback;
pub mod public_address;
pub mod retry_after;
pub mod source;
pub mod trusted_proxy;
pub mod web_url;
