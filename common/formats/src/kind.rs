//! What a file is, by its content.

use std::borrow::Cow;
use std::fmt;

use phalanx_common::text::{nearest, utf16};

use crate::statement;
use crate::tree::Tree;

/// How much of a file is looked at.
const LOOKED_AT: usize = 64 << 10;

/// The kinds of files about machines and networks that are read here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    Ibnetdiscover,
    Lldpctl,
    Pcap,
    SlurmConf,
    SlurmYaml,
    TopographModel,
    TopographJson,
    HyperNode,
    NetqGraph,
    NetqComputeNodes,
    Csv,
    Statement,
    Snapshot,
    NcclTopology,
    NvidiaSmi,
    NvidiaMatrix,
    NvmlProfile,
    NpuSmi,
    NpuMapping,
    NpuMatrix,
    Machine,
    HwlocXml,
    /// A folder, which `recognise` does not see: `dir::Dir` opens it.
    Sysfs,
}

impl Kind {
    /// For a list of what can be read.
    pub const ALL: &[Kind] = &[
        Kind::Ibnetdiscover,
        Kind::Lldpctl,
        Kind::Pcap,
        Kind::SlurmConf,
        Kind::SlurmYaml,
        Kind::TopographModel,
        Kind::TopographJson,
        Kind::HyperNode,
        Kind::NetqGraph,
        Kind::NetqComputeNodes,
        Kind::Csv,
        Kind::Statement,
        Kind::Snapshot,
        Kind::NcclTopology,
        Kind::NvidiaSmi,
        Kind::NvidiaMatrix,
        Kind::NvmlProfile,
        Kind::NpuSmi,
        Kind::NpuMapping,
        Kind::NpuMatrix,
        Kind::Machine,
        Kind::HwlocXml,
        Kind::Sysfs,
    ];
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Ibnetdiscover => "a dump of ibnetdiscover",
            Kind::Lldpctl => "a list of lldpctl",
            Kind::Pcap => "a capture of libpcap",
            Kind::SlurmConf => "a topology.conf of Slurm",
            Kind::SlurmYaml => "a topology.yaml of Slurm",
            Kind::TopographModel => "a model of topograph",
            Kind::TopographJson => "instances of topograph",
            Kind::HyperNode => "HyperNodes of Volcano",
            Kind::NetqGraph => "a topology graph of NetQ",
            Kind::NetqComputeNodes => "compute nodes of NetQ",
            Kind::Csv => "a table of nodes and switches",
            Kind::Statement => "an operator's statement",
            Kind::Snapshot => "a snapshot of a topology",
            Kind::NcclTopology => "a topology file of NCCL",
            Kind::NvidiaSmi => "a list of `nvidia-smi -q -x`",
            Kind::NvidiaMatrix => "a matrix of `nvidia-smi topo -m`",
            Kind::NvmlProfile => "a board profile of NVML",
            Kind::NpuSmi => "a table of `npu-smi info`",
            Kind::NpuMapping => "a map of `npu-smi info -m`",
            Kind::NpuMatrix => "a matrix of `npu-smi info -t topo`",
            Kind::Machine => "a machine as Phalanx writes it",
            Kind::HwlocXml => "XML of hwloc",
            Kind::Sysfs => "a folder with a saved /sys",
        })
    }
}

/// The kind, from the first 64 KiB. A guess: the reader of that kind says what is wrong if it is another.
/// `None`: nothing that is known.
pub fn recognise(bytes: &[u8]) -> Option<Kind> {
    if matches!(
        bytes.first_chunk(),
        Some(
            [0xa1, 0xb2, 0xc3, 0xd4]
                | [0xd4, 0xc3, 0xb2, 0xa1]
                | [0xa1, 0xb2, 0x3c, 0x4d]
                | [0x4d, 0x3c, 0xb2, 0xa1]
        )
    ) {
        return Some(Kind::Pcap);
    }
    let text = text(&bytes[..bytes.len().min(LOOKED_AT)]);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.chars().next()? {
        '<' => first_of(
            text,
            &[
                ("<nvidia_smi_log", Kind::NvidiaSmi),
                ("<system", Kind::NcclTopology),
                // A search graph: the reader says what it is.
                ("<graphs", Kind::NcclTopology),
                ("<topology", Kind::HwlocXml),
            ],
        ),
        '{' => first_of(
            text,
            &[
                ("\"lldp\"", Kind::Lldpctl),
                ("\"network\"", Kind::Snapshot),
                ("\"instances\"", Kind::TopographJson),
                ("\"packages\"", Kind::Machine),
            ],
        ),
        '[' if text.contains("\"compounded_links\"") || text.contains("\"compounded_nodes\"") => {
            Some(Kind::NetqGraph)
        }
        '[' if text.contains("\"DomainUUID\"") => Some(Kind::NetqComputeNodes),
        _ => lines(text),
    }
}

/// UTF-16 is told apart, as files of some editors and shells are in it: what they are is known, though no reader reads
/// them.
fn text(bytes: &[u8]) -> Cow<'_, str> {
    let unit = match (utf16(bytes), bytes) {
        (None, _) => return String::from_utf8_lossy(bytes),
        (Some("UTF-16BE"), _) | (_, [0xfe, 0xff, ..]) => u16::from_be_bytes,
        _ => u16::from_le_bytes,
    };
    let units = bytes.chunks_exact(2).filter_map(|pair| Some(unit(*pair.first_chunk()?)));
    char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
}

/// The kind of a folder: that of a machine, if it has what the readers of [`crate::sysfs`] look for.
pub fn recognise_folder(tree: &dyn Tree) -> Option<Kind> {
    let of_machine =
        ["sys/devices/system/cpu", "sys/devices/system/node", "sys/bus/pci/devices", "sys/class/net"];
    of_machine.iter().any(|folder| !tree.list(folder).is_empty()).then_some(Kind::Sysfs)
}

/// By the key or the element that comes first.
fn first_of(text: &str, kinds: &[(&str, Kind)]) -> Option<Kind> {
    kinds.iter().filter_map(|(key, kind)| Some((text.find(key)?, *kind))).min().map(|(_, kind)| kind)
}

fn lines(text: &str) -> Option<Kind> {
    let told =
        || text.lines().map(str::trim_end).filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    let any = |says: &dyn Fn(&str) -> bool| told().any(says);
    let starts = |line: &str, words: &[&str]| words.iter().any(|word| line.starts_with(word));
    if any(&|line| starts(line, &["switchguid=", "caguid=", "DR path "]) || is_record(line)) {
        return Some(Kind::Ibnetdiscover);
    }
    if any(&|line| {
        let line = line.trim_start().to_ascii_lowercase();
        starts(&line, &["switchname=", "blockname="])
    }) {
        return Some(Kind::SlurmConf);
    }
    if any(&|line| line.trim() == "kind: HyperNode" || line.trim() == "- kind: HyperNode") {
        return Some(Kind::HyperNode);
    }
    if any(&|line| line.trim_start().starts_with("- topology:")) {
        return Some(Kind::SlurmYaml);
    }
    let top = |key: &str| told().any(|line| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(':')));
    if top("device_defaults") {
        return Some(Kind::NvmlProfile);
    }
    if top("blocks") {
        return Some(Kind::TopographModel);
    }
    // One that was cut before its blocks: a statement has no labels.
    if top("switches") && any(&|line| line.trim() == "labels:") {
        return Some(Kind::TopographModel);
    }
    if top("nodes") || top("adapters") || top("switches") {
        return Some(Kind::Statement);
    }
    if let Some(kind) = told().find_map(of_accelerators) {
        return Some(kind);
    }
    let all: Vec<&str> = told().collect();
    if (0..all.len()).any(|at| is_nearly_statement(all[at], &all[at + 1..])) {
        return Some(Kind::Statement);
    }
    told().next().filter(|line| line.contains(',') && !line.contains(':')).map(|_| Kind::Csv)
}

/// A misspelt key of a statement at the top level: `node:` for `nodes:`. Another letter in a place may make another word of
/// it (`notes`, `modes`), so that nothing but letters that are missing, too many or swapped is a slip here. Other files have
/// such words too (`node:` in values of Helm, `Switch:` in a text): what is below has to be a statement's.
fn is_nearly_statement(line: &str, below: &[&str]) -> bool {
    let Some((key, rest)) = line.split_once(':') else { return false };
    let sorted = |word: &str| {
        let mut letters: Vec<char> = word.to_ascii_lowercase().chars().collect();
        letters.sort_unstable();
        letters
    };
    let is_slip = |known: &str| known.len() != key.len() || sorted(known) == sorted(key);
    let is_word = key.chars().all(|c| c.is_ascii_alphabetic());
    let is_near = is_word && nearest(key, &statement::KEYS).is_some_and(is_slip);
    is_near && states(rest, below)
}

/// Whether the names of a mapping say something that a statement says: `n1: {leaf: l1}`, on lines of their own or in braces.
fn states(rest: &str, below: &[&str]) -> bool {
    let own = |line: &&&str| line.starts_with(char::is_whitespace);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let below: Vec<&str> = below.iter().take_while(own).copied().collect();
    let names = below.first().map_or(0, |line| indent(line));
    let inside = below.iter().any(|line| {
        let deeper = indent(line) > names;
        // An adapter's, which has both.
        let is_owner = ["node:", "port:"].iter().all(|key| line.contains(key));
        let mut parts = line.split(['{', ',', '}']);
        let first = parts.next().filter(|_| deeper);
        is_owner || first.into_iter().chain(parts).any(is_stated)
    });
    let is_mapping = rest.trim().is_empty() || rest.trim_start().starts_with('{');
    let behind_the_second_brace = rest.trim_start().strip_prefix('{').and_then(|rest| rest.split_once('{'));
    is_mapping && inside
        || behind_the_second_brace.is_some_and(|(_, rest)| rest.split(['{', ',', '}']).any(is_stated))
}

/// `leaf: l1`, and what else a statement says of a name.
fn is_stated(part: &str) -> bool {
    const SAID: [&str; 10] =
        ["leaf", "block", "core", "site", "nvlink", "switch", "rail", "uplinks", "plane", "under"];
    part.split_once(':').is_some_and(|(key, _)| SAID.contains(&key.trim()))
}

/// `Switch 8 "…`, `Ca 1 "…`, `Hca 2 "…`, or a line of `ibnetdiscover -p`.
fn is_record(line: &str) -> bool {
    let mut words = line.split_whitespace();
    let (kind, number, third) = (words.next(), words.next(), words.next());
    let is_number = number.is_some_and(|word| word.parse::<u32>().is_ok());
    match kind {
        Some("Switch" | "Ca" | "Hca" | "Rt") => is_number && third.is_some_and(|word| word.starts_with('"')),
        Some("SW" | "CA" | "RT") => is_number && words.next().is_some_and(|word| word.starts_with("0x")),
        _ => false,
    }
}

/// Rows of matrices, and headers of tables.
fn of_accelerators(line: &str) -> Option<Kind> {
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let is_row = |begin: &str| first.strip_prefix(begin).is_some_and(|number| number.parse::<u32>().is_ok());
    match first {
        "|" if line.contains("Health") && words.next() == Some("NPU") => Some(Kind::NpuSmi),
        "NPU" if line.trim_start().starts_with("NPU ID") && line.contains("Chip ID") => {
            Some(Kind::NpuMapping)
        }
        _ if is_row("GPU") && words.any(|word| word == "X") => Some(Kind::NvidiaMatrix),
        _ if (is_row("NPU") || is_row("Phy-ID")) && words.any(|word| word == "X") => Some(Kind::NpuMatrix),
        _ => None,
    }
}
