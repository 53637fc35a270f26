//! A control group that a test makes.

use std::{
    fs,
    path::{Path, PathBuf},
};

use kreset_lab::Stop;

use crate::traced::PATIENCE;

/// A control group of version 2 with a name of its own, removed when dropped.
pub(crate) struct ControlGroup(PathBuf);

impl ControlGroup {
    pub(crate) fn new(name: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("a list of mounts");
        let mut mounts = mounts.lines().map(|line| line.split(' '));
        let mount = mounts.find_map(|mut fields| {
            let place = fields.nth(1)?;
            (fields.next() == Some("cgroup2")).then_some(place)
        });
        let root = Path::new(mount.expect("a cgroup v2 hierarchy"));
        let path = root.join(format!("{name}-{}", std::process::id()));
        fs::create_dir(&path).expect("a control group");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        // What ran in it may not be reaped yet.
        let removed = || fs::remove_dir(&self.0).is_ok();
        let _tried = Stop::default().until_holds("its end", PATIENCE, removed);
    }
}
