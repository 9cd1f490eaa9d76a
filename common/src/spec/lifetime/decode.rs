//! From the tree of a file to the keys of how long a job lasts.

use super::MAX_SUCCESS_RULES;
use super::keys::{SuccessKeys, SuccessRuleKeys};
use crate::spec::decoder::Decoder;
use crate::spec::keys;
use crate::spec::place::{Given, Origin};
use crate::spec::read::{text, whole};
use crate::yaml::Node;

impl Decoder<'_> {
    pub(in crate::spec) fn success_policy(&mut self, origin: Origin, node: &Node) -> SuccessKeys {
        let mut it = SuccessKeys { rules: None, origin };
        let within = "successPolicy";
        let of = "rules: `rules: [{succeededIndexes: \"0\"}]`";
        for (key, node) in self.mapping(within, node, of).unwrap_or_default() {
            match key.text.as_str() {
                "rules" => {
                    let path = "successPolicy.rules";
                    let of = "rules such as `{succeededIndexes: \"0\"}`";
                    let items = self.items(path, node, MAX_SUCCESS_RULES, of).unwrap_or_default();
                    let rule = |(i, item)| self.success_rule(&format!("{path}[{i}]"), item);
                    let rules = items.iter().enumerate().map(rule).collect();
                    it.rules = Some(Given::new(rules, Origin::File(node.span)));
                }
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::SUCCESS);
                    self.unknown(key, Some(within), nearest, keys::SUCCESS);
                }
            }
        }
        it
    }

    fn success_rule(&mut self, within: &str, node: &Node) -> SuccessRuleKeys {
        let origin = Origin::File(node.span);
        let mut it = SuccessRuleKeys { succeeded_indexes: None, succeeded_count: None, origin };
        let of = "keys such as `succeededIndexes: \"0\"`";
        for (key, node) in self.mapping(within, node, of).unwrap_or_default() {
            let path = format!("{within}.{}", key.text);
            match key.text.as_str() {
                "succeededIndexes" => it.succeeded_indexes = self.scalar(&path, node, text),
                "succeededCount" => {
                    it.succeeded_count = self.scalar(&path, node, |scalar| whole(scalar, 1, u32::MAX));
                }
                _ => {
                    let nearest = |name: &str| keys::nearest(name, keys::SUCCESS_RULE);
                    self.unknown(key, Some("a rule"), nearest, keys::SUCCESS_RULE);
                }
            }
        }
        it
    }
}
