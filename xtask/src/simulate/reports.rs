//! What each agent writes.

use std::{fmt::Write as _, io};

use fastrand::Rng;

use super::{
    connections::{End, Socket},
    fleet::{Fleet, Host, Run, SECOND, SUMMARY},
    lines::Lines,
    odd::{altered, joined},
    recorded::{Recorded, Template, Values, rfc3339},
};

/// Records that fall this near a loss are lost.
const LOST: i64 = SECOND / 5;

/// Writes the lines of all agents, those of one in order.
pub(super) fn write(
    random: &mut Rng,
    fleet: &Fleet,
    recorded: &Recorded,
    mut ends: Vec<End>,
    lines: &mut Lines,
) -> io::Result<()> {
    // Stable: what was drawn first is first of what ends at one time.
    ends.sort_by_key(|end| (end.host, end.at));
    let mut rest = ends.as_slice();
    for (index, host) in fleet.hosts.iter().enumerate() {
        let (ends, others) = rest.split_at(rest.partition_point(|end| end.host <= index));
        rest = others;
        for run in &host.runs {
            let mut agent = Agent {
                host,
                run,
                number: 0,
                lines,
            };
            agent.write(random, recorded, ends)?;
        }
    }
    Ok(())
}

/// What happens in a run.
enum Report<'a> {
    Start,
    Summary { end: bool },
    Loss,
    Ended(&'a End),
}

struct Agent<'a> {
    host: &'a Host,
    run: &'a Run,
    number: u64,
    lines: &'a mut Lines,
}

impl Agent<'_> {
    fn write(&mut self, random: &mut Rng, recorded: &Recorded, ends: &[End]) -> io::Result<()> {
        let run = self.run;
        let mut reports = vec![(run.from, Report::Start)];
        let mut at = run.from + SUMMARY;
        while at < run.to {
            reports.push((at, Report::Summary { end: false }));
            at += SUMMARY;
        }
        if run.ends_in_order {
            reports.push((run.to, Report::Summary { end: true }));
        }
        let in_run = |at: i64| at > run.from && at < run.to;
        for (at, is_told) in &self.host.losses {
            if in_run(*at) && *is_told {
                reports.push((*at + SECOND / 10, Report::Loss));
            }
        }
        for end in ends {
            let is_lost = |(at, _): &(i64, bool)| at.abs_diff(end.at) < LOST.unsigned_abs();
            let is_hidden = self.host.hides && random.u32(..10) == 0;
            if in_run(end.at) && !self.host.losses.iter().any(is_lost) && !is_hidden {
                reports.push((end.at, Report::Ended(end)));
            }
        }
        reports.sort_by_key(|(at, _)| *at);
        for (at, report) in reports {
            self.report(random, recorded, at, &report)?;
        }
        Ok(())
    }

    fn report(
        &mut self,
        random: &mut Rng,
        recorded: &Recorded,
        at: i64,
        report: &Report<'_>,
    ) -> io::Result<()> {
        let host = self.host;
        let mut values = Values {
            id: format!(
                "\"{:016x}-{:x}-{:x}\"",
                self.run.boot, self.run.since_boot, self.number
            ),
            time: rfc3339(at + host.skew),
            host: format!("{{\"name\":\"{}\"}}", host.name),
            ..Values::default()
        };
        self.number += 1;
        let template: &Template = match report {
            Report::Start => {
                let degraded = if host.degraded {
                    r#"[{"feature":"socketless","reason":"no tracepoint","remedy":""}]"#
                } else {
                    "[]"
                };
                degraded.clone_into(&mut values.degraded);
                &recorded.start
            }
            Report::Summary { end } => {
                values.end = end.to_string();
                values.coverage = self.coverage(at);
                &recorded.summary
            }
            Report::Loss => &recorded.loss,
            Report::Ended(end) => {
                name(&mut values, end);
                recorded.template(end.template)
            }
        };
        // Few are lost on the way.
        if random.u32(..5_000) > 0 {
            // Events are held briefly before they are written.
            let held = match report {
                Report::Ended(_) => random.i64(60_000_000..250_000_000),
                _ => 0,
            };
            let mut text = template.fill(&values);
            if matches!(report, Report::Ended(_)) && random.u32(..20) == 0 {
                text = altered(random, &text);
            }
            if let Report::Ended(End {
                other: Some(other), ..
            }) = report
            {
                text = joined(&text, &self.other_end(random, recorded, other));
            }
            self.lines.add(at + held, &text)?;
        }
        Ok(())
    }

    /// The event that the other end's host would report, if it were another one.
    fn other_end(&self, random: &mut Rng, recorded: &Recorded, end: &End) -> String {
        let mut values = Values {
            id: "\"\"".to_owned(),
            time: rfc3339(end.at + self.host.skew),
            host: "{}".to_owned(),
            ..Values::default()
        };
        name(&mut values, end);
        let text = recorded.template(end.template).fill(&values);
        if random.u32(..10) == 0 {
            altered(random, &text)
        } else {
            text
        }
    }

    fn coverage(&self, at: i64) -> String {
        let host = self.host;
        let since = |from: i64| u64::from((self.run.from..=at).contains(&from));
        let lost: u64 = host.losses.iter().map(|(at, _)| since(*at)).sum();
        let sink_lost = host.sink_loses.map_or(0, since);
        let unshown = if host.hides { self.number } else { 3 };
        format!(
            "{{\"ports\":{},\"watched\":null,\"addresses\":[\"{}\",\"fd00::{:x}\"],\
             \"kernel_lost\":{lost},\"kernel_skipped\":0,\"kernel_untracked\":0,\
             \"unobserved\":0,\"forgotten\":0,\
             \"unshown\":{unshown},\
             \"sinks\":{{\"kafka\":{{\"delivered\":{},\"waiting\":0,\"lost\":{sink_lost}}}}}}}",
            host.ports,
            host.address,
            self.run.boot & 0xffff,
            self.number,
        )
    }
}

fn name(values: &mut Values, end: &End) {
    let endpoint =
        |(address, port): &Socket| format!("{{\"address\":\"{address}\",\"port\":{port}}}");
    values.client = endpoint(&end.client);
    values.broker = endpoint(&end.broker);
    values.flow = end.flow.map_or_else(
        || "null".to_owned(),
        |flow| format!("\"{:08x}-{:08x}\"", flow >> 32, flow & 0xffff_ffff),
    );
    let sequence = end.sequence.map(|it| it.to_string());
    values.sequence = sequence.unwrap_or_else(|| "null".to_owned());
    // As long as a real one, and the same for the same ends.
    let (mut hash, mut text) = (0xcbf2_9ce4_8422_2325_u64, String::new());
    for byte in [&values.client, &values.broker]
        .into_iter()
        .flat_map(|it| it.bytes())
    {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    let _written = write!(text, "\"1:{hash:016x}{:011x}=\"", hash >> 20);
    values.community_id = text;
}

#[cfg(test)]
mod tests {
    use std::{env, process};

    use serde_json::Value;

    use super::*;

    /// What is simulated keeps to the contract: what lacks a member is no event of it.
    #[test]
    fn a_coverage_has_every_member_of_the_schema() {
        let schema = include_str!("../../../docs/schema/kreset-1.schema.json");
        let schema: Value = serde_json::from_str(schema).expect("the schema is JSON");
        let required = schema["$defs"]["Coverage"]["required"].as_array();
        let required = required.expect("a coverage has required members");

        let mut random = Rng::with_seed(1);
        let fleet = Fleet::draw(&mut random, 20, 300);
        let recorded = Recorded::shipped().expect("it is readable");
        let place = env::temp_dir().join(format!("kreset-reports-{}", process::id()));
        let mut lines = Lines::beside(&place).expect("a file");
        write(&mut random, &fleet, &recorded, Vec::new(), &mut lines).expect("there is room");
        let mut written = lines.written().expect("they are written");
        let mut summaries = Vec::new();
        for index in 0..written.places().len() {
            let line = written.line(index).expect("it is read");
            let event: Value = serde_json::from_slice(line).expect("a line is JSON");
            summaries.extend((event["type"] == "summary").then_some(event));
        }
        assert!(!summaries.is_empty());
        for summary in summaries {
            for name in required {
                let name = name.as_str().expect("a member has a name");
                assert!(
                    !summary["coverage"][name].is_null() || name == "watched",
                    "{name}: {summary}"
                );
            }
        }
    }
}
