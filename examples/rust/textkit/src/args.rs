//! The command line: options are taken out by name, what is left are operands.

use std::str::FromStr;

use crate::{Error, Result};

/// The arguments of a program that nothing has taken yet.
pub struct Args {
    left: Vec<String>,
}

impl Args {
    /// The arguments this process was started with.
    pub fn from_env() -> Self {
        Self { left: std::env::args().skip(1).collect() }
    }

    /// Takes the flag `name`; says whether it was there.
    pub fn flag(&mut self, name: &str) -> bool {
        let place = self.left.iter().position(|arg| arg == name);
        place.map(|index| self.left.remove(index)).is_some()
    }

    /// Takes the option `name` and the value after it.
    pub fn option(&mut self, name: &str) -> Result<Option<String>> {
        let Some(index) = self.left.iter().position(|arg| arg == name) else {
            return Ok(None);
        };
        if index + 1 == self.left.len() {
            return Err(Error::usage(format!("{name} needs a value")));
        }
        self.left.remove(index);
        Ok(Some(self.left.remove(index)))
    }

    /// Takes the option `name` as a number or the like, `default` when it is missing.
    pub fn parsed<T: FromStr>(&mut self, name: &str, default: T) -> Result<T> {
        match self.option(name)? {
            None => Ok(default),
            Some(text) => text.parse().map_err(|_| Error::usage(format!("{name} does not take `{text}`"))),
        }
    }

    /// Takes the next operand, which the program calls `what`.
    pub fn operand(&mut self, what: &str) -> Result<String> {
        if self.left.is_empty() {
            return Err(Error::usage(format!("no {what} is given")));
        }
        let operand = self.left.remove(0);
        if operand.len() > 1 && operand.starts_with('-') {
            return Err(Error::usage(format!("unknown option {operand}")));
        }
        Ok(operand)
    }

    /// Takes every operand that is left.
    pub fn rest(mut self) -> Result<Vec<String>> {
        let mut operands = Vec::new();
        while !self.left.is_empty() {
            operands.push(self.operand("file")?);
        }
        Ok(operands)
    }
}
