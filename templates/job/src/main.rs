//! Greets everyone who is named on the command line, or else in lines of standard input.

use std::io::{self, BufRead};

use {{ ident }}_api::{hello, measure, shout, Measure};

fn main() -> io::Result<()> {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let names = if named.is_empty() { io::stdin().lock().lines().collect::<io::Result<_>>()? } else { named };
    for name in &names {
        println!("{}", greeting(name));
    }
    Ok(())
}

/// A greeting, loud for names of more than one word.
fn greeting(name: &str) -> String {
    let mut text = hello(name).into_bytes();
    let found = measure(name);
    if found.words > 1 {
        shout(&mut text);
    }
    line(&String::from_utf8_lossy(&text), found)
}

fn line(text: &str, found: Measure) -> String {
    format!("{text} ({} letters)", found.letters)
}
{%- if template == "workspace" %}

/// The module, for tests: there it is a library as any other.
#[cfg(test)]
extern crate {{ ident }};
{%- endif %}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_how_many_letters_there_are() {
        let found = Measure { words: 1, letters: 3, longest: 3 };
        assert_eq!(line("Hello, Ada!", found), "Hello, Ada! (3 letters)");
    }
{%- if template == "workspace" %}

    #[test]
    fn long_names_are_greeted_loudly() {
        assert_eq!(greeting("Ada"), "Hello, Ada! (3 letters)");
        assert_eq!(greeting("Grace Hopper"), "WELCOME, GRACE HOPPER! (11 letters)");
    }
{%- endif %}
}
