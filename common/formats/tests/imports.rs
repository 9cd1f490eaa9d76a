//! What trees of other tools come to: no level of theirs is lost, and nothing that is wrong in them is passed over.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Network, Source, Tier, TierInterval, derive};
use phalanx_formats::outline::Outline;
use phalanx_formats::{csv, slurm, statement, topograph};

const AT: Timestamp = Timestamp(0);

fn network(outline: &Outline, source: Source) -> Network {
    derive(&[], &outline.evidence(source, "tree", AT), AT).unwrap()
}

fn between(network: &Network, a: &str, b: &str) -> TierInterval {
    network.distance(network.node(a).unwrap(), network.node(b).unwrap())
}

fn table(text: &str) -> Network {
    network(&csv::read(text.as_bytes()).unwrap(), Source::Csv)
}

fn tiers(network: &Network) -> &[Tier] {
    &network.planes[network.main.unwrap() as usize].tiers
}

#[test]
fn levels_that_are_written_are_kept_though_each_spine_has_one_leaf() {
    // What docs/topology.md shows, and one leaf for each spine, with a core above and without.
    let docs =
        "node,leaf,spine,core,nvlink\ngpu-01,leaf-1,spine-1,core,rack1\ngpu-02,leaf-1,spine-1,core,rack1\n";
    let conf = "SwitchName=leaf-1 Nodes=gpu-[01-02]\nSwitchName=core Switches=spine-1\nSwitchName=spine-1 Switches=leaf-1\n";
    let pairs = "node,leaf,spine\nn1,l1,s1\nn2,l1,s1\nn3,l2,s2\n";
    let pairs_conf = "SwitchName=l1 Nodes=n[1-2]\nSwitchName=l2 Nodes=n3\nSwitchName=s1 Switches=l1\nSwitchName=s2 Switches=l2\n";
    let below = "node,leaf,spine,core\nn1,l1,s1,c\nn2,l1,s1,c\nn3,l2,s2,c\n";
    let below_conf = "SwitchName=l1 Nodes=n[1-2]\nSwitchName=l2 Nodes=n3\nSwitchName=c Switches=s[1-2]\nSwitchName=s1 Switches=l1\nSwitchName=s2 Switches=l2\n";
    use Tier::{Block, Core, Leaf};
    for (text, levels, conf) in [
        (docs, &[Leaf, Block, Core][..], conf),
        (pairs, &[Leaf, Block], pairs_conf),
        (below, &[Leaf, Block, Core], below_conf),
    ] {
        let found = table(text);
        assert_eq!(tiers(&found), levels, "{text}");
        let outline = Outline::of(&found);
        assert_eq!(slurm::write_conf(&outline), conf);
        let written = [
            (slurm::read_conf(conf.as_bytes()).unwrap(), Source::Slurm),
            (slurm::read_yaml(slurm::write_yaml(&outline).as_bytes()).unwrap(), Source::Slurm),
            (topograph::read_json(topograph::write_json(&outline).as_bytes()).unwrap(), Source::Topograph),
        ];
        for (again, source) in written {
            assert_eq!(again.under, outline.under);
            assert_eq!(tiers(&network(&again, source)), levels);
        }
    }
    let found = table(below);
    assert_eq!(between(&found, "n1", "n3"), TierInterval::exactly(Tier::Core));
}

#[test]
fn blocks_that_are_stated_are_kept_though_each_has_one_leaf() {
    let text =
        "nodes:\n  n1: {leaf: l1}\n  n2: {leaf: l2}\nswitches:\n  l1: {block: b1}\n  l2: {block: b2}\n";
    let found = derive(&[], &statement::read(text.as_bytes(), "x", AT).unwrap(), AT).unwrap();
    assert_eq!(tiers(&found), [Tier::Leaf, Tier::Block]);
}

#[test]
fn a_switch_that_is_right_below_a_core_is_no_block_of_it() {
    // The empty rack makes the core one of the third level: to the leaves it is the next one.
    let conf = b"SwitchName=l1 Nodes=n1\nSwitchName=l2 Nodes=n2\nSwitchName=rack Nodes=n3\nSwitchName=row Switches=rack\n\
        SwitchName=core Switches=l1,l2,row\n";
    let mut outline = slurm::read_conf(conf).unwrap();
    outline.nodes.retain(|(node, _)| node != "n3");
    let found = network(&outline, Source::Slurm);
    assert_eq!(found.groups.iter().filter(|group| group.name == "core").count(), 1, "{:?}", found.groups);
}
