//! Numbers that look drawn, from a seed that was: SplitMix64 (Steele, Lea and Flood, OOPSLA 2014). For the order of answers,
//! not for secrets. It draws no seed by itself.

/// A source of numbers; equal seeds give equal numbers.
#[derive(Clone, Debug)]
pub struct SplitMix64(u64);

impl SplitMix64 {
    /// One with this seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `0..bound`; 0 when `bound` is 0.
    pub const fn below(&mut self, bound: u64) -> u64 {
        let number = self.number();
        ((number as u128 * bound as u128) >> 64) as u64
    }

    const fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::SplitMix64;

    /// The first numbers of Java's `SplittableRandom` and of Vigna's `splitmix64.c` for this seed.
    #[test]
    fn the_numbers_are_those_of_the_paper() {
        let mut numbers = SplitMix64::new(1_234_567);
        for expected in [6_457_827_717_110_365_317_u64, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423] {
            assert_eq!(numbers.number(), expected);
        }
    }

    #[test]
    fn below_a_bound_is_below_it() {
        let mut numbers = SplitMix64::new(7);
        assert_eq!((numbers.below(0), numbers.below(1)), (0, 0));
        let mut seen = [false; 5];
        (0..200).for_each(|_| seen[usize::try_from(numbers.below(5)).expect("below 5")] = true);
        assert_eq!(seen, [true; 5]);
    }
}
