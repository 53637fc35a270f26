//! Text from outside, made safe to show.
//!
//! A process names itself, a container runtime names a cgroup: neither may
//! move the cursor of the terminal that shows it, break a line, or reorder
//! or hide what stands around it.

use std::fmt::{self, Write as _};

/// Whether `c` shows as itself and does nothing else: no control character,
/// no line break, no direction override, nothing invisible.
pub fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        '\0'..='\u{9f}' => false,
        // The standard library knows which characters are invisible; its tables
        // are updated with Unicode.
        c => c.escape_debug().len() == 1,
    }
}

/// Displays text with every character that is not plain as `\u{..}`.
///
/// Backslashes are not escaped: systemd's names have many, and the result is for
/// people, not for parsers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0;
        if rest.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return f.write_str(rest);
        }
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| !is_plain(*c)) {
            f.write_str(&rest[..at])?;
            for c in c.escape_unicode() {
                f.write_char(c)?;
            }
            rest = &rest[at + c.len_utf8()..];
        }
        f.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_could_deceive_is_spelled_out() {
        for (text, shown) in [
            ("java", "java"),
            ("Größe 日本 \\x2d", "Größe 日本 \\x2d"),
            ("a\nb\tc\0", "a\\u{a}b\\u{9}c\\u{0}"),
            ("\x1b[2J\x7f", "\\u{1b}[2J\\u{7f}"),
            ("\u{9b}2J", "\\u{9b}2J"),
            ("\u{202e}cod.exe", "\\u{202e}cod.exe"),
            (
                "a\u{200b}b\u{feff}\u{2066}\u{ad}",
                "a\\u{200b}b\\u{feff}\\u{2066}\\u{ad}",
            ),
            ("a\u{2028}b\u{2029}\u{85}", "a\\u{2028}b\\u{2029}\\u{85}"),
            ("\u{e0041}", "\\u{e0041}"),
        ] {
            assert_eq!(Escaped(text).to_string(), shown);
        }
    }

    proptest! {
        #[test]
        fn nothing_else_comes_out(text: String) {
            prop_assert!(Escaped(&text).to_string().chars().all(is_plain));
        }
    }
}
