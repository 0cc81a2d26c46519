//! A machine with its clock, its disk and its files, and the process that runs on it or does not.

use super::bug::{self, Bug};
use super::clock::Clock;
use super::disk::ByteDisk;
use super::fetch::Fetch;
use super::logs::Logs;
use super::rpc::Pending;
use super::walk::Walk;
use crate::agent::{self, Agent, Parts};
use crate::consensus::store::{Identity as StoreIdentity, LogStore, Recovered, Storage};
use crate::consensus::{EngineId, raft};
use crate::dice::Dice;
use crate::effect::{Job, Ticket};
use crate::event::Event;
use crate::gossip::{Gossip, GossipConfig, Identity};
use crate::hub::Hub;
use crate::local::{LocalOptions, Owned, OwnedConfig, SyncOptions};
use crate::metrics::Telemetry;
use crate::rpc::{Hello, VERSION};
use crate::runtime::mailbox::{LANES, Lane};
use crate::server::role::{Role, RoleConfig};
use crate::time::Instant;
use crate::view::{Facts, LocalView, View};
use lictor_catalog::store::Restore;
use lictor_catalog::{Autopilot, Node as CatalogNode, Store};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// Where everybody gossips, and where servers take calls.
pub(super) const GOSSIP_PORT: u16 = 8301;
pub(super) const RPC_PORT: u16 = 8300;
pub(super) const DATACENTER: &str = "dc1";
/// The wall clock at the world's zero, in ms.
const EPOCH_MS: u64 = 1_700_000_000_000;
/// As `runtime/assemble.rs`.
const STORE_CACHE: usize = 1 << 20;
const REAP_AFTER: Duration = Duration::from_secs(72 * 3600);

/// See the module's page.
pub struct Node {
    pub name: String,
    pub id: Uuid,
    pub ip: IpAddr,
    pub server: bool,
    pub expect: u32,
    pub log_bytes_max: usize,
    pub session_ttl_exact: bool,
    pub disk: ByteDisk,
    /// Records of local state, by file name.
    pub records: BTreeMap<String, Vec<u8>>,
    pub starts: u64,
    /// Members remembered from the last process.
    pub peers: Vec<SocketAddr>,
    pub clock: Clock,
    /// Rises with each start and end: what was meant for an earlier process does not reach a later one.
    pub life: u64,
    /// Stopped, not dead: nothing is done before this, and nothing is lost.
    pub paused_until: u64,
    /// Its operator wants it to run.
    pub wanted: bool,
    pub process: Option<Process>,
    pub(super) bug: Option<Bug>,
}

/// Who waits for an answer of the agent.
pub(super) enum Asker {
    Walk(u64),
    /// The join with this number.
    Join(u64),
    /// Another node's dial.
    Dial {
        node: usize,
        life: u64,
        dial: u64,
    },
}

/// A join that is tried until it works.
pub(super) struct Joining {
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) pause: Duration,
    /// 0: for ever.
    pub(super) tries_left: Option<u32>,
}

/// A process and everything volatile around its agent.
pub struct Process {
    pub agent: Agent,
    pub hub: Hub,
    pub view: Arc<View>,
    pub local: Arc<LocalView>,
    pub facts: Arc<Facts>,
    pub engine: Option<EngineId>,
    pub(super) hello: Hello,
    pub(super) storage: Option<Box<dyn Storage>>,
    pub(super) jobs: VecDeque<Job>,
    /// Those of the transaction under way.
    pub(super) writing: Vec<Job>,
    pub(super) inbox: [VecDeque<Event>; LANES],
    pub(super) turn_at: Option<u64>,
    pub(super) askers: BTreeMap<Ticket, Asker>,
    pub(super) next_number: u64,
    pub(super) walks: BTreeMap<u64, Walk>,
    pub(super) rpcs: BTreeMap<u64, Pending>,
    pub(super) fetches: BTreeMap<u64, Fetch>,
    pub(super) kept: BTreeMap<lictor_catalog::store::Scope, Store>,
    pub(super) joins: BTreeMap<u64, Joining>,
    /// Which walk each waiter of the hub is.
    pub(super) waiters: BTreeMap<u64, u64>,
    /// Messages to the hub arrive in order.
    pub(super) hub_free_at: u64,
    pub(super) hub_timer: Option<u64>,
    pub(super) files_free_at: u64,
    pub(super) unreachable: BTreeSet<EngineId>,
    pub(super) dice: Dice,
}

impl Process {
    /// A number that nothing else of this process has.
    pub(super) fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) fn push(&mut self, lane: Lane, event: Event) {
        self.inbox[lane as usize].push_back(event);
    }
}

impl Node {
    #[must_use]
    pub fn gossip_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, GOSSIP_PORT)
    }

    #[must_use]
    pub fn rpc_address(&self) -> SocketAddr {
        SocketAddr::new(self.ip, RPC_PORT)
    }

    /// Opens the log store on this node's bytes.
    pub(super) fn open_log(&self, fresh: u64) -> Result<(LogStore, Recovered), String> {
        let fresh = bug::fresh_engine(self.bug, self.id, fresh);
        let identity = StoreIdentity { fresh: EngineId(fresh.max(1)), node: self.id };
        let made = self.disk.is_empty();
        let opened = LogStore::open(self.disk.mount(), Path::new(&self.name), identity, STORE_CACHE);
        if made && opened.is_err() {
            // It was being made under another name, as `runtime/assemble.rs` does.
            self.disk.wipe();
        }
        opened.map_err(|error| error.to_string())
    }

    /// Puts a process together, in the order of `runtime/assemble.rs`.
    pub(super) fn start(&mut self, global: u64, mut dice: Dice, logs: &mut Logs, at: usize) -> Result<(), String> {
        let now = self.clock.at(global);
        self.starts = (self.starts + 1).max(EPOCH_MS + global / 1_000_000);
        let facts = Arc::new(self.facts());
        let (role, storage) = if self.server {
            let (found, store, log) = self.recover(dice.number())?;
            logs.recovered(at, found.snapshot.as_ref().map(|snapshot| snapshot.index.0), &found.log);
            let role = Role::start(self.role_config(), &found, store, dice.split(), now);
            (Some(role.map_err(|error| error.to_string())?), Some(bug::storage(self.bug, log)))
        } else {
            (None, None)
        };
        let node = self.catalog_node();
        let owned = Owned::start(self.owned_config(node.clone()), dice.split(), now);
        let mut seed = [0; 12];
        seed[..8].copy_from_slice(&dice.number().to_le_bytes());
        let me = Identity { id: self.id, counter: self.starts, address: self.gossip_address() };
        let tags = agent::own_tags(&facts, role.as_ref());
        let config = GossipConfig::lan(DATACENTER, seed);
        let gossip = Gossip::new(config, me, facts.node_name.clone(), tags, dice.split(), now)
            .map_err(|error| error.to_string())?;
        let hello = Hello {
            version: VERSION,
            datacenter: DATACENTER.to_owned(),
            cluster: role.as_ref().and_then(Role::cluster),
            node: self.id,
            name: self.name.clone(),
        };
        let engine = role.as_ref().map(|role| role.tags().engine);
        let agent = Agent::new(Parts { facts: Arc::clone(&facts), gossip, role, owned });
        let view = Arc::new(View::default());
        let process = Process {
            agent,
            hub: Hub::new(DATACENTER.to_owned(), Arc::clone(&view)),
            view,
            local: Arc::new(LocalView { node: Arc::new(node), ..LocalView::default() }),
            facts,
            engine,
            hello,
            storage,
            jobs: VecDeque::new(),
            writing: Vec::new(),
            inbox: Default::default(),
            turn_at: None,
            askers: BTreeMap::new(),
            next_number: 0,
            walks: BTreeMap::new(),
            rpcs: BTreeMap::new(),
            fetches: BTreeMap::new(),
            kept: BTreeMap::new(),
            joins: BTreeMap::new(),
            waiters: BTreeMap::new(),
            hub_free_at: 0,
            hub_timer: None,
            files_free_at: 0,
            unreachable: BTreeSet::new(),
            dice,
        };
        self.life += 1;
        self.process = Some(process);
        Ok(())
    }

    fn recover(&self, fresh: u64) -> Result<(Recovered, Store, LogStore), String> {
        let (log, found) = self.open_log(fresh)?;
        let mut restore = Restore::new();
        let mut empty = true;
        for chunk in log.chunks().map_err(|error| error.to_string())? {
            empty = false;
            let chunk = chunk.map_err(|error| error.to_string())?;
            restore.feed(&chunk).map_err(|error| error.to_string())?;
        }
        let store = if empty { Store::default() } else { restore.finish().map_err(|error| error.to_string())? };
        Ok((found, store, log))
    }

    fn facts(&self) -> Facts {
        Facts {
            node_name: self.name.as_str().into(),
            node_id: self.id,
            datacenter: DATACENTER.to_owned(),
            primary_datacenter: DATACENTER.to_owned(),
            server: self.server,
            dev: false,
            advertise: self.ip,
            serf_port: GOSSIP_PORT,
            server_port: RPC_PORT,
            ui: false,
            connect: false,
            coordinates: true,
            encrypted: false,
            default_query_time: Duration::from_secs(300),
            max_query_time: Duration::from_secs(600),
            kv_value_max: 512 << 10,
            txn_max: 512 << 10,
            session_ttl_min: Duration::from_secs(10),
            session_ttl_exact: self.session_ttl_exact,
            debug_config: serde_json::Value::Null,
            response_headers: Vec::new(),
            block_endpoints: Vec::new(),
            write_from: Vec::new(),
            unprintable_paths: false,
            telemetry: Telemetry::default(),
        }
    }

    fn role_config(&self) -> RoleConfig {
        RoleConfig {
            me: self.id,
            datacenter: DATACENTER.to_owned(),
            rpc: self.rpc_address(),
            expect: self.expect,
            engine: bug::engine(self.bug),
            raft: raft::Config { log_bytes_max: self.log_bytes_max, ..raft::Config::default() },
            reap_after: REAP_AFTER,
            autopilot: Autopilot::default(),
        }
    }

    fn catalog_node(&self) -> CatalogNode {
        let address = self.ip.to_string();
        CatalogNode {
            id: Some(self.id),
            name: self.name.as_str().into(),
            tagged_addresses: BTreeMap::from([("lan".to_owned(), address.clone())]),
            address,
            ..CatalogNode::default()
        }
    }

    fn owned_config(&self, node: CatalogNode) -> OwnedConfig {
        let local = LocalOptions {
            persist: true,
            unix_ms_at_zero: EPOCH_MS.saturating_sub(self.clock.start / 1_000_000),
            boot: "one".to_owned(),
            ..LocalOptions::default()
        };
        let records = self.records.iter().map(|(name, content)| (name.clone(), content.clone())).collect();
        OwnedConfig { node, local, sync: SyncOptions::default(), services: Vec::new(), checks: Vec::new(), records }
    }

    /// What its clock shows.
    pub(super) fn local_now(&self, global: u64) -> Instant {
        self.clock.at(global)
    }
}
