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
    assert!(tree.contains("block spine-1") && !tree.contains("on level"), "{tree}");
    let stated = topo(dir.path(), &["--from", "site.yaml"]).clean();
    assert!(stated.contains("the operator: site.yaml (25 claims"), "{stated}");
    let shown = DOCS.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(shown.contains("block b1") && stated.contains(&format!("\n{shown}\n")), "{stated}");
    let none = topo(dir.path(), &["check", "--from", "site.yaml"]).clean();
    assert!(none.starts_with("no findings: 7 nodes and 5 switches"), "{none}");
    let node = topo(dir.path(), &["gpu-05", "--from", "site.yaml"]).clean();
    assert!(node.contains("mlx5_0  leaf-1  17        0     the operator"), "{node}");
}
