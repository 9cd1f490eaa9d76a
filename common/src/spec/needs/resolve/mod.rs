//! From what was written to what is needed, with the checks that take more than one value.

mod devices;
mod elastic;
mod groups;
mod limits;

use super::{Elastic, Parallelism, PlacementSpec, Resources};
use crate::spec::error::Problem;
use crate::spec::file::JobFile;
use crate::spec::job::Shape;
use crate::spec::place::Given;

/// What a job needs.
#[derive(Debug)]
pub(in crate::spec) struct Needs {
    pub(in crate::spec) resources: Resources,
    pub(in crate::spec) parallelism: Parallelism,
    pub(in crate::spec) placement: PlacementSpec,
    pub(in crate::spec) elastic: Option<Elastic>,
}

impl JobFile {
    /// What a job of this shape needs.
    ///
    /// # Errors
    /// All that cannot be, at most one problem of groups: what else is wrong with them follows from it.
    pub(in crate::spec) fn resolve_needs(&self, shape: Shape) -> Result<Needs, Vec<Problem>> {
        let mut problems = Vec::new();
        let resources = kept(self.resolve_resources(shape.ranks()), &mut problems);
        let parallelism = kept(self.resolve_parallelism(shape.ranks()), &mut problems);
        let placement = self.resolve_placement(shape, parallelism.as_ref(), &mut problems);
        let replica = parallelism.as_ref().map_or(1, Parallelism::replica);
        let elastic = kept(self.resolve_elastic(shape.ranks(), replica), &mut problems);
        match (resources, parallelism, elastic) {
            (Some(resources), Some(parallelism), Some(elastic)) if problems.is_empty() => {
                Ok(Needs { resources, parallelism, placement, elastic })
            }
            _ => Err(problems),
        }
    }
}

fn kept<T>(result: Result<T, Box<Problem>>, problems: &mut Vec<Problem>) -> Option<T> {
    result.map_err(|problem| problems.push(*problem)).ok()
}

fn value<T: Clone>(given: &Option<Given<T>>) -> Option<T> {
    given.as_ref().map(|given| given.value.clone())
}
