//! The Unix user a pod runs as.
//!
//! A root worker starts the shim itself as that user, not only the ranks: a shim without privileges
//! cannot be tricked by the paths, links and files of its user into anything that user could not do.

use std::ffi::CString;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use nix::unistd::{Gid, Uid, User, geteuid, getgrouplist};

/// Where programs of a job are looked for, as a login of a plain Debian has it.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// Of the worker's own environment jobs see these alone: what it says of language and time zone.
const PASSED_ON: [&str; 4] = ["LANG", "LC_ALL", "LC_CTYPE", "TZ"];

/// A user who runs jobs here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    name: String,
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
    home: PathBuf,
    shell: PathBuf,
}

/// Why a user's jobs do not run on this node.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("there is no user {name} on this node; make one, or run the job elsewhere")]
    Unknown { name: String },
    #[error("the groups of {name} cannot be looked up: {errno}")]
    Groups { name: String, errno: nix::Error },
    #[error(
        "this worker runs as {worker} and cannot run jobs of {name}; only a worker of root runs everybody's"
    )]
    NotRoot { name: String, worker: Uid },
    #[error(
        "jobs of root are not allowed on this node; start its worker with --allow-root-jobs to allow them"
    )]
    Root,
    #[error("{} cannot be made for {name}: {error}", path.display())]
    Directory { name: String, path: PathBuf, error: io::Error },
    #[error("{} belongs to somebody else than {name}; remove it", path.display())]
    Foreign { name: String, path: PathBuf },
}

impl Account {
    /// Looks the user up.
    ///
    /// # Errors
    /// No such user, or one whose jobs this process cannot or must not run.
    pub fn of(name: &str, allow_root: bool) -> Result<Account, Error> {
        let unknown = || Error::Unknown { name: name.to_owned() };
        let user = User::from_name(name).map_err(|_| unknown())?.ok_or_else(unknown)?;
        if user.uid.is_root() && !allow_root {
            return Err(Error::Root);
        }
        let own = geteuid();
        if !own.is_root() && own != user.uid {
            return Err(Error::NotRoot { name: name.to_owned(), worker: own });
        }
        let c_name = CString::new(name).map_err(|_| unknown())?;
        let groups = getgrouplist(&c_name, user.gid)
            .map_err(|errno| Error::Groups { name: name.to_owned(), errno })?;
        Ok(Account {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups,
            home: user.dir,
            shell: user.shell,
        })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    pub(super) fn gid(&self) -> u32 {
        self.gid.as_raw()
    }

    /// The whole environment of the user's shim, which its ranks inherit.
    pub(super) fn environment(&self) -> Vec<(String, std::ffi::OsString)> {
        let mut environment = vec![
            ("PATH".to_owned(), PATH.into()),
            ("HOME".to_owned(), self.home.clone().into()),
            ("USER".to_owned(), self.name.clone().into()),
            ("LOGNAME".to_owned(), self.name.clone().into()),
            ("SHELL".to_owned(), self.shell.clone().into()),
        ];
        for name in PASSED_ON {
            environment.extend(std::env::var_os(name).map(|value| (name.to_owned(), value)));
        }
        environment
    }

    /// What a child has to become; `None` if this process is that user already.
    pub(super) fn ids(&self) -> Option<(Uid, Gid, &[Gid])> {
        (self.uid != geteuid()).then_some((self.uid, self.gid, &self.groups))
    }

    /// Makes a directory of this user's alone, below one that is not the user's.
    ///
    /// # Errors
    /// It cannot be made, or something of somebody else is there.
    pub fn directory(&self, path: &Path) -> Result<(), Error> {
        let failed = |error| Error::Directory { name: self.name.clone(), path: path.to_owned(), error };
        match DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                lchown(path, Some(self.uid.as_raw()), Some(self.gid.as_raw())).map_err(failed)?;
                // Whatever the umask was.
                fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(failed)
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let meta = fs::symlink_metadata(path).map_err(failed)?;
                if meta.is_dir() && meta.uid() == self.uid.as_raw() {
                    return Ok(());
                }
                Err(Error::Foreign { name: self.name.clone(), path: path.to_owned() })
            }
            Err(error) => Err(failed(error)),
        }
    }
}
