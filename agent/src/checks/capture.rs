//! Output of bounded size. What runs keeps its tail, where errors stand; what is told keeps its head.

use std::collections::VecDeque;

/// The kept end of some output, and how much there was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Captured {
    pub tail: Vec<u8>,
    pub total: u64,
}

impl Captured {
    /// The kept bytes as text; what is not UTF-8 is replaced.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.tail).into_owned()
    }

    /// Whether something was dropped.
    #[must_use]
    pub fn cut(&self) -> bool {
        self.total > self.tail.len() as u64
    }
}

/// Collects output of any length in a bounded space.
#[derive(Clone, Debug)]
pub struct Tail {
    kept: VecDeque<u8>,
    size_max: usize,
    total: u64,
}

impl Tail {
    #[must_use]
    pub fn new(size_max: usize) -> Self {
        Self { kept: VecDeque::new(), size_max, total: 0 }
    }

    pub fn push(&mut self, bytes: &[u8]) {
        self.total = self.total.saturating_add(bytes.len() as u64);
        let fresh = &bytes[bytes.len().saturating_sub(self.size_max)..];
        let room = self.size_max - fresh.len();
        self.kept.drain(..self.kept.len().saturating_sub(room));
        self.kept.extend(fresh);
    }

    #[must_use]
    pub fn finish(self) -> Captured {
        Captured { tail: self.kept.into(), total: self.total }
    }
}

/// What a TTL check was told, cut to `size_max` bytes in Consul's words: the head is kept.
#[must_use]
pub fn head(text: &str, size_max: usize) -> String {
    if text.len() <= size_max {
        return text.to_owned();
    }
    let kept = &text[..text.floor_char_boundary(size_max)];
    format!("{kept} ... (captured {size_max} of {} bytes)", text.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_tail_is_the_end_of_everything_pushed(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
                                                     size_max in 0usize..64) {
            let mut tail = Tail::new(size_max);
            parts.iter().for_each(|part| tail.push(part));
            let all = parts.concat();
            let captured = tail.finish();
            prop_assert_eq!(captured.total, all.len() as u64);
            prop_assert_eq!(&captured.tail[..], &all[all.len().saturating_sub(size_max)..]);
            prop_assert_eq!(captured.cut(), all.len() > size_max);
        }

        #[test]
        fn the_head_never_splits_a_character(text in ".{0,40}", size_max in 0usize..40) {
            let kept = head(&text, size_max);
            if text.len() <= size_max {
                prop_assert_eq!(kept, text);
            } else {
                let (start, end) = kept.rsplit_once(" ... (captured ").expect("says what was cut");
                prop_assert!(text.starts_with(start) && start.len() <= size_max);
                prop_assert_eq!(end, format!("{} of {} bytes)", size_max, text.len()));
            }
        }
    }
}
