//! What was measured, as a part of a page that people write the rest of. Pure.

use anyhow::{Result, anyhow};

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
}
