//! The runtime that a command runs on.

use tokio::runtime;

use super::Outcome;
use super::exit::{Exit, Failure};

/// Runs a command to its end on a runtime of its own.
pub(super) fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Failed, format!("cannot start: {error}")))?;
    let outcome = runtime.block_on(command);
    // Whatever was to be saved is; a name lookup that is still under way is not waited for.
    runtime.shutdown_background();
    outcome
}
