//! Which slot of a gang goes to which lowest domain.
//!
//! Pure combinatorics: it knows slots, their traffic and a tree of domains with room for slots, and nothing of
//! nodes. The cost of an assignment is the sum over domains of uplink cost times the volume that leaves.
//!
//! ```text
//! Layout --fold--> SlotGraph --+
//!                              +--> solve: counts -> tiles -> swaps, moves, kicks -> exact search --> Solution
//! Tree of domains with room  --+           \--------- lower bound, stops all of it ---------/
//! ```
//!
//! For a job that is one ring or chain the tree order is optimal, since a depth-first walk crosses every used
//! uplink twice (once); only the choice of leaves is left to search.

mod bound;
mod contract;
mod cost;
mod counts;
mod exact;
mod kicks;
mod layout;
mod model;
mod refine;
mod slots;
mod solve;
mod state;
mod tiles;
mod tree;
mod twins;
mod within;

pub use cost::{Cost, Volume};
pub use layout::{
    CP_VOLUME, DP_VOLUME, EP_VOLUME, Group, GroupKind, Layout, LayoutError, MAX_RANKS, PP_VOLUME, Pattern,
    TP_VOLUME,
};
pub use slots::{Dim, Edge, LONGEST_ALL_TO_ALL, MAX_EDGES, SlotGraph, SlotsError};
pub use solve::{Effort, Problem, ProblemError, Solution, solve};
pub use tree::{Domain, Level, MAX_DEPTH, MAX_DOMAINS, Tree, TreeError};
