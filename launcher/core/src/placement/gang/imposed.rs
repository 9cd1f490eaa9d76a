//! An order of nodes that a framework wants.

use super::GangPod;
use crate::stock::Stock;
use phalanx_common::topology::machine::AcceleratorKind;

/// Puts the pods into the order that their devices' framework imposes; `true` if that is another. A rank table of Ascend
/// numbers ranks by the dictionary order of its servers' ids, which are their addresses as text.
pub(in crate::placement) fn reorder(stock: &Stock, pods: &mut [GangPod]) -> bool {
    let is_ascend = |pod: &GangPod| {
        let (node, mask) = (stock.node(pod.node), pod.inside.as_ref().map_or(0, |inside| inside.devices));
        let devices = node.inside.iter().flat_map(|inside| inside.identity.devices.iter().zip(0u32..64));
        devices
            .into_iter()
            .any(|(device, row)| mask >> row & 1 == 1 && device.kind == AcceleratorKind::Ascend)
    };
    if !pods.first().is_some_and(is_ascend) {
        return false;
    }
    let key = |pod: &GangPod| {
        let known = stock.fabric().node(pod.node);
        let address = stock.node(pod.node).inside.as_ref().and_then(|inside| inside.address());
        // Where a recorded cluster tells no addresses, the name has to do.
        (address.map_or_else(|| known.name.clone(), |address| address.to_string()), pod.node)
    };
    if pods.is_sorted_by_key(key) {
        return false;
    }
    pods.sort_by_cached_key(key);
    true
}
