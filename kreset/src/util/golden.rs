//! Comparison with golden files, for tests.

use std::{env, fs, path::Path};

/// Compares `actual` with a file under `kreset/golden/`. With
/// `KRESET_UPDATE=1` the file is written instead.
pub(crate) fn golden(name: &str, actual: &str) {
    same_as_file(
        &Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("golden")
            .join(name),
        actual,
    );
}

/// Compares `actual` with the file at `path`, likewise.
pub(crate) fn same_as_file(path: &Path, actual: &str) {
    if env::var_os("KRESET_UPDATE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, actual).unwrap();
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let path = path.display();
    for (number, (actual, expected)) in (1..).zip(actual.lines().zip(expected.lines())) {
        assert_eq!(
            actual, expected,
            "line {number} of {path}; KRESET_UPDATE=1 accepts what is new"
        );
    }
    assert!(
        actual == expected,
        "{path} has another end; KRESET_UPDATE=1 accepts what is new"
    );
}
