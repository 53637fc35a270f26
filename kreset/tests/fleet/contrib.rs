//! The files that are shipped for receivers: tests read these very files.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// Where `name` of the shipped files is.
pub(crate) fn path(name: &str) -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../contrib")
        .join(name);
    path.canonicalize()
        .unwrap_or_else(|error| panic!("contrib/{name}: {error}"))
}

/// What stands in it.
pub(crate) fn text(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap()
}

/// The same with each of `replacements` changed to what the test has instead.
pub(crate) fn changed(name: &str, replacements: &[(&str, &str)]) -> String {
    let mut text = text(name);
    for (shipped, ours) in replacements {
        assert_eq!(
            text.matches(shipped).count(),
            1,
            "{shipped} in contrib/{name}"
        );
        text = text.replace(shipped, ours);
    }
    text
}
