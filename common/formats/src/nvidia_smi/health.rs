//! What makes a GPU unfit, as `nvidia-smi -q -x` tells it.

use phalanx_common::topology::machine::Ailment;
use roxmltree::Node;

use super::query::{text, trimmed};
use crate::text::printable;
use crate::xml::at;

/// All that is wrong with a GPU, the same in the same order however often it is asked.
pub(super) fn ailments(gpu: Node<'_, '_>) -> Vec<Ailment> {
    let mut found = Vec::new();
    let yes = |path: &str| text(gpu, path) == Some("Yes");
    for gone in ["GPU is lost", "GPU requires reset"] {
        if gpu.children().filter(Node::is_element).any(|tag| trimmed(tag).contains(gone)) {
            found.push(Ailment::State(gone.to_string()));
        }
    }
    let action = text(gpu, "gpu_recovery_action").filter(|action| *action != "None");
    found.extend(action.map(|action| Ailment::Recovery(printable(action))));
    if yes("remapped_rows/remapped_row_failure") {
        found.push(Ailment::RowRemapFailed);
    }
    if yes("remapped_rows/remapped_row_pending") {
        found.push(Ailment::RowRemapPending);
    }
    let errors = uncorrectable(gpu);
    if errors > 0 {
        found.push(Ailment::UncorrectableEcc(errors));
    }
    for (path, what) in [
        ("retired_pages/pending_retirement", "page retirement pending"),
        ("ecc_errors/aggregate/sram_threshold_exceeded", "too many SRAM errors"),
        ("ecc_errors/unrepairable_memory", "unrepairable memory"),
    ] {
        if yes(path) {
            found.push(Ailment::State(what.to_string()));
        }
    }
    found.extend(fabric(gpu).map(Ailment::Fabric));
    found
}

/// Errors since the driver was loaded, of all memories. Those of the GPU's whole life do not make it unfit:
/// their rows are remapped.
fn uncorrectable(gpu: Node<'_, '_>) -> u64 {
    let Some(volatile) = at(gpu, "ecc_errors/volatile") else { return 0 };
    let counted = |tag: Node<'_, '_>| trimmed(tag).parse::<u64>().ok();
    // Before drivers of 2020: one count of errors of two bits.
    if let Some(total) = at(volatile, "double_bit/total") {
        return counted(total).unwrap_or(0);
    }
    let tags = volatile.children().filter(|tag| tag.tag_name().name().contains("uncorrectable"));
    tags.filter_map(counted).fold(0, u64::saturating_add)
}

/// What is wrong with the registration and the links to the fabric; `None` where nothing is, or there is none.
fn fabric(gpu: Node<'_, '_>) -> Option<String> {
    let fabric = at(gpu, "fabric")?;
    let says = |path: &str, wanted: &str| text(fabric, path) == Some(wanted);
    let mut wrong = Vec::new();
    match text(fabric, "state")? {
        "Completed" => {
            let failed = text(fabric, "status").filter(|status| *status != "Success");
            wrong.extend(failed.map(|status| format!("registration failed: {}", printable(status))));
        }
        "In Progress" => wrong.push("registration in progress".to_string()),
        "Not Started" => wrong.push("registration not started".to_string()),
        _ => {}
    }
    if says("health/bandwidth", "Degraded") {
        wrong.push("bandwidth degraded".to_string());
    }
    for (path, what) in [
        ("health/route_unhealthy", "route unhealthy"),
        ("health/route_recovery_in_progress", "route recovery in progress"),
        ("health/access_timeout_recovery", "access timeout recovery"),
    ] {
        if says(path, "True") {
            wrong.push(what.to_string());
        }
    }
    let configuration = text(fabric, "health/incorrect_configuration").filter(|it| *it != "None");
    wrong.extend(configuration.map(|it| format!("incorrect configuration: {}", printable(it))));
    let summary = text(fabric, "health/summary").filter(|summary| *summary != "Healthy");
    if wrong.is_empty() {
        wrong.extend(summary.map(printable));
    }
    (!wrong.is_empty()).then(|| wrong.join(", "))
}
