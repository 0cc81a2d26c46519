//! The agent's one thread: takes events by the turn, steps the agent, carries its effects out.

use super::clock;
use super::handle::Handle;
use super::meter::Event;
use super::world::World;
use crate::agent::Agent;
use std::sync::Arc;
use std::time::Duration;

/// Even an agent that waits for nothing looks at its clock this often.
const PATIENCE: Duration = Duration::from_secs(1);
/// A turn that takes longer is worth knowing of: everybody waited.
const SLOW: Duration = Duration::from_millis(5);

/// Runs until the mailbox is closed.
pub fn run(mut agent: Agent, handle: &Arc<Handle>, mut world: World) {
    let mut turn = Vec::new();
    let mut effects = Vec::new();
    let mut open = true;
    while open {
        let patience = agent.deadline().map_or(PATIENCE, |deadline| deadline.since(clock::now())).min(PATIENCE);
        open = handle.mailbox.take(patience, &mut turn);
        let begun = clock::now();
        for event in turn.drain(..) {
            agent.step(begun, event, &mut effects);
        }
        let now = clock::now();
        agent.finish(now, &mut effects);
        let events = effects.len();
        for effect in effects.drain(..) {
            world.carry_out(effect);
        }
        let took = clock::now().since(begun);
        handle.meter.counted(agent.counts());
        if took > SLOW {
            handle.meter.count(Event::SlowTurn, 1);
            tracing::debug!(?took, effects = events, "a slow turn");
        }
    }
}
