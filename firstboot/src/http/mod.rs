//! HTTP as the join speaks it: whom TLS trusts, how an answer becomes a value or a typed error.

mod ask;
mod error;
mod network;

pub use self::ask::Ask;
pub(crate) use self::ask::{read, refusal, unreachable_by};
pub use self::error::{HttpError, Refusal};
pub use self::network::Network;
