//! A report before it has a format: sections of paragraphs, tables and plots.

/// A report.
#[derive(Clone, Debug)]
pub(super) struct Document {
    pub(super) title: String,
    /// What is going on, in one sentence.
    pub(super) headline: String,
    pub(super) sections: Vec<Section>,
}

/// One section.
#[derive(Clone, Debug)]
pub(super) struct Section {
    /// Its anchor.
    pub(super) id: &'static str,
    pub(super) title: &'static str,
    pub(super) blocks: Vec<Block>,
}

impl Section {
    pub(super) const fn new(id: &'static str, title: &'static str, blocks: Vec<Block>) -> Self {
        Self { id, title, blocks }
    }
}

/// What a section has.
#[derive(Clone, Debug)]
pub(super) enum Block {
    Paragraph(String),
    Table(Table),
    Plot(Plot),
}

impl Block {
    /// A paragraph.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Paragraph(text.into())
    }
}

/// A table.
#[derive(Clone, Debug)]
pub(super) struct Table {
    pub(super) id: String,
    pub(super) caption: String,
    pub(super) head: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// One value of a table.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cell {
    pub(super) text: String,
    /// By what it is sorted, where that is not its text.
    pub(super) sort: Option<f64>,
    /// It is a number, and stands at the right.
    pub(super) number: bool,
    /// Which events are behind it: words that all of their rows have.
    pub(super) events: Option<String>,
}

/// A plot.
#[derive(Clone, Debug)]
pub(super) struct Plot {
    pub(super) svg: String,
    /// What it shows, in words.
    pub(super) alternative: String,
}

impl Cell {
    /// Text.
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            ..Self::default()
        }
    }

    /// A number, and the events that it counts.
    #[expect(clippy::cast_precision_loss, reason = "an order")]
    pub(super) fn count(count: u64, events: impl Into<String>) -> Self {
        Self {
            text: grouped(count),
            sort: Some(count as f64),
            number: true,
            events: (count > 0).then(|| events.into()),
        }
    }

    /// Text that is sorted by a number.
    pub(super) fn sorted(text: impl Into<String>, by: f64) -> Self {
        Self {
            text: text.into(),
            sort: Some(by),
            number: true,
            events: None,
        }
    }
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_apart() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), text);
        }
    }
}
