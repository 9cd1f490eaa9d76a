//! Input that makes no sense is refused, and said why.

use phalanx_launcher_core::placement::order::{
    Domain, Effort, Group, GroupKind, Layout, LayoutError, Problem, ProblemError, SlotGraph, SlotsError,
    Tree, TreeError, solve,
};

fn domain(parent: Option<u32>, level: u8, capacity: u32) -> Domain {
    Domain { parent, uplink: 64, level, capacity }
}

#[test]
fn layouts_that_do_not_make_the_job_are_refused() {
    let of = |groups: &[(GroupKind, u32)], ranks| {
        Layout::new(groups.iter().map(|(kind, size)| Group::of(kind.clone(), *size)).collect(), ranks)
    };
    use GroupKind::{Dp, Pp, Tp};
    assert_eq!(of(&[], 0), Err(LayoutError::NoRanks));
    assert_eq!(of(&[(Tp, 0)], 8), Err(LayoutError::ZeroSize { kind: Tp }));
    assert_eq!(of(&[(Tp, 2), (Tp, 4)], 8), Err(LayoutError::Duplicate { kind: Tp }));
    assert_eq!(of(&[(Tp, 2), (Dp, 3)], 8), Err(LayoutError::Product { product: 6, ranks: 8 }));
    let custom = |at: u32| (GroupKind::Custom(at.to_string()), u32::MAX);
    assert_eq!(of(&[custom(0), custom(1), custom(2), custom(3), custom(4)], 8), Err(LayoutError::Overflow));
    assert_eq!(Layout::ring(u32::MAX), Err(LayoutError::TooManyRanks { ranks: u64::from(u32::MAX) }));
    let layout = of(&[(Tp, 4), (Pp, 2)], 8).expect("a layout");
    assert_eq!(SlotGraph::even(&layout, 3).map(|_| ()), Err(SlotsError::Share { ranks: 8, share: 3 }));
    assert_eq!(SlotGraph::even(&layout, 0).map(|_| ()), Err(SlotsError::Empty));
    assert_eq!(
        SlotGraph::uneven(&layout, &[4, 3]).map(|_| ()),
        Err(SlotsError::Shares { shares: 7, ranks: 8 })
    );
    let heavy = Group { volume: u64::MAX, ..Group::of(Dp, 4) };
    let heavy = Layout::new(vec![Group::of(Tp, 2), heavy], 8).expect("a layout");
    assert_eq!(SlotGraph::even(&heavy, 2).map(|_| ()), Err(SlotsError::Volume { kind: Dp }));
}

#[test]
fn domains_that_make_no_tree_are_refused() {
    let of = |domains: &[Domain]| Tree::new(domains.to_vec()).map(|_| ());
    assert_eq!(of(&[]), Err(TreeError::Empty));
    assert_eq!(of(&[domain(None, 7, 1), domain(None, 7, 1)]), Err(TreeError::Root { domain: 1 }));
    assert_eq!(
        of(&[domain(None, 7, 0), domain(Some(1), 6, 1)]),
        Err(TreeError::Order { domain: 1, parent: 1 })
    );
    assert_eq!(
        of(&[domain(None, 7, 0), domain(Some(0), 7, 1)]),
        Err(TreeError::Levels { domain: 1, parent: 0 })
    );
    assert_eq!(of(&[domain(None, 7, 3), domain(Some(0), 6, 1)]), Err(TreeError::Inner { domain: 0 }));
    let dear = Domain { uplink: u64::MAX, ..domain(Some(0), 6, 1) };
    assert_eq!(of(&[domain(None, 7, 0), dear]), Err(TreeError::Cost { domain: 1 }));
}

#[test]
fn counts_that_do_not_fit_are_refused_and_too_little_room_has_no_solution() {
    let graph = SlotGraph::even(&Layout::ring(6).expect("a ring"), 1).expect("slots");
    let tree =
        Tree::new(vec![domain(None, 7, 0), domain(Some(0), 6, 4), domain(Some(0), 6, 1)]).expect("a tree");
    let of = |counts: &[u32]| Problem::new(&graph, &tree, Some(counts)).map(|_| ());
    assert_eq!(of(&[6]), Err(ProblemError::Length { counts: 1, leaves: 2 }));
    assert_eq!(of(&[4, 2]), Err(ProblemError::Capacity { leaf: 1, count: 2, capacity: 1 }));
    assert_eq!(of(&[4, 1]), Err(ProblemError::Sum { sum: 5, slots: 6 }));
    let problem = Problem::new(&graph, &tree, None).expect("a problem");
    assert_eq!(solve(&problem, &Effort::default()), None);
}

#[test]
fn numbers_beyond_any_fabric_still_have_a_bounded_answer() {
    let group = Group { volume: u64::MAX / 4, ..Group::of(GroupKind::Dp, 8) };
    let graph = SlotGraph::even(&Layout::new(vec![group], 8).expect("a layout"), 1).expect("slots");
    let dear = |capacity| Domain { uplink: u64::MAX / 8, ..domain(Some(0), 6, capacity) };
    let tree = Tree::new(vec![domain(None, 7, 0), dear(4), dear(3), dear(4)]).expect("a tree");
    let solution = solve(&Problem::new(&graph, &tree, None).expect("a problem"), &Effort::default());
    let solution = solution.expect("room for all");
    assert_eq!(solution.cost.weighted, u128::from(u64::MAX / 8) * u128::from(u64::MAX / 4) * 4);
    assert!(solution.bound <= solution.cost.weighted);
}
