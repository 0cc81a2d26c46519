//! `/v1/openapi.json`: the API as OpenAPI 3.1 describes it, made from the route table that serves it.
//!
//! A line of the table says what its operation is for, what it takes and what it answers ([`Doc`]). Parameters are written down in
//! [`param`]; what is answered is described by the very types that are serialised; what is read, field by field and
//! forgivingly, by the types in [`body`]. Nothing here has a part in serving a request.
//!
//! One addition says what a client may rely on: `x-refused`, beside a parameter, is the status that answers a value which is none of
//! its schema, or names nothing. Without it such a value is as good as any other.

pub mod body;
mod document;
pub mod param;
#[cfg(test)]
mod tests;

pub use document::serve;

use param::Param;
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// What a client must know of an operation.
#[derive(Clone, Copy, Debug)]
pub struct Doc {
    /// One sentence, without its full stop.
    pub summary: &'static str,
    pub params: &'static [&'static [Param]],
    /// What the body of a request is, if it is looked at.
    pub body: Option<Content>,
    /// There has to be one.
    pub body_required: bool,
    /// What the body of an answer is; several where a parameter or header chooses, none where there is no body.
    pub answers: &'static [Content],
    /// Other statuses that this operation has, and what they mean.
    pub others: &'static [Other],
}

/// What bytes are.
#[derive(Clone, Copy, Debug)]
pub enum Content {
    Json(Make),
    /// Of this media type.
    Media(&'static str),
}

/// Makes the schema of a type.
pub type Make = fn(&mut SchemaGenerator) -> Schema;

/// An answer that is not 200.
#[derive(Clone, Copy, Debug)]
pub struct Other {
    pub status: u16,
    pub text: &'static str,
    /// What the body is; several where it depends on what went wrong.
    pub answers: &'static [Content],
}

/// JSON of the shape that this type has.
#[must_use]
pub const fn json<T: JsonSchema>() -> Content {
    Content::Json(SchemaGenerator::subschema_for::<T>)
}

/// An answer of this type.
#[must_use]
pub const fn one<T: JsonSchema>() -> &'static [Content] {
    const { &[json::<T>()] }
}

/// An answer that is a list of these.
#[must_use]
pub const fn list<T: JsonSchema>() -> &'static [Content] {
    one::<Vec<T>>()
}

/// An answer in words.
#[must_use]
pub const fn words(status: u16, text: &'static str) -> Other {
    Other { status, text, answers: &[TEXT] }
}

/// An answer with the body of this type.
#[must_use]
pub const fn shape<T: JsonSchema>(status: u16, text: &'static str) -> Other {
    Other { status, text, answers: one::<T>() }
}

pub const BYTES: Content = Content::Media("application/octet-stream");
pub const TEXT: Content = Content::Media("text/plain");
pub const EVENTS: Content = Content::Media("text/event-stream");
pub const ARCHIVE: Content = Content::Media("application/x-gzip");
pub const PEM: Content = Content::Media("application/pem-certificate-chain");
