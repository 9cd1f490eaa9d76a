//! Strangers' text goes to terminals: what a terminal would take for an order is taken out.

use phalanx_common::topology::machine::Machine;
use serde::Serialize;
use serde_json::Value;

/// A machine from JSON.
pub(crate) fn machine(json: &[u8]) -> serde_json::Result<Machine> {
    from_value(serde_json::from_slice(json)?)
}

/// The same of one that was read from something else.
pub(super) fn made_plain(machine: &Machine) -> serde_json::Result<Machine> {
    from_value(serde_json::to_value(machine)?)
}

/// Anything as JSON.
pub(super) fn value(of: &impl Serialize) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(of)?;
    make_plain(&mut value);
    Ok(value)
}

/// One line.
pub(crate) fn text(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

fn from_value(mut value: Value) -> serde_json::Result<Machine> {
    make_plain(&mut value);
    serde_json::from_value(value)
}

fn make_plain(value: &mut Value) {
    match value {
        Value::String(text) => text.retain(|c| !c.is_control()),
        Value::Array(items) => items.iter_mut().for_each(make_plain),
        Value::Object(items) => items.values_mut().for_each(make_plain),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_is_read_without_what_a_terminal_would_obey() {
        let read = machine(br#"{"host": "a\u001b[2Jb", "accelerators": []}"#).unwrap();
        assert_eq!(read.host.as_deref(), Some("a[2Jb"));
        let raw = Machine { host: Some("a\u{1b}[2J\u{9b}b".to_owned()), ..Machine::default() };
        assert_eq!(made_plain(&raw).unwrap(), read);
        assert_eq!(text("a\u{1b}[2J\nb"), "a[2Jb");
    }
}
