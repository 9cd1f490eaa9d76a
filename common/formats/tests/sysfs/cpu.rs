//! CPUs, memory and limits.

use phalanx_common::topology::machine::Machine;
use phalanx_formats::kind::{Kind, recognise_folder};
use phalanx_formats::sysfs::read_cpu;

use crate::tree::Written;

/// Two Kunpeng 920 of 48 cores, each of two NUMA nodes with a last-level cache, and a firmware that numbers no
/// packages.
fn kunpeng() -> Written {
    let mut tree = Written::default();
    tree.file("sys/devices/system/cpu/online", "0-95");
    for cpu in 0..96 {
        let at = format!("sys/devices/system/cpu/cpu{cpu}");
        let package = cpu / 48 * 48;
        tree.file(&format!("{at}/topology/physical_package_id"), -1)
            .file(&format!("{at}/topology/core_siblings_list"), format!("{package}-{}", package + 47))
            .file(&format!("{at}/topology/thread_siblings_list"), cpu);
        for (index, level, first, last) in
            [(0, 1, cpu, cpu), (1, 1, cpu, cpu), (2, 2, cpu, cpu), (3, 3, cpu / 24 * 24, cpu / 24 * 24 + 23)]
        {
            tree.file(&format!("{at}/cache/index{index}/level"), level)
                .file(&format!("{at}/cache/index{index}/shared_cpu_list"), format!("{first}-{last}"));
        }
    }
    for node in 0..4 {
        let at = format!("sys/devices/system/node/node{node}");
        let distances = ["10 12 20 22", "12 10 22 24", "20 22 10 12", "22 24 12 10"][node];
        tree.file(&format!("{at}/cpulist"), format!("{}-{}", node * 24, node * 24 + 23))
            .file(&format!("{at}/distance"), distances)
            .file(&format!("{at}/meminfo"), format!("Node {node} MemTotal:       133655552 kB"));
    }
    tree.file(
        "proc/cpuinfo",
        "processor\t: 0\nBogoMIPS\t: 200.00\nFeatures\t: fp asimd\nCPU implementer\t: 0x48\nCPU architecture: 8\n\
         CPU variant\t: 0x1\nCPU part\t: 0xd01\nCPU revision\t: 0\n\nprocessor\t: 1\nCPU part\t: 0xfff",
    );
    tree.file("proc/sys/kernel/hostname", "npu-01").file("sys/class/dmi/id/sys_vendor", "Huawei");
    tree
}

fn machine(tree: &Written) -> Machine {
    let reading = read_cpu(tree);
    assert_eq!(reading.problems, []);
    reading.machine
}

#[test]
fn kunpeng_has_four_nodes_and_packages_that_are_counted() {
    let machine = machine(&kunpeng());
    assert_eq!((machine.host.as_deref(), machine.architecture.as_deref()), (Some("npu-01"), Some("aarch64")));
    assert_eq!(machine.cpu.vendor.as_deref(), Some("HiSilicon"));
    assert_eq!((machine.cpu.name.as_deref(), machine.cpu.model), (Some("TaiShan-v110"), Some(0xd01)));
    let packages: Vec<(u32, String)> =
        machine.packages.iter().map(|package| (package.id, package.cpus.to_string())).collect();
    assert_eq!(packages, [(0, "0-47".to_string()), (1, "48-95".to_string())]);
    assert_eq!((machine.cores.len(), machine.l3.len()), (96, 4));
    assert_eq!(machine.l3[3].to_string(), "72-95");
    assert_eq!(machine.numa[&1].distances, [(0, 12), (1, 10), (2, 22), (3, 24)].into());
    assert_eq!(machine.memory_bytes(), 4 * (133_655_552 << 10));
}

#[test]
fn cpus_that_each_claim_to_be_a_package_are_in_none() {
    let mut tree = kunpeng();
    for cpu in 0..96 {
        tree.file(&format!("sys/devices/system/cpu/cpu{cpu}/topology/core_siblings_list"), cpu);
    }
    assert_eq!(machine(&tree).packages, []);
}

#[test]
fn a_machine_is_asked_once_for_each_group_and_not_for_each_cpu() {
    let tree = kunpeng();
    read_cpu(&tree);
    // 96 cores at two names each, four caches of five levels, two packages, four nodes.
    let asked = tree.asked.get();
    assert!(asked < 96 * 2 + 4 * 12 + 2 * 3 + 4 * 3 + 40, "{asked}");
}

#[test]
fn offline_cpus_are_nowhere_and_a_kernel_without_numa_has_one_node() {
    let mut tree = Written::default();
    tree.file("sys/devices/system/cpu/online", "0-1,3").file("proc/meminfo", "MemTotal:  1024 kB");
    for cpu in 0..4 {
        let at = format!("sys/devices/system/cpu/cpu{cpu}/topology");
        tree.file(&format!("{at}/core_cpus_list"), if cpu < 2 { "0-1" } else { "2-3" })
            .file(&format!("{at}/package_cpus_list"), "0-3")
            .file(&format!("{at}/physical_package_id"), 7);
    }
    let machine = machine(&tree);
    assert_eq!(machine.cores.iter().map(ToString::to_string).collect::<Vec<_>>(), ["0-1", "3"]);
    assert_eq!((machine.packages[0].id, machine.packages[0].cpus.to_string()), (7, "0-1,3".to_string()));
    assert_eq!((machine.numa[&0].cpus.len(), machine.numa[&0].memory_bytes), (3, Some(1 << 20)));
}

#[test]
fn what_a_control_group_leaves_is_the_lowest_limit_on_the_way_up() {
    let mut tree = kunpeng();
    let status = |cpus: &str, nodes: &str| {
        format!("Name:\tphx\nCpus_allowed:\tff\nCpus_allowed_list:\t{cpus}\nMems_allowed_list:\t{nodes}")
    };
    tree.file("proc/self/status", status("0-127", "0-3"));
    assert_eq!(machine(&tree).allowed, Default::default(), "all of it is no limit");

    tree.file("proc/self/status", status("4-7,90-200", "0"));
    tree.file("proc/self/cgroup", "1:name=systemd:/x\n0::/system.slice/slurm/job_7")
        .file("sys/fs/cgroup/system.slice/memory.max", "max")
        .file("sys/fs/cgroup/system.slice/slurm/memory.max", 64_u64 << 30)
        .file("sys/fs/cgroup/system.slice/slurm/job_7/memory.max", 100_u64 << 30);
    let allowed = machine(&tree).allowed;
    assert_eq!(allowed.cpus.unwrap().to_string(), "4-7,90-95");
    assert_eq!((allowed.nodes.unwrap().to_string(), allowed.memory_bytes), ("0".to_string(), Some(64 << 30)));

    // A container of version 1: its path is that of outside, and its own group is the root.
    tree.file("proc/self/cgroup", "4:cpu,memory:/docker/0123\n0::/../../x")
        .file("sys/fs/cgroup/memory/memory.limit_in_bytes", 8_u64 << 30)
        .file("sys/fs/cgroup/x/memory.max", 1);
    assert_eq!(machine(&tree).allowed.memory_bytes, Some(8 << 30));
    tree.file("sys/fs/cgroup/memory/memory.limit_in_bytes", 9_223_372_036_854_771_712_u64);
    assert_eq!(machine(&tree).allowed.memory_bytes, None, "what version 1 writes for no limit");
}

#[test]
fn files_that_cannot_mean_what_they_say_are_left_out_and_told() {
    let mut tree = kunpeng();
    tree.file("sys/devices/system/node/node2/distance", "20 22 10")
        .file("sys/devices/system/node/node3/cpulist", "72-x\u{1b}[2J")
        .file("sys/devices/system/cpu/cpu5/topology/thread_siblings_list", "4-5");
    let reading = read_cpu(&tree);
    let said: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "sys/devices/system/node/node2/distance says \"20 22 10\", which is not one distance for each node; \
             it is left out",
            "sys/devices/system/node/node3/cpulist says \"72-x\\u{1b}[2J\", which is not a set such as 0-3,8; \
             it is left out",
        ]
    );
    let machine = reading.machine;
    assert!(machine.numa[&2].distances.is_empty() && machine.numa[&3].cpus.is_empty());
    assert_eq!(machine.cores[5].to_string(), "5", "no CPU is in two cores");

    for cpu in 0..96 {
        tree.file(
            &format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"),
            "?".repeat(100_000),
        );
    }
    let problems = read_cpu(&tree).problems;
    assert_eq!(problems.len(), 98);
    assert!(problems.iter().all(|problem| problem.to_string().len() < 300));
}

#[test]
fn sizes_and_numbers_out_of_range_are_left_out_and_told_and_minus_one_is_the_kernels_unknown() {
    let mut tree = kunpeng();
    for (node, kilobytes) in [(0, "99999999999999999999"), (1, "18446744073709551615"), (2, "-5")] {
        let text = format!("Node {node} MemTotal:  {kilobytes} kB");
        tree.file(&format!("sys/devices/system/node/node{node}/meminfo"), text);
    }
    tree.file("sys/devices/system/node/node3/meminfo", "Node 3 MemFree:  1 kB")
        .file("sys/devices/system/cpu/cpu0/topology/physical_package_id", -5);
    let reading = read_cpu(&tree);
    let said: Vec<String> = reading.problems.iter().map(ToString::to_string).collect();
    let size = |node: u32, kilobytes: &str| {
        format!(
            "sys/devices/system/node/node{node}/meminfo says \"{kilobytes} kB\", which is not a size such as \
             `129839104 kB`, of less than 2^64 bytes; it is left out"
        )
    };
    assert_eq!(
        said,
        [
            size(0, "99999999999999999999"),
            size(1, "18446744073709551615"),
            size(2, "-5"),
            "sys/devices/system/cpu/cpu0/topology/physical_package_id says \"-5\", which is not a number, or -1 for \
             one that is not known; it is left out"
                .to_string(),
        ]
    );
    assert!(reading.machine.numa.values().all(|node| node.memory_bytes.is_none()), "one file says nothing");
    assert_eq!(reading.machine.packages.len(), 2, "those are counted");
}

#[test]
fn an_empty_tree_is_an_empty_machine() {
    assert_eq!(machine(&Written::default()), Machine::default());
    assert_eq!(recognise_folder(&Written::default()), None);
    assert_eq!(recognise_folder(&kunpeng()), Some(Kind::Sysfs));
}
