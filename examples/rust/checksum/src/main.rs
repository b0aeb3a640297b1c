//! Prints checksums of files, or checks files against a list of them.

mod crc32;
mod sha256;

use std::process::ExitCode;

use textkit::{Args, Cursor, Error, Input, Result, read_bytes};

const USAGE: &str = "[--crc32] [FILE...] | [--crc32] --check LIST
  prints `<checksum>  <file>` for each file, SHA-256 unless --crc32
  --check reads such lines from LIST; ends with 1 if a file differs";

fn main() -> ExitCode {
    textkit::run("checksum", USAGE, |mut args: Args| {
        let digest = if args.flag("--crc32") { crc32::hex } else { sha256::hex };
        match args.option("--check")? {
            Some(list) => check(&read_bytes(&list)?, digest),
            None => print(args, digest),
        }
    })
}

fn print(args: Args, digest: fn(&[u8]) -> String) -> Result<u8> {
    for input in Input::read_all(args.rest()?)? {
        println!("{}  {}", digest(&input.bytes), input.name);
    }
    Ok(0)
}

fn check(list: &[u8], digest: fn(&[u8]) -> String) -> Result<u8> {
    let mut differing = 0;
    let mut cursor = Cursor::new(list);
    while !cursor.at_end() {
        let expected = cursor.take_while(|byte| byte.is_ascii_hexdigit());
        cursor.expect(b' ', "a checksum and two spaces")?;
        cursor.expect(b' ', "two spaces after the checksum")?;
        let name = String::from_utf8_lossy(cursor.take_while(|byte| byte != b'\n')).into_owned();
        cursor.take();
        let equal = match read_bytes(&name) {
            Ok(bytes) => digest(&bytes).as_bytes().eq_ignore_ascii_case(expected),
            Err(error @ Error::Io { .. }) => {
                eprintln!("checksum: {error}");
                false
            }
            Err(error) => return Err(error),
        };
        println!("{name}: {}", if equal { "ok" } else { "DIFFERS" });
        differing += usize::from(!equal);
    }
    if differing > 0 {
        eprintln!("checksum: {differing} of the files differ");
    }
    Ok(u8::from(differing > 0))
}
