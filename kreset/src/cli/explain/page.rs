//! The pages as data: sections, paragraphs and rows of tables, without their markup.

/// A class of the tables in `verdicts.md`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// `verdict/cause`.
    pub(super) class: String,
    pub(super) means: String,
    pub(super) decides: String,
    pub(super) shows: String,
}

impl Row {
    pub(super) fn verdict(&self) -> &str {
        self.class
            .split_once('/')
            .map_or("", |(verdict, _)| verdict)
    }

    fn cause(&self) -> &str {
        self.class.split_once('/').map_or("", |(_, cause)| cause)
    }

    /// Whether `name` is its class or its cause; `idle-reset` is `idle_reset`.
    pub(super) fn is_named(&self, name: &str) -> bool {
        let name = name.replace('-', "_");
        self.class == name || self.cause() == name
    }
}

/// Every class of the page.
pub(super) fn classes(page: &str) -> Vec<Row> {
    let rows = page.lines().filter_map(|line| {
        let mut cells = cells(line)?.into_iter();
        let class = cells.next().filter(|class| class.contains('/'))?;
        Some(Row {
            class,
            means: cells.next()?,
            decides: cells.next()?,
            shows: cells.next()?,
        })
    });
    rows.collect()
}

/// What an incident means, and what it is recognised by.
pub(super) fn incident(page: &str, kind: &str) -> Option<(String, String)> {
    page.lines().find_map(|line| {
        let mut cells = cells(line)?.into_iter();
        (cells.next()? == kind).then(|| Some((cells.next()?, cells.next()?)))?
    })
}

/// What is said of a piece of evidence: the texts behind the labels of its list.
pub(super) fn evidence(page: &str, name: &str) -> Option<Vec<String>> {
    let (_, rest) = page.split_once(&format!("\n#### `{name}`\n"))?;
    let section = rest.split("\n#").next().unwrap_or(rest);
    let mut texts: Vec<String> = Vec::new();
    for line in section.lines() {
        if let Some((_, text)) = line
            .strip_prefix("- **")
            .and_then(|it| it.split_once(":**"))
        {
            texts.push(text.trim().to_owned());
        } else if let Some(text) = texts.last_mut() {
            let (line, is_part) = match line.trim().strip_prefix("- ") {
                Some(part) => (part, true),
                None => (line.trim(), false),
            };
            let between = match (text.is_empty() || line.is_empty(), is_part) {
                (true, _) => "",
                (false, true) => "; ",
                (false, false) => " ",
            };
            text.push_str(between);
            text.push_str(line);
        }
    }
    Some(texts.iter().map(|text| plain(text)).collect())
}

fn cells(line: &str) -> Option<Vec<String>> {
    let inner = line.strip_prefix("| ")?.strip_suffix(" |")?;
    Some(inner.split(" | ").map(plain).collect())
}

/// What stands under a heading of the second level.
pub(super) fn section<'a>(page: &'a str, heading: &str) -> Option<&'a str> {
    let start = format!("\n## {heading}\n");
    let (_, rest) = page.split_once(&start)?;
    Some(rest.split("\n## ").next().unwrap_or(rest))
}

/// Paragraphs and points of lists, without tables.
pub(super) fn paragraphs(section: &str) -> Vec<String> {
    let mut all = Vec::new();
    for block in section.split("\n\n") {
        let mut text = String::new();
        for line in block.lines().filter(|line| !line.starts_with('|')) {
            if line.starts_with("- ") && !text.is_empty() {
                all.push(std::mem::take(&mut text));
            }
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(line.trim());
        }
        if !text.is_empty() {
            all.push(text);
        }
    }
    all.iter().map(|text| plain(text)).collect()
}

/// Text without marks: of code, of emphasis, and of links, whose target is left out.
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.trim();
    while let Some(at) = rest.find(['`', '*', '[']) {
        out.push_str(&rest[..at]);
        let mark = rest[at..].chars().next().unwrap_or_default();
        rest = &rest[at + 1..];
        if mark == '[' {
            match rest.split_once("](") {
                Some((label, after)) if !label.contains('[') && after.contains(')') => {
                    out.push_str(&plain(label));
                    rest = after.split_once(')').map_or("", |(_, rest)| rest);
                }
                _ => out.push('['),
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_left_out() {
        assert_eq!(
            plain("**Do:** see [a `timeout`](#events-without) of `x`, [1]"),
            "Do: see a timeout of x, [1]"
        );
    }

    #[test]
    fn the_list_of_a_piece_of_evidence_is_read_with_its_parts() {
        let page = "\n#### `a`\n\n- **Value:** one\n  `two`\n- **Weighs:**\n  - `HARD` for x\n    \
                    and y\n  - none\n\n#### `b`\n";
        assert_eq!(
            evidence(page, "a").unwrap(),
            ["one two", "HARD for x and y; none"]
        );
        assert_eq!(evidence(page, "c"), None);
    }

    #[test]
    fn paragraphs_and_points_are_apart() {
        let section = "One\ntwo.\n\n| a | b |\n\n**Do:**\n\n- x\n  y\n- z\n";
        assert_eq!(paragraphs(section), ["One two.", "Do:", "- x y", "- z"]);
    }
}
