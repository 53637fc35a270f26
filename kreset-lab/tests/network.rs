//! The library's network, devices and endpoints, as tests elsewhere use them. As root.

use std::{io::ErrorKind, path::Path, time::Duration};

use kreset_lab::{
    Error, Family, Lab, Moment, Result, Side, Stop, device::Ttl, net::message::Request,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// The shortest that conntrack can count.
const IDLE: Duration = Duration::from_secs(1);

#[test]
fn labs_stand_side_by_side_and_go_without_a_trace() -> Result<()> {
    let stop = Stop::default();
    let labs = [Lab::new(&stop)?, Lab::new(&stop)?];
    let mut names = Vec::new();
    for lab in &labs {
        for family in [Family::Ipv4, Family::Ipv6, Family::Mapped] {
            // The same addresses and ports in both.
            let listener = lab.listen(family)?;
            lab.converse(&listener, family)?;
        }
        let network = lab.network();
        for namespace in [
            network.host(Side::Client),
            network.router(),
            network.host(Side::Broker),
        ] {
            assert!(namespace.path().exists());
            names.push(namespace.path());
        }
    }
    drop(labs);
    for name in names {
        assert!(!name.exists(), "{}", name.display());
    }
    Ok(())
}

#[test]
fn a_device_resets_who_sends_first_and_only_that_one() -> Result<()> {
    let lab = Lab::new(&Stop::default())?;
    lab.middlebox().reset_on_send(IDLE, Ttl::Own)?;
    let listener = lab.listen(Family::Mapped)?;
    let mut conversation = lab.converse(&listener, Family::Mapped)?;
    lab.silence(IDLE + Duration::from_millis(200))?;
    let acted = Moment::now();
    conversation.client.request(Request::Metadata)?;
    let error = conversation.client.wait_for_failure(PATIENCE)?;
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);

    let port = conversation.port()?;
    let wire = lab.wire();
    let reset = wire.wait_for("a reset", PATIENCE, |seen| seen.resets(Side::Client))?;
    assert_eq!((reset.client_port(), reset.segment.ttl), (port, 64));
    assert!(!reset.segment.timestamps);
    let trigger = wire.wait_for("its trigger", PATIENCE, |seen| seen.at >= acted)?;
    let silence = wire
        .silence_before(&trigger)
        .expect("it talked before")
        .wire;
    assert!(silence >= IDLE + Duration::from_millis(200));
    let resets = |side| wire.sightings().iter().any(|seen| seen.resets(side));
    assert!(!resets(Side::Broker));
    Ok(())
}

#[test]
fn a_timer_device_resets_both_ends_in_time() -> Result<()> {
    for family in [Family::Ipv4, Family::Ipv6] {
        let lab = Lab::new(&Stop::default())?;
        let idle = Duration::from_millis(300);
        let _device = lab.middlebox().reset_on_timer(idle, Ttl::Copied)?;
        let listener = lab.listen(family)?;
        let conversation = lab.converse(&listener, family)?;
        for (end, side) in [
            (&conversation.client, Side::Client),
            (&conversation.broker, Side::Broker),
        ] {
            end.wait_for_reset()?;
            let reset = lab
                .wire()
                .wait_for("a reset", PATIENCE, |seen| seen.resets(side))?;
            assert_eq!(reset.segment.ttl, 63);
            let silence = lab
                .wire()
                .silence_before(&reset)
                .expect("it talked before")
                .wire;
            assert!(
                (idle..idle + Duration::from_millis(100)).contains(&silence),
                "{silence:?}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_killed_broker_leaves_a_refusing_host() -> Result<()> {
    let lab =
        Lab::new(&Stop::default())?.with_own_binary(Path::new(env!("CARGO_BIN_EXE_kreset-lab")));
    let mut broker = lab.start_broker(Family::Ipv4, 1)?;
    let mut client = lab.connect(Family::Ipv4)?;
    client.request(Request::ApiVersions)?;
    client.receive()?;
    client.request(Request::Metadata)?;
    lab.wire()
        .wait_for_count(2, "both requests", PATIENCE, |seen| {
            seen.carries_data_from(Side::Client)
        })?;
    broker.kill()?;
    client.wait_for_reset()?;
    match lab.connect(Family::Ipv4) {
        Err(Error::Io { source, .. }) => assert_eq!(source.kind(), ErrorKind::ConnectionRefused),
        other => panic!("{other:?}"),
    }
    Ok(())
}

#[test]
fn conntrack_counts_whole_seconds() -> Result<()> {
    let lab = Lab::new(&Stop::default())?;
    for idle in [Duration::ZERO, Duration::from_millis(1500)] {
        let refused = lab.middlebox().reset_on_send(idle, Ttl::Own);
        assert!(matches!(refused, Err(Error::IdleTimeout(_))), "{refused:?}");
    }
    Ok(())
}

#[test]
fn a_stop_ends_what_waits() -> Result<()> {
    let stop = Stop::default();
    let lab = Lab::new(&stop)?;
    let listener = lab.listen(Family::Ipv4)?;
    let conversation = lab.converse(&listener, Family::Ipv4)?;
    stop.request();
    assert!(matches!(
        lab.silence(Duration::from_mins(1)),
        Err(Error::Stopped)
    ));
    assert!(matches!(
        conversation.client.wait_for_data(),
        Err(Error::Stopped)
    ));
    assert!(matches!(
        lab.wire().wait_for("nothing", PATIENCE, |_| false),
        Err(Error::Stopped)
    ));
    Ok(())
}
