//! Takes what is needed out of verified artifacts, and refuses what must not be shipped.
