//! What an operator asks of the leader: to hand leadership over, or to take a server off the configuration. An order is answered
//! when it came about, was refused, or did not come about in time.
//!
//! It never removes a voter without whom the living ones would be no majority, and never the leader itself: that hands over
//! first, and its successor removes it.

use super::{Role, alive};
use crate::consensus::{EngineId, Refused};
use crate::effect::{Answer, Effect, Ticket};
use crate::rpc::Unserved;
use crate::server::voters::keeps_quorum;
use crate::time::Instant;
use std::time::Duration;
use uuid::Uuid;

/// An order that has not come about by then is answered as late.
const PATIENCE: Duration = Duration::from_secs(5);
/// An heir that did not take leadership is offered it again.
const OFFER_AGAIN: Duration = Duration::from_secs(1);
/// Orders under way at most.
const ORDERS_MAX: usize = 64;

/// Why an order is not carried out. Nothing has changed, except where it says otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CannotOperate {
    #[error("server {0} is no other voter of this cluster: `operator raft list-peers` shows who is")]
    NotAVoter(Uuid),
    #[error("no other voter is alive to take leadership: start one first")]
    NoHeir,
    #[error("id \"{0}\" was not found in the Raft configuration")]
    NotFound(Uuid),
    #[error(
        "without server {server} only {alive} of {voters} voters would be alive, which is no majority: start the others first, or, \
         if they are lost for good, recover with `operator raft recover` on the server that is left"
    )]
    Quorum { server: Uuid, alive: usize, voters: usize },
    #[error("it has not come about within {} s and may still: look at `operator raft list-peers` before trying again", PATIENCE.as_secs())]
    Late,
    #[error("{ORDERS_MAX} such orders are under way already; try again later")]
    TooMany,
}

/// An order under way.
pub(super) struct Order {
    ticket: Ticket,
    want: Want,
    deadline: Instant,
    next_try: Instant,
    /// The engine took it: it may come about even if this server no longer leads.
    proposed: bool,
}

#[derive(Clone, Copy)]
enum Want {
    /// To this voter, or to whoever is best.
    Transfer(Option<EngineId>),
    /// Whatever log stores the configuration has of this node.
    Remove(Uuid),
}

impl Role {
    /// Hands leadership to a voter, or to the one whose log reaches furthest.
    pub fn transfer_leadership(&mut self, ticket: Ticket, to: Option<Uuid>, now: Instant, effects: &mut Vec<Effect>) {
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.settled()) else {
            return effects.push(super::no_leader(ticket));
        };
        let voters = &replica.status().members.voters;
        let heir = to.map(|to| voters.iter().find(|voter| voter.node == to && voter.engine != self.engine));
        let refused = match heir {
            Some(None) => to.map(CannotOperate::NotAVoter),
            Some(Some(heir)) if !alive(&self.members, heir) => Some(CannotOperate::NoHeir),
            Some(Some(_)) => None,
            None => self.heir().is_none().then_some(CannotOperate::NoHeir),
        };
        let want = Want::Transfer(heir.flatten().map(|heir| heir.engine));
        self.order(ticket, want, refused, now, effects);
    }

    /// Takes a server off the configuration.
    pub fn remove_server(&mut self, ticket: Ticket, node: Uuid, now: Instant, effects: &mut Vec<Effect>) {
        let Some(replica) = self.replica.as_ref().filter(|replica| replica.settled()) else {
            return effects.push(super::no_leader(ticket));
        };
        let members = &replica.status().members;
        let left: Vec<_> = members.voters.iter().filter(|voter| voter.node != node).copied().collect();
        let living = left.iter().filter(|voter| alive(&self.members, voter)).count();
        let refused = if members.all().all(|member| member.node != node) {
            Some(CannotOperate::NotFound(node))
        } else if left.len() < members.voters.len() && !keeps_quorum(living, left.len()) {
            Some(CannotOperate::Quorum { server: node, alive: living, voters: left.len() })
        } else {
            None
        };
        self.order(ticket, Want::Remove(node), refused, now, effects);
    }

    fn order(
        &mut self,
        ticket: Ticket,
        want: Want,
        refused: Option<CannotOperate>,
        now: Instant,
        effects: &mut Vec<Effect>,
    ) {
        let full = (self.orders.len() >= ORDERS_MAX).then_some(CannotOperate::TooMany);
        if let Some(why) = refused.or(full) {
            return effects.push(Effect::Answer { ticket, answer: Answer::CannotOperate(why) });
        }
        self.orders.push(Order { ticket, want, deadline: now + PATIENCE, next_try: now, proposed: false });
    }

    /// Goes on with every order, and answers those that are done.
    pub(super) fn carry_out_orders(&mut self, now: Instant, effects: &mut Vec<Effect>) {
        for mut order in std::mem::take(&mut self.orders) {
            match self.carry_out_order(&mut order, now, effects) {
                Some(answer) => effects.push(Effect::Answer { ticket: order.ticket, answer }),
                None => self.orders.push(order),
            }
        }
    }

    fn carry_out_order(&mut self, order: &mut Order, now: Instant, effects: &mut Vec<Effect>) -> Option<Answer> {
        let status = self.replica.as_ref()?.status().clone();
        match order.want {
            Want::Transfer(_) if !status.leading => return Some(Answer::Transferred),
            Want::Remove(node)
                if status.leading && !status.changing && status.members.all().all(|member| member.node != node) =>
            {
                return Some(Answer::Done);
            }
            // Whoever leads now is asked again, unless it may have happened already.
            Want::Remove(_) if !status.leading && order.proposed => return Some(Answer::Unknown),
            Want::Remove(_) if !status.leading => return Some(Answer::Unserved(Unserved::NoLeader)),
            _ if now >= order.deadline => return Some(Answer::CannotOperate(CannotOperate::Late)),
            _ => {}
        }
        if now >= order.next_try {
            self.try_order(order, now, effects);
        }
        None
    }

    fn try_order(&mut self, order: &mut Order, now: Instant, effects: &mut Vec<Effect>) {
        let offered = match order.want {
            Want::Transfer(Some(heir)) => Some(heir),
            Want::Remove(node) if node != self.config.me => None,
            Want::Transfer(None) | Want::Remove(_) => self.heir(),
        };
        let Some(replica) = &mut self.replica else { return };
        if let Some(heir) = offered {
            order.next_try = now + OFFER_AGAIN;
            // Refused while another change runs; it is offered again.
            let _ = replica.transfer(heir, now, effects);
        } else if let Want::Remove(node) = order.want {
            let mut wish = replica.status().members.clone();
            wish.voters.retain(|voter| voter.node != node);
            wish.learners.retain(|learner| learner.node != node);
            match replica.change(&wish) {
                Ok(()) => (order.proposed, order.next_try) = (true, order.deadline),
                Err(Refused::Unchanged | Refused::ChangePending | Refused::Busy) => {}
                Err(refused) => tracing::debug!("a server is not removed now: {refused}"),
            }
        }
    }
}
