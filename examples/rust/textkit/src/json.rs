//! JSON, as in RFC 8259; the order of an object's members is kept.

use std::fmt::Write;

use crate::{Cursor, Result};

/// How deep arrays and objects may be nested: a parser that recurses must stop before the stack ends.
pub const MAX_DEPTH: usize = 256;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`
    Null,
    /// `true` or `false`
    Bool(bool),
    /// Any number, at double precision.
    Number(f64),
    /// A string, unescaped.
    String(String),
    /// An array.
    Array(Vec<Value>),
    /// An object.
    Object(Vec<(String, Value)>),
}

/// Parses `text`, which holds one value and nothing after it.
pub fn parse(text: &[u8]) -> Result<Value> {
    let mut cursor = Cursor::new(text);
    let value = value(&mut cursor, 0)?;
    cursor.skip_space();
    if cursor.at_end() { Ok(value) } else { Err(cursor.error("expected the end")) }
}

fn value(cursor: &mut Cursor, depth: usize) -> Result<Value> {
    cursor.skip_space();
    if depth > MAX_DEPTH {
        return Err(cursor.error(format!("nested more than {MAX_DEPTH} deep")));
    }
    match cursor.peek() {
        Some(b'{') => object(cursor, depth),
        Some(b'[') => array(cursor, depth),
        Some(b'"') => string(cursor).map(Value::String),
        Some(b'-' | b'0'..=b'9') => number(cursor),
        _ => match cursor.take_while(|byte| byte.is_ascii_alphabetic()) {
            b"null" => Ok(Value::Null),
            b"true" => Ok(Value::Bool(true)),
            b"false" => Ok(Value::Bool(false)),
            _ => Err(cursor.error("expected a value")),
        },
    }
}

fn array(cursor: &mut Cursor, depth: usize) -> Result<Value> {
    let mut items = Vec::new();
    sequence(cursor, b']', |cursor| {
        items.push(value(cursor, depth + 1)?);
        Ok(())
    })?;
    Ok(Value::Array(items))
}

fn object(cursor: &mut Cursor, depth: usize) -> Result<Value> {
    let mut members = Vec::new();
    sequence(cursor, b'}', |cursor| {
        cursor.skip_space();
        let name = string(cursor)?;
        cursor.skip_space();
        cursor.expect(b':', "`:`")?;
        members.push((name, value(cursor, depth + 1)?));
        Ok(())
    })?;
    Ok(Value::Object(members))
}

/// Takes what stands between an opening bracket and `close`, `item` by item, separated by commas.
fn sequence(cursor: &mut Cursor, close: u8, mut item: impl FnMut(&mut Cursor) -> Result<()>) -> Result<()> {
    cursor.take();
    cursor.skip_space();
    if cursor.eat(close) {
        return Ok(());
    }
    loop {
        item(cursor)?;
        cursor.skip_space();
        if cursor.eat(close) {
            return Ok(());
        }
        cursor.expect(b',', "`,` or a closing bracket")?;
    }
}

fn number(cursor: &mut Cursor) -> Result<Value> {
    let start = cursor.rest();
    cursor.eat(b'-');
    let digits = cursor.take_while(|byte| byte.is_ascii_digit());
    let well_formed = !digits.is_empty() && (digits.len() == 1 || digits[0] != b'0');
    cursor.take_while(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-'));
    let text = std::str::from_utf8(&start[..start.len() - cursor.rest().len()]).unwrap_or_default();
    match text.parse::<f64>() {
        Ok(number) if well_formed && number.is_finite() => Ok(Value::Number(number)),
        _ => Err(cursor.error(format!("`{text}` is no number"))),
    }
}

fn string(cursor: &mut Cursor) -> Result<String> {
    cursor.expect(b'"', "a string")?;
    let mut text = String::new();
    loop {
        let plain = cursor.take_while(|byte| byte >= b' ' && byte != b'"' && byte != b'\\');
        text += std::str::from_utf8(plain).map_err(|_| cursor.error("the string is not UTF-8"))?;
        match cursor.take() {
            Some(b'"') => return Ok(text),
            Some(b'\\') => text.push(escape(cursor)?),
            _ => return Err(cursor.error("expected a closing quote")),
        }
    }
}

fn escape(cursor: &mut Cursor) -> Result<char> {
    match cursor.take() {
        Some(byte @ (b'"' | b'\\' | b'/')) => Ok(byte.into()),
        Some(b'b') => Ok('\u{8}'),
        Some(b'f') => Ok('\u{c}'),
        Some(b'n') => Ok('\n'),
        Some(b'r') => Ok('\r'),
        Some(b't') => Ok('\t'),
        Some(b'u') => {
            let mut code = hex(cursor)?;
            if (0xd800..0xdc00).contains(&code) && cursor.eat(b'\\') && cursor.eat(b'u') {
                let low = hex(cursor)?.checked_sub(0xdc00).filter(|low| *low < 0x400);
                code = low.map_or(code, |low| 0x10000 + ((code - 0xd800) << 10) + low);
            }
            char::from_u32(code).ok_or_else(|| cursor.error("half a surrogate pair"))
        }
        _ => Err(cursor.error("unknown escape")),
    }
}

fn hex(cursor: &mut Cursor) -> Result<u32> {
    let mut code = 0;
    for _ in 0..4 {
        let digit = cursor.take().and_then(|byte| char::from(byte).to_digit(16));
        code = code * 16 + digit.ok_or_else(|| cursor.error("expected four hexadecimal digits"))?;
    }
    Ok(code)
}

impl Value {
    /// The member or item at `path`, as in `jobs.0.name`; the empty path is the value itself.
    pub fn at(&self, path: &str) -> Option<&Value> {
        path.split('.').filter(|step| !step.is_empty()).try_fold(self, |value, step| match value {
            Value::Object(members) => members.iter().find(|(name, _)| name == step).map(|(_, value)| value),
            Value::Array(items) => items.get(step.parse::<usize>().ok()?),
            _ => None,
        })
    }

    /// The value as text, `indent` spaces a level, or on one line when `indent` is 0.
    pub fn format(&self, indent: usize) -> String {
        let mut out = String::new();
        self.write(&mut out, indent, 0);
        out
    }

    fn write(&self, out: &mut String, indent: usize, level: usize) {
        match self {
            Value::Null => out.push_str("null"),
            Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Number(number) => write!(out, "{number}").expect("a string takes any text"),
            Value::String(text) => write_string(out, text),
            Value::Array(items) => write_sequence(out, ['[', ']'], items, indent, level, |out, item| {
                item.write(out, indent, level + 1);
            }),
            Value::Object(members) => write_sequence(out, ['{', '}'], members, indent, level, |out, (name, value)| {
                write_string(out, name);
                out.push_str(if indent > 0 { ": " } else { ":" });
                value.write(out, indent, level + 1);
            }),
        }
    }
}

fn write_sequence<T>(
    out: &mut String,
    brackets: [char; 2],
    items: &[T],
    indent: usize,
    level: usize,
    mut write_item: impl FnMut(&mut String, &T),
) {
    let new_line = |out: &mut String, level: usize| {
        if indent > 0 && !items.is_empty() {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', indent * level));
        }
    };
    out.push(brackets[0]);
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        new_line(out, level + 1);
        write_item(out, item);
    }
    new_line(out, level);
    out.push(brackets[1]);
}

fn write_string(out: &mut String, text: &str) {
    out.push('"');
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            '\0'..=' ' if character != ' ' => {
                write!(out, "\\u{:04x}", u32::from(character)).expect("a string takes any text");
            }
            _ => out.push(character),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_it_was_read() {
        let text = r#"{"a":[1,-2.5,1e300,true,null],"b":{"c":"x\"\n\u0001é"},"d":[],"e":{}}"#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(parse(value.format(2).as_bytes()).unwrap(), value);
        assert_eq!(parse(value.format(0).as_bytes()).unwrap(), value);
        assert_eq!(value.at("a.1"), Some(&Value::Number(-2.5)));
    }

    #[test]
    fn surrogate_pairs_are_joined() {
        assert_eq!(parse(br#""\ud83d\ude00""#).unwrap(), Value::String("😀".into()));
        assert!(parse(br#""\ud83d""#).is_err());
    }

    #[test]
    fn malformed_text_is_refused() {
        for text in ["", "[1,]", "{\"a\" 1}", "01", "-", "1.2.3", "\"", "nul", "1 2", "[", "\"\\x\""] {
            assert!(parse(text.as_bytes()).is_err(), "{text}");
        }
        assert!(parse("[".repeat(MAX_DEPTH * 2).as_bytes()).is_err());
    }
}
