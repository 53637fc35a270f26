//! What was measured, as a part of a page that people write the rest of. Pure.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};

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

/// `page` with the part `name` replaced by `body`. The page marks where it is:
/// `<!-- begin NAME -->` and `<!-- end NAME -->`, each on a line.
pub fn put(page: &str, name: &str, body: &str) -> Result<String> {
    let (begin, end) = (
        format!("<!-- begin {name} -->\n"),
        format!("<!-- end {name} -->"),
    );
    let lacks = || {
        anyhow!(
            "the page has no markers for {name}: expected {:?}",
            begin.trim_end()
        )
    };
    let (head, rest) = page.split_once(&begin).ok_or_else(lacks)?;
    let (_, tail) = rest.split_once(&end).ok_or_else(lacks)?;
    Ok(format!("{head}{begin}{}\n{end}{tail}", body.trim_end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_replaced_and_nothing_else() {
        let page = "# Costs\n<!-- begin a -->\nold\n<!-- end a -->\ntext\n\
                    <!-- begin b -->\n<!-- end b -->\n";
        let once = put(page, "a", "new\n").expect("markers");
        assert_eq!(once, page.replace("old", "new"));
        let both = put(&once, "b", "more").expect("markers");
        assert!(
            both.contains("<!-- begin b -->\nmore\n<!-- end b -->\n"),
            "{both}"
        );
        put(page, "c", "x").expect_err("it has none");
    }

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
