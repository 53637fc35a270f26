//! Connections that were silent for longer than a device remembers.

use std::time::Duration;

use super::{Outcome, Scenario, Scene};
use crate::{
    Family, Moment, Side,
    device::Ttl,
    error::Result,
    judge::{Answer, Expected},
    net::message::Request,
};

pub(super) fn scenarios() -> Vec<Scenario> {
    let mut all = Vec::new();
    all.extend(Scenario::for_each_family(
        "idle_reset_on_send",
        "a device forgets the silent connection and answers the client's next request with a reset",
        on_send,
    ));
    all.extend(Scenario::for_each_family(
        "idle_reset_on_timer",
        "a device resets both ends when its idle timer runs out",
        on_timer,
    ));
    all.push(Scenario::new(
        "idle_reset_on_keepalive",
        "a device forgets the silent connection and answers the client's keepalive probe",
        on_keepalive,
    ));
    all.push(Scenario::new(
        "idle_reset_long_poll",
        "the broker's answer comes later than a device remembers, and draws the reset itself",
        long_poll,
    ));
    all.push(Scenario::new(
        "idle_reset_on_close",
        "a device forgot the silent connection, and the client's own FIN draws the reset",
        on_close,
    ));
    all.push(Scenario::new(
        "idle_reset_after_retransmissions",
        "the request after the silence is lost several times before a device answers it",
        after_retransmissions,
    ));
    all.push(
        Scenario::new(
            "idle_reset_copied_ttl",
            "as idle_reset_on_send, but the device's reset has the TTL of the broker's packets",
            copied_ttl,
        )
        .further(),
    );
    all.push(
        Scenario::new(
            "idle_drop",
            "a device forgets the silent connection and drops what the client sends afterwards",
            dropped,
        )
        .further(),
    );
    all
}

fn on_send(scene: &Scene<'_>, family: Family) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox()
        .reset_on_send(scene.idle_timeout(), Ttl::Own)?;
    let watch = scene.watch()?;
    let listener = lab.listen(family)?;
    let mut talk = lab.converse(&listener, family)?;
    scene.outlast_the_device()?;
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    talk.client.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Own)?;
    // The broker's end lives on and hears nothing.
    watch.judge(
        story
            .received(&[Answer::IDLE_ON_SEND])
            .in_state("ESTABLISHED")
            .provoked_by("data"),
        Expected::NoEvent,
    )
}

fn on_timer(scene: &Scene<'_>, family: Family) -> Result<Outcome> {
    let lab = scene.lab;
    let _device = lab
        .middlebox()
        .reset_on_timer(scene.idle_timeout(), Ttl::Own)?;
    let watch = scene.watch()?;
    let listener = lab.listen(family)?;
    let talk = lab.converse(&listener, family)?;
    lab.silence(scene.idle_timeout())?;
    talk.client.wait_for_reset()?;
    talk.broker.wait_for_reset()?;
    let port = talk.port()?;
    // Each end gets a reset that the other one did not send.
    let [client, broker] = [Side::Client, Side::Broker].map(|side| {
        scene
            .spontaneous(port, side)
            .and_then(|story| story.forged(Ttl::Own))
            .map(|story| {
                story
                    .received(&[Answer::IDLE_ON_TIMER])
                    .in_state("ESTABLISHED")
                    .provoked_by("nothing")
            })
    });
    watch.judge(client?, broker?)
}

fn on_keepalive(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox()
        .reset_on_send(scene.idle_timeout(), Ttl::Own)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let talk = lab.converse(&listener, Family::Mapped)?;
    talk.client
        .keep_alive(scene.idle_timeout() + Duration::from_secs(1))?;
    let acted = Moment::now();
    lab.silence(scene.idle_timeout() + Duration::from_secs(1))?;
    talk.client.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Own)?;
    watch.judge(
        story
            .received(&[Answer::IDLE_ON_SEND])
            .in_state("ESTABLISHED")
            .provoked_by("keepalive"),
        Expected::NoEvent,
    )
}

fn long_poll(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox()
        .reset_on_send(scene.idle_timeout(), Ttl::Own)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Mapped)?;
    let mut talk = lab.converse(&listener, Family::Mapped)?;
    talk.client.request(Request::Metadata)?;
    scene.outlast_the_device()?;
    let acted = Moment::now();
    talk.broker.answer()?;
    talk.broker.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Broker, acted)?
        .forged(Ttl::Own)?;
    // The client goes on waiting for its answer: it will see a timeout, never a reset.
    watch.judge(
        Expected::NoEvent,
        story
            .received(&[Answer::IDLE_ON_SEND])
            .in_state("ESTABLISHED")
            .provoked_by("data"),
    )
}

fn on_close(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox()
        .reset_on_send(scene.idle_timeout(), Ttl::Own)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let talk = lab.converse(&listener, Family::Ipv4)?;
    scene.outlast_the_device()?;
    let acted = Moment::now();
    talk.client.end()?;
    talk.client.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Own)?;
    // Hurts nobody, so it is shown because the lab asks for all events.
    watch.judge(
        story
            .received(&[Answer::IDLE_ON_SEND])
            .in_state("FIN_WAIT1")
            .provoked_by("close"),
        Expected::NoEvent,
    )
}

fn after_retransmissions(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let mut talk = lab.converse(&listener, Family::Ipv4)?;
    scene.outlast_the_device()?;
    lab.middlebox().drop_everything()?;
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    // Retransmissions at about 0.2, 0.4 and 0.8 s, each twice as late as the one before.
    lab.silence(Duration::from_secs(1))?;
    lab.middlebox().reset_on_sight(Ttl::Own)?;
    talk.client.wait_for_reset()?;
    // The silence ended with the first transmission; the time to the reset is another figure.
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Own)?;
    watch.judge(
        story
            .received(&[Answer::IDLE_ON_SEND])
            .in_state("ESTABLISHED")
            .provoked_by("data"),
        Expected::NoEvent,
    )
}

fn copied_ttl(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox()
        .reset_on_send(scene.idle_timeout(), Ttl::Copied)?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let mut talk = lab.converse(&listener, Family::Ipv4)?;
    scene.outlast_the_device()?;
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    talk.client.wait_for_reset()?;
    let story = scene
        .drawn(talk.port()?, Side::Client, acted)?
        .forged(Ttl::Copied)?;
    // The same packet as from a broker host that lost the connection: abstaining is right, and
    // so is either name if it is not said with confidence.
    watch.judge(
        story
            .received(&[
                Answer::IDLE_ON_SEND,
                Answer::CONNECTION_LOST,
                Answer::INDETERMINATE,
            ])
            .less_sure_than(0.9)
            .provoked_by("data"),
        Expected::NoEvent,
    )
}

fn dropped(scene: &Scene<'_>) -> Result<Outcome> {
    let lab = scene.lab;
    lab.middlebox().drop_silently(scene.idle_timeout())?;
    let watch = scene.watch()?;
    let listener = lab.listen(Family::Ipv4)?;
    let mut talk = lab.converse(&listener, Family::Ipv4)?;
    talk.client.give_up_after(Duration::from_millis(1500))?;
    scene.outlast_the_device()?;
    let acted = Moment::now();
    talk.client.request(Request::Metadata)?;
    talk.client.wait_for_failure(Duration::from_secs(10))?;
    let truth = scene.timed_out(talk.port()?, acted)?;
    watch.judge(truth, Expected::NoEvent)
}
