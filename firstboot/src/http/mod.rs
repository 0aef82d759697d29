//! HTTP as the join speaks it: whom TLS trusts, how an answer becomes a value or a typed error.

mod ask;
mod error;
mod network;

pub use self::ask::Ask;
pub(crate) use self::ask::{read, refusal, unreachable_by};
pub use self::error::{HttpError, Refusal};
pub use self::network::Network;

/// For the tests of this module: what such an answer becomes.
#[cfg(test)]
fn refused(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Refusal {
    let mut map = reqwest::header::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().unwrap());
    }
    refusal("https://arm.example", status, &map, body.as_bytes())
}
