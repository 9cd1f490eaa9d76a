//! The placement of Phalanx.

use std::collections::BTreeSet;

use super::{Ask, Cluster, Pattern, Policy};
use crate::placement::across::{Need, choose};
use crate::placement::fabric::{NodeRow, ROOT};
use crate::placement::free::Class;
use crate::placement::supply::Supply;

/// Which domains give how many nodes by [`choose`], in them the nodes with the least left over, and of the pattern the order that
/// costs least.
#[derive(Clone, Debug, Default)]
pub struct Ours {}

impl Policy for Ours {
    fn choose(&mut self, cluster: &Cluster<'_>, ask: &Ask) -> Option<Vec<NodeRow>> {
        let fabric = cluster.fabric();
        let mode: u32 = std::env::var("MODE").ok().and_then(|m| m.parse().ok()).unwrap_or(0);
        let wmode: u32 = std::env::var("WMODE").ok().and_then(|m| m.parse().ok()).unwrap_or(0);
        let per = cluster.per_node();
        if mode > 0 && ask.nodes == 1 {
            let c = |d, k| cluster.with(d, k);
            let ks: Vec<u32> = if ask.gpus < per { (ask.gpus..per).collect() } else { vec![] };
            if mode == 1 || mode == 2 || mode == 5 {
                // tightest
                for k in ks {
                    let exact = |d| c(d, k) - c(d, k + 1);
                    if exact(ROOT) > 0 {
                        let leaf = fabric.level(0).filter(|d| exact(*d) > 0).min_by_key(|d| match mode { 1 => (0, *d), 2 => (c(*d, per), *d), _ => (c(fabric.domain(*d).parent, per) * 100 + c(*d, per), *d) }).unwrap();
                        return fabric.domain(leaf).nodes.clone().find(|n| cluster.free_on(*n) == k).map(|n| vec![n]);
                    }
                }
            } else if mode == 3 || mode == 4 {
                // first partial
                let leaf = fabric.level(0).filter(|d| c(*d, ask.gpus) > c(*d, per)).min_by_key(|d| if mode == 3 { (0, *d) } else { (c(*d, per), *d) });
                if let Some(leaf) = leaf.filter(|_| ask.gpus < per) {
                    return fabric.domain(leaf).nodes.clone().filter(|n| (ask.gpus..per).contains(&cluster.free_on(*n))).min_by_key(|n| if mode == 3 { 0 } else { cluster.free_on(*n) }).map(|n| vec![n]);
                }
            } else if mode >= 300 {
                let mut sum = 0;
                let leaves = fabric.level(0).filter(|d| c(*d, ask.gpus) > c(*d, per)).take_while(|d| { let go = sum < mode - 300; sum += c(*d, ask.gpus) - c(*d, per); go });
                let found = leaves.flat_map(|d| fabric.domain(d).nodes.clone()).filter(|n| (ask.gpus..per).contains(&cluster.free_on(*n))).min_by_key(|n| (cluster.free_on(*n), *n));
                if let Some(n) = found { return Some(vec![n]); }
            } else if mode >= 200 {
                let leaves = fabric.level(0).filter(|d| c(*d, ask.gpus) > c(*d, per)).take(mode as usize - 200);
                let found = leaves.flat_map(|d| fabric.domain(d).nodes.clone()).filter(|n| (ask.gpus..per).contains(&cluster.free_on(*n))).min_by_key(|n| (cluster.free_on(*n), *n));
                if let Some(n) = found { return Some(vec![n]); }
            } else if mode >= 100 {
                let found = (0..fabric.nodes().len() as u32).filter(|n| (ask.gpus..per).contains(&cluster.free_on(*n))).take(mode as usize - 100).min_by_key(|n| (cluster.free_on(*n), *n));
                if let Some(n) = found { return Some(vec![n]); }
            } else if mode >= 7 && ask.gpus < per {
                let partial = |d: u32| c(d, ask.gpus) > c(d, per);
                let tight = |d: u32| (ask.gpus..per).find(|k| c(d, *k) > c(d, *k + 1)).unwrap_or(99);
                let leaf = fabric.level(0).filter(|d| partial(*d)).min_by_key(|d| match mode {
                    7 => (cluster.free_in(*d) as u32, 0, *d),
                    8 => (0, 0, *d),
                    9 => (if tight(*d) <= ask.gpus { 0 } else { 1 }, c(*d, per), *d),
                    10 => (tight(*d), cluster.free_in(*d) as u32, *d),
                    11 => (c(*d, per), tight(*d), *d),
                    12 => (c(*d, per), cluster.free_in(*d) as u32, *d),
                    13 => (c(*d, per), 1000 - (c(*d, 1) - c(*d, per)), *d),
                    _ => (c(*d, per) + tight(*d), 0, *d),
                });
                if let Some(leaf) = leaf {
                    let k = tight(leaf);
                    return fabric.domain(leaf).nodes.clone().find(|n| cluster.free_on(*n) == k).map(|n| vec![n]);
                }
            } else if mode == 6 {
                // first fit in tree order
                let leaf = fabric.level(0).find(|d| c(*d, ask.gpus) > 0)?;
                return fabric.domain(leaf).nodes.clone().find(|n| cluster.free_on(*n) >= ask.gpus).map(|n| vec![n]);
            }
        }
        if wmode > 0 {
            let c = |d: u32| cluster.with(d, ask.gpus);
            let holds = |d: &u32| c(*d) >= ask.nodes;
            let up = |d: u32| fabric.domain(d).parent;
            let leaf = fabric.level(0).filter(holds).min_by_key(|d| match wmode { 1 => (c(*d) * 1000 + c(up(*d)), *d), 2 => (c(up(*d)) * 100 + c(*d), *d), 3 => (c(*d) * 1000 + up(*d), *d), _ => (0, *d) });
            if let Some(leaf) = leaf {
                return Some(fabric.domain(leaf).nodes.clone().filter(|n| cluster.free_on(*n) >= ask.gpus).take(ask.nodes as usize).collect());
            }
        }
        let supply = Supply::indexed(fabric, cluster.free(), Class::Devices, ask.gpus, BTreeSet::new());
        let need = Need { nodes: ask.nodes, within: fabric.depth(), unit: None, spread: None };
        let chosen = choose(&supply, &need).ok()?;
        let mut nodes = Vec::with_capacity(ask.nodes as usize);
        for share in chosen.shares {
            let mut here: Vec<NodeRow> = supply.of(share.domain).collect();
            here.sort_by_key(|node| cluster.free_on(*node));
            nodes.extend(here.into_iter().take(share.nodes as usize));
        }
        nodes.sort_unstable();
        Some(nodes)
    }
}
