//! What every other module stands on.

pub mod child;
pub(crate) mod feed;
pub mod journal;
pub(crate) mod limits;
pub mod moment;
pub mod process;
pub(crate) mod program;
pub mod status;
pub mod stop;
