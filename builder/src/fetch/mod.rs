//! Brings pinned artifacts into the cache: parallel, resumable, verified before they are usable.
