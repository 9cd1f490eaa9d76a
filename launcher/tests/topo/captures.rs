//! What is shown of real fabrics. The figures were counted in the captures by other means.

use crate::support::{captures, topo, topo_of, unpacked};

const DGX: &str = "ibnetdiscover/topograph-dgx-ndr-railopt-40sw-582ca.out";

#[test]
fn the_rail_fabric_is_shown_by_units_rails_and_live_uplinks() {
    let Some(root) = captures() else { return };
    let done = topo(&root, &["--from", DGX]);
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(done.out.starts_with("122 nodes · 40 switches · 1 plane\n"), "{}", done.out);
    assert!(done.out.contains("\ninfiniband  InfiniBand, 4 rails, 122 nodes, 40 switches, jobs' traffic\n"));
    assert_eq!(done.lines_with("─ unit "), 8);
    // 31 leaves: 8 on rail 0, 1 and 3, and 7 on rail 2.
    assert_eq!([0, 1, 2, 3].map(|rail| done.lines_with(&format!("  rail {rail}  "))), [8, 8, 7, 8]);
    assert!(done.out.contains("A09-P1-IBLEAF-01-02  rail 0  14 of 18 uplinks, 0.78\n"), "{}", done.out);
    let leaves =
        |what: &str| done.out.lines().filter(|line| line.contains("  rail ") && line.contains(what)).count();
    assert_eq!((leaves(" 18 of 18 uplinks"), leaves(" of 18 uplinks, 0.")), (19, 12));
    assert!(done.out.contains("nodes  a07-p1-dgx-03-c[01-18]\n"));
    assert!(done.out.contains("69 adapters on the fabric of no known node"));
    assert!(done.out.contains(&format!("`phalanx topo check --from {DGX}` says what is wrong")));
}

#[test]
fn the_check_of_the_rail_fabric_reports_all_that_is_wrong_with_it() {
    let Some(root) = captures() else { return };
    let done = topo(&root, &["check", "--from", DGX]);
    assert_eq!((done.code, done.err.as_str()), (1, ""));
    assert!(done.out.contains("no leaf for rail 2, which 7 of 8 units have; its 11 nodes have the leaves"));
    assert_eq!(done.lines_with(" of 18 uplinks work"), 12);
    assert!(done.out.contains(
        "WARNING  b08-p1-dgx-08-c01: rails 2 and 3 are swapped: HCA-5 (rail 2) is on B09-P1-IBLEAF-04-08 (rail 3), \
         HCA-6 (rail 3) is on B09-P1-IBLEAF-03-08 (rail 2)\n"
    ));
    let known_by = done.lines_with(&format!("known by  InfiniBand: {DGX}, "));
    assert_eq!(known_by, done.lines_with("to do     "), "each finding says who told it and what to do");

    // Each of the 69 is named.
    let all = topo(&root, &["check", "-v", "--from", DGX]);
    assert_eq!(all.lines_with("  adapter   e09d73"), 69);
    let json = topo(&root, &["check", "--json", "--from", DGX]).json();
    let findings = json["findings"].as_array().unwrap();
    assert_eq!(findings[0]["severity"], "warning");
    assert!(findings.windows(2).all(|pair| pair[0]["severity"].as_str() >= pair[1]["severity"].as_str()));
    let adapters =
        |found: &serde_json::Value| found["problem"]["unjoined"]["adapters"].as_array().map(Vec::len);
    assert_eq!(findings.iter().filter_map(adapters).sum::<usize>(), 69);
    let origin = findings[0]["evidence"][0].as_u64().unwrap();
    assert_eq!(json["sources"][origin as usize]["origin"], DGX);
}

#[test]
fn a_node_of_a_dump_is_shown_by_its_ports_with_what_is_wrong() {
    let Some(root) = captures() else { return };
    let out = topo(&root, &["b08-p1-dgx-08-c01", "--from", DGX]).clean();
    let row = |port: &str| -> Vec<&str> {
        out.lines().find(|line| line.starts_with(port)).unwrap().split_whitespace().collect()
    };
    assert_eq!(row("HCA-1")[..3], ["HCA-1", "400G", "B09-P1-IBLEAF-01-08"]);
    assert!(row("HCA-6").join(" ").contains("B09-P1-IBLEAF-03-08"), "{out}");
    assert!(row("HCA-6").join(" ").contains("3, on 2"), "{out}");
    assert!(out.contains("rails 2 and 3 are swapped"));
    assert!(out.contains("nothing is known of what it has inside"));
}

#[test]
fn a_dump_on_standard_input_and_a_snapshot_of_it_show_the_same() {
    let Some(root) = captures() else { return };
    let dump = std::fs::read(root.join(DGX)).unwrap();
    let piped = topo_of(&root, &["--from", "-"], &dump);
    assert!(piped.out.starts_with("122 nodes · 40 switches · 1 plane\n"), "{}", piped.err);

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cluster.json");
    topo(&root, &["export", "json", "--out", file.to_str().unwrap(), "--from", DGX]).clean();
    let again = topo(dir.path(), &["--from", "cluster.json"]).clean();
    let tree = |text: &str| {
        let from = text.find("\ninfiniband ").unwrap();
        text[from..text.rfind("\n`phalanx").unwrap()].to_string()
    };
    assert_eq!(tree(&again), tree(&piped.out));
    assert_eq!(topo(dir.path(), &["check", "--from", "cluster.json"]).lines_with(" uplinks work"), 12);
}

#[test]
fn a_clos_of_847_hosts_has_119_leaves_in_text_and_picture() {
    let Some(root) = captures() else { return };
    let done = topo(&root, &["--from", "clos-production"]);
    assert!(done.out.starts_with("847 nodes · 123 switches · 1 plane\n"), "{}", done.err);
    // 113 under names that several have, and six whose name nobody else has.
    let shared = done.out.lines().filter(|line| line.contains("─ P") && line.contains("/S")).count();
    assert_eq!((shared, done.lines_with("─ S"), done.lines_with("─ block ")), (113, 6, 3));
    assert!(
        done.out.find("P10/S2  ").unwrap() < done.out.find("P10/S10  ").unwrap(),
        "in the order of people"
    );

    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("clos.svg");
    topo(&root, &["--svg", file.to_str().unwrap(), "--from", "clos-production"]).clean();
    let svg = std::fs::read_to_string(file).unwrap();
    let count = |what: &str| svg.matches(what).count();
    // The legend has one of each too.
    assert_eq!(count("<rect class=\"switch\"") - 1, 123);
    assert_eq!(count("<rect class=\"node\"") - 1, 847);
    assert_eq!(count("<rect class=\"box\""), 119);
    assert!(svg.len() < 400_000, "{} bytes", svg.len());
}

#[test]
fn a_whole_cluster_of_two_subnets_is_read_from_its_folder() {
    let Some(dir) = unpacked("netloc-clusters/plafrim2.txz") else { return };
    let done = topo(dir.path(), &["--from", "plafrim2/ib-raw"]);
    assert_eq!(done.code, 0, "{}", done.err);
    // Each subnet is a plane; the management hosts of the first are bright and devel11 to devel13.
    assert!(
        done.out.contains("\ninfiniband  InfiniBand, 96 nodes, 7 switches, jobs' traffic\n"),
        "{}",
        done.out
    );
    assert!(done.out.contains("infiniband-2  InfiniBand, "), "{}", done.out);
    for leaf in [
        "ibedge01  12 of 12 uplinks  24 nodes  miriel[001-024]",
        "TS-i12k00066a00e3006b6f  12 of 12 uplinks  24 nodes  miriel[044-067]",
        "TS-i12k00066a00e30076ab  11 of 12 uplinks, 0.92  20 nodes  miriel[068-075,077-088]",
    ] {
        assert!(done.out.contains(leaf), "{leaf} is not in {}", done.out);
    }

    // With what the machines say of themselves: those of eleven are copies of another's, with its name and its
    // adapter's GUIDs, and say nothing of the nodes that their files are called after.
    let whole = topo(dir.path(), &["--from", "plafrim2"]);
    assert!(
        whole.out.contains("120 nodes · 8 switches · 2 planes · 107 machines known from inside"),
        "{}",
        whole.out
    );
    assert!(
        whole.out.contains("\ninfiniband  InfiniBand, 96 nodes, 7 switches, jobs' traffic\n"),
        "{}",
        whole.out
    );
    assert!(whole.out.contains("attachment unknown  10 nodes  souris,mirage[01-04,06-09],miriel076"));
    assert_eq!(whole.err.matches("12 files describe one machine, miriel008").count(), 1, "{}", whole.err);
    let check = topo(dir.path(), &["check", "--from", "plafrim2"]);
    assert!(!check.out.contains("have this host name"), "{}", check.out);
}

#[test]
fn models_and_lists_of_other_tools_are_trees_and_exports_read_them_again() {
    let Some(root) = captures() else { return };
    let nvl = topo(&root, &["--from", "topograph-models/nvl72.yaml"]).clean();
    assert!(nvl.starts_with("72 nodes · 7 switches · 1 plane · 4 NVLink domains\n"), "{nvl}");
    assert!(nvl.contains("nvl-2-2  18 nodes  node[2201-2218]\n"));
    assert!(nvl.contains("findings    none\n"));
    let netq = topo(&root, &["--from", "netq"]).clean();
    assert!(netq.contains("net-unit-l1  28 uplinks  4 nodes  dgx-[01-04]\n"), "{netq}");
    assert!(netq.contains("attachment unknown  2 nodes  node[1-2]\n"));

    for (format, file) in [("slurm-conf", "a"), ("slurm-yaml", "b"), ("topograph", "c")] {
        let dir = tempfile::tempdir().unwrap();
        let text = topo(&root, &["export", format, "--from", "topograph-models/nvl72.yaml"]).clean();
        std::fs::write(dir.path().join(file), text).unwrap();
        let again = topo(dir.path(), &["--from", file]).clean();
        assert!(again.starts_with("72 nodes · 7 switches · 1 plane"), "{format}: {again}");
        assert!(again.contains("leaf-2-2  18 nodes  node[2201-2218]\n"), "{format}: {again}");
    }
}

#[test]
fn nothing_wrong_ends_with_0_and_says_so() {
    let Some(root) = captures() else { return };
    let out = topo(&root, &["check", "--from", "topograph-models/nvl72.yaml"]).clean();
    assert_eq!(out, "no findings: 72 nodes and 7 switches are as they should be\n");
    assert_eq!(
        topo(&root, &["--conflicts", "--from", "topograph-models/nvl72.yaml"]).clean(),
        "no conflicts: no two sources disagree\n"
    );
}

#[test]
fn a_file_for_nccl_is_read_again_and_is_not_written_of_what_nobody_placed() {
    let Some(root) = captures() else { return };
    let text = topo(&root, &["export", "nccl", "--from", "nccl-xml/rccl/topo_8p_90a.xml"]).clean();
    assert_eq!((text.matches("<gpu ").count(), text.matches("<net ").count()), (8, 1), "{text}");
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("again.xml"), &text).unwrap();
    assert_eq!(topo(dir.path(), &["export", "nccl", "--from", "again.xml"]).clean(), text);
    for (file, device) in [("nvidia-smi-qx/qx-h100.xml", "GPU0"), ("nvidia-smi-topo-m", "GPU0")] {
        let done = topo(&root, &["export", "nccl", "gb200-k8s-test-infra-371", "--from", file]);
        let alone = topo(&root, &["export", "nccl", "qx-h100", "--from", file]);
        let refused =
            [&done, &alone].into_iter().find(|done| done.err.contains("is plugged in is not known"));
        assert!(
            refused.is_some_and(|done| done.code == 125 && done.err.contains(device)),
            "{file}: {}",
            done.err
        );
    }
}
