//! Variables whose values the submitter gives when a job is submitted: by `--secret`, or by a variable of
//! the submitter's own.

use super::error::Error;
use super::file::{JobFile, Variable};
use super::place::Given;
use super::problem::ProblemKind;
use super::read;

impl JobFile {
    /// Secret variables of the ranks, and the name each is given under.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().filter_map(|(name, given)| match &given.value {
            Variable::Secret(key) => Some((name.as_str(), key.as_str())),
            Variable::Plain(_) => None,
        })
    }

    /// Names and values of the secret variables. `given` looks a value up by the name it is given under.
    ///
    /// # Errors
    /// Every secret that is not given, or that no process can be started with, by its place.
    pub fn secret_values(
        &self,
        given: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Vec<(String, String)>, Error> {
        let (mut values, mut problems) = (Vec::new(), Vec::new());
        for (name, Given { value, origin }) in &self.env {
            let Variable::Secret(key) = value else { continue };
            let value = given(key).ok_or_else(|| ProblemKind::SecretNotGiven { key: key.clone() });
            match value.and_then(|value| read::no_nul(&value).map(str::to_owned)) {
                Ok(value) => values.push((name.clone(), value)),
                Err(kind) => problems.push(self.problem(&format!("env.{name}"), origin, kind)),
            }
        }
        Error::check(problems, 0)?;
        Ok(values)
    }

    /// Refuses a variable that is about to become what it is not yet: a secret, or plain.
    pub(super) fn not_both(&self, name: &str, secret: bool) -> Result<(), ProblemKind> {
        let Some(Given { value, origin }) = self.env.get(name) else { return Ok(()) };
        let what = match value {
            Variable::Plain(_) if secret => "has a plain value",
            Variable::Secret(_) if !secret => "is a secret",
            _ => return Ok(()),
        };
        Err(ProblemKind::PlainAndSecret { name: name.to_owned(), what, other: self.place_of(origin) })
    }
}
