//! From ranks to slots.

use super::Layout;
use super::layout::{Group, Pattern};
use super::slots::{Dim, Edge, LONGEST_ALL_TO_ALL, MAX_EDGES, SlotGraph, SlotsError, compress};

pub(super) fn even(layout: &Layout, share: u32) -> Result<SlotGraph, SlotsError> {
    match grid(layout, share)? {
        Some(dims) => from_grid(layout, share, dims),
        None => general(layout, &vec![share; (layout.ranks() / share) as usize]),
    }
}

/// The grid of slots, where a slot is a box of ranks: whole lines of the fastest groups and an equal piece of
/// the lines of the next.
fn grid(layout: &Layout, share: u32) -> Result<Option<Vec<Dim>>, SlotsError> {
    let mut dims = Vec::new();
    let mut left = share;
    let mut stride = 1u64;
    for (kind, group) in layout.groups().iter().enumerate() {
        let kind = u8::try_from(kind).map_err(|_| SlotsError::Groups)?;
        let stride_here = stride;
        stride *= u64::from(group.size);
        if left.is_multiple_of(group.size) {
            left /= group.size;
            continue;
        }
        if !group.size.is_multiple_of(left) || (left > 1 && group.pattern == Pattern::Tree) {
            return Ok(None);
        }
        // Lines of this group run side by side through a slot, `left` members of each within it.
        let piece = u64::from(left);
        let side_by_side = if left > 1 { stride_here } else { u64::from(share) };
        let pairs = if group.pattern == Pattern::AllToAll { piece * piece } else { 1 };
        let weight = group.volume.checked_mul(side_by_side * pairs).ok_or(too_much(group))?;
        dims.push(shorten(Dim { kind, size: group.size / left, pattern: group.pattern, weight }, group)?);
        left = 1;
    }
    Ok((left == 1).then_some(dims))
}

fn too_much(group: &Group) -> SlotsError {
    SlotsError::Volume { kind: group.kind.clone() }
}

/// A long line of all-to-all traffic becomes a ring.
fn shorten(dim: Dim, group: &Group) -> Result<Dim, SlotsError> {
    if dim.pattern != Pattern::AllToAll || dim.size <= LONGEST_ALL_TO_ALL {
        return Ok(dim);
    }
    let total = dim.weight.checked_mul(u64::from(dim.size - 1)).ok_or(too_much(group))?;
    Ok(Dim { pattern: Pattern::Ring, weight: total.div_ceil(2), ..dim })
}

fn from_grid(layout: &Layout, share: u32, dims: Vec<Dim>) -> Result<SlotGraph, SlotsError> {
    let slots = layout.ranks() / share;
    let per_slot: usize = dims
        .iter()
        .map(|dim| match dim.pattern {
            Pattern::Ring | Pattern::Chain => 2,
            Pattern::Tree => 3,
            Pattern::AllToAll => dim.size as usize - 1,
        })
        .sum();
    if per_slot * slots as usize > MAX_EDGES * 2 {
        return Err(SlotsError::Edges);
    }
    let mut starts = Vec::with_capacity(slots as usize + 1);
    let mut edges = Vec::with_capacity(per_slot * slots as usize);
    let mut coords = Vec::with_capacity(dims.len() * slots as usize);
    let mut place = vec![0u32; dims.len()];
    starts.push(0);
    for slot in 0..slots {
        let mut stride = 1;
        for (dim, at) in dims.iter().zip(&place) {
            neighbours(dim, *at, |other, weight| {
                edges.push(Edge { to: slot - at * stride + other * stride, kind: dim.kind, weight });
            });
            stride *= dim.size;
        }
        starts.push(u32::try_from(edges.len()).map_err(|_| SlotsError::Edges)?);
        coords.extend_from_slice(&place);
        for (dim, at) in dims.iter().zip(&mut place) {
            *at += 1;
            if *at < dim.size {
                break;
            }
            *at = 0;
        }
    }
    let mut graph = SlotGraph {
        slots,
        kinds: layout.groups().iter().map(|group| group.kind.clone()).collect(),
        within: layout.groups().iter().map(|group| group.within).collect(),
        inside: Vec::new(),
        dims,
        coords,
        whole: true,
        starts,
        edges,
    };
    if graph.edges.iter().any(|edge| edge.weight == u64::MAX) {
        return Err(SlotsError::Edges);
    }
    graph.inside = inside(layout, &graph);
    Ok(graph)
}

/// Members of a line that member `at` talks to, and how much.
fn neighbours(dim: &Dim, at: u32, mut each: impl FnMut(u32, u64)) {
    let (size, weight) = (dim.size, dim.weight);
    match dim.pattern {
        // Both edges of a ring of two join the same pair.
        Pattern::Ring if size == 2 => each(1 - at, weight.saturating_mul(2)),
        Pattern::Ring => {
            each(if at == 0 { size - 1 } else { at - 1 }, weight);
            each(if at + 1 == size { 0 } else { at + 1 }, weight);
        }
        Pattern::Chain => {
            if at > 0 {
                each(at - 1, weight);
            }
            if at + 1 < size {
                each(at + 1, weight);
            }
        }
        Pattern::Tree => {
            if at > 0 {
                each((at - 1) / 2, weight);
            }
            (2 * at + 1..=2 * at + 2).filter(|child| *child < size).for_each(|child| each(child, weight));
        }
        Pattern::AllToAll => (0..size).filter(|other| *other != at).for_each(|other| each(other, weight)),
    }
}

/// Any shares: every line of ranks is walked.
pub(super) fn general(layout: &Layout, shares: &[u32]) -> Result<SlotGraph, SlotsError> {
    let slots = u32::try_from(shares.len()).map_err(|_| SlotsError::Edges)?;
    let mut slot_of = Vec::with_capacity(layout.ranks() as usize);
    for (slot, share) in (0u32..).zip(shares) {
        slot_of.extend(std::iter::repeat_n(slot, *share as usize));
    }
    let mut pairs = Vec::new();
    let mut stride = 1u32;
    for (kind, group) in layout.groups().iter().enumerate() {
        let kind = u8::try_from(kind).map_err(|_| SlotsError::Groups)?;
        let mut line = Vec::new();
        let before = pairs.len();
        for first in (0..layout.ranks()).filter(|rank| (rank / stride).is_multiple_of(group.size)) {
            line.clear();
            line.extend((0..group.size).map(|member| slot_of[(first + member * stride) as usize]));
            walk(group, &line, |a, b, weight| {
                if a != b {
                    pairs.push((a.min(b), a.max(b), kind, weight));
                }
            })?;
            if pairs.len() > MAX_EDGES {
                return Err(SlotsError::Edges);
            }
        }
        let total: u128 = pairs[before..].iter().map(|pair| u128::from(pair.3)).sum();
        if total > u128::from(u64::MAX) {
            return Err(too_much(group));
        }
        stride = stride.saturating_mul(group.size);
    }
    let (starts, edges) = compress(slots, pairs);
    let mut graph = SlotGraph {
        slots,
        kinds: layout.groups().iter().map(|group| group.kind.clone()).collect(),
        within: layout.groups().iter().map(|group| group.within).collect(),
        inside: Vec::new(),
        dims: Vec::new(),
        coords: Vec::new(),
        whole: false,
        starts,
        edges,
    };
    graph.inside = inside(layout, &graph);
    Ok(graph)
}

/// The edges of one line of ranks, each given by its slot. Slots rise along a line.
fn walk(group: &Group, line: &[u32], mut edge: impl FnMut(u32, u32, u64)) -> Result<(), SlotsError> {
    match group.pattern {
        Pattern::Ring | Pattern::Chain => {
            line.windows(2).for_each(|pair| edge(pair[0], pair[1], group.volume));
            if let (Pattern::Ring, [first, .., last]) = (group.pattern, line) {
                edge(*last, *first, group.volume);
            }
        }
        Pattern::Tree => {
            for (member, slot) in line.iter().enumerate().skip(1) {
                edge(line[(member - 1) / 2], *slot, group.volume);
            }
        }
        Pattern::AllToAll => {
            let runs: Vec<(u32, u64)> =
                line.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect();
            let volume = |a: u64, b: u64| group.volume.checked_mul(a * b).ok_or(too_much(group));
            if runs.len() > LONGEST_ALL_TO_ALL as usize {
                let squares: u64 = runs.iter().map(|(_, count)| count * count).sum();
                let members = line.len() as u64;
                let total = volume(1, (members * members - squares) / 2)?;
                let each = total.div_ceil(runs.len() as u64);
                for (at, run) in runs.iter().enumerate() {
                    edge(run.0, runs[(at + 1) % runs.len()].0, each);
                }
                return Ok(());
            }
            for (at, (a, here)) in runs.iter().enumerate() {
                for (b, there) in &runs[at + 1..] {
                    edge(*a, *b, volume(*here, *there)?);
                }
            }
        }
    }
    Ok(())
}

/// What of each kind's volume is not between slots.
fn inside(layout: &Layout, graph: &SlotGraph) -> Vec<u128> {
    let mut between = vec![0u128; layout.groups().len()];
    for edge in &graph.edges {
        between[usize::from(edge.kind)] += u128::from(edge.weight);
    }
    let of_group = |group: &Group| {
        let size = u128::from(group.size);
        let edges = match group.pattern {
            Pattern::Ring if size > 1 => size,
            Pattern::Ring => 0,
            Pattern::Chain | Pattern::Tree => size - 1,
            Pattern::AllToAll => size * (size - 1) / 2,
        };
        edges * (u128::from(layout.ranks()) / size) * u128::from(group.volume)
    };
    layout
        .groups()
        .iter()
        .zip(between)
        .map(|(group, twice)| of_group(group).saturating_sub(twice / 2))
        .collect()
}
