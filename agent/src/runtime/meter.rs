//! Counts what happens where it happens, in atomics without a lock, and reports it by intervals of ten seconds.
//!
//! Every figure is named in `EVENTS`, `rows` or `Meter::gauges`; what the agent counts of itself comes in as [`Counts`].

use super::{clock, machine};
use crate::gossip::MemberStatus;
use crate::http::Context;
use crate::http::route::{ROUTES, Route};
use crate::metrics::{Counts, INTERVAL, Report, Row, Sample};
use crate::view::CONSUL_LEVEL;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What is counted or timed outside of the agent's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A key was written or deleted here, on the leader: ms until it was answered. Likewise the next ones.
    KvApply,
    TxnApply,
    CatalogRegister,
    CatalogDeregister,
    /// A session was made or destroyed.
    SessionApply,
    SessionRenew,
    /// A prepared query was made, changed or deleted.
    PreparedApply,
    /// Any proposal: ms from the proposal to its answer.
    CommitTime,
    /// A quorum was asked how far the truth reaches: ms.
    ConsistentRead,
    /// The leader wrote to its log store, one transaction: ms. `StoreLogs` is the same on other servers.
    DispatchLog,
    StoreLogs,
    /// A DNS message was answered: ms from its arrival.
    DomainQuery,
    /// A proposal was made.
    RaftApply,
    /// This server became leader, or began to follow one.
    StateLeader,
    StateFollower,
    /// A read of the catalog was answered from this agent's own view.
    RpcQuery,
    /// Another agent's call or command was taken.
    RpcRequest,
    RpcAccept,
    /// A call or command was passed to a server, and it could not take it.
    ClientRpc,
    ClientRpcFailed,
    /// Bytes of gossip's packets and requests.
    UdpSent,
    UdpReceived,
    TcpSent,
    TcpConnect,
    TcpAccept,
    /// The agent's thread took more than 5 ms for one turn.
    SlowTurn,
    /// The hub evaluated or encoded for a group of equal waiting reads, or answered one of them.
    HubEvaluation,
    HubEncode,
    HubAnswer,
    /// A waiting read was answered before its time with nothing new. Only a restored snapshot may do that.
    HubEarly,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    /// Its values are times, so that Consul has it among the samples.
    Timer,
}

/// Every event, in its own order, with the name of its figure.
const EVENTS: [(Event, Kind, &str); 30] = [
    (Event::KvApply, Kind::Timer, "kvs.apply"),
    (Event::TxnApply, Kind::Timer, "txn.apply"),
    (Event::CatalogRegister, Kind::Timer, "catalog.register"),
    (Event::CatalogDeregister, Kind::Timer, "catalog.deregister"),
    (Event::SessionApply, Kind::Timer, "session.apply"),
    (Event::SessionRenew, Kind::Timer, "session.renew"),
    (Event::PreparedApply, Kind::Timer, "prepared-query.apply"),
    (Event::CommitTime, Kind::Timer, "raft.commitTime"),
    (Event::ConsistentRead, Kind::Timer, "rpc.consistentRead"),
    (Event::DispatchLog, Kind::Timer, "raft.leader.dispatchLog"),
    (Event::StoreLogs, Kind::Timer, "raft.rpc.appendEntries.storeLogs"),
    (Event::DomainQuery, Kind::Timer, "dns.domain_query"),
    (Event::RaftApply, Kind::Counter, "raft.apply"),
    (Event::StateLeader, Kind::Counter, "raft.state.leader"),
    (Event::StateFollower, Kind::Counter, "raft.state.follower"),
    (Event::RpcQuery, Kind::Counter, "rpc.query"),
    (Event::RpcRequest, Kind::Counter, "rpc.request"),
    (Event::RpcAccept, Kind::Counter, "rpc.accept_conn"),
    (Event::ClientRpc, Kind::Counter, "client.rpc"),
    (Event::ClientRpcFailed, Kind::Counter, "client.rpc.failed"),
    (Event::UdpSent, Kind::Counter, "memberlist.udp.sent"),
    (Event::UdpReceived, Kind::Counter, "memberlist.udp.received"),
    (Event::TcpSent, Kind::Counter, "memberlist.tcp.sent"),
    (Event::TcpConnect, Kind::Counter, "memberlist.tcp.connect"),
    (Event::TcpAccept, Kind::Counter, "memberlist.tcp.accept"),
    (Event::SlowTurn, Kind::Counter, "lictor.turn.slow"),
    (Event::HubEvaluation, Kind::Counter, "lictor.hub.evaluations"),
    (Event::HubEncode, Kind::Counter, "lictor.hub.encodes"),
    (Event::HubAnswer, Kind::Counter, "lictor.hub.answers"),
    (Event::HubEarly, Kind::Counter, "lictor.hub.early"),
];

/// A [`Sample`] under way, which many threads add to. A cache line of its own.
#[derive(Debug)]
#[repr(align(64))]
struct Recorder {
    count: AtomicU64,
    /// The bits of numbers that are never negative, whose order is that of their bits.
    sum: AtomicU64,
    squares: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for Recorder {
    fn default() -> Self {
        let zero = AtomicU64::default;
        Self { count: zero(), sum: zero(), squares: zero(), min: AtomicU64::new(u64::MAX), max: zero() }
    }
}

impl Recorder {
    /// So many equal values.
    fn add(&self, count: u64, value: f64) {
        let raise = |sum: &AtomicU64, by: f64| {
            let _ = sum.fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + by).to_bits()));
        };
        let (times, bits) = (count as f64, value.to_bits());
        self.count.fetch_add(count, Relaxed);
        raise(&self.sum, value * times);
        raise(&self.squares, value * value * times);
        if bits < self.min.load(Relaxed) {
            self.min.fetch_min(bits, Relaxed);
        }
        if bits > self.max.load(Relaxed) {
            self.max.fetch_max(bits, Relaxed);
        }
    }

    /// What was seen since the last time. A value that comes in just now may be counted here and weighed in the next.
    fn take(&self) -> Sample {
        Sample {
            count: self.count.swap(0, Relaxed),
            sum: f64::from_bits(self.sum.swap(0, Relaxed)),
            squares: f64::from_bits(self.squares.swap(0, Relaxed)),
            min: f64::from_bits(self.min.swap(u64::MAX, Relaxed)),
            max: f64::from_bits(self.max.swap(0, Relaxed)),
        }
    }
}

/// All figures by place: those of routes, then those of events.
type Figures = Vec<Sample>;

#[derive(Debug, Default)]
struct Kept {
    begun_ms: u64,
    /// Of the interval under way, as far as it was taken from the recorders.
    current: Figures,
    /// The last complete interval.
    last: Option<(u64, Figures, Counts)>,
    total: Figures,
    /// As they were when the interval began.
    counts: Counts,
}

/// See the module's page.
#[derive(Debug)]
pub struct Meter {
    recorders: Box<[Recorder]>,
    counts: Mutex<Counts>,
    blocking: AtomicUsize,
    kept: Mutex<Kept>,
}

impl Default for Meter {
    fn default() -> Self {
        let places = ROUTES.len() + EVENTS.len();
        let none = || vec![Sample::default(); places];
        Self {
            recorders: (0..places).map(|_| Recorder::default()).collect(),
            counts: Mutex::default(),
            blocking: AtomicUsize::new(0),
            kept: Mutex::new(Kept { begun_ms: clock::unix_ms(), current: none(), total: none(), ..Kept::default() }),
        }
    }
}

/// A read that waits; counted as long as it lives.
#[derive(Debug)]
pub struct Blocked<'a>(&'a AtomicUsize);

impl Drop for Blocked<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

fn ms(span: Duration) -> f64 {
    span.as_secs_f64() * 1e3
}

impl Meter {
    /// It happened once, with this size.
    pub fn count(&self, event: Event, size: usize) {
        self.recorders[ROUTES.len() + event as usize].add(1, size as f64);
    }

    /// It happened so many times at once.
    pub fn count_each(&self, event: Event, times: u64) {
        self.recorders[ROUTES.len() + event as usize].add(times, 1.0);
    }

    /// It happened, and took so long.
    pub fn took(&self, event: Event, span: Duration) {
        self.took_each(event, 1, span);
    }

    /// It happened so many times at once, and took each of them so long.
    pub fn took_each(&self, event: Event, times: usize, span: Duration) {
        self.recorders[ROUTES.len() + event as usize].add(times as u64, ms(span));
    }

    /// A call of the HTTP API was answered.
    pub fn served(&self, route: &'static Route, span: Duration) {
        if let Some(place) = ROUTES.iter().position(|known| std::ptr::eq(known, route)) {
            self.recorders[place].add(1, ms(span));
        }
    }

    /// A read begins to wait.
    pub fn blocks(&self) -> Blocked<'_> {
        self.blocking.fetch_add(1, Relaxed);
        Blocked(&self.blocking)
    }

    /// What the agent has counted by now.
    pub fn counted(&self, counts: Counts) {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner) = counts;
    }

    fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Empties the recorders into the interval under way and the total.
    fn gather(&self, kept: &mut Kept) {
        for (place, recorder) in self.recorders.iter().enumerate() {
            let seen = recorder.take();
            kept.current[place].merge(&seen);
            kept.total[place].merge(&seen);
        }
    }

    /// Ends the interval under way.
    pub fn turn(&self, now_ms: u64) {
        let counts = self.counts();
        let mut kept = self.kept();
        self.gather(&mut kept);
        let figures = std::mem::replace(&mut kept.current, vec![Sample::default(); self.recorders.len()]);
        let before = std::mem::replace(&mut kept.counts, counts);
        let begun_ms = std::mem::replace(&mut kept.begun_ms, now_ms);
        kept.last = Some((begun_ms, figures, since(counts, before)));
    }

    /// When the last complete interval began, in ms since 1970.
    pub fn complete(&self) -> Option<u64> {
        self.kept().last.as_ref().map(|(begun_ms, ..)| *begun_ms)
    }

    /// The last complete interval, or what there is of the first one; gauges as they are now.
    pub fn interval(&self, context: &Context<'_>) -> Report {
        let counts = self.counts();
        let mut kept = self.kept();
        self.gather(&mut kept);
        let report = match &kept.last {
            Some((begun_ms, figures, counts)) => rows(*begun_ms, figures, *counts),
            None => rows(kept.begun_ms, &kept.current, since(counts, kept.counts)),
        };
        drop(kept);
        Report { gauges: self.gauges(context), ..report }
    }

    /// Everything since the start.
    pub fn total(&self, context: &Context<'_>) -> Report {
        let counts = self.counts();
        let mut kept = self.kept();
        self.gather(&mut kept);
        let report = rows(kept.begun_ms, &kept.total, counts);
        drop(kept);
        Report { gauges: self.gauges(context), ..report }
    }

    fn gauges(&self, context: &Context<'_>) -> Vec<Row<f64>> {
        let Context { view, local, facts, now: _ } = context;
        let datacenter = |row: Row<f64>| row.with("datacenter", facts.datacenter.as_str());
        let alive = |role: &str| {
            let of = |member: &&crate::gossip::Member| member.tags.get("role").is_some_and(|known| known == role);
            local.members.iter().filter(|member| member.status == MemberStatus::Alive).filter(of).count()
        };
        let mut gauges = vec![
            Row::new("version", 1.0).with("version", CONSUL_LEVEL).with("pre_release", ""),
            Row::new("memberlist.health.score", f64::from(self.counts().health_score)),
            Row::new("rpc.queries_blocking", self.blocking.load(Relaxed) as f64),
            datacenter(Row::new("members.servers", alive("consul") as f64)),
            datacenter(Row::new("members.clients", alive("node") as f64)),
        ];
        if let Some(memory) = machine::own_memory() {
            gauges.push(Row::new("runtime.alloc_bytes", memory.heap as f64));
            gauges.push(Row::new("runtime.sys_bytes", memory.resident as f64));
        }
        if facts.server {
            let sizes = view.store.sizes();
            let own = view.servers.iter().find(|server| server.id == facts.node_id);
            gauges.extend([
                Row::new("server.isLeader", f64::from(u8::from(view.leading))),
                Row::new("raft.peers", view.servers.len() as f64),
                Row::new("raft.applied_index", view.applied.0 as f64),
                datacenter(Row::new("state.nodes", sizes.nodes as f64)),
                datacenter(Row::new("state.services", sizes.services as f64)),
                datacenter(Row::new("state.service_instances", sizes.instances as f64)),
                datacenter(Row::new("state.kv_entries", sizes.keys as f64)),
                // Only the leader ends sessions, so only it counts those that it has an eye on, as Consul's does.
                Row::new("session_ttl.active", if view.leading { sizes.mortal_sessions as f64 } else { 0.0 }),
                datacenter(Row::new("lictor.state.checks", sizes.checks as f64)),
                datacenter(Row::new("lictor.state.sessions", sizes.sessions as f64)),
                datacenter(Row::new("lictor.state.prepared_queries", sizes.prepared as f64)),
            ]);
            gauges.extend(own.map(|own| Row::new("raft.last_index", own.last_index.0 as f64)));
        }
        gauges
    }
}

/// What was counted between two moments; the score is one of the moment.
const fn since(now: Counts, before: Counts) -> Counts {
    Counts {
        joined: now.joined - before.joined,
        left: now.left - before.left,
        failed: now.failed - before.failed,
        updated: now.updated - before.updated,
        packets_refused: now.packets_refused - before.packets_refused,
        packets_malformed: now.packets_malformed - before.packets_malformed,
        requests_refused: now.requests_refused - before.requests_refused,
        dials_dropped: now.dials_dropped - before.dials_dropped,
        health_score: now.health_score,
    }
}

/// Everything but the gauges. Routes that nobody called are left out.
fn rows(begun_ms: u64, figures: &[Sample], counts: Counts) -> Report {
    let (routes, events) = figures.split_at(ROUTES.len());
    let mut samples: Vec<Row<Sample>> = ROUTES
        .iter()
        .zip(routes)
        .filter(|(_, sample)| sample.count > 0)
        .map(|(route, sample)| {
            Row::new("api.http", *sample).with("method", route.method.as_str()).with("path", path(route))
        })
        .collect();
    let Counts {
        joined,
        left,
        failed,
        updated,
        packets_refused,
        packets_malformed,
        requests_refused,
        dials_dropped,
        health_score: _,
    } = counts;
    let mut counters: Vec<Row<Sample>> = [
        ("serf.member.join", joined),
        ("serf.member.left", left),
        ("serf.member.failed", failed),
        ("serf.member.update", updated),
        ("lictor.gossip.packets_refused", packets_refused),
        ("lictor.gossip.packets_malformed", packets_malformed),
        ("lictor.gossip.requests_refused", requests_refused),
        ("lictor.gossip.dials_dropped", dials_dropped),
    ]
    .map(|(name, count)| Row::new(name, Sample::ones(count)))
    .into();
    for ((_, kind, name), sample) in EVENTS.iter().zip(events) {
        let rows = if *kind == Kind::Timer { &mut samples } else { &mut counters };
        rows.push(Row::new(name, *sample));
    }
    Report { begun_ms, gauges: Vec::new(), counters, samples }
}

/// `/v1/kv/{key}` is `v1.kv._`, as Consul labels it.
fn path(route: &Route) -> String {
    route.pattern.path("_").trim_start_matches('/').replace('/', ".")
}

/// Ends an interval whenever the wall clock passes a multiple of ten seconds, until the task is dropped.
pub async fn run(handle: std::sync::Arc<super::handle::Handle>) {
    let length = u64::try_from(INTERVAL.as_millis()).unwrap_or(u64::MAX);
    loop {
        let rest = length - clock::unix_ms() % length;
        tokio::time::sleep(Duration::from_millis(rest)).await;
        let now = clock::unix_ms();
        handle.meter.turn(now - now % length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Instant;
    use crate::view::{LocalView, View};

    fn find<'a>(rows: &'a [Row<Sample>], name: &str) -> &'a Row<Sample> {
        rows.iter().find(|row| row.name == name).expect("a row of that name")
    }

    #[test]
    fn events_have_places_of_their_own() {
        for (place, (event, _, name)) in EVENTS.iter().enumerate() {
            assert_eq!(*event as usize, place, "{event:?}");
            assert_eq!(EVENTS.iter().filter(|(_, _, other)| other == name).count(), 1, "{name}");
        }
    }

    #[test]
    fn an_interval_ends_and_the_total_goes_on() {
        let meter = Meter::default();
        let (view, local, facts) = (View::default(), LocalView::default(), crate::http::test_facts());
        let context = &Context { view: &view, local: &local, facts: &facts, now: Instant(0) };
        let kv = ROUTES.iter().find(|route| route.pattern.template() == "/v1/kv/{key}").expect("a route");
        meter.served(kv, Duration::from_millis(2));
        meter.served(kv, Duration::from_millis(4));
        meter.count(Event::UdpSent, 100);
        meter.counted(Counts { joined: 2, ..Counts::default() });
        let first = meter.interval(context);
        let row = &first.samples[0];
        assert_eq!((row.name, row.value.count, row.value.sum, row.value.max), ("api.http", 2, 6.0, 4.0));
        assert_eq!(row.labels, [("method", "GET".to_owned()), ("path", "v1.kv._".to_owned())]);
        assert_eq!(find(&first.counters, "memberlist.udp.sent").value.sum, 100.0);
        assert_eq!(meter.interval(context).samples[0], *row, "looking changes nothing");

        meter.turn(10_000);
        meter.count(Event::UdpSent, 50);
        let last = meter.interval(context);
        assert_eq!(find(&last.counters, "memberlist.udp.sent").value.sum, 100.0, "the complete interval");
        meter.counted(Counts { joined: 3, ..Counts::default() });
        meter.turn(20_000);
        let last = meter.interval(context);
        assert_eq!((last.begun_ms, find(&last.counters, "memberlist.udp.sent").value.sum), (10_000, 50.0));
        assert_eq!(find(&last.counters, "serf.member.join").value.count, 1);
        assert_eq!(last.samples.iter().filter(|row| row.name == "api.http").count(), 0);
        let total = meter.total(context);
        assert_eq!(
            find(&total.counters, "memberlist.udp.sent").value,
            Sample { count: 2, sum: 150.0, squares: 12_500.0, min: 50.0, max: 100.0 }
        );
        assert_eq!(find(&total.counters, "serf.member.join").value.count, 3);
    }

    #[test]
    fn waiting_reads_are_a_gauge() {
        let meter = Meter::default();
        let (view, local, facts) = (View::default(), LocalView::default(), crate::http::test_facts());
        let context = &Context { view: &view, local: &local, facts: &facts, now: Instant(0) };
        let waiting = || {
            let gauges = meter.gauges(context);
            gauges.iter().find(|row| row.name == "rpc.queries_blocking").map(|row| row.value)
        };
        let blocked = meter.blocks();
        assert_eq!(waiting(), Some(1.0));
        drop(blocked);
        assert_eq!(waiting(), Some(0.0));
    }
}
