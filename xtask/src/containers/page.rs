//! What was found, as the measured part of `docs/kubernetes.md`.

use std::{fmt::Write as _, fs, path::PathBuf};

use anyhow::{Context as _, Result};

use super::Found;

const BEGIN: &str = "<!-- begin measured -->\n";
const END: &str = "<!-- end measured -->";

/// Writes it into the page.
pub(super) fn write(body: &str) -> Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/kubernetes.md");
    let page = fs::read_to_string(&path).context("cannot read docs/kubernetes.md")?;
    let page = put(&page, body)?;
    fs::write(&path, page).context("cannot write docs/kubernetes.md")
}

fn put(page: &str, body: &str) -> Result<String> {
    let parts = page.split_once(BEGIN).and_then(|(head, rest)| {
        let (_, tail) = rest.split_once(END)?;
        Some((head, tail))
    });
    let (head, tail) =
        parts.with_context(|| format!("docs/kubernetes.md lacks {BEGIN:?} or {END:?}"))?;
    Ok(format!("{head}{BEGIN}{body}{END}{tail}"))
}

pub(super) fn markdown(found: &[Found]) -> String {
    let mut out = String::new();
    // Writing to a string does not fail.
    for it in found {
        let _written = writeln!(out, "With {}:\n", it.title);
        for line in &it.holds {
            let _written = writeln!(out, "- {line}");
        }
        out.push('\n');
    }
    let titles: Vec<_> = found.iter().map(|it| it.title).collect();
    let _written = writeln!(
        out,
        "| taken away | lost with {} |",
        titles.join(" | lost with ")
    );
    let _written = writeln!(out, "|---|{}", "---|".repeat(found.len()));
    let Some(first) = found.first() else {
        return out;
    };
    for (at, (part, _)) in first.lost.iter().enumerate() {
        let cells: Vec<_> = found
            .iter()
            .map(|it| {
                it.lost
                    .get(at)
                    .map_or_else(String::new, |(_, lost)| cell(lost))
            })
            .collect();
        let _written = writeln!(out, "| {part} | {} |", cells.join(" | "));
    }
    out
}

/// One cell of the table.
pub(super) fn cell(lost: &[String]) -> String {
    if lost.is_empty() {
        return "nothing".to_owned();
    }
    lost.join(", ").replace('|', "\\|")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_node_has_a_column() {
        let found = |title, lost: &[&str]| Found {
            title,
            holds: vec!["it holds".to_owned()],
            lost: vec![(
                "mount `pods`".to_owned(),
                lost.iter().map(|it| (*it).to_owned()).collect(),
            )],
        };
        let body = markdown(&[found("v1", &["names", "a|b"]), found("v2", &[])]);
        for line in [
            "- it holds",
            "| taken away | lost with v1 | lost with v2 |",
            "| mount `pods` | names, a\\|b | nothing |",
        ] {
            assert!(body.lines().any(|it| it == line), "{line}: {body}");
        }
        let page = format!("# K\n{BEGIN}old\n{END}\nmore\n");
        let new = put(&page, &body).expect("markers");
        assert_eq!(new, page.replace("old\n", &body));
        put("# K\n", &body).expect_err("no markers");
    }
}
