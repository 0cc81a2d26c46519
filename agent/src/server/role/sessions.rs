//! What a leader does for sessions: it draws their ids, as it draws those of prepared queries, and ends those that nobody
//! renewed.

use super::Role;
use crate::effect::Effect;
use crate::server::replica::Diverging;
use crate::time::Instant;
use lictor_catalog::{Command, PreparedCommand, SessionCommand};

/// Sessions that are ended in one turn; the next turn goes on.
const ENDED_AT_ONCE: usize = 256;

impl Role {
    /// What only whoever proposes a command can say.
    pub(super) fn resolve(&mut self, command: &mut Command) {
        match command {
            Command::Session(SessionCommand::Create(session)) => session.id = self.dice.uuid(),
            Command::Prepared(PreparedCommand::Create(query)) => query.id = self.dice.uuid(),
            _ => {}
        }
    }

    /// Ends what is overdue. Deadlines are in log time, which stands still while nobody leads, so that a session never has
    /// less than it was promised.
    pub(super) fn expire_sessions(&mut self, now: Instant, effects: &mut Vec<Effect>) -> Result<(), Diverging> {
        let Some(replica) = &mut self.replica else { return Ok(()) };
        let Some(now_ms) = replica.log_time(now).filter(|_| replica.status().applied >= self.expiring) else {
            return Ok(());
        };
        let due: Vec<_> = replica.store().expiries(now_ms).take(ENDED_AT_ONCE).collect();
        if due.is_empty() {
            return Ok(());
        }
        for command in due {
            // What is refused now is found again.
            let Ok((index, _)) = replica.propose(Command::Session(command), now) else { break };
            self.expiring = index;
        }
        replica.finish(now, effects)
    }
}
