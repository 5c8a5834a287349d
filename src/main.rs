//! The `cratehold` command; everything it does is in the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::run()
}
