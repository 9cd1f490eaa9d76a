//! What the machine is: name, architecture, board and CPU model.

use phalanx_common::topology::machine::{CpuModel, Machine};

use super::files::Files;
use crate::text::printable;

/// The first CPU of `/proc/cpuinfo` fits.
const BEGINNING: usize = 8 << 10;
/// And this has those of a thousand.
const ALL: usize = 1 << 20;

pub(super) fn add(files: &mut Files<'_>, machine: &mut Machine) {
    let cpuinfo = CpuInfo::of(files.beginning("proc/cpuinfo", BEGINNING).unwrap_or_default());
    // Written by hwloc-gather-topology beside what it copies.
    let gathered = CpuInfo::of(files.beginning("proc/hwloc-nofile-info", BEGINNING).unwrap_or_default());
    machine.host = files.line("proc/sys/kernel/hostname").or_else(|| gathered.text("HostName"));
    machine.architecture = files
        .line("proc/sys/kernel/arch")
        .or_else(|| gathered.text("Architecture"))
        .or_else(|| cpuinfo.architecture().map(str::to_string));
    machine.board.vendor = files.line("sys/class/dmi/id/sys_vendor");
    machine.board.product = files
        .line("sys/class/dmi/id/product_name")
        .or_else(|| files.line("sys/firmware/devicetree/base/model"));
    machine.cpu = cpuinfo.model();
    // Cores of several kinds are on one chip where the cores are Arm's: one that is not known leaves it without a name.
    if cpuinfo.get("CPU implementer").is_some() {
        machine.cpu.name = arm_cores(&files.beginning("proc/cpuinfo", ALL).unwrap_or_default());
    }
}

/// The kinds of cores of a whole `/proc/cpuinfo`, each once, in their order: `Cortex-X925 + Cortex-A725`. `None` where
/// one is not known.
fn arm_cores(text: &str) -> Option<String> {
    let mut names: Vec<&'static str> = Vec::new();
    for block in text.split("\n\n").map(|block| CpuInfo::of(block.to_string())) {
        if let (Some(implementer), Some(part)) = (block.number("CPU implementer"), block.number("CPU part")) {
            let name = arm_core(implementer, part)?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    (!names.is_empty()).then(|| names.join(" + "))
}

/// Lines `key : value` up to the first that is empty.
struct CpuInfo {
    text: String,
}

impl CpuInfo {
    fn of(text: String) -> CpuInfo {
        CpuInfo { text }
    }

    fn get(&self, key: &str) -> Option<&str> {
        let block = self.text.lines().skip_while(|line| line.is_empty()).take_while(|line| !line.is_empty());
        let pairs = block.filter_map(|line| line.split_once(':'));
        let mut values = pairs.filter(|(name, _)| name.trim() == key).map(|(_, value)| value.trim());
        values.next().filter(|value| !value.is_empty())
    }

    fn text(&self, key: &str) -> Option<String> {
        self.get(key).map(printable)
    }

    fn number(&self, key: &str) -> Option<u32> {
        let text = self.get(key)?;
        text.strip_prefix("0x").map_or_else(|| text.parse().ok(), |hex| u32::from_str_radix(hex, 16).ok())
    }

    /// For kernels before 6.1, which do not say it.
    fn architecture(&self) -> Option<&'static str> {
        let is_64_bit = |flags: &str| flags.split(' ').any(|flag| flag == "lm");
        if self.get("CPU implementer").is_some() {
            Some("aarch64")
        } else if self.get("flags").is_some_and(is_64_bit) {
            Some("x86_64")
        } else {
            None
        }
    }

    fn model(&self) -> CpuModel {
        if let Some(implementer) = self.number("CPU implementer") {
            let part = self.number("CPU part");
            let name = part.and_then(|part| arm_core(implementer, part)).map(str::to_string);
            let vendor =
                arm_vendor(implementer).map_or_else(|| format!("{implementer:#04x}"), str::to_string);
            return CpuModel { vendor: Some(vendor), name, family: None, model: part };
        }
        CpuModel {
            vendor: self.text("vendor_id"),
            name: self.text("model name").or_else(|| self.text("cpu")),
            family: self.number("cpu family"),
            model: self.number("model"),
        }
    }
}

/// aarch64 gives numbers, no names: these are of the Main ID Register (MIDR_EL1) as Arm assigned them.
fn arm_vendor(implementer: u32) -> Option<&'static str> {
    Some(match implementer {
        0x41 => "ARM",
        0x46 => "Fujitsu",
        0x48 => "HiSilicon",
        0x4e => "NVIDIA",
        0x50 => "APM",
        0x51 => "Qualcomm",
        0x70 => "Phytium",
        0xc0 => "Ampere",
        _ => return None,
    })
}

/// The cores of servers, as their makers' technical reference manuals number them.
fn arm_core(implementer: u32, part: u32) -> Option<&'static str> {
    Some(match (implementer, part) {
        (0x41, 0xd0c) => "Neoverse-N1",
        (0x41, 0xd40) => "Neoverse-V1",
        (0x41, 0xd49) => "Neoverse-N2",
        (0x41, 0xd4f) => "Neoverse-V2",
        (0x41, 0xd84) => "Neoverse-V3",
        (0x41, 0xd85) => "Cortex-X925",
        (0x41, 0xd87) => "Cortex-A725",
        (0x41, 0xd8e) => "Neoverse-N3",
        (0x46, 0x001) => "A64FX",
        (0x48, 0xd01) => "TaiShan-v110",
        (0x48, 0xd02) => "TaiShan-v120",
        (0xc0, 0xac3) => "Ampere-1",
        (0xc0, 0xac4) => "Ampere-1a",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cores_of_two_kinds_are_both_named_and_one_that_is_not_known_names_none() {
        let core = |part: &str| format!("processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: {part}\n\n");
        let all = |parts: &[&str]| arm_cores(&parts.iter().map(|part| core(part)).collect::<String>());
        let named = all(&["0xd85", "0xd87", "0xd85"]);
        assert_eq!(named.as_deref(), Some("Cortex-X925 + Cortex-A725"));
        assert_eq!(all(&["0xd85", "0x001"]), None);
    }
}
