//! Builds bundles.

fn main() {}
