//! DNS for a lictor datacenter: names under `consul.` answered from the catalog, as Consul answers them.
//!
//! A question goes one way: [`message::read`] decodes it, [`name`] says what it asks for, a [`Source`] gives the part of
//! the catalog that is needed, [`answer`](answer::answer) says what is known, [`message`] fits that to the transport.
//! All of it is pure; [`server`] alone opens sockets and starts threads and tasks.
//!
//! What this crate never does: it changes nothing, keeps no state between questions, and asks no other name server.

pub mod answer;
pub mod message;
pub mod name;
mod node;
mod record;
mod reverse;
pub mod server;
mod servers;
mod service;
pub mod settings;
pub mod source;
mod trim;

pub use settings::{Settings, Soa, domain};
pub use source::{Source, Unavailable};

#[cfg(test)]
mod tests;
