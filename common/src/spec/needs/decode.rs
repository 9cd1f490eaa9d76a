//! From the tree of a file to the keys of what a job needs.

use std::collections::BTreeMap;

use super::keys::{
    DeviceKeys, ElasticKeys, GroupKeys, Limit, ParallelismKeys, PlacementKeys, ResourceKeys, TierKeys,
};
use super::{MAX_GROUPS, NeedsProblem, Parallelism, read};
use crate::defaults::MAX_NODES;
use crate::label;
use crate::spec::decoder::Decoder;
use crate::spec::file::Text;
use crate::spec::keys;
use crate::spec::place::{Given, Origin};
use crate::spec::problem::Expected;
use crate::spec::read::{Scalar, Style, boolean, choice};
use crate::yaml::{Node, Value};

impl Decoder<'_> {
    pub(in crate::spec) fn resources(&mut self, node: &Node) -> ResourceKeys {
        let mut it = ResourceKeys::default();
        for (key, node) in self.mapping("resources", node, "keys such as `cpus: 8`").unwrap_or_default() {
            let path = format!("resources.{}", key.text);
            match key.text.as_str() {
                "devices" => it.devices = Some(self.devices(node)),
                "cpus" => it.cpus = self.scalar(&path, node, read::cpus),
                "memory" => it.memory = self.scalar(&path, node, read::memory),
                "memoryLimit" => it.memory_limit = self.scalar(&path, node, read::memory),
                "nics" => it.nics = self.scalar(&path, node, read::nics),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::RESOURCES);
                    self.unknown(key, Some("resources"), nearest, keys::RESOURCES);
                }
            }
        }
        it
    }

    fn devices(&mut self, node: &Node) -> DeviceKeys {
        let mut it = DeviceKeys::default();
        let within = "resources.devices";
        for (key, node) in self.mapping(within, node, "keys such as `count: 1`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "kind" => it.kind = self.scalar(&path, node, choice),
                "count" => it.count = self.scalar(&path, node, read::device_count),
                "model" => it.model = self.scalar(&path, node, read::model),
                "memory" => it.memory = self.scalar(&path, node, read::memory),
                "mig" => it.mig = self.scalar(&path, node, read::mig),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::DEVICES);
                    self.unknown(key, Some(within), nearest, keys::DEVICES);
                }
            }
        }
        it
    }

    pub(in crate::spec) fn parallelism(&mut self, node: &Node) -> ParallelismKeys {
        let mut it = ParallelismKeys::default();
        for (key, node) in self.mapping("parallelism", node, "sizes such as `tp: 8`").unwrap_or_default() {
            let path = format!("parallelism.{}", key.text);
            match key.text.as_str() {
                "order" => it.order = self.list(&path, node, MAX_GROUPS, "kinds of groups", read::kind),
                "groups" => self.groups(&mut it, &path, node),
                kind if Parallelism::KINDS.contains(&kind) => {
                    let size = self.scalar(&path, node, read::ranks);
                    self.group(&mut it, kind, GroupKeys { size, ..GroupKeys::at(Origin::File(key.span)) });
                }
                _ => {
                    let nearest = |name: &str| read::nearest_of(name, keys::PARALLELISM);
                    self.unknown(key, Some("parallelism"), nearest, keys::PARALLELISM);
                }
            }
        }
        it
    }

    fn groups(&mut self, into: &mut ParallelismKeys, within: &str, node: &Node) {
        for (key, node) in self.mapping(within, node, "groups such as `dp: {size: 2}`").unwrap_or_default() {
            let scalar = Scalar { text: &key.text, style: Style::Quoted };
            let Ok(kind) =
                read::kind(scalar).map_err(|kind| self.problem(key.span, Some(within.into()), kind))
            else {
                continue;
            };
            let path = format!("{within}.{kind}");
            let mut group = GroupKeys::at(Origin::File(key.span));
            match &node.value {
                Value::Scalar { .. } => group.size = self.scalar(&path, node, read::ranks),
                Value::Mapping(_) => self.group_keys(&mut group, &path, node),
                Value::List(_) => self.expected(&path, node, Expected::Group),
            }
            self.group(into, &kind, group);
        }
    }

    fn group_keys(&mut self, group: &mut GroupKeys, within: &str, node: &Node) {
        for (key, node) in self.mapping(within, node, "").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "size" => group.size = self.scalar(&path, node, read::ranks),
                "pattern" => group.pattern = self.scalar(&path, node, choice),
                "volume" => group.volume = self.scalar(&path, node, read::volume),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::GROUP);
                    self.unknown(key, Some("a group"), nearest, keys::GROUP);
                }
            }
        }
    }

    fn group(&mut self, into: &mut ParallelismKeys, kind: &str, group: GroupKeys) {
        let Origin::File(span) = group.origin else { return };
        match into.groups.get(kind).map(|first| &first.origin) {
            Some(Origin::File(first)) => {
                let kind = NeedsProblem::GroupTwice { kind: kind.into(), first: self.place(*first) };
                self.problem(span, None, kind.into());
            }
            _ if into.groups.len() >= MAX_GROUPS => {
                self.problem(span, None, NeedsProblem::TooManyGroups.into());
            }
            _ => {
                into.groups.insert(kind.to_owned(), group);
            }
        }
    }

    pub(in crate::spec) fn placement(&mut self, node: &Node) -> PlacementKeys {
        let mut it = PlacementKeys::default();
        let of = "keys such as `require: {all: leaf}`";
        for (key, node) in self.mapping("placement", node, of).unwrap_or_default() {
            let path = format!("placement.{}", key.text);
            match key.text.as_str() {
                "require" => it.require = self.tiers(&path, node),
                "prefer" => it.prefer = self.tiers(&path, node),
                "spares" => it.spares = self.scalar(&path, node, read::spares),
                "spread" => it.spread = self.scalar(&path, node, read::tier_of_spread),
                "nodeSelector" => it.node_selector = self.selector(&path, node),
                "nodes" => it.nodes = self.nodes(&path, node),
                "avoid" => it.avoid = self.nodes(&path, node),
                "exclusive" => it.exclusive = self.scalar(&path, node, choice),
                "uneven" => it.uneven = self.scalar(&path, node, boolean),
                "mixed" => it.mixed = self.scalar(&path, node, boolean),
                "deviceView" => it.device_view = self.scalar(&path, node, choice),
                "memoryBinding" => it.memory_binding = self.scalar(&path, node, choice),
                "cpuBinding" => it.cpu_binding = self.scalar(&path, node, choice),
                "ncclTopology" => it.nccl_topology = self.scalar(&path, node, boolean),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::PLACEMENT);
                    self.unknown(key, Some("placement"), nearest, keys::PLACEMENT);
                }
            }
        }
        it
    }

    fn tiers(&mut self, within: &str, node: &Node) -> TierKeys {
        let mut tiers = BTreeMap::new();
        for (key, node) in self.mapping(within, node, "tiers such as `all: leaf`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            let tier = match key.text.as_str() {
                read::ALL => self.scalar(&path, node, read::tier_of_all),
                kind if read::is_kind(kind) => self.scalar(&path, node, read::tier_of_group),
                kind => {
                    let scalar = Scalar { text: kind, style: Style::Quoted };
                    if let Err(kind) = read::kind(scalar) {
                        self.problem(key.span, Some(within.into()), kind);
                    }
                    None
                }
            };
            let Some(tier) = tier else { continue };
            if tiers.len() > MAX_GROUPS {
                self.problem(key.span, Some(within.into()), NeedsProblem::TooManyGroups.into());
                break;
            }
            tiers.insert(key.text.clone(), Limit { origin: Origin::File(key.span), tier });
        }
        TierKeys(tiers)
    }

    fn selector(&mut self, within: &str, node: &Node) -> BTreeMap<String, Given<Text>> {
        let mut labels = BTreeMap::new();
        for (key, node) in self.mapping(within, node, "labels such as `pool: a`").unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            if labels.len() >= label::MOST {
                let kind = NeedsProblem::Label(label::Error::TooMany(labels.len() + 1));
                self.problem(key.span, Some(within.into()), kind.into());
                break;
            }
            match label::is_name(&key.text) {
                true => {
                    let value = self.scalar(&path, node, read::label_value);
                    labels.extend(value.map(|value| (key.text.clone(), value)));
                }
                false => {
                    let kind = NeedsProblem::Label(label::Error::Characters(crate::text::shown(&key.text)));
                    self.problem(key.span, Some(within.into()), kind.into());
                }
            }
        }
        labels
    }

    fn nodes(&mut self, path: &str, node: &Node) -> Option<Given<Vec<Given<String>>>> {
        self.list(path, node, MAX_NODES as usize, "nodes", read::node)
    }

    /// A list of at least one and at most `most` scalars.
    pub(in crate::spec) fn elastic(&mut self, origin: Origin, node: &Node) -> ElasticKeys {
        let mut it = ElasticKeys { min: None, max: None, step: None, origin };
        for (key, node) in self.mapping("elastic", node, "keys such as `min: 8`").unwrap_or_default() {
            let path = format!("elastic.{}", key.text);
            match key.text.as_str() {
                "min" => it.min = self.scalar(&path, node, read::ranks),
                "max" => it.max = self.scalar(&path, node, read::ranks),
                "step" => it.step = self.scalar(&path, node, read::ranks),
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::ELASTIC);
                    self.unknown(key, Some("elastic"), nearest, keys::ELASTIC);
                }
            }
        }
        it
    }
}

impl GroupKeys {
    /// A group of which nothing is known but where its kind was written.
    pub(super) fn at(origin: Origin) -> GroupKeys {
        GroupKeys { size: None, pattern: None, volume: None, origin }
    }
}
