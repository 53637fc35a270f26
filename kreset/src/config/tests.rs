use std::time::Duration;

use super::*;
use crate::{
    cli::{self, Command},
    event::{Kind, Verdict, filter::SinkFilter},
    run::options::{Options, Output},
    sink::{Body, Facility, Format, StdoutConfig, SyslogAddress, SyslogConfig, Target, View},
};

fn parse_with(config: &str, arguments: &[&str]) -> Result<Options, String> {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), config).unwrap();
    let path = file.path().to_str().unwrap();
    let mut line = vec!["kreset-trace", "--config", path];
    line.extend(arguments);
    match cli::parse(line) {
        Ok(Command::Run(options)) => Ok(*options),
        Ok(other) => panic!("{other:?}"),
        Err(error) => Err(error.to_string().replace(path, "FILE")),
    }
}

fn refusal(config: &str) -> String {
    parse_with(config, &[]).unwrap_err()
}

const WHOLE: &str = r#"
port = ["9092", "9094-9096"]
role = "broker"
broker-max-idle = "5m"
packet-evidence = "off"
summary = "30s"
max-connections = 1000
all = true
verbose = 1
spool = "/tmp/spool"
spool-size = "64M"
drain = "2s"

[[sink]]
type = "file"
path = "/var/log/kreset/events.json"

[[sink]]
type = "syslog"
name = "siem"
address = "tcp://siem.example:601"
format = "ecs"
facility = "local3"
events = ["reset", "alert"]
verdicts = ["middlebox_idle_reset"]
min-confidence = 0.7

[[sink]]
type = "syslog"
name = "journal"
address = "unix:///dev/log"

[[sink]]
type = "prometheus"
listen = "127.0.0.1:9464"
"#;

#[test]
fn a_whole_file_is_read() {
    let options = parse_with(WHOLE, &[]).unwrap();
    assert_eq!(options.ports.to_string(), "9092,9094-9096");
    assert_eq!(options.broker_max_idle, Duration::from_mins(5));
    assert_eq!(options.summary_interval, Some(Duration::from_secs(30)));
    assert_eq!((options.filter.all, options.view.verbosity), (true, 1));
    assert_eq!(options.max_connections.get(), 1_000);
    assert_eq!(options.spool, Path::new("/tmp/spool"));
    assert_eq!(
        (options.spool_size, options.drain),
        (64 << 20, Duration::from_secs(2))
    );
    let sinks = options.sinks();
    let names: Vec<_> = sinks.iter().map(|sink| sink.name.as_str()).collect();
    assert_eq!(names, ["file", "siem", "journal", "prometheus"]);
    assert_eq!(
        sinks[1],
        SinkConfig {
            name: "siem".to_owned(),
            filter: SinkFilter {
                events: vec![Kind::Reset, Kind::Alert],
                verdicts: vec![Verdict::MiddleboxIdleReset],
                min_confidence: 0.7,
            },
            target: Target::Syslog(SyslogConfig {
                address: SyslogAddress::Tcp("siem.example:601".to_owned()),
                body: Body::Ecs,
                facility: Facility::try_from("local3".to_owned()).unwrap(),
            }),
        }
    );
}

#[test]
fn an_agent_reports_its_coverage_and_writes_to_standard_output() {
    let options = parse_with("", &[]).unwrap();
    assert_eq!(options.summary_interval, Some(Duration::from_secs(10)));
    assert_eq!(
        options.sinks()[0].target,
        Target::Stdout(StdoutConfig {
            format: Format::Text,
            verbose: false,
            view: View::default(),
        })
    );
}

#[test]
fn flags_override_the_file() {
    let options = parse_with(WHOLE, &["--port", "19092", "--summary=1m", "--role", "any"]).unwrap();
    assert_eq!(options.ports.to_string(), "19092");
    assert_eq!(options.summary_interval, Some(Duration::from_mins(1)));
    assert_eq!(options.filter.role, None);
    assert_eq!(options.broker_max_idle, Duration::from_mins(5));
    assert_eq!(options.sinks().len(), 4);
}

#[test]
fn an_output_on_the_command_line_replaces_all_sinks() {
    let options = parse_with(WHOLE, &["--output", "-", "--format", "json"]).unwrap();
    let target = Target::Stdout(StdoutConfig {
        format: Format::Json,
        verbose: true,
        view: View {
            verbosity: 1,
            ..View::default()
        },
    });
    assert_eq!(options.sinks()[0].target, target);
    assert_eq!(options.sinks().len(), 1);
    let options = parse_with("output = \"/tmp/x\"", &["--output=/tmp/y"]).unwrap();
    assert_eq!(options.output, Output::File("/tmp/y".into()));
}

#[test]
fn refusals_name_file_line_and_what_is_valid() {
    for (config, expected) in [
        (
            "port = 9092\nprot = 9092\n",
            "FILE:2: unknown key \"prot\"; expected one of port, format, output,",
        ),
        (
            "config = \"x\"\n",
            "FILE:1: unknown key \"config\"; expected one of port",
        ),
        (
            "\n\nrole = \"server\"\n",
            "FILE:3: invalid value 'server' for 'role <ROLE>' [possible values: client, broker, any]",
        ),
        (
            "duration = 30\n",
            "FILE:1: invalid value '30' for 'duration <TIME>': missing unit after 30: use 30s,",
        ),
        (
            "all = 1\n",
            "FILE:1: invalid value for \"all\": expected true or false",
        ),
        (
            "verbose = \"much\"\n",
            "FILE:1: invalid value for \"verbose\": expected a whole number from 0 to 9",
        ),
        (
            "port = { a = 1 }\n",
            "FILE:1: invalid type for \"port\": expected a string or a number, found table",
        ),
        ("port = 9092\nport = 9093\n", "FILE:2: duplicate key"),
        ("port = \n", "FILE:1: "),
        (
            "spool-size = \"1K\"\n",
            "FILE:1: invalid value '1K' for 'spool-size <SIZE>': must be at least 1M",
        ),
        (
            "sink = 1\n",
            "FILE:1: invalid \"sink\": expected a table, written as [[sink]]",
        ),
        (
            "[[sink]]\n",
            "FILE:1: missing key \"type\": add it, such as type = \"file\"",
        ),
        (
            "[[sink]]\ntype = \"loki\"\n",
            "FILE:1: unknown sink type \"loki\"; expected one of stdout, file, syslog, otlp, kafka, prometheus",
        ),
        (
            "[[sink]]\ntype = \"syslog\"\nadress = \"tcp://a:1\"\n",
            "FILE:3: unknown key \"adress\"; expected one of type, name, events, verdicts, min-confidence, \
             address, format, facility",
        ),
        (
            "[[sink]]\ntype = \"file\"\n",
            "FILE:1: missing key \"path\": add it, such as path = \"/var/log/kreset/events.json\"",
        ),
        (
            "[[sink]]\ntype = \"syslog\"\naddress = \"siem:514\"\n",
            "FILE:3: invalid address \"siem:514\": expected tcp://host:port or unix:///path",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nevents = [\n  \"reset\",\n  \"resets\",\n]\n",
            "FILE:5: unknown event type \"resets\"; expected one of start, reset, close, timeout, alert, incident, correction, loss, summary",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nverdicts = \"middlebox\"\n",
            "FILE:3: unknown verdict \"middlebox\"; expected one of middlebox_idle_reset,",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nmin-confidence = 97\n",
            "FILE:3: invalid confidence \"97\": expected a number from 0 to 1",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nformat = \"xml\"\n",
            "FILE:3: unknown format \"xml\"; expected one of text, json, ecs",
        ),
        (
            "[[sink]]\ntype = \"syslog\"\naddress = \"unix:///log\"\nformat = \"text\"\n",
            "FILE:4: unknown format \"text\"; expected one of json, ecs",
        ),
        (
            "[[sink]]\ntype = \"syslog\"\naddress = \"unix:///log\"\nfacility = \"x\"\n",
            "FILE:4: unknown facility \"x\"; expected one of kern, user,",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nverbose = 1\n",
            "FILE:3: invalid type for \"verbose\": expected a boolean, found an integer",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nevents = { a = 1 }\n",
            "FILE:3: invalid type for \"events\": expected an array, found a table",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\nname = \"a/b\"\n",
            "FILE:3: invalid sink name \"a/b\": use letters, digits, \"-\" and \"_\"",
        ),
        (
            "[[sink]]\ntype = \"stdout\"\n[[sink]]\ntype = \"stdout\"\n",
            "FILE:3: duplicate sink name \"stdout\": give each sink its own name",
        ),
        (
            "format = \"json\"\n[[sink]]\ntype = \"stdout\"\n",
            "FILE:1: \"format\" cannot be combined with [[sink]] tables: set it inside a [[sink]] table",
        ),
    ] {
        let said = refusal(config);
        assert!(said.starts_with(expected), "{config:?}\n{said}\n{expected}");
    }
}

#[test]
fn all_errors_are_reported_at_once_in_the_order_of_the_file() {
    let config = "port = \"kafka\"\nno-such-key = 1\nsummary = true\n[[sink]]\ntype = \"stdout\"\n\
                  format = \"xml\"\n[[sink]]\ntype = \"no-such-type\"\n[[sink]]\ntype = \"file\"\n";
    let said = refusal(config);
    let begins = [
        "FILE:1: invalid value",
        "FILE:2: unknown key \"no-such-key\"",
        "FILE:3: invalid type for \"summary\"",
        "FILE:6: unknown format \"xml\"",
        "FILE:7: unknown sink type \"no-such-type\"",
        "FILE:9: missing key \"path\"",
    ];
    assert_eq!(said.lines().count(), begins.len(), "{said}");
    for (line, begin) in said.lines().zip(begins) {
        assert!(line.starts_with(begin), "{line}");
    }
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = cli::parse(["kreset-trace", "--config", "/no/such.toml"])
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("cannot read the configuration /no/such.toml: No such file"),
        "{error}"
    );
}

#[cfg(feature = "metrics")]
#[test]
fn prometheus_has_an_address_and_no_filter() {
    let prometheus = "[[sink]]\ntype = \"prometheus\"\n";
    for (keys, expected) in [
        (
            "listen = \"localhost\"",
            "FILE:3: invalid address \"localhost\": expected IP:PORT, such as 127.0.0.1:9464",
        ),
        (
            "events = \"reset\"\nlisten = \"127.0.0.1:9464\"",
            "FILE:3: unknown key \"events\"; expected one of type, name, listen, health",
        ),
    ] {
        assert_eq!(refusal(&format!("{prometheus}{keys}")), expected);
    }
}

#[cfg(feature = "otlp")]
#[test]
fn no_refusal_shows_a_secret() {
    for keys in [
        "endpoint = \"user:SECRET@c:4318\"",
        "endpoint = \"https://user:SECRET@c d\"",
        "headers = \"Bearer SECRET\"",
        "headers = { Authorization = [\"Bearer SECRET\"] }",
    ] {
        let said = refusal(&format!("[[sink]]\ntype = \"otlp\"\n{keys}\n"));
        assert!(
            said.starts_with("FILE:3: invalid ") && !said.contains("SECRET"),
            "{said}"
        );
    }
}

#[cfg(feature = "otlp")]
#[test]
fn what_can_never_work_is_refused() {
    let endpoint = "endpoint = \"http://c:4318/v1/logs\"\n";
    for (keys, expected) in [
        ("endpoint = \"http:///v1/logs\"", "invalid URL"),
        ("endpoint = \"http://:4318\"", "invalid URL"),
        (
            "endpoint = \"http://c:99999/\"",
            "invalid URL \"http://c:99999/\": ",
        ),
        (
            "endpoint = \"http://c:0/\"",
            "invalid URL \"http://c:0/\": expected a port from 1 to 65535",
        ),
        (
            &format!("{endpoint}headers = {{ \"a b\" = \"SECRET\" }}"),
            "invalid header name \"a b\": use letters",
        ),
        (
            &format!("{endpoint}headers = {{ Authorization = \"Bearer SECRET\\nx\" }}"),
            "invalid value of the header \"Authorization\": expected one line of text",
        ),
    ] {
        let said = refusal(&format!("[[sink]]\ntype = \"otlp\"\n{keys}\n"));
        assert!(said.contains(expected), "{said}\n{expected}");
        assert!(!said.contains("SECRET"), "{said}");
    }
}

#[cfg(feature = "otlp")]
#[test]
fn otlp_takes_headers_and_files() {
    let options = parse_with(
        "[[sink]]\ntype = \"otlp\"\nendpoint = \"https://c:4318/v1/logs\"\ntimeout = \"3s\"\n\
         headers = { Authorization = \"Bearer x\" }\nca = \"/ca.pem\"\n",
        &[],
    );
    let Target::Otlp(otlp) = options.unwrap().sinks().remove(0).target else {
        panic!()
    };
    assert_eq!(otlp.headers["Authorization"], "Bearer x");
    assert_eq!(
        (otlp.ca, otlp.timeout),
        (Some("/ca.pem".into()), Duration::from_secs(3))
    );
    let half = "[[sink]]\ntype = \"otlp\"\nendpoint = \"http://c\"\ncert = \"/c.pem\"\n";
    assert!(refusal(half).contains("a client certificate needs both \"cert\" and \"key\""));
    let scheme = "[[sink]]\ntype = \"otlp\"\nendpoint = \"c:4318\"\n";
    assert!(
        refusal(scheme)
            .starts_with("FILE:3: invalid URL \"c:4318\": expected one that starts with http:")
    );
}

#[cfg(feature = "otlp")]
#[test]
fn a_string_may_stand_in_a_file_of_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("token");
    let sink = |value: &str| {
        format!(
            "[[sink]]\ntype = \"otlp\"\nendpoint = \"http://c\"\nheaders = {{ Authorization = {value} }}\n"
        )
    };
    let in_file = sink(&format!("{{ file = \"{}\" }}", file.display()));
    for text in ["Bearer SECRET", "Bearer SECRET\n", "Bearer SECRET\r\n"] {
        fs::write(&file, text).unwrap();
        let options = parse_with(&in_file, &[]).unwrap();
        let Target::Otlp(otlp) = options.sinks().remove(0).target else {
            panic!()
        };
        assert_eq!(otlp.headers["Authorization"], "Bearer SECRET");
    }
    fs::write(&file, "SECRET".repeat(20_000)).unwrap();
    let said = refusal(&in_file);
    assert!(
        said.starts_with("FILE:4: cannot read ") && said.ends_with("it has more than 65536 bytes"),
        "{said}"
    );
    assert!(!said.contains("SECRET"), "{said}");
    fs::remove_file(&file).unwrap();
    let said = refusal(&in_file);
    assert!(said.contains("token: No such file or directory"), "{said}");
    let said = refusal(&sink("{ path = \"x\" }"));
    assert!(
        said.contains("expected a string, ") && said.contains("found a table"),
        "{said}"
    );
}

#[cfg(not(feature = "kafka"))]
#[test]
fn a_sink_that_this_build_lacks_says_so() {
    let kafka = "[[sink]]\ntype = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\n";
    assert_eq!(
        refusal(kafka),
        "FILE:1: this build has no kafka sink: build it with the feature kafka"
    );
}

#[cfg(feature = "kafka")]
#[test]
fn kafka_takes_settings_of_librdkafka() {
    let kafka = "[[sink]]\ntype = \"kafka\"\nbrokers = \"b:9092\"\ntopic = \"t\"\n\
                 properties = { \"security.protocol\" = \"SASL_SSL\", \"socket.keepalive.enable\" = true }\n";
    let Target::Kafka(kafka) = parse_with(kafka, &[]).unwrap().sinks().remove(0).target else {
        panic!()
    };
    assert_eq!(kafka.properties["security.protocol"], "SASL_SSL");
    assert_eq!(kafka.properties["socket.keepalive.enable"], "true");
}

#[test]
fn a_refusal_is_one_line_and_moves_no_cursor() {
    for config in [
        "\"a\\nb\" = 1",
        "role = \"\\u001b[2J\"",
        "[[sink]]\ntype = \"\\u202e\\n\"",
        "[[sink]]\ntype = \"file\"\npath = \"/a\"\nevents = [\"\\n\"]",
    ] {
        let sentence = refusal(config);
        assert!(sentence.contains("\\u{"), "{sentence}");
        assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
    }
}
