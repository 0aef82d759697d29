//! Joins the node.

fn main() {}
