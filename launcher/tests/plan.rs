//! Runs the real `phalanx plan` on recorded clusters.
#![allow(clippy::unwrap_used, reason = "helpers of tests end where something is wrong")]

mod small;

use std::fs;
use std::path::Path;

use self::small::{cluster, phalanx};

/// Exit code, standard output, standard error.
fn plan(dir: &Path, args: &[&str]) -> (i32, String, String) {
    phalanx(dir, &[&["plan"], args, &["--", "true"]].concat())
}

const ON: [&str; 2] = ["--topology", "hosts.csv"];
const NOBODY_TOLD: &str = "note: no file tells what is in 8 nodes: 8 ranks are taken to fit on each, and no devices; \
    --gpus-per-node says how many GPUs they have, and a file of a machine (lstopo, nvidia-smi topo -m, an NCCL topology) says all of it\n";

#[test]
fn a_refusal_names_its_nodes_as_a_list() {
    let dir = cluster();
    let (code, out, _) = plan(dir.path(), &[&ON[..], &["-n", "8", "--use-nodes", "n00,rack"]].concat());
    let expected = "does not fit: no node is called n00 (is n0 meant?), rack; needs 8 free slots, there are 0\n  \
        n[0-7]               is none of the nodes that the job names (8 nodes)\n";
    assert_eq!((code, out), (1, format!("{expected}{NOBODY_TOLD}")));
}

#[test]
fn a_plan_says_what_its_numbers_are() {
    let dir = cluster();
    let args = [&ON[..], &["--gpus", "5", "--gpus-per-node", "4", "--dp", "5"]].concat();
    let (code, out, err) = plan(dir.path(), &args);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    for line in [
        "5 ranks on 5 nodes, within one site, on 3 leaves",
        "  n0                   rank 0          leaf leaf-0, block spine-0",
        "    rank 0: GPU 0",
        "  (volume times 64 for each leaf or NVLink domain that it leaves or comes into, 128 for a block, 256 for a core, 512 for a site; \
         more where cables are broken)",
        "note: no file tells what is in 8 nodes: 4 GPUs each, as --gpus-per-node says",
    ] {
        assert!(out.lines().any(|own| own == line), "{line}\n{out}");
    }
}

#[test]
fn an_elastic_job_is_told_how_many_of_its_ranks_it_gets() {
    let dir = cluster();
    let job = "{ranks: 80, command: [a], parallelism: {tp: 8}, elastic: {min: 8, step: 8}}";
    fs::write(dir.path().join("job.yaml"), job).unwrap();
    let (_, out, _) = plan(dir.path(), &[&ON[..], &["-f", "job.yaml"]].concat());
    assert!(
        out.starts_with(
            "64 ranks of the 80 that the job asks for on 8 nodes, within one site, on 4 leaves\n"
        ),
        "{out}"
    );
}

#[test]
fn what_cannot_be_planned_says_what_to_write() {
    let dir = cluster();
    let (code, _, err) = plan(dir.path(), &["-n", "1"]);
    assert!(code == 125 && err.contains("`phalanx plan --topology PATH`"), "{err}");
    let (code, _, err) = plan(dir.path(), &[&ON[..], &["-n", "17", "--nodes", "3", "--uneven"]].concat());
    assert!(code == 125 && err.contains("with `uneven: true` leave nodes out"), "{err}");
    let (code, _, err) = plan(dir.path(), &[&ON[..], &["-n", "1", "--gpus-per-node", "0"]].concat());
    assert!(code == 125 && err.contains("--gpus-per-node 0: a node has from 1 to"), "{err}");
}

#[test]
fn where_nothing_is_known_of_the_network_no_order_is_called_good() {
    let dir = cluster();
    fs::write(dir.path().join("bare.csv"), "node,leaf\na,\nb,\n").unwrap();
    let bare = ["--topology", "bare.csv", "--gpus-per-node", "8", "--gpus", "16"];
    let (code, out, err) = plan(dir.path(), &bare);
    assert_eq!((code, err.as_str()), (0, ""), "{out}");
    assert!(out.contains("no leaf of these nodes is known, so no uplink counts"), "{out}");
}
