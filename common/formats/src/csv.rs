//! A table of nodes and the switches above them: `node,leaf,spine,…`, in any order of columns.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_common::text::shown;
use phalanx_common::topology::Tier;

use crate::outline::Outline;
use crate::size::{TooLarge, within};
use crate::text::{NotUtf8, utf8};

pub const MAX_BYTES: usize = 64 << 20;
/// Twice the nodes that a cluster may have: a row of empty fields takes twelve times its bytes.
const MAX_ROWS: usize = 100_000;
const MAX_COLUMNS: usize = 32;
const MAX_FIELD: usize = 255;

/// Columns that name the node.
const NODE: [&str; 8] = ["node", "nodename", "host", "hostname", "instance", "server", "ip", "name"];
/// Columns that name an NVLink domain.
const DOMAIN: [&str; 4] = ["nvlink", "nvlinkdomain", "domain", "clique"];
/// Columns of switches by how far they are from the nodes, as far as names tell.
const LEVELS: [&[&str]; 4] = [
    &["leaf", "asw", "tor", "rack", "access", "switch"],
    &["spine", "psw", "agg", "aggregation", "pod", "block"],
    &["core", "dsw", "superspine"],
    &["site", "region", "zone", "datacenter", "dc"],
];

/// Why a table was not read. Lines count from 1.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    TooLarge(#[from] TooLarge),
    #[error(transparent)]
    NotUtf8(#[from] NotUtf8),
    #[error("line 1: no column names the node; call one of them node, host or ip")]
    NoNode,
    #[error(
        "line 1: no column but the node's; the others should be the switches above it, such as leaf and spine"
    )]
    NoSwitch,
    #[error(
        "line {line}: two columns are called {name}; call them by what they name, such as leaf and spine"
    )]
    SameColumn { line: usize, name: String },
    #[error("line {line}: more than {MAX_COLUMNS} columns")]
    TooWide { line: usize },
    #[error("no row names a node; write one for each below the header, such as `{example}`")]
    NoRow { example: String },
    #[error("the table has more than {MAX_ROWS} rows")]
    TooLong,
    #[error("line {line}: {found} fields, where the header has {expected}")]
    Fields { line: usize, found: usize, expected: usize },
    #[error("line {line}: {node} is in {here}, and on line {first} it is in {there}; one row should go")]
    Twice { line: usize, first: usize, node: String, here: String, there: String },
    #[error(
        "line {line}: the field {field} has a control character, such as a tab, which no name may have; take it out"
    )]
    Control { line: usize, field: String },
    #[error("line {line}: a field has more than {MAX_FIELD} bytes, or a quote is not closed")]
    Field { line: usize },
}

/// Reads a table with a header. A name that stands under different switches is the name of different
/// switches, which then come with the switch above, `P10/S14`; one that stands in two columns comes with the
/// closer column's, `leaf/1`. Empty fields are unknown: such a node is within what is known farther away, and
/// somewhere in the cluster where nothing is.
///
/// # Errors
/// More than [`MAX_BYTES`], what is no UTF-8, a header without a node or a switch, and rows that do not fit the header.
pub fn read(bytes: &[u8]) -> Result<Outline, Error> {
    let bytes = within(bytes, MAX_BYTES)?;
    // Any file may have a comma in its first line: what names no node is no table, whatever its bytes are.
    let text = utf8(bytes).map_err(|error| match error {
        NotUtf8::At { .. } if !names_a_node(bytes) => Error::NoNode,
        error => error.into(),
    })?;
    let mut lines =
        text.lines().zip(1..).filter(|(line, _)| !line.trim().is_empty() && !line.starts_with('#'));
    let (header, line) = lines.next().ok_or(Error::NoNode)?;
    let header: Vec<String> = fields(header, line)?.iter().map(|name| plain(name)).collect();
    let node = NODE.iter().find_map(|name| header.iter().position(|column| column == name));
    let node = node.ok_or(Error::NoNode)?;
    // Those without a name are what is left of a spreadsheet.
    let mut called = BTreeSet::new();
    if let Some(name) = header.iter().find(|name| !name.is_empty() && !called.insert(*name)) {
        return Err(Error::SameColumn { line, name: name.clone() });
    }
    let domain = header.iter().position(|column| DOMAIN.contains(&column.as_str()));
    // A second name of the node (its address beside its host name) is no switch.
    let is_switch = |at: &usize| !NODE.iter().chain(&DOMAIN).any(|name| header[*at] == *name);
    let columns: Vec<usize> = (0..header.len()).filter(is_switch).collect();
    let places: Vec<usize> = columns.iter().copied().chain(domain).collect();
    let mut told = Told::new();
    for (count, (text, line)) in lines.enumerate() {
        let row = fields(text, line)?;
        if row.len() != header.len() {
            return Err(Error::Fields { line, found: row.len(), expected: header.len() });
        }
        if count == MAX_ROWS {
            return Err(Error::TooLong);
        }
        if !row[node].is_empty() {
            tell(&mut told, (row, line), node, &places, &header)?;
        }
    }
    let whole = |row: Vec<(String, usize)>| row.into_iter().map(|(field, _)| field).collect();
    let rows: Vec<Vec<String>> = told.into_values().map(whole).collect();
    let mut columns = closest_first(&header, &rows, columns);
    if columns.is_empty() {
        return Err(Error::NoSwitch);
    }
    if rows.is_empty() {
        return Err(Error::NoRow { example: example(&header, node) });
    }
    // A column of which nobody knows anything is no level.
    columns.retain(|at| rows.iter().any(|row| !row[*at].is_empty()));
    let names = names(&rows, &header, &columns);
    Ok(outline(&rows, node, domain, &names))
}

/// Whether the header of a text has a column of nodes, in whatever encoding it is.
fn names_a_node(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let header = text.lines().find(|line| !line.trim().is_empty() && !line.starts_with('#'));
    header.is_some_and(|header| header.split(',').any(|name| NODE.contains(&plain(name).as_str())))
}

/// A row as it may be.
fn example(header: &[String], node: usize) -> String {
    let field = |(name, at): (&String, usize)| match name.as_str() {
        "ip" => "10.0.0.1".to_string(),
        _ if at == node => "gpu-01".to_string(),
        name => format!("{name}-1"),
    };
    header.iter().zip(0..).map(field).collect::<Vec<_>>().join(",")
}

/// The fields of each node, with the line that said it.
type Told = BTreeMap<String, Vec<(String, usize)>>;

/// Several rows of a node are one. A node is in one switch of each level, and in one domain; an empty field says
/// nothing else.
fn tell(
    told: &mut Told,
    (row, line): (Vec<String>, usize),
    node: usize,
    places: &[usize],
    header: &[String],
) -> Result<(), Error> {
    let name = row[node].clone();
    let fields: Vec<(String, usize)> = row.into_iter().map(|field| (field, line)).collect();
    let Some(before) = told.get_mut(&name) else {
        told.insert(name, fields);
        return Ok(());
    };
    for at in places {
        let ((there, first), (here, _)) = (&before[*at], &fields[*at]);
        if there.is_empty() {
            before[*at] = fields[*at].clone();
        } else if !here.is_empty() && here != there {
            let place = |name: &str| format!("{} {name}", header[*at]);
            let (first, here, there) = (*first, place(here), place(there));
            return Err(Error::Twice { line, first, node: name, here, there });
        }
    }
    Ok(())
}

/// By their names if all are known, else by how many switches they name.
fn closest_first(header: &[String], rows: &[Vec<String>], mut columns: Vec<usize>) -> Vec<usize> {
    let level = |at: &usize| LEVELS.iter().position(|names| names.contains(&header[*at].as_str()));
    if columns.iter().all(|at| level(at).is_some()) {
        columns.sort_by_key(level);
    } else {
        let distinct = |at: &usize| rows.iter().map(|row| &row[*at]).collect::<BTreeSet<_>>().len();
        columns.sort_by_cached_key(|at| std::cmp::Reverse(distinct(at)));
    }
    columns
}

/// What the switches of each column are called, row by row; empty where it is not known which one it is.
fn names(rows: &[Vec<String>], header: &[String], columns: &[usize]) -> Vec<Vec<String>> {
    // Farthest first, so that a name under different names is told apart by the one above.
    let mut names: Vec<Vec<String>> = vec![Vec::new(); columns.len()];
    let mut used: BTreeSet<String> = BTreeSet::new();
    for level in (0..columns.len()).rev() {
        let above = |at: usize| names.get(level + 1).map_or("", |names| names[at].as_str());
        let mut parents: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        for (row, at) in rows.iter().zip(0..) {
            let parents = parents.entry(&row[columns[level]]).or_default();
            parents.extend(Some(above(at)).filter(|above| !above.is_empty()));
        }
        let named: Vec<String> = rows
            .iter()
            .zip(0..)
            .map(|(row, at)| {
                let name = row[columns[level]].as_str();
                let is_shared = parents[name].len() > 1;
                match above(at) {
                    _ if name.is_empty() => String::new(),
                    // One of several of that name, and nobody knows which.
                    "" if is_shared => String::new(),
                    above if is_shared => format!("{above}/{name}"),
                    _ if used.contains(name) => format!("{}/{name}", header[columns[level]]),
                    _ => name.to_string(),
                }
            })
            .collect();
        used.extend(named.iter().filter(|name| !name.is_empty()).cloned());
        names[level] = named;
    }
    names
}

/// `names`: of each level, the closest first, row by row.
fn outline(rows: &[Vec<String>], node: usize, domain: Option<usize>, names: &[Vec<String>]) -> Outline {
    let mut outline = Outline::default();
    let known =
        |level: usize, at: usize| names.get(level).map(|names| &names[at]).filter(|name| !name.is_empty());
    // A switch that no leaf is known below is not said to be above or below others: it would be a leaf.
    let mut placed: BTreeSet<&String> = (0..rows.len()).filter_map(|at| known(0, at)).collect();
    for level in 0..names.len() {
        let pairs: BTreeSet<(&String, &String)> = (0..rows.len())
            .filter_map(|at| known(level, at).zip(known(level + 1, at)))
            .filter(|(lower, _)| placed.contains(lower))
            .collect();
        placed = pairs.iter().map(|(_, upper)| *upper).collect();
        outline.under.extend(pairs.into_iter().map(|(lower, upper)| (lower.clone(), upper.clone())));
    }
    for (row, at) in rows.iter().zip(0..) {
        let node = &row[node];
        outline.nodes.extend(known(0, at).map(|on| (node.clone(), on.clone())));
        let gap = (0..names.len()).find(|level| known(*level, at).is_none()).unwrap_or(names.len());
        outline.switches.extend((0..names.len()).filter_map(|level| known(level, at).cloned()));
        let tiers = (0..names.len()).zip(Tier::OF_SWITCHES).filter(|(level, _)| *level > gap);
        outline
            .within
            .extend(tiers.filter_map(|(level, tier)| Some((node.clone(), tier, known(level, at)?.clone()))));
        let domain = domain.map(|of| &row[of]).filter(|domain| !domain.is_empty());
        if domain.is_none() && (0..names.len()).all(|level| known(level, at).is_none()) {
            outline.unplaced.insert(node.clone());
        }
        outline.domains.extend(domain.map(|domain| (node.clone(), domain.clone())));
    }
    outline
}

/// A header's name without case and separators.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

/// RFC 4180, without line breaks inside of quotes.
fn fields(line: &str, number: usize) -> Result<Vec<String>, Error> {
    let mut fields = Vec::new();
    let mut rest = line.trim_end_matches('\r');
    loop {
        let (field, after) = match rest.trim_start().strip_prefix('"') {
            Some(quoted) => {
                let mut field = String::new();
                let mut inner = quoted;
                loop {
                    let (part, after) = inner.split_once('"').ok_or(Error::Field { line: number })?;
                    field.push_str(part);
                    match after.strip_prefix('"') {
                        Some(more) => {
                            field.push('"');
                            inner = more;
                        }
                        None => break (field, after.split_once(',').map(|(_, after)| after)),
                    }
                }
            }
            None => match rest.split_once(',') {
                Some((field, after)) => (field.trim().to_string(), Some(after)),
                None => (rest.trim().to_string(), None),
            },
        };
        if fields.len() == MAX_COLUMNS {
            return Err(Error::TooWide { line: number });
        }
        if field.len() > MAX_FIELD {
            return Err(Error::Field { line: number });
        }
        if field.chars().any(char::is_control) {
            return Err(Error::Control { line: number, field: shown(&field) });
        }
        fields.push(field);
        match after {
            Some(after) => rest = after,
            None => return Ok(fields),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_by_how_many_they_name() {
        let by_name = read(b"spine,host,leaf\ns1,n1,l1\ns1,n2,l2\n").unwrap();
        let by_count = read(b"above,host,near\ns1,n1,l1\ns1,n2,l2\n").unwrap();
        assert_eq!(by_name, by_count);
        assert!(by_name.nodes.contains(&("n1".to_string(), "l1".to_string())));
        assert!(by_name.under.contains(&("l2".to_string(), "s1".to_string())));
    }

    #[test]
    fn a_name_under_two_switches_is_two_switches_and_a_name_in_two_columns_too() {
        let pair = read(b"ip,DSW,PSW,ASW\nn1,G,P1,S1\nn2,G,P2,S1\n").unwrap();
        assert!(pair.nodes.contains(&("n1".to_string(), "P1/S1".to_string())), "{pair:?}");
        assert!(pair.nodes.contains(&("n2".to_string(), "P2/S1".to_string())));
        let same = read(b"node,leaf,spine\nn1,1,1\n").unwrap();
        assert!(same.under.contains(&("leaf/1".to_string(), "1".to_string())), "{same:?}");
    }

    #[test]
    fn an_address_beside_the_host_name_is_no_switch() {
        let both = read(b"hostname,ip,leaf,spine\nn1,10.0.0.1,l1,s1\nn2,10.0.0.2,l1,s1\n").unwrap();
        assert_eq!(both, read(b"hostname,leaf,spine\nn1,l1,s1\nn2,l1,s1\n").unwrap());
        let wide = format!("node{}\n", ",c".repeat(MAX_COLUMNS));
        assert_eq!(read(wide.as_bytes()), Err(Error::TooWide { line: 1 }));
    }

    #[test]
    fn quotes_and_gaps_are_taken_and_ragged_rows_are_not() {
        let read_ok = read(b"node,leaf,nvlink\n\"n,1\",\"l\"\"1\",d1\nn2,,\n").unwrap();
        assert!(read_ok.nodes.contains(&("n,1".to_string(), "l\"1".to_string())));
        assert_eq!((read_ok.nodes.len(), read_ok.domains.len()), (1, 1));
        assert_eq!(read_ok.unplaced, BTreeSet::from(["n2".to_string()]));
        assert!(read(b"node,leaf\nn1\n").unwrap_err().to_string().contains("line 2: 1 fields"));
        assert!(read(b"node,leaf\n\"n1,l1\n").is_err());
        let error = read(b"node,leaf\nn1,l1\nn\t2,l1\n").unwrap_err().to_string();
        assert!(error.starts_with("line 3: the field \"n\\t2\" has a control character"), "{error}");
        assert_eq!(read(b"a,b\n1,2\n"), Err(Error::NoNode));
        assert_eq!(read(b"node\nn1\n"), Err(Error::NoSwitch));
    }

    #[test]
    fn a_header_without_a_row_is_told_what_a_row_is_like() {
        for text in ["Leaf,IP,Host Name,spine\n", "leaf,ip,hostname,spine\n# none yet\nl1,,,s1\n"] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.ends_with("such as `leaf-1,10.0.0.1,gpu-01,spine-1`"), "{error}");
        }
    }
}
