//! Configuration files, up to the options that they stand for.

use std::{cell::RefCell, fs, path::PathBuf};

use kreset::{
    cli,
    config::{ConfigFile, Key, Takes},
};
use tempfile::TempDir;

/// Keys of each kind that there is.
const KEYS: [(&str, Takes); 6] = [
    ("port", Takes::Value),
    ("summary", Takes::Value),
    ("spool-size", Takes::Value),
    ("require", Takes::Value),
    ("all", Takes::Nothing),
    ("verbose", Takes::Times),
];

/// A file that was edited by hand, or written by another program.
pub fn config(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let keys = KEYS.map(|(name, takes)| Key {
        name: name.to_owned(),
        takes,
    });
    match ConfigFile::parse(PathBuf::from("kreset.toml"), text, &keys) {
        Ok(_) => through_the_command_line(text),
        Err(error) => is_one_line(&error.to_string()),
    }
}

/// What the file says goes the way of the command line, and is checked there.
fn through_the_command_line(text: &str) {
    thread_local! {
        static DIRECTORY: RefCell<Option<TempDir>> = const { RefCell::new(None) };
    }
    DIRECTORY.with_borrow_mut(|directory| {
        let directory =
            directory.get_or_insert_with(|| TempDir::new().expect("a directory for a file"));
        let path = directory.path().join("kreset.toml");
        fs::write(&path, text).expect("a file is written");
        let line = [
            "kreset-trace".as_ref(),
            "--config".as_ref(),
            path.as_os_str(),
        ];
        if let Err(error) = cli::parse(line) {
            // All that is wrong, a line each.
            error.to_string().lines().for_each(is_one_line);
        }
    });
}

/// A refusal is a sentence: it does not draw on the terminal.
fn is_one_line(sentence: &str) {
    assert!(!sentence.chars().any(char::is_control), "{sentence:?}");
}
