//! A running hash of everything that happens: equal seeds must have equal traces.

/// FNV-1a over words.
#[derive(Clone, Copy, Debug)]
pub struct Trace {
    hash: u64,
    /// What was mixed in so far.
    pub events: u64,
}

impl Default for Trace {
    fn default() -> Self {
        Self { hash: 0xcbf2_9ce4_8422_2325, events: 0 }
    }
}

impl Trace {
    pub fn mix(&mut self, words: &[u64]) {
        for word in words {
            self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23);
        }
        self.events += 1;
    }

    pub fn text(&mut self, text: &str) {
        self.mix(&[u64::from(crc32c::crc32c(text.as_bytes()))]);
    }

    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}
