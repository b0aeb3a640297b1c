//! Finds the lines that hold a pattern, with their numbers.

use std::process::ExitCode;

use textkit::{Args, Input, Result};

const USAGE: &str = "[-i] [-v] [-c] PATTERN [FILE...]
  PATTERN may hold * (any characters) and ? (any one character)
  -i  ignore case    -v  lines without it    -c  count only
  ends with 0 if a line was found, 1 if none was";

fn main() -> ExitCode {
    textkit::run("logsearch", USAGE, search)
}

fn search(mut args: Args) -> Result<u8> {
    let (ignore_case, invert, count_only) = (args.flag("-i"), args.flag("-v"), args.flag("-c"));
    let fold = |text: &str| if ignore_case { text.to_lowercase() } else { text.to_owned() };
    let pattern: Vec<char> = fold(&format!("*{}*", args.operand("pattern")?)).chars().collect();
    let inputs = Input::read_all(args.rest()?)?;
    let mut found = 0;
    for input in &inputs {
        let mut found_here = 0;
        for (index, line) in input.text().lines().enumerate() {
            let text: Vec<char> = fold(line).chars().collect();
            if matches(&pattern, &text) == invert {
                continue;
            }
            found_here += 1;
            if !count_only {
                println!("{}:{}: {line}", input.name, index + 1);
            }
        }
        if count_only {
            println!("{}: {found_here}", input.name);
        }
        found += found_here;
    }
    Ok(u8::from(found == 0))
}

/// Whether the whole of `text` has the form of `pattern`.
///
/// Only the last `*` is ever tried again, so the time is at most the product of the two lengths.
fn matches(pattern: &[char], text: &[char]) -> bool {
    let (mut at, mut next) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while next < text.len() {
        match pattern.get(at) {
            Some('*') => {
                at += 1;
                retry = Some((at, next));
            }
            Some(&expected) if expected == '?' || expected == text[next] => {
                at += 1;
                next += 1;
            }
            _ => {
                let Some((after_star, taken)) = retry else { return false };
                (at, next) = (after_star, taken + 1);
                retry = Some((after_star, taken + 1));
            }
        }
    }
    pattern[at..].iter().all(|&c| c == '*')
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn stars_and_question_marks() {
        let check = |pattern: &str, text: &str| {
            matches(&pattern.chars().collect::<Vec<_>>(), &text.chars().collect::<Vec<_>>())
        };
        assert!(check("*a?c*", "xxabcxx"));
        assert!(check("*", ""));
        assert!(check("a*b*c", "a-b-b-c"));
        assert!(!check("a*b*c", "a-c-b"));
        assert!(!check("a?", "a"));
    }
}
