//! What was seen earlier, read from files.

pub mod recording;
