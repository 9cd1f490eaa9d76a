//! Readers of what strangers send, fuzzed: captures are the corpus, and what comes out of them mutated, cut and spliced
//! must be read or refused, soon and without a panic. `PHALANX_FUZZ_ROUNDS` says how often (`make test-long`),
//! `PHALANX_FUZZ_SEED` begins where a failure was.

#![allow(clippy::disallowed_methods, reason = "a test is a shell: it reads the environment and the clock")]

mod support;

use std::time::{Duration, Instant};

use phalanx_common::time::Timestamp;
use phalanx_formats::{ibnetdiscover, lldp, npu_smi};
use support::{capture, in_folder};

/// Of one mutated text, whose size is that of a window.
const SOON: Duration = Duration::from_secs(5);
/// What is cut out of a large dump.
const WINDOW: usize = 6_000;

/// xorshift64*: the same seed is the same run, on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        if limit == 0 { 0 } else { (self.next() >> 33) as usize % limit }
    }
}

fn mutated(random: &mut Random, corpus: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = corpus[random.below(corpus.len())].clone();
    if bytes.len() > WINDOW {
        let from = random.below(bytes.len() - WINDOW);
        bytes = bytes[from..from + WINDOW].to_vec();
    }
    for _ in 0..=random.below(8) {
        let at = random.below(bytes.len());
        match random.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << random.below(8),
            1 if !bytes.is_empty() => bytes[at] = random.next() as u8,
            2 => bytes.truncate(at),
            3 => bytes.insert(at, *b"\0\xff\n\"[]#\x7f".get(random.below(8)).unwrap_or(&0)),
            4 if !bytes.is_empty() => {
                bytes.remove(at);
            }
            5 => {
                let end = at + random.below(bytes.len() - at + 1).min(200);
                let part = bytes[at..end].to_vec();
                bytes.splice(at..at, part);
            }
            _ => {
                let other = &corpus[random.below(corpus.len())];
                let from = random.below(other.len());
                let end = from + random.below(other.len() - from + 1).min(500);
                bytes.splice(at..at, other[from..end].iter().copied());
            }
        }
    }
    bytes.truncate(4 * WINDOW);
    bytes
}

/// Runs `read` on mutated texts; says the seed of one that panics or takes long.
fn fuzz(corpus: &[Vec<u8>], read: impl Fn(&[u8]) + std::panic::RefUnwindSafe) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    let rounds = number("PHALANX_FUZZ_ROUNDS").unwrap_or(3_000);
    let first = number("PHALANX_FUZZ_SEED").unwrap_or(1);
    for seed in first..first + rounds {
        // Neighbouring seeds are far apart, and none is zero.
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let bytes = mutated(&mut random, corpus);
        let begin = Instant::now();
        let done = std::panic::catch_unwind(|| read(&bytes));
        assert!(done.is_ok(), "PHALANX_FUZZ_SEED={seed} PHALANX_FUZZ_ROUNDS=1 panics again");
        assert!(begin.elapsed() < SOON, "PHALANX_FUZZ_SEED={seed} takes long");
    }
}

#[test]
fn frames_of_lldp_and_lists_of_lldpctl() {
    let captures = in_folder("lldp/lldpd-frames");
    if captures.is_empty() {
        return;
    }
    let mut corpus: Vec<Vec<u8>> = Vec::new();
    for bytes in captures {
        match lldp::pcap(&bytes) {
            Ok(packets) => corpus.extend(packets.into_iter().map(<[u8]>::to_vec)),
            Err(_) => corpus.push(bytes.clone()),
        }
        corpus.push(bytes);
    }
    corpus.extend(in_folder("lldp/generated"));
    assert!(corpus.iter().any(|frame| lldp::frame(frame).is_ok()), "the corpus has frames");
    fuzz(&corpus, |bytes| {
        if let Ok(neighbour) = lldp::frame(bytes) {
            assert!(!neighbour.switch_port().contains(char::is_control));
            assert!(neighbour.system_name.iter().all(|name| !name.contains(char::is_control)));
        }
        let _ = lldp::pcap(bytes).map(|packets| packets.into_iter().map(lldp::frame).count());
        let _ = lldp::lldpctl(bytes).map(|heard| heard.len());
    });
}

#[test]
fn dumps_of_ibnetdiscover() {
    let corpus = in_folder("ibnetdiscover");
    if corpus.is_empty() {
        return;
    }
    fuzz(&corpus, |bytes| {
        if let Ok(fabric) = ibnetdiscover::read(bytes) {
            let _ = fabric.evidence("fuzz", Timestamp(0));
        }
    });
}

#[test]
fn texts_of_ascends_tools() {
    let Some(matrix) = capture("nvidia-smi-topo-m/gb200-k8s-test-infra-371.txt") else { return };
    let table = "| NPU   Name   | Health        | Power(W)    Temp(C)           Hugepages-Usage(page)|\n\
        | Chip         | Bus-Id        | AICore(%)   Memory-Usage(MB)  HBM-Usage(MB)        |\n\
        | 0     910B3  | OK            | 91.0        49                0    / 0             |\n\
        | 0            | 0000:C1:00.0  | 0           0    / 0          3161 / 65536         |\n";
    let map =
        "NPU ID  Chip ID  Chip Logic ID  Chip Phy-ID  Chip Name\n0  0  0  0  Ascend 910B3\n0  1  -  -  Mcu\n";
    let corpus = [matrix, table.as_bytes().to_vec(), map.as_bytes().to_vec()];
    fuzz(&corpus, |bytes| {
        let _ = npu_smi::info(bytes, &[]);
        let _ = npu_smi::mapping(bytes).map(|chips| npu_smi::chips(&chips));
        let _ = npu_smi::topo(bytes);
    });
}
