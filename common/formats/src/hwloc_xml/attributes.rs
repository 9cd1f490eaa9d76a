//! Attributes and infos of an object.

use phalanx_common::topology::Bdf;
use phalanx_common::topology::machine::CpuSet;
use roxmltree::Node;

use super::Error;
use crate::text::printable;
use crate::xml;

/// An attribute, if it is there and not empty.
pub(super) fn text<'a>(object: Node<'a, '_>, name: &str) -> Option<&'a str> {
    object.attribute(name).filter(|value| !value.is_empty())
}

/// An attribute of some form.
pub(super) fn value<'a, T>(
    object: Node<'a, '_>,
    attribute: &'static str,
    expected: &'static str,
    parse: impl FnOnce(&'a str) -> Option<T>,
) -> Result<Option<T>, Error> {
    let Some(value) = text(object, attribute) else { return Ok(None) };
    match parse(value) {
        Some(parsed) => Ok(Some(parsed)),
        None => {
            let value = value.chars().take(80).collect();
            Err(Error::Value { line: xml::line(object), attribute, value, expected })
        }
    }
}

pub(super) fn number<T: std::str::FromStr>(
    object: Node<'_, '_>,
    attribute: &'static str,
) -> Result<Option<T>, Error> {
    value(object, attribute, "a number", |text| text.parse().ok())
}

/// A set of CPUs or nodes. The endless one (`0xf...f`) says nothing.
pub(super) fn set(object: Node<'_, '_>, attribute: &'static str) -> Result<Option<CpuSet>, Error> {
    let set = value(object, attribute, "a mask such as 0x00000003,0x00000001", |text| {
        if text.starts_with("0xf...f") { Some(None) } else { CpuSet::from_mask(text).ok().map(Some) }
    });
    set.map(Option::flatten)
}

pub(super) fn address(object: Node<'_, '_>) -> Result<Option<Bdf>, Error> {
    value(object, "pci_busid", "a PCI address such as 0000:3b:00.0", |text| text.parse().ok())
}

/// The value of an `<info name= value=>` of the object, without control characters.
pub(super) fn info(object: Node<'_, '_>, name: &str) -> Option<String> {
    let info = xml::children(object, "info").find(|info| info.attribute("name") == Some(name))?;
    let value = printable(text(info, "value")?.trim());
    (!value.is_empty()).then_some(value)
}
