//! Generations of one cluster. A cluster whose majority was lost for good goes on under another id, by which servers of the
//! earlier generation recognise that they were given up.
//!
//! A cluster id begins random. Its first eight bytes are the lineage, the next two the generation; the rest is drawn anew with each
//! generation, so that two recoveries on two sides of a cut are two clusters and never take each other's letters.

use uuid::Uuid;

const LINEAGE: usize = 8;
const GENERATION: usize = 10;

fn generation(cluster: Uuid) -> u16 {
    let bytes = cluster.as_bytes();
    u16::from_be_bytes([bytes[LINEAGE], bytes[LINEAGE + 1]])
}

/// The id under which a recovered cluster goes on; `drawn` is random.
#[must_use]
pub fn next(cluster: Uuid, drawn: Uuid) -> Uuid {
    let mut bytes = drawn.into_bytes();
    bytes[..LINEAGE].copy_from_slice(&cluster.as_bytes()[..LINEAGE]);
    bytes[LINEAGE..GENERATION].copy_from_slice(&generation(cluster).wrapping_add(1).to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// Whether `theirs` is a later generation of `ours`. Generations wrap around; half of them lie ahead.
#[must_use]
pub fn supersedes(theirs: Uuid, ours: Uuid) -> bool {
    let same = theirs.as_bytes()[..LINEAGE] == ours.as_bytes()[..LINEAGE];
    same && (1..0x8000).contains(&generation(theirs).wrapping_sub(generation(ours)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_generation_supersedes_and_strangers_never_do() {
        let first = Uuid::from_u128(0x1234_5678_0000_4000_ffff_0000_0000_0001);
        let (here, there) = (next(first, Uuid::from_u128(5)), next(first, Uuid::from_u128(6)));
        let third = next(here, Uuid::from_u128(7));
        assert!(
            supersedes(here, first) && supersedes(third, here) && supersedes(third, first),
            "around the corner too"
        );
        assert!(!supersedes(first, first) && !supersedes(first, third));
        assert!(
            here != there && !supersedes(here, there) && !supersedes(there, here),
            "two recoveries are two clusters"
        );
        assert!(!supersedes(Uuid::from_u128(7), first) && !supersedes(first, Uuid::from_u128(7)));
    }
}
