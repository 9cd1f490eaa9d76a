//! What a gang that kept its nodes would cost if it were placed anew.

use std::collections::BTreeMap;
use std::fmt;

use crate::placement::fabric::NodeRow;
use crate::placement::gang::place_gang;
use crate::placement::order::Effort;
use crate::placement::report::report;
use crate::placement::request::{GangRequest, Limits};
use crate::stock::Stock;

/// Swaps and moves that are weighed for a placement that nobody asked for.
const ANEW: Effort = Effort { proposals: 20_000, search_nodes: 0, exact: false, seed: 1 };

/// What a gang costs where it is, and what it would cost if it were placed anew: less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Anew {
    pub kept: u128,
    pub fresh: u128,
}

/// Whether a gang on these nodes, with so many ranks on each, would cost less if all of it were placed anew. In `stock`
/// it holds nothing: its nodes are as free as others leave them.
pub fn anew(stock: &Stock, request: &GangRequest<'_>, on: &[(NodeRow, u32)]) -> Option<Anew> {
    let cost = |on: &[(NodeRow, u32)]| {
        let (rows, shares): (Vec<NodeRow>, Vec<u32>) = on.iter().copied().unzip();
        let world = shares.iter().fold(0u32, |sum, share| sum.saturating_add(*share));
        let layout = request.layout(world, &Limits::default()).ok()?;
        Some((world, report(stock, &layout, &rows, &shares).ok()?.cost))
    };
    let (world, kept) = cost(on)?;
    let request = GangRequest { last: &[], spares: &[], ..request.clone() };
    let gang = place_gang(stock, &request, &BTreeMap::new(), &ANEW).ok()?;
    let pods: Vec<(NodeRow, u32)> = gang.pods.iter().map(|pod| (pod.node, pod.ranks)).collect();
    let (of, fresh) = cost(&pods)?;
    (of == world && fresh < kept).then_some(Anew { kept, fresh })
}

impl fmt::Display for Anew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let less = (self.kept - self.fresh).saturating_mul(100) / self.kept.max(1);
        let Anew { kept, fresh } = self;
        write!(f, "a fresh placement would cost {fresh} instead of {kept} ({less} % less)")
    }
}
