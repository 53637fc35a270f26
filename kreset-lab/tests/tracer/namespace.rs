//! A traced network namespace that ends.

use kreset_lab::{Lab, Side, Stop};

use crate::traced::Traced;

/// A line on standard error was all that said so: whoever reads events took the silence for peace.
#[test]
fn the_end_of_the_traced_namespace_is_an_event() {
    let lab = Lab::new(&Stop::default()).expect("a lab");
    let name = lab.network().host(Side::Client).name().to_owned();
    let mut traced = Traced::start(&["--netns", &name]);
    drop(lab);
    let loss = traced.next(|event| event["type"] == "loss");
    assert_eq!(loss["source"], "netns", "{loss}");
    assert_eq!(loss["lost"], 1, "{loss}");
}
