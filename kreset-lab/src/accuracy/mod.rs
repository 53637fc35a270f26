//! How far the tracer can be trusted: a labelled matrix of every cause, on both hosts, in every
//! shape that changes what one host can know, and a count of what the tracer said of it.
//!
//! What is expected comes from what was done, never from what the tracer says; where two causes
//! leave one host the same evidence, the case says so.

mod capture;
pub mod document;
pub mod matrix;
pub mod observation;
pub mod orderly;
mod score;
