//! `kreset-trace check`: whether a configuration is valid, and what this
//! kernel and these privileges support.

use std::fmt;

use rustix::system::uname;
use serde_json::json;

use crate::{
    delivery::SinkError,
    kernel::{
        feature::Feature,
        plan::{PacketEvidence, Plan, TURNED_OFF},
        prepare::{self, CannotStart},
    },
    run::options::Options,
    sink::SinkConfig,
    util::{exit::Exit, units::count},
};

/// The result of a check.
#[derive(Debug)]
pub struct Report {
    configuration: String,
    sinks: Vec<(SinkConfig, Result<(), SinkError>)>,
    kernel: String,
    plan: Result<Plan, CannotStart>,
}

/// Checks everything that a run with `options` would use.
#[must_use]
pub fn check(options: &Options) -> Report {
    let path = options
        .config
        .as_ref()
        .map(|path| path.display().to_string());
    let sinks = options.sinks().into_iter().map(|sink| {
        let checked = sink.check();
        (sink, checked)
    });
    Report {
        configuration: path.unwrap_or_else(|| "command line".to_owned()),
        sinks: sinks.collect(),
        kernel: uname().release().to_string_lossy().into_owned(),
        plan: options
            .kernel_request()
            .map_err(CannotStart::from)
            .and_then(|request| prepare::plan(&request)),
    }
}

impl Report {
    /// The exit code a run would have at start.
    #[must_use]
    pub fn exit(&self) -> Exit {
        if self.sinks.iter().any(|(_, checked)| checked.is_err()) {
            return Exit::Failed;
        }
        match &self.plan {
            Ok(_) => Exit::Done,
            Err(error) => error.exit(),
        }
    }
}

/// A feature, and what is missing of it.
struct Checked {
    feature: Feature,
    /// What works of it, where that is not all the same.
    how: Option<&'static str>,
    /// Why it does not work.
    missing: Option<String>,
}

impl Report {
    /// Everything that a run would fail with.
    fn problems(&self) -> Vec<String> {
        let sinks = self.sinks.iter().filter_map(|(sink, checked)| {
            let error = checked.as_ref().err()?;
            Some(format!("sink {}: {error}", sink.name))
        });
        let start = self.plan.as_ref().err();
        let start = start.map(|error| format!("cannot start here: {error}"));
        sinks.chain(start).collect()
    }

    /// Each feature; `None` where nothing can be said, as it cannot start.
    fn features(&self) -> Option<Vec<Checked>> {
        let plan = self.plan.as_ref().ok()?;
        let all = Feature::ALL.iter().map(|feature| {
            let reasons: Vec<_> = plan
                .degradations
                .iter()
                .filter(|it| it.feature == *feature)
                .map(|it| format!("{}; {}", it.reason, it.remedy))
                .collect();
            let is_off = feature.is_of_packets() && plan.packet_evidence == PacketEvidence::Off;
            let how = (*feature == Feature::PacketEvidence).then(|| plan.packet_evidence.name());
            Checked {
                feature: *feature,
                how,
                missing: match (reasons.is_empty(), is_off) {
                    (false, _) => Some(reasons.join("; ")),
                    (true, true) => Some(TURNED_OFF.to_owned()),
                    (true, false) => None,
                },
            }
        });
        Some(all.collect())
    }

    /// The result in one line.
    fn headline(&self) -> String {
        let problems = self.problems().len() as u64;
        let features = self.features().unwrap_or_default();
        let missing = features.iter().filter(|it| it.missing.is_some()).count() as u64;
        match (problems, missing) {
            (0, 0) => "everything works".to_owned(),
            (0, missing) => format!("works, without {}", count(missing, "feature")),
            (problems, _) => count(problems, "problem"),
        }
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn json(&self) -> String {
        let sinks: Vec<_> = self
            .sinks
            .iter()
            .map(|(sink, checked)| {
                json!({
                    "name": sink.name,
                    "type": sink.target.kind(),
                    "destination": sink.target.destination(),
                    "error": checked.as_ref().err().map(ToString::to_string),
                })
            })
            .collect();
        let features: Vec<_> = self
            .features()
            .unwrap_or_default()
            .iter()
            .map(|it| {
                json!({
                    "name": it.feature.name(),
                    "works": it.missing.is_none(),
                    "missing": it.missing,
                })
            })
            .collect();
        let report = json!({
            "result": self.headline(),
            "exit_code": self.exit().code(),
            "problems": self.problems(),
            "configuration": self.configuration,
            "sinks": sinks,
            "kernel": self.kernel,
            "features": features,
        });
        format!("{report}\n")
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.headline())?;
        for problem in self.problems() {
            writeln!(f, "  {problem}")?;
        }
        writeln!(f, "{}: valid", self.configuration)?;
        for (sink, checked) in &self.sinks {
            write!(
                f,
                "sink {:<16} {:<10} {}: ",
                sink.name,
                sink.target.kind(),
                sink.target.destination()
            )?;
            match checked {
                Ok(()) => writeln!(f, "yes")?,
                Err(error) => writeln!(f, "no: {error}")?,
            }
        }
        writeln!(f, "kernel {}:", self.kernel)?;
        if let Err(error) = &self.plan {
            return writeln!(f, "  cannot start here: {error}");
        }
        for it in self.features().unwrap_or_default() {
            write!(f, "  {:<18} ", it.feature)?;
            match (it.missing, it.how) {
                (Some(missing), _) => writeln!(f, "no: {missing}")?,
                (None, Some(how)) => writeln!(f, "yes: {how}")?,
                (None, None) => writeln!(f, "yes")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Command, parse};

    fn report(config: &str) -> Report {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), config).unwrap();
        let path = file.path().to_str().unwrap();
        match parse(["kreset-trace", "check", "--config", path]) {
            Ok(Command::Check(options)) => check(&options),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_feature_has_its_line_or_the_reason_is_given() {
        let report = report("port = 9092\n[[sink]]\ntype = \"stdout\"\n");
        let text = report.to_string();
        assert!(text.contains("sink stdout"), "{text}");
        match &report.plan {
            Ok(_) => {
                let listed = Feature::ALL
                    .iter()
                    .all(|it| text.contains(&format!("  {it:<18} ")));
                assert!(listed, "{text}");
                assert_eq!(report.exit(), Exit::Done);
            }
            Err(error) => {
                assert!(text.contains(&error.to_string()), "{text}");
                assert_eq!(report.exit(), Exit::CannotStart);
            }
        }
    }

    #[test]
    fn every_problem_is_named_and_the_result_comes_first() {
        let sink = |name: &str| {
            format!(
                "[[sink]]\nname = \"{name}\"\ntype = \"file\"\npath = \"/no/such/directory/file\"\n"
            )
        };
        let report = report(&[sink("a"), sink("b")].concat());
        let text = report.to_string();
        let first = text.lines().next().unwrap();
        let expected = if report.plan.is_ok() {
            "2 problems"
        } else {
            "3 problems"
        };
        assert_eq!(first, expected, "{text}");
        for problem in ["  sink a: cannot open", "  sink b: cannot open"] {
            assert!(text.contains(problem), "{text}");
        }
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["result"], first);
        assert_eq!(json["sinks"][1]["name"], "b");
        assert!(
            json["sinks"][1]["error"]
                .as_str()
                .unwrap()
                .starts_with("cannot open")
        );
        assert_eq!(json["exit_code"], report.exit().code());
    }

    #[test]
    fn a_sink_that_cannot_be_opened_is_named() {
        let report = report("[[sink]]\ntype = \"file\"\npath = \"/no/such/directory/file\"\n");
        let text = report.to_string();
        assert!(
            text.contains("no: cannot open /no/such/directory/file"),
            "{text}"
        );
        assert_eq!(report.exit(), Exit::Failed);
    }
}
