//! Tables of Markdown.

use std::{fmt::Write as _, ops::Range};

/// A table of Markdown.
#[derive(Clone, Debug)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// One with these columns.
    pub fn new(columns: &[&str]) -> Self {
        let heads: Vec<String> = columns.iter().map(|&it| it.to_owned()).collect();
        let rules = columns.iter().map(|_| "---".to_owned()).collect();
        Self {
            rows: vec![heads, rules],
        }
    }

    /// Aligns the figures in these columns at their right.
    pub(crate) fn figures(mut self, columns: Range<usize>) -> Self {
        for rule in self
            .rows
            .iter_mut()
            .skip(1)
            .flatten()
            .skip(columns.start)
            .take(columns.len())
        {
            "---:".clone_into(rule);
        }
        self
    }

    /// Adds a row. What it lacks stays empty.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        let width = self.rows.first().map_or(0, Vec::len);
        let mut cells: Vec<String> = cells.into_iter().collect();
        cells.resize(width, String::new());
        self.rows.push(cells);
    }

    /// The table.
    pub fn markdown(&self) -> String {
        let mut out = String::new();
        for row in &self.rows {
            let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
            let _infallible = writeln!(out, "| {} |", cells.join(" | "));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_rows_are_filled_up() {
        let mut table = Table::new(&["who", "what"]);
        table.row(["a|b".to_owned()]);
        assert_eq!(
            table.markdown(),
            "| who | what |\n| --- | --- |\n| a\\|b |  |\n"
        );
    }
}
