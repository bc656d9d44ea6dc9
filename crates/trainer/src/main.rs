//! The `tunesmith` binary: everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    checkpoint::exit_on_bus_error();
    ExitCode::from(tunesmith::internal::guard(|| tunesmith::run_command_line(std::env::args_os())))
}
