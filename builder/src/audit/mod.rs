//! Which known advisories concern what is inside a bundle.
