//! Questions to real stores, over the whole way from bytes to bytes.

mod answers;
mod fixture;
mod hostile;
mod sizes;
mod sockets;
