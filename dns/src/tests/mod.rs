//! Questions to real stores, over the whole way from bytes to bytes.

mod answers;
mod fixture;
mod hostile;
mod prepared;
mod sizes;
mod sockets;
