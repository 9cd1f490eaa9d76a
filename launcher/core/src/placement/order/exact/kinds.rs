//! Domains of a small problem by kind: those of a kind may stand for each other.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::cells::{Cells, Set};
use crate::placement::order::model::{Limit, Model};
use crate::placement::order::twins::classes;

/// What is left of the children of a domain: how many of each of its kinds.
pub(super) type Left = Vec<u8>;

/// More than any cost; sums of a few of them are still numbers.
pub(super) const NEVER: i64 = i64::MAX / 8;

pub(super) struct Kind {
    pub(super) uplink: i64,
    /// Slots that it has room for.
    pub(super) room: usize,
    /// Kinds of its children, and how many of each may be used.
    pub(super) children: Vec<(usize, u8)>,
    /// For each kind of children, how many leaves there are below those of the kinds before.
    pub(super) before: Vec<usize>,
    pub(super) leaves: usize,
    /// For each slot, those that none of its children may part from it; none where every slot may be alone.
    pub(super) units: Vec<Set>,
    /// Slots that it may hold.
    pub(super) allowed: Set,
    /// The part of its uplink that also pays for walls, and what is paid for each wall below it.
    pub(super) wall: i64,
    pub(super) walls_below: i64,
    /// The least cost for each number of slots that it holds, and of that what is below.
    least: Least,
    below: Least,
}

/// Least costs by number of slots.
#[derive(Clone, Default)]
pub(super) struct Least {
    pub(super) plain: Rc<Vec<i64>>,
    /// With the walls of what is held, which is more than `plain` and the walls of all slots together.
    pub(super) walled: Rc<Vec<i64>>,
}

impl Least {
    fn nothing(room: usize) -> Least {
        Least { plain: Rc::new(vec![0; room + 1]), walled: Rc::new(vec![0; room + 1]) }
    }

    /// Of plain and walled costs, for so many slots.
    pub(super) fn of(&self, slots: usize) -> (i64, i64) {
        let of = |least: &[i64]| least.get(slots).copied().unwrap_or(NEVER);
        (of(&self.plain), of(&self.walled))
    }
}

/// What sets of each size cut at least, and what they cut with their walls.
pub(super) struct Cuts {
    pub(super) plain: Vec<i64>,
    pub(super) walled: Vec<i64>,
}

/// All kinds, each after those of its children: the root's is the last.
pub(super) struct Kinds {
    pub(super) all: Vec<Kind>,
    /// The leaves of the root, in the order in which they are numbered below a kind.
    pub(super) leaves: Vec<u32>,
    /// What children that are left cost together at least, by number of slots.
    rests: BTreeMap<(usize, Left), Least>,
}

impl Kinds {
    pub(super) fn new(model: &Model<'_>, cells: &Cells, cuts: &Cuts) -> Kinds {
        let class = classes(model);
        let walls = walls(model);
        let mut kinds = Kinds { all: Vec::new(), leaves: Vec::new(), rests: BTreeMap::new() };
        let mut known: BTreeMap<(u32, (i64, i64)), usize> = BTreeMap::new();
        // Children come after their parents.
        let key = |domain: u32| (class[domain as usize], walls[domain as usize]);
        for at in (0..model.tree.domains().len() as u32).rev() {
            if !known.contains_key(&key(at)) {
                let children = model.tree.children(at).iter().map(|child| known[&key(*child)]).collect();
                kinds.add(model, cells, (at as usize, walls[at as usize]), children, cuts);
                known.insert(key(at), kinds.root());
            }
        }
        let kind_of = |domain: u32| known[&key(domain)];
        let mut leaves = Vec::new();
        kinds.number(model, 0, &kind_of, &mut leaves);
        kinds.leaves = leaves;
        kinds
    }

    pub(super) fn root(&self) -> usize {
        self.all.len() - 1
    }

    /// The kind of a domain with children of these kinds.
    fn add(
        &mut self,
        model: &Model<'_>,
        cells: &Cells,
        (at, (wall, walls_below)): (usize, (i64, i64)),
        of: Vec<usize>,
        cuts: &Cuts,
    ) {
        let domain = &model.tree.domains()[at];
        let mut counts: BTreeMap<usize, u8> = BTreeMap::new();
        for kind in of.iter().filter(|kind| self.all[**kind].room > 0) {
            let count = counts.entry(*kind).or_insert(0);
            // No more than one for each slot is of use.
            *count = (*count + 1).min(cells.count as u8);
        }
        let (mut before, mut leaves, mut room) = (Vec::new(), 0, domain.capacity as usize);
        for (kind, count) in &counts {
            let (it, count) = (&self.all[*kind], usize::from(*count));
            before.push(leaves);
            leaves += it.leaves * count;
            room += it.room * count;
        }
        let room = room.min(cells.count);
        let limit = model.limits.iter().rfind(|limit| limit.level < domain.level);
        let units = limit.map_or_else(Vec::new, units);
        let torn = (0..).zip(&units).filter(|(_, unit)| of.is_empty() && unit.count_ones() > 1);
        let allowed = torn.fold(cells.all(), |set, (slot, _)| set & !(1 << slot));
        self.all.push(Kind {
            uplink: model.uplinks[at],
            room,
            children: counts.into_iter().collect(),
            before,
            leaves: leaves.max(1),
            units,
            allowed,
            wall,
            walls_below,
            least: Least::default(),
            below: Least::nothing(room),
        });
        let kind = self.root();
        if !self.all[kind].children.is_empty() {
            self.all[kind].below = self.rest(kind, &self.children(kind));
        }
        let it = &mut self.all[kind];
        let plain =
            it.below.plain.iter().zip(&cuts.plain).map(|(below, cut)| below.saturating_add(it.uplink * cut));
        let both = cuts.plain.iter().zip(&cuts.walled);
        let walled = it.below.walled.iter().zip(both).map(|(below, (cut, walled))| {
            below.saturating_add((it.uplink - it.wall) * cut).saturating_add(it.wall * walled)
        });
        it.least = Least { plain: Rc::new(plain.collect()), walled: Rc::new(walled.collect()) };
    }

    pub(super) fn children(&self, kind: usize) -> Left {
        self.all[kind].children.iter().map(|(_, count)| *count).collect()
    }

    /// Places and kinds of the children that are left.
    pub(super) fn open(&self, kind: usize, left: &Left) -> impl Iterator<Item = (usize, usize)> {
        let children = self.all[kind].children.iter().zip(left).enumerate();
        children.filter(|(_, (_, count))| **count > 0).map(|(at, ((child, _), _))| (at, *child))
    }

    /// Sets up to this size go to a tighter leaf that is left and whose uplink costs as much.
    pub(super) fn tighter(&self, kind: usize, left: &Left, at: usize) -> usize {
        let own = &self.all[self.all[kind].children[at].0];
        let others = self.open(kind, left).map(|(_, child)| &self.all[child]).filter(|other| {
            let are_leaves = own.children.is_empty() && other.children.is_empty();
            are_leaves && other.uplink == own.uplink && other.allowed == own.allowed && other.room < own.room
        });
        others.map(|other| other.room).max().unwrap_or(0)
    }

    /// What so many slots of a domain cost below it at least.
    pub(super) fn inner(&self, kind: usize, slots: usize) -> (i64, i64) {
        self.all[kind].below.of(slots)
    }

    /// What these children of a kind cost together at least, for each number of slots that they have room for.
    pub(super) fn rest(&mut self, kind: usize, left: &Left) -> Least {
        let Some(at) = left.iter().position(|count| *count > 0) else { return Least::nothing(0) };
        let key = (kind, left.clone());
        if let Some(known) = self.rests.get(&key) {
            return known.clone();
        }
        let mut fewer = left.clone();
        fewer[at] -= 1;
        let others = self.rest(kind, &fewer);
        let own = self.all[self.all[kind].children[at].0].least.clone();
        let most = self.all[kind].room;
        let sum = Least {
            plain: add(&others.plain, &own.plain, most),
            walled: add(&others.walled, &own.walled, most),
        };
        self.rests.insert(key, sum.clone());
        sum
    }

    /// The leaves below a domain, children of a kind next to each other and no more of them than may be used.
    fn number(&self, model: &Model<'_>, domain: u32, kind_of: &dyn Fn(u32) -> usize, leaves: &mut Vec<u32>) {
        let children = model.tree.children(domain);
        if children.is_empty() {
            leaves.push(model.tree.leaves_below(domain).start);
        }
        for (kind, count) in &self.all[kind_of(domain)].children {
            let of_kind = children.iter().filter(|child| kind_of(**child) == *kind);
            of_kind.take(usize::from(*count)).for_each(|child| self.number(model, *child, kind_of, leaves));
        }
    }
}

/// For each slot, those of its class.
fn units(limit: &Limit) -> Vec<Set> {
    let together = |class: &u32| {
        let of_class = (0..).zip(&limit.classes).filter(|(_, other)| *other == class);
        of_class.fold(0, |set: Set, (slot, _)| set | 1 << slot)
    };
    limit.classes.iter().map(together).collect()
}

/// The least sums for each number of slots up to `most`.
fn add(some: &[i64], others: &[i64], most: usize) -> Rc<Vec<i64>> {
    let room = (some.len() + others.len() - 2).min(most);
    let mut sum = vec![NEVER; room + 1];
    for (slots, some) in some.iter().enumerate() {
        for (sum, other) in sum.iter_mut().skip(slots).zip(others) {
            *sum = (*sum).min(some.saturating_add(*other));
        }
    }
    Rc::new(sum)
}

/// For each domain the part of its uplink that also pays for walls, and what is paid for each wall below it. Of the domains
/// below one all pay the same, as walls have to count the same wherever a slot goes; of what a domain pays as much as possible
/// is paid below it.
fn walls(model: &Model<'_>) -> Vec<(i64, i64)> {
    let domains = model.tree.domains();
    // What those below it can all pay; nothing of a lowest one.
    let mut most = vec![NEVER; domains.len()];
    for (at, domain) in domains.iter().enumerate().rev() {
        if model.tree.children(at as u32).is_empty() {
            most[at] = 0;
        }
        if let Some(parent) = domain.parent {
            let own = most[at].saturating_add(model.uplinks[at]);
            most[parent as usize] = most[parent as usize].min(own);
        }
    }
    let mut walls = vec![(0, most[0]); domains.len()];
    for (at, domain) in domains.iter().enumerate() {
        if let Some(parent) = domain.parent {
            let pays = walls[parent as usize].1;
            let below = most[at].min(pays);
            walls[at] = (pays - below, below);
        }
    }
    walls
}
