//! Figures in Consul's JSON form and in Prometheus' text form.

use super::date::go_date;
use crate::metrics::{INTERVAL, Report, Row, Sample, Telemetry};
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The whole of `agent/metrics`. Rows are sorted by name.
#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Metrics<'a> {
    timestamp: String,
    gauges: Vec<Gauge<'a>>,
    points: [(); 0],
    counters: Vec<Aggregate<'a>>,
    samples: Vec<Aggregate<'a>>,
}

type Labels<'a> = BTreeMap<&'static str, &'a str>;

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Gauge<'a> {
    name: String,
    value: f64,
    labels: Labels<'a>,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Aggregate<'a> {
    name: String,
    count: u64,
    rate: f64,
    sum: f64,
    min: f64,
    max: f64,
    mean: f64,
    stddev: f64,
    labels: Labels<'a>,
}

fn labels<T>(row: &Row<T>) -> Labels<'_> {
    row.labels.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

impl<'a> Aggregate<'a> {
    /// `None` when nothing happened, or when nobody wants to see it.
    fn of(row: &'a Row<Sample>, telemetry: &Telemetry) -> Option<Self> {
        let Sample { count, sum, squares: _, min, max } = row.value;
        let name = telemetry.event(row.name).filter(|_| count > 0)?;
        let (mean, stddev) = (row.value.mean(), row.value.deviation());
        Some(Self { name, count, rate: sum / INTERVAL.as_secs_f64(), sum, min, max, mean, stddev, labels: labels(row) })
    }
}

impl<'a> Metrics<'a> {
    #[must_use]
    pub fn of(report: &'a Report, telemetry: &Telemetry) -> Self {
        let aggregates = |rows: &'a [Row<Sample>]| {
            let mut shown: Vec<_> = rows.iter().filter_map(|row| Aggregate::of(row, telemetry)).collect();
            shown.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
            shown
        };
        let gauge =
            |row: &'a Row<f64>| Some(Gauge { name: telemetry.gauge(row.name)?, value: row.value, labels: labels(row) });
        let mut gauges: Vec<_> = report.gauges.iter().filter_map(gauge).collect();
        gauges.sort_by(|a, b| (&a.name, &a.labels).cmp(&(&b.name, &b.labels)));
        Self {
            timestamp: go_date(report.begun_ms),
            gauges,
            points: [],
            counters: aggregates(&report.counters),
            samples: aggregates(&report.samples),
        }
    }
}

/// Prometheus' text form (exposition format 0.0.4) of figures since the start. A sample is a summary without quantiles.
#[must_use]
pub fn prometheus(report: &Report, telemetry: &Telemetry) -> String {
    // By name: a metric's rows must stand together, under one TYPE line.
    let mut metrics: BTreeMap<String, (&str, Vec<String>)> = BTreeMap::new();
    let mut add = |name: Option<String>, kind: &'static str, lines: &dyn Fn(&str) -> Vec<String>| {
        if let Some(name) = name.map(|name| plain(&name)) {
            let lines = lines(&name);
            metrics.entry(name).or_insert((kind, Vec::new())).1.extend(lines);
        }
    };
    for row in &report.gauges {
        let labels = braces(row);
        add(telemetry.gauge(row.name), "gauge", &|name| vec![format!("{name}{labels} {}", row.value)]);
    }
    for row in &report.counters {
        let labels = braces(row);
        add(telemetry.event(row.name), "counter", &|name| vec![format!("{name}{labels} {}", row.value.sum)]);
    }
    for row in &report.samples {
        let labels = braces(row);
        add(telemetry.event(row.name), "summary", &|name| {
            let Sample { count, sum, .. } = row.value;
            vec![format!("{name}_sum{labels} {sum}"), format!("{name}_count{labels} {count}")]
        });
    }
    let mut out = String::new();
    for (name, (kind, lines)) in metrics {
        let _ = writeln!(out, "# HELP {name} {name}\n# TYPE {name} {kind}\n{}", lines.join("\n"));
    }
    out
}

/// A name as Prometheus may hold it: go-metrics puts `_` for whatever else.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' || c == ':' { c } else { '_' }).collect()
}

fn braces<T>(row: &Row<T>) -> String {
    if row.labels.is_empty() {
        return String::new();
    }
    let escaped = |value: &str| value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let pairs: Vec<String> = row.labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    format!("{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let took = Sample { count: 4, sum: 16.0, squares: 72.0, min: 2.0, max: 6.0 };
        Report {
            begun_ms: 1_735_689_610_000,
            gauges: vec![
                Row::new("runtime.alloc_bytes", 4096.0),
                Row::new("members.servers", 3.0).with("datacenter", "dc1"),
            ],
            counters: vec![Row::new("raft.apply", Sample::ones(7)), Row::new("rpc.query", Sample::default())],
            samples: vec![Row::new("api.http", took).with("method", "GET").with("path", "v1.kv._")],
        }
    }

    #[test]
    fn json_is_consuls() {
        let telemetry = Telemetry { hostname: "box".to_owned(), ..Telemetry::default() };
        let shown = serde_json::to_value(Metrics::of(&report(), &telemetry)).expect("JSON");
        let expected = serde_json::json!({
            "Timestamp": "2025-01-01 00:00:10 +0000 UTC",
            "Gauges": [
                {"Name": "consul.box.members.servers", "Value": 3.0, "Labels": {"datacenter": "dc1"}},
                {"Name": "consul.box.runtime.alloc_bytes", "Value": 4096.0, "Labels": {}},
            ],
            "Points": [],
            "Counters": [{"Name": "consul.raft.apply", "Count": 7, "Rate": 0.7, "Sum": 7.0, "Min": 1.0, "Max": 1.0,
                          "Mean": 1.0, "Stddev": 0.0, "Labels": {}}],
            "Samples": [{"Name": "consul.api.http", "Count": 4, "Rate": 1.6, "Sum": 16.0, "Min": 2.0, "Max": 6.0,
                         "Mean": 4.0, "Stddev": (8.0_f64 / 3.0).sqrt(), "Labels": {"method": "GET", "path": "v1.kv._"}}],
        });
        assert_eq!(shown, expected);
    }

    #[test]
    fn prometheus_has_plain_names_and_whole_counts() {
        let telemetry = Telemetry { hostname: "a-box.example".to_owned(), ..Telemetry::default() };
        let expected = "\
# HELP consul_a_box_example_members_servers consul_a_box_example_members_servers
# TYPE consul_a_box_example_members_servers gauge
consul_a_box_example_members_servers{datacenter=\"dc1\"} 3
# HELP consul_a_box_example_runtime_alloc_bytes consul_a_box_example_runtime_alloc_bytes
# TYPE consul_a_box_example_runtime_alloc_bytes gauge
consul_a_box_example_runtime_alloc_bytes 4096
# HELP consul_api_http consul_api_http
# TYPE consul_api_http summary
consul_api_http_sum{method=\"GET\",path=\"v1.kv._\"} 16
consul_api_http_count{method=\"GET\",path=\"v1.kv._\"} 4
# HELP consul_raft_apply consul_raft_apply
# TYPE consul_raft_apply counter
consul_raft_apply 7
# HELP consul_rpc_query consul_rpc_query
# TYPE consul_rpc_query counter
consul_rpc_query 0
";
        assert_eq!(prometheus(&report(), &telemetry), expected);
    }
}
