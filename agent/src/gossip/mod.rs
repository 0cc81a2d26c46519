//! Who is alive.

mod member;

pub use member::{Member, MemberStatus};
