//! Sentences that many events repeat, each kept once.

use std::collections::HashSet;

use foldhash::fast::RandomState;
use smol_str::SmolStr;

/// Sentences that are known at most: those with numbers in them may never come again.
const KNOWN: usize = 4_096;
/// The longest sentence that is kept, bytes: what is longer repeats less than it takes.
const LONGEST: usize = 1_024;

/// The sentences that were read.
#[derive(Debug, Default)]
pub(super) struct Texts(HashSet<SmolStr, RandomState>);

impl Texts {
    /// The same sentence, without room of its own if it was read before.
    pub(super) fn of(&mut self, text: &str) -> SmolStr {
        if text.len() > LONGEST {
            return SmolStr::new(text);
        }
        if let Some(known) = self.0.get(text) {
            return known.clone();
        }
        if self.0.len() >= KNOWN {
            self.0.clear();
        }
        let text = SmolStr::new(text);
        self.0.insert(text.clone());
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sentence_is_kept_once_and_not_all_are_kept() {
        let mut texts = Texts::default();
        let sentence = "Something between the two hosts made the RST.";
        let [first, again] = [texts.of(sentence), texts.of(sentence)];
        assert_eq!(first, sentence);
        assert_eq!(first.as_ptr(), again.as_ptr());
        for number in 0..2 * KNOWN {
            let sentence = format!("It was idle for {number} seconds before the RST came.");
            assert_eq!(texts.of(&sentence), sentence);
            assert!(texts.0.len() <= KNOWN);
        }
        let known = texts.0.len();
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(texts.of(&long), long);
        assert_eq!(texts.0.len(), known);
    }
}
