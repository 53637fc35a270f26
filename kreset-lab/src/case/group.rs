//! Several connections of one path: what happens to one says something of the others.

use std::time::Instant;

use super::{hop::by_hop, idle::both_at_timer, prelude::*, unknowable};

/// Connections of one path, one after the other.
const COUNT: usize = 4;

/// Between two things that must not look like one.
const APART: Duration = ms(1300);

const LATES: &[Late] = &[Late("at_once", 0, 50), Late("soon", 100, 500)];

pub(super) fn rows() -> Vec<Row> {
    use Environment::LongIdle;
    vec![
        // Three seconds at least: none of the shorter silences comes near it on a busy machine.
        row("group.learned.{ttl}_ttl", learned)
            .environments(&[LongIdle])
            .timers(&[1]),
        row("group.idle_alike.{timer}", idle_alike),
        row("group.timer_alike.{timer}", timer_alike).environments(&[LongIdle]),
        row("group.failover.{late}", failover).lates(LATES),
        row("group.failover_while_silent", failover_while_silent).environments(&[LongIdle]),
        row("group.all_at_once.same_ttl.{late}", all_at_once)
            .environments(&[LongIdle])
            .lates(LATES),
    ]
}

/// Connections to one broker, in use.
fn several<'a>(context: &'a Context<'a>, device: Device) -> Result<Vec<ConnectionPair<'a>>> {
    let site = context.site(device)?;
    let mut pairs = Vec::new();
    for _ in 0..context.draw.number(3, 6) {
        let mut pair = context.connected_to(&site)?;
        pair.begin()?;
        pairs.push(pair);
    }
    context.draw.shuffle(&mut pairs);
    context.attached()?;
    Ok(pairs)
}

/// Each client asks, and is reset.
fn all_are_reset(pairs: &mut [ConnectionPair<'_>]) -> Result<()> {
    pairs
        .iter_mut()
        .try_for_each(ConnectionPair::ask_and_be_reset)
}

/// One after the other comes through silences of a share of the fatal one, and dies of that.
fn learned(context: &Context<'_>) -> Result<Vec<Expected>> {
    let copied = context.with.ttl == Ttl::Copied;
    let device = Device::Resets {
        timer: context.with.timer,
        copied,
    };
    let site = context.site(device)?;
    let share = f64::from(context.draw.number(30, 70)) / 100.0;
    let survived = context.timer().mul_f64(share);
    let mut all = Vec::new();
    for _ in 0..COUNT {
        let mut pair = context.connected_to(&site)?;
        pair.begin()?;
        context.attached()?;
        for _ in 0..2 {
            context.silence(survived)?;
            pair.exchange()?;
        }
        context.outlast()?;
        pair.ask_and_be_reset()?;
        let expected = pair.expected().forged(Client, device.ttl());
        let right = &[Answer::IDLE_ON_SEND];
        all.push(if copied {
            expected.learnable(Client, right, unknowable::LOOKS_LIKE_LOST)
        } else {
            expected.reported(Client, right)
        });
        context.silence(APART)?;
    }
    Ok(all)
}

/// Several became idle together and are reset together: a burst that is no shutdown.
fn idle_alike(context: &Context<'_>) -> Result<Vec<Expected>> {
    let mut pairs = several(context, context.resetting())?;
    context.outlast()?;
    all_are_reset(&mut pairs)?;
    let expected = |pair: &ConnectionPair<'_>| {
        pair.expected()
            .reported(Client, &[Answer::IDLE_ON_SEND])
            .forged(Client, Ttl::Own)
    };
    Ok(pairs.iter().map(expected).collect())
}

/// The same by a device that resets at the timer.
fn timer_alike(context: &Context<'_>) -> Result<Vec<Expected>> {
    let silence = context.outlasting();
    let mut pairs = several(context, Device::None)?;
    context.silence(silence)?;
    let pairs = pairs.iter_mut();
    pairs.map(|pair| both_at_timer(context, pair)).collect()
}

/// Lets the silences of connections differ, the last one being `silence`.
fn fall_silent(
    context: &Context<'_>,
    pairs: &mut [ConnectionPair<'_>],
    silence: Duration,
) -> Result<()> {
    pairs.iter_mut().try_for_each(ConnectionPair::keep_busy)?;
    context.silence(silence)
}

/// A device loses the state of all connections, all of them in use a moment ago.
fn failover(context: &Context<'_>) -> Result<Vec<Expected>> {
    let silence = context.with.late.draw(&context.draw);
    let mut pairs = several(context, Device::Fails { copied: false })?;
    pairs.iter_mut().try_for_each(ConnectionPair::keep_busy)?;
    // What it takes to lose the state of all, on a busy machine long, is silence as well.
    let began = Instant::now();
    for pair in &pairs {
        context.lose_state(pair.port)?;
    }
    context.silence(silence.saturating_sub(began.elapsed()))?;
    all_are_reset(&mut pairs)?;
    Ok(pairs.iter().map(by_hop).collect())
}

/// One connection is silent when a device loses the state of all, and long after: what the device
/// forgot meets its next packet, and no timer does.
fn failover_while_silent(context: &Context<'_>) -> Result<Vec<Expected>> {
    let mut pairs = several(context, Device::Fails { copied: false })?;
    let mut silent = pairs.swap_remove(0);
    context.silence(APART)?;
    pairs.iter_mut().try_for_each(ConnectionPair::keep_busy)?;
    for pair in pairs.iter().chain([&silent]) {
        context.lose_state(pair.port)?;
    }
    all_are_reset(&mut pairs)?;
    context.silence(context.draw.time(2_000, 12_000))?;
    silent.ask_and_be_reset()?;
    Ok(pairs.iter().chain([&silent]).map(by_hop).collect())
}

/// The broker's host loses all connections, all of them in use a moment ago, or a device that
/// copies its TTL does.
fn all_at_once(context: &Context<'_>) -> Result<Vec<Expected>> {
    let silence = context.with.late.draw(&context.draw);
    let lost = unknowable::is_lost_in_use(&context.draw);
    let device = if lost {
        Device::None
    } else {
        Device::Fails { copied: true }
    };
    let mut pairs = several(context, device)?;
    fall_silent(context, &mut pairs, silence)?;
    for pair in &mut pairs {
        if lost {
            pair.forget(Broker)?;
        } else {
            context.lose_state(pair.port)?;
        }
    }
    all_are_reset(&mut pairs)?;
    let expected = |pair: &ConnectionPair<'_>| {
        let right = if lost {
            Answer::CONNECTION_LOST
        } else {
            Answer::NOT_IDLE
        };
        let expected = pair
            .expected()
            .undecidable(Client, &[right], unknowable::LOOKS_LIKE_LOST)
            .forged(Client, Ttl::Copied);
        if lost {
            expected.reported(Broker, &[right])
        } else {
            expected
        }
    };
    Ok(pairs.iter().map(expected).collect())
}
