//! A network port of a node, and the addresses that the world knows it by.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An address that is not written as it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("\"{text}\" is not {expected}")]
pub struct WrittenError {
    text: String,
    expected: &'static str,
}

impl WrittenError {
    /// What was written is clipped: it may come from a stranger's file.
    fn new(text: &str, expected: &'static str) -> WrittenError {
        WrittenError { text: text.chars().take(40).collect(), expected }
    }
}

/// A network port as topology needs it: what it is called, what its neighbours call it, whether it works.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// As the node calls it: `enp65s0f0`, or `mlx5_0/1` (device and port) where it has no interface.
    pub name: String,
    /// Its place among the node's ports of this link layer, in the order of their PCI addresses.
    pub order: u16,
    pub layer: LinkLayer,
    pub mac: Option<Mac>,
    /// Of the port, as an InfiniBand fabric knows it.
    pub guid: Option<Guid>,
    /// Of the adapter that the port is on.
    pub node_guid: Option<Guid>,
    /// Megabits per second, where the port says so.
    pub speed_mbps: Option<u32>,
    pub up: bool,
    /// The bond that the port is a member of.
    pub bond: Option<String>,
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LinkLayer {
    Ethernet,
    InfiniBand,
    /// Nobody says.
    Unknown,
}

/// A 48-bit hardware address, written `0c:42:a1:00:00:01`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Mac(pub [u8; 6]);

/// A 64-bit global identifier of InfiniBand, written as 16 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Guid(pub u64);

/// A PCI address, written `0000:3b:00.0`: domain, bus, device, function.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Bdf {
    /// 32 bits: domains of hypervisors (VMD, Azure) go beyond 16.
    pub domain: u32,
    pub bus: u8,
    /// Five bits.
    pub device: u8,
    /// Three bits.
    pub function: u8,
}

impl FromStr for Mac {
    type Err = WrittenError;

    /// Takes `:` and `-` between the bytes, and digits of either case.
    fn from_str(text: &str) -> Result<Mac, WrittenError> {
        let wrong = || WrittenError::new(text, "a hardware address such as 0c:42:a1:00:00:01");
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|part| part.len() == 2).ok_or_else(wrong)?;
            *byte = hexadecimal(part).and_then(|value| u8::try_from(value).ok()).ok_or_else(wrong)?;
        }
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok(Mac(bytes))
    }
}

impl FromStr for Guid {
    type Err = WrittenError;

    /// Takes what `ibnetdiscover` and sysfs write: `0x0002c9030007ec2a`, `0002:c903:0007:ec2a`, and fewer
    /// digits where leading zeros were left out.
    fn from_str(text: &str) -> Result<Guid, WrittenError> {
        let wrong = || WrittenError::new(text, "a GUID of up to 16 hexadecimal digits");
        let digits = text.strip_prefix("0x").unwrap_or(text).replace(':', "");
        if digits.len() > 16 {
            return Err(wrong());
        }
        hexadecimal(&digits).map(Guid).ok_or_else(wrong)
    }
}

impl FromStr for Bdf {
    type Err = WrittenError;

    /// Takes the domain with any number of digits up to eight, or left out (0).
    fn from_str(text: &str) -> Result<Bdf, WrittenError> {
        let wrong = || WrittenError::new(text, "a PCI address such as 0000:3b:00.0");
        let (rest, function) = text.rsplit_once('.').ok_or_else(wrong)?;
        let (rest, device) = rest.rsplit_once(':').ok_or_else(wrong)?;
        let (domain, bus) = rest.rsplit_once(':').unwrap_or(("0", rest));
        if domain.len() > 8 || bus.len() > 2 || device.len() > 2 || function.len() != 1 {
            return Err(wrong());
        }
        let number =
            |part: &str, below: u64| hexadecimal(part).filter(|value| *value < below).ok_or_else(wrong);
        Ok(Bdf {
            domain: u32::try_from(number(domain, 1 << 32)?).map_err(|_| wrong())?,
            bus: u8::try_from(number(bus, 256)?).map_err(|_| wrong())?,
            device: u8::try_from(number(device, 32)?).map_err(|_| wrong())?,
            function: u8::try_from(number(function, 8)?).map_err(|_| wrong())?,
        })
    }
}

/// Without the sign that `from_str_radix` would take.
fn hexadecimal(digits: &str) -> Option<u64> {
    let only_digits = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    only_digits.then(|| u64::from_str_radix(digits, 16).ok()).flatten()
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, last] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{last:02x}")
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Mac {
    type Error = WrittenError;

    fn try_from(text: String) -> Result<Mac, WrittenError> {
        text.parse()
    }
}

impl TryFrom<String> for Guid {
    type Error = WrittenError;

    fn try_from(text: String) -> Result<Guid, WrittenError> {
        text.parse()
    }
}

impl TryFrom<String> for Bdf {
    type Error = WrittenError;

    fn try_from(text: String) -> Result<Bdf, WrittenError> {
        text.parse()
    }
}

impl From<Mac> for String {
    fn from(mac: Mac) -> String {
        mac.to_string()
    }
}

impl From<Guid> for String {
    fn from(guid: Guid) -> String {
        guid.to_string()
    }
}

impl From<Bdf> for String {
    fn from(bdf: Bdf) -> String {
        bdf.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_the_tools_write_them_and_written_one_way() {
        for (written, one_way) in [
            ("0000:3b:00.0", "0000:3b:00.0"),
            ("3b:00.1", "0000:3b:00.1"),
            ("00000000:3B:1F.7", "0000:3b:1f.7"),
            ("ffffffff:ff:01.0", "ffffffff:ff:01.0"),
        ] {
            assert_eq!(written.parse::<Bdf>().unwrap().to_string(), one_way);
        }
        assert_eq!("0C-42-A1-00-00-01".parse::<Mac>().unwrap().to_string(), "0c:42:a1:00:00:01");
        for guid in ["0x2c9030007ec2a", "0002:c903:0007:ec2a", "0002c9030007ec2a"] {
            assert_eq!(guid.parse::<Guid>().unwrap(), Guid(0x0002_c903_0007_ec2a), "{guid}");
        }
    }

    #[test]
    fn nonsense_is_refused_and_said_back_in_part() {
        for wrong in
            ["", "3b", "3b:00", "3b:20.0", "3b:00.8", "123:00.0", "123456789:00:00.0", "+3:00.0", "3b:00."]
        {
            assert!(wrong.parse::<Bdf>().is_err(), "{wrong}");
        }
        for wrong in ["", "0c:42:a1:00:00", "0c:42:a1:00:00:01:02", "0c:42:a1:00:00:+1", "0g:42:a1:00:00:01"]
        {
            assert!(wrong.parse::<Mac>().is_err(), "{wrong}");
        }
        for wrong in ["", "0x", "0x12345678901234567", "guid", "-1"] {
            assert!(wrong.parse::<Guid>().is_err(), "{wrong}");
        }
        let error = "x".repeat(1 << 20).parse::<Guid>().unwrap_err();
        assert!(error.to_string().len() < 100, "{error}");
    }
}
