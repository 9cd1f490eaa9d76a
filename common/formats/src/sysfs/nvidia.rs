//! What NVIDIA's driver says in /proc, without its library.

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{Accelerator, AcceleratorKind};

use crate::tree::{Ask, Tree};

const GPUS: &str = "proc/driver/nvidia/gpus";

pub(super) fn read(tree: &dyn Tree, accelerators: &mut Vec<Accelerator>) {
    for name in tree.list(GPUS) {
        let Ok(bdf) = name.parse::<Bdf>() else { continue };
        let at = match accelerators.iter().position(|it| it.bdf == Some(bdf)) {
            Some(at) => at,
            None => {
                let new = Accelerator { bdf: Some(bdf), ..Accelerator::new(AcceleratorKind::Nvidia) };
                accelerators.push(new);
                accelerators.len() - 1
            }
        };
        let Some(accelerator) = accelerators.get_mut(at) else { continue };
        let information = tree.text(&format!("{GPUS}/{name}/information")).unwrap_or_default();
        let says = |text: &str, key: &str| {
            let line = text.lines().find_map(|line| line.trim().strip_prefix(key))?;
            let value = line.trim().to_owned();
            (!value.is_empty() && !value.contains('?')).then_some(value)
        };
        accelerator.model = says(&information, "Model:");
        accelerator.uuid = says(&information, "GPU UUID:");
        let numa = tree.text(&format!("{GPUS}/{name}/numa_status")).unwrap_or_default();
        accelerator.own_node = says(&numa, "Node:").and_then(|node| node.parse().ok());
    }
}
