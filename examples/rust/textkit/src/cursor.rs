//! A place in a text or other bytes, moving forward: what every parser here is built on.

use crate::{Error, Result};

/// A place for messages, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// Lines are ended by `\n`.
    pub line: usize,
    /// Counted in bytes.
    pub column: usize,
}

/// Reads bytes from the front.
pub struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// A cursor at the start of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// The next byte, left in place.
    pub fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    /// Takes the next byte.
    pub fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes the next byte if it is `byte`; says whether it was.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes `byte` or fails, naming `what` was expected.
    pub fn expect(&mut self, byte: u8, what: &str) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.error(format!("expected {what}"))) }
    }

    /// Takes bytes as long as `keep` holds.
    pub fn take_while(&mut self, keep: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let length = rest.iter().position(|&byte| !keep(byte)).unwrap_or(rest.len());
        self.at += length;
        &rest[..length]
    }

    /// Takes spaces, tabs and line ends.
    pub fn skip_space(&mut self) {
        self.take_while(|byte| byte.is_ascii_whitespace());
    }

    /// Takes a decimal number.
    pub fn number(&mut self) -> Result<usize> {
        let digits = std::str::from_utf8(self.take_while(|byte| byte.is_ascii_digit())).unwrap_or_default();
        digits.parse().map_err(|_| self.error("expected a number"))
    }

    /// Whether nothing is left.
    pub fn at_end(&self) -> bool {
        self.at == self.bytes.len()
    }

    /// Everything that is left, left in place.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }

    /// Where the next byte stands.
    pub fn position(&self) -> Position {
        let before = &self.bytes[..self.at];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |index| index + 1);
        Position { line: before.iter().filter(|&&byte| byte == b'\n').count() + 1, column: self.at - line_start + 1 }
    }

    /// An error at the next byte.
    pub fn error(&self, message: impl Into<String>) -> Error {
        Error::Syntax { at: self.position(), message: message.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_counts_lines_and_columns_from_one() {
        let mut cursor = Cursor::new(b"ab\ncd");
        assert_eq!(cursor.position(), Position { line: 1, column: 1 });
        cursor.take_while(|byte| byte != b'd');
        assert_eq!(cursor.position(), Position { line: 2, column: 2 });
    }

    #[test]
    fn a_number_ends_at_the_first_other_byte() {
        let mut cursor = Cursor::new(b"120x");
        assert_eq!(cursor.number().unwrap(), 120);
        assert_eq!(cursor.take(), Some(b'x'));
        assert!(cursor.at_end());
    }
}
