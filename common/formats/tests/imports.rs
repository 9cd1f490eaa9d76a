//! What trees of other tools come to: no level of theirs is lost, and nothing that is wrong in them is passed over.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Network, Source, Tier, TierInterval, derive, findings};
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::outline::Outline;
use phalanx_formats::{csv, slurm, statement, topograph, trace};

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

#[test]
fn a_table_that_is_not_utf_8_is_refused_with_its_place() {
    let says = "column 5: the byte 0xe9 is no UTF-8; save the file as UTF-8";
    let error = csv::read(b"node,leaf\nn1,l1\nn2,l\xe9\n").unwrap_err().to_string();
    assert!(error.starts_with(&format!("line 3, {says}")), "{error}");
    assert_eq!(csv::read(b"\x89PNG,a\n\xff\n"), Err(csv::Error::NoNode), "a picture is no table");
    let error = slurm::read_conf(
        "SwitchName=s0 Nodes=n1\n# é\n# é".bytes().chain(*b" \xe9").collect::<Vec<_>>().as_slice(),
    );
    assert!(error.unwrap_err().to_string().starts_with(&format!("line 3, {says}")));
    let error = trace::read(b"job,submitted_at,duration,gpus\na,1,\xe9,1\n").unwrap_err().to_string();
    assert!(error.starts_with(&format!("line 2, {says}")), "{error}");
}

#[test]
fn text_in_utf_16_is_told_from_its_zeros_where_it_has_no_mark() {
    let text = "SwitchName=s1 Nodes=n1\n";
    let little: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let big: Vec<u8> = text.encode_utf16().flat_map(u16::to_be_bytes).collect();
    for (bytes, encoding) in [(&little, "UTF-16LE"), (&big, "UTF-16BE")] {
        assert_eq!(recognise(bytes), Some(Kind::SlurmConf), "{encoding}");
        let says =
            format!("this is UTF-16 text; save it as UTF-8 (`iconv -f {encoding} -t UTF-8` writes it so)");
        assert_eq!(slurm::read_conf(bytes).unwrap_err().to_string(), says);
        assert_eq!(csv::read(bytes).unwrap_err().to_string(), says);
        assert_eq!(statement::read(bytes, "x", AT).unwrap_err().to_string(), says);
    }
    assert_eq!(recognise(b"\0\0\0\0\0\0"), None);
}

#[test]
fn statements_of_one_file_that_contradict_each_other_are_told_with_their_lines() {
    let text = "nodes:\n  n1: {leaf: a}\n  \"n[1-2]\": {leaf: b}\n";
    let found = derive(&[], &statement::read(text.as_bytes(), "site.yaml", AT).unwrap(), AT).unwrap();
    let says = "n1: sources disagree about its leaf in declared: the operator (site.yaml, line 2) says a, \
        the operator (site.yaml, line 3) says b; the first counts, for nothing tells them apart";
    assert_eq!(findings(&found).iter().map(ToString::to_string).collect::<Vec<_>>(), [says]);
    let text = "nodes:\n  n1: {leaf: a}\n  n2: {leaf: a}\n  n1: {leaf: b}\n";
    let error = statement::read(text.as_bytes(), "site.yaml", AT).unwrap_err().to_string();
    assert_eq!(error, "line 4, column 3: the key \"n1\" stands here a second time; the first is in line 2");
}

#[test]
fn what_a_tree_of_slurm_says_twice_or_of_nobody_is_an_error_with_its_line() {
    for (conf, says) in [
        (
            "SwitchName=s0 Nodes=n1\n# again\nSwitchName=s0 Nodes=n2\n",
            "line 3: the switch \"s0\" is defined a second time; the first is in line 1",
        ),
        (
            "SwitchName=s0 Nodes=n1\nSwitchName=top Switches=s[0-1]\n",
            "line 2: \"s1\" is below \"top\", and no line defines it with SwitchName=; it is misspelt, or the file was cut",
        ),
    ] {
        assert_eq!(slurm::read_conf(conf.as_bytes()).unwrap_err().to_string(), says);
    }
    let yaml = |switches: &str| {
        format!("- topology: t\n  tree:\n    switches:\n    - {{switch: s0, nodes: n1}}\n{switches}")
    };
    for (more, says) in [
        (
            "    - {switch: s0, nodes: n2}\n",
            "line 5: the switch \"s0\" is defined a second time; the first is in line 4",
        ),
        (
            "    - {switch: top, children: 's[0-1]'}\n",
            "line 5: \"s1\" is below \"top\", and no item defines it with `switch`",
        ),
    ] {
        let error = slurm::read_yaml(yaml(more).as_bytes()).unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
}

#[test]
fn columns_of_one_name_are_an_error_but_those_of_none() {
    let error = csv::read(b"node,leaf,Leaf\nn1,a,b\n").unwrap_err().to_string();
    assert_eq!(
        error,
        "line 1: two columns are called leaf; call them by what they name, such as leaf and spine"
    );
    assert!(csv::read(b"node,leaf,,\nn1,a,,\n").is_ok());
}

#[test]
fn instances_that_were_cut_anywhere_are_an_error_with_the_line() {
    let text = topograph::write_json(&Outline::of(&table("node,leaf,spine\nn1,l1,s1\nn2,l2,s1\n")));
    for end in 0..text.trim_end().len() {
        let error = topograph::read_json(&text.as_bytes()[..end]).unwrap_err().to_string();
        assert!(error.contains(" at line "), "{end}: {error}");
    }
}
