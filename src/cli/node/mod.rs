//! `magnes node`: a DHT node that others bootstrap from, as an operator runs it.
//!
//! Deliberately absent: any rule of the DHT, which is the library's, and any state beside what the library keeps.
#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "the program makes its folder, reads the clock and looks at the process"
)]

mod http;
mod listen;
mod notify;
mod process;

mod status;

mod lines;
mod metrics;

mod command;

pub(crate) use command::{NodeArgs, run};
