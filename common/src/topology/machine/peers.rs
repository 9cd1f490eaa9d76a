//! Which machines are compared with each other.

use std::collections::BTreeSet;

use super::parts::Machine;

/// What machines have in common that are compared.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind<'a> {
    architecture: Option<&'a str>,
    board: Option<&'a str>,
    cpu: (Option<&'a str>, Option<(u32, u32)>),
    packages: usize,
    /// Where neither board nor CPU is known: of accelerators, or else the node itself, which has no peers.
    models: BTreeSet<&'a str>,
}

pub(super) fn kind<'a>(node: &'a str, of: &'a Machine) -> Kind<'a> {
    let board = of.board.product.as_deref();
    let cpu = (of.cpu.name.as_deref(), of.cpu.family.zip(of.cpu.model));
    let mut models = BTreeSet::new();
    if board.is_none() && cpu == (None, None) {
        models.extend(of.accelerators.iter().filter_map(|accelerator| accelerator.model.as_deref()));
        if models.is_empty() {
            models.insert(node);
        }
    }
    Kind { architecture: of.architecture.as_deref(), board, cpu, packages: of.packages.len(), models }
}
