//! The program: everything is in the library.

fn main() -> std::process::ExitCode {
    lictor_agent::cli::main()
}
