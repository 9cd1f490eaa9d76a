//! `phalanx topo`: the cluster's topology and what is wrong with it.

pub(super) mod args;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use phalanx_common::id::NodeId;
use phalanx_common::status::NodeStatus;
use phalanx_common::topology::Snapshot;
use phalanx_common::wire::client_v1::Request;

use self::args::{FromArgs, TopoArgs, TopoCheckArgs, TopoCommand, TopoExportArgs};
use super::args::ClusterArgs;
use super::cluster::{Purpose, need_identity, on_event_loop};
use super::{Exit, pretty, print};
use crate::driver::wall;
use crate::output::{ColorChoice, Screen, Target};
use crate::remote::Client;
use crate::topo::plain;
use crate::topo::{self, Loaded, Paint, Unresolved, View, Witnesses};

/// Arguments repeated in what to look at next.
const REPEATED: usize = 3;

pub(super) fn topo(args: &TopoArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    match &args.command {
        Some(TopoCommand::Check(args)) => check(args, color),
        Some(TopoCommand::Export(args)) => export(args),
        None => show(args, color),
    }
}

fn show(args: &TopoArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    let view = view(&args.from, args.node.as_deref())?;
    let paint = paint(color);
    if let Some(path) = &args.svg {
        return write(path, &topo::svg(&view));
    }
    if args.conflicts {
        return print(&topo::conflicts(&view, args.from.verbose, paint));
    }
    let node = match &args.node {
        Some(name) => Some(named(&view, name)?),
        None => view.only_machine().filter(|_| !args.json),
    };
    match (node, args.json) {
        (None, false) => print(&topo::cluster(&view, &again(&args.from), paint)),
        (None, true) => print(&topo::export(&view, topo::Format::Json, None)?),
        (Some(node), false) => print(&topo::node(&view, node, paint)),
        (Some(node), true) => match view.machine(node) {
            Some(machine) => print(&pretty(machine)),
            None => {
                bail!("nothing is known of what {node} has inside; `phalanx topo {node}` shows its ports")
            }
        },
    }
}

fn check(args: &TopoCheckArgs, color: ColorChoice) -> anyhow::Result<Exit> {
    let view = view(&args.from, None)?;
    let findings = view.findings();
    print(&match args.json {
        true => topo::report_json(&view, &findings),
        false => topo::report(&view, &findings, args.from.verbose, paint(color)),
    })?;
    Ok(if findings.is_empty() { Exit::Success } else { Exit::Findings })
}

fn export(args: &TopoExportArgs) -> anyhow::Result<Exit> {
    let view = view(&args.from, args.node.as_deref())?;
    let node = args.node.as_deref().map(|node| named(&view, node)).transpose()?;
    let text = topo::export(&view, args.format, node.or_else(|| view.only_machine()))?;
    match &args.out {
        Some(path) => write(path, &text),
        None => print(&text),
    }
}

/// The topology that was asked for, of a cluster with the inside of this node.
fn view(args: &FromArgs, node: Option<&str>) -> anyhow::Result<View> {
    if args.from.is_empty() {
        return of_cluster(&args.cluster, node);
    }
    if let Some(word) = args.from.iter().find(|path| is_word(path)) {
        let hint = "a node, `check` and `export` stand before --from";
        std::fs::metadata(word).with_context(|| format!("cannot read {} ({hint})", word.display()))?;
    }
    of_files(&args.from, args.verbose)
}

/// What may have been meant as something else than a path.
fn is_word(path: &Path) -> bool {
    path.components().count() == 1 && path.extension().is_none() && path != Path::new("-")
}

fn of_cluster(args: &ClusterArgs, node: Option<&str>) -> anyhow::Result<View> {
    let identity = need_identity(args, Purpose::Work).context(
        "files can be looked at without a cluster, `phalanx topo --from PATH`; to look at a cluster",
    )?;
    on_event_loop(async {
        let client = Client::connect(&identity).await?;
        let snapshot = Snapshot::from_json(client.text(&Request::Topology).await?.as_bytes())?;
        let mut witnesses: Witnesses = client.document(&Request::Witnesses).await?;
        let nodes: Vec<NodeStatus> = client.document(&Request::Nodes).await?;
        let lost: BTreeSet<&NodeId> =
            nodes.iter().filter(|node| !node.reachable).map(|node| &node.node).collect();
        let unreachable = witnesses.ids.iter().filter(|(_, id)| lost.contains(id));
        witnesses.unreachable = unreachable.map(|(name, _)| name.clone()).collect();
        let names: BTreeMap<&NodeId, &String> = witnesses.ids.iter().map(|(name, id)| (id, name)).collect();
        let closed = nodes.iter().filter_map(|node| Some((*names.get(&node.node)?, node.closed.as_ref()?)));
        witnesses.closed = closed.map(|(name, why)| (name.clone(), why.clone())).collect();
        let mut view = View::of_snapshot(snapshot, Some(witnesses));
        if let Some(node) = node {
            let name = named(&view, node)?.to_owned();
            let is_member =
                view.network().node(&name).is_some_and(|row| view.network().nodes[row as usize].joined);
            if is_member {
                let machine = client.document(&Request::Machine { node: name.clone() }).await?;
                view.machines.insert(name, machine);
            }
        }
        client.close().await;
        Ok(view)
    })
}

/// The topology that files tell; what is to be said about them goes to standard error.
pub(super) fn of_files(from: &[PathBuf], verbose: bool) -> anyhow::Result<View> {
    let Loaded { view, warnings, skipped } = topo::load(from, wall())?;
    let mut text = String::new();
    for warning in &warnings {
        let _ = writeln!(text, "phalanx: warning: {}", plain::text(warning));
    }
    if verbose {
        for path in &skipped {
            let path = plain::text(&path.display().to_string());
            let _ = writeln!(text, "phalanx: {path} is of no kind that is read, and skipped");
        }
    } else if !skipped.is_empty() {
        let files = if skipped.len() == 1 { "file is" } else { "files are" };
        let count = skipped.len();
        let _ =
            writeln!(text, "phalanx: {count} {files} of no kind that is read, and skipped; -v names them");
    }
    // Nobody reads any more: nothing to do about that.
    let _ = std::io::stderr().write_all(text.as_bytes());
    Ok(view)
}

/// The node that is meant; a part of its name will do where no other has it.
fn named<'a>(view: &'a View, name: &str) -> anyhow::Result<&'a str> {
    let nodes = &view.network().nodes;
    match view.resolve(name) {
        Ok(name) => return Ok(name),
        Err(Unresolved::Several(first, second)) => {
            bail!("{name} may be {first} or {second}: write more of its name")
        }
        Err(Unresolved::Nobody) => {}
    }
    let close: Vec<&str> =
        nodes.iter().map(|node| node.name.as_str()).filter(|node| node.contains(name)).take(4).collect();
    if let [only] = close[..] {
        return Ok(only);
    }
    let names: Vec<&str> =
        if close.is_empty() { nodes.iter().map(|node| node.name.as_str()).take(4).collect() } else { close };
    let more = if nodes.len() > names.len() { ", …" } else { "" };
    let known = match &names[..] {
        [] => "no node is known".to_string(),
        [only] if more.is_empty() => format!("the only one is {only}"),
        names => format!("there are {} nodes: {}{more}", nodes.len(), names.join(", ")),
    };
    bail!("there is no node {name}; {known}")
}

/// The same paths once more, for a command that a person copies.
fn again(args: &FromArgs) -> String {
    if args.from.is_empty() {
        return String::new();
    }
    let plain = |path: &Path| {
        let text = path.display().to_string();
        let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./:+,@%".contains(c));
        if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
    };
    let paths: Vec<String> = args.from.iter().take(REPEATED).map(|path| plain(path)).collect();
    let more = if args.from.len() > REPEATED { " …" } else { "" };
    format!(" --from {}{more}", paths.join(" "))
}

pub(super) fn write(path: &Path, text: &str) -> anyhow::Result<Exit> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(Exit::Success)
}

pub(super) fn paint(color: ColorChoice) -> Paint {
    use std::io::IsTerminal as _;
    let terminal = std::io::stdout().is_terminal();
    let columns = || std::env::var("COLUMNS").ok()?.parse().ok();
    let width = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0)).or_else(columns);
    Paint {
        color: Screen::new(color).colored(Target::Out),
        unicode: is_utf8(),
        width: terminal.then(|| width().unwrap_or(80)),
    }
}

/// By the first of the variables that say it, as the C library has it.
fn is_utf8() -> bool {
    let said =
        ["LC_ALL", "LC_CTYPE", "LANG"].iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
    said.is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        value.ends_with("utf-8") || value.ends_with("utf8")
    })
}
