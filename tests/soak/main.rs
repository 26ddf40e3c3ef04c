//! Made in another branch.
fn main() {}
