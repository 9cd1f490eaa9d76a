//! A file by its kind.

use anyhow::Context;
use phalanx_common::text::utf16;
use phalanx_common::time::Timestamp;
use phalanx_common::topology::machine::Machine;
use phalanx_common::topology::{End, Evidence, Snapshot, Source};
use phalanx_formats::kind::{Kind, recognise};
use phalanx_formats::outline::Outline;
use phalanx_formats::{
    MatrixReading, csv, hwloc_xml, hypernode, ibnetdiscover, lldp, nccl_xml, netq, npu_smi, nvidia_smi,
    nvml_profile, slurm, statement, topograph,
};

use super::plain;
use super::view::Witnesses;

/// What a file turned out to be.
#[derive(Debug)]
pub(super) enum Read {
    /// With what the reader has to say about the file.
    Evidence(Vec<Evidence>, Option<String>),
    /// Likewise.
    Machine(Box<Machine>, Option<String>),
    /// With what was told beside it, if it was.
    Snapshot(Box<Snapshot<Machine>>, Option<Witnesses>),
}

/// A file and where it came from.
pub(super) struct File<'a> {
    pub(super) bytes: &'a [u8],
    /// The path, for people.
    pub(super) origin: &'a str,
    /// The node that a file without a name in it is of: what its own name begins with.
    pub(super) stem: &'a str,
    pub(super) at: Timestamp,
}

/// The kind of a file; an error that lists the kinds if it is of none.
pub(super) fn kind(bytes: &[u8]) -> anyhow::Result<Kind> {
    if let Some((_, packer)) = PACKED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        anyhow::bail!("it is packed ({packer}): unpack it, and name the file or the folder that comes out");
    }
    recognise(bytes).with_context(|| {
        let first = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let what = match () {
            () if bytes.is_empty() => "the file is empty",
            () if utf16(bytes).is_some() => "it is UTF-16 text, and of no kind that is read",
            () if first.contains(&b';') || first.contains(&b'\t') => {
                "its content is of no kind that is read (the fields of a table have commas between them)"
            }
            () => "its content is of no kind that is read",
        };
        format!("{what}; known are {}", known())
    })
}

/// How packed files begin, and what packs them.
const PACKED: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"PK\x03\x04", "zip"),
];

pub(super) fn known() -> String {
    let kinds: Vec<String> = Kind::ALL.iter().map(ToString::to_string).collect();
    kinds.join(", ")
}

/// Reads a file as the kind that it is.
pub(super) fn read(kind: Kind, file: &File<'_>) -> anyhow::Result<Read> {
    let File { bytes, origin, at, .. } = *file;
    if let Some(encoding) = utf16(bytes) {
        anyhow::bail!(
            "it is UTF-16 text, and UTF-8 is read: save it as UTF-8 (`iconv -f {encoding} -t UTF-8` writes it so)"
        );
    }
    let outline = |outline: Outline, source| {
        let note = (outline.unknown > 0).then(|| {
            format!("{} members are named by patterns or labels, which say nothing here", outline.unknown)
        });
        Read::Evidence(outline.evidence(source, origin, at), note)
    };
    let evidence = |evidence| Read::Evidence(evidence, None);
    let machine = |machine| Read::Machine(Box::new(machine), None);
    let matrix = |MatrixReading { machine, strange }| {
        Read::Machine(Box::new(machine), (!strange.is_empty()).then(|| strange.to_string()))
    };
    let read = match kind {
        Kind::Ibnetdiscover => {
            let fabric = ibnetdiscover::read(bytes)?;
            Read::Evidence(fabric.evidence(origin, at), missing(&fabric))
        }
        Kind::Lldpctl => {
            let heard = lldp::lldpctl(bytes)?;
            evidence(heard.iter().filter_map(|heard| heard.evidence(file.stem, origin, at)).collect())
        }
        Kind::Pcap => return frames(file),
        Kind::SlurmConf => outline(slurm::read_conf(bytes)?, Source::Slurm),
        Kind::SlurmYaml => outline(slurm::read_yaml(bytes)?, Source::Slurm),
        Kind::TopographModel => outline(topograph::read_model(bytes)?, Source::Topograph),
        Kind::TopographJson => outline(topograph::read_json(bytes)?, Source::Topograph),
        Kind::HyperNode => outline(hypernode::read(bytes)?, Source::HyperNode),
        Kind::NetqGraph => evidence(netq::graph(bytes, origin, at)?),
        Kind::NetqComputeNodes => evidence(netq::compute_nodes(bytes, origin, at)?),
        Kind::Csv => outline(csv::read(bytes)?, Source::Csv),
        Kind::Statement => evidence(statement::read(bytes, origin, at)?),
        Kind::Snapshot => {
            let (snapshot, witnesses) = Snapshot::from_json_with(bytes)?;
            Read::Snapshot(Box::new(snapshot), witnesses)
        }
        Kind::Machine => machine(plain::machine(bytes).context("this is no machine of this version")?),
        Kind::NcclTopology => machine(nccl_xml::read(bytes)?.machine),
        Kind::NvidiaSmi => machine(nvidia_smi::query(bytes)?),
        Kind::NvidiaMatrix => matrix(nvidia_smi::matrix(bytes)?),
        Kind::NvmlProfile => machine(nvml_profile::read(bytes)?),
        Kind::NpuSmi => machine(npu_smi::info(bytes, &[])?),
        Kind::NpuMapping => machine(npu_smi::chips(&npu_smi::mapping(bytes)?)),
        Kind::NpuMatrix => matrix(npu_smi::topo(bytes)?),
        Kind::HwlocXml => machine(hwloc_xml::read(bytes)?),
        Kind::Sysfs => anyhow::bail!("{kind} is a folder"),
        kind => anyhow::bail!("{kind} cannot be read here"),
    };
    Ok(match read {
        Read::Machine(read, note) => {
            let plain = plain::made_plain(&read).context("it cannot be written as JSON")?;
            Read::Machine(Box::new(plain), note)
        }
        read => read,
    })
}

/// What a dump lacks, or has too much.
fn missing(fabric: &ibnetdiscover::Fabric) -> Option<String> {
    let ibnetdiscover::Fabric { one_ended, unrecorded, strange, .. } = fabric;
    let lacks = [
        (*one_ended, "cable is seen from one end only", "cables are seen from one end only"),
        (*unrecorded, "device has no record of its own", "devices have no record of their own"),
    ];
    let counted = |(count, one, more): &(usize, &str, &str)| {
        (*count > 0).then(|| format!("{count} {}", if *count == 1 { one } else { more }))
    };
    let lacks: Vec<String> = lacks.iter().filter_map(counted).collect();
    let cut = (!lacks.is_empty())
        .then(|| format!("{}: the dump was cut, or changed while it was taken", lacks.join(", ")));
    let passed = ("line is of no dump, and was passed over", "lines are of no dump, and were passed over");
    let strange = counted(&(*strange, passed.0, passed.1));
    let told: Vec<String> = cut.into_iter().chain(strange).collect();
    (!told.is_empty()).then(|| told.join("; "))
}

/// What a capture of a node's interface has of its neighbours. Packets that are not LLDP are passed over; frames count
/// from 1, as tcpdump and Wireshark count them.
fn frames(file: &File<'_>) -> anyhow::Result<Read> {
    let mut evidence = Vec::new();
    let mut wrong = Vec::new();
    for (packet, number) in lldp::pcap(file.bytes)?.into_iter().zip(1..) {
        match lldp::frame(packet) {
            Ok(neighbour) => {
                evidence.extend(neighbour.evidence(End::of_node(file.stem), file.origin, file.at));
            }
            Err(lldp::FrameError::NotLldp) => {}
            Err(error) => wrong.push((number, error)),
        }
    }
    let note = wrong.first().map(|(number, error): &(usize, lldp::FrameError)| match wrong.len() {
        1 => format!("1 frame is malformed and was passed over: frame {number}: {error}"),
        count => {
            format!("{count} frames are malformed and were passed over, the first is frame {number}: {error}")
        }
    });
    match note {
        Some(note) if evidence.is_empty() => anyhow::bail!(note),
        note => Ok(Read::Evidence(evidence, note)),
    }
}
