//! Puts an agent together, in the order in which its parts need each other, and takes it apart again.

use super::connect;
use super::datadir::{self, DataDir};
use super::disk::{self, Reopen};
use super::dispatch::Dispatcher;
use super::dns::Parts as DnsParts;
use super::files::Files;
use super::gossip::{self, Answers};
use super::handle::Handle;
use super::http::{self, Connections};
use super::hub::Hub;
use super::monitor::Monitor;
use super::probe::Prober;
use super::records::Records;
use super::rpc::client::Client;
use super::rpc::server;
use super::sockets::Sockets;
use super::world::World;
use super::{clock, core, join, meter};
use crate::agent::{self, Agent, Parts};
use crate::checks::CheckSpec;
use crate::config::{DnsConfig, Resolved};
use crate::consensus::EngineId;
use crate::consensus::file::{self, FileBackend};
use crate::consensus::raft;
use crate::consensus::store::{Identity as StoreIdentity, LogStore, Recovered, Storage, Volatile};
use crate::dice::Dice;
use crate::effect::{Ending, Job};
use crate::gossip::{Gossip, GossipConfig, Identity};
use crate::local::{LocalOptions, Owned, OwnedConfig, ServiceSpec, SyncOptions};
use crate::rpc::{Hello, VERSION};
use crate::server::role::{Role, RoleConfig};
use crate::view::{CONSUL_LEVEL, Facts, LocalView};
use lictor_catalog::model::NodeName;
use lictor_catalog::store::Restore;
use lictor_catalog::{Node, Store};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::JoinSet;
use uuid::Uuid;

/// Pages of the log store kept in memory: it is read only at the start.
const STORE_CACHE: usize = 1 << 20;
/// How often an agent under `-dev` looks whether it has moved.
const DEV_COORDINATE_INTERVAL: Duration = Duration::from_millis(100);

/// An agent that runs.
pub struct Running {
    pub node_id: Uuid,
    pub handle: Arc<Handle>,
    pub endings: UnboundedReceiver<Ending>,
    hub: Arc<Hub>,
    tasks: JoinSet<()>,
    threads: Vec<JoinHandle<()>>,
    /// Keeps the directory locked.
    _data_dir: Option<DataDir>,
}

impl Running {
    /// Stops at once: what was acknowledged is on the disk already.
    pub async fn stop(mut self, code: ExitCode) -> ExitCode {
        self.handle.mailbox.close();
        self.hub.stop();
        self.tasks.abort_all();
        let threads = std::mem::take(&mut self.threads);
        let joined = tokio::task::spawn_blocking(move || {
            for thread in threads {
                let _ = thread.join();
            }
        });
        // The disk may be slow; nothing that it still holds was acknowledged.
        let _ = tokio::time::timeout(super::STOP_PATIENCE, joined).await;
        code
    }
}

/// What an agent is, apart from its configuration.
struct Own {
    node_id: Uuid,
    starts: u64,
    dice: Dice,
    data_dir: Option<DataDir>,
}

fn identify(config: &Resolved) -> Result<Own, String> {
    let seed = datadir::random().map_err(|error| format!("the system gives no randomness: {error}"))?;
    let dice = Dice::new(u64::from_le_bytes(seed));
    match &config.data_dir {
        Some(path) => {
            let data_dir = DataDir::open(path, config.node_id).map_err(|error| error.to_string())?;
            Ok(Own { node_id: data_dir.node_id, starts: data_dir.starts, dice, data_dir: Some(data_dir) })
        }
        None => {
            let random = datadir::random_uuid().map_err(|error| format!("the system gives no randomness: {error}"))?;
            Ok(Own { node_id: config.node_id.unwrap_or(random), starts: clock::unix_ms(), dice, data_dir: None })
        }
    }
}

/// Starts everything, or nothing.
///
/// # Errors
/// A sentence that names the thing and the remedy.
pub async fn start(config: &Resolved, monitor: Arc<Monitor>) -> Result<Running, String> {
    let Own { node_id, starts, mut dice, data_dir } = identify(config)?;
    let sockets = Sockets::bind(config).map_err(|error| error.to_string())?;
    let facts = Arc::new(facts(config, node_id));
    let (endings, ended) = unbounded_channel();

    let log = if config.server { Some(open_log(config, data_dir.as_ref(), node_id)?) } else { None };
    let now = clock::now();
    let (role, storage) = match log {
        Some((found, store, storage)) => {
            let role = Role::start(role_config(config, node_id), &found, store, dice.split(), now);
            (Some(role.map_err(|error| error.to_string())?), Some(storage))
        }
        None => (None, None),
    };
    let node = own_node(config, node_id);
    let (records, kept) = match &data_dir {
        Some(dir) => {
            let (records, kept) = Records::open(dir.records()).map_err(|error| error.to_string())?;
            (Some((dir.path().to_owned(), records)), kept)
        }
        None => (None, Vec::new()),
    };
    let owned = Owned::start(owned_config(config, node.clone(), kept, now)?, dice.split(), now);
    let gossip = gossip_value(config, &facts, role.as_ref(), starts, dice.split(), now)?;
    let cluster = role.as_ref().and_then(Role::cluster);
    let engine = role.as_ref().map(|role| role.tags().engine);
    let agent = Agent::new(Parts { facts: Arc::clone(&facts), gossip, role, owned });

    let local = LocalView { node: Arc::new(node), ..LocalView::default() };
    let handle = Arc::new(Handle::new(Arc::clone(&facts), Arc::new(local)));
    let hub = Hub::start(config.datacenter.clone(), Arc::clone(&handle)).map_err(|error| no_thread(&error))?;
    let client = Arc::new(Client::new(Hello {
        version: VERSION,
        datacenter: config.datacenter.clone(),
        cluster,
        node: node_id,
        name: config.node_name.clone(),
    }));
    if let Some(engine) = engine {
        client.sign(engine);
    }
    let hold = config.rpc_hold_timeout;
    let (own, waiting, passing) = (Arc::clone(&handle), Arc::clone(&hub), Arc::clone(&client));
    let dispatcher = Arc::new(Dispatcher::new(own, waiting, passing, monitor, dice.split(), hold));
    let dns = Arc::new(DnsParts::new(Arc::clone(&handle), Arc::clone(&client), dice.split()));
    let answers = Arc::new(Answers::default());
    let mut threads = Vec::new();
    let disk = match storage {
        Some(storage) => {
            let reopen = reopening(data_dir.as_ref(), node_id, engine);
            let (disk, thread) = start_disk(storage, reopen, &handle, endings.clone())?;
            threads.push(thread);
            Some(disk)
        }
        None => None,
    };
    let packets = sockets.gossip_udp.try_clone().map_err(|error| format!("a socket cannot be shared: {error}"))?;
    let remembered = data_dir.as_ref().map(DataDir::peers).unwrap_or_default();
    let files = Files::start(records, Arc::clone(&handle));
    let world = World {
        handle: Arc::clone(&handle),
        hub: Arc::clone(&hub),
        client,
        dispatcher: Arc::clone(&dispatcher),
        parts: Arc::clone(&dns),
        packets,
        answers: Arc::clone(&answers),
        prober: Prober::new(),
        disk,
        files: files.map_err(|error| no_thread(&error))?,
        endings: endings.clone(),
        peers: Vec::new(),
    };
    let mut tasks = JoinSet::new();
    tasks.spawn(meter::run(Arc::clone(&handle)));
    if config.server && config.connect {
        let founding = connect::Founding { trust_domain: config.trust_domain, signing: config.signing.clone() };
        tasks.spawn(connect::keep(Arc::clone(&dispatcher), founding));
    }
    serve(&mut tasks, config, sockets, &handle, &dispatcher, &dns, &answers)?;
    let own = Arc::clone(&handle);
    let core = std::thread::Builder::new().name("agent".to_owned());
    let runtime = tokio::runtime::Handle::current();
    let guard = Guard(endings.clone());
    let run = move || {
        // A panic here would leave listeners that serve the past for ever.
        let _guard = guard;
        let _tasks_go_there = runtime.enter();
        core::run(agent, &own, world);
    };
    threads.push(core.spawn(run).map_err(|error| no_thread(&error))?);
    join_cluster(&mut tasks, config, &handle, remembered, endings);
    Ok(Running { node_id, handle, endings: ended, hub, tasks, threads, _data_dir: data_dir })
}

/// Ends the process when the thread that holds it panics.
struct Guard(UnboundedSender<Ending>);

impl Drop for Guard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let thread = std::thread::current().name().unwrap_or_default().to_owned();
            let problem = format!("the {thread} thread stopped at a bug of lictor; its message is above: report it");
            let _ = self.0.send(Ending::Fatal(problem));
        }
    }
}

fn no_thread(error: &std::io::Error) -> String {
    format!("the system gives no thread: {error}")
}

fn facts(config: &Resolved, node_id: Uuid) -> Facts {
    Facts {
        node_name: NodeName::from(config.node_name.as_str()),
        node_id,
        datacenter: config.datacenter.clone(),
        primary_datacenter: config.primary_datacenter.clone(),
        server: config.server,
        dev: config.dev,
        advertise: config.advertise,
        serf_port: config.ports.serf_lan,
        server_port: config.ports.server,
        ui: false,
        connect: config.connect,
        coordinates: !config.disable_coordinates,
        encrypted: config.encrypt.is_some(),
        default_query_time: config.default_query_time,
        max_query_time: config.max_query_time,
        kv_value_max: config.limits.kv_max_value_size,
        txn_max: config.limits.txn_max_req_len,
        session_ttl_min: config.session_ttl_min,
        session_ttl_exact: config.session_ttl_exact,
        debug_config: config.debug.clone(),
        response_headers: config.response_headers.clone(),
        block_endpoints: config.block_endpoints.clone(),
        write_from: config.write_from.clone(),
        unprintable_paths: config.unprintable_paths,
        telemetry: config.telemetry.clone(),
    }
}

fn role_config(config: &Resolved, me: Uuid) -> RoleConfig {
    RoleConfig {
        me,
        datacenter: config.datacenter.clone(),
        rpc: SocketAddr::new(config.advertise, config.ports.server),
        expect: config.bootstrap_expect,
        engine: raft::make,
        raft: raft::Config { multiplier: config.raft_multiplier.unwrap_or(1), ..raft::Config::default() },
        reap_after: config.reconnect_timeout,
        autopilot: config.autopilot.clone(),
    }
}

/// What this agent registers of its own node.
fn own_node(config: &Resolved, id: Uuid) -> Node {
    let address = config.advertise.to_string();
    let family = if config.advertise.is_ipv4() { "ipv4" } else { "ipv6" };
    let mut tagged_addresses = BTreeMap::new();
    for network in ["lan", "wan"] {
        tagged_addresses.insert(network.to_owned(), address.clone());
        tagged_addresses.insert(format!("{network}_{family}"), address.clone());
    }
    tagged_addresses.extend(config.tagged_addresses.clone());
    let mut meta = config.node_meta.clone();
    meta.insert("consul-network-segment".to_owned(), String::new());
    meta.insert("consul-version".to_owned(), CONSUL_LEVEL.to_owned());
    Node {
        id: Some(id),
        name: NodeName::from(config.node_name.as_str()),
        address,
        tagged_addresses,
        meta,
        ..Node::default()
    }
}

fn owned_config(
    config: &Resolved,
    node: Node,
    records: Vec<(String, Vec<u8>)>,
    now: crate::time::Instant,
) -> Result<OwnedConfig, String> {
    let services = config.services.iter().map(ServiceSpec::parse).collect::<Result<_, _>>();
    let checks = config.checks.iter().map(CheckSpec::parse).collect::<Result<_, _>>();
    Ok(OwnedConfig {
        node,
        local: LocalOptions {
            persist: config.data_dir.is_some(),
            scripts: config.enable_script_checks,
            local_scripts: config.enable_local_script_checks,
            output_max: config.check_output_max_size,
            discard_output: config.discard_check_output,
            unix_ms_at_zero: clock::unix_ms().saturating_sub(now.0 / 1_000_000),
            boot: std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default(),
        },
        sync: SyncOptions {
            check_update_interval: config.check_update_interval,
            coordinate_interval: if config.dev {
                DEV_COORDINATE_INTERVAL
            } else {
                SyncOptions::default().coordinate_interval
            },
        },
        services: services.map_err(|error| error.to_string())?,
        checks: checks.map_err(|error| error.to_string())?,
        records,
    })
}

fn gossip_value(
    config: &Resolved,
    facts: &Facts,
    role: Option<&Role>,
    starts: u64,
    dice: Dice,
    now: crate::time::Instant,
) -> Result<Gossip, String> {
    let nonce_seed = datadir::random().map_err(|error| format!("the system gives no randomness: {error}"))?;
    let mut gossip = GossipConfig::lan(&config.datacenter, nonce_seed);
    gossip.key.clone_from(&config.encrypt);
    gossip.reconnect_timeout = config.reconnect_timeout;
    gossip.coordinates = !config.disable_coordinates;
    let address = SocketAddr::new(config.advertise, config.ports.serf_lan);
    let me = Identity { id: facts.node_id, counter: starts, address };
    let name = facts.node_name.clone();
    Gossip::new(gossip, me, name, agent::own_tags(facts, role), dice, now).map_err(|error| error.to_string())
}

/// Opens the log store, or an empty one in memory for `-dev`.
fn open_log(
    config: &Resolved,
    data_dir: Option<&DataDir>,
    node: Uuid,
) -> Result<(Recovered, Store, Box<dyn Storage>), String> {
    let fresh = fresh_engine()?;
    let (found, storage, store): (_, Box<dyn Storage>, Store) = match data_dir {
        None => (Volatile::recovered(fresh), Box::new(Volatile), Store::default()),
        Some(dir) => {
            let path = dir.log_store();
            let (log, found) = open_store(&path, StoreIdentity { fresh, node }).map_err(|error| error.to_string())?;
            let store = recover_state(&log, &path)?;
            (found, Box::new(log), store)
        }
    };
    tracing::info!(engine = %found.engine, entries = found.log.len(), index = %store.index(), server = config.server, "log opened");
    Ok((found, store, storage))
}

fn fresh_engine() -> Result<EngineId, String> {
    let bytes = datadir::random().map_err(|error| format!("the system gives no randomness: {error}"))?;
    // Zero means nobody.
    Ok(EngineId(u64::from_le_bytes(bytes).max(1)))
}

/// A log is made under another name and takes its own when it is whole: a first start that was cut short leaves nothing that
/// looks like a damaged log.
fn open_store(
    path: &Path,
    identity: StoreIdentity,
) -> Result<(LogStore, Recovered), crate::consensus::store::OpenError> {
    if !path.exists() {
        let unfinished = path.with_extension("unfinished");
        // What an earlier start left there is of no use; should it not go, making the log says why.
        let _ = std::fs::remove_file(&unfinished);
        drop(LogStore::open(FileBackend::open(&unfinished)?, &unfinished, identity, STORE_CACHE)?);
        file::rename(&unfinished, path)?;
    }
    open_made(path, identity)
}

fn open_made(
    path: &Path,
    identity: StoreIdentity,
) -> Result<(LogStore, Recovered), crate::consensus::store::OpenError> {
    LogStore::open(FileBackend::open(path)?, path, identity, STORE_CACHE)
}

fn recover_state(log: &LogStore, path: &Path) -> Result<Store, String> {
    let damaged = |cause: String| {
        format!(
            "{}: the stored catalog is damaged ({cause}); with other servers alive, empty the data directory and start again: \
             it is copied from them. With none, restore a backup",
            path.display()
        )
    };
    let mut restore = Restore::new();
    let mut empty = true;
    for chunk in log.chunks().map_err(|error| error.to_string())? {
        empty = false;
        let chunk = chunk.map_err(|error| error.to_string())?;
        restore.feed(&chunk).map_err(|error| damaged(error.to_string()))?;
    }
    if empty { Ok(Store::default()) } else { restore.finish().map_err(|error| damaged(error.to_string())) }
}

/// How the log that this agent writes is opened again. It is never made anew: an empty one would have forgotten votes and
/// entries that others rely on.
fn reopening(data_dir: Option<&DataDir>, node: Uuid, engine: Option<EngineId>) -> Reopen {
    let path = data_dir.map(DataDir::log_store);
    Box::new(move || {
        let Some(path) = &path else { return Ok(Box::new(Volatile)) };
        let other = || format!("{}: the log of this server is gone; put it back", path.display());
        if !path.exists() {
            return Err(other());
        }
        let identity = StoreIdentity { fresh: fresh_engine()?, node };
        let (log, found) = open_made(path, identity).map_err(|error| error.to_string())?;
        if Some(found.engine) == engine { Ok(Box::new(log)) } else { Err(other()) }
    })
}

fn start_disk(
    storage: Box<dyn Storage>,
    reopen: Reopen,
    handle: &Arc<Handle>,
    endings: UnboundedSender<Ending>,
) -> Result<(Sender<Job>, JoinHandle<()>), String> {
    let fatal = move |problem| drop(endings.send(Ending::Fatal(problem)));
    disk::start(storage, reopen, Arc::clone(handle), fatal).map_err(|error| no_thread(&error))
}

fn serve(
    tasks: &mut JoinSet<()>,
    config: &Resolved,
    sockets: Sockets,
    handle: &Arc<Handle>,
    dispatcher: &Arc<Dispatcher>,
    dns: &Arc<DnsParts>,
    answers: &Arc<Answers>,
) -> Result<(), String> {
    let unusable = |error: std::io::Error| format!("a socket cannot be used: {error}");
    let Sockets { http, http_unix, dns: dns_sockets, gossip_udp, gossip_tcp, rpc } = sockets;
    let max = config.limits.http_max_conns_per_client;
    let connections = Arc::new(Connections::new(if max == 0 { usize::MAX } else { max }));
    for listener in http {
        let listener = tokio::net::TcpListener::from_std(listener).map_err(unusable)?;
        tasks.spawn(http::serve_tcp(listener, Arc::clone(dispatcher), Arc::clone(&connections)));
    }
    for listener in http_unix {
        let listener = tokio::net::UnixListener::from_std(listener).map_err(unusable)?;
        tasks.spawn(http::serve_unix(listener, Arc::clone(dispatcher)));
    }
    let settings = Arc::new(dns_settings(&config.dns_config, config)?);
    for (udp, tcp) in dns_sockets {
        let (settings, dns) = (Arc::clone(&settings), Arc::clone(dns));
        tasks.spawn(async move {
            let current = move || Arc::clone(&settings);
            let served = lictor_dns::server::serve(current, dns, udp, tcp, std::future::pending()).await;
            if let Err(error) = served {
                tracing::error!("DNS is not served any more: {error}");
            }
        });
    }
    let gossip_udp = tokio::net::UdpSocket::from_std(gossip_udp).map_err(unusable)?;
    tasks.spawn(gossip::receive(gossip_udp, Arc::clone(handle)));
    let gossip_tcp = tokio::net::TcpListener::from_std(gossip_tcp).map_err(unusable)?;
    tasks.spawn(gossip::serve(gossip_tcp, Arc::clone(handle), Arc::clone(answers)));
    if let Some(rpc) = rpc {
        let rpc = tokio::net::TcpListener::from_std(rpc).map_err(unusable)?;
        tasks.spawn(server::serve(rpc, Arc::clone(dispatcher)));
    }
    Ok(())
}

fn dns_settings(dns: &DnsConfig, config: &Resolved) -> Result<lictor_dns::Settings, String> {
    let domain = |name: &str| {
        lictor_dns::domain(name)
            .ok_or_else(|| format!("domain {name:?} is no domain name: correct domain or alt_domain"))
    };
    Ok(lictor_dns::Settings {
        domain: domain(&dns.domain)?,
        alt_domain: if dns.alt_domain.is_empty() { None } else { Some(domain(&dns.alt_domain)?) },
        datacenter: config.datacenter.clone(),
        node: config.node_name.clone(),
        only_passing: dns.only_passing,
        node_ttl: dns.node_ttl,
        service_ttl: dns.service_ttl.clone(),
        a_record_limit: dns.a_record_limit,
        udp_answer_limit: dns.udp_answer_limit,
        enable_truncate: dns.enable_truncate,
        enable_additional_node_meta_txt: dns.enable_additional_node_meta_txt,
        disable_compression: dns.disable_compression,
        soa: lictor_dns::Soa {
            refresh: dns.soa.refresh,
            retry: dns.soa.retry,
            expire: dns.soa.expire,
            min_ttl: dns.soa.min_ttl,
        },
    })
}

/// Looks for the others: through what the operator named, and through who was there last time.
fn join_cluster(
    tasks: &mut JoinSet<()>,
    config: &Resolved,
    handle: &Arc<Handle>,
    remembered: Vec<SocketAddr>,
    endings: UnboundedSender<Ending>,
) {
    let (interval, tries) = (config.retry_interval, config.retry_max);
    if !remembered.is_empty() {
        let names = remembered.iter().map(SocketAddr::to_string).collect();
        let handle = Arc::clone(handle);
        tasks.spawn(async move {
            // Nobody may be there any more: that is no reason to end.
            let _ = join::keep_trying(handle, names, interval, 8).await;
        });
    }
    let names: Vec<String> = config.retry_join.iter().chain(&config.start_join).cloned().collect();
    if !names.is_empty() {
        let handle = Arc::clone(handle);
        tasks.spawn(async move {
            if let Err(problem) = join::keep_trying(handle, names, interval, tries).await {
                let _ = endings.send(Ending::Fatal(problem));
            }
        });
    }
}
