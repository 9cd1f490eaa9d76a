//! Looking at a topology: from files or a cluster to pictures of it.
//!
//! ```text
//!  files --> load --> evidence, machines --+
//!                                          +--> View --> cluster, node, report, svg, export
//!  coordinator --> snapshot, machines -----+
//! ```
//!
//! Everything behind [`View`] is a function of it: it reads nothing and knows no clock.

mod cluster;
mod copies;
mod export;
mod files;
mod load;
mod node;
mod paint;
pub(crate) mod plain;
mod planes;
mod read;
mod report;
mod resolve;
pub(crate) mod svg;
mod told;
mod tree;
mod view;
mod witness;

pub(crate) use cluster::cluster;
pub(crate) use export::{Format, export};
pub(crate) use files::listed;
pub(crate) use load::{Loaded, NotTaken, evidence, load};
pub(crate) use node::node;
pub(crate) use paint::{Line, Paint, Tone, counted, thousands};
pub(crate) use report::{conflicts, report, report_json};
pub(crate) use resolve::{Unresolved, resolve};
pub(crate) use svg::svg;
pub(crate) use told::Told;
pub(crate) use tree::table as grid;
pub(crate) use view::{View, Witnesses};
