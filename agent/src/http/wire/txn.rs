//! What came of a transaction.

use super::check::WireCheck;
use super::kv::WireKv;
use super::node::WireNode;
use super::service::WireService;
use super::{Encoded, go};
use crate::http::answer;
use lictor_catalog::{Index, KvEntry, TxnResult, TxnRow};
use schemars::JsonSchema;
use serde::Serialize;

/// One of the two is `null`.
#[derive(JsonSchema, Serialize)]
#[schemars(rename = "Transaction")]
#[serde(rename_all = "PascalCase")]
pub(in crate::http) struct WireTxn<'a> {
    results: Option<Vec<WireRow<'a>>>,
    errors: Option<Vec<WireFailure>>,
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TransactionRow")]
enum WireRow<'a> {
    #[serde(rename = "KV")]
    Kv(WireKv<'a>),
    Node(WireNode<'a>),
    Service(WireService<'a>),
    Check(WireCheck<'a>),
}

#[derive(JsonSchema, Serialize)]
#[schemars(rename = "TransactionFailure")]
#[serde(rename_all = "PascalCase")]
struct WireFailure {
    op_index: usize,
    what: String,
}

impl<'a> WireRow<'a> {
    fn of(row: &'a TxnRow, datacenter: &'a str) -> Self {
        match row {
            TxnRow::Key(row) => Self::Kv(row.entry().into()),
            TxnRow::KeyOnly(row) => Self::Kv(KvEntry { value: &[], ..row.entry() }.into()),
            TxnRow::EmptyKey(key) => Self::Kv(nothing(key).into()),
            TxnRow::Node(node) => Self::Node(WireNode::of(node, datacenter).bare()),
            TxnRow::Service(service) => Self::Service(WireService::of(service).bare()),
            TxnRow::Check(check) => Self::Check(WireCheck::from(&**check).bare()),
        }
    }
}

/// How a key looks that is not there.
const fn nothing(key: &str) -> KvEntry<'_> {
    KvEntry { key, value: &[], flags: 0, session: None, lock_index: 0, create_index: Index(0), modify_index: Index(0) }
}

/// What a transaction answered: 200 with rows, or 409 with all that failed.
#[must_use]
pub fn transaction(result: &TxnResult, pretty: bool, datacenter: &str) -> Encoded {
    match result {
        Ok(rows) => {
            let results = rows.iter().map(|row| WireRow::of(row, datacenter)).collect();
            Encoded::json(go::to_vec(&WireTxn { results: Some(results), errors: None }, pretty, 512))
        }
        Err(failures) => {
            let texts = failures.iter().map(|failure| (failure.op, answer::fault_text(&failure.fault)));
            transaction_failed(texts, pretty)
        }
    }
}

/// Which operations failed, and why.
#[must_use]
pub fn transaction_failed(failures: impl IntoIterator<Item = (usize, String)>, pretty: bool) -> Encoded {
    let failures = failures.into_iter().map(|(op_index, what)| WireFailure { op_index, what }).collect();
    let body = go::to_vec(&WireTxn { results: None, errors: Some(failures) }, pretty, 512);
    Encoded { status: 409, ..Encoded::json(body) }
}
