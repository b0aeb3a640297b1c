#[no_mangle]
pub extern "C" fn give(byte: u32) {
    kit::give(byte)
}
#[no_mangle]
pub extern "C" fn run(scale: u32) -> u32 {
    let mut total = 0u64;
    for (word, n) in kit::count(&kit::text()) {
        total += word.parse::<u64>().unwrap() * n as u64;
    }
    kit::hash(&format!(
        "{:?} of {total:#x}",
        (scale as u64).checked_div(total)
    ))
}
