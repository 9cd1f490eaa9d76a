//! What a job file means in a cluster.

use phalanx_common::spec::{Flags, MAX_TEXT_BYTES, Shape};

use crate::{run, run_in_cluster, some};

fn shape(text: &str) -> Result<Shape, String> {
    run_in_cluster(&format!("command: [a]\n{text}\n"), &Flags::default()).map(|job| job.shape)
}

#[test]
fn ranks_and_nodes_and_ranks_per_node_make_a_shape() {
    let nodes = |nodes, ranks_per_node| Ok(Shape::Nodes { nodes, ranks_per_node });
    assert_eq!(shape(""), nodes(1, 1));
    assert_eq!(shape("ranks: 16"), Ok(Shape::Ranks(16)));
    assert_eq!(shape("ranks: 1048576"), Ok(Shape::Ranks(1 << 20)));
    assert_eq!(shape("nodes: 4"), nodes(4, 1));
    assert_eq!(shape("ranksPerNode: 8"), nodes(1, 8));
    assert_eq!(shape("nodes: 4\nranksPerNode: 8"), nodes(4, 8));
    assert_eq!(shape("ranks: 32\nnodes: 4"), nodes(4, 8));
    assert_eq!(shape("ranks: 32\nranksPerNode: 8"), nodes(4, 8));
    assert_eq!(shape("ranks: 32\nnodes: 4\nranksPerNode: 8"), nodes(4, 8));
    assert_eq!(shape("nodes: 1024\nranksPerNode: 1024"), nodes(1024, 1024));
}

#[test]
fn a_shape_that_cannot_be_is_refused_in_these_words() {
    let table: &[(&str, &str)] = &[
        (
            "ranks: 30\nnodes: 4",
            "30 ranks cannot be shared evenly by 4 nodes; for unequal shares leave nodes out and write `uneven: true` (--uneven) in its place",
        ),
        (
            "ranks: 2\nnodes: 4",
            "2 ranks cannot be shared evenly by 4 nodes; for unequal shares leave nodes out and write `uneven: true` (--uneven) in its place",
        ),
        (
            "ranks: 30\nranksPerNode: 8",
            "30 ranks are no whole number of nodes with 8 ranks each; for unequal shares leave ranksPerNode out and write `uneven: true` (--uneven) in its place",
        ),
        (
            "ranks: 4\nranksPerNode: 8",
            "4 ranks are no whole number of nodes with 8 ranks each; for unequal shares leave ranksPerNode out and write `uneven: true` (--uneven) in its place",
        ),
        (
            "ranks: 30\nnodes: 4\nplacement: {uneven: true}",
            "30 ranks cannot be shared evenly by 4 nodes; with `uneven: true` leave nodes out: as few nodes as hold the ranks are chosen",
        ),
        ("ranks: 30\nnodes: 4\nranksPerNode: 8", "30 ranks contradict nodes 4 x ranksPerNode 8 = 32"),
        ("ranks: 4096\nnodes: 2", "2048 ranks on one machine; at most 1024 can run on a node"),
        ("ranks: 20000\nranksPerNode: 1", "these ranks would take 20000 nodes; a job has at most 8192"),
        ("ranks: gpu", "gpu means one machine's, and a cluster has several: write a number"),
        ("ranks: cpu", "cpu means one machine's, and a cluster has several: write a number"),
    ];
    for (text, expected) in table {
        let error = shape(text).unwrap_err();
        let first = error.lines().next().unwrap_or_default();
        assert_eq!(first, format!("job.yaml:2:8: ranks: {expected}"));
    }
    assert!(
        shape("ranksPerNode: 1024\nnodes: 8192")
            .unwrap_err()
            .starts_with("job.yaml:2:15: ranksPerNode: 8388608 ranks in all; a job has at most 1048576\n")
    );
}

#[test]
fn more_nodes_than_one_are_refused_on_one_machine_with_the_way_out() {
    let flags = Flags { nodes: some("2"), command: vec!["a".into()], ..Flags::default() };
    assert_eq!(
        run("name: x", &flags).unwrap_err(),
        "--nodes 2: 2 nodes take a cluster, and this is one machine: start one with `phalanx serve`, or use `--nodes 1`"
    );
    assert!(run_in_cluster("name: x", &flags).is_ok());
}

#[test]
fn what_would_not_fit_a_frame_is_refused_before_it_is_sent() {
    let word = "x".repeat(MAX_TEXT_BYTES - 1);
    let job = |word: String| Flags { command: vec!["a".into(), word], ..Flags::default() };
    assert!(run("name: x", &job(word.clone())).is_ok());
    assert_eq!(
        run("name: x", &job(word + "x")).unwrap_err(),
        "job.yaml: the command, the variables and the names of nodes are 524289 bytes together, at most 524288 travel with a job; put what is long into a file"
    );
}
