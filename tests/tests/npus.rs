//! What a worker finds out about Ascend NPUs, from tools that print texts of our own making.

#[path = "support/look.rs"]
mod look;
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use look::{Look, machine, sys};
use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::{AcceleratorKind, Ailment, Device, LinkKind, Nic, PathType, Peer};
use phalanx_common::wire::topology_v1::Neighbour;
use support::Sandbox;

const MAP: &str = "\
NPU ID    Chip ID    Chip Logic ID    Chip Name
0         0          0                Ascend 910B3
0         1          -                Mcu
1         0          1                Ascend 910B3
1         1          -                Mcu
";
const INFO: &str = "\
| NPU   Name                | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|
| Chip                      | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |
+===========================+===============+====================================================+
| 0     910B3               | OK            | 97.5        41                0    / 0             |
| 0                         | 0000:C1:00.0  | 0           0    / 0          59891/ 65536         |
| 1     910B3               | Alarm         | 93.9        40                0    / 0             |
| 0                         | 0000:01:00.0  | 0           0    / 0          3385 / 65536         |
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
| 0       0                 | 4711          | python                   | 58313                   |
";
const TOPO: &str = "\
           NPU0       NPU1       CPU Affinity
NPU0       X          HCCS       144-167
NPU1       HCCS       X          0-23
";
const LLDP: &str = "\
Chassis ID TLV
\tMAC: E8-BD-D1-03-4C-D0
Port ID TLV
\tIfname: 400GE1/1/20
System Name TLV
\tleaf-3
System Capabilities TLV
\tEnabled capabilities: Bridge, Router
Management Address TLV
\tIPv4: 10.0.0.7
";
const NPUS: [&str; 2] = ["0000:01:00.0", "0000:c1:00.0"];

/// A folder with tools that answer these arguments with these texts, and note in `calls` that they were run.
fn tools(sandbox: &Sandbox, tools: &[(&str, &[(&str, &str)])]) -> PathBuf {
    let folder = sandbox.dir.join("tools");
    fs::create_dir(&folder).expect("a folder for the test");
    for (tool, answers) in tools {
        let mut script =
            format!("#!/bin/sh\necho \"{tool} $*\" >>{}/calls\ncase \"$*\" in\n", sandbox.dir.display());
        for (arguments, text) in *answers {
            script += &format!("'{arguments}') cat <<'END'\n{text}END\n;;\n");
        }
        script += "*) echo 'Cmd fail, ret:1'; exit 1;;\nesac\n";
        let path = folder.join(tool);
        fs::write(&path, script).expect("a file for the test");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("the mode is set");
    }
    folder
}

fn look(root: &Path, tools: &Path) -> Look {
    let path = format!("{}:/usr/bin:/bin", tools.display());
    Look::start(&["all", &root.to_string_lossy()], &[("PATH", Path::new(&path))])
}

fn calls(sandbox: &Sandbox) -> Vec<String> {
    let calls = fs::read_to_string(sandbox.dir.join("calls")).unwrap_or_default();
    calls.lines().map(str::to_owned).collect()
}

const NPU_SMI: (&str, &[(&str, &str)]) =
    ("npu-smi", &[("info -m", MAP), ("info", INFO), ("info -t topo", TOPO)]);

#[test]
fn npus_their_ports_and_the_switches_behind_those_are_seen_as_the_tools_tell_them() {
    let sandbox = Sandbox::new();
    let hccn_tool: (&str, &[(&str, &str)]) = (
        "hccn_tool",
        &[
            ("-i 0 -link -g", "link status: UP\n"),
            ("-i 0 -ip -g", "ipaddr:29.1.112.213\nnetmask:255.255.0.0\n"),
            ("-i 0 -lldp -g", LLDP),
            ("-i 1 -link -g", "link status: DOWN\n"),
        ],
    );
    let tools = tools(&sandbox, &[NPU_SMI, hccn_tool]);
    let seen = look(&sys(&sandbox, "0x19e5", "0x120000", &NPUS), &tools).next();
    let found = machine(&seen["machine"]);

    let [second, first] = &found.accelerators[..] else { panic!("{:?}", found.accelerators) };
    let at = |bus: &str| Some(format!("{bus}:00.0").parse::<Bdf>().expect("a PCI address"));
    assert_eq!((first.kind, first.index, first.bdf), (AcceleratorKind::Ascend, Some(0), at("c1")));
    assert_eq!((first.model.as_deref(), first.memory_bytes), (Some("Ascend 910B3"), Some(64 << 30)));
    assert_eq!((&first.ailments, &first.processes), (&Some(vec![]), &Some(vec![4711])));
    assert_eq!((second.index, second.bdf), (Some(1), at("01")));
    assert_eq!(second.ailments, Some(vec![Ailment::State("Alarm".to_owned())]));
    let link = &second.links[0];
    assert_eq!(
        (link.peer, link.kind),
        (at("c1").map_or(Peer::Switch(None), Peer::Accelerator), LinkKind::Hccs)
    );
    assert_eq!(first.cpus.as_ref().map(ToString::to_string).as_deref(), Some("144-167"));
    assert!(found.pci.contains_key(&at("c1").expect("an address")), "the kernel's devices are still there");
    assert_eq!(found.path(Device::Accelerator(0), Device::Accelerator(1)), Some(PathType::Phb));

    let ports: Vec<&Nic> = found.nics.iter().filter(|nic| nic.name.starts_with("npu")).collect();
    let [second, first] = ports[..] else { panic!("{ports:?}") };
    assert_eq!((first.name.as_str(), first.up, first.bdf), ("npu0", Some(true), at("c1")));
    assert_eq!(first.addresses, ["29.1.112.213/16"]);
    assert_eq!((second.name.as_str(), second.up, second.addresses.len()), ("npu1", Some(false), 0));

    let neighbours: Vec<Neighbour> = serde_json::from_value(seen["beyond"].clone()).expect("neighbours");
    let leaf = Neighbour {
        interface: "npu0".to_owned(),
        chassis: "mac e8:bd:d1:03:4c:d0".to_owned(),
        name: Some("leaf-3".to_owned()),
        address: Some("10.0.0.7".to_owned()),
        port: "400GE1/1/20".to_owned(),
    };
    assert_eq!(neighbours, [leaf]);
}

#[test]
fn without_npus_no_tool_is_run_and_without_tools_npus_are_those_of_the_kernel() {
    let sandbox = Sandbox::new();
    let tools = tools(&sandbox, &[NPU_SMI]);
    let nothing = sandbox.dir.join("nothing");
    // An adapter of the same vendor.
    let seen = look(&sys(&sandbox, "0x19e5", "0x020000", &NPUS), &tools).next();
    assert_eq!((machine(&seen["machine"]).accelerators, calls(&sandbox)), (vec![], vec![]));

    let sandbox = Sandbox::new();
    let root = sys(&sandbox, "0x19e5", "0x120000", &NPUS);
    let found = machine(&look(&root, &nothing).next()["machine"]);
    let npus: Vec<_> = found.accelerators.iter().map(|npu| (npu.kind, npu.index)).collect();
    assert_eq!(npus, [(AcceleratorKind::Ascend, None); 2]);
}

#[test]
fn what_a_matrix_says_and_nobody_knows_is_told_with_its_place_and_costs_that_alone() {
    let sandbox = Sandbox::new();
    let matrix = TOPO.replacen("HCCS", "HCCZ", 1).replace("0-23", "some");
    let answers = [("info -m", MAP), ("info", INFO), ("info -t topo", matrix.as_str())];
    let tools = tools(&sandbox, &[("npu-smi", &answers)]);
    let root = sys(&sandbox, "0x19e5", "0x120000", &NPUS);
    let found = machine(&look(&root, &tools).next()["machine"]);
    let npus: Vec<_> = found.accelerators.iter().map(|npu| (npu.links.len(), npu.cpus.is_some())).collect();
    assert_eq!(npus, [(1, false), (1, true)]);
    let path = format!("{}:/usr/bin:/bin", tools.display());
    let problems = Look::start(&["npus", &root.to_string_lossy()], &[("PATH", Path::new(&path))]).next();
    let says = "`npu-smi info -t topo`: 2 cells say nothing that is known, and are taken for unknown: \
        \"HCCZ\" in line 2, row NPU0, column NPU1, \"some\" in line 3, row NPU1, column CPU Affinity";
    assert_eq!(problems, serde_json::json!([says]));
}

#[test]
fn a_tool_that_fails_costs_what_it_would_have_told_and_nothing_else() {
    let sandbox = Sandbox::new();
    let npu_smi: (&str, &[(&str, &str)]) = ("npu-smi", &[("info", INFO), ("info -t topo", "dcmi failed\n")]);
    let tools = tools(&sandbox, &[npu_smi, ("hccn_tool", &[])]);
    let mut look = look(&sys(&sandbox, "0x19e5", "0x120000", &NPUS), &tools);
    for _ in 0..2 {
        let seen = look.next();
        let found = machine(&seen["machine"]);
        let npus: Vec<_> = found.accelerators.iter().map(|npu| (npu.index, npu.links.len())).collect();
        assert_eq!(
            npus,
            [(Some(1), 0), (Some(0), 0)],
            "every card has one chip, so its number is the card's"
        );
        assert!(found.nics.iter().all(|nic| !nic.name.starts_with("npu")));
        assert_eq!(seen["beyond"], serde_json::json!([]));
    }
    let asked = [
        "npu-smi info -m",
        "npu-smi info",
        "npu-smi info -t topo",
        "hccn_tool -i 1 -link -g",
        "hccn_tool -i 1 -ip -g",
        "hccn_tool -i 0 -link -g",
        "hccn_tool -i 0 -ip -g",
    ];
    assert_eq!(calls(&sandbox), asked, "once for both looks: the second comes soon");
}
