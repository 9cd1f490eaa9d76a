//! Ascend NPUs, as `npu-smi` and `hccn_tool` of the driver tell them, and who is at the other ends of their ports,
//! which an LLDP agent of the host does not hear.

use std::time::{Duration, Instant};

use phalanx_common::topology::machine::{AcceleratorKind, Machine};
use phalanx_common::wire::topology_v1::Neighbour;
use phalanx_formats::MatrixReading;
use phalanx_formats::npu_smi::{self, MAX_INFO_BYTES};

use super::lldp;
use super::tool::{self, Tool};

const NPU_SMI: &str = "npu-smi";
const HCCN_TOOL: &str = "hccn_tool";
/// Where the driver's installer puts `hccn_tool`, on no PATH.
const HCCN_TOOL_PLACE: &str = "/usr/local/Ascend/driver/tools/hccn_tool";
/// One run of a tool takes a part of a second, if the driver is well.
const ONE: Duration = Duration::from_secs(10);
/// All runs of one look: sixteen NPUs take some fifty.
const ALL: Duration = Duration::from_secs(40);
/// What a port's tool writes, bytes.
const PORT_LIMIT: usize = 64 << 10;

/// What the tools told.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// NPUs, and their ports under the names `npu0`, `npu1` and so on.
    pub machine: Machine,
    pub neighbours: Vec<Neighbour>,
    /// What was left out, and why.
    pub problems: Vec<String>,
}

/// Asks the tools that are there about the NPUs of `machine`, the machine as the kernel shows it. Without NPUs
/// nothing is run, and a tool that is missing is no problem. Blocks.
pub fn read(machine: &Machine) -> Found {
    let deadline = Instant::now() + ALL;
    let mut found = npus_until(machine, deadline);
    if !has_npus(machine) {
        return found;
    }
    let hccn_tool = if tool::is_there(HCCN_TOOL) { HCCN_TOOL } else { HCCN_TOOL_PLACE };
    let npus = found.machine.clone().merge(machine.clone());
    found.add_ports(hccn_tool, &npus, deadline);
    found
}

/// As [`read`] does, without the ports, which take many runs.
pub fn npus(machine: &Machine) -> Found {
    npus_until(machine, Instant::now() + ALL)
}

fn npus_until(machine: &Machine, deadline: Instant) -> Found {
    let mut found = Found::default();
    if has_npus(machine) && tool::is_there(NPU_SMI) {
        found.add_npus(deadline);
    }
    found
}

fn has_npus(machine: &Machine) -> bool {
    machine.accelerators.iter().any(|device| device.kind == AcceleratorKind::Ascend)
}

fn run(name: &str, args: &[&str], limit: usize, deadline: Instant) -> Result<Vec<u8>, tool::Error> {
    let left = deadline.saturating_duration_since(Instant::now());
    Tool { name, args, within: left.min(ONE), limit }.output()
}

impl Found {
    fn add_npus(&mut self, deadline: Instant) {
        let map = ["info", "-m"];
        let chips = self.said(&map, npu_smi::mapping, deadline).unwrap_or_default();
        let table = self.said(&["info"], |bytes| npu_smi::info(bytes, &chips), deadline);
        let links = ["info", "-t", "topo"];
        let matrix = self.said(&links, npu_smi::topo, deadline).map(|MatrixReading { machine, strange }| {
            if !strange.is_empty() {
                self.problems.push(format!("`npu-smi {}`: {strange}", links.join(" ")));
            }
            machine
        });
        for machine in [table, matrix].into_iter().flatten() {
            self.machine = std::mem::take(&mut self.machine).merge(machine);
        }
    }

    /// What `npu-smi` says; what keeps it from that is a problem.
    fn said<T, E: std::error::Error>(
        &mut self,
        args: &[&str],
        read: impl FnOnce(&[u8]) -> Result<T, E>,
        deadline: Instant,
    ) -> Option<T> {
        let said = match run(NPU_SMI, args, MAX_INFO_BYTES, deadline) {
            Ok(bytes) => read(&bytes).map_err(|error| error.to_string()),
            Err(error) => Err(error.to_string()),
        };
        let problem = |error: &String| format!("`npu-smi {}` tells nothing: {error}", args.join(" "));
        said.inspect_err(|error| self.problems.push(problem(error))).ok()
    }

    /// The ports of NPUs whose index is known.
    fn add_ports(&mut self, tool: &str, npus: &Machine, deadline: Instant) {
        for npu in &npus.accelerators {
            let Some(index) = npu.index.filter(|_| npu.kind == AcceleratorKind::Ascend) else { continue };
            let number = index.to_string();
            let ask = |option: &str| run(tool, &["-i", &number, option, "-g"], PORT_LIMIT, deadline);
            let up = match ask("-link") {
                Ok(bytes) => npu_smi::is_up(&bytes).ok(),
                Err(tool::Error::Missing { .. }) => return,
                // One that hangs would hang for all.
                Err(error @ (tool::Error::TooLong { .. } | tool::Error::Run { .. })) => {
                    self.problems
                        .push(format!("the ports of NPUs are not known from npu{index} on: {error}"));
                    return;
                }
                Err(_) => None,
            };
            let address = ask("-ip").ok().and_then(|bytes| npu_smi::address(&bytes).ok());
            if up.is_none() && address.is_none() {
                continue;
            }
            let Some(port) = npu_smi::port(npu, up, address) else { continue };
            // Switches that send no LLDP are the ordinary case.
            let heard = ask("-lldp").ok().and_then(|bytes| npu_smi::neighbour(&bytes).ok());
            self.neighbours.extend(heard.and_then(|heard| lldp::neighbour(&port.name, &heard)));
            self.machine.nics.push(port);
        }
    }
}
