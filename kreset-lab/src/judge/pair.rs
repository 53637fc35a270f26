//! What both hosts' reports must prove of a connection.

use super::{Answer, Expected, OnHost};
use crate::{Side, event::Event};

/// What both hosts together should say of one connection: either host's answer is true, and
/// nothing looks alike any more. Two things remain that two hosts know no more of than one: why a
/// first exchange ended where neither saw it, and that a host sent nothing, where its agent did
/// not write all that it saw: then `findings` say so.
pub(crate) fn together(expected: &Expected, findings: &[&Event]) -> OnHost {
    let shown = findings
        .iter()
        .all(|it| !it.missing.iter().any(|it| it == "unshown"));
    let hosts = Side::BOTH.map(|side| expected.on(side));
    let mut right: Vec<Answer> = Vec::new();
    let mut alike: Vec<Answer> = Vec::new();
    let add = |answers: &[Answer], to: &mut Vec<Answer>| {
        let new = answers.iter().filter(|it| !to.contains(it)).copied();
        let new: Vec<_> = new.collect();
        to.extend(new);
    };
    for wanted in hosts.iter().filter_map(|host| host.wanted()) {
        add(&wanted.right, &mut right);
        if !shown || expected.is_open() {
            add(&wanted.alike, &mut alike);
        }
    }
    let required = hosts.iter().any(|host| matches!(host, OnHost::Required(_)));
    OnHost::of(right, alike, required)
}

/// What is wrong with the findings of connections, each named by its client's port.
pub(crate) fn judge(all: &[Expected], findings: &[Event]) -> Vec<String> {
    let mut differences = Vec::new();
    for expected in all {
        let port = Some(expected.port);
        let of = |event: &&Event| event.client.as_ref().and_then(|it| it.port) == port;
        let found: Vec<&Event> = findings.iter().filter(of).collect();
        let wanted = together(expected, &found);
        if found.is_empty() && matches!(wanted, OnHost::Required(_)) {
            differences.push(format!("pair: nothing proven of port {}", expected.port));
        }
        for event in found {
            let right = wanted
                .wanted()
                .is_some_and(|wanted| wanted.right.iter().any(|answer| answer.fits(event)));
            if !right {
                differences.push(format!(
                    "pair: {} by {}, missing {:?}",
                    event.answer(),
                    event.proof.as_deref().unwrap_or("nothing"),
                    event.missing,
                ));
            }
        }
    }
    differences
}
