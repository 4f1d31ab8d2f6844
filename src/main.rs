//! The life of the process: read the command line, run one command, map its end to an exit code.

use std::process::ExitCode;

fn main() -> ExitCode {
    baton::cli::main()
}
