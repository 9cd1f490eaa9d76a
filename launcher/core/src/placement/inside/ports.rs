//! The network ports of each rank.

use phalanx_common::topology::machine::PathType;

use super::model::{LEVELS, NodeModel, rows_of};

/// A port that a rank's traffic to other nodes takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RankPort {
    /// A row of the model.
    pub port: u8,
    /// From the rank's nearest device (from its cores where it has none); `None` where no path is known.
    pub path: Option<PathType>,
    /// The port that would be nearest is down or missing: others of this model have one nearer.
    pub farther: bool,
}

/// The level at which a device has its nearest ports among `up`, and these.
pub(super) fn nearest(near: &[u64; LEVELS], up: u64) -> Option<(usize, u64)> {
    near.iter().map(|level| level & up).enumerate().find(|(_, ports)| *ports != 0)
}

/// What ranks ask of ports.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// Ports that work and that jobs may use.
    pub(super) up: u64,
    /// How many each rank takes; 0 for those that are equally near, without picking.
    pub(super) each: u32,
}

/// Hands out ports rank by rank; of those that are equally near the one that fewer ranks of the pod have.
pub(super) struct Hand<'a> {
    model: &'a NodeModel,
    asked: Asked,
    /// The level of the nearest port that any device has where all are up.
    usual: usize,
    used: Vec<u32>,
}

impl<'a> Hand<'a> {
    pub(super) fn new(model: &'a NodeModel, asked: Asked) -> Hand<'a> {
        let levels = model.devices().iter().filter_map(|device| nearest(&device.near, model.job_ports()));
        let usual = levels.map(|(level, _)| level).min().unwrap_or(LEVELS);
        Hand { model, asked, usual, used: vec![0; model.ports().len()] }
    }

    /// For a rank with these devices, or with cores in these groups where it has none.
    pub(super) fn next(&mut self, devices: &[u8], groups: u64) -> Vec<RankPort> {
        let devices = || devices.iter().filter_map(|row| self.model.devices().get(usize::from(*row)));
        let has_devices = devices().next().is_some();
        let level_of = |port: usize| match has_devices {
            true => devices()
                .filter_map(|device| device.near.iter().position(|level| level >> port & 1 == 1))
                .min()
                .unwrap_or(LEVELS - 1),
            false => match self.model.ports()[port].group {
                Some(group) if groups >> group & 1 == 1 => PathType::Node as usize,
                Some(_) => PathType::Sys as usize,
                None => LEVELS - 1,
            },
        };
        let mut ports: Vec<(usize, u32, usize)> =
            rows_of(self.asked.up).map(|port| (level_of(port), self.used[port], port)).collect();
        ports.sort_unstable();
        if self.asked.each > 0 {
            ports.truncate(self.asked.each as usize);
        } else if has_devices {
            let nearest = devices().filter_map(|device| nearest(&device.near, self.asked.up));
            let all = nearest.fold(0, |all, (_, mask)| all | mask);
            ports.retain(|(_, _, port)| all >> port & 1 == 1);
        } else {
            let first = ports.first().map(|(level, ..)| *level);
            ports.retain(|(level, ..)| Some(*level) == first);
        }
        ports.sort_unstable_by_key(|(level, _, port)| (*level, *port));
        for (_, _, port) in &ports {
            self.used[*port] += 1;
        }
        let farther = |level: usize| has_devices && level > self.usual;
        ports
            .into_iter()
            .map(|(level, _, port)| RankPort {
                port: port as u8,
                path: PathType::ALL.get(level).copied(),
                farther: farther(level),
            })
            .collect()
    }
}
