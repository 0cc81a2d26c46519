//! Names and ids. They keep the case they were given; the store compares them case-blind, as Consul does.

use serde::{Deserialize, Serialize};
use std::borrow::{Borrow, Cow};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as it was given.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// The form in which the name is compared; shared with the name itself when that is in this form already.
            #[must_use]
            pub fn folded(&self) -> Arc<str> {
                match folded(&self.0) {
                    Cow::Borrowed(_) => Arc::clone(&self.0),
                    Cow::Owned(lower) => Arc::from(lower),
                }
            }
        }
        impl Default for $name {
            fn default() -> Self {
                Self(Arc::from(""))
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(Arc::from(name))
            }
        }
        impl From<Arc<str>> for $name {
            fn from(name: Arc<str>) -> Self {
                Self(name)
            }
        }
        impl From<String> for $name {
            fn from(name: String) -> Self {
                Self(Arc::from(name))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }
    };
}

name!(
    /// A machine, or what stands for one. Unique in a datacenter.
    NodeName
);
name!(
    /// What is offered, such as `web`. Many instances may share it.
    ServiceName
);
name!(
    /// One instance of a service. Unique on its node.
    ServiceId
);
name!(
    /// One check. Unique on its node.
    CheckId
);

/// The form in which names are compared: lower case. Borrows when nothing changes.
#[must_use]
pub fn folded(name: &str) -> Cow<'_, str> {
    // Nearly every name is ASCII, and every look-up passes here: bytes are quicker than characters.
    let upper = match name.is_ascii() {
        true => name.bytes().any(|byte| byte.is_ascii_uppercase()),
        false => name.chars().any(char::is_uppercase),
    };
    if upper { Cow::Owned(name.to_lowercase()) } else { Cow::Borrowed(name) }
}
