//! Stored inputs, damaged: cut, changed, repeated and spliced.

use crate::corpus::{inputs, measured};
use lictor_agent::malformed::DECODERS;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

const CASES: u32 = 96;

#[derive(Clone, Debug)]
enum Damage {
    Truncate(Index),
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index),
    Insert(Index, u8),
    /// The numbers at which lengths and counts go wrong.
    Number(Index, u32),
    /// A piece comes again.
    Repeat(Index, Index),
    /// The rest is another input's.
    Splice(Index, Index, Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let at = any::<Index>;
    prop_oneof![
        at().prop_map(Damage::Truncate),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Set(at, byte)),
        (at(), 0..8_u8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        at().prop_map(Damage::Remove),
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Insert(at, byte)),
        (at(), prop::sample::select(vec![0, 0x7fff_ffff, 0x8000_0000, u32::MAX, 0xffff_ff7f]))
            .prop_map(|(at, number)| Damage::Number(at, number)),
        (at(), at()).prop_map(|(from, to)| Damage::Repeat(from, to)),
        (at(), at(), at()).prop_map(|(at, other, from)| Damage::Splice(at, other, from)),
    ]
}

fn damaged(bytes: &mut Vec<u8>, damage: &Damage, all: &[Vec<u8>]) {
    let length = bytes.len();
    let place = |at: &Index| at.index(length + 1);
    match damage {
        Damage::Truncate(at) => bytes.truncate(place(at)),
        Damage::Set(at, byte) => {
            let at = place(at);
            bytes.get_mut(at).into_iter().for_each(|found| *found = *byte);
        }
        Damage::Flip(at, bit) => {
            let at = place(at);
            bytes.get_mut(at).into_iter().for_each(|found| *found ^= 1 << bit);
        }
        Damage::Remove(at) => drop(bytes.drain(place(at)..(place(at) + 1).min(bytes.len()))),
        Damage::Insert(at, byte) => bytes.insert(place(at), *byte),
        Damage::Number(at, number) => {
            let at = place(at);
            bytes.splice(at..(at + 4).min(bytes.len()), number.to_be_bytes());
        }
        Damage::Repeat(from, to) => {
            let (from, to) = (place(from).min(place(to)), place(from).max(place(to)));
            let piece = bytes[from..to].to_vec();
            bytes.splice(to..to, piece);
        }
        Damage::Splice(at, other, from) => {
            let at = place(at);
            let other = &all[other.index(all.len())];
            bytes.truncate(at);
            bytes.extend_from_slice(&other[from.index(other.len() + 1)..]);
        }
    }
}

#[test]
fn damaged_inputs_are_judged_and_harm_nobody() {
    for decoder in DECODERS {
        let all: Vec<Vec<u8>> = inputs(decoder).into_iter().map(|input| input.bytes).collect();
        let config = Config { cases: CASES, failure_persistence: None, ..Config::default() };
        let strategy = (any::<Index>(), prop::collection::vec(damage(), 1..5));
        let outcome = TestRunner::new(config).run(&strategy, |(start, damages)| {
            let mut bytes = all[start.index(all.len())].clone();
            damages.iter().for_each(|damage| damaged(&mut bytes, damage, &all));
            let _ = measured(decoder, &bytes);
            Ok(())
        });
        if let Err(failure) = outcome {
            panic!("{}: {failure}", decoder.name);
        }
    }
}
