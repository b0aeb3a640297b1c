//! Reading inputs, each a file or standard input, and writing results.

use std::fs;
use std::io::{self, Read, Write};

use crate::{Error, Result};

/// One input of a program, read as a whole.
pub struct Input {
    /// The path as it was given; `-` is standard input.
    pub name: String,
    /// Its content.
    pub bytes: Vec<u8>,
}

impl Input {
    /// Reads the named files, or standard input when there is none.
    pub fn read_all(mut names: Vec<String>) -> Result<Vec<Self>> {
        if names.is_empty() {
            names.push("-".to_owned());
        }
        names.into_iter().map(|name| Ok(Self { bytes: read_bytes(&name)?, name })).collect()
    }

    /// The content as text; bytes that are not UTF-8 are replaced.
    pub fn text(&self) -> std::borrow::Cow<'_, str> {
        String::from_utf8_lossy(&self.bytes)
    }
}

/// Reads the file `name`, or standard input when it is `-`.
pub fn read_bytes(name: &str) -> Result<Vec<u8>> {
    let read = if name == "-" {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes).map(|_| bytes)
    } else {
        fs::read(name)
    };
    read.map_err(|error| Error::io(name, error))
}

/// Writes `bytes` to the file `name`, or to standard output when it is `-`.
pub fn write_bytes(name: &str, bytes: &[u8]) -> Result<()> {
    let written = if name == "-" { io::stdout().write_all(bytes) } else { fs::write(name, bytes) };
    written.map_err(|error| Error::io(name, error))
}
