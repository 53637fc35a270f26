//! `kreset-trace check`: whether a configuration is valid, and what this
//! kernel and these privileges support.

use std::fmt;

use rustix::system::uname;

use crate::{
    delivery::SinkError,
    kernel::{
        feature::Feature,
        plan::{PacketEvidence, Plan, TURNED_OFF},
        prepare::{self, CannotStart},
    },
    run::options::Options,
    sink::SinkConfig,
    util::exit::Exit,
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

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
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
        let plan = match &self.plan {
            Ok(plan) => plan,
            Err(error) => return writeln!(f, "  cannot start here: {error}"),
        };
        for feature in Feature::ALL {
            let mut why = plan
                .degradations
                .iter()
                .filter(|it| it.feature == *feature)
                .peekable();
            write!(f, "  {feature:<18} ")?;
            match (feature, why.peek()) {
                (feature, None)
                    if feature.is_of_packets() && plan.packet_evidence == PacketEvidence::Off =>
                {
                    writeln!(f, "no: {TURNED_OFF}")?;
                }
                (Feature::PacketEvidence, None) => {
                    writeln!(f, "yes: {}", plan.packet_evidence)?;
                }
                (_, None) => writeln!(f, "yes")?,
                (_, Some(_)) => {
                    let reasons: Vec<_> = why
                        .map(|it| format!("{}; {}", it.reason, it.remedy))
                        .collect();
                    writeln!(f, "no: {}", reasons.join("; "))?;
                }
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
