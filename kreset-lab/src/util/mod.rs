//! What every other module stands on.

pub mod child;
pub mod control_group;
pub(crate) mod feed;
pub(crate) mod helper;
pub mod journal;
pub(crate) mod limits;
pub(crate) mod lock;
pub mod moment;
pub mod process;
pub(crate) mod program;
pub mod status;
pub mod stop;
#[cfg_attr(
    not(feature = "full"),
    expect(unreachable_pub, reason = "benchmarks return tables")
)]
pub(crate) mod table;
pub(crate) mod worker;
