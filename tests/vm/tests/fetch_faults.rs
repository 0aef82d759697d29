//! Everything a network, a server or a disk can do to a download: the bytes are right or nobody gets them.

#[path = "fetch_faults/bench.rs"]
mod bench;
#[path = "fetch_faults/cache.rs"]
mod cache;
#[path = "fetch_faults/http.rs"]
mod http;
#[path = "fetch_faults/identity.rs"]
mod identity;
#[path = "fetch_faults/sources.rs"]
mod sources;
