use super::*;
use crate::event::samples;

const WIDTH: usize = 80;

#[test]
fn every_name_is_explained() {
    for verdict in Verdict::ALL {
        let text = of_name(verdict.as_str(), WIDTH).unwrap();
        assert!(text.lines().count() > 4, "{text}");
    }
    for (verdict, causes) in samples::KINDS {
        for cause in *causes {
            for name in [cause.to_string(), format!("{verdict}/{cause}")] {
                let text = of_name(&name, WIDTH).unwrap();
                assert!(text.contains(&format!("{verdict}/{cause}\n")), "{text}");
                assert!(text.contains("  means"), "{text}");
            }
        }
    }
    for name in evidence_names() {
        let text = of_name(name, WIDTH).unwrap();
        for label in ["value", "from", "applies when", "weighs"] {
            assert!(text.contains(&format!("  {label:<12}")), "{name}: {text}");
        }
    }
    for incident in IncidentKind::ALL {
        let text = of_name(incident.as_str(), WIDTH).unwrap();
        for label in ["means", "three of", "to do"] {
            assert!(
                text.contains(&format!("  {label:<12}")),
                "{incident}: {text}"
            );
        }
    }
    for exit in Exit::ALL {
        let text = of_name(&exit.code().to_string(), WIDTH).unwrap();
        assert!(text.starts_with("exit code "), "{text}");
    }
}

#[test]
fn explanations_have_no_markup_and_fit() {
    let names = Verdict::ALL.iter().map(|it| it.as_str());
    let incidents = IncidentKind::ALL.iter().map(|it| it.as_str());
    for name in names.chain(evidence_names()).chain(incidents) {
        let text = of_name(name, WIDTH).unwrap();
        assert!(
            !text.contains(['`', '|']) || text.contains("grep"),
            "{text}"
        );
        for line in text.lines().filter(|line| !line.starts_with("      ")) {
            let words = line.split_whitespace().count();
            assert!(line.chars().count() <= WIDTH || words < 3, "{line}");
        }
    }
}

#[test]
fn a_name_that_is_none_suggests_the_nearest() {
    let error = of_name("reset_on_sent", WIDTH).unwrap_err();
    assert_eq!(
        error.to_string(),
        "unknown name \"reset_on_sent\"; the nearest is \"reset_on_send\"; kreset-trace explain \
         lists all names"
    );
    assert_eq!(error.exit(), Exit::Usage);
    of_name("reset-on-send", WIDTH).unwrap();
}

#[test]
fn a_finding_is_explained_with_its_own_values() {
    let text = of_finding(&samples::finding(), WIDTH);
    for expected in [
        "kreset-trace probe 10.0.2.7:9092",
        "ss -tno dst 10.0.2.7",
        "--client 10.0.1.5",
        "distance of the sender (TTL): 63, handshake 62",
    ] {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let mut stopped = samples::finding();
    (stopped.verdict, stopped.cause) = (Verdict::BrokerOriginated, Some(Cause::Shutdown));
    let text = of_finding(&stopped, WIDTH);
    let journal = "--since '2026-11-23 14:21:07 UTC' --until '2026-11-23 14:23:07 UTC'";
    assert!(text.contains(journal), "{text}");
    let unsure = of_finding(&samples::unknown(), WIDTH);
    assert!(unsure.contains("indeterminate\n"), "{unsure}");
}

/// Its file may be anybody's, and a command is there to be pasted.
#[test]
fn of_a_finding_commands_have_lines_of_their_own_and_nothing_acts_on_the_terminal() {
    let mut finding = samples::finding();
    finding.summary = "\x1b]0;title\x07".into();
    finding.advice = "Paste \x1b[2J this: `sudo sysctl -w net.ipv4.tcp_keepalive_time=170 \
                      net.ipv4.tcp_keepalive_intvl=75`; or not."
        .into();
    finding.evidence[0].value = "\x1b[31m".into();
    let text = of_finding(&finding, WIDTH);
    assert!(!text.contains('\x1b'), "{text:?}");
    let command = "sudo sysctl -w net.ipv4.tcp_keepalive_time=170 net.ipv4.tcp_keepalive_intvl=75";
    assert!(
        text.lines()
            .any(|line| line.trim_start() == command && line.len() <= WIDTH),
        "{text}"
    );
}
