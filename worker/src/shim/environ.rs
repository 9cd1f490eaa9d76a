//! The environment and arguments of a rank as execve takes them. Bytes are kept as they are: an
//! inherited variable need not be UTF-8.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CStr, CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use phalanx_worker_core::shim::ShimRank;

use super::refusal::Refusal;

/// What all ranks of a pod inherit.
pub(super) struct Inherited {
    variables: Vec<(OsString, CString)>,
}

impl Inherited {
    /// This process's environment without the variables in `remove`.
    pub(super) fn new(remove: &[String]) -> Inherited {
        let variables = std::env::vars_os()
            .filter(|(name, _)| !remove.iter().any(|gone| OsStr::new(gone) == name))
            .filter_map(|(name, value)| {
                let entry = [name.as_bytes(), b"=", value.as_bytes()].concat();
                Some((name, CString::new(entry).ok()?))
            })
            .collect();
        Inherited { variables }
    }

    fn value(&self, name: &str) -> Option<&OsStr> {
        let (_, entry) = self.variables.iter().find(|(known, _)| known == name)?;
        Some(OsStr::from_bytes(&entry.to_bytes()[name.len() + 1..]))
    }
}

/// One rank's own variables over the inherited ones.
pub(super) struct Overlay<'a> {
    /// Names and values; the last one of a name wins.
    own: Vec<(&'a str, &'a str)>,
    entries: Vec<CString>,
}

impl<'a> Overlay<'a> {
    /// `common` is what all ranks of the pod get, `rank` what this one gets over it.
    pub(super) fn new(common: &'a [(String, String)], rank: &'a ShimRank) -> Result<Overlay<'a>, Refusal> {
        let refuse = |name: &str, what| Refusal::Variable { rank: rank.rank.0, name: name.to_string(), what };
        let all = common.iter().chain(&rank.env);
        let own: Vec<(&str, &str)> = all.map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let last: BTreeMap<&str, usize> = own.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        let mut entries = Vec::with_capacity(last.len());
        for (at, (name, value)) in own.iter().enumerate() {
            if name.is_empty() || name.contains('=') {
                return Err(refuse(name, "a name is not empty and has no `=`"));
            }
            if last.get(name) == Some(&at) {
                entries.push(
                    CString::new(format!("{name}={value}"))
                        .map_err(|_| refuse(name, "it holds a NUL byte"))?,
                );
            }
        }
        Ok(Overlay { own, entries })
    }

    /// The value this rank will see.
    pub(super) fn value<'b>(&'b self, inherited: &'b Inherited, name: &str) -> Option<&'b OsStr> {
        let own = self.own.iter().rev().find(|(known, _)| *known == name);
        own.map(|(_, value)| OsStr::new(*value)).or_else(|| inherited.value(name))
    }

    /// The null-terminated vector; valid while both owners live.
    pub(super) fn envp(&self, inherited: &Inherited) -> Vec<*const c_char> {
        let own: BTreeSet<&OsStr> = self.own.iter().map(|(name, _)| OsStr::new(*name)).collect();
        let kept = inherited.variables.iter().filter(|(name, _)| !own.contains(name.as_os_str()));
        null_terminated(
            kept.map(|(_, entry)| entry.as_c_str()).chain(self.entries.iter().map(CString::as_c_str)),
        )
    }
}

/// Arguments as C strings.
pub(super) fn arguments(command: &[String]) -> Result<Vec<CString>, Refusal> {
    command.iter().map(|argument| c_string(argument.clone())).collect()
}

pub(super) fn c_string(text: impl Into<OsString>) -> Result<CString, Refusal> {
    let text = text.into();
    CString::new(text.into_vec()).map_err(|error| {
        let bytes = error.into_vec();
        Refusal::NulByte { what: String::from_utf8_lossy(&bytes).into_owned() }
    })
}

/// Pointers to the strings and a null pointer.
pub(super) fn null_terminated<'a>(strings: impl Iterator<Item = &'a CStr>) -> Vec<*const c_char> {
    strings.map(CStr::as_ptr).chain([std::ptr::null()]).collect()
}
