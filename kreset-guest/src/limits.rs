//! What happens where the kernel or the rights lack something.

use anyhow::Result;

/// Tries each.
pub(crate) fn run_all() -> Result<()> {
    Ok(())
}
