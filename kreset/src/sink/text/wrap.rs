//! Lines that break between words.

use unicode_width::UnicodeWidthStr as _;

/// Columns that `text` takes on a terminal.
pub(super) fn width_of(text: &str) -> usize {
    text.width()
}

/// Breaks `text` between words into lines of at most `width` columns; the first begins
/// with `first`, the others with `rest`. A word that is longer than a line is not
/// broken.
pub(crate) fn wrap(first: &str, rest: &str, text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = first.to_owned();
    let mut is_begun = false;
    for word in words(text) {
        let needed = width_of(&word) + usize::from(is_begun);
        if is_begun && width_of(&line) + needed > width {
            lines.push(std::mem::replace(&mut line, rest.to_owned()));
            is_begun = false;
        }
        if is_begun {
            line.push(' ');
        }
        line.push_str(&word);
        is_begun = true;
    }
    if is_begun {
        lines.push(line);
    }
    lines
}

/// Width beyond which prose is hard to read, however wide the terminal is.
const PROSE: usize = 110;

/// As [`wrap`], with each command, between backticks, on a line of its own. That is never
/// broken, as it is there to be pasted: where it is too long for its place, it begins
/// farther to the left.
pub(crate) fn with_commands(first: &str, rest: &str, text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut first = first;
    for (at, part) in text.split('`').enumerate() {
        if at % 2 == 1 {
            let room = width.saturating_sub(width_of(part));
            let indent = " ".repeat((rest.len() + 2).min(room));
            lines.push(format!("{indent}{part}"));
        } else {
            // What joined it to the command.
            let part = part.trim_start_matches([';', ',', '.', ' ']);
            lines.extend(wrap(first, rest, part, width.min(PROSE)));
        }
        first = rest;
    }
    lines
}

fn ends_in_digit(word: &str) -> bool {
    word.ends_with(|c: char| c.is_ascii_digit())
}

/// `+14.0`, which stands before its class.
fn is_weight(word: &str) -> bool {
    word.strip_prefix(['+', '-'])
        .is_some_and(|number| number.parse::<f64>().is_ok())
}

/// The words of `text`; a number keeps its unit, and a weight its class.
fn words(text: &str) -> Vec<String> {
    const UNITS: [&str; 5] = ["s", "ms", "us", "min", "h"];
    let mut words: Vec<String> = Vec::new();
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let unit = word.trim_end_matches([',', ';', '.', ')', ':']);
        match words.last_mut() {
            Some(last) if is_weight(last) || (UNITS.contains(&unit) && ends_in_digit(last)) => {
                last.push(' ');
                last.push_str(word);
            }
            _ => words.push(word.to_owned()),
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_break_between_words() {
        assert_eq!(
            wrap("- ", "  ", "one two three four", 9),
            ["- one two", "  three", "  four"]
        );
        assert_eq!(
            wrap("", "", "a longerthanall b", 4),
            ["a", "longerthanall", "b"]
        );
        assert!(wrap("- ", "  ", "", 9).is_empty());
        assert_eq!(
            wrap("", "", "idle 350.2 s; sure", 11),
            ["idle", "350.2 s;", "sure"]
        );
        // Wide characters take two columns.
        assert_eq!(wrap("", "", "日本 語", 6), ["日本", "語"]);
    }

    proptest! {
        #[test]
        fn no_word_is_lost_and_no_line_too_long(text in "([a-z]{1,8} ?){0,30}", width in 12_usize..60) {
            let lines = wrap("> ", "  ", &text, width);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            let mut joined = words(&lines.join(" "));
            if !joined.is_empty() {
                joined.remove(0);
            }
            prop_assert_eq!(joined, words(&text));
            let longest = words(&text).iter().map(String::len).max().unwrap_or(0);
            for line in &lines {
                prop_assert!(width_of(line) <= width.max(longest + 2), "{line:?}");
            }
        }
    }
}
