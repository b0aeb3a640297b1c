//! Images of one or three channels, 8 bits each.

use textkit::{Cursor, Result};

/// The longest side that is read, in pixels: no product of two sides leaves 32 bits.
const MAX_SIDE: usize = 8192;

/// An image, its samples row by row.
pub struct Image {
    pub width: usize,
    pub height: usize,
    channels: usize,
    samples: Vec<u8>,
}

impl Image {
    /// Reads a portable grey map or pixel map.
    pub fn decode(file: &[u8]) -> Result<Self> {
        let mut cursor = Cursor::new(file);
        cursor.expect(b'P', "a PGM or PPM file")?;
        let (channels, binary) = match cursor.take() {
            Some(b'2') => (1, false),
            Some(b'3') => (3, false),
            Some(b'5') => (1, true),
            Some(b'6') => (3, true),
            _ => return Err(cursor.error("expected P2, P3, P5 or P6")),
        };
        let (width, height, maximum) = (header(&mut cursor)?, header(&mut cursor)?, header(&mut cursor)?);
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(cursor.error(format!("cannot hold {width} by {height} pixels")));
        }
        let count = width * height * channels;
        if !(1..=255).contains(&maximum) {
            return Err(cursor.error("only 8-bit images are read"));
        }
        let samples = if binary {
            cursor.take();
            cursor.rest()[..count].to_vec()
        } else {
            (0..count).map(|_| header(&mut cursor).map(|value| value.min(255) as u8)).collect::<Result<_>>()?
        };
        // Stretch to the full range, so that what follows knows one range only.
        let samples = samples.into_iter().map(|value| (usize::from(value) * 255 / maximum).min(255) as u8).collect();
        Ok(Self { width, height, channels, samples })
    }

    /// The image with its longer side at most `size`: each pixel is the mean of the box it covers.
    pub fn shrink(&self, size: usize) -> Self {
        let longer = self.width.max(self.height);
        let size = size.min(longer);
        let (width, height) = ((self.width * size / longer).max(1), (self.height * size / longer).max(1));
        let mut samples = Vec::with_capacity(width * height * self.channels);
        for y in 0..height {
            let rows = y * self.height / height..(y + 1) * self.height / height;
            for x in 0..width {
                let columns = x * self.width / width..(x + 1) * self.width / width;
                for channel in 0..self.channels {
                    let total: u64 = rows.clone().map(|row| self.row_total(row, columns.clone(), channel)).sum();
                    samples.push((total / (rows.len() * columns.len()) as u64) as u8);
                }
            }
        }
        Self { width, height, channels: self.channels, samples }
    }

    fn row_total(&self, row: usize, columns: std::ops::Range<usize>, channel: usize) -> u64 {
        columns.map(|x| u64::from(self.samples[(row * self.width + x) * self.channels + channel])).sum()
    }

    /// Writes the binary form.
    pub fn encode(&self) -> Vec<u8> {
        let kind = if self.channels == 1 { 5 } else { 6 };
        let mut file = format!("P{kind}\n{} {}\n255\n", self.width, self.height).into_bytes();
        file.extend_from_slice(&self.samples);
        file
    }
}

/// Takes one number of the header, with the space and comments before it.
fn header(cursor: &mut Cursor) -> Result<usize> {
    cursor.skip_space();
    while cursor.eat(b'#') {
        cursor.take_while(|byte| byte != b'\n');
        cursor.skip_space();
    }
    cursor.number()
}

#[cfg(test)]
mod tests {
    use super::Image;

    #[test]
    fn a_box_becomes_its_mean() {
        let image = Image::decode(b"P2 # grey\n4 2 255\n0 2 10 20\n4 6 30 40").unwrap();
        assert_eq!(image.shrink(2).encode(), b"P5\n2 1\n255\n\x03\x19");
        assert_eq!(image.shrink(9).samples, image.samples);
    }
}
