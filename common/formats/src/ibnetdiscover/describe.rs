//! What a NodeDescription tells.

/// A host and its adapter, from a description such as `n1 HCA-1` or `n1 mlx5_0`. The adapter is `None` where
/// the description is the host's name alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Host<'a> {
    pub(super) name: &'a str,
    pub(super) adapter: Option<&'a str>,
}

/// `None`: the description is the model, as adapters have it before a host gives them a name.
pub(super) fn host(description: &str) -> Option<Host<'_>> {
    let mut words = description.split_whitespace();
    let name = words.next()?;
    let adapter = words.next();
    let unnamed = words.next().is_some() || is_model(name);
    let is_adapter = |word: &str| word.ends_with(|c: char| c.is_ascii_digit());
    (!unnamed && adapter.is_none_or(is_adapter)).then_some(Host { name, adapter })
}

/// `MT4129`, `MT25408` and the like.
fn is_model(word: &str) -> bool {
    word.strip_prefix("MT").is_some_and(|rest| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit()))
}

/// An adapter that serves its switch (in-network reduction) and belongs to no host.
pub(super) fn is_aggregation(description: &str) -> bool {
    description.contains("Aggregation Node")
}

/// The name of a switch: the system name in `MF0;name:MQM9701/U1`, else the description if it is one word;
/// several words are a model, which many switches share.
pub(super) fn switch(description: &str) -> Option<&str> {
    let inner = description.split_once(';').map_or(description, |(_, name)| name);
    let name = if inner.len() < description.len() {
        inner.rsplit_once(':').map_or(inner, |(name, _)| name)
    } else {
        inner
    };
    let one_word = !name.is_empty() && !name.contains(char::is_whitespace);
    one_word.then_some(name)
}

/// The adapter's place among its host's: `HCA-5` is 4, `mlx5_4` and `qib4` are 4. Names that tell a PCI
/// address (`ibp24s0`) tell no place.
pub(super) fn index(adapter: &str) -> Option<u16> {
    if let Some(number) = adapter.strip_prefix("HCA-") {
        return number.parse::<u16>().ok()?.checked_sub(1);
    }
    let number = match adapter.rsplit_once('_') {
        Some((_, number)) => number,
        None => adapter.trim_start_matches(|c: char| c.is_ascii_alphabetic()),
    };
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_told_from_models() {
        for (description, name, adapter) in [
            ("a08-p1-dgx-04-c01 mlx5_5", "a08-p1-dgx-04-c01", Some("mlx5_5")),
            ("compute-00-01 HCA-1", "compute-00-01", Some("HCA-1")),
            ("miriel066 qib0", "miriel066", Some("qib0")),
            ("n1.cluster.example", "n1.cluster.example", None),
        ] {
            assert_eq!(host(description), Some(Host { name, adapter }), "{description}");
        }
        for model in [
            "MT4129 ConnectX7   Mellanox Technologies",
            "MT23108 InfiniHost Mellanox Technologies",
            "MT25408",
            "Mellanox Technologies Aggregation Node",
            "Quantum Mellanox",
            "",
        ] {
            assert_eq!(host(model), None, "{model}");
        }
    }

    #[test]
    fn the_two_ways_to_number_adapters_agree() {
        assert_eq!((index("HCA-5"), index("mlx5_4"), index("qib4")), (Some(4), Some(4), Some(4)));
        for unnumbered in ["HCA-0", "HCA-", "ibp24s0", "mlx5_bond", "HCA-99999999"] {
            assert_eq!(index(unnumbered), None, "{unnumbered}");
        }
    }

    #[test]
    fn the_name_of_a_switch_is_without_its_module_and_model() {
        assert_eq!(switch("MF0;A09-P1-IBLEAF-04-04:MQM9701/U1"), Some("A09-P1-IBLEAF-04-04"));
        assert_eq!(switch("ibedge02"), Some("ibedge02"));
        assert_eq!(switch("ISR9024 Voltaire"), None);
        assert_eq!(switch("MT43132 Mellanox Technologies"), None);
    }
}
