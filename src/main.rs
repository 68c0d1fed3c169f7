//! The `magnes` program: a thin shell around the library's session, DHT node and storage.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
