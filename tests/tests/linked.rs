//! What `phalanx` is linked with.

mod support;

use support::{binary, skipped};

/// Names in the dynamic section of a 64-bit little-endian program (elf(5)): DT_NEEDED.
fn needed(program: &[u8]) -> Vec<String> {
    let word = |at: usize| u64::from_le_bytes(program[at..at + 8].try_into().expect("eight bytes")) as usize;
    let half = |at: usize| usize::from(u16::from_le_bytes([program[at], program[at + 1]]));
    assert_eq!(&program[..6], b"\x7fELF\x02\x01", "a 64-bit little-endian program");
    // Sections: their type (at 4), place (at 24), size (at 32) and for a dynamic one (type 6) the table of its names (at 40).
    let (sections, size) = (word(0x28), half(0x3a));
    let section = |number: usize| sections + number * size;
    let dynamic = (0..half(0x3c)).map(section).find(|at| program[at + 4] == 6).expect("a dynamic section");
    let names = word(section(program[dynamic + 40].into()) + 24);
    let entries = program[word(dynamic + 24)..][..word(dynamic + 32)].chunks(16);
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let needed = entries.filter(|entry| number(&entry[..8]) == 1);
    let name = |entry: &[u8]| {
        let at = names + number(&entry[8..]) as usize;
        program[at..].iter().take_while(|byte| **byte != 0).map(|byte| char::from(*byte)).collect()
    };
    needed.map(name).collect()
}

#[test]
fn phalanx_needs_libc_and_no_libhwloc() {
    let program = std::fs::read(binary()).expect("the program under test");
    let needed = needed(&program);
    assert!(needed.iter().any(|name| name.starts_with("libc.so")), "{needed:?}");
    let hwloc = needed.iter().any(|name| name.contains("hwloc"));
    if hwloc && std::env::var_os("PHALANX_BIN").is_none() {
        return skipped("this phalanx was built together with phalanx-worker, whose features it got");
    }
    assert!(
        !hwloc,
        "{needed:?}: `phalanx` and `phalanx-worker` have to be built in two invocations of cargo"
    );
}
