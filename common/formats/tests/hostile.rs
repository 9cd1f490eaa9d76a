//! Files of the largest size that is read, made to take long. That this ends soon is the test.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

use std::collections::BTreeMap;

use phalanx_formats::{hwloc_xml, nccl_xml, npu_smi, nvidia_smi, nvml_profile};

/// `part` again and again between two texts, up to a size.
fn filled(before: &str, part: &str, after: &str, bytes: usize) -> Vec<u8> {
    let times = (bytes - before.len() - after.len()) / part.len();
    format!("{before}{}{after}", part.repeat(times)).into_bytes()
}

#[test]
fn xml_of_the_largest_size_is_read_or_refused_soon() {
    let limit = nvidia_smi::MAX_QUERY_BYTES;
    let open = "<?xml version=\"1.0\"?><nvidia_smi_log>";
    for (before, part, after) in [
        ("", "<", ""),
        ("", "<a>", ""),
        ("<a ", "a='' ", "/>"),
        ("<a b='", "&#65;", "'/>"),
        ("<a>", "&lt;", "</a>"),
        ("<a>", "]]&gt;\r\n", "</a>"),
        ("<!--", " -- ", "-->"),
        ("<!-- ", "<a b='", " -->"),
        (open, "<gpu/>", "</nvidia_smi_log>"),
        (open, "<gpu id='1:00.0'><processes/></gpu>", "</nvidia_smi_log>"),
    ] {
        assert!(nvidia_smi::query(&filled(before, part, after, limit)).is_err(), "{part}");
    }
    let gpu = "<nvidia_smi_log><gpu id='1:00.0'><processes>";
    let process = "<process_info><pid>77</pid><type>C</type></process_info>";
    let many = filled(gpu, process, "</processes></gpu></nvidia_smi_log>", 4 << 20);
    assert_eq!(nvidia_smi::query(&many).unwrap().accelerators[0].processes, Some(vec![77]));
}

#[test]
fn topologies_of_the_largest_size_are_read_or_refused_soon() {
    let limit = nccl_xml::MAX_BYTES;
    let pci = "<system><cpu numaid='0'><pci busid='1:00.0' class='0x030200'>";
    for (before, part, after) in [
        ("<system>", "<cpu numaid='0' affinity='ffffffff'/>", "</system>"),
        (
            pci,
            "<gpu><nvlink target='2:00.0' count='4294967295' tclass='0x030200'/></gpu>",
            "</pci></cpu></system>",
        ),
        (pci, "<nic><net name='a' port='7'/><net name='b' port='7'/></nic>", "</pci></cpu></system>"),
        (pci, "<pci busid='1:00.0'/>", "</pci></cpu></system>"),
    ] {
        let read = nccl_xml::read(&filled(before, part, after, limit));
        // What is left of it can be written.
        let text = read.map(|found| nccl_xml::write(&found.machine, &BTreeMap::new()));
        assert!(text.is_ok_and(|text| text.len() < limit), "{part}");
    }
}

#[test]
fn machines_of_the_largest_size_are_read_or_refused_soon() {
    let machine = "<topology version='2.0'><object type='Machine'>";
    let pci = "<object type='PCIDev' gp_index='1' pci_busid='1:00.0' pci_type='0302 [10de:1] [1:1] a'>";
    let open = format!("{machine}{pci}");
    let mask = format!("<object type='PU' cpuset='0x1{}'/>", ",".repeat(255));
    for (before, part, after) in [
        (machine, "<object type='Core' cpuset='0x1'/>", "</object></topology>"),
        (machine, &mask, "</object></topology>"),
        (machine, "<object type='NUMANode' os_index='7'/>", "</object></topology>"),
        (machine, "<object type='Bridge' pci_busid='1:0.0'/>", "</object></topology>"),
        (&open, "<object type='OSDev' name='a' osdev_type='2'/>", "</object></object></topology>"),
        (
            &open,
            "<object type='OSDev' osdev_type='3'><info name='Port1State' value='4'/></object>",
            "</object></object></topology>",
        ),
        (machine, "<info name='CPUModel' value='x'/>", "</object></topology>"),
        (
            "<topology><object type='Machine'><distances nbobjs='1'>",
            "<latency value='1'/>",
            "</distances></object></topology>",
        ),
    ] {
        let machine = hwloc_xml::read(&filled(before, part, after, 4 << 20)).unwrap();
        assert!(machine.nics.len() <= 1024, "{part}");
    }
    let many = filled(machine, "<info/>", "</object></topology>", hwloc_xml::MAX_BYTES);
    assert!(hwloc_xml::read(&many).unwrap_err().to_string().contains("nodes limit"));
    let matrix = "<topology version='2.0'><object type='Machine'/><distances2 nbobjs='1024' type='NUMANode'><u64values>";
    let matrix = filled(matrix, "1 ", "</u64values></distances2></topology>", hwloc_xml::MAX_BYTES);
    assert!(hwloc_xml::read(&matrix).unwrap_err().to_string().contains("the matrix is of 1024 objects"));
}

#[test]
fn texts_of_the_largest_size_are_read_or_refused_soon() {
    let header: String = (0..512).map(|n| format!("GPU{n}\t")).collect();
    for (before, part, after) in [
        (header.as_str(), "\nGPU1 X", ""),
        (header.as_str(), "\nGPU1: x", ""),
        (header.as_str(), "\n\u{1b}[4m", ""),
        ("", "GPU0 ", ""),
        ("", "NPU ID  ", ""),
        ("NPU ID  Chip ID  Chip Name\n", "0 0 x\n", ""),
        (
            "| NPU Name | Health |\n| Chip | Bus-Id | HBM-Usage(MB) |\n",
            "| 0 x | OK |\n| 0 | NA | 0 / 0 |\n",
            "",
        ),
        ("| NPU Name | Health |\n| Chip | Bus-Id |\n| NPU Chip | Process id |\n", "| 0 0 | 7 |\n", ""),
        ("", "|", ""),
        ("", "| / ", "|"),
        ("device_defaults: {}\ndevices:\n", "- {}\n", ""),
        ("device_defaults: {}\ndevices: [", "{}, ", "]"),
        ("device_defaults: {}\ndevices: [", "[", ""),
    ] {
        let bytes = filled(before, part, after, 1 << 20);
        let _ = nvidia_smi::matrix(&bytes);
        let _ = npu_smi::topo(&bytes);
        let chips = npu_smi::mapping(&bytes).unwrap_or_default();
        let _ = npu_smi::info(&bytes, &chips);
        let _ = npu_smi::neighbour(&bytes);
        assert!(nvml_profile::read(&bytes).is_err(), "{part}");
    }
}
