//! How long a machine takes to be read out of `/sys`: this one, and a generated one of 256 CPUs with eight
//! GPUs and ten network adapters, which no real machine was copied for. Run it with
//! `cargo bench -p phalanx-formats --bench sysfs [-- FOLDER]`; it prints and asserts nothing. A folder that is named
//! gets the generated machine, and keeps it.

#![allow(clippy::disallowed_methods, clippy::print_stdout, reason = "a bench reads the clock and prints")]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use phalanx_formats::dir::Dir;
use phalanx_formats::sysfs::{Reading, read_all, read_cpu, read_network, read_pci};

const CPUS: u32 = 256;
const NODES: u32 = 8;
const GPUS: u32 = 8;
const NICS: u32 = 10;
const ROUNDS: usize = 21;

fn main() {
    let named = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).map(PathBuf::from);
    let own = || std::env::temp_dir().join(format!("phalanx-sysfs-{}", std::process::id()));
    let folder = named.clone().unwrap_or_else(own);
    generate(&folder);
    report("generated, 256 CPUs, 8 GPUs, 10 adapters", &Dir::open(&folder).expect("it was made like one"));
    report("this machine", &Dir::live());
    if named.is_none() {
        fs::remove_dir_all(&folder).expect("it is ours");
    }
}

fn report(what: &str, tree: &Dir) {
    let machine = read_all(tree).machine;
    let (cpus, nodes) = (machine.cpus().len(), machine.numa.len());
    let (gpus, nics) = (machine.accelerators.len(), machine.nics.len());
    println!("{what}: read as {cpus} CPUs in {nodes} NUMA nodes, {gpus} accelerators, {nics} ports");
    for (part, read) in [
        ("CPUs and memory", read_cpu as fn(&_) -> _),
        ("PCI and accelerators", |tree| read_pci(tree)),
        ("network", |tree| read_network(tree)),
        ("all", |tree| read_all(tree)),
    ] {
        println!("  {part}: {:?}", median(|| read(tree)));
    }
}

fn median(read: impl Fn() -> Reading) -> Duration {
    let once = || {
        let begin = Instant::now();
        std::hint::black_box(read());
        begin.elapsed()
    };
    let mut times: Vec<Duration> = std::iter::repeat_with(once).take(ROUNDS).collect();
    times.sort();
    times[ROUNDS / 2]
}

/// Two sockets of 64 cores with two threads each, a cache for eight cores, four nodes in each socket; GPUs and
/// adapters in pairs under a switch, two adapters elsewhere.
fn generate(root: &Path) {
    let tree = Tree { root: root.to_path_buf() };
    tree.file("sys/devices/system/cpu/online", &format!("0-{}", CPUS - 1));
    let threads = |first: u32, last: u32| format!("{first}-{last},{}-{}", first + CPUS / 2, last + CPUS / 2);
    for cpu in 0..CPUS {
        let at = format!("sys/devices/system/cpu/cpu{cpu}");
        let core = cpu % (CPUS / 2);
        let socket = core / 64;
        let own = format!("{core},{}", core + CPUS / 2);
        tree.file(&format!("{at}/topology/physical_package_id"), &socket.to_string());
        tree.file(&format!("{at}/topology/core_id"), &(core % 64).to_string());
        for (name, cpus) in [("package_cpus", &threads(socket * 64, socket * 64 + 63)), ("core_cpus", &own)] {
            tree.cpus(&format!("{at}/topology/{name}_list"), &format!("{at}/topology/{name}"), cpus);
        }
        for (index, level, kind) in
            [(0, 1, "Data"), (1, 1, "Instruction"), (2, 2, "Unified"), (3, 3, "Unified")]
        {
            let shared = if level == 3 { threads(core / 8 * 8, core / 8 * 8 + 7) } else { own.clone() };
            tree.file(&format!("{at}/cache/index{index}/level"), &level.to_string());
            tree.file(&format!("{at}/cache/index{index}/type"), kind);
            tree.file(&format!("{at}/cache/index{index}/size"), if level == 3 { "32768K" } else { "512K" });
            let at = format!("{at}/cache/index{index}");
            tree.cpus(&format!("{at}/shared_cpu_list"), &format!("{at}/shared_cpu_map"), &shared);
        }
    }
    for node in 0..NODES {
        let at = format!("sys/devices/system/node/node{node}");
        let distance = |to| {
            if to == node {
                "10"
            } else if to / 4 == node / 4 {
                "12"
            } else {
                "32"
            }
        };
        let cpus = threads(node * 16, node * 16 + 15);
        tree.cpus(&format!("{at}/cpulist"), &format!("{at}/cpumap"), &cpus);
        tree.file(&format!("{at}/distance"), &(0..NODES).map(distance).collect::<Vec<_>>().join(" "));
        tree.file(&format!("{at}/meminfo"), &format!("Node {node} MemTotal:       131891200 kB"));
    }
    tree.file("proc/cpuinfo", "processor : 0\nvendor_id : AuthenticAMD\nmodel name : generated");
    tree.file("proc/self/status", &format!("Cpus_allowed_list:\t0-{}\nMems_allowed_list:\t0-7", CPUS - 1));
    for pair in 0..NICS {
        let bus = 0x10 + pair * 0x10;
        let above = format!("pci0000:{bus:02x}/0000:{bus:02x}:01.0/0000:{:02x}:00.0", bus + 1);
        tree.pci(&format!("pci0000:{bus:02x}/0000:{bus:02x}:01.0"), "0x060400", "0x1022", pair);
        tree.pci(&above, "0x060400", "0x1000", pair);
        if pair < GPUS {
            let port = format!("{above}/0000:{:02x}:00.0", bus + 2);
            tree.pci(&port, "0x060400", "0x1000", pair);
            tree.pci(&format!("{port}/0000:{:02x}:00.0", bus + 3), "0x030200", "0x10de", pair);
        }
        let port = format!("{above}/0000:{:02x}:01.0", bus + 2);
        tree.pci(&port, "0x060400", "0x1000", pair);
        let function = format!("{port}/0000:{:02x}:00.0", bus + 4);
        tree.pci(&function, "0x020700", "0x15b3", pair);
        tree.adapter(&function, pair);
        // What a root complex has besides.
        for other in 2..24 {
            tree.pci(&format!("pci0000:{bus:02x}/0000:{bus:02x}:{other:02x}.0"), "0x088000", "0x1022", pair);
        }
    }
}

/// A list of CPUs as the kernel writes a mask: 32 at a time, the last ones first. libhwloc reads nothing else.
fn mask(list: &str) -> String {
    let mut words = [0u32; CPUS as usize / 32];
    for range in list.split(',') {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        for cpu in first.parse::<usize>().expect("a number")..=last.parse().expect("a number") {
            words[cpu / 32] |= 1 << (cpu % 32);
        }
    }
    words.iter().rev().map(|word| format!("{word:08x}")).collect::<Vec<_>>().join(",")
}

struct Tree {
    root: PathBuf,
}

impl Tree {
    fn file(&self, path: &str, text: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder in TMPDIR");
        fs::write(path, format!("{text}\n")).expect("a file in TMPDIR");
    }

    /// A set of CPUs, as a list and as a mask.
    fn cpus(&self, list_path: &str, mask_path: &str, list: &str) {
        self.file(list_path, list);
        self.file(mask_path, &mask(list));
    }

    fn link(&self, path: &str, target: &str) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("it has one")).expect("a folder in TMPDIR");
        symlink(self.root.join(target), path).expect("a link in TMPDIR");
    }

    fn pci(&self, place: &str, class: &str, vendor: &str, pair: u32) {
        let folder = format!("sys/devices/{place}");
        for (name, text) in [
            ("class", class),
            ("vendor", vendor),
            ("device", "0x1021"),
            ("numa_node", &(pair % NODES).to_string()),
            ("local_cpulist", "0-255"),
            ("current_link_speed", "32.0 GT/s PCIe"),
            ("current_link_width", "16"),
            ("max_link_speed", "32.0 GT/s PCIe"),
            ("max_link_width", "16"),
        ] {
            self.file(&format!("{folder}/{name}"), text);
        }
        let name = place.rsplit('/').next().expect("a split has a last part");
        self.link(&format!("sys/bus/pci/devices/{name}"), &folder);
    }

    fn adapter(&self, function: &str, number: u32) {
        let net = format!("sys/devices/{function}/net/ib{number}");
        let guid = format!("0c:42:a1:03:00:00:00:{number:02x}");
        let address = format!("00:00:10:48:fe:80:00:00:00:00:00:00:{guid}");
        for (name, text) in
            [("type", "32"), ("address", &address), ("carrier", "1"), ("operstate", "up"), ("mtu", "4092")]
        {
            self.file(&format!("{net}/{name}"), text);
        }
        self.link(&format!("sys/class/net/ib{number}"), &net);
        let rdma = format!("sys/devices/{function}/infiniband/mlx5_{number}");
        let gid = format!("fe80:0000:0000:0000:0c42:a103:0000:00{number:02x}");
        for (name, text) in [
            ("node_guid", "0c42:a103:0000:0000"),
            ("ports/1/link_layer", "InfiniBand"),
            ("ports/1/state", "4: ACTIVE"),
            ("ports/1/rate", "400 Gb/sec (4X NDR)"),
            ("ports/1/lid", "0x7"),
            ("ports/1/sm_lid", "0x1"),
            ("ports/1/gids/0", &gid),
        ] {
            self.file(&format!("{rdma}/{name}"), text);
        }
        self.link(&format!("sys/class/infiniband/mlx5_{number}"), &rdma);
    }
}
