//! How lines arrive: late, out of order, and some of them twice.

use std::io::{self, Write};

use fastrand::Rng;

use super::{fleet::SECOND, lines::Written};

/// No line is later than this: what comes later is judged without it.
const LATEST: i64 = 8 * SECOND;

/// Writes lines in the order in which they arrive, and returns how many.
pub(super) fn deliver(
    random: &mut Rng,
    mut lines: Written,
    mut output: impl Write,
) -> io::Result<usize> {
    let places = lines.places();
    let mut arrivals = Vec::with_capacity(places.len() + places.len() / 40);
    for (index, line) in places.iter().enumerate() {
        let mut delay = || match random.u32(..50) {
            0 => random.i64(0..LATEST),
            _ => random.i64(0..SECOND / 2),
        };
        arrivals.push((line.at + delay(), index));
        if index % 50 == 0 {
            arrivals.push((line.at + delay(), index));
        }
    }
    arrivals.sort_unstable();
    for (_, index) in &arrivals {
        output.write_all(lines.line(*index)?)?;
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(arrivals.len())
}
