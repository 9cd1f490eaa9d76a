//! The configuration file of a client: which coordinator, as whom, and how output is shown.

use super::decoder::Decoder;
use super::error::Error;
use super::job::{Choice, OutputMode};
use super::keys;
use super::problem::Expected;
use super::read;
use super::yaml;
use crate::yaml::{Found, Node, Value};

/// What flags and variables leave open.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClientFile {
    /// Where the coordinator may be; empty leaves it to the identity.
    pub coordinator: Vec<String>,
    /// Path of the identity file, as it was written.
    pub identity: Option<String>,
    /// What is shown of output where neither a flag nor a job file says.
    pub output: Option<OutputMode>,
    pub color: Option<Color>,
}

/// When to use colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    Auto,
    Always,
    Never,
}

impl Choice for Color {
    const CHOICES: &'static [(&'static str, Color)] =
        &[("auto", Color::Auto), ("always", Color::Always), ("never", Color::Never)];
}

impl ClientFile {
    /// Reads the content of a configuration file; one without any is as good as none. `name` begins every
    /// message.
    ///
    /// # Errors
    /// Everything that is wrong with the file, each with its line and column.
    pub fn parse(name: &str, content: &[u8]) -> Result<ClientFile, Error> {
        let source = yaml::text(name, content)?;
        let mut file = ClientFile::default();
        let Some(root) = yaml::parse(&source)? else { return Ok(file) };
        let mut decoder = Decoder::new(&source);
        let entries = decoder.mapping("", &root, "settings such as `coordinator: head.lab`");
        for (key, node) in entries.unwrap_or_default() {
            let name = key.text.as_str();
            match name {
                "coordinator" => file.coordinator = coordinator(&mut decoder, node),
                "identity" => file.identity = decoder.scalar(name, node, read::file).map(|it| it.value),
                "output" => file.output = decoder.scalar(name, node, read::choice).map(|it| it.value),
                "color" => file.color = decoder.scalar(name, node, read::choice).map(|it| it.value),
                _ => decoder.unknown(key, None, |name| keys::nearest(name, keys::CLIENT), keys::CLIENT),
            }
        }
        decoder.finish()?;
        Ok(file)
    }
}

/// One address, or a list of them.
fn coordinator(decoder: &mut Decoder<'_>, node: &Node) -> Vec<String> {
    match &node.value {
        Value::List(items) if !items.is_empty() => {
            let items = items
                .iter()
                .enumerate()
                .filter_map(|(i, item)| decoder.scalar(&format!("coordinator[{i}]"), item, read::address));
            items.map(|address| address.value).collect()
        }
        Value::Scalar { .. } if matches!(node.found(), Found::Text(_)) => {
            let address = decoder.scalar("coordinator", node, read::address);
            address.map(|address| address.value).into_iter().collect()
        }
        _ => {
            decoder.expected("coordinator", node, Expected::Addresses);
            Vec::new()
        }
    }
}
