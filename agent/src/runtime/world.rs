//! Turns effects into the world, in order. Nothing here decides anything, and nothing here waits. Its thread must be
//! inside a tokio runtime, where the tasks go.

use super::dispatch::Dispatcher;
use super::files::Files;
use super::gossip::{self, Answers};
use super::handle::Handle;
use super::hub::Hub;
use super::mailbox::Lane;
use super::meter::Event as Figure;
use super::probe::Prober;
use super::rpc::client::Client;
use crate::consensus::News;
use crate::effect::{Effect, Ending, Job};
use crate::event::Event;
use crate::gossip::MemberStatus;
use crate::hub;
use crate::local::SyncTicket;
use crate::server::rpc_addresses;
use crate::view::{LocalView, View};
use lictor_catalog::store::Scope;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;

/// Pauses between the tries of one fetch.
const FETCH_PAUSES_MS: [u64; 6] = [50, 100, 200, 400, 800, 1600];

/// Everything an agent's effects reach.
pub struct World {
    pub handle: Arc<Handle>,
    pub hub: Arc<Hub>,
    pub client: Arc<Client>,
    pub dispatcher: Arc<Dispatcher>,
    pub parts: Arc<super::dns::Parts>,
    pub packets: UdpSocket,
    pub answers: Arc<Answers>,
    pub prober: Prober,
    /// Absent on client agents.
    pub disk: Option<Sender<Job>>,
    pub files: Files,
    pub endings: UnboundedSender<Ending>,
    pub peers: Vec<SocketAddr>,
}

impl World {
    pub fn carry_out(&mut self, effect: Effect) {
        match effect {
            Effect::Packet { to, bytes } => {
                // Lost packets are gossip's daily bread.
                let _ = self.packets.send_to(&bytes, to);
                self.handle.meter.count(Figure::UdpSent, bytes.len());
            }
            Effect::Dial { to, dial, body } => {
                tokio::spawn(gossip::dial(to, dial, body, Arc::clone(&self.handle)));
            }
            Effect::GossipAnswer { ticket, body } => self.answers.give(ticket, body),
            Effect::Letter { to, address: None, .. } => {
                let _ = self.handle.mailbox.push(Lane::Letters, Event::Peer { peer: to, news: News::Unreachable });
            }
            Effect::Letter { to, address: Some(address), letter, state } => {
                let (client, handle) = (Arc::clone(&self.client), Arc::clone(&self.handle));
                match state {
                    Some(store) => drop(tokio::spawn(client.state(handle, to, address, letter, store))),
                    None => client.letter(&handle, to, address, &letter),
                }
            }
            Effect::Bootstrap { address, letter } => {
                let client = Arc::clone(&self.client);
                tokio::spawn(async move {
                    if let Err(failed) = client.bootstrap(address, &letter).await {
                        tracing::debug!("a bootstrap letter to {address} was lost: {failed:?}");
                    }
                });
            }
            Effect::Cluster(cluster) => self.client.introduce(|hello| hello.cluster = Some(cluster)),
            Effect::Store(job) => {
                if let Some(disk) = &self.disk {
                    let _ = disk.send(job);
                }
            }
            Effect::Retire(store) => drop(tokio::task::spawn_blocking(move || drop(store))),
            Effect::Probe { run, probe } => {
                let handle = Arc::clone(&self.handle);
                self.prober.start(run, probe, move |run, outcome| {
                    let _ = handle.mailbox.push(Lane::Probes, Event::Probed { run, outcome });
                });
            }
            Effect::StopProbe { run } => self.prober.stop(run),
            Effect::Persist { ticket, writes } => self.files.persist(ticket, writes),
            Effect::Publish { view, touched } => self.publish(view, touched),
            Effect::PublishLocal(local) => self.publish_local(local),
            Effect::Answer { ticket, answer } => self.handle.answer(ticket, answer),
            Effect::Fetch { ticket } => self.fetch(ticket),
            Effect::Push { ticket, command } => {
                let (handle, dispatcher) = (Arc::clone(&self.handle), Arc::clone(&self.dispatcher));
                tokio::spawn(async move {
                    let result = dispatcher.submit(command).await;
                    let _ = handle.mailbox.push(Lane::Probes, Event::Pushed { ticket, result });
                });
            }
            Effect::Exit(ending) => drop(self.endings.send(ending)),
        }
    }

    /// The hub first: whoever learns of the new view from its readers finds the hub at least as new.
    fn publish(&self, view: Arc<View>, touched: lictor_catalog::Touched) {
        let replaced = touched.all;
        self.hub.published(Arc::clone(&view), touched);
        let old = self.handle.view.swap(Arc::clone(&view));
        let readiness = |view: &View| (view.leader.clone(), view.leading, view.epoch, view.caught_up);
        if readiness(&old) != readiness(&view) {
            self.handle.leadership.send_modify(|changes| *changes += 1);
        }
        if view.leading && !old.leading {
            self.handle.meter.count(Figure::StateLeader, 1);
        } else if !view.leading && view.leader.is_some() && view.leader != old.leader {
            self.handle.meter.count(Figure::StateFollower, 1);
        }
        if old.applied != view.applied {
            self.handle.applied.send_replace(view.applied.0);
        }
        if replaced {
            // Nobody may hold the old catalog any more, and to drop all of it takes long.
            drop(tokio::task::spawn_blocking(move || drop(old)));
        }
    }

    fn publish_local(&mut self, local: Arc<LocalView>) {
        let me = self.handle.facts.node_id;
        let mut peers: Vec<SocketAddr> = local
            .members
            .iter()
            .filter(|member| member.id != me && member.status == MemberStatus::Alive)
            .map(|member| member.address)
            .collect();
        peers.sort_unstable();
        if peers != self.peers && !peers.is_empty() {
            self.peers.clone_from(&peers);
            self.files.keep_peers(peers);
        }
        if hub::is_news_of_own(&self.handle.local.load(), &local) {
            self.hub.told(Arc::clone(&local));
        }
        let datacenter = &self.handle.facts.datacenter;
        let servers = |local: &LocalView| rpc_addresses(&local.members, datacenter);
        let before = self.handle.local.load_full();
        let other_servers = !Arc::ptr_eq(&before.members, &local.members) && servers(&before) != servers(&local);
        self.handle.local.store(local);
        if other_servers {
            self.handle.leadership.send_modify(|changes| *changes += 1);
        }
    }

    fn fetch(&self, ticket: SyncTicket) {
        let (handle, parts) = (Arc::clone(&self.handle), Arc::clone(&self.parts));
        tokio::spawn(async move {
            let scope = Scope::Node(handle.facts.node_name.to_string());
            let mut rows = parts.rows(scope.clone()).await;
            // Servers that have just started need a moment; the agent itself tries again only after 15 s.
            for pause in FETCH_PAUSES_MS {
                if rows.is_err() {
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                    rows = parts.rows(scope.clone()).await;
                }
            }
            let _ = handle.mailbox.push(Lane::Probes, Event::Fetched { ticket, rows: rows.ok() });
        });
    }
}
