//! Keys of several folded names, found by borrowed names without allocating.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::ops::Bound;
use std::sync::Arc;

/// A key of `N` folded names, ordered by the first, then the second, and so on.
#[derive(Clone, Debug)]
pub(crate) struct Key<const N: usize>(pub(crate) [Arc<str>; N]);

/// What a [`Key`] is compared by. Borrowed names are parts too, which is what makes look-ups free of allocation.
pub(crate) trait Parts<const N: usize> {
    fn parts(&self) -> [&str; N];
}

impl<const N: usize> Parts<N> for Key<N> {
    fn parts(&self) -> [&str; N] {
        self.0.each_ref().map(|part| &**part)
    }
}

impl<const N: usize> Parts<N> for [&str; N] {
    fn parts(&self) -> [&str; N] {
        *self
    }
}

impl<const N: usize> PartialEq for dyn Parts<N> + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}
impl<const N: usize> Eq for dyn Parts<N> + '_ {}
impl<const N: usize> PartialOrd for dyn Parts<N> + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<const N: usize> Ord for dyn Parts<N> + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<const N: usize> PartialEq for Key<N> {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}
impl<const N: usize> Eq for Key<N> {}
impl<const N: usize> PartialOrd for Key<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<const N: usize> Ord for Key<N> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.parts().cmp(&other.parts())
    }
}

impl<'a, const N: usize> Borrow<dyn Parts<N> + 'a> for Key<N> {
    fn borrow(&self) -> &(dyn Parts<N> + 'a) {
        self
    }
}

/// The row at exactly these names.
pub(crate) fn at<'a, const N: usize, V: Clone>(map: &'a imbl::OrdMap<Key<N>, V>, parts: &[&str; N]) -> Option<&'a V> {
    map.get(parts as &dyn Parts<N>)
}

/// The rows whose keys begin with the first `M` names, in order.
pub(crate) fn under<'a, const M: usize, const N: usize, V: Clone>(
    map: &'a imbl::OrdMap<Key<N>, V>,
    first: [&str; M],
) -> impl Iterator<Item = &'a V> + use<'a, M, N, V> {
    const { assert!(M <= N) };
    let mut low = [""; N];
    low[..M].copy_from_slice(&first);
    // The upper end is found by walking: a range needs an upper bound that names cannot express. The shared first key
    // gives the names to compare with, so that the iterator borrows nothing from its caller.
    let range = map.range::<_, dyn Parts<N>>((Bound::Included(&low as &dyn Parts<N>), Bound::Unbounded));
    let begins = move |key: &Key<N>| key.0.iter().zip(first).all(|(part, name)| &**part == name);
    let mut range = range.peekable();
    let head = range.peek().map(|(key, _)| *key).filter(|key| begins(key));
    range.take_while(move |(key, _)| head.is_some_and(|head| key.0[..M] == head.0[..M])).map(|(_, value)| value)
}
