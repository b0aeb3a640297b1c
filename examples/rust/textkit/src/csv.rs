//! Comma-separated values, as in RFC 4180.

use crate::{Cursor, Error, Result};

/// Parses `text` into rows of fields; empty lines are left out.
pub fn parse(text: &[u8]) -> Result<Vec<Vec<String>>> {
    let mut cursor = Cursor::new(text);
    let mut rows = Vec::new();
    while !cursor.at_end() {
        let row = row(&mut cursor)?;
        if row.len() > 1 || !row[0].is_empty() {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn row(cursor: &mut Cursor) -> Result<Vec<String>> {
    let mut fields = Vec::new();
    loop {
        fields.push(if cursor.eat(b'"') { quoted(cursor)? } else { bare(cursor) });
        match cursor.take() {
            Some(b',') => {}
            Some(b'\r') if cursor.eat(b'\n') => return Ok(fields),
            Some(b'\n') | None => return Ok(fields),
            Some(byte) => return Err(unexpected(cursor, byte)),
        }
    }
}

fn bare(cursor: &mut Cursor) -> String {
    let field = cursor.take_while(|byte| !matches!(byte, b',' | b'\r' | b'\n'));
    String::from_utf8_lossy(field).into_owned()
}

fn quoted(cursor: &mut Cursor) -> Result<String> {
    let mut field = Vec::new();
    loop {
        field.extend_from_slice(cursor.take_while(|byte| byte != b'"'));
        cursor.expect(b'"', "a closing quote")?;
        if !cursor.eat(b'"') {
            return Ok(String::from_utf8_lossy(&field).into_owned());
        }
        field.push(b'"');
    }
}

fn unexpected(cursor: &Cursor, byte: u8) -> Error {
    cursor.error(format!("unexpected {:?} after a field", char::from(byte)))
}

/// Quotes `field` for output if it needs quotes.
pub fn quote(field: &str) -> String {
    if field.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_line_ends_inside_a_field_are_kept() {
        let rows = parse(b"name,note\r\nA,\"says \"\"no\"\",\nthen yes\"\r\n\r\n").unwrap();
        assert_eq!(rows, [["name", "note"], ["A", "says \"no\",\nthen yes"]]);
        assert_eq!(quote(&rows[1][1]), "\"says \"\"no\"\",\nthen yes\"");
    }

    #[test]
    fn an_open_quote_is_an_error() {
        assert!(parse(b"\"a").is_err());
        assert!(parse(b"\"a\"b").is_err());
    }
}
