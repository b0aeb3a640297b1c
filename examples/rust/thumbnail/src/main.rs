//! Makes a small version of a PGM or PPM image.

mod image;

use std::process::ExitCode;

use image::Image;
use textkit::{Args, Error, read_bytes, write_bytes};

const USAGE: &str = "[--size N] IN OUT
  IN is a PGM or PPM image (P2, P3, P5 or P6; - is standard input), OUT the binary form of it (- is standard output)
  --size N   the longer side of OUT in pixels, 64 unless given; an image is never made larger
  pixels that are missing at the end of IN are a panic: the header is taken at its word";

fn main() -> ExitCode {
    textkit::run("thumbnail", USAGE, |mut args: Args| {
        let size = args.parsed("--size", 64)?;
        if size == 0 {
            return Err(Error::usage("--size must be at least 1"));
        }
        let (source, target) = (args.operand("input")?, args.operand("output")?);
        let image = Image::decode(&read_bytes(&source)?)?;
        let small = image.shrink(size);
        write_bytes(&target, &small.encode())?;
        eprintln!("{}x{} -> {}x{}", image.width, image.height, small.width, small.height);
        Ok(0)
    })
}
