//! What the tests of Phalanx stand on.

pub mod vcluster;
