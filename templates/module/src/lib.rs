//! A module that programs share. It works on the memory of the program that calls it, so texts, slices and structs are
//! passed by address, and nothing is copied.
//!
//! Who allocates also frees: what this module writes goes into buffers that the caller owns.
{%- if no_std %}
#![cfg_attr(target_os = "unknown", no_std)]
{%- endif %}
#![warn(unsafe_op_in_unsafe_fn)]

use core::fmt::Write;
use core::sync::atomic::{AtomicU32, Ordering};
use core::{slice, str};

use {{ ident }}_api::Measure;

/// State of the module: every program that runs has its own.
static GREETED: AtomicU32 = AtomicU32::new(0);

static GREETINGS: [&str; 3] = ["Hello", "Welcome", "Good to see you"];

/// Writes a greeting into a buffer, as far as it fits, and returns the length of the whole greeting.
///
/// # Safety
/// `name` is a text in UTF-8 of `name_len` bytes, and `into` a buffer of `into_len` bytes.
#[no_mangle]
pub unsafe extern "C" fn {{ ident }}_hello(name: *const u8, name_len: usize, into: *mut u8, into_len: usize) -> usize {
    // SAFETY: the caller says so.
    let (name, into) = unsafe { (text(name, name_len), slice::from_raw_parts_mut(into, into_len)) };
    let number = GREETED.fetch_add(1, Ordering::Relaxed) as usize;
    let mut buffer = Buffer { into, used: 0 };
    // Writing to the buffer does not fail: it only stops.
    let _ = write!(buffer, "{}, {name}!", GREETINGS[number % GREETINGS.len()]);
    buffer.used
}

/// Makes ASCII letters of a text in memory capital ones.
///
/// # Safety
/// `text` is a buffer of `len` bytes.
#[no_mangle]
pub unsafe extern "C" fn {{ ident }}_shout(text: *mut u8, len: usize) {
    // SAFETY: the caller says so.
    unsafe { slice::from_raw_parts_mut(text, len) }.make_ascii_uppercase();
}

/// Measures texts, and writes what it finds to `into`.
///
/// # Safety
/// `text` is a text in UTF-8 of `len` bytes, and `into` a place for a `Measure`.
#[no_mangle]
pub unsafe extern "C" fn {{ ident }}_measure(text: *const u8, len: usize, into: *mut Measure) {
    // SAFETY: the caller says so.
    let words = unsafe { self::text(text, len) }.split_whitespace();
    let mut measure = Measure::default();
    for letters in words.map(|word| word.chars().count() as u32) {
        measure.words += 1;
        measure.letters += letters;
        measure.longest = measure.longest.max(letters);
    }
    // SAFETY: the caller says so.
    unsafe { into.write(measure) };
}

unsafe fn text<'a>(address: *const u8, len: usize) -> &'a str {
    // SAFETY: it is the caller's text, which outlives the call.
    unsafe { str::from_utf8_unchecked(slice::from_raw_parts(address, len)) }
}

/// A buffer of the caller; what does not fit is counted and dropped.
struct Buffer<'a> {
    into: &'a mut [u8],
    used: usize,
}

impl Write for Buffer<'_> {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        for &byte in text.as_bytes() {
            if let Some(place) = self.into.get_mut(self.used) {
                *place = byte;
            }
            self.used += 1;
        }
        Ok(())
    }
}
{%- if no_std %}

#[cfg(target_os = "unknown")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    core::arch::wasm32::unreachable()
}
{%- endif %}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_that_does_not_fit_is_counted_whole() {
        let (name, mut into) = ("Ada", [0; 8]);
        // SAFETY: both are what the function asks for.
        let len = unsafe { {{ ident }}_hello(name.as_ptr(), name.len(), into.as_mut_ptr(), into.len()) };
        assert_eq!((len, &into), (11, b"Hello, A"));
    }

    #[test]
    fn words_are_measured_in_letters() {
        let (text, mut found) = ("one  größer", Measure::default());
        // SAFETY: as above.
        unsafe { {{ ident }}_measure(text.as_ptr(), text.len(), &mut found) };
        assert_eq!(found, Measure { words: 2, letters: 9, longest: 6 });
    }
}
