//! Who may see what. Queries ask it for each row; until access control is built, [`AllowAll`] answers.

/// A decision for each row that a query is about to give out.
pub trait Authorizer {
    /// Whether the node may be seen.
    fn node_read(&self, node: &str) -> bool;
    /// Whether the service may be seen.
    fn service_read(&self, service: &str) -> bool;
    /// Whether the key may be read.
    fn key_read(&self, key: &str) -> bool;
    /// Whether the sessions of the node may be seen.
    fn session_read(&self, node: &str) -> bool;
    /// Whether the prepared query may be seen.
    fn query_read(&self, name: &str) -> bool;
}

/// Everything is allowed: the authorizer of a datacenter without access control.
#[derive(Clone, Copy, Debug, Default)]
pub struct AllowAll;

impl Authorizer for AllowAll {
    fn node_read(&self, _: &str) -> bool {
        true
    }
    fn service_read(&self, _: &str) -> bool {
        true
    }
    fn key_read(&self, _: &str) -> bool {
        true
    }
    fn session_read(&self, _: &str) -> bool {
        true
    }
    fn query_read(&self, _: &str) -> bool {
        true
    }
}
