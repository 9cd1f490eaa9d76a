//! The client's configuration file: what flags and variables left open.

use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use anyhow::Context;
use phalanx_common::spec::{ClientFile, Color, MAX_FILE_BYTES, OutputMode};

use super::args::{Cli, ClusterArgs, Command, NodeCommand, TokenCommand, UserCommand};
use super::topo::args::TopoCommand;
use crate::output::ColorChoice;
use crate::remote::config_dir;

/// Where it is for every user of a host.
const OF_THE_HOST: &str = "/etc/phalanx/config.yaml";

/// Fills what was typed up with what the file says, for the commands of a client. Other commands do not
/// read it, so that a wrong file stops no coordinator.
pub(super) fn fill_in(cli: &mut Cli) -> anyhow::Result<()> {
    let login = matches!(cli.command, Command::Login(_));
    if !login && cluster(&mut cli.command).is_none() {
        return Ok(());
    }
    let Some((path, file)) = load()? else { return Ok(()) };
    let identity = file.identity.as_deref().map(|identity| place(identity, &path)).transpose()?;
    if let Some(cluster) = cluster(&mut cli.command) {
        if cluster.coordinator.is_empty() {
            cluster.coordinator = file.coordinator;
        }
        cluster.usual_identity = identity;
    } else if let Command::Login(login) = &mut cli.command {
        login.identity = login.identity.take().or(identity);
    }
    if let Some(usual) = output(&mut cli.command) {
        *usual = file.output;
    }
    cli.color = cli.color.or(file.color.map(|color| match color {
        Color::Auto => ColorChoice::Auto,
        Color::Always => ColorChoice::Always,
        Color::Never => ColorChoice::Never,
    }));
    Ok(())
}

/// What a command was told about the cluster; `None` if it asks none.
fn cluster(command: &mut Command) -> Option<&mut ClusterArgs> {
    Some(match command {
        Command::Run(args) => &mut args.cluster,
        Command::Submit(args) => &mut args.cluster,
        Command::Attach(args) => &mut args.cluster,
        Command::Ps(args) => &mut args.list.cluster,
        Command::Status(args) => &mut args.cluster,
        Command::Logs(args) => &mut args.cluster,
        Command::Stop(args) => &mut args.cluster,
        Command::Suspend(args) | Command::Resume(args) => &mut args.cluster,
        Command::Nodes(args) => &mut args.cluster,
        Command::Check(args) => &mut args.cluster,
        Command::Plan(args) => &mut args.cluster,
        Command::Explain(args) => &mut args.cluster,
        Command::Topo(args) => match &mut args.command {
            Some(TopoCommand::Check(args)) => &mut args.from.cluster,
            Some(TopoCommand::Export(args)) => &mut args.from.cluster,
            None => &mut args.from.cluster,
        },
        Command::Node(command) => match command {
            NodeCommand::Label { cluster, .. } => cluster,
            NodeCommand::Cordon { nodes, .. } | NodeCommand::Drain { nodes, .. } => &mut nodes.cluster,
            NodeCommand::Uncordon(nodes) | NodeCommand::Forget(nodes) => &mut nodes.cluster,
            NodeCommand::ResumeReplacement { cluster } => cluster,
        },
        Command::Token(TokenCommand::Create(args)) => &mut args.cluster,
        Command::Token(TokenCommand::List(args)) => &mut args.cluster,
        Command::Token(TokenCommand::Revoke { cluster, .. }) => cluster,
        Command::User(UserCommand::Add(args)) => &mut args.cluster,
        Command::User(UserCommand::List(args)) => &mut args.cluster,
        Command::User(UserCommand::Remove { cluster, .. }) => cluster,
        Command::Login(_) | Command::Serve(_) | Command::Schema => return None,
        Command::Simulate(_) | Command::Completions { .. } => return None,
        #[cfg(feature = "local")]
        Command::Sweep(_) => return None,
    })
}

fn output(command: &mut Command) -> Option<&mut Option<OutputMode>> {
    match command {
        Command::Run(args) => Some(&mut args.job.usual_output),
        Command::Submit(args) => Some(&mut args.job.usual_output),
        Command::Check(args) => Some(&mut args.job.usual_output),
        Command::Attach(args) => Some(&mut args.usual_output),
        _ => None,
    }
}

/// The file that is named, else the first of the usual ones that is there.
fn load() -> anyhow::Result<Option<(PathBuf, ClientFile)>> {
    let named = std::env::var_os("PHALANX_CONFIG").filter(|path| !path.is_empty()).map(PathBuf::from);
    let own = config_dir().map(|dir| dir.join("config.yaml"));
    let usual = own.into_iter().chain([PathBuf::from(OF_THE_HOST)]);
    let (paths, named): (Vec<_>, bool) = match named {
        Some(path) => (vec![path], true),
        None => (usual.collect(), false),
    };
    for path in paths {
        let mut content = Vec::new();
        let cap = MAX_FILE_BYTES as u64 + 1;
        match File::open(&path).and_then(|file| file.take(cap).read_to_end(&mut content)) {
            Ok(_) => {
                let file = ClientFile::parse(&path.to_string_lossy(), &content)?;
                return Ok(Some((path, file)));
            }
            Err(error) if !named && absent(error.kind()) => {}
            Err(error) => {
                let why = if named { "; PHALANX_CONFIG names it" } else { "" };
                let what = format!("cannot read the configuration {}{why}", path.display());
                return Err(error).context(what);
            }
        }
    }
    Ok(None)
}

/// A home that is no directory has no files either.
fn absent(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A path as the file at `config` means it.
fn place(path: &str, config: &Path) -> anyhow::Result<PathBuf> {
    match path.strip_prefix("~/") {
        Some(rest) => {
            let home = std::env::var_os("HOME").with_context(|| {
                format!("{}: identity: {path} is in your home, and HOME is not set", config.display())
            })?;
            Ok(Path::new(&home).join(rest))
        }
        None => Ok(config.parent().unwrap_or(Path::new("")).join(path)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_is_in_the_home_beside_the_file_or_where_it_says() {
        let at = |path: &str| place(path, Path::new("/etc/phalanx/config.yaml")).unwrap();
        assert_eq!(at("/x/me.json"), Path::new("/x/me.json"));
        assert_eq!(at("me.json"), Path::new("/etc/phalanx/me.json"));
        let home = PathBuf::from(std::env::var_os("HOME").unwrap());
        assert_eq!(at("~/me.json"), home.join("me.json"));
    }
}
