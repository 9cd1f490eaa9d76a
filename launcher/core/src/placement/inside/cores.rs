//! Cores in the order in which ranks get them: by NUMA node, then last-level cache, then number.

use std::collections::BTreeMap;

use phalanx_common::topology::machine::{CpuSet, Machine, NumaNode};

/// Most groups of a model: they are bits of a mask. What is beyond is left out.
pub(super) const MAX_GROUPS: usize = 64;

/// A set of cores, by their rows in the model.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cores {
    words: Vec<u64>,
}

impl Cores {
    /// None of `count` cores.
    pub fn none(count: u32) -> Cores {
        Cores { words: vec![0; count.div_ceil(64) as usize] }
    }

    /// All of `count` cores.
    pub fn all(count: u32) -> Cores {
        let mut cores = Cores::none(count);
        (0..count).for_each(|row| cores.insert(row));
        cores
    }

    pub fn contains(&self, row: u32) -> bool {
        self.words.get((row / 64) as usize).is_some_and(|word| word >> (row % 64) & 1 == 1)
    }

    /// Adds a core. A row beyond the count that the set was made for is left out.
    pub fn insert(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut((row / 64) as usize) {
            *word |= 1 << (row % 64);
        }
    }

    /// Takes a core out.
    pub fn take_one(&mut self, row: u32) {
        if let Some(word) = self.words.get_mut((row / 64) as usize) {
            *word &= !(1 << (row % 64));
        }
    }

    pub fn len(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        (0u32..).step_by(64).zip(&self.words).flat_map(|(base, word)| {
            let mut bits = *word;
            std::iter::from_fn(move || {
                let bit = (bits != 0).then(|| bits.trailing_zeros())?;
                bits &= bits - 1;
                Some(base + bit)
            })
        })
    }

    pub fn is_subset(&self, other: &Cores) -> bool {
        let theirs = other.words.iter().copied().chain(std::iter::repeat(0));
        self.words.iter().zip(theirs).all(|(mine, theirs)| mine & !theirs == 0)
    }

    pub fn is_disjoint(&self, other: &Cores) -> bool {
        self.words.iter().zip(&other.words).all(|(a, b)| a & b == 0)
    }

    pub(super) fn add(&mut self, other: &Cores) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine |= theirs);
    }

    pub(super) fn remove(&mut self, other: &Cores) {
        self.words.iter_mut().zip(&other.words).for_each(|(mine, theirs)| *mine &= !theirs);
    }

    /// How many are in the set of a range of rows.
    pub(super) fn count(&self, rows: Rows) -> u32 {
        words(rows)
            .map(|(word, mask)| self.words.get(word).map_or(0, |bits| (bits & mask).count_ones()))
            .sum()
    }

    /// Moves the first `most` of a range of rows to another set.
    pub(super) fn give(&mut self, rows: Rows, most: u32, to: &mut Cores) -> u32 {
        let mut given = 0;
        for (word, mask) in words(rows) {
            let Some(bits) = self.words.get_mut(word) else { continue };
            let mut here = *bits & mask;
            let mut moved = 0u64;
            while here != 0 && given < most {
                moved |= here & here.wrapping_neg();
                here &= here - 1;
                given += 1;
            }
            *bits &= !moved;
            to.words[word] |= moved;
        }
        given
    }
}

/// The words that a range of rows is in, and its part of each.
fn words(rows: Rows) -> impl Iterator<Item = (usize, u64)> {
    let (start, end) = (rows.start, rows.end.max(rows.start));
    (start / 64..end.div_ceil(64)).map(move |word| {
        let base = word * 64;
        let from = start.max(base) - base;
        let to = end.min(base + 64) - base;
        let below = if to == 64 { u64::MAX } else { (1 << to) - 1 };
        (word as usize, below & (u64::MAX << from))
    })
}

/// A NUMA node with CPUs that ranks may use.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Group {
    /// As the kernel counts; `None` for the cores of a machine that says nothing of NUMA nodes.
    pub numa: Option<u32>,
    /// Rows of its cores.
    pub cores: Rows,
    /// Rows of the cores that share a last-level cache, in order; one of all cores where that is not known.
    pub l3: Vec<Rows>,
    /// Memory in GiB, rounded down, as machines of one kind have it in common.
    pub memory_gib: u64,
    /// Rows of all groups, the nearest first, itself at the head.
    pub nearest: Vec<u8>,
}

impl Group {
    /// The rows of its cores.
    pub fn rows(&self) -> std::ops::Range<u32> {
        self.cores.start..self.cores.end
    }
}

/// A range of rows, the end excluded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Rows {
    pub start: u32,
    pub end: u32,
}

/// The CPUs of a machine that ranks may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Layout {
    /// The nodes with CPUs by their number, at most [`MAX_GROUPS`].
    pub(super) groups: Vec<Group>,
    /// The hardware threads of all cores, core by core, and where those of each core end.
    cpus: Vec<u32>,
    ends: Vec<u32>,
    /// Hardware threads that every core has at least. A control group that cuts cores in halves makes it less.
    pub(super) threads: u32,
}

/// Order of a core: NUMA node (none last), cache, first CPU.
type Place = (bool, u32, u32, u32);

impl Layout {
    /// Without CPUs that the machine's control group refuses, and without every core of which a thread is reserved:
    /// threads of one core share what it computes with.
    pub(super) fn of(machine: &Machine, reserved: &CpuSet) -> Layout {
        let numa = nodes(machine);
        let mut cores = by_place(machine, reserved, &numa);
        let mut layout = Layout { threads: u32::MAX, ..Layout::default() };
        cores.sort_unstable_by_key(|(place, _)| *place);
        let mut last: Option<Place> = None;
        for (place, cpus) in cores {
            let row = layout.ends.len() as u32;
            let (same_node, same_cache) = match last {
                Some(last) => ((last.0, last.1) == (place.0, place.1), last.2 == place.2),
                None => (false, false),
            };
            if !same_node {
                if layout.groups.len() == MAX_GROUPS {
                    break;
                }
                let id = (!place.0).then_some(place.1);
                let memory = id.and_then(|id| machine.numa.get(&id)).and_then(|node| node.memory_bytes);
                layout.groups.push(Group {
                    numa: id,
                    cores: Rows { start: row, end: row },
                    l3: Vec::new(),
                    memory_gib: memory.unwrap_or(0) >> 30,
                    nearest: Vec::new(),
                });
            }
            let Some(group) = layout.groups.last_mut() else { break };
            if !(same_node && same_cache) {
                group.l3.push(Rows { start: row, end: row });
            }
            group.cores.end = row + 1;
            if let Some(cache) = group.l3.last_mut() {
                cache.end = row + 1;
            }
            layout.threads = layout.threads.min(cpus.len() as u32);
            layout.cpus.extend(cpus);
            layout.ends.push(layout.cpus.len() as u32);
            last = Some(place);
        }
        if layout.ends.is_empty() {
            layout.threads = 1;
        }
        layout.sort_neighbours(machine);
        layout
    }

    pub(super) fn cores(&self) -> u32 {
        self.ends.len() as u32
    }

    /// The hardware threads of a core; none of one that is not there.
    pub(super) fn cpus_of(&self, core: u32) -> &[u32] {
        let Some(end) = self.ends.get(core as usize) else { return &[] };
        let start =
            core.checked_sub(1).and_then(|before| self.ends.get(before as usize)).copied().unwrap_or(0);
        self.cpus.get(start as usize..*end as usize).unwrap_or_default()
    }

    fn sort_neighbours(&mut self, machine: &Machine) {
        /// Between nodes of which firmware says no distance (ACPI's default for "remote").
        const REMOTE: u32 = 20;
        let ids: Vec<Option<u32>> = self.groups.iter().map(|group| group.numa).collect();
        for (row, group) in (0u8..).zip(&mut self.groups) {
            let told = group.numa.and_then(|id| machine.numa.get(&id)).map(|node| &node.distances);
            let distance = |other: u8| {
                let to = ids.get(usize::from(other)).copied().flatten();
                told.zip(to).and_then(|(told, to)| told.get(&to).copied()).unwrap_or(REMOTE)
            };
            group.nearest = (0u8..).take(ids.len()).collect();
            group.nearest.sort_by_key(|other| (*other != row, distance(*other), *other));
        }
    }

    /// The groups that some of these CPUs are in, as a mask.
    pub(super) fn groups_of(&self, cpus: &CpuSet) -> u64 {
        let has = |group: &Group| {
            let mut rows = group.cores.start..group.cores.end;
            rows.any(|row| self.cpus_of(row).first().is_some_and(|cpu| cpus.contains(*cpu)))
        };
        self.groups
            .iter()
            .enumerate()
            .filter(|(_, group)| has(group))
            .fold(0, |mask, (row, _)| mask | 1 << row)
    }

    pub(super) fn group_of_node(&self, numa: u32) -> Option<u8> {
        (0u8..).zip(&self.groups).find(|(_, group)| group.numa == Some(numa)).map(|(row, _)| row)
    }
}

/// CPUs by NUMA node. A matrix of `nvidia-smi` knows the nodes of its devices alone.
fn nodes(machine: &Machine) -> BTreeMap<u32, CpuSet> {
    let has_cpus = |node: &&NumaNode| !node.cpus.is_empty();
    if machine.numa.values().any(|node| has_cpus(&node)) {
        let nodes = machine.numa.iter().filter(|(_, node)| has_cpus(node));
        return nodes.map(|(id, node)| (*id, node.cpus.clone())).collect();
    }
    let mut nodes: BTreeMap<u32, CpuSet> = BTreeMap::new();
    for accelerator in &machine.accelerators {
        let node = accelerator.nodes.as_ref().and_then(|nodes| nodes.iter().next());
        if let Some((node, cpus)) = node.zip(accelerator.cpus.as_ref().filter(|cpus| !cpus.is_empty())) {
            nodes.entry(node).or_insert_with(|| cpus.clone());
        }
    }
    nodes
}

/// The hardware threads of each core that ranks may use.
fn by_place(machine: &Machine, reserved: &CpuSet, numa: &BTreeMap<u32, CpuSet>) -> Vec<(Place, Vec<u32>)> {
    let known = || numa.values().fold(machine.cpus(), |all, cpus| all.union(cpus));
    let cores: Vec<Vec<u32>> = match machine.cores.is_empty() {
        true => known().iter().map(|cpu| vec![cpu]).collect(),
        false => machine.cores.iter().map(|core| core.iter().collect()).collect(),
    };
    let mut seen = CpuSet::new();
    let mut placed = Vec::with_capacity(cores.len());
    for mut core in cores {
        let Some(first) = core.first().copied() else { continue };
        // What is nonsense (a CPU of two cores) must not be given twice.
        let is_new = !core.iter().any(|cpu| seen.contains(*cpu));
        // Below the limit, as it comes out of a set.
        core.iter().for_each(|cpu| seen.insert(*cpu).unwrap_or_default());
        let is_reserved = core.iter().any(|cpu| reserved.contains(*cpu));
        if let Some(allowed) = &machine.allowed.cpus {
            core.retain(|cpu| allowed.contains(*cpu));
        }
        if !is_new || is_reserved || core.is_empty() {
            continue;
        }
        let node = numa.iter().find(|(_, cpus)| cpus.contains(first)).map(|(id, _)| *id);
        let cache = machine.l3.iter().position(|cache| cache.contains(first));
        let cache = cache.map_or(u32::MAX, |row| row as u32);
        placed.push(((node.is_none(), node.unwrap_or(0), cache, first), core));
    }
    placed
}
