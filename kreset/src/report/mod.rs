//! `kreset-trace report`: events, recordings and captures as something that people read.

mod build;
mod data;
mod document;
mod line;
mod page;
mod plots;
mod text;

use std::{
    fs,
    io::{self, BufRead as _, BufReader, Write as _},
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use thiserror::Error;

use self::{data::Data, document::Document};
use crate::{
    capture::{
        input::{Content, Input, InputError},
        viewpoint::Ends,
    },
    delivery::{Delivery, Observer, Sink, SinkError, Status},
    event::Event,
    run::{RunError, options, read},
    util::exit::Exit,
};

/// The format of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For terminals.
    Text,
    /// For tickets.
    Markdown,
    /// One page for browsers.
    Html,
}

/// What a report is made of.
#[derive(Clone, Debug)]
pub struct Options {
    /// Events, recordings and captures.
    pub files: Vec<PathBuf>,
    /// Where it is written; standard output if not given.
    pub output: Option<PathBuf>,
    /// Its format.
    pub format: Format,
    /// How captures and recordings are judged.
    pub run: options::Options,
    /// Where captures were taken, if the operator says so.
    pub seen_from: Option<Ends>,
}

/// Why there is no report.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A file is of no use.
    #[error(transparent)]
    Input(#[from] InputError),
    /// A capture or a recording cannot be judged.
    #[error(transparent)]
    Run(#[from] RunError),
    /// It cannot be written.
    #[error("cannot write {path}: {source}")]
    Write {
        /// The file.
        path: String,
        /// The error of the system call.
        source: io::Error,
    },
}

impl ReportError {
    /// The exit code.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match self {
            Self::Write { source, .. } if source.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Self::Run(error) => error.exit(),
            Self::Input(_) | Self::Write { .. } => Exit::Failed,
        }
    }
}

/// Makes a report.
///
/// # Errors
///
/// If a file cannot be used, or the report cannot be written.
pub fn run(options: &Options) -> Result<(), ReportError> {
    let data = gather(options)?;
    let mut data = data.lock().unwrap_or_else(PoisonError::into_inner);
    let document = build::document(&mut data);
    drop(data);
    let text = render(&document, options.format);
    let written = match &options.output {
        Some(path) => fs::write(path, text),
        None => io::stdout().write_all(text.as_bytes()),
    };
    written.map_err(|source| ReportError::Write {
        path: options.output.as_ref().map_or_else(
            || "standard output".to_owned(),
            |path| path.display().to_string(),
        ),
        source,
    })
}

fn render(document: &Document, format: Format) -> String {
    match format {
        Format::Text => text::text(document),
        Format::Markdown => text::markdown(document),
        Format::Html => page::html(document),
    }
}

/// Reads all files.
fn gather(options: &Options) -> Result<Arc<Mutex<Data>>, ReportError> {
    let data = Arc::new(Mutex::new(Data::default()));
    let mut others = Vec::new();
    for path in &options.files {
        let input = Input::open(path)?;
        if input.content == Content::Events {
            let failed = |source| InputError::Read {
                path: path.display().to_string(),
                source,
            };
            events(input, &mut lock(&data)).map_err(failed)?;
        } else {
            others.push(path.clone());
        }
    }
    if !others.is_empty() {
        let mut delivery = Delivery::default();
        let gatherer = Gatherer(Arc::clone(&data));
        delivery
            .start(
                "report",
                crate::event::filter::SinkFilter::default(),
                Sink::Observer(Box::new(gatherer)),
            )
            .map_err(|source| RunError::Sink(SinkError::Thread(source)))?;
        drop(read::judge(
            &options.run,
            &others,
            options.seen_from,
            delivery,
        )?);
    }
    Ok(data)
}

fn lock(data: &Mutex<Data>) -> std::sync::MutexGuard<'_, Data> {
    data.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Reads lines of JSON.
fn events(input: Input, data: &mut Data) -> io::Result<()> {
    let mut lines = BufReader::with_capacity(1 << 18, input.reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        match std::str::from_utf8(&line) {
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => data.take(text),
            Err(_) => data.take(""),
        }
    }
}

/// Takes the events of judged files.
struct Gatherer(Arc<Mutex<Data>>);

impl Observer for Gatherer {
    fn start(&mut self, _sinks: Vec<(String, Arc<Status>)>) -> Result<(), SinkError> {
        Ok(())
    }

    fn observe(&self, event: &Event) {
        if let Ok(text) = serde_json::to_string(event) {
            lock(&self.0).take(&text);
        }
    }
}
