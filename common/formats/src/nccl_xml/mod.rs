//! Topology files of NCCL and RCCL: what `NCCL_TOPO_DUMP_FILE` writes and `NCCL_TOPO_FILE` reads.
//!
//! ```text
//! <system version="1">
//!   <cpu numaid="0" affinity="00000000,0000ffff" arch="x86_64" vendor="GenuineIntel" familyid="6" modelid="143">
//!     <pci busid="0000:17:00.0" class="0x060400" link_speed="32.0 GT/s PCIe" link_width="16">   a switch, whole
//!       <pci busid="0000:18:00.0" class="0x030200" …><gpu dev="0"><nvlink target="…" count="4" tclass="…"/></gpu></pci>
//!       <pci busid="0000:19:00.0" class="0x020700" …><nic><net name="mlx5_0" port="1" speed="400000" rail="0"/></nic></pci>
//! ```
//!
//! The elements and attributes are those of `src/graph/xml.cc` and `src/graph/topo.cc` of NCCL 2.18 to 2.28, and of
//! RCCL's models (`xgmi`, `gcn`).

mod read;
mod write;

pub use read::{Error, MAX_BYTES, Topology, read};
pub use write::{unplaced, write};

/// Classes of what a link's target may be, where it is no GPU: an NVSwitch, and the NVLink bridge of a POWER CPU.
const NVSWITCH: &str = "0x068000";
const CPU: &str = "0x068001";
