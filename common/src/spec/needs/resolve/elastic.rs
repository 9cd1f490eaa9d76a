//! The numbers of ranks that a job can train with.

use super::value;
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::needs::{Elastic, NeedsProblem, Parallelism};

impl Parallelism {
    /// Ranks of one replica: what dp repeats.
    pub(super) fn replica(&self) -> u64 {
        let others = self.groups.iter().filter(|group| group.kind != "dp");
        others.fold(1, |product: u64, group| product.saturating_mul(u64::from(group.size)))
    }
}

impl JobFile {
    pub(super) fn resolve_elastic(&self, ranks: u32, replica: u64) -> Result<Option<Elastic>, Box<Problem>> {
        let Some(it) = &self.elastic else { return Ok(None) };
        let refuse = |key: &str, origin, kind: NeedsProblem| {
            Err(Box::new(self.problem(&format!("elastic.{key}"), origin, kind.into())))
        };
        let Some(least) = &it.min else { return refuse("min", &it.origin, NeedsProblem::NoMin) };
        let (min, max) = (least.value, value(&it.max).unwrap_or(ranks));
        let step = value(&it.step).or(u32::try_from(replica).ok()).unwrap_or(ranks).max(1);
        let max_origin = it.max.as_ref().map_or(&least.origin, |given| &given.origin);
        let step_origin = it.step.as_ref().map_or(&least.origin, |given| &given.origin);
        if min > ranks || ranks > max {
            let (key, origin) = if min > ranks { ("min", &least.origin) } else { ("max", max_origin) };
            return refuse(key, origin, NeedsProblem::OutOfRange { min, max, ranks });
        }
        for (key, origin, count) in [("min", &least.origin, min), ("step", step_origin, step)] {
            if !u64::from(count).is_multiple_of(replica.max(1)) {
                return refuse(key, origin, NeedsProblem::PartOfReplica { count, replica });
            }
        }
        for (key, origin, end) in [("step", step_origin, ranks), ("max", max_origin, max)] {
            if !(end - min).is_multiple_of(step) {
                return refuse(key, origin, NeedsProblem::NoStep { min, step, ranks: end });
            }
        }
        Ok(Some(Elastic { min, max, step }))
    }
}
