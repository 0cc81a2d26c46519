//! The world outside.

/// Runs the agent until it is told to stop.
pub fn run(_config: crate::config::Resolved) -> std::process::ExitCode {
    eprintln!("==> This build has no runtime yet: the configuration is valid, and nothing was started.");
    std::process::ExitCode::FAILURE
}
