//! Generations of one cluster. A cluster whose majority was lost for good goes on under the next generation's id, and servers
//! of an earlier one recognise by it that they were given up: no letter of theirs is taken, and none of them may go on.
//!
//! A generation is the last two bytes of the cluster id, which begins with random ones; the rest is the lineage.

use uuid::Uuid;

const LINEAGE_BYTES: usize = 14;

fn split(cluster: Uuid) -> ([u8; LINEAGE_BYTES], u16) {
    let bytes = cluster.into_bytes();
    let mut lineage = [0; LINEAGE_BYTES];
    lineage.copy_from_slice(&bytes[..LINEAGE_BYTES]);
    (lineage, u16::from_be_bytes([bytes[LINEAGE_BYTES], bytes[LINEAGE_BYTES + 1]]))
}

/// The id under which a recovered cluster goes on.
#[must_use]
pub fn next(cluster: Uuid) -> Uuid {
    let (lineage, generation) = split(cluster);
    let mut bytes = [0; 16];
    bytes[..LINEAGE_BYTES].copy_from_slice(&lineage);
    bytes[LINEAGE_BYTES..].copy_from_slice(&generation.wrapping_add(1).to_be_bytes());
    Uuid::from_bytes(bytes)
}

/// Whether `theirs` is a later generation of `ours`. Generations wrap around; half of them lie ahead.
#[must_use]
pub fn supersedes(theirs: Uuid, ours: Uuid) -> bool {
    let ((their_lineage, theirs), (our_lineage, ours)) = (split(theirs), split(ours));
    their_lineage == our_lineage && (1..0x8000).contains(&theirs.wrapping_sub(ours))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_generation_supersedes_and_strangers_never_do() {
        let first = Uuid::from_u128(0x1234_5678_0000_4000_8000_0000_0000_fffe);
        let (second, third) = (next(first), next(next(first)));
        assert!(
            supersedes(second, first) && supersedes(third, second) && supersedes(third, first),
            "around the corner too"
        );
        assert!(!supersedes(first, first) && !supersedes(first, third));
        assert!(!supersedes(Uuid::from_u128(7), first) && !supersedes(first, Uuid::from_u128(7)));
    }
}
