//! The domains as the problem sees them: a rooted tree whose lowest domains have room for slots.

/// How far apart a domain's members are; the lower the closer. Rises on every way up.
pub type Level = u8;

/// Deepest tree that is taken: tiers of a fabric are fewer, and every distance walks a way up.
pub const MAX_DEPTH: usize = 16;
/// More domains than this are refused.
pub const MAX_DOMAINS: usize = 1 << 20;

/// A domain, as stated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Domain {
    /// Index of the domain above, lower than its own; `None` for the root, which comes first.
    pub parent: Option<u32>,
    /// Cost of carrying one unit of volume over its uplink. The root's is never used.
    pub uplink: u64,
    pub level: Level,
    /// Slots that it can take itself. Only a lowest domain has any.
    pub capacity: u32,
}

/// Domains that make no tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TreeError {
    #[error("a tree has at least one domain")]
    Empty,
    #[error("{domains} domains are more than the {MAX_DOMAINS} that can be searched")]
    TooMany { domains: usize },
    #[error("domain {domain} is the root and must be the first and the only one without a parent")]
    Root { domain: u32 },
    #[error("domain {domain} comes before its parent {parent}")]
    Order { domain: u32, parent: u32 },
    #[error("domain {domain} has not a lower level than its parent {parent}")]
    Levels { domain: u32, parent: u32 },
    #[error("domain {domain} is more than {MAX_DEPTH} levels below the root")]
    Depth { domain: u32 },
    #[error("domain {domain} has room for slots of its own and domains below it")]
    Inner { domain: u32 },
    #[error("the uplinks above domain {domain} cost more than a number can hold")]
    Cost { domain: u32 },
}

/// A checked tree. Lowest domains are called leaves here and are numbered by depth first, children in the
/// order stated: neighbours in number are neighbours in the tree.
#[derive(Clone, Debug)]
pub struct Tree {
    domains: Vec<Domain>,
    children: Vec<Vec<u32>>,
    leaves: Vec<u32>,
    /// Leaves below each domain: first and one past the last.
    spans: Vec<(u32, u32)>,
    depth: usize,
    /// For each leaf, its domain at each depth from the root; a shallow leaf repeats itself.
    ways: Vec<u32>,
    /// For each leaf and depth, cost of the way up to that domain.
    climbs: Vec<u64>,
}

impl Tree {
    pub fn new(domains: Vec<Domain>) -> Result<Self, TreeError> {
        if domains.is_empty() {
            return Err(TreeError::Empty);
        }
        if domains.len() > MAX_DOMAINS {
            return Err(TreeError::TooMany { domains: domains.len() });
        }
        let mut children = vec![Vec::new(); domains.len()];
        let mut depths = vec![0usize; domains.len()];
        let mut heights = vec![0u64; domains.len()];
        for (index, domain) in (0u32..).zip(&domains) {
            let at = index as usize;
            let Some(parent) = domain.parent else {
                if index > 0 {
                    return Err(TreeError::Root { domain: index });
                }
                continue;
            };
            if index == 0 {
                return Err(TreeError::Root { domain: index });
            }
            if parent >= index {
                return Err(TreeError::Order { domain: index, parent });
            }
            let above = parent as usize;
            if domains[above].level <= domain.level {
                return Err(TreeError::Levels { domain: index, parent });
            }
            depths[at] = depths[above] + 1;
            if depths[at] > MAX_DEPTH {
                return Err(TreeError::Depth { domain: index });
            }
            // Half of what a number holds: a distance has two ways.
            heights[at] = heights[above]
                .checked_add(domain.uplink)
                .filter(|height| *height <= u64::MAX / 4)
                .ok_or(TreeError::Cost { domain: index })?;
            children[above].push(index);
        }
        if let Some(domain) =
            (0u32..).zip(&domains).find(|(i, d)| d.capacity > 0 && !children[*i as usize].is_empty())
        {
            return Err(TreeError::Inner { domain: domain.0 });
        }
        Ok(Tree::number(domains, children, &depths, &heights))
    }

    fn number(domains: Vec<Domain>, children: Vec<Vec<u32>>, depths: &[usize], heights: &[u64]) -> Self {
        let depth = depths.iter().max().map_or(1, |deepest| deepest + 1);
        let mut tree = Tree {
            spans: vec![(0, 0); domains.len()],
            domains,
            children,
            leaves: Vec::new(),
            depth,
            ways: Vec::new(),
            climbs: Vec::new(),
        };
        let mut way = Vec::new();
        tree.visit(0, &mut way, heights);
        tree
    }

    /// Bounded recursion: no deeper than [`MAX_DEPTH`].
    fn visit(&mut self, domain: u32, way: &mut Vec<u32>, heights: &[u64]) {
        way.push(domain);
        let first = self.leaf_count();
        let children = self.children[domain as usize].clone();
        if children.is_empty() {
            self.leaves.push(domain);
            for at in 0..self.depth {
                let above = way.get(at).copied().unwrap_or(domain);
                self.ways.push(above);
                self.climbs.push(heights[domain as usize] - heights[above as usize]);
            }
        }
        for child in children {
            self.visit(child, way, heights);
        }
        self.spans[domain as usize] = (first, self.leaf_count());
        way.pop();
    }

    pub fn domains(&self) -> &[Domain] {
        &self.domains
    }

    /// Domains right below `domain`.
    pub fn children(&self, domain: u32) -> &[u32] {
        &self.children[domain as usize]
    }

    /// The domain of each leaf.
    pub fn leaves(&self) -> &[u32] {
        &self.leaves
    }

    pub fn leaf_count(&self) -> u32 {
        u32::try_from(self.leaves.len()).unwrap_or(u32::MAX)
    }

    /// Leaves below `domain`.
    pub fn leaves_below(&self, domain: u32) -> std::ops::Range<u32> {
        let (first, end) = self.spans[domain as usize];
        first..end
    }

    /// Slots that the leaf has room for.
    pub fn capacity(&self, leaf: u32) -> u32 {
        self.domains[self.leaves[leaf as usize] as usize].capacity
    }

    /// Slots that the whole tree has room for.
    pub fn room(&self) -> u64 {
        self.domains.iter().map(|domain| u64::from(domain.capacity)).sum()
    }

    /// Levels from the root down, at most.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    pub(super) fn at(&self, leaf: u32, depth: usize) -> u32 {
        self.ways[leaf as usize * self.depth + depth]
    }

    fn meet(&self, a: u32, b: u32) -> usize {
        let (a, b) = (a as usize * self.depth, b as usize * self.depth);
        (0..self.depth).rev().find(|d| self.ways[a + d] == self.ways[b + d]).unwrap_or(0)
    }

    /// Cost of carrying a unit of volume from one leaf to another; 0 within a leaf.
    pub fn distance(&self, a: u32, b: u32) -> u64 {
        if a == b {
            return 0;
        }
        let meet = self.meet(a, b);
        self.climbs[a as usize * self.depth + meet] + self.climbs[b as usize * self.depth + meet]
    }

    /// The lowest domain that holds both leaves.
    pub fn meeting(&self, a: u32, b: u32) -> u32 {
        self.at(a, self.meet(a, b))
    }

    /// The farthest domain above the leaf that is no farther than `level`, or none: the leaf itself is.
    pub fn above(&self, leaf: u32, level: Level) -> Option<u32> {
        (0..self.depth).map(|d| self.at(leaf, d)).find(|d| self.domains[*d as usize].level <= level)
    }
}
