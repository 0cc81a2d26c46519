//! A check as its owner defines it: read from JSON, validated in Consul's words.

use super::kind::Kind;
use crate::json::{BadField, Object};
use lictor_catalog::Status;
use lictor_catalog::model::{CheckId, ServiceId};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;

/// Checks run no more often than this.
const INTERVAL_MIN: Duration = Duration::from_secs(1);
/// Critical services are given at least this long.
const DEREGISTER_AFTER_MIN: Duration = Duration::from_secs(60);
/// Bytes of output kept when the definition does not say.
const OUTPUT_MAX: usize = 4096;

/// A check definition from the API or a configuration file, validated.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckSpec {
    pub id: CheckId,
    pub name: String,
    pub notes: String,
    /// Empty for a check of the node.
    pub service_id: ServiceId,
    /// Until the first result.
    pub status: Option<Status>,
    pub token: String,
    pub kind: Kind,
    /// Zero for kinds that are not run.
    pub interval: Duration,
    /// As given; zero when the kind's default is meant.
    pub timeout: Duration,
    pub success_before_passing: u32,
    pub failures_before_warning: u32,
    pub failures_before_critical: u32,
    pub output_max: usize,
    /// How long its service may be critical before it is deregistered.
    pub deregister_after: Option<Duration>,
    /// What was corrected while reading.
    #[serde(skip)]
    pub warnings: Vec<String>,
}

/// Why a definition was refused, in Consul's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("Missing service name")]
    MissingServiceName,
    #[error("Missing check name")]
    MissingCheckName,
    #[error("Bad check status")]
    BadCheckStatus,
    #[error("Status for checks must 'passing', 'warning', 'critical'")]
    BadServiceCheckStatus,
    #[error("Invalid check: {0}")]
    Check(InvalidCheck),
    #[error("Request decode failed: {}", decode_text(.0))]
    Decode(BadField),
    #[error("Invalid service address")]
    AnyAddress,
    #[error("Invalid Service Meta: {0}")]
    Meta(crate::local::InvalidMeta),
    #[error("Invalid Weights: {0}")]
    Weights(crate::local::InvalidWeights),
    #[error("Validation failed: {0}")]
    Service(crate::local::InvalidService),
}

/// What is wrong with a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCheck {
    #[error("Interval and TTL cannot both be specified")]
    IntervalAndTtl,
    #[error("Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks")]
    NoInterval,
    #[error("Interval cannot be set for Alias checks")]
    AliasInterval,
    // The doubled "be" is Consul's.
    #[error("TTL must be not be set for Alias checks")]
    AliasTtl,
    #[error("TTL must be > 0 for TTL checks")]
    NoTtl,
    #[error("MaxOutputMaxSize must be positive")]
    NegativeOutput,
    #[error("FailuresBeforeWarning can't be higher than FailuresBeforeCritical")]
    WarningAfterCritical,
}

impl From<BadField> for SpecError {
    fn from(bad: BadField) -> Self {
        Self::Decode(bad)
    }
}

impl From<InvalidCheck> for SpecError {
    fn from(invalid: InvalidCheck) -> Self {
        Self::Check(invalid)
    }
}

/// A bad duration reads exactly as Go's decoder says it, because clients compare the text.
fn decode_text(bad: &BadField) -> String {
    match bad {
        BadField::Duration { source, .. } => source.to_string(),
        other => other.to_string(),
    }
}

impl CheckSpec {
    /// Reads one check definition, from a request's body or a configuration file's block: every field of
    /// Consul's check definition in every spelling, validated as Consul does.
    ///
    /// # Errors
    /// [`SpecError`]; its text is what the API answers with 400.
    pub fn parse(definition: &Value) -> Result<Self, SpecError> {
        let object = Object::of(definition)?;
        if object.string("Name")?.is_empty() {
            return Err(SpecError::MissingCheckName);
        }
        let mut spec = Self::read(&object, SpecError::BadCheckStatus)?;
        if spec.id.is_empty() {
            spec.id = spec.name.as_str().into();
        }
        Ok(spec)
    }

    /// Reads a check inside a service's definition. Its id and name may be left out; the service fills them in.
    pub(crate) fn parse_inner(definition: &Value) -> Result<Self, SpecError> {
        Self::read(&Object::of(definition)?, SpecError::BadServiceCheckStatus)
    }

    fn read(object: &Object<'_>, bad_status: SpecError) -> Result<Self, SpecError> {
        let status = match object.string("Status")?.as_str() {
            "" => None,
            word => Some(Status::parse(word).ok_or(bad_status)?),
        };
        let given = |name| object.duration(name).map(Option::unwrap_or_default);
        let (mut interval, ttl) = (given("Interval")?, given("TTL")?);
        let kind = kind_of(object, interval, ttl)?;
        let output_max = output_max(object)?;
        let count = |name| -> Result<u32, BadField> {
            let number = object.number(name, u64::from(u32::MAX))?.unwrap_or_default();
            Ok(u32::try_from(number).expect("bounded just above"))
        };
        let failures_before_critical = count("FailuresBeforeCritical")?;
        let failures_before_warning = match count("FailuresBeforeWarning")? {
            0 => failures_before_critical,
            number => number,
        };
        if failures_before_warning > failures_before_critical {
            return Err(InvalidCheck::WarningAfterCritical.into());
        }
        let id = match object.string("CheckID")? {
            id if id.is_empty() => object.string("ID")?,
            id => id,
        };
        let name = object.string("Name")?;
        let mut warnings = Vec::new();
        let called = if id.is_empty() { &name } else { &id };
        if interval > Duration::ZERO && interval < INTERVAL_MIN {
            warnings.push(format!("check {called:?}: Interval is below 1s, raised to 1s"));
            interval = INTERVAL_MIN;
        }
        let mut deregister_after =
            object.duration("DeregisterCriticalServiceAfter")?.filter(|span| *span > Duration::ZERO);
        if deregister_after.is_some_and(|span| span < DEREGISTER_AFTER_MIN) {
            warnings
                .push(format!("check {called:?}: DeregisterCriticalServiceAfter is below the minimum, raised to 1m0s"));
            deregister_after = Some(DEREGISTER_AFTER_MIN);
        }
        Ok(Self {
            id: id.into(),
            name,
            notes: object.string("Notes")?,
            service_id: object.string("ServiceID")?.into(),
            status,
            token: object.string("Token")?,
            kind,
            interval,
            timeout: given("Timeout")?,
            success_before_passing: count("SuccessBeforePassing")?,
            failures_before_warning,
            failures_before_critical,
            output_max,
            deregister_after,
            warnings,
        })
    }

    /// How long one run may take.
    #[must_use]
    pub fn run_timeout(&self) -> Duration {
        if self.timeout.is_zero() { self.kind.default_timeout() } else { self.timeout }
    }
}

/// The kind, with interval and TTL agreeing with it; in the order in which Consul looks.
fn kind_of(object: &Object<'_>, interval: Duration, ttl: Duration) -> Result<Kind, SpecError> {
    let kind = Kind::parse(object)?;
    if !interval.is_zero() && !ttl.is_zero() {
        return Err(InvalidCheck::IntervalAndTtl.into());
    }
    match kind {
        Some(Kind::Alias { .. }) if !interval.is_zero() => Err(InvalidCheck::AliasInterval.into()),
        Some(Kind::Alias { .. }) if !ttl.is_zero() => Err(InvalidCheck::AliasTtl.into()),
        Some(kind @ Kind::Alias { .. }) => Ok(kind),
        Some(_) if interval.is_zero() => Err(InvalidCheck::NoInterval.into()),
        Some(kind) => Ok(kind),
        None if ttl.is_zero() => Err(InvalidCheck::NoTtl.into()),
        None => Ok(Kind::Ttl(ttl)),
    }
}

/// Bytes of output to keep. Negative has a text of its own; zero means the default.
fn output_max(object: &Object<'_>) -> Result<usize, SpecError> {
    if object.get("OutputMaxSize").and_then(Value::as_i64).is_some_and(|size| size < 0) {
        return Err(InvalidCheck::NegativeOutput.into());
    }
    // More than 1 MiB of output per check is never wanted in a catalog, whatever the agent's own cap.
    let size = object.number("OutputMaxSize", u64::MAX)?.unwrap_or_default().min(1 << 20);
    Ok(if size == 0 { OUTPUT_MAX } else { usize::try_from(size).expect("bounded just above") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: &Value) -> String {
        CheckSpec::parse(body).expect_err("refused").to_string()
    }

    #[test]
    fn every_field_is_read_in_both_spellings() {
        let camel = json!({"ID": "a", "Name": "n", "Notes": "o", "ServiceID": "s", "Status": "warning", "Token": "t",
            "Interval": "10s", "Timeout": 1_000_000_000, "HTTP": "http://x", "SuccessBeforePassing": 2,
            "FailuresBeforeCritical": 3, "OutputMaxSize": 10, "DeregisterCriticalServiceAfter": "2m"});
        let snake = json!({"id": "a", "name": "n", "notes": "o", "service_id": "s", "status": "warning", "token": "t",
            "interval": "10s", "timeout": "1s", "http": "http://x", "success_before_passing": 2,
            "failures_before_critical": 3, "output_max_size": 10, "deregister_critical_service_after": "2m"});
        let spec = CheckSpec::parse(&camel).unwrap();
        assert_eq!(spec, CheckSpec::parse(&snake).unwrap());
        assert_eq!((&*spec.id, &*spec.service_id, spec.status), ("a", "s", Some(Status::Warning)));
        assert_eq!(
            (spec.success_before_passing, spec.failures_before_warning, spec.failures_before_critical),
            (2, 3, 3)
        );
        assert_eq!((spec.output_max, spec.deregister_after), (10, Some(Duration::from_secs(120))));
        assert_eq!((spec.interval, spec.run_timeout()), (Duration::from_secs(10), Duration::from_secs(1)));
        let ttl = CheckSpec::parse(&json!({"Name": "beat", "TTL": "15s"})).unwrap();
        assert_eq!((&*ttl.id, &ttl.kind), ("beat", &Kind::Ttl(Duration::from_secs(15))));
        assert_eq!(ttl.output_max, 4096);
    }

    #[test]
    fn refusals_use_consuls_words() {
        for (body, text) in [
            (json!({"TTL": "1s"}), "Missing check name"),
            (json!({}), "Missing check name"),
            (json!({"Name": "a", "TTL": "1s", "Status": "good"}), "Bad check status"),
            (json!({"Name": "a", "TTL": "nope"}), "Request decode failed: time: invalid duration \"nope\""),
            (
                json!({"Name": "a", "HTTP": "x", "Interval": "1s", "TTL": "1s"}),
                "Invalid check: Interval and TTL cannot both be specified",
            ),
            (
                json!({"Name": "a", "HTTP": "x"}),
                "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks",
            ),
            (
                json!({"Name": "a", "AliasService": "x", "Interval": "1s"}),
                "Invalid check: Interval cannot be set for Alias checks",
            ),
            (
                json!({"Name": "a", "AliasService": "x", "TTL": "1s"}),
                "Invalid check: TTL must be not be set for Alias checks",
            ),
            (json!({"Name": "a"}), "Invalid check: TTL must be > 0 for TTL checks"),
            (
                json!({"Name": "a", "TTL": "1s", "OutputMaxSize": -1}),
                "Invalid check: MaxOutputMaxSize must be positive",
            ),
            (
                json!({"Name": "a", "TTL": "1s", "FailuresBeforeWarning": 2, "FailuresBeforeCritical": 1}),
                "Invalid check: FailuresBeforeWarning can't be higher than FailuresBeforeCritical",
            ),
            (json!([]), "Request decode failed: expected a JSON object, got a list"),
            (json!({"Name": 1, "TTL": "1s"}), "Request decode failed: Name: expected a string, got a number"),
            // Also where another kind is meant.
            (
                json!({"Name": "a", "TTL": "1s", "Method": 1}),
                "Request decode failed: Method: expected a string, got a number",
            ),
            (
                json!({"Name": "a", "TTL": "1s", "TCPUseTLS": "no"}),
                "Request decode failed: TCPUseTLS: expected a boolean, got a string",
            ),
            (
                json!({"Name": "a", "TTL": "1s", "Header": {"x": [1]}}),
                "Request decode failed: x: expected a list of strings, got a number",
            ),
        ] {
            assert_eq!(refused(&body), text, "{body}");
        }
    }

    #[test]
    fn too_short_spans_are_raised_and_said() {
        let spec = CheckSpec::parse(
            &json!({"Name": "a", "TCP": "x:1", "Interval": "10ms", "DeregisterCriticalServiceAfter": "1s"}),
        )
        .unwrap();
        assert_eq!((spec.interval, spec.deregister_after), (INTERVAL_MIN, Some(DEREGISTER_AFTER_MIN)));
        assert_eq!(spec.warnings.len(), 2);
    }

    #[test]
    fn a_definition_survives_the_disk() {
        let spec = CheckSpec::parse(&json!({"Name": "a", "Args": ["x", "y"], "Interval": "1.5s"})).unwrap();
        let text = serde_json::to_string(&spec).unwrap();
        assert_eq!(serde_json::from_str::<CheckSpec>(&text).unwrap(), spec);
    }
}
