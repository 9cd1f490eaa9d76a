//! What is said where ranks do not fit.

use phalanx_common::spec::DeviceKind;

use super::super::{Change, Lack, RankNeeds, choose};
use super::*;

fn lack(machine: &Machine, change: impl FnOnce(&mut FreeInside), needs: &RankNeeds) -> Lack {
    let (model, mut free) = whole(machine);
    change(&mut free);
    choose(&model, &free, needs).unwrap_err()
}

fn said(needs: &RankNeeds, change: impl FnOnce(&mut FreeInside)) -> String {
    lack(&hgx(), change, needs).to_string()
}

#[test]
fn each_need_says_what_is_missing_and_what_would_help() {
    let none = |_: &mut FreeInside| {};
    let half = |free: &mut FreeInside| free.devices = 0b111;
    assert_eq!(said(&RankNeeds::new(4, 1), half), "needs 4 devices, 3 of 8 free; 3 ranks fit now");
    assert_eq!(
        said(&RankNeeds::new(1, 4), half),
        "needs 4 devices, 3 of 8 free; would fit with 1 more free device"
    );
    assert_eq!(
        said(&RankNeeds::new(1, 9), half),
        "needs 9 devices, 3 of 8 free; the node never has more than 8 devices"
    );
    let wide = RankNeeds { cpus: Some(30), memory: 40 * GIB, ..RankNeeds::new(2, 1) };
    let little = |free: &mut FreeInside| {
        (free.cores, free.memory) = (super::super::Cores::none(96), vec![GIB, 2 * GIB]);
    };
    assert_eq!(
        said(&wide, little),
        "needs 30 cores, 0 of 96 free, needs 80 GiB of memory, 3 of 128 free; would fit with 30 more free cores, \
         77 GiB more free memory"
    );
    let huge = RankNeeds { memory: u64::MAX, ..RankNeeds::new(3, 0) };
    assert!(said(&huge, none).ends_with("the node never has more than 128 GiB of memory"));
    let ports = RankNeeds { ports: 2, ..RankNeeds::new(1, 1) };
    assert_eq!(
        said(&ports, |free| free.ports = 1),
        "needs 2 network ports for each rank, 1 of 8 up; would fit with 1 more port up"
    );
}

#[test]
fn a_device_that_is_not_there_says_by_which_filter() {
    let said = |change: &dyn Fn(&mut RankNeeds)| {
        let mut needs = RankNeeds::new(1, 1);
        change(&mut needs);
        lack(&hgx(), |_| {}, &needs).to_string()
    };
    let end = "; no rank of this job ever fits here";
    let none = |what: &str| format!("none of 8 devices is one {what} that is asked for{end}");
    assert_eq!(said(&|needs| needs.device.kind = Some(DeviceKind::Npu)), none("of the kind"));
    assert_eq!(said(&|needs| needs.device.mig = "1g.10gb".parse().ok()), none("of the MIG profile"));
    assert_eq!(said(&|needs| needs.device.model = Some("A100".into())), none("of the model"));
    assert_eq!(said(&|needs| needs.device.memory = Some(81 * GIB)), none("with the memory"));
    let bare = lack(&board(1, 4, 1, 4), |_| {}, &RankNeeds::new(1, 1));
    assert_eq!(bare.to_string(), format!("has no devices{end}"));
}

#[test]
fn cpus_that_nobody_knows_can_be_shared_but_not_counted() {
    let machine = Machine::default();
    let needs = RankNeeds { cpus: Some(1), ..RankNeeds::new(1, 0) };
    assert!(matches!(lack(&machine, |_| {}, &needs).change(), Change::Never(_)));
    let (model, free) = whole(&machine);
    let inside = choose(&model, &free, &RankNeeds::new(3, 0)).unwrap();
    assert!(inside.ranks.len() == 3 && inside.ranks.iter().all(|rank| rank.cpus.is_empty()));
    assert!(choose(&model, &free, &RankNeeds::new(u32::MAX, 0)).is_err(), "and not without bound");
}
