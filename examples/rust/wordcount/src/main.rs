//! Counts lines, words and bytes, and the words that are used most.

use std::collections::HashMap;
use std::process::ExitCode;

use textkit::{Args, Error, Input, Result};

const USAGE: &str = "[--top N] [FILE...]   (WORDCOUNT_CASE=keep tells capital letters apart)";

fn main() -> ExitCode {
    textkit::run("wordcount", USAGE, count)
}

fn count(mut args: Args) -> Result<u8> {
    let top = args.parsed("--top", 5)?;
    let keep_case = match std::env::var("WORDCOUNT_CASE").as_deref() {
        Ok("keep") => true,
        Ok("fold") | Err(_) => false,
        Ok(other) => return Err(Error::usage(format!("WORDCOUNT_CASE is keep or fold, not `{other}`"))),
    };
    let mut words = HashMap::new();
    for input in Input::read_all(args.rest()?)? {
        let text = input.text();
        let mut total = 0_usize;
        for word in text.split(|c: char| !c.is_alphanumeric() && c != '\'').filter(|word| !word.is_empty()) {
            let word = if keep_case { word.to_owned() } else { word.to_lowercase() };
            *words.entry(word).or_insert(0_usize) += 1;
            total += 1;
        }
        println!("{:>8} {total:>8} {:>8} {}", text.lines().count(), input.bytes.len(), input.name);
    }
    // A hash map is in random order: sort by count, then by word, so that equal input gives equal output.
    let mut ranking: Vec<_> = words.into_iter().collect();
    ranking.sort_by(|(word, count), (other, count_of_other)| count_of_other.cmp(count).then(word.cmp(other)));
    for (word, count) in ranking.iter().take(top) {
        println!("{count:>8} {word}");
    }
    Ok(0)
}
