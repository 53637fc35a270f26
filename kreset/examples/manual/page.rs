//! The man pages, from the command line and from what the program itself explains.
//!
//! The page of a subcommand is what `--help` says. That of the program also has the
//! verdicts, the files, the signals and the exit status.

use clap::{Arg, Command};
use clap_mangen::Man;
use kreset::{cli::explain, util::exit::Exit};
use roff::{Inline, Roff, bold, italic, roman};

/// What the package installs, and what a run reads and writes.
const FILES: [(&str, &str); 8] = [
    (
        "/etc/kreset/kreset.toml",
        "The configuration of the agent. Its keys have the names of the options.",
    ),
    (
        "/usr/lib/systemd/system/kreset.service",
        "The unit of the agent: kreset-trace --config /etc/kreset/kreset.toml.",
    ),
    (
        "/var/log/kreset/events.json",
        "Where the packaged configuration writes events, an object a line.",
    ),
    (
        "/var/lib/kreset/spool",
        "Events that sinks have not delivered yet (--spool).",
    ),
    (
        "/sys/kernel/btf/vmlinux",
        "The types of the running kernel; without it there is no start.",
    ),
    (
        "/sys/fs/cgroup",
        "Control groups, for packet evidence and for the names of containers and units.",
    ),
    (
        "/proc/PID",
        "Network namespaces, programs and open connections of processes.",
    ),
    (
        "/var/log/pods, /var/log/containers",
        "Names of pods and containers on a node of Kubernetes.",
    ),
];

/// What signals do to a run.
const SIGNALS: [(&str, &str); 2] = [
    (
        "SIGINT, SIGTERM",
        "End in order: detach, judge what is held, write the summary, and deliver for at most \
         --drain. A second one ends the delivery; with a spool, the next run delivers the rest.",
    ),
    (
        "SIGHUP",
        "Open output files again, for logrotate. With --config, also read the file again; ports \
         and sinks change with a restart only. A file that is wrong changes nothing.",
    ),
];

const ENVIRONMENT: [(&str, &str); 3] = [
    (
        "NO_COLOR, CLICOLOR=0, TERM=dumb",
        "No colour, unless --color asks for it.",
    ),
    (
        "FORCE_COLOR, CLICOLOR_FORCE",
        "Colour where standard output is no terminal, too.",
    ),
    ("TZ", "The time zone of text on a terminal."),
];

/// The pages of `command` and of its subcommands, by the names of their files.
pub(crate) fn all(mut command: Command) -> Vec<(String, String)> {
    command.build();
    let mut pages = vec![page(&command, true)];
    let visible = command.get_subcommands().filter(|it| !it.is_hide_set());
    pages.extend(visible.map(|it| page(it, false)));
    pages
}

fn page(command: &Command, is_program: bool) -> (String, String) {
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone())
        .manual("kreset")
        .source(format!("kreset-trace {version}"));
    let name = man.get_filename();
    let mut out = Vec::new();
    let render = |out: &mut Vec<u8>| {
        man.render_title(out)?;
        man.render_name_section(out)?;
        out.extend(synopsis(command, is_program).into_bytes());
        man.render_description_section(out)?;
        man.render_options_section(out)
    };
    // Writing to memory does not fail.
    render(&mut out).expect("written to memory");
    let after = command
        .get_after_long_help()
        .map(ToString::to_string)
        .unwrap_or_default();
    if is_program {
        man.render_subcommands_section(&mut out)
            .expect("written to memory");
        for section in [
            verdicts(),
            terms("EXIT STATUS", exits()),
            terms("SIGNALS", owned(&SIGNALS)),
            terms("FILES", owned(&FILES)),
            terms("ENVIRONMENT", owned(&ENVIRONMENT)),
            examples(&after),
            see_also(command),
        ] {
            out.extend(section.into_bytes());
        }
    } else {
        out.extend(literal(&after).into_bytes());
        out.extend(terms("EXIT STATUS", exits()).into_bytes());
        out.extend(see_also(command).into_bytes());
    }
    let text = String::from_utf8(out).expect("of strings");
    (name, text)
}

/// The options with what they take, in the order of the help.
fn synopsis(command: &Command, is_program: bool) -> String {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    // Each option is whole on its line.
    roff.control("ad", ["l"]);
    let mut line = vec![bold(name)];
    let all = command.get_arguments().filter(|it| !it.is_hide_set());
    let (places, options): (Vec<_>, Vec<_>) = all.partition(|it| it.is_positional());
    for option in options.into_iter().filter(|it| !is_of_clap(it)) {
        line.push(roman(" ["));
        line.extend(option_words(option));
        line.push(roman("]"));
    }
    for place in places {
        line.push(roman(" "));
        line.extend(values(place));
    }
    roff.text(line);
    if is_program {
        roff.control("br", []);
        roff.text([
            bold(name),
            roman(" "),
            italic("COMMAND"),
            roman(" [options]"),
        ]);
    }
    roff.control("ad", []);
    roff.render()
}

/// `--help` and `--version`, which every program has.
fn is_of_clap(option: &Arg) -> bool {
    ["help", "version"].contains(&option.get_id().as_str())
}

fn option_words(option: &Arg) -> Vec<Inline> {
    let mut words = Vec::new();
    if let Some(short) = option.get_short() {
        words.extend([bold(format!("-{short}")), roman("|")]);
    }
    words.push(bold(format!("--{}", option.get_long().unwrap_or_default())));
    if option.get_action().takes_values() {
        words.push(roman("\u{a0}"));
        words.extend(values(option));
    }
    words
}

/// What an argument takes: the words that it may be, where they are shown, or its name.
fn values(argument: &Arg) -> Vec<Inline> {
    let possible = argument.get_possible_values();
    let shown: Vec<_> = possible
        .iter()
        .filter(|it| !it.is_hide_set() && !argument.is_hide_possible_values_set())
        .map(|it| it.get_name().to_owned())
        .collect();
    if !shown.is_empty() {
        return vec![bold(shown.join("|"))];
    }
    let names = argument.get_value_names().unwrap_or_default();
    let name: Vec<_> = names.iter().map(ToString::to_string).collect();
    let range = argument.get_num_args().unwrap_or_default();
    let more = if range.max_values() > 1 { "..." } else { "" };
    let word = italic(format!("{}{more}", name.join(" ")));
    if argument.is_positional() && !argument.is_required_set() {
        vec![roman("["), word, roman("]")]
    } else {
        vec![word]
    }
}

fn verdicts() -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["VERDICTS"]);
    roff.text([roman(
        "A verdict and its cause are written as verdict/cause. What is not decided is \
         indeterminate. kreset-trace explain NAME says more of each, with commands to check it.",
    )]);
    for (class, meaning) in explain::meanings() {
        term(&mut roff, &class, &meaning);
    }
    roff.render()
}

fn exits() -> Vec<(String, String)> {
    let all = Exit::ALL.into_iter();
    all.map(|exit| (exit.code().to_string(), exit.meaning().to_owned()))
        .collect()
}

fn owned(terms: &[(&str, &str)]) -> Vec<(String, String)> {
    let all = terms.iter();
    all.map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
        .collect()
}

fn terms(heading: &str, terms: Vec<(String, String)>) -> String {
    let mut roff = Roff::new();
    roff.control("SH", [heading]);
    for (name, text) in terms {
        term(&mut roff, &name, &text);
    }
    roff.render()
}

fn term(roff: &mut Roff, name: &str, text: &str) {
    roff.control("TP", []);
    roff.text([bold(name)]);
    roff.text([roman(text)]);
}

/// The examples of the help: a command, and what it does indented below it.
fn examples(help: &str) -> String {
    let mut roff = Roff::new();
    roff.control("SH", ["EXAMPLES"]);
    let lines = help.lines().skip_while(|line| *line != "Examples:").skip(1);
    let mut text = String::new();
    for line in lines.take_while(|line| !line.is_empty()) {
        if let Some(more) = line.strip_prefix("      ") {
            text.push_str(more);
            text.push(' ');
        } else {
            paragraph(&mut roff, &mut text);
            roff.control("TP", []);
            roff.text([bold(line.trim())]);
        }
    }
    paragraph(&mut roff, &mut text);
    roff.render()
}

fn paragraph(roff: &mut Roff, text: &mut String) {
    if !text.is_empty() {
        roff.text([roman(text.trim_end())]);
        text.clear();
    }
}

/// What follows the options in a subcommand's help, as it stands there.
fn literal(help: &str) -> String {
    if help.is_empty() {
        return String::new();
    }
    let mut roff = Roff::new();
    roff.control("SH", ["NOTES"]);
    roff.control("nf", []);
    for line in help.lines() {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.render()
}

fn see_also(command: &Command) -> String {
    let mut names: Vec<_> = command
        .get_subcommands()
        .filter(|it| !it.is_hide_set())
        .map(|it| format!("kreset-trace-{}(1)", it.get_name()))
        .collect();
    if names.is_empty() {
        names.push("kreset-trace(1)".to_owned());
    }
    names.extend(["ss(8)", "tcpdump(8)"].map(ToOwned::to_owned));
    let mut roff = Roff::new();
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(names.join(", "))]);
    roff.render()
}
