//! Matrices of links, as the vendors' tools write them, that stand alone.

use crate::support::{files, topo};

/// The rows of the matrix that `phalanx topo` prints of a file, one space between words, without what stands behind
/// the devices.
fn rows(text: &str, devices: usize) -> Vec<String> {
    let dir = files(&[("node.txt", text)]);
    let out = topo(dir.path(), &["--from", "node.txt"]).clean();
    let header = out.lines().position(|line| line.ends_with("nearest ports")).expect(&out);
    let words = |line: &str| line.split_whitespace().take(devices + 1).collect::<Vec<_>>().join(" ");
    out.lines().skip(header + 1).take(devices).map(words).collect()
}

#[test]
fn links_between_gpus_that_are_known_by_their_numbers_are_shown() {
    let pair =
        "\tGPU0\tGPU1\tCPU Affinity\tNUMA Affinity\nGPU0\t X \tNV4\t0-15\t0\nGPU1\tNV4\t X \t16-31\t1\n";
    assert_eq!(rows(pair, 2), ["GPU0 X NV4", "GPU1 NV4 X"]);
    // The cube mesh of a DGX-1, each GPU with six links to four others.
    let cube = "\tGPU0\tGPU1\tGPU2\tGPU3\tGPU4\tGPU5\tGPU6\tGPU7\tCPU Affinity\n\
        GPU0\tX\tNV1\tNV1\tNV2\tNV2\tSYS\tSYS\tSYS\t0-19\nGPU1\tNV1\tX\tNV2\tNV1\tSYS\tNV2\tSYS\tSYS\t0-19\n\
        GPU2\tNV1\tNV2\tX\tNV2\tSYS\tSYS\tNV1\tSYS\t0-19\nGPU3\tNV2\tNV1\tNV2\tX\tSYS\tSYS\tSYS\tNV1\t0-19\n\
        GPU4\tNV2\tSYS\tSYS\tSYS\tX\tNV1\tNV1\tNV2\t20-39\nGPU5\tSYS\tNV2\tSYS\tSYS\tNV1\tX\tNV2\tNV1\t20-39\n\
        GPU6\tSYS\tSYS\tNV1\tSYS\tNV1\tNV2\tX\tNV2\t20-39\nGPU7\tSYS\tSYS\tSYS\tNV1\tNV2\tNV1\tNV2\tX\t20-39\n";
    let written: Vec<String> = cube
        .lines()
        .skip(1)
        .map(|line| line.split_whitespace().take(9).collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(rows(cube, 8), written);
    let dir = files(&[("node.txt", cube)]);
    let out = topo(dir.path(), &["--from", "node.txt"]).clean();
    assert!(
        out.ends_with(
            "\nNV#   so many NVLinks, direct or through NVSwitches\nSYS   the link between NUMA nodes\n"
        ),
        "{out}"
    );
}

#[test]
fn links_between_npus_are_shown_direct_between_dies_and_through_switches() {
    let a2 = "\tNPU0\tNPU1\tNPU2\tCPU Affinity\nNPU0\tX\tHCCS\tHCCS\t0-23\nNPU1\tHCCS\tX\tHCCS\t0-23\nNPU2\tHCCS\tHCCS\tX\t24-47\n";
    assert_eq!(rows(a2, 3), ["NPU0 X HCCS HCCS", "NPU1 HCCS X HCCS", "NPU2 HCCS HCCS X"]);
    let a3 = "           Phy-ID12   Phy-ID13   Phy-ID14\nPhy-ID12   X          SIO        HCCS_SW\n\
        Phy-ID13   SIO        X          HCCS_SW\nPhy-ID14   HCCS_SW    HCCS_SW    X\n";
    assert_eq!(rows(a3, 3), ["NPU12 X SIO HCCS_SW", "NPU13 SIO X HCCS_SW", "NPU14 HCCS_SW HCCS_SW X"]);
    let dir = files(&[("node.txt", a3)]);
    let out = topo(dir.path(), &["--from", "node.txt"]).clean();
    let legend = "\nHCCS_SW  Ascend's links through switches\nSIO      the link between the two dies of an Ascend card\n";
    assert!(out.ends_with(legend), "{out}");
}

#[test]
fn cells_that_say_nothing_known_are_told_with_their_lines_and_the_rest_is_shown() {
    let nvidia = "\tGPU0\tGPU1\tCPU Affinity\nGPU0\t X \tQQQ\t0-15\nGPU1\tNV4\t X \tnone\n";
    let ascend = "\tNPU0\tNPU1\tCPU Affinity\nNPU0\tX\tHCCZ\t0-23\nNPU1\tHCCS\tX\t0-23\n";
    let dir = files(&[("nvidia.txt", nvidia), ("ascend.txt", ascend)]);
    let done = topo(dir.path(), &["--from", "nvidia.txt"]);
    assert_eq!(
        done.err,
        "phalanx: warning: nvidia.txt: 2 cells say nothing that is known, and are taken for unknown: \"QQQ\" in line 2, row GPU0, \
         column GPU1, \"none\" in line 3, row GPU1, column CPU Affinity\n"
    );
    assert!(done.code == 0 && done.out.contains("\nGPU0  X     NV4 "), "{}", done.out);
    let done = topo(dir.path(), &["--from", "ascend.txt"]);
    assert_eq!(
        done.err,
        "phalanx: warning: ascend.txt: 1 cell says nothing that is known, and is taken for unknown: \"HCCZ\" in line 2, row NPU0, \
         column NPU1\n"
    );
    assert_eq!(done.code, 0);
}
