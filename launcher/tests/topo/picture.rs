//! What `--svg` draws.

use crate::node::machine;
use crate::support::{captures, files, topo};

const DGX: &str = "ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out";

#[test]
fn the_picture_of_the_rail_fabric_has_rails_and_degraded_links_in_colour() {
    let Some(root) = captures() else { return };
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("dgx.svg");
    topo(&root, &["--svg", file.to_str().unwrap(), "--from", DGX]).clean();
    let svg = std::fs::read_to_string(file).unwrap();
    let count = |what: &str| svg.matches(what).count();
    assert_eq!(count("<rect class=\"switch short\"") - 1, 12);
    assert_eq!(count("<rect class=\"switch\"") - 1, 28);
    // Leaves have 17 (2 of them), 16 (7), 15 (2) and 14 (1) of 18 uplinks: 26 are missing, in pairs that lost one of
    // two and pairs that lost both.
    let (thin, lost) = (count("class=\"link thin\"") - 1, count("class=\"link lost\"") - 1);
    assert_eq!(thin + 2 * lost, 26);
    // Eleven hosts without rail 2, two that are on two rails of four, one with two rails swapped.
    assert_eq!(count("<rect class=\"short\""), 11 + 2 * 2 + 2);
    // Cables end at the boxes of their leaves, and pass behind those of others.
    assert!(svg.find("<rect class=\"box\"").unwrap() > svg.rfind("<path class=\"link").unwrap());
    assert!(svg.find("<rect class=\"block\"").unwrap() < svg.find("<path class=\"link").unwrap());
    // A picture is well-formed as far as tags go.
    assert_eq!(count("<text"), count("</text>"));
    assert_eq!(count("<title>"), count("</title>"));
    assert!(svg.ends_with("</svg>\n"));
}

#[test]
fn the_picture_of_a_machine_that_is_all_there_is_has_what_is_in_it() {
    let json = serde_json::to_string(&machine()).unwrap();
    let dir = files(&[("gpu-1.json", &json)]);
    topo(dir.path(), &["--svg", "one.svg", "--from", "gpu-1.json"]).clean();
    let svg = std::fs::read_to_string(dir.path().join("one.svg")).unwrap();
    let at = |what: &str| svg.find(what).unwrap_or_else(|| panic!("{what} is not in {svg}"));
    let count = |what: &str| svg.matches(what).count();
    assert_eq!((count("<rect class=\"box\""), count("<rect class=\"gpu bad\"")), (2, 1));
    assert!(svg.contains(">NUMA 0, 64 GiB, 4 cores, CPUs 0-3,8-11</text>"), "{svg}");
    // Those of a NUMA node are between its name and the next's.
    let (first, second) = (at(">NUMA 0,"), at(">NUMA 1,"));
    for device in [">GPU0 Example GPU<", ">GPU1 Example GPU<", ">mlx5_0 400G<", ">eno1 10G<"] {
        assert!((first..second).contains(&at(device)), "{device}: {svg}");
    }
    assert!(at("<rect class=\"switch bad\" x=") < at(">NUMA 0,"), "the legend");
    assert!(at(">mlx5_1 400G<") > second);
    assert!(svg.contains("<title>0000:14:00.0, ") && !svg.contains("eth"), "{svg}");
}

#[test]
fn all_of_the_picture_is_inside_of_it_with_eight_rails_too() {
    let ports = |node: u32| {
        let ports =
            (0..8).map(|rail| format!("mlx5_{rail}: {{switch: u{}-r{rail}, rail: {rail}}}", node / 3));
        format!("  n{node}: {{ports: {{{}}}}}\n", ports.collect::<Vec<_>>().join(", "))
    };
    let unders = |unit: u32| (0..8).map(move |rail| format!("  u{unit}-r{rail}: {{under: [spine]}}\n"));
    let nodes: String = (0..12).map(ports).collect();
    let site = format!("nodes:\n{nodes}switches:\n{}", (0..4).flat_map(unders).collect::<String>());
    let dir = files(&[("site.yaml", &site)]);
    topo(dir.path(), &["--svg", "x.svg", "--from", "site.yaml"]).clean();
    let svg = std::fs::read_to_string(dir.path().join("x.svg")).unwrap();
    assert!(svg.contains(">rail 7</text>"), "{svg}");
    assert!(svg.find(">n9</text>").unwrap() < svg.find(">n10</text>").unwrap(), "in the order of people");
    let number = |line: &str, key: &str| -> Option<u32> {
        line.split_once(&format!(" {key}=\""))?.1.split('"').next()?.parse().ok()
    };
    for line in svg.lines().filter(|line| line.starts_with("<rect") || line.starts_with("<text")) {
        let end = number(line, "x").unwrap_or(0) + number(line, "width").unwrap_or(0);
        assert!(end <= 1_400, "{line}");
    }
}
