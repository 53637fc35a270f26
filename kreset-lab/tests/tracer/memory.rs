//! What the tracer takes of memory while it starts.

use kreset_lab::{Lab, Side, Stop, util::process::Observed};

use crate::traced::Traced;

/// The kernel's types are 5.5 MB on 6.18, and all of them are parsed by aya once, which takes
/// 16 MB for a moment: the rest of a start has to fit below that. Before, they were parsed twice
/// and kept, which took 27 MB.
const MOST_KIB: u64 = 20_000_000 / 1_024;

/// Of the pages of its own file a development build has many more, which are not counted here:
/// `cargo xtask soak` measures all of a release build.
#[test]
fn a_start_allocates_less_than_20_mb() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let traced = Traced::start(&["--netns", lab.network().host(Side::Client).name()]);
    let observed = Observed::new(traced.child.id());
    let status = |name| observed.status(name).expect("the tracer runs");
    // It has as many file pages now as at its peak, or more.
    let allocated = status("VmHWM:").saturating_sub(status("RssFile:"));
    assert!(
        (1..MOST_KIB).contains(&allocated),
        "{allocated} KiB, expected less than {MOST_KIB}"
    );
}
