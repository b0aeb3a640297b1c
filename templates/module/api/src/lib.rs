//! What programs call the module `{{ module }}` by: plain functions over its raw ones, and the types they share.
#![cfg_attr(not(feature = "calls"), no_std)]

/// What a text consists of.
///
/// `repr(C)` gives it one layout, whoever compiled the program and the module.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measure {
    pub words: u32,
    pub letters: u32,
    /// Letters of the longest word.
    pub longest: u32,
}

#[cfg(feature = "calls")]
mod calls;
#[cfg(feature = "calls")]
pub use calls::{hello, measure, shout};
