//! One line of a dump.

use phalanx_common::topology::Guid;

use super::read::Kind;

/// What a line says. Names borrow from it.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    /// `switchguid=0x2c9…(2c9…)`, `caguid=…`, `rtguid=…`: of the record that follows.
    Guid(Guid),
    /// `Switch 65 "S-2c9…" # "name" …`
    Device { kind: Kind, id: &'a str, description: Option<&'a str> },
    /// `[1](guid) "S-2c9…"[2](guid) # …` of the record before.
    Port {
        port: u16,
        guid: Option<Guid>,
        peer: &'a str,
        peer_port: u16,
        peer_guid: Option<Guid>,
        /// The peer's.
        description: Option<&'a str>,
        mbps: Option<u32>,
    },
    /// A line of `-p`: both ends of a cable.
    Cable { ends: [End<'a>; 2], mbps: Option<u32> },
    /// A line of `-p` for a port without a cable.
    Idle { end: End<'a> },
}

/// An end in a line of `-p`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End<'a> {
    pub(super) kind: Kind,
    pub(super) port: u16,
    pub(super) guid: Guid,
    pub(super) description: Option<&'a str>,
}

/// `None`: no line of a dump.
pub(super) fn parse(line: &str) -> Option<Line<'_>> {
    let line = line.trim_end();
    match line.as_bytes().first()? {
        b'[' => port(line),
        b'#' => None,
        _ => guid(line).or_else(|| device(line)).or_else(|| cable(line)),
    }
}

/// Whether a line that says nothing here belongs into a dump: a comment, a number of a vendor, a way to a device.
pub(super) fn is_usual(line: &str) -> bool {
    let line = line.trim();
    let key = || line.split_once('=').map(|(key, _)| key);
    line.is_empty()
        || line.starts_with('#')
        // Headings of `-g`.
        || ["DR path ", "Chassis ", "Non-Chassis"].iter().any(|begin| line.starts_with(begin))
        || key().is_some_and(|key| ["vendid", "devid", "sysimgguid"].contains(&key))
}

fn guid(line: &str) -> Option<Line<'_>> {
    let (key, value) = line.split_once('=')?;
    let value = value.split('(').next()?;
    ["switchguid", "caguid", "rtguid"].contains(&key).then(|| value.parse().ok().map(Line::Guid)).flatten()
}

fn device(line: &str) -> Option<Line<'_>> {
    let (kind, rest) = line.split_once(char::is_whitespace)?;
    let kind = match kind {
        "Switch" => Kind::Switch,
        "Ca" | "Hca" => Kind::Adapter,
        "Rt" => Kind::Router,
        _ => return None,
    };
    let (ports, rest) = rest.split_once('"')?;
    ports.trim().parse::<u16>().ok()?;
    let (id, rest) = rest.split_once('"')?;
    Some(Line::Device { kind, id, description: comment(rest).and_then(quoted) })
}

fn port(line: &str) -> Option<Line<'_>> {
    let (port, rest) = number(line)?;
    let (guid, rest) = bracketed_guid(rest);
    let (_, rest) = rest.split_once('"')?;
    let (peer, rest) = rest.split_once('"')?;
    let (peer_port, rest) = number(rest)?;
    let (peer_guid, rest) = bracketed_guid(rest);
    let mbps = rest.split_whitespace().next_back().and_then(rate);
    let description = comment(rest).and_then(quoted).filter(|text| !text.is_empty());
    Some(Line::Port { port, guid, peer, peer_port, peer_guid, description, mbps })
}

/// `[17]`, and `[ext 3]` after it, which is what a chassis prints on its front.
fn number(text: &str) -> Option<(u16, &str)> {
    let (number, rest) = text.strip_prefix('[')?.split_once(']')?;
    let number = number.trim().parse().ok()?;
    let after = rest.strip_prefix("[ext").and_then(|rest| rest.split_once(']'));
    Some((number, after.map_or(rest, |(_, rest)| rest)))
}

fn bracketed_guid(text: &str) -> (Option<Guid>, &str) {
    let inner = text.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    match inner {
        Some((guid, rest)) => (guid.parse().ok(), rest),
        None => (None, text),
    }
}

fn comment(text: &str) -> Option<&str> {
    text.split_once('#').map(|(_, comment)| comment)
}

fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('"')?;
    rest.rsplit_once('"').map(|(inner, _)| inner.trim())
}

/// `SW    58 30 0x00066a00e3006b6f 4x QDR - CA   106  1 0x00117500006f39e6 ( 'TS' - 'miriel066 qib0' )`,
/// or no more than the first end and its description.
fn cable(line: &str) -> Option<Line<'_>> {
    let (first, rest) = end(line)?;
    let (width, rest) = word(rest)?;
    let (speed, rest) = word(rest)?;
    let width = width.strip_suffix('x')?;
    let mbps = lanes(width, speed);
    let Some((_, second)) = rest.trim_start().split_at_checked(1).filter(|(dash, _)| *dash == "-") else {
        let description = apostrophes(rest);
        return Some(Line::Idle { end: End { description, ..first } });
    };
    let (second, rest) = end(second)?;
    let inner = rest.trim().strip_prefix('(')?.strip_suffix(')')?;
    let (a, b) = inner.split_once("' - '")?;
    let ends = [
        End { description: described(a.trim().strip_prefix('\'')?), ..first },
        End { description: described(b.trim().strip_suffix('\'')?), ..second },
    ];
    Some(Line::Cable { ends, mbps })
}

fn end(text: &str) -> Option<(End<'_>, &str)> {
    let (kind, rest) = word(text)?;
    let kind = match kind {
        "SW" => Kind::Switch,
        "CA" => Kind::Adapter,
        "RT" => Kind::Router,
        _ => return None,
    };
    let (lid, rest) = word(rest)?;
    lid.parse::<u32>().ok()?;
    let (port, rest) = word(rest)?;
    let (guid, rest) = word(rest)?;
    let guid = guid.strip_prefix("0x")?.parse().ok()?;
    Some((End { kind, port: port.parse().ok()?, guid, description: None }, rest))
}

fn word(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start();
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

fn apostrophes(text: &str) -> Option<&str> {
    described(text.trim().strip_prefix('\'')?.strip_suffix('\'')?)
}

fn described(text: &str) -> Option<&str> {
    Some(text.trim()).filter(|text| !text.is_empty())
}

/// `4xNDR` in megabits per second.
fn rate(text: &str) -> Option<u32> {
    let (width, speed) = text.split_once('x')?;
    lanes(width, speed)
}

/// Signalling rates of one lane, as sysfs rounds them (`400 Gb/sec (4X NDR)`); InfiniBand Architecture
/// Specification 1.7, LinkSpeedActive.
fn lanes(width: &str, speed: &str) -> Option<u32> {
    let lane = match speed {
        "SDR" => 2_500,
        "DDR" => 5_000,
        "QDR" | "FDR10" => 10_000,
        "FDR" => 14_000,
        "EDR" => 25_000,
        "HDR" => 50_000,
        "NDR" => 100_000,
        "XDR" => 200_000,
        _ => return None,
    };
    let width: u32 = width.parse().ok()?;
    [1, 2, 4, 8, 12].contains(&width).then(|| width * lane)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_that_sysfs_shows() {
        assert_eq!(rate("4xNDR"), Some(400_000));
        assert_eq!(rate("1xSDR"), Some(2_500));
        assert_eq!(lanes("4", "FDR"), Some(56_000));
        for wrong in ["4xABC", "5xNDR", "xNDR", "4NDR", "99999999999xNDR"] {
            assert_eq!(rate(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_port_of_a_chassis_keeps_its_own_number() {
        let line = "[24][ext 3]\t\"S-0008f10400410015\"[1][ext 7](8f1)\t\t# \"name # x\" lid 3 4xSDR";
        let Some(Line::Port { port, peer, peer_port, peer_guid, mbps, .. }) = parse(line) else { panic!() };
        assert_eq!((port, peer, peer_port), (24, "S-0008f10400410015", 1));
        assert_eq!((peer_guid, mbps), (Some(Guid(0x8f1)), Some(10_000)));
    }

    #[test]
    fn a_port_without_a_cable_is_told_from_one_with() {
        let idle =
            parse("SW     4  9 0x00066a00e3006cb4 1x SDR                                    'ibedge02'");
        let Some(Line::Idle { end }) = idle else { panic!("{idle:?}") };
        assert_eq!((end.port, end.description), (9, Some("ibedge02")));
        let line = "CA    79  1 0x00117500006f6a66 4x QDR - SW     4 28 0x00066a00e3006cb4 ( 'devel11 qib0' - 'ibedge02' )";
        let Some(Line::Cable { ends, mbps }) = parse(line) else { panic!() };
        assert_eq!(ends.map(|end| end.description), [Some("devel11 qib0"), Some("ibedge02")]);
        assert_eq!((ends[1].port, mbps), (28, Some(40_000)));
        assert_eq!(
            parse("DR path slid 0; dlid 0; 0,1 -> new Switch {00066a00e3006cb4} portnum 0 lid 0-0 \"\""),
            None
        );
    }
}
