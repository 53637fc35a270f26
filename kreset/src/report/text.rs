//! A report as text for terminals, and as Markdown for tickets.

use std::fmt::Write as _;

use super::document::{Block, Cell, Document, Section, Table};
use crate::util::escape::Escaped;

/// Rows of a table in text; the page has more.
const ROWS: usize = 20;

/// All but the list of events, which only the page has.
fn without_events(document: &Document) -> impl Iterator<Item = &Section> {
    let sections = document.sections.iter();
    sections.filter(|section| section.id != "events")
}

/// As text.
pub(super) fn text(document: &Document) -> String {
    let mut out = format!("{}\n\n{}\n", document.title, escaped(&document.headline));
    for section in without_events(document) {
        let _written = write!(
            out,
            "\n{}\n{}\n",
            section.title,
            "-".repeat(section.title.len())
        );
        for block in &section.blocks {
            match block {
                Block::Paragraph(text) => {
                    let _written = writeln!(out, "{}", escaped(text));
                }
                Block::Plot(plot) => {
                    let _written = writeln!(out, "{}\n", escaped(&plot.alternative));
                }
                Block::Table(table) => text_table(table, &mut out),
            }
        }
    }
    out
}

fn text_table(table: &Table, out: &mut String) {
    let _written = writeln!(out, "{}:", escaped(&table.caption));
    let shown = table.rows.iter().take(ROWS);
    let mut widths: Vec<usize> = table.head.iter().map(|head| head.len()).collect();
    for row in shown.clone() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(escaped(&cell.text).chars().count()).min(60);
        }
    }
    let mut line = |cells: Vec<(String, bool)>| {
        let last = cells.len().saturating_sub(1);
        let mut text = String::from("  ");
        for (at, (cell, right)) in cells.into_iter().enumerate() {
            let width = widths.get(at).copied().unwrap_or(0);
            let _written = match (at == last, right) {
                (true, false) => write!(text, "{cell}"),
                (_, true) => write!(text, "{cell:>width$}  "),
                _ => write!(text, "{cell:<width$}  "),
            };
        }
        let _written = writeln!(out, "{}", text.trim_end());
    };
    line(
        table
            .head
            .iter()
            .map(|head| ((*head).to_owned(), false))
            .collect(),
    );
    for row in shown {
        let cells = row
            .iter()
            .map(|cell| (escaped(&cell.text), is_number(cell)));
        line(cells.collect());
    }
    if table.rows.len() > ROWS {
        let _written = writeln!(out, "  and {} more", table.rows.len() - ROWS);
    }
    out.push('\n');
}

/// As Markdown.
pub(super) fn markdown(document: &Document) -> String {
    let mut out = format!("# {}\n\n{}\n", document.title, marked(&document.headline));
    for section in without_events(document) {
        let _written = write!(out, "\n## {}\n\n", section.title);
        for block in &section.blocks {
            match block {
                Block::Paragraph(text) => {
                    let _written = writeln!(out, "{}\n", marked(text));
                }
                Block::Plot(plot) => {
                    let _written = writeln!(out, "{}\n", marked(&plot.alternative));
                }
                Block::Table(table) => markdown_table(table, &mut out),
            }
        }
    }
    out
}

fn markdown_table(table: &Table, out: &mut String) {
    let _written = writeln!(out, "{}:\n", marked(&table.caption));
    let _written = writeln!(out, "| {} |", table.head.join(" | "));
    let numbers = table
        .rows
        .first()
        .map_or_else(Vec::new, |row| row.iter().map(is_number).collect());
    let rule: Vec<_> = (0..table.head.len())
        .map(|at| {
            if numbers.get(at) == Some(&true) {
                "--:"
            } else {
                "---"
            }
        })
        .collect();
    let _written = writeln!(out, "|{}|", rule.join("|"));
    for row in table.rows.iter().take(ROWS) {
        let cells: Vec<_> = row.iter().map(|cell| marked(&cell.text)).collect();
        let _written = writeln!(out, "| {} |", cells.join(" | "));
    }
    if table.rows.len() > ROWS {
        let _written = writeln!(out, "\nand {} more", table.rows.len() - ROWS);
    }
    out.push('\n');
}

const fn is_number(cell: &Cell) -> bool {
    cell.number
}

/// Nothing in it acts on a terminal.
fn escaped(text: &str) -> String {
    Escaped(text).to_string()
}

/// Nothing in it acts in Markdown.
fn marked(text: &str) -> String {
    let mut out = String::new();
    for letter in escaped(text).chars() {
        if matches!(
            letter,
            '|' | '*' | '_' | '`' | '<' | '>' | '[' | ']' | '#' | '\\'
        ) {
            out.push('\\');
        }
        out.push(letter);
    }
    out
}
