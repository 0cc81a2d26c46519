//! Filling in the strings of a prepared query: the part of HashiCorp's interpolation language that queries are written in.
//!
//! `${name.full}` is the name that is asked for, `${name.prefix}` the template's own, `${name.suffix}` what follows that,
//! `${match(N)}` the Nth group of the template's regular expression (empty where there is none), `${agent.segment}` the
//! segment of the agent that was asked, which is always empty here. `$${` stands for `${`.

use super::prepared::{PreparedQuery, ServiceQuery, Template};
use regex_lite::{Regex, RegexBuilder};
use std::fmt;

/// Bytes that a compiled expression may take. It is compiled anew for each look-up.
const REGEXP_MAX: usize = 64 << 10;
/// Groups that it may have: matching takes memory for each of them at each of its places.
const GROUPS_MAX: usize = 32;

/// Why a query cannot be filled in. Consul's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadTemplate {
    /// The regular expression is none, or too large.
    Regexp(String),
    /// A string of `Service` is not of the language.
    Format {
        /// The string.
        text: String,
        /// Which one, such as `.Tags[0]`.
        path: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A string of `Service` speaks of something that there is not.
    Evaluation {
        /// The string.
        text: String,
        /// Which one, such as `.Tags[0]`.
        path: String,
        /// What there is not.
        cause: String,
    },
}

impl fmt::Display for BadTemplate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Regexp(cause) => write!(f, "Bad Regexp: {cause}"),
            Self::Format { text, path, cause } => write!(f, "Bad format '{text}' in Service{path}: {cause}"),
            Self::Evaluation { text, path, cause } => {
                write!(f, "Bad evaluation for '{text}' in Service{path}: {cause}")
            }
        }
    }
}

impl std::error::Error for BadTemplate {}

impl PreparedQuery {
    /// The query that `name` asks for: itself, unless it is a template. Whether that fails does not depend on the name.
    ///
    /// # Errors
    /// [`BadTemplate`].
    pub fn rendered(&self, name: &str) -> Result<Self, BadTemplate> {
        let mut query = self.clone();
        if !self.is_template() {
            return Ok(query);
        }
        let template = &self.template;
        let words = Words::new(template, &self.name, name)?;
        for (path, text) in strings(&mut query.service) {
            let filled = words.fill(text).map_err(|bad| bad.at(text, path))?;
            *text = filled;
        }
        if template.remove_empty_tags {
            query.service.tags.retain(|tag| !tag.is_empty());
        }
        Ok(query)
    }
}

/// The strings that are filled in, each with where it stands.
fn strings(service: &mut ServiceQuery) -> Vec<(String, &mut String)> {
    let ServiceQuery {
        service,
        failover,
        only_passing: _,
        ignore_checks,
        near,
        tags,
        node_meta,
        service_meta,
        connect: _,
    } = service;
    let mut found = vec![(".Service".to_owned(), service), (".Near".to_owned(), near)];
    let lists =
        [(".Failover.Datacenters", &mut failover.datacenters), (".IgnoreCheckIDs", ignore_checks), (".Tags", tags)];
    for (path, list) in lists {
        found.extend(list.iter_mut().enumerate().map(|(at, text)| (format!("{path}[{at}]"), text)));
    }
    for (at, target) in failover.targets.iter_mut().enumerate() {
        let path = format!(".Failover.Targets[{at}]");
        found.extend([
            (format!("{path}.Peer"), &mut target.peer),
            (format!("{path}.Datacenter"), &mut target.datacenter),
        ]);
    }
    for (path, map) in [(".NodeMeta", node_meta), (".ServiceMeta", service_meta)] {
        found.extend(map.iter_mut().map(|(key, text)| (format!("{path}[{key}]"), text)));
    }
    found
}

/// What is wrong with a string.
enum Bad {
    Format(String),
    Evaluation(String),
}

impl Bad {
    fn at(self, text: &str, path: String) -> BadTemplate {
        let text = text.to_owned();
        match self {
            Self::Format(cause) => BadTemplate::Format { text, path, cause },
            Self::Evaluation(cause) => BadTemplate::Evaluation { text, path, cause },
        }
    }
}

/// What can be filled in.
struct Words<'a> {
    name: &'a str,
    prefix: &'a str,
    groups: Vec<&'a str>,
}

impl<'a> Words<'a> {
    fn new(template: &Template, prefix: &'a str, name: &'a str) -> Result<Self, BadTemplate> {
        let mut groups = Vec::new();
        if !template.regexp.is_empty() {
            let compiled: Result<Regex, _> = RegexBuilder::new(&template.regexp).size_limit(REGEXP_MAX).build();
            let regexp = compiled.map_err(|bad| BadTemplate::Regexp(bad.to_string()))?;
            if regexp.captures_len() > GROUPS_MAX + 1 {
                return Err(BadTemplate::Regexp(format!("it has more than {GROUPS_MAX} groups")));
            }
            let found = regexp.captures(name);
            groups.extend(
                found.iter().flat_map(|found| found.iter()).map(|group| group.map_or("", |group| group.as_str())),
            );
        }
        Ok(Self { name, prefix, groups })
    }

    fn fill(&self, text: &str) -> Result<String, Bad> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find("${") {
            let (before, after) = (&rest[..at], &rest[at + 2..]);
            if let Some(before) = before.strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = after;
                continue;
            }
            filled.push_str(before);
            let end = after.find('}').ok_or_else(|| Bad::Format("expected a closing } after ${".to_owned()))?;
            filled.push_str(self.word(after[..end].trim())?);
            rest = &after[end + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn word(&self, expression: &str) -> Result<&str, Bad> {
        match expression {
            "name.full" => Ok(self.name),
            "name.prefix" => Ok(self.prefix),
            "name.suffix" => Ok(match self.name.get(..self.prefix.len()) {
                Some(start) if start.eq_ignore_ascii_case(self.prefix) => &self.name[self.prefix.len()..],
                _ => self.name,
            }),
            "agent.segment" => Ok(""),
            "" => Err(Bad::Format("expected an expression between ${ and }".to_owned())),
            other => match other.strip_suffix(')').and_then(|call| call.split_once('(')) {
                Some((function, argument)) if function.trim() == "match" => {
                    let number = argument.trim().parse::<i64>();
                    let number =
                        number.map_err(|_bad| Bad::Format(format!("match takes a number, got {argument:?}")))?;
                    let group = usize::try_from(number).ok().and_then(|number| self.groups.get(number));
                    Ok(group.copied().unwrap_or_default())
                }
                Some((function, _)) => Err(Bad::Evaluation(format!("unknown function called: {}", function.trim()))),
                None => Err(Bad::Evaluation(format!("unknown variable accessed: {other}"))),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let template =
            Template { prefix_match: true, regexp: "^geo-(.*?)-([^-]+)(x)?$".to_owned(), remove_empty_tags: true };
        let service = ServiceQuery { service: text.to_owned(), ..ServiceQuery::default() };
        let query = PreparedQuery { name: "Geo-".to_owned(), template, service, ..PreparedQuery::default() };
        let found = match query.rendered("geo-db-v1") {
            Ok(query) => query.service.service,
            Err(bad) => bad.to_string(),
        };
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn strings_are_filled_in_from_the_name() {
        check("plain $ {} $5", "plain $ {} $5");
        check("${name.full}|${name.prefix}|${ name.suffix }", "geo-db-v1|Geo-|db-v1");
        check("${match(0)}|${match(1)}|${match( 2 )}|${match(3)}|${match(9)}|${match(-1)}", "geo-db-v1|db|v1|||");
        check("a${agent.segment}b", "ab");
        check("$${name.full} $$${name.full} ${match(1)}", "${name.full} $${name.full} db");
        check("${name.full", "Bad format '${name.full' in Service.Service: expected a closing } after ${");
        check("${}", "Bad format '${}' in Service.Service: expected an expression between ${ and }");
        check("${match(x)}", "Bad format '${match(x)}' in Service.Service: match takes a number, got \"x\"");
        check("${lower(x)}", "Bad evaluation for '${lower(x)}' in Service.Service: unknown function called: lower");
        check("${nope}", "Bad evaluation for '${nope}' in Service.Service: unknown variable accessed: nope");
    }

    #[test]
    fn every_string_of_the_service_is_filled_in() {
        let word = || "${name.suffix}".to_owned();
        let mut query = PreparedQuery {
            name: "p-".to_owned(),
            template: Template { prefix_match: true, regexp: String::new(), remove_empty_tags: true },
            ..PreparedQuery::default()
        };
        query.service = ServiceQuery {
            service: word(),
            near: word(),
            tags: vec!["${match(1)}".to_owned(), word()],
            ignore_checks: vec![word()],
            node_meta: [("${name.suffix}".to_owned(), word())].into(),
            service_meta: [("k".to_owned(), word())].into(),
            ..ServiceQuery::default()
        };
        query.service.failover.datacenters = vec![word()];
        let service = query.rendered("p-x").expect("sound").service;
        assert_eq!((&*service.service, &*service.near, &*service.tags), ("x", "x", &["x".to_owned()][..]));
        assert_eq!((&*service.ignore_checks[0], &*service.failover.datacenters[0]), ("x", "x"));
        assert_eq!(service.node_meta["${name.suffix}"], "x", "keys stay as they are");
        assert_eq!(service.service_meta["k"], "x");
        query.template = Template { prefix_match: true, regexp: "(".to_owned(), remove_empty_tags: false };
        assert!(query.rendered("p-x").expect_err("no expression").to_string().starts_with("Bad Regexp: "));
        query.template =
            Template { prefix_match: true, regexp: "((a{999}){999}){999}".to_owned(), remove_empty_tags: false };
        assert!(query.rendered("p-x").expect_err("too large").to_string().starts_with("Bad Regexp: "));
        query.template = Template::default();
        assert_eq!(query.rendered("p-x").expect("no template").service.service, "${name.suffix}");
    }
}
