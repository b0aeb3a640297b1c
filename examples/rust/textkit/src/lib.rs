//! What the example programs share: the command line, reading input, and parsing text.

mod args;
pub mod csv;
mod cursor;
mod error;
mod input;
pub mod json;

pub use args::Args;
pub use cursor::{Cursor, Position};
pub use error::{Error, Result};
pub use input::{Input, read_bytes, write_bytes};

use std::process::ExitCode;

/// The status of a program whose input or usage is wrong.
pub const FAILED: u8 = 2;

/// Runs a program: `body` gets the command line and returns the exit status, and an error becomes one line on stderr.
///
/// Every program takes `--panic`, which panics at once: on WebAssembly that is a trap, which a host must report as such.
pub fn run(name: &str, usage: &str, body: impl FnOnce(Args) -> Result<u8>) -> ExitCode {
    let mut args = Args::from_env();
    if args.flag("--help") {
        println!("usage: {name} {usage}");
        return ExitCode::SUCCESS;
    }
    assert!(!args.flag("--panic"), "{name} was asked to panic");
    match body(args) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("{name}: {error}");
            ExitCode::from(FAILED)
        }
    }
}
