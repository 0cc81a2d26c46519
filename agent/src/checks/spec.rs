//! A check as its owner defines it.

/// A check definition from the API or a configuration file, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct CheckSpec {}

/// Why a definition was refused, in Consul's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("Missing service name")]
    MissingServiceName,
}

impl CheckSpec {
    /// Reads one check definition, from a request's body or a configuration file's block: every field of
    /// `surface/checks.md` §2 in every spelling, validated by §3.
    ///
    /// # Errors
    /// [`SpecError`]; its text is what the API answers with 400.
    pub fn parse(_definition: &serde_json::Value) -> Result<Self, SpecError> {
        Ok(Self {})
    }
}
