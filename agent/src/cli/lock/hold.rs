//! A contender for a lock: a session kept alive, and the requests of [`Slots`] made until there is a slot, until it is lost, or
//! until it is given back. Starts no program and prints nothing.

use super::slots::{Conflict, Request, Row, Slots, Standing};
use crate::cli::client::{Answer, Client, ClientError, escape};
use reqwest::Method;
use serde::Deserialize;
use std::pin::Pin;
use std::time::Duration;
use tokio::time::{Sleep, sleep, timeout};

/// How long a session lives unless it is renewed, which is done at half of it.
const TTL: Duration = Duration::from_secs(15);
/// Between a failure and the next try.
const PAUSE: Duration = Duration::from_secs(1);
/// How long one look waits for a change; well within the patience for any answer.
const WAIT: &str = "30s";
/// The same after a free slot was refused: no change tells of the end of a lock's delay.
const WAIT_REFUSED: &str = "1s";

/// Why there is no slot, or no longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum LockError {
    #[error(transparent)]
    Asking(#[from] ClientError),
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error("failed to make contender entry: {0} is locked by somebody else")]
    Contender(String),
    #[error("the session {0} has ended, as it was destroyed or its agent failed")]
    SessionEnded(String),
    #[error("for {}s no agent confirmed the session, so that it may have ended", TTL.as_secs())]
    SessionUnsure,
    #[error("{0} says that somebody else may hold the lock")]
    Taken(String),
    #[error("no answer within {}s; the session ends by itself, and the lock with it", TTL.as_secs())]
    Slow,
}

/// Until when a session surely lives: its TTL after the last renewal was asked for.
pub(super) struct Life(Pin<Box<Sleep>>);

impl Life {
    fn begin() -> Self {
        Self(Box::pin(sleep(TTL)))
    }
}

pub(super) struct Holder<'a> {
    client: &'a Client,
    slots: Slots,
    /// How many failures in a row are no reason to give up.
    pub(super) retries: u32,
}

impl<'a> Holder<'a> {
    /// Makes a session. A semaphore's is one that takes its contender's key along.
    pub(super) async fn start(
        client: &'a Client,
        (prefix, limit): (&str, u32),
        name: &str,
        retries: u32,
    ) -> Result<(Self, Life), ClientError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "UPPERCASE")]
        struct Made {
            id: String,
        }
        let behavior = if limit == 1 { "release" } else { "delete" };
        let ttl = format!("{}s", TTL.as_secs());
        let session = serde_json::json!({"Name": name, "TTL": ttl, "Behavior": behavior});
        let life = Life::begin();
        let body = session.to_string().into_bytes();
        let answer = accepted(client.send(Method::PUT, "/v1/session/create", &[], body).await?)?;
        let Made { id } = client.parse(&answer.body)?;
        Ok((Self { client, slots: Slots::new(prefix, limit, id), retries }, life))
    }

    /// Renews the session for as long as it surely lives: why it does so no longer.
    pub(super) async fn keep_alive(&self, mut life: Life) -> LockError {
        loop {
            tokio::select! {
                // What stood still for long hears of both at once.
                biased;
                () = &mut life.0 => return LockError::SessionUnsure,
                renewed = self.renew() => match renewed {
                    Ok(longer) => life = longer,
                    Err(error) => return error,
                },
            }
        }
    }

    async fn renew(&self) -> Result<Life, LockError> {
        sleep(TTL / 2).await;
        let session = self.slots.session();
        loop {
            let life = Life::begin();
            let path = format!("/v1/session/renew/{session}");
            match self.client.send(Method::PUT, &path, &[], Vec::new()).await.and_then(accepted) {
                Ok(_) => return Ok(life),
                Err(error) if error.is_not_found() => return Err(LockError::SessionEnded(session.to_owned())),
                Err(error) if error.is_temporary() => sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Waits for a slot and takes it: the sequencer that proves so.
    pub(super) async fn acquire(&self) -> Result<String, LockError> {
        if let Some(enter) = self.slots.enter()
            && !self.done(&enter).await?
        {
            return Err(LockError::Contender(self.slots.own_key()));
        }
        let (mut seen, mut wait) = (0, WAIT);
        loop {
            let (standing, index) = self.look(seen, wait).await?;
            (seen, wait) = (index, WAIT);
            // A slot may have been taken by a request whose answer was lost.
            if self.slots.is_held(&standing) {
                return self.sequencer().await;
            }
            if self.slots.is_free(&standing) {
                if self.done(&self.slots.take(&standing)).await? {
                    return self.sequencer().await;
                }
                wait = WAIT_REFUSED;
            }
        }
    }

    async fn sequencer(&self) -> Result<String, LockError> {
        #[derive(Deserialize)]
        #[serde(rename_all = "PascalCase")]
        struct Held {
            sequencer: String,
            session: String,
        }
        let key = self.slots.own_key();
        let query = [("consistent", String::new())];
        let answer = self.ask(Method::GET, &format!("/v1/lock/sequencer/{}", escape(&key)), &query, &[]).await?;
        if answer.status == 200 {
            let held: Held = self.client.parse(&answer.body)?;
            if held.session == self.slots.session() {
                return Ok(held.sequencer);
            }
        }
        Err(LockError::Taken(key))
    }

    /// Watches the slot: why it must be given up.
    pub(super) async fn lost(&self) -> LockError {
        let mut seen = 0;
        loop {
            match self.look(seen, WAIT).await {
                Ok((standing, index)) if self.slots.is_held(&standing) => seen = index,
                Ok(_) => return LockError::Taken(self.slots.lock_key()),
                Err(error) => return error,
            }
        }
    }

    /// Gives the slot back, if it is held, and ends the session. Whether the lock's key went as well, as nobody uses it.
    pub(super) async fn release(self) -> Result<bool, LockError> {
        timeout(TTL, self.give_back()).await.unwrap_or(Err(LockError::Slow))
    }

    async fn give_back(&self) -> Result<bool, LockError> {
        let left = self.leave().await;
        let path = format!("/v1/session/destroy/{}", self.slots.session());
        self.ask(Method::PUT, &path, &[], &[]).await?;
        left
    }

    async fn leave(&self) -> Result<bool, LockError> {
        loop {
            let (standing, _) = self.look(0, WAIT).await?;
            if self.slots.is_held(&standing) {
                self.done(&self.slots.leave(&standing)).await?;
                continue;
            }
            return match self.slots.sweep(&standing) {
                Some(sweep) => self.done(&sweep).await,
                None => Ok(standing.is_unused()),
            };
        }
    }

    /// Who holds, and the index of that; if `seen` is not 0, once it is another one or the wait is over.
    async fn look(&self, seen: u64, wait: &str) -> Result<(Standing, u64), LockError> {
        let Request { method, key, mut query, body } = self.slots.look();
        query.push(("consistent", String::new()));
        if seen > 0 {
            query.extend([("index", seen.to_string()), ("wait", wait.to_owned())]);
        }
        let answer = self.ask(method, &format!("/v1/kv/{}", escape(&key)), &query, &body).await?;
        let rows: Vec<Row> = if answer.status == 404 { Vec::new() } else { self.client.parse(&answer.body)? };
        let index = answer.index.unwrap_or_default();
        // Servers that were set back count anew.
        Ok((self.slots.read(&rows)?, if index < seen { 0 } else { index }))
    }

    /// A write, and whether it was made.
    async fn done(&self, request: &Request) -> Result<bool, LockError> {
        let path = format!("/v1/kv/{}", escape(&request.key));
        let answer = self.ask(request.method.clone(), &path, &request.query, &request.body).await?;
        Ok(self.client.parse(&answer.body)?)
    }

    /// One request, repeated while its failure may pass: each can be made twice.
    async fn ask(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, String)],
        body: &[u8],
    ) -> Result<Answer, ClientError> {
        let mut failures = 0;
        loop {
            let answer = self.client.send(method.clone(), path, query, body.to_vec()).await.and_then(accepted);
            match answer {
                Err(error) if error.is_temporary() && failures < self.retries => failures += 1,
                other => return other,
            }
            sleep(PAUSE).await;
        }
    }
}

/// 200, or 404 where that says that there is nothing.
fn accepted(answer: Answer) -> Result<Answer, ClientError> {
    match answer.status {
        200 => Ok(answer),
        404 if answer.body.is_empty() => Ok(answer),
        _ => Err(answer.refused()),
    }
}
