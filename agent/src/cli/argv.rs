//! Consul's flags take one dash or two, and stop at the first positional argument, as Go's flag package has it. clap
//! wants two dashes and looks for flags everywhere, so arguments are rewritten for it first.

use clap::{Arg, Command};

/// Rewrites the arguments after the program's name for clap: `-flag v` becomes `--flag=v`, and whatever follows the first
/// positional argument of a command can no longer be a flag.
pub(crate) fn normalise(root: &Command, argv: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut out = Vec::new();
    let mut command = root;
    let mut argv = argv.into_iter();
    while let Some(word) = argv.next() {
        let Some(flag) = flag(&word) else {
            match command.find_subcommand(&word) {
                Some(inner) => {
                    command = inner;
                    out.push(word);
                    continue;
                }
                None if word != "--" && command.has_subcommands() => out.push(word),
                None if word != "--" => out.extend(["--".to_owned(), word]),
                None => out.push(word),
            }
            out.extend(argv);
            return out;
        };
        let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
        let at_root = std::ptr::eq(command, root);
        match (name, value, find(command, name)) {
            ("h" | "help", _, _) => out.push("--help".to_owned()),
            ("v" | "version", _, None) if at_root => out.push("version".to_owned()),
            (_, Some(value), _) => out.push(format!("--{name}={value}")),
            (_, None, Some(arg)) if wants_value(arg) => match argv.next() {
                Some(value) => out.push(format!("--{name}={value}")),
                None => out.push(format!("--{name}")),
            },
            (_, None, _) => out.push(format!("--{name}")),
        }
    }
    out
}

/// What follows the dashes; `-`, `--` and negative numbers are not flags.
fn flag(word: &str) -> Option<&str> {
    let name = word.strip_prefix('-')?;
    let name = name.strip_prefix('-').unwrap_or(name);
    (!name.is_empty() && word.parse::<f64>().is_err()).then_some(name)
}

fn find<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    command.get_arguments().find(|arg| arg.get_long() == Some(name))
}

fn wants_value(arg: &Arg) -> bool {
    arg.get_action().takes_values() && arg.get_num_args().is_none_or(|range| range.min_values() > 0)
}

#[cfg(test)]
mod tests {
    use super::super::root;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let argv = line.split_whitespace().map(str::to_owned);
        assert_eq!(super::normalise(&root(|_| true), argv).join(" "), expected, "{line}");
    }

    #[test]
    fn one_dash_is_as_good_as_two() {
        check("agent -dev -config-file a.json", "agent --dev --config-file=a.json");
        check("agent --dev=false -node=x", "agent --dev=false --node=x");
        check("agent -dev -h", "agent --dev --help");
        check("-help", "--help");
        check("--version", "version");
        check("-v", "version");
        check("agent -dns-port -1 -server", "agent --dns-port=-1 --server");
        check("agent -node", "agent --node");
        check("agent -nosuch x", "agent --nosuch -- x");
    }

    #[test]
    fn flags_end_at_the_first_positional_argument() {
        check("kv put -cas -modify-index 5 key -value", "kv put --cas --modify-index=5 -- key -value");
        check("kv put key -5", "kv put -- key -5");
        check("kv put key -", "kv put -- key -");
        check("kv put -- -key v", "kv put -- -key v");
        check("kv put -flags -1 k", "kv put --flags=-1 -- k");
        check("kv nosuch -x", "kv nosuch -x");
        check("operator raft list-peers -stale", "operator raft list-peers --stale");
    }
}
