//! The virtual cluster: seeds that go well, named scenarios, and proof that the invariants notice.

mod cluster;
mod forgetting;
mod hardware;
mod nodes;
mod noticed;
mod one_way;
mod probes;
mod replays;
mod scenarios;
mod seeds;
