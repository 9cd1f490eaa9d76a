//! What docs/topology.md shows is what is read.

use crate::support::{files, topo};

const DOCS: &str = include_str!("../../../docs/topology.md");

#[test]
fn the_statement_and_the_table_of_the_docs_are_read() {
    let statement = DOCS.split("```yaml\n").nth(1).unwrap().split("```").next().unwrap();
    let table: String = DOCS
        .lines()
        .skip_while(|line| !line.starts_with("    node,leaf,"))
        .take_while(|line| !line.is_empty())
        .map(|line| format!("{}\n", line.trim()))
        .collect();
    let dir = files(&[("site.yaml", statement), ("tree.csv", &table)]);
    let tree = topo(dir.path(), &["--from", "tree.csv"]).clean();
    assert!(tree.starts_with("2 nodes · 3 switches · 1 plane · 1 NVLink domain\n"), "{tree}");
    let stated = topo(dir.path(), &["--from", "site.yaml"]).clean();
    assert!(stated.contains("the operator: site.yaml (16 claims"), "{stated}");
    assert!(stated.contains("leaf-2  3 nodes  gpu-[02-04]"), "{stated}");
    // Its block has the same nodes, and tells nothing more.
    assert!(stated.contains("leaf-1  rail 0  2 nodes  gpu-[01,05]\n"), "{stated}");
    assert!(!stated.contains("closer place unknown"), "{stated}");
    let node = topo(dir.path(), &["gpu-05", "--from", "site.yaml"]).clean();
    assert!(node.contains("mlx5_0  leaf-1  17        0     the operator"), "{node}");
}
