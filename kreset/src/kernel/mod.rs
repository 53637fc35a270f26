//! What this kernel can do for kreset, and how it is asked to.

pub mod apply;
pub mod btf;
pub mod facts;
pub mod feature;
pub mod hz;
mod loader;
mod log;
pub mod netns;
pub mod offsets;
pub mod plan;
pub mod prepare;
pub mod privilege;
pub mod programs;
mod skips;
mod types;
