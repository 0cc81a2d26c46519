//! `watch`: shows a piece of the catalog once, or runs a program with it whenever it changes. It prints by itself, as it has no
//! end of its own.

use super::child::{Ended, Program, Signals};
use super::client::{Answer, Client, ClientError, escape};
use super::{Failure, Output, World, client};
use crate::config::flags::switch;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

/// A poll that failed is repeated after 5 s times the square of the failures in a row, at most 3 minutes.
const PAUSE: Duration = Duration::from_secs(5);
const PAUSE_MAX: Duration = Duration::from_secs(180);
/// How long one poll waits for a change; well within the patience for any answer.
const WAIT: &str = "30s";

pub(crate) fn arguments(command: Command) -> Command {
    let text = |name: &'static str, value: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_name(value).help(help)
    };
    client::server_options(
        command.args([
            text("type", "TYPE", "key, keyprefix, services, nodes, service, checks, event, connect_roots or connect_leaf"),
            text("key", "KEY", "With -type=key: which"),
            text("prefix", "PREFIX", "With -type=keyprefix: which keys"),
            text("service", "NAME", "With -type=service, connect_leaf or checks: which service"),
            text("tag", "TAG", "With -type=service: only instances with this tag (repeatable)").action(ArgAction::Append),
            switch("passingonly", "With -type=service: only instances all of whose checks pass"),
            text("state", "STATE", "With -type=checks: in which state; any if not given"),
            text("name", "NAME", "With -type=event: only events of this name"),
            text("filter", "EXPRESSION", "With -type=services, nodes, service or checks: only rows that fit"),
            switch("shell", "Give the program to a shell as one line; on if not given"),
            Arg::new("child")
                .value_name("PROGRAM")
                .help("What to run, with the JSON as its input and CONSUL_INDEX in its environment; without one, the JSON is shown")
                .num_args(0..)
                .trailing_var_arg(true)
                .allow_hyphen_values(true),
        ]),
    )
}

/// How an answer becomes what the program gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// As it is.
    Whole,
    /// One key: the only row, or null.
    Key,
    /// Keys: no rows when there are none.
    Keys,
    /// Those after the last one that was seen.
    Events,
}

/// What is watched.
#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    path: String,
    query: Vec<(&'static str, String)>,
    form: Form,
}

impl Wanted {
    fn read(matches: &ArgMatches) -> Result<Self, Failure> {
        let text = |name: &str| matches.get_one::<String>(name).filter(|text| !text.is_empty()).cloned();
        let usage = |text: &str| Failure::Usage(text.to_owned());
        let kind = text("type").ok_or_else(|| usage("Watch type must be specified"))?;
        let mut query = Vec::new();
        let (flags, path, form): (&[&str], String, Form) = match kind.as_str() {
            "key" => {
                let key = text("key").ok_or_else(|| usage("Must specify a single key to watch"))?;
                (&["key"], format!("/v1/kv/{}", escape(&key)), Form::Key)
            }
            "keyprefix" => {
                let prefix = text("prefix").ok_or_else(|| usage("Must specify a single prefix to watch"))?;
                query.push(("recurse", String::new()));
                (&["prefix"], format!("/v1/kv/{}", escape(&prefix)), Form::Keys)
            }
            "services" => (&["filter"], "/v1/catalog/services".to_owned(), Form::Whole),
            "nodes" => (&["filter"], "/v1/catalog/nodes".to_owned(), Form::Whole),
            "service" => {
                let service = text("service").ok_or_else(|| usage("Must specify a single service to watch"))?;
                query.extend(matches.get_many("tag").into_iter().flatten().cloned().map(|tag| ("tag", tag)));
                if matches.get_one::<bool>("passingonly") == Some(&true) {
                    query.push(("passing", "1".to_owned()));
                }
                let flags = &["service", "tag", "passingonly", "filter"];
                (flags, format!("/v1/health/service/{}", escape(&service)), Form::Whole)
            }
            "checks" => match (text("service"), text("state")) {
                (Some(_), Some(_)) => return Err(usage("Cannot specify service and state")),
                (Some(service), None) => {
                    (&["service", "filter"], format!("/v1/health/checks/{}", escape(&service)), Form::Whole)
                }
                (None, state) => {
                    let state = state.unwrap_or_else(|| "any".to_owned());
                    (&["state", "filter"], format!("/v1/health/state/{}", escape(&state)), Form::Whole)
                }
            },
            "event" => {
                query.extend(text("name").map(|name| ("name", name)));
                (&["name"], "/v1/event/list".to_owned(), Form::Events)
            }
            "connect_roots" => (&[], "/v1/agent/connect/ca/roots".to_owned(), Form::Whole),
            "connect_leaf" => {
                let service = text("service").ok_or_else(|| usage("Must specify a single service to watch"))?;
                (&["service"], format!("/v1/agent/connect/ca/leaf/{}", escape(&service)), Form::Whole)
            }
            other => return Err(Failure::Usage(format!("Unsupported watch type: {other}"))),
        };
        for flag in ["key", "prefix", "service", "tag", "passingonly", "state", "name", "filter"] {
            if matches.contains_id(flag) && !flags.contains(&flag) {
                return Err(Failure::Usage(format!("-{flag} means nothing with -type={kind}")));
            }
        }
        query.extend(text("filter").map(|filter| ("filter", filter)));
        Ok(Self { path, query, form })
    }
}

/// What was seen so far.
#[derive(Debug, Default)]
struct Seen {
    index: u64,
    /// What was last handed on.
    payload: Option<String>,
    event: Option<String>,
}

impl Seen {
    /// Takes an answer in: what is to be handed on, if it differs from what was.
    fn news(&mut self, form: Form, answer: &Answer) -> Result<Option<String>, serde_json::Error> {
        let index = answer.index.unwrap_or_default();
        // A server that was set back counts anew.
        self.index = if index < self.index { 0 } else { index };
        let payload = match form {
            Form::Key if answer.status == 404 => "null".to_owned(),
            Form::Keys if answer.status == 404 => "[]".to_owned(),
            Form::Whole | Form::Keys => serde_json::from_slice::<&RawValue>(&answer.body)?.get().to_owned(),
            Form::Key => {
                let rows: Vec<&RawValue> = serde_json::from_slice(&answer.body)?;
                rows.first().map_or_else(|| "null".to_owned(), |row| outdented(row.get()))
            }
            Form::Events => match self.events(&answer.body)? {
                Some(payload) => payload,
                None => return Ok(None),
            },
        };
        if self.payload.as_ref() == Some(&payload) {
            return Ok(None);
        }
        self.payload = Some(payload.clone());
        Ok(Some(payload))
    }

    /// The events after the last one that was seen; `None` when there are no others.
    fn events(&mut self, body: &[u8]) -> Result<Option<String>, serde_json::Error> {
        #[derive(Deserialize)]
        struct Event {
            #[serde(rename = "ID")]
            id: String,
        }
        let rows: Vec<&RawValue> = serde_json::from_slice(body)?;
        let ids = rows.iter().map(|row| serde_json::from_str::<Event>(row.get()).map(|event| event.id));
        let ids: Vec<String> = ids.collect::<Result<_, _>>()?;
        let old = ids.iter().position(|id| Some(id) == self.event.as_ref()).map_or(0, |last| last + 1);
        let first = self.payload.is_none();
        if old == rows.len() && !first {
            return Ok(None);
        }
        self.event = ids.last().cloned().or_else(|| self.event.take());
        let rows: Vec<&str> = rows.iter().skip(old).map(|row| row.get()).collect();
        Ok(Some(format!("[{}]", rows.join(","))))
    }
}

/// A row of an indented list, as it stands alone.
fn outdented(row: &str) -> String {
    row.replace("\n    ", "\n")
}

pub(crate) fn run(matches: &ArgMatches, world: &World) -> Result<Output, Failure> {
    let wanted = Wanted::read(matches)?;
    let words: Vec<String> = matches.get_many("child").into_iter().flatten().cloned().collect();
    let shell = matches.get_one::<bool>("shell") != Some(&false);
    let client = world.client(matches)?;
    client
        .get::<serde::de::IgnoredAny>("/v1/agent/self", &[])
        .map_err(Failure::doing("Error querying Consul agent"))?;
    let mut seen = Seen::default();
    if words.is_empty() {
        let payload = client.block_on(next(&client, &wanted, &mut seen, true))?;
        return Ok(Output::line(payload));
    }
    client.block_on(follow(&client, &wanted, &Program { words, shell }, seen))
}

/// Runs the program with each news, until it fails or a signal ends us.
async fn follow(client: &Client, wanted: &Wanted, program: &Program, mut seen: Seen) -> Result<Output, Failure> {
    let failed = |problem: &dyn Display| Failure::Refused(format!("Error executing handler: {problem}"));
    let mut signals = Signals::new().map_err(|error| failed(&error))?;
    loop {
        let payload = tokio::select! {
            biased;
            _ = signals.next() => return Ok(Output::default()),
            payload = next(client, wanted, &mut seen, false) => payload? + "\n",
        };
        let index = seen.index.to_string();
        let ran = program.run(("CONSUL_INDEX", &index), payload.as_bytes(), &mut signals).await;
        match ran.map_err(|error| failed(&error))? {
            // Whoever ends the program ends us too.
            Ended { asked: true, .. } => return Ok(Output::default()),
            Ended { status, .. } if status.success() => {}
            Ended { status, .. } => return Err(failed(&status)),
        }
    }
}

/// Waits until what is watched is another one than what was seen. An agent that is away is waited for.
async fn next(client: &Client, wanted: &Wanted, seen: &mut Seen, pretty: bool) -> Result<String, Failure> {
    let doing = || Failure::doing("Watch errored");
    let mut failures = 0_u32;
    loop {
        match poll(client, wanted, seen.index, pretty).await {
            Ok(answer) => {
                failures = 0;
                let news = seen.news(wanted.form, &answer).map_err(|error| client.strange(&error)).map_err(doing())?;
                if let Some(payload) = news {
                    return Ok(payload);
                }
            }
            Err(error) if error.is_temporary() => {
                failures += 1;
                let pause = (PAUSE * failures.saturating_mul(failures)).min(PAUSE_MAX);
                let told = format!("Watch errored: {error}, retry in {}s\n", pause.as_secs());
                let _ = std::io::stderr().lock().write_all(told.as_bytes());
                tokio::time::sleep(pause).await;
            }
            Err(error) => return Err(doing()(error)),
        }
    }
}

async fn poll(client: &Client, wanted: &Wanted, index: u64, pretty: bool) -> Result<Answer, ClientError> {
    let mut query = wanted.query.clone();
    if index > 0 {
        query.extend([("index", index.to_string()), ("wait", WAIT.to_owned())]);
    }
    if pretty {
        query.push(("pretty", String::new()));
    }
    let answer = client.send(reqwest::Method::GET, &wanted.path, &query, Vec::new()).await?;
    let missing = answer.status == 404 && answer.body.is_empty() && matches!(wanted.form, Form::Key | Form::Keys);
    if answer.status == 200 || missing { Ok(answer) } else { Err(answer.refused()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::argv;

    fn wanted(line: &str) -> Result<Wanted, String> {
        let root = Command::new("lictor").subcommand(arguments(Command::new("watch")));
        let argv = argv::normalise(&root, format!("watch {line}").split(' ').map(str::to_owned));
        let matches = root.try_get_matches_from(std::iter::once("lictor".to_owned()).chain(argv)).expect("flags");
        Wanted::read(matches.subcommand_matches("watch").expect("watch")).map_err(|failure| failure.to_string())
    }

    #[track_caller]
    fn check(line: &str, path: &str, query: &[(&'static str, &str)]) {
        let wanted = wanted(line).expect(line);
        let query: Vec<_> = query.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        assert_eq!((wanted.path.as_str(), wanted.query), (path, query), "{line}");
    }

    #[test]
    fn each_type_is_an_endpoint() {
        check("-type=key -key=a/b", "/v1/kv/a/b", &[]);
        check("-type keyprefix -prefix a/", "/v1/kv/a/", &[("recurse", "")]);
        check("-type=services -filter=x", "/v1/catalog/services", &[("filter", "x")]);
        check("-type=nodes", "/v1/catalog/nodes", &[]);
        let query = [("tag", "a"), ("tag", "b"), ("passing", "1")];
        check("-type=service -service=web -tag=a -tag=b -passingonly cat -n", "/v1/health/service/web", &query);
        check("-type=checks", "/v1/health/state/any", &[]);
        check("-type=checks -state=critical", "/v1/health/state/critical", &[]);
        check("-type=checks -service=web", "/v1/health/checks/web", &[]);
        check("-type=event -name=deploy", "/v1/event/list", &[("name", "deploy")]);
        check("-type=connect_roots", "/v1/agent/connect/ca/roots", &[]);
        check("-type=connect_leaf -service=web", "/v1/agent/connect/ca/leaf/web", &[]);
        for (line, complaint) in [
            ("-shell", "Watch type must be specified"),
            ("-type=", "Watch type must be specified"),
            ("-type=keys", "Unsupported watch type: keys"),
            ("-type=key", "Must specify a single key to watch"),
            ("-type=keyprefix", "Must specify a single prefix to watch"),
            ("-type=service", "Must specify a single service to watch"),
            ("-type=checks -service=a -state=any", "Cannot specify service and state"),
            ("-type=key -key=a -tag=x", "-tag means nothing with -type=key"),
        ] {
            assert_eq!(wanted(line), Err(complaint.to_owned()), "{line}");
        }
    }

    fn answer(status: u16, index: u64, body: &str) -> Answer {
        Answer { status, body: body.as_bytes().to_vec(), index: Some(index) }
    }

    #[track_caller]
    fn news(seen: &mut Seen, form: Form, answer: &Answer, expected: Option<&str>) {
        assert_eq!(seen.news(form, answer).expect("JSON").as_deref(), expected, "{answer:?}");
    }

    #[test]
    fn what_is_the_same_is_no_news() {
        let seen = &mut Seen::default();
        news(seen, Form::Key, &answer(404, 3, ""), Some("null"));
        news(seen, Form::Key, &answer(404, 4, ""), None);
        news(seen, Form::Key, &answer(200, 5, "[{\"Key\":\"a\"}]"), Some("{\"Key\":\"a\"}"));
        news(seen, Form::Key, &answer(200, 9, "[{\"Key\":\"a\"}]"), None);
        assert_eq!(seen.index, 9);
        news(seen, Form::Key, &answer(200, 2, "[{\"Key\":\"b\"}]"), Some("{\"Key\":\"b\"}"));
        assert_eq!(seen.index, 0, "the server was set back");
        let seen = &mut Seen::default();
        news(
            seen,
            Form::Key,
            &answer(200, 1, "[\n    {\n        \"Key\": \"a\"\n    }\n]\n"),
            Some("{\n    \"Key\": \"a\"\n}"),
        );
        let seen = &mut Seen::default();
        news(seen, Form::Keys, &answer(404, 3, ""), Some("[]"));
        assert!(seen.news(Form::Whole, &answer(200, 4, "{")).is_err());
    }

    #[test]
    fn events_are_handed_on_once() {
        let seen = &mut Seen::default();
        news(seen, Form::Events, &answer(200, 1, "[]"), Some("[]"));
        news(seen, Form::Events, &answer(200, 2, "[]"), None);
        news(seen, Form::Events, &answer(200, 3, r#"[{"ID":"a"},{"ID":"b"}]"#), Some(r#"[{"ID":"a"},{"ID":"b"}]"#));
        news(seen, Form::Events, &answer(200, 3, r#"[{"ID":"a"},{"ID":"b"}]"#), None);
        news(seen, Form::Events, &answer(200, 4, r#"[{"ID":"b"},{"ID":"c"}]"#), Some(r#"[{"ID":"c"}]"#));
    }
}
