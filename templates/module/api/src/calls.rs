//! The functions of the module, and the memory that it is given once.

use crate::Measure;

mod raw {
    use crate::Measure;

    // `{{ module }}` is what bacpack.toml says that it is; `bacpack build` writes the CID in its place.
    #[cfg_attr(not(feature = "linked"), link(wasm_import_module = "{{ module }}"))]
    extern "C" {
        pub fn {{ ident }}_hello(name: *const u8, name_len: usize, into: *mut u8, into_len: usize) -> usize;
        pub fn {{ ident }}_shout(text: *mut u8, len: usize);
        pub fn {{ ident }}_measure(text: *const u8, len: usize, into: *mut Measure);
    }

    // These two every module has that keeps data or uses a stack: `bacpack build` adds them.
    #[cfg(not(feature = "linked"))]
    #[link(wasm_import_module = "{{ module }}")]
    extern "C" {
        #[link_name = "_room"]
        pub fn room() -> usize;
        #[link_name = "_place"]
        pub fn place(at: *mut u8);
    }
}

/// Greets someone. A text goes in by address; the greeting comes back in a buffer of ours.
pub fn hello(name: &str) -> String {
    ready();
    let mut greeting = vec![0; name.len() + 32];
    // SAFETY: text and buffer are as long as is said.
    let len = unsafe { raw::{{ ident }}_hello(name.as_ptr(), name.len(), greeting.as_mut_ptr(), greeting.len()) };
    greeting.truncate(len);
    String::from_utf8_lossy(&greeting).into_owned()
}

/// Makes ASCII letters capital ones, where they are: the module changes our slice.
pub fn shout(text: &mut [u8]) {
    ready();
    // SAFETY: the slice is as long as is said.
    unsafe { raw::{{ ident }}_shout(text.as_mut_ptr(), text.len()) };
}

/// Measures a text; the module fills in a struct of ours.
pub fn measure(text: &str) -> Measure {
    ready();
    let mut found = Measure::default();
    // SAFETY: the text is as long as is said, and `found` is a `Measure`.
    unsafe { raw::{{ ident }}_measure(text.as_ptr(), text.len(), &mut found) };
    found
}

/// Gives the module room for its data and its stack, once, before it is called first.
#[cfg(not(feature = "linked"))]
fn ready() {
    use std::sync::Once;

    static READY: Once = Once::new();
    READY.call_once(|| {
        // SAFETY: the room is as large as the module says, and is never freed.
        unsafe { raw::place(Vec::leak(vec![0; raw::room()]).as_mut_ptr()) };
    });
}

#[cfg(feature = "linked")]
fn ready() {}
