#[no_mangle]
pub extern "C" fn give(byte: u32) {
    kit::give(byte)
}
#[no_mangle]
pub extern "C" fn run(top: u32) -> u32 {
    let mut all: Vec<_> = kit::count(&kit::text()).into_iter().collect();
    all.sort_by_key(|(word, n)| (std::cmp::Reverse(*n), word.clone()));
    let shown: Vec<String> = all
        .iter()
        .take(top as usize)
        .map(|(w, n)| format!("{n:>5} {w:?}"))
        .collect();
    kit::hash(&shown.join("\n"))
}
