//! The text formats of Prometheus: `OpenMetrics`, and 0.0.4 for those that do not ask for
//! it.

use std::{collections::HashMap, fmt::Write as _};

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exposition {
    OpenMetrics,
    Classic,
}

impl Exposition {
    /// The one that a request accepts, by its header `Accept`.
    pub(super) fn accepted(accept: Option<&str>) -> Self {
        // Those who accept it prefer it: Prometheus lists it first.
        match accept {
            Some(accept) if accept.contains("application/openmetrics-text") => Self::OpenMetrics,
            _ => Self::Classic,
        }
    }

    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Classic => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// `text`, which is `OpenMetrics`, in this format.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Self::OpenMetrics => text,
            Self::Classic => classic(&text),
        }
    }
}

/// In 0.0.4, `HELP` and `TYPE` have the name of the samples, there are no types for
/// information and unknown values, and no units.
fn classic(text: &str) -> String {
    let types: HashMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let mut classic = String::with_capacity(text.len());
    for line in text.lines() {
        let Some(comment) = line.strip_prefix("# ") else {
            classic.push_str(line);
            classic.push('\n');
            continue;
        };
        let mut words = comment.splitn(3, ' ');
        let (keyword, name, rest) = (words.next(), words.next(), words.next());
        let (Some(keyword @ ("HELP" | "TYPE")), Some(name)) = (keyword, name) else {
            continue;
        };
        let (suffix, kind) = match types.get(name).copied() {
            Some("counter") => ("_total", "counter"),
            Some("info") => ("_info", "gauge"),
            Some("unknown") | None => ("", "untyped"),
            Some(other) => ("", other),
        };
        let rest = if keyword == "TYPE" {
            kind
        } else {
            rest.unwrap_or_default()
        };
        // Writing to a string cannot fail.
        let _written = writeln!(classic, "# {keyword} {name}{suffix} {rest}");
    }
    classic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_is_given() {
        let prometheus = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                          version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(
            Exposition::accepted(Some(prometheus)),
            Exposition::OpenMetrics
        );
        for other in [None, Some("text/plain"), Some("*/*")] {
            assert_eq!(Exposition::accepted(other), Exposition::Classic);
        }
    }

    #[test]
    fn names_and_types_are_those_of_the_format() {
        let text = "# HELP a_build Version.\n# TYPE a_build info\na_build_info{v=\"1\"} 1\n\
                    # HELP a_lost Lost.\n# TYPE a_lost counter\na_lost_total{s=\"x\"} 3\n\
                    # HELP a_size_bytes Size.\n# TYPE a_size_bytes gauge\n# UNIT a_size_bytes bytes\n\
                    a_size_bytes 7\n# EOF\n";
        let expected = "# HELP a_build_info Version.\n# TYPE a_build_info gauge\na_build_info{v=\"1\"} 1\n\
                        # HELP a_lost_total Lost.\n# TYPE a_lost_total counter\na_lost_total{s=\"x\"} 3\n\
                        # HELP a_size_bytes Size.\n# TYPE a_size_bytes gauge\na_size_bytes 7\n";
        assert_eq!(Exposition::Classic.of(text.to_owned()), expected);
        assert_eq!(Exposition::OpenMetrics.of(text.to_owned()), text);
    }
}
