//! A finding as a block: its first line stands alone, the rest is indented under it.

use anstyle::Style;

use super::{
    palette::Palette,
    wrap::{width_of, with_commands, wrap},
};
use crate::event::Culprit;

/// What stands under a first line begins below its culprit.
pub(super) const INDENT: &str = "          ";
/// Width of culprit and deed; what is longer pushes the rest of its line.
const HEADLINE: usize = 40;
/// Width of the name of evidence and facts.
const NAME: usize = 16;
/// Width of the first line, beside which a wide terminal has room for the second.
const HALF: usize = 82;

/// The texts of a block, made safe to show.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Block {
    /// Time of day of the first event.
    pub(super) time: String,
    /// Who is responsible; `None` for what is not about a connection.
    pub(super) culprit: Option<Culprit>,
    /// What they did.
    pub(super) deed: String,
    /// Whether it is routine.
    pub(super) is_noise: bool,
    /// How sure that is.
    pub(super) sure: String,
    /// How often, and since when; empty for a single event.
    pub(super) count: String,
    /// Whose connection to whom.
    pub(super) ends: String,
    /// What was measured.
    pub(super) facts: String,
    /// Why, and why not: a label and a reason each.
    pub(super) why: Vec<(&'static str, String)>,
    /// Names and what belongs to them.
    pub(super) details: Vec<(String, String)>,
    /// What to do; empty where it was said before. A command in it, between backticks,
    /// has a line of its own.
    pub(super) advice: String,
    /// Where to read on.
    pub(super) more: String,
}

/// One line of a block, and its style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) text: String,
    /// Bytes of `text` that have the style; what is before and after them is plain.
    styled: std::ops::Range<usize>,
    style: Style,
}

impl Row {
    pub(super) fn plain(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            styled: 0..0,
            style: Style::new(),
        }
    }

    /// A line that has a style from byte `start` on.
    pub(super) fn styled_from(start: usize, text: String, style: Style) -> Self {
        Self {
            styled: start.min(text.len())..text.len(),
            style,
            text,
        }
    }

    /// A line that has a style from its first character on.
    pub(super) fn styled(text: impl Into<String>, style: Style) -> Self {
        let text = text.into();
        let start = text.len() - text.trim_start().len();
        Self {
            styled: start..text.len(),
            style,
            text,
        }
    }

    /// Appends the line and its end.
    pub(super) fn write(&self, out: &mut String) {
        let text = self.text.trim_end();
        let (start, end) = (self.styled.start, self.styled.end.min(text.len()));
        if start >= end {
            out.push_str(text);
        } else {
            let style = self.style;
            out.push_str(&text[..start]);
            out.push_str(&style.render().to_string());
            out.push_str(&text[start..end]);
            out.push_str(&style.render_reset().to_string());
            out.push_str(&text[end..]);
        }
        out.push('\n');
    }
}

impl Block {
    /// The first line alone.
    pub(super) fn first(&self, palette: &Palette) -> Row {
        let mut text = format!("{:<8}  ", self.time);
        let start = text.len();
        let word = self.culprit.map_or("", Culprit::as_str);
        text.push_str(word);
        let end = text.len();
        if !word.is_empty() {
            text.push(' ');
        }
        text.push_str(&self.deed);
        pad(&mut text, INDENT.len() + HEADLINE);
        text.push_str("  ");
        text.push_str(&self.sure);
        if !self.count.is_empty() {
            pad(&mut text, INDENT.len() + HEADLINE + 2 + "100% sure".len());
            text.push_str("  ");
            text.push_str(&self.count);
        }
        let style = if self.is_noise {
            palette.dim
        } else {
            self.culprit.map_or(palette.bold, |it| palette.culprit(it))
        };
        Row {
            text,
            styled: start..end,
            style,
        }
    }

    /// The whole block, `width` columns wide.
    pub(super) fn rows(&self, palette: &Palette, width: usize) -> Vec<Row> {
        let mut first = self.first(palette);
        let mut rows = Vec::new();
        let beside = HALF + width_of(&self.ends) <= width && !self.ends.is_empty();
        // Two short lines on one row, where there is room for both.
        if beside {
            pad(&mut first.text, HALF);
            first.text.push_str(&self.ends);
            rows.push(first);
        } else {
            rows.push(first);
            rows.extend(plain(&self.ends, width));
        }
        rows.extend(plain(&self.facts, width));
        let more_beside = !self.more.is_empty()
            && rows.len() > 1
            && HALF + width_of(&self.more) <= width
            && rows.last().is_some_and(|row| width_of(&row.text) < HALF);
        if let Some(row) = rows.last_mut().filter(|_| more_beside) {
            pad(&mut row.text, HALF);
            row.text.push_str(&self.more);
        }
        let why = self.why.iter().map(|(label, text)| (*label, text, 3));
        let details = self
            .details
            .iter()
            .map(|(name, text)| (name.as_str(), text, NAME));
        for (label, text, label_width) in why.chain(details) {
            let first = format!("{INDENT}{label:<label_width$}  ");
            let rest = " ".repeat(first.len());
            let lines = wrap(&first, &rest, text, width);
            rows.extend(lines.into_iter().map(Row::plain));
        }
        let (first, rest) = (format!("{INDENT}-> "), format!("{INDENT}   "));
        let advice = with_commands(&first, &rest, &self.advice, width);
        rows.extend(
            advice
                .into_iter()
                .map(|line| Row::styled(line, palette.advice)),
        );
        if !more_beside && !self.more.is_empty() {
            rows.push(Row::styled(format!("{INDENT}{}", self.more), palette.dim));
        }
        rows
    }
}

fn plain(text: &str, width: usize) -> impl Iterator<Item = Row> {
    wrap(INDENT, INDENT, text, width)
        .into_iter()
        .map(Row::plain)
}

/// Fills `text` up with spaces to `width` columns.
fn pad(text: &mut String, width: usize) {
    let missing = width.saturating_sub(width_of(text));
    text.extend(std::iter::repeat_n(' ', missing));
}
