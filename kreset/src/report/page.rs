//! A report as one page that needs no other file.

use std::fmt::Write as _;

use super::document::{Block, Document, Plot, Table};
use crate::util::escape::Escaped;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
/// Tables with more rows scroll in their own frame.
const LONG: usize = 16;

/// As HTML.
pub(super) fn html(document: &Document) -> String {
    let mut out = String::new();
    let title = escaped(&document.title);
    let _written = write!(
        out,
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"generator\" content=\"kreset-trace {}\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; \
         style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n<style>\n{STYLE}</style>\n\
         </head>\n<body>\n<header>\n<h1>{title}</h1>\n<p class=\"headline\">{}</p>\n</header>\n",
        env!("CARGO_PKG_VERSION"),
        escaped(&document.headline)
    );
    out.push_str("<nav aria-label=\"Sections\"><ul>\n");
    for section in &document.sections {
        let _written = writeln!(
            out,
            "<li><a href=\"#{}\">{}</a></li>",
            section.id,
            escaped(section.title)
        );
    }
    out.push_str("</ul></nav>\n<main>\n");
    for section in &document.sections {
        let _written = writeln!(
            out,
            "<section id=\"{0}\" aria-labelledby=\"{0}-title\">\n<h2 id=\"{0}-title\">{1}</h2>",
            section.id,
            escaped(section.title)
        );
        for block in &section.blocks {
            match block {
                Block::Paragraph(text) => {
                    let _written = writeln!(out, "<p>{}</p>", escaped(text));
                }
                Block::Plot(plot) => figure(plot, &mut out),
                Block::Table(shown) => table(shown, &mut out),
            }
        }
        out.push_str("</section>\n");
    }
    let _written = write!(
        out,
        "</main>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    );
    out
}

fn figure(plot: &Plot, out: &mut String) {
    let alternative = escaped(&plot.alternative);
    // An image to those who cannot see it: its parts are no text to be read out.
    let svg = plot.svg.replacen(
        "<svg ",
        &format!("<svg role=\"img\" aria-label=\"{alternative}\" "),
        1,
    );
    let _written = writeln!(
        out,
        "<figure><div>{svg}</div><figcaption>{alternative}</figcaption></figure>"
    );
}

fn table(table: &Table, out: &mut String) {
    let long = if table.rows.len() > LONG { " long" } else { "" };
    let _written = write!(
        out,
        "<div class=\"wrap{long}\"><table id=\"{}\"><caption>{}</caption><thead><tr>",
        escaped(&table.id),
        escaped(&table.caption)
    );
    for (column, head) in table.head.iter().enumerate() {
        let first = table.rows.first().and_then(|row| row.get(column));
        let class = if first.is_some_and(|cell| cell.number) {
            " class=\"number\""
        } else {
            ""
        };
        let _written = write!(out, "<th scope=\"col\"{class}>{}</th>", escaped(head));
    }
    out.push_str("</tr></thead><tbody>\n");
    for row in &table.rows {
        out.push_str("<tr>");
        for cell in row {
            out.push_str(if cell.number {
                "<td class=\"number\""
            } else {
                "<td"
            });
            if let Some(sort) = cell.sort {
                let _written = write!(out, " data-sort=\"{sort}\"");
            }
            out.push('>');
            let text = escaped(&cell.text);
            match &cell.events {
                Some(events) => {
                    let _written = write!(
                        out,
                        "<a href=\"#events\" data-events=\"{}\">{text}</a>",
                        escaped(events)
                    );
                }
                None => out.push_str(&text),
            }
            out.push_str("</td>");
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// Text in which nothing is HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in Escaped(text).to_string().chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_an_event_is_html() {
        let text = escaped("<script>alert('x\"&')</script>");
        assert_eq!(
            text,
            "&lt;script&gt;alert(&#39;x&quot;&amp;&#39;)&lt;/script&gt;"
        );
    }
}
