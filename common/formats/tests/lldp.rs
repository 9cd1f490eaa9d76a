//! LLDP: frames, captures and lists of real agents.

#![allow(clippy::unwrap_used, reason = "in a test that is how it fails")]

mod support;

use std::time::Duration;

use phalanx_common::time::Timestamp;
use phalanx_common::topology::{Claim, End};
use phalanx_formats::lldp::{Neighbour, frame, lldpctl, pcap};
use proptest::prelude::*;
use support::{capture, captures};

fn frames(path: &str) -> Option<Vec<Neighbour>> {
    let bytes = capture(path)?;
    let packets = pcap(&bytes).unwrap();
    Some(packets.into_iter().map(|packet| frame(packet).unwrap()).collect())
}

#[test]
fn a_frame_of_lldpd_tells_its_chassis_port_addresses_and_limits() {
    let Some(bytes) = capture("lldp/lldpd-frames/lldp.1.raw") else { return };
    let found = frame(&bytes).unwrap();
    assert_eq!(found.chassis, "mac 00:16:17:2f:a1:b6");
    assert_eq!((found.port.as_str(), found.port_is_name), ("00:16:17:2f:a1:b6", false));
    assert_eq!(found.switch_port(), "eth0", "the description, where the id is no name");
    assert!(found.system_name.as_deref().unwrap().starts_with("naruto.XXX"));
    assert_eq!(found.management, ["10.238.80.75"]);
    assert_eq!((found.ttl, found.max_frame), (Duration::from_secs(120), Some(1500)));
    assert_eq!((found.aggregate, found.forwards), (None, Some(true)));
}

#[test]
fn the_least_frame_there_may_be_is_read() {
    let Some(bytes) = capture("lldp/lldpd-frames/lldp.0.raw") else { return };
    let found = frame(&bytes).unwrap();
    assert_eq!((found.chassis.as_str(), found.port.as_str()), ("mac 00:17:d1:a8:35:bf", "00:17:d1:a8:36:02"));
    assert_eq!((found.system_name, found.management.len()), (None, 0));
}

#[test]
fn captures_of_switches_and_adapters_are_read() {
    let Some(found) = frames("lldp/lldpd-frames/sg200.pcap") else { return };
    assert_eq!((found[0].chassis.as_str(), found[0].port.as_str()), ("mac 00:35:35:35:35:35", "g1"));
    assert!(found[0].port_is_name);
    let Some(found) = frames("lldp/lldpd-frames/connectx.pcap") else { return };
    assert_eq!((found[0].ttl, found.len()), (Duration::from_secs(48), 1));
    assert_eq!(found[0].port_description.as_deref(), Some("ConnectX-4 Lx, 25G/10G/1G SFP"));
    let Some(found) = frames("lldp/lldpd-frames/med-loc-malformed.pcap") else { return };
    assert_eq!(
        (found[0].system_name.as_deref(), found[0].chassis.as_str()),
        (Some("defensics"), "component 0ac0de9d0a74")
    );
}

#[test]
fn both_shapes_of_lldpctl_tell_the_same() {
    for machine in ["hA", "sw1"] {
        let Some(json) = capture(&format!("lldp/generated/{machine}.json")) else { return };
        let Some(json0) = capture(&format!("lldp/generated/{machine}.json0")) else { return };
        assert_eq!(lldpctl(&json).unwrap(), lldpctl(&json0).unwrap(), "{machine}");
    }
    let Some(json0) = capture("lldp/generated/sw1.json0") else { return };
    let heard = lldpctl(&json0).unwrap();
    let told: Vec<_> =
        heard.iter().map(|heard| (heard.interface.as_str(), heard.neighbour.switch_port())).collect();
    assert_eq!(told, [("p1", "vA"), ("p2", "vB")]);
    assert_eq!(heard[0].neighbour.switch().address.as_deref(), Some("10.9.0.1"));
    assert_eq!(heard[1].neighbour.system_name.as_deref(), Some("hB.example"));
    assert_eq!(heard[1].neighbour.chassis, "mac 76:c3:50:4b:6d:e9");
}

#[test]
fn what_was_heard_lapses_with_the_time_to_live_and_a_farewell_is_no_neighbour() {
    let Some(json0) = capture("lldp/generated/hA.json0") else { return };
    let heard = lldpctl(&json0).unwrap();
    let at = Timestamp(1_000_000);
    let evidence = heard[0].evidence("hA", "lldpctl", at).unwrap();
    assert_eq!(evidence.expires, Some(Timestamp(5_000_000)), "the agent was told four seconds");
    let Claim::Attached { end, switch, switch_port, .. } = evidence.claim else { panic!() };
    assert_eq!((end, switch_port.as_deref()), (End::of_port("hA", "vA"), Some("p1")));
    assert_eq!(switch.name.as_deref(), Some("sw1.example"));

    assert_eq!(heard[0].neighbour.forwards, Some(true));
    let host = Neighbour { forwards: Some(false), ..heard[0].neighbour.clone() };
    assert_eq!(
        host.evidence(End::of_port("hA", "vA"), "lldpctl", at),
        None,
        "a host back to back is no switch"
    );
    let farewell = Neighbour { ttl: Duration::ZERO, ..heard[0].neighbour.clone() };
    assert_eq!(farewell.evidence(End::of_port("hA", "vA"), "lldpctl", at), None);
}

#[test]
fn other_files_are_refused_with_what_to_do() {
    assert!(pcap(&[0; 100]).unwrap_err().to_string().contains("editcap"));
    assert!(pcap(b"\xd4\xc3\xb2\xa1").is_err());
    assert!(lldpctl(b"{}").unwrap_err().to_string().contains("json0"));
    assert!(frame(&[0; 60]).unwrap_err().to_string().contains("0x88cc"));
}

/// A frame, a capture of it and a list, of our own.
const FRAME: &[u8] = b"\x01\x80\xc2\x00\x00\x0e\x02\x00\x00\x00\x00\x01\x88\xcc\x02\x07\x04\x02\x00\x00\x00\x00\x01\
    \x04\x05\x05swp1\x06\x02\x00\x78\x0a\x03sw1\x10\x0c\x05\x01\x0a\x00\x00\x01\x02\x00\x00\x00\x03\x00\x00\x00";
const LIST: &[u8] = br#"{"lldp": [{"interface": [{"name": "eth0", "chassis": [{"id": [{"type": "mac",
    "value": "02:00:00:00:00:01"}], "name": [{"value": "sw1"}]}], "port": [{"id": [{"type": "ifname",
    "value": "swp1"}], "ttl": [{"value": "120"}]}]}]}]}"#;

fn captured() -> Vec<u8> {
    let length = u32::try_from(FRAME.len()).unwrap();
    let words = [0xa1b2_c3d4, 0x0002_0004, 0, 0, 65_535, 1, 0, 0, length, length];
    words.into_iter().flat_map(u32::to_le_bytes).chain(FRAME.iter().copied()).collect()
}

#[test]
fn a_frame_is_the_same_neighbour_alone_in_a_capture_and_in_a_list() {
    let found = frame(FRAME).unwrap();
    assert_eq!((found.chassis.as_str(), found.switch_port()), ("mac 02:00:00:00:00:01", "swp1"));
    assert_eq!(pcap(&captured()).unwrap(), [FRAME]);
    let listed = &lldpctl(LIST).unwrap()[0].neighbour;
    assert_eq!((&listed.chassis, &listed.system_name), (&found.chassis, &found.system_name));
    assert_eq!((listed.switch_port(), listed.ttl), (found.switch_port(), found.ttl));
}

/// What is mutated: a sample for each reader, and the captures that are there.
fn corpus() -> Vec<Vec<u8>> {
    let mut corpus = vec![FRAME.to_vec(), captured(), LIST.to_vec()];
    let frames =
        ["lldp.0.raw", "lldp.1.raw", "8023bt.pcap", "connectx.pcap", "med-loc-malformed.pcap", "sg200.pcap"];
    let lists = ["hA.json", "hA.json0", "sw1.json", "sw1.json0"];
    let paths: Vec<String> = frames
        .iter()
        .map(|name| format!("lldp/lldpd-frames/{name}"))
        .chain(lists.iter().map(|name| format!("lldp/generated/{name}")))
        .collect();
    corpus.extend(captures(&paths.iter().map(String::as_str).collect::<Vec<_>>()));
    corpus
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_mutated_frame_capture_or_list_breaks_the_readers(
        which in any::<prop::sample::Index>(),
        edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..12),
        cut in any::<prop::sample::Index>(),
        whole in any::<bool>(),
    ) {
        thread_local! { static CORPUS: Vec<Vec<u8>> = corpus(); }
        let bytes = CORPUS.with(|corpus| which.get(corpus).clone());
        let bytes = support::mutated(bytes, &edits, (!whole).then_some(&cut));
        if let Ok(found) = frame(&bytes) {
            prop_assert!(found.chassis.len() <= 300 && found.management.len() <= 8);
            prop_assert!(!found.switch_port().chars().any(char::is_control));
        }
        for packet in pcap(&bytes).unwrap_or_default() {
            let _ = frame(packet);
        }
        let _ = lldpctl(&bytes);
    }
}
