//! The lines of all agents, in a file while they are put in order: a million of them are 2.3 GB.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write as _},
    os::unix::fs::FileExt as _,
    path::Path,
};

/// Lines as they are written.
#[derive(Debug)]
pub(super) struct Lines {
    file: BufWriter<File>,
    places: Vec<Place>,
    next: u64,
}

/// Where a line is, and when it was written, by true time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) at: i64,
    offset: u64,
    length: usize,
}

/// Lines that are all there.
#[derive(Debug)]
pub(super) struct Written {
    file: File,
    places: Vec<Place>,
    line: Vec<u8>,
}

impl Lines {
    /// None yet, in a file beside `output` that has no name.
    pub(super) fn beside(output: &Path) -> io::Result<Self> {
        let path = output.with_extension("unordered");
        let mut options = File::options();
        let file = options
            .read(true)
            .write(true)
            .create_new(true)
            .open(&path)?;
        fs::remove_file(&path)?;
        Ok(Self {
            file: BufWriter::new(file),
            places: Vec::new(),
            next: 0,
        })
    }

    /// Adds one that was written at a time.
    pub(super) fn add(&mut self, at: i64, line: &str) -> io::Result<()> {
        self.file.write_all(line.as_bytes())?;
        self.places.push(Place {
            at,
            offset: self.next,
            length: line.len(),
        });
        self.next += line.len() as u64;
        Ok(())
    }

    /// There are no more.
    pub(super) fn written(self) -> io::Result<Written> {
        let file = self
            .file
            .into_inner()
            .map_err(io::IntoInnerError::into_error)?;
        Ok(Written {
            file,
            places: self.places,
            line: Vec::new(),
        })
    }
}

impl Written {
    /// Where they are, as they were added.
    pub(super) fn places(&self) -> &[Place] {
        &self.places
    }

    /// The text of one.
    pub(super) fn line(&mut self, index: usize) -> io::Result<&[u8]> {
        let Place { offset, length, .. } = self.places[index];
        self.line.resize(length, 0);
        self.file.read_exact_at(&mut self.line, offset)?;
        Ok(&self.line)
    }
}
