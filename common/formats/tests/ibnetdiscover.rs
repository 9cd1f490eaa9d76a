#![allow(missing_docs)]
mod support;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::*;
use phalanx_formats::ibnetdiscover;
#[test]
fn t() {
    for f in [
        "ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out",
        "ibnetdiscover/plafrim2-ports-format-with-DR.txt",
        "ibnetdiscover/ibtopotool-1.topo",
        "ibnetdiscover/ibtopotool-2.topo",
        "ibnetdiscover/ibsim-net",
        "ibnetdiscover/ibsim-net.2sw2path4hca",
        "ibnetdiscover/topograph-example-bad.out",
    ] {
        let Some(b) = support::capture(f) else { return };
        let fabric = ibnetdiscover::read(&b).unwrap();
        println!(
            "{f} dev {} links {} oneended {}",
            fabric.devices.len(),
            fabric.links.len(),
            fabric.one_ended
        );
        let ev = fabric.evidence("x", Timestamp(0));
        let t = std::time::Instant::now();
        let n = derive(&[], &ev, Timestamp(1)).unwrap();
        println!("{:?}", t.elapsed());
        println!(
            "nodes {} switches {} planes {:?} unjoined {}",
            n.nodes.len(),
            n.switches.len(),
            n.planes,
            n.unjoined.len()
        );
        for g in &n.groups {
            println!("{g:?}");
        }
        for s in &n.switches {
            println!("{} L{} rail {:?} up {:?}", s.name, s.level, s.rail, s.uplinks);
        }
        for f in findings(&n) {
            println!("{:?} {f}", f.severity);
        }
    }
}
