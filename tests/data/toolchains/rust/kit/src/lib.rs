use std::collections::BTreeMap;
use std::sync::Mutex;
pub static BUFFER: Mutex<Vec<u8>> = Mutex::new(Vec::new());
pub fn give(byte: u32) {
    BUFFER.lock().unwrap().push(byte as u8)
}
pub fn text() -> String {
    String::from_utf8_lossy(&BUFFER.lock().unwrap()).into_owned()
}
pub fn count(text: &str) -> BTreeMap<String, usize> {
    let mut out = BTreeMap::new();
    for word in text.split_whitespace() {
        *out.entry(word.to_lowercase()).or_insert(0) += 1;
    }
    out
}
pub fn hash(s: &str) -> u32 {
    s.bytes()
        .fold(0x811c9dc5, |h, b| (h ^ b as u32).wrapping_mul(0x01000193))
}
