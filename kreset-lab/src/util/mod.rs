//! What every other module stands on.

pub mod journal;
pub(crate) mod limits;
pub mod moment;
pub(crate) mod program;
pub mod status;
pub mod stop;
