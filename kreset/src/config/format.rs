//! How events are written.

/// Form of the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// For people: aligned columns.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
    /// One document of the Elastic Common Schema a line.
    Ecs,
}
