//! Definitions of services and checks as files hold them: which keys they may have, and where and how one is wrong. What
//! they mean is for `local` and `checks` to say; bodies of requests, whose unknown fields are ignored, do not pass here.

use super::error::ConfigError;
use crate::checks::{CheckSpec, InvalidCheck, SpecError};
use crate::json::{Object, same};
use crate::local::ServiceSpec;
use crate::nearest::nearest;
use serde_json::{Map, Value};

/// What is defined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defined {
    Service,
    Check,
}

impl Defined {
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Service => "service",
            Self::Check => "check",
        }
    }

    /// What the keys `service` and `services`, `check` and `checks` hold.
    pub(crate) fn under(path: &str) -> Self {
        if path.starts_with("service") { Self::Service } else { Self::Check }
    }
}

/// The keys that a block may have: plain ones, separated by blanks, and those that hold blocks, one or a list.
struct Block {
    keys: &'static str,
    inner: &'static [(&'static str, Inner)],
}

enum Inner {
    Keys(&'static Block),
    /// Blocks under names of the operator's own.
    Named(&'static Block),
}

use Inner::{Keys, Named};

static SERVICE: Block = Block {
    keys: "id name tags address port socket_path meta enable_tag_override token kind namespace partition",
    inner: &[
        ("tagged_addresses", Named(&ADDRESS)),
        ("weights", Keys(&WEIGHTS)),
        ("check", Keys(&CHECK)),
        ("checks", Keys(&CHECK)),
        ("proxy", Keys(&PROXY)),
        ("connect", Keys(&CONNECT)),
        ("locality", Keys(&LOCALITY)),
    ],
};
static CHECK: Block = Block {
    keys: "id check_id name notes service_id status token interval timeout ttl http method header body \
           disable_redirects tcp tcp_use_tls udp grpc grpc_use_tls h2ping h2ping_use_tls os_service tls_server_name \
           tls_skip_verify args script_args docker_container_id shell alias_node alias_service success_before_passing \
           failures_before_warning failures_before_critical output_max_size deregister_critical_service_after \
           namespace partition",
    inner: &[],
};
static ADDRESS: Block = Block { keys: "address port", inner: &[] };
static WEIGHTS: Block = Block { keys: "passing warning", inner: &[] };
static LOCALITY: Block = Block { keys: "region zone", inner: &[] };
static CONNECT: Block = Block { keys: "native", inner: &[("sidecar_service", Keys(&SERVICE))] };
static PROXY: Block = Block {
    keys: "destination_service_name destination_service_id local_service_address local_service_port \
           local_service_socket_path mode config",
    inner: &[
        ("upstreams", Keys(&UPSTREAM)),
        ("mesh_gateway", Keys(&MESH_GATEWAY)),
        ("expose", Keys(&EXPOSE)),
        ("transparent_proxy", Keys(&TRANSPARENT_PROXY)),
        ("access_logs", Keys(&ACCESS_LOGS)),
        ("envoy_extensions", Keys(&ENVOY_EXTENSION)),
    ],
};
static UPSTREAM: Block = Block {
    keys: "destination_type destination_namespace destination_partition destination_peer destination_name datacenter \
           local_bind_address local_bind_port local_bind_socket_path local_bind_socket_mode config",
    inner: &[("mesh_gateway", Keys(&MESH_GATEWAY))],
};
static MESH_GATEWAY: Block = Block { keys: "mode", inner: &[] };
static EXPOSE: Block = Block { keys: "checks", inner: &[("paths", Keys(&EXPOSED_PATH))] };
static EXPOSED_PATH: Block = Block { keys: "listener_port path local_path_port protocol", inner: &[] };
static TRANSPARENT_PROXY: Block = Block { keys: "outbound_listener_port dialed_directly", inner: &[] };
static ACCESS_LOGS: Block =
    Block { keys: "enabled disable_listener_logs type path json_format text_format", inner: &[] };
static ENVOY_EXTENSION: Block = Block { keys: "name required arguments consul_version envoy_version", inner: &[] };

/// Every key of a definition that is none, with the nearest one that is. `path` is what the definition stands under.
pub(crate) fn unknown_keys(what: Defined, file: &str, path: &str, definition: &Map<String, Value>) -> Vec<ConfigError> {
    let mut found = Vec::new();
    let block = match what {
        Defined::Service => &SERVICE,
        Defined::Check => &CHECK,
    };
    block.unknown(path, definition, &mut |key, nearest| {
        found.push(ConfigError::UnknownKey { file: file.to_owned(), key, nearest });
    });
    found
}

impl Block {
    fn unknown(&self, path: &str, body: &Map<String, Value>, found: &mut impl FnMut(String, Option<String>)) {
        for (key, value) in body {
            let written = format!("{path}.{key}");
            match self.inner.iter().find(|(name, _)| same(name, key)) {
                // What is no block is of the wrong type, and told by whoever reads it.
                Some((_, Keys(block))) => blocks(value).for_each(|body| block.unknown(&written, body, found)),
                Some((_, Named(block))) => {
                    for (name, value) in blocks(value).flatten() {
                        let written = format!("{written}.{name}");
                        blocks(value).for_each(|body| block.unknown(&written, body, found));
                    }
                }
                None if self.keys.split_whitespace().any(|name| same(name, key)) => {}
                None => {
                    let known = self.keys.split_whitespace().chain(self.inner.iter().map(|(name, _)| *name));
                    found(written, nearest(&key.to_lowercase(), known).map(|near| format!("{path}.{near}")));
                }
            }
        }
    }
}

/// A block, or those of a list.
fn blocks(value: &Value) -> impl Iterator<Item = &Map<String, Value>> {
    let one = value.as_object().into_iter();
    one.chain(value.as_array().into_iter().flatten().filter_map(Value::as_object))
}

/// What one definition means.
pub(crate) enum Spec {
    Service(ServiceSpec),
    Check(CheckSpec),
}

impl Spec {
    /// Reads a definition that has known keys only; `number` counts those of its kind in the file, from 1.
    ///
    /// # Errors
    /// [`ConfigError::Definition`], which names the definition and the key as the file spells it.
    pub(crate) fn read(what: Defined, file: &str, number: usize, definition: &Value) -> Result<Self, ConfigError> {
        let read = match what {
            Defined::Service => ServiceSpec::parse(definition).map(Self::Service),
            Defined::Check => CheckSpec::parse(definition).map(Self::Check),
        };
        read.map_err(|error| {
            let of_inner = if what == Defined::Service { of_inner_check(definition, &error) } else { None };
            let problem = of_inner.unwrap_or_else(|| problem(definition, &error));
            ConfigError::Definition { file: file.to_owned(), what: named(what.word(), definition, number), problem }
        })
    }

    /// The id, by which a later definition takes the place of an earlier one.
    pub(crate) fn id(&self) -> &str {
        match self {
            Self::Service(spec) => &spec.service.id,
            Self::Check(spec) => &spec.id,
        }
    }

    pub(crate) fn checks(&self) -> &[CheckSpec] {
        match self {
            Self::Service(spec) => &spec.checks,
            Self::Check(spec) => std::slice::from_ref(spec),
        }
    }
}

/// `service "web"`, or `service 2` where it has neither id nor name.
fn named(word: &str, definition: &Value, number: usize) -> String {
    let text = |key| Object::of(definition).ok()?.get(key)?.as_str().filter(|text| !text.is_empty());
    match text("ID").or_else(|| text("CheckID")).or_else(|| text("Name")) {
        Some(name) => format!("{word} {name:?}"),
        None => format!("{word} {number}"),
    }
}

/// The first check inside a service's definition that is wrong, and why, if that is what the service was refused for.
fn of_inner_check(service: &Value, refused: &SpecError) -> Option<String> {
    let object = Object::of(service).ok()?;
    let checks = object.get("Check").into_iter().chain(object.list("Checks").unwrap_or_default());
    checks.enumerate().find_map(|(place, check)| {
        let filled = check.as_object().is_none_or(|fields| !fields.is_empty());
        let error = CheckSpec::parse_inner(check).err().filter(|error| filled && error == refused)?;
        Some(format!("{}: {}", named("check", check, place + 1), problem(check, &error)))
    })
}

fn problem(definition: &Value, error: &SpecError) -> String {
    match error {
        SpecError::Decode(bad) => match bad.field().and_then(|field| spelled(definition, field)) {
            Some(written) => bad.clone().renamed(written).to_string(),
            None => bad.to_string(),
        },
        SpecError::Check(InvalidCheck::NoTtl) if Object::of(definition).is_ok_and(|o| o.get("TTL").is_none()) => {
            "it says nothing to check: give http, tcp, udp or args, and an interval; or a ttl".to_owned()
        }
        other => other.to_string(),
    }
}

/// A field as the definition spells it, with the blocks that it stands in.
fn spelled(value: &Value, field: &str) -> Option<String> {
    let body = value.as_object()?;
    let (whole, part) = field.split_once('.').map_or((field, None), |(whole, part)| (whole, Some(part)));
    let here = body.keys().find(|key| same(key, whole));
    here.map(|key| part.map_or_else(|| key.clone(), |part| format!("{key}.{part}")))
        .or_else(|| body.iter().find_map(|(key, value)| spelled(value, field).map(|inner| format!("{key}.{inner}"))))
}

/// What of a definition an agent will not run. Scripts must be allowed, and it is refused; kinds that this release lacks are
/// left out, and told.
///
/// # Errors
/// [`ConfigError::Definition`].
pub(crate) fn runnable(
    what: Defined,
    file: &str,
    spec: &Spec,
    scripts: bool,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    for check in spec.checks() {
        let name = match what {
            Defined::Service => format!("service {:?}: check {:?}", spec.id(), &*check.id),
            Defined::Check => format!("check {:?}", &*check.id),
        };
        if check.kind.is_script() && !scripts {
            let problem = "it runs a program, and scripts are disabled on this agent; set enable_local_script_checks \
                           (or enable_script_checks, for those registered over HTTP, too)";
            return Err(ConfigError::Definition { file: file.to_owned(), what: name, problem: problem.to_owned() });
        }
        if let Some(kind) = check.kind.not_run_yet() {
            warnings.push(format!("{file}: {name} is left out: this release does not run checks of kind {kind} yet"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn check_keys(what: Defined, definition: Value, expected: &[&str]) {
        let body = definition.as_object().expect("an object");
        let found = unknown_keys(what, "f", what.word(), body);
        let found: Vec<String> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{definition}");
    }

    #[test]
    fn unknown_keys_are_found_at_any_depth_and_the_operators_own_names_are_not_keys() {
        check_keys(Defined::Service, json!({"name": "a", "EnableTagOverride": true, "ID": "x"}), &[]);
        check_keys(
            Defined::Service,
            json!({"prot": 80, "check": [{"timout": "1s"}], "weights": {"pasing": 1}}),
            &[
                "f: invalid config key \"service.check.timout\"; did you mean \"service.check.timeout\"?",
                "f: invalid config key \"service.prot\"; did you mean \"service.port\"?",
                "f: invalid config key \"service.weights.pasing\"; did you mean \"service.weights.passing\"?",
            ],
        );
        check_keys(
            Defined::Service,
            json!({"meta": {"prot": "x"}, "tagged_addresses": {"prot": {"address": "a", "prot": 1}},
                "proxy": {"config": {"prot": 1}, "upstreams": [{"prot": 1}]},
                "connect": {"sidecar_service": {"connect": {"nativ": true}}}}),
            &[
                "f: invalid config key \"service.connect.sidecar_service.connect.nativ\"; did you mean \
                 \"service.connect.sidecar_service.connect.native\"?",
                "f: invalid config key \"service.proxy.upstreams.prot\"",
                "f: invalid config key \"service.tagged_addresses.prot.prot\"; did you mean \
                 \"service.tagged_addresses.prot.port\"?",
            ],
        );
        check_keys(Defined::Check, json!({"scriptargs": [], "header": {"X": ["y"]}, "dockercontainerid": "c"}), &[]);
        check_keys(
            Defined::Check,
            json!({"htpp": ""}),
            &["f: invalid config key \"check.htpp\"; did you mean \"check.http\"?"],
        );
    }

    #[track_caller]
    fn check_refused(what: Defined, definition: Value, expected: &str) {
        let error = Spec::read(what, "f", 2, &definition).err().expect("refused").to_string();
        assert_eq!(error, expected, "{definition}");
    }

    #[test]
    fn a_wrong_definition_is_named_and_its_key_spelled_as_it_is_written() {
        use Defined::{Check, Service};
        check_refused(Service, json!({"port": 1}), "f: service 2: Missing service name");
        check_refused(
            Service,
            json!({"name": "a", "port": 70000}),
            "f: service \"a\": port: 70000 is out of range 0 to 65535",
        );
        check_refused(
            Service,
            json!({"name": "a", "weights": {"passing": "x"}}),
            "f: service \"a\": weights.passing: expected a number, got a string",
        );
        check_refused(
            Service,
            json!({"name": "a", "meta": {"k": 1}}),
            "f: service \"a\": meta.k: expected a string, got a number",
        );
        check_refused(
            Service,
            json!({"name": "a", "checks": [{"ttl": "1s"}, {"tcp": "a:1", "interval": "1x"}]}),
            "f: service \"a\": check 2: interval: time: invalid duration \"1x\"",
        );
        check_refused(
            Service,
            json!({"name": "a", "port": "x", "check": {}, "checks": [{"name": "c"}]}),
            "f: service \"a\": port: expected a number, got a string",
        );
        check_refused(
            Check,
            json!({"name": "c"}),
            "f: check \"c\": it says nothing to check: give http, tcp, udp or args, and an interval; or a ttl",
        );
        check_refused(
            Check,
            json!({"id": "c", "name": "n", "tcp": "a:1"}),
            "f: check \"c\": Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
        );
    }
}
