//! Which node somebody means.

use phalanx_common::id::NodeId;

/// A name that means no one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved<'a> {
    Nobody,
    /// The first two of those that it may be.
    Several(&'a str, &'a str),
}

/// The node of that name or id, else the only one whose name or id begins so.
pub(crate) fn resolve<'a>(
    nodes: impl Iterator<Item = (&'a str, Option<&'a NodeId>)> + Clone,
    meant: &str,
) -> Result<&'a str, Unresolved<'a>> {
    let id = |id: Option<&'a NodeId>| id.map(NodeId::as_str).unwrap_or_default();
    let by_name = nodes.clone().find(|(name, _)| *name == meant);
    let by_id = || nodes.clone().find(|(_, it)| id(*it) == meant);
    if let Some((name, _)) = by_name.or_else(by_id) {
        return Ok(name);
    }
    let mut begin = nodes.filter(|(name, it)| name.starts_with(meant) || id(*it).starts_with(meant));
    match (begin.next(), begin.next()) {
        (None, _) => Err(Unresolved::Nobody),
        (Some((only, _)), None) => Ok(only),
        (Some((first, _)), Some((second, _))) => Err(Unresolved::Several(first, second)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_meant_by_its_name_or_id_or_by_what_one_alone_begins_with() {
        let ids = ["gpu-1-0a0a0a", "gpu-10-0b0b0b", "cpu-0c0c0c"].map(NodeId::new);
        let names = ["gpu-1", "gpu-10", "cpu"];
        let nodes = names.into_iter().zip(ids.iter().map(Some)).chain([("host-7", None)]);
        let meant = |meant| resolve(nodes.clone(), meant);
        for (text, name) in [
            ("gpu-1", "gpu-1"),
            ("gpu-10", "gpu-10"),
            ("gpu-1-0a0a0a", "gpu-1"),
            ("gpu-10-0b", "gpu-10"),
            ("c", "cpu"),
            ("host", "host-7"),
        ] {
            assert_eq!(meant(text), Ok(name), "{text}");
        }
        assert_eq!(meant("gpu"), Err(Unresolved::Several("gpu-1", "gpu-10")));
        assert_eq!(meant("x"), Err(Unresolved::Nobody));
    }
}
