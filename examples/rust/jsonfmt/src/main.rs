//! Formats JSON, or takes one value out of it.

use std::process::ExitCode;

use textkit::{Args, Result, json, read_bytes, write_bytes};

const USAGE: &str = "[--indent N] [--get PATH] [--in-place] [FILE]
  --indent 0   everything on one line (2 otherwise)
  --get PATH   only the value at PATH, as in jobs.0.name; ends with 1 if there is none
  --in-place   write the result to FILE
  ends with 2 and names the line and column if the text is no JSON";

fn main() -> ExitCode {
    textkit::run("jsonfmt", USAGE, format)
}

fn format(mut args: Args) -> Result<u8> {
    let indent = args.parsed("--indent", 2)?;
    let path = args.option("--get")?.unwrap_or_default();
    let in_place = args.flag("--in-place");
    let name = args.rest()?.pop().unwrap_or_else(|| "-".to_owned());

    let document = json::parse(&read_bytes(&name)?)?;
    let Some(value) = document.at(&path) else {
        eprintln!("jsonfmt: nothing at {path}");
        return Ok(1);
    };
    let text = match value {
        // A string that was asked for is wanted as text, for use in a script.
        json::Value::String(text) if !path.is_empty() => text.clone(),
        value => value.format(indent),
    };
    write_bytes(if in_place { &name } else { "-" }, (text + "\n").as_bytes())?;
    Ok(0)
}
