//! Profiles from files: what stands in one wins over the default.

use phalanx_common::yaml::{self, Bounds, Key, Node, Span};

use super::profile::Profile;

/// Largest profile, bytes.
pub const MAX_BYTES: usize = 64 << 10;
const BOUNDS: Bounds = Bounds { bytes: MAX_BYTES, depth: 4, documents: 1 };
/// The key whose value is a mapping of classes.
const RATES: &str = "ratesPer1000NodeDays";
/// A century of seconds: no time of a profile is longer.
const MOST_SECONDS: f64 = 3.2e9;
/// Numbers of other kinds.
const MOST: f64 = 1e6;

/// Why a file is no profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    #[error(transparent)]
    Yaml(#[from] yaml::Error),
    #[error("{}a profile is a mapping of keys to numbers", place(.0))]
    NoMapping(Span),
    #[error("{}there is no key {name}; there are {known}", place(.span))]
    Unknown { span: Span, name: String, known: String },
    #[error("{}{name} stands here twice", place(.span))]
    Twice { span: Span, name: String },
    #[error("{}{name} is {wanted}, found {found}", place(.span))]
    Number { span: Span, name: String, wanted: String, found: String },
}

fn place(span: &Span) -> String {
    format!("line {}, column {}: ", span.line, span.column)
}

impl Profile {
    /// The default profile with what this file says.
    ///
    /// # Errors
    /// What is no YAML of ours, unknown keys and values that cannot be, each with its place.
    pub fn read(bytes: &[u8]) -> Result<Profile, ProfileError> {
        let mut profile = Profile::default();
        let documents = yaml::read(bytes, &BOUNDS)?;
        let Some(root) = documents.first() else { return Ok(profile) };
        for (key, node) in entries(root)? {
            if key.text == RATES {
                for (class, rate) in entries(node)? {
                    profile.set_rate(class, rate)?;
                }
            } else {
                profile.set(key, node)?;
            }
        }
        Ok(profile)
    }

    fn set_rate(&mut self, key: &Key, node: &Node) -> Result<(), ProfileError> {
        let known = self.classes.iter().map(|class| class.name).collect::<Vec<_>>().join(", ");
        match self.classes.iter_mut().find(|class| class.name == key.text) {
            Some(class) => class.rate = number(key, node, (0.0, MOST))?,
            None => return Err(ProfileError::Unknown { span: key.span, name: key.text.clone(), known }),
        }
        Ok(())
    }

    fn set(&mut self, key: &Key, node: &Node) -> Result<(), ProfileError> {
        if let Some((_, time, least)) = self.times().into_iter().find(|(name, ..)| *name == key.text) {
            *time = number(key, node, (least, MOST_SECONDS))?;
            return Ok(());
        }
        match key.text.as_str() {
            "jobFailuresPerDay" => self.job_failures_per_day = number(key, node, (0.0, MOST))?,
            "leafShare" => self.leaf_share = number(key, node, (0.0, 1.0))?,
            "leafNodes" => self.leaf_nodes = whole(key, node)?,
            "spares" => self.spares = whole(key, node)?,
            "maxRestarts" => self.max_restarts = whole(key, node)?,
            _ => {
                let mut known =
                    vec![RATES, "jobFailuresPerDay", "leafShare", "leafNodes", "spares", "maxRestarts"];
                known.extend(self.times().map(|(name, ..)| name));
                let known = known.join(", ");
                return Err(ProfileError::Unknown { span: key.span, name: key.text.clone(), known });
            }
        }
        Ok(())
    }

    /// Keys of times, and the least that each may be.
    fn times(&mut self) -> [(&'static str, &mut f64, f64); 15] {
        [
            ("detectExitSeconds", &mut self.detect_exit, 0.0),
            ("detectNodeSeconds", &mut self.detect_node, 0.0),
            ("detectHangSeconds", &mut self.detect_hang, 0.0),
            ("detectSilentSeconds", &mut self.detect_silent, 0.0),
            ("stopSeconds", &mut self.stop, 0.0),
            ("startSeconds", &mut self.start, 0.0),
            ("loadSeconds", &mut self.load, 0.0),
            ("checkpointSeconds", &mut self.checkpoint, 1.0),
            ("checkpointStallSeconds", &mut self.stall, 0.0),
            ("resetSeconds", &mut self.reset, 0.0),
            ("rebootSeconds", &mut self.reboot, 0.0),
            ("mendLinkSeconds", &mut self.mend_link, 0.0),
            ("replaceSeconds", &mut self.replace, 0.0),
            ("restartWindowSeconds", &mut self.restart_window, 1.0),
            // A job that is given up at once, and submitted again at once, would never end.
            ("resubmitSeconds", &mut self.resubmit, 1.0),
        ]
    }
}

/// Keys and values of a mapping, each key once.
fn entries(node: &Node) -> Result<&[(Key, Node)], ProfileError> {
    let entries = node.entries().ok_or(ProfileError::NoMapping(node.span))?;
    for (at, (key, _)) in entries.iter().enumerate() {
        if entries[..at].iter().any(|(before, _)| before.text == key.text) {
            return Err(ProfileError::Twice { span: key.span, name: key.text.clone() });
        }
    }
    Ok(entries)
}

fn number(key: &Key, node: &Node, (least, most): (f64, f64)) -> Result<f64, ProfileError> {
    let found = node.text().and_then(|text| text.parse::<f64>().ok());
    found.filter(|number| (least..=most).contains(number)).ok_or_else(|| ProfileError::Number {
        span: node.span,
        name: key.text.clone(),
        wanted: format!("a number from {least} to {most}"),
        found: node.found().to_string(),
    })
}

fn whole(key: &Key, node: &Node) -> Result<u32, ProfileError> {
    let found = node.text().and_then(|text| text.parse::<u32>().ok());
    found.filter(|number| f64::from(*number) <= MOST).ok_or_else(|| ProfileError::Number {
        span: node.span,
        name: key.text.clone(),
        wanted: format!("a whole number up to {MOST}"),
        found: node.found().to_string(),
    })
}
