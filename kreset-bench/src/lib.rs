//! `kreset-bench`: what `kreset-trace` costs, side by side with nothing and with what people use
//! today. `cargo xtask bench` runs it.
//!
//! Costs are ratios of samples taken in one run, in an order drawn anew each round; how far two
//! samples of the same lie apart stands beside them. Timings are never asserted; counts are.
#![expect(
    clippy::cast_precision_loss,
    reason = "what is counted here stays far below 2^52"
)]

pub mod arena;
pub mod compare;
pub mod document;
pub mod part;
pub mod plot;
pub mod process;
pub mod stats;
pub mod subject;
pub mod workload;
