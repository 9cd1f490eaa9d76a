//! `nvidia-smi topo -m` of real machines. The figures were read in the captures by other means.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use phalanx_common::topology::LinkLayer;
use phalanx_common::topology::machine::{Attachment, Device, LinkKind, Machine, PathType, Peer};
use phalanx_formats::MatrixReading;
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::nvidia_smi::{MatrixError, matrix, query};
use proptest::prelude::*;
use support::capture;

const H100: &str = "nvidia-smi-topo-m/h100-8gpu-9nic-nccl-1453.gpu-rows.txt";
const A100: &str = "nvidia-smi-topo-m/a100-8gpu-9nic-nccl-933.gpu-rows.txt";
const GB200: &str = "nvidia-smi-topo-m/gb200-k8s-test-infra-371.txt";

fn read(path: &str) -> Option<Machine> {
    let bytes = capture(path)?;
    assert_eq!(recognise(&bytes), Some(Kind::NvidiaMatrix), "{path}");
    let MatrixReading { machine, strange } = matrix(&bytes).unwrap();
    assert!(strange.is_empty(), "{path}: {strange}");
    Some(machine)
}

fn bundle(peer: Peer, lanes: u32) -> Attachment {
    Attachment { peer, kind: LinkKind::NvLink, lanes, mb_per_s: None }
}

fn affinity(machine: &Machine, row: usize) -> (String, String) {
    let gpu = &machine.accelerators[row];
    (gpu.cpus.as_ref().unwrap().to_string(), gpu.nodes.as_ref().unwrap().to_string())
}

/// The port that is nearest to each GPU.
fn nearest(machine: &Machine) -> Vec<(String, PathType)> {
    let first = |row| machine.nics_near(row)[0];
    let gpus = 0..u32::try_from(machine.accelerators.len()).unwrap();
    gpus.map(first).map(|(nic, path)| (machine.nics[nic as usize].name.clone(), path)).collect()
}

#[test]
fn eight_h100_have_all_links_to_a_switch_and_a_port_each() {
    let Some(machine) = read(H100) else { return };
    assert_eq!((machine.accelerators.len(), machine.nics.len(), machine.told.len()), (8, 9, 8 * 9));
    for (row, gpu) in machine.accelerators.iter().enumerate() {
        assert_eq!(gpu.links, [bundle(Peer::Switch(None), 18)]);
        assert_eq!((gpu.index, gpu.own_node), (u32::try_from(row).ok(), None));
        let expected = if row < 4 { ("0-79", "0") } else { ("80-159", "1") };
        assert_eq!(affinity(&machine, row), (expected.0.into(), expected.1.into()));
    }
    assert!(machine.nics.iter().all(|nic| nic.layer == LinkLayer::Unknown), "the matrix does not say");
    let nics = [8, 7, 6, 5, 4, 3, 2, 1].map(|nic| (format!("NIC{nic}"), PathType::Pix));
    assert_eq!(nearest(&machine), nics);
    assert_eq!(machine.path(Device::Accelerator(0), Device::Nic(0)), Some(PathType::Sys));
    assert_eq!(machine.path(Device::Nic(7), Device::Accelerator(0)), Some(PathType::Node));
}

#[test]
fn a_row_that_was_not_copied_is_told_by_the_rows_of_the_others() {
    let Some(bytes) = capture(A100) else { return };
    let MatrixReading { machine, strange } = matrix(&bytes).unwrap();
    // The rows of GPU0 to GPU6 are there.
    assert_eq!(strange.to_string(), "the text was cut: it has no row of GPU7");
    assert_eq!((machine.accelerators.len(), machine.nics.len(), machine.told.len()), (8, 9, 7 * 9));
    assert!(machine.accelerators.iter().all(|gpu| gpu.links == [bundle(Peer::Switch(None), 8)]));
    assert_eq!(affinity(&machine, 0), ("0-47,96-143".into(), "0".into()));
    assert_eq!(affinity(&machine, 6), ("48-95,144-191".into(), "1".into()));
    assert_eq!((&machine.accelerators[7].cpus, &machine.accelerators[7].nodes), (&None, &None));
    assert_eq!(machine.path(Device::Accelerator(2), Device::Nic(6)), Some(PathType::Pix));
    assert_eq!(machine.path(Device::Accelerator(7), Device::Nic(7)), None);
}

#[test]
fn four_gb200_have_no_ports_and_two_numa_nodes() {
    let Some(machine) = read(GB200) else { return };
    assert_eq!((machine.accelerators.len(), machine.nics.len(), machine.told.len()), (4, 0, 0));
    assert!(machine.accelerators.iter().all(|gpu| gpu.links == [bundle(Peer::Switch(None), 18)]));
    let affinities: Vec<_> = (0..4).map(|row| affinity(&machine, row)).collect();
    let expected = [("0-71", "0"), ("0-71", "0"), ("72-143", "1"), ("72-143", "1")];
    assert_eq!(affinities, expected.map(|(cpus, nodes)| (cpus.to_string(), nodes.to_string())));
}

#[test]
fn the_matrix_joins_the_list_of_the_same_machine_by_index() {
    let Some(list) = capture("nvidia-smi-qx/qx-h100.xml") else { return };
    let Some(matrix) = read(H100) else { return };
    let machine = query(&list).unwrap().merge(matrix);
    assert_eq!((machine.accelerators.len(), machine.nics.len(), machine.told.len()), (8, 9, 72));
    let gpu = &machine.accelerators[7];
    assert_eq!((gpu.bdf.unwrap().to_string(), gpu.links[0].lanes), ("0000:ca:00.0".to_string(), 18));
    assert_eq!(gpu.cpus.as_ref().unwrap().to_string(), "80-159");
    assert_eq!(machine.path(Device::Accelerator(7), Device::Nic(1)), Some(PathType::Pix));
    assert_eq!(machine.nics_near(7), [(1, PathType::Pix)], "a port that has a told path and no address");
}

/// As a terminal gets it: the header underlined, rows of ports, legends; pairs of GPUs with a bridge, Grace with
/// memory of its own. Of our own making.
const OWN: &str = "\t\u{1b}[4mGPU0\tGPU1\tGPU2\tNIC0\tNIC1\tNIC2\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\u{1b}[0m\n\
    GPU0\t X \tNV4\tSYS\tPXB\tNODE\tN/A\t0-3,8\t0-1\t\t4\n\
    GPU1\tNV4\t X \tPHB\tNODE\tPIX\tN/A\t\t\t\tN/A\n\
    GPU2\tSYS\tPHB\t X \tSOC\tPIX\tN/A\tN/A\tN/A\t\tN/A\n\
    NIC0\tPXB\tNODE\tSYS\t X \tPIX\tSYS\t\t\t\t\n\
    NIC1\tNODE\tPIX\tPIX\tPIX\t X \tSYS\n\
    \nLegend:\n\n  X    = Self\n  NV#  = Connection traversing a bonded set of # NVLinks\n\
    \nNIC Legend:\n\n  NIC0: mlx5_9\n  NIC1: mlx5_10\n  NIC2: \u{7}bad name\n";

#[test]
fn a_matrix_of_a_terminal_is_read_by_its_header() {
    assert_eq!(recognise(OWN.as_bytes()), Some(Kind::NvidiaMatrix));
    let MatrixReading { machine, strange } = matrix(OWN.as_bytes()).unwrap();
    assert!(strange.is_empty(), "{strange}");
    let names: Vec<&str> = machine.nics.iter().map(|nic| nic.name.as_str()).collect();
    assert_eq!(names, ["NIC2", "mlx5_10/1", "mlx5_9/1"], "by name, as a machine has its ports");
    assert_eq!(machine.nics[1].rdma.as_ref().unwrap().device, "mlx5_10");
    let [first, second, third] = &machine.accelerators[..] else { panic!() };
    assert_eq!(first.links, [bundle(Peer::Numbered(1), 4)]);
    assert_eq!((&second.links, &third.links), (&vec![bundle(Peer::Numbered(0), 4)], &vec![]));
    assert_eq!((first.own_node, second.own_node), (Some(4), None));
    assert_eq!(affinity(&machine, 0), ("0-3,8".into(), "0-1".into()));
    assert_eq!((&second.cpus, &second.nodes, &third.cpus), (&None, &None, &None));
    let path = |a, b| machine.path(a, b);
    use Device::{Accelerator, Nic};
    assert_eq!(path(Accelerator(0), Nic(2)), Some(PathType::Pxb));
    assert_eq!(path(Accelerator(2), Nic(2)), Some(PathType::Sys), "SOC is SYS of older drivers");
    assert_eq!(path(Accelerator(2), Accelerator(1)), Some(PathType::Phb));
    assert_eq!(path(Nic(1), Nic(2)), Some(PathType::Pix));
    assert_eq!(path(Accelerator(0), Nic(0)), None);
    assert_eq!(path(Nic(2), Nic(0)), Some(PathType::Sys), "from the row of the other");
}

#[test]
fn a_cell_that_says_nothing_known_gives_way_to_that_of_the_others_row() {
    let text = "GPU0 GPU1 NIC0\nGPU0 X NVX PIXX\nGPU1 NV4 X SYS\nNIC0 PIX SYSS X\n";
    let MatrixReading { machine, strange } = matrix(text.as_bytes()).unwrap();
    assert_eq!(machine.accelerators[0].links, [bundle(Peer::Numbered(1), 4)]);
    let path = |gpu| machine.path(Device::Accelerator(gpu), Device::Nic(0));
    assert_eq!((path(0), path(1)), (Some(PathType::Pix), Some(PathType::Sys)));
    assert_eq!(
        strange.to_string(),
        "3 cells say nothing that is known, and are taken for unknown: \"NVX\" in line 2, row GPU0, column GPU1, \
         \"PIXX\" in line 2, row GPU0, column NIC0, \"SYSS\" in line 4, row NIC0, column GPU1"
    );
}

#[test]
fn a_device_meets_itself_in_its_own_column_alone() {
    let MatrixReading { machine, strange } = matrix(b"GPU0 GPU1\nGPU0 X X\nGPU1 NV4 PIX\n").unwrap();
    assert_eq!(machine.accelerators[0].links, [bundle(Peer::Numbered(1), 4)]);
    let says = "\"X\" in line 2, row GPU0, column GPU1, \"PIX\" in line 3, row GPU1, column GPU1";
    assert!(strange.to_string().ends_with(says), "{strange}");
}

#[test]
fn affinities_that_are_none_are_named_with_their_lines_and_of_many_the_first() {
    let text = "\tGPU0\tGPU1\tNIC0\tCPU Affinity\tNUMA Affinity\tGPU NUMA ID\n\
        GPU0\tX\tSYS\tSYS\t0-4294967295\tnone\t\tsome\n\
        GPU1\tSYS\tX\tSYS\tN/A\t\t\tN/A\n\
        NIC0\tSYS\tSYS\tX\twhatever\n";
    let MatrixReading { machine, strange } = matrix(text.as_bytes()).unwrap();
    let gpu = &machine.accelerators[0];
    assert_eq!((&gpu.cpus, &gpu.nodes, gpu.own_node), (&None, &None, None));
    assert_eq!(
        strange.to_string(),
        "3 cells say nothing that is known, and are taken for unknown: \
         \"0-4294967295\" in line 2, row GPU0, column CPU Affinity, \
         \"none\" in line 2, row GPU0, column NUMA Affinity, \"some\" in line 2, row GPU0, column GPU NUMA ID"
    );
    let strange = matrix(b"GPU0 GPU1\nGPU0 X NVX\nGPU1 SYS X\n").unwrap().strange;
    assert!(strange.to_string().starts_with("1 cell says nothing that is known, and is taken"), "{strange}");
    let many = format!("GPU0{}\nGPU0 X{}\n", " NIC0".repeat(9), " A\u{1b}B".repeat(9));
    let strange = matrix(many.as_bytes()).unwrap().strange;
    assert!(strange.to_string().starts_with("9 cells say"), "{strange}");
    assert!(
        strange.to_string().ends_with(" and 5 more") && !strange.to_string().contains('\u{1b}'),
        "{strange}"
    );
}

#[test]
fn older_drivers_name_ports_in_the_header() {
    let text =
        "        GPU0    mlx5_0  CPU Affinity\nGPU0     X      NODE    0-23,48-71\nmlx5_0  NODE     X\n";
    let MatrixReading { machine, strange } = matrix(text.as_bytes()).unwrap();
    assert!(strange.is_empty(), "{strange}");
    assert_eq!(machine.nics[0].name, "mlx5_0/1");
    assert_eq!(machine.path(Device::Accelerator(0), Device::Nic(0)), Some(PathType::Node));
    assert_eq!(machine.accelerators[0].cpus.as_ref().unwrap().to_string(), "0-23,48-71");
}

#[test]
fn what_was_cut_or_is_none_is_refused_with_its_line() {
    let said = |text: &str| matrix(text.as_bytes()).unwrap_err().to_string();
    assert_eq!(
        said("Legend:\n"),
        "no line names the devices as `GPU0 GPU1 NIC0 CPU Affinity` does; take all that `nvidia-smi topo -m` writes"
    );
    assert_eq!(said("GPU0 X NV4\nGPU1 NV4 X\n"), said("Legend:\n"), "rows without a header");
    assert_eq!(
        said("GPU0 GPU1 GPU2\nGPU0 X NV4\nSYS 0-3\n"),
        "line 2: the row of \"GPU0\" has 2 of 3 cells; take the text unwrapped and whole"
    );
    assert!(said(&format!("GPU0{}", " GPU1".repeat(600))).starts_with("line 1: more than 512 devices"));
    assert!(matches!(matrix(&vec![b' '; 2 << 20]), Err(MatrixError::TooLarge { .. })));
}

#[test]
fn a_matrix_may_end_behind_any_byte_and_says_so() {
    for end in 0..OWN.len() {
        match matrix(&OWN.as_bytes()[..end]) {
            Ok(MatrixReading { machine, strange }) => {
                let is_row = |line: &&str| ["GPU0", "GPU1", "GPU2"].iter().any(|name| line.starts_with(name));
                let rows = OWN[..end].lines().skip(1).filter(is_row).count();
                assert_eq!(machine.accelerators.len() - strange.rowless.len(), rows, "{end}");
            }
            Err(error) => {
                assert!(matches!(error, MatrixError::NoHeader { .. } | MatrixError::ShortRow { .. }))
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_matrix_breaks_the_reader(
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
    ) {
        let mut bytes = OWN.as_bytes().to_vec();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(MatrixReading { machine, strange }) = matrix(&bytes) {
            prop_assert!(strange.to_string().len() < 1_500);
            prop_assert!(machine.nics.iter().all(|nic| !nic.name.chars().any(char::is_control)));
            for told in &machine.told {
                prop_assert_eq!(machine.path(told.ends.1, told.ends.0), Some(told.path));
            }
        }
    }
}
