//! Connections on which nobody asks anything: closed after a while, so that they cannot hold places for ever.

use std::pin::Pin;
use std::time::Duration;

/// Serves a connection to its end, or gives it up when `asked` is still false after `limit`. hyper's own limits begin
/// when it knows which version of HTTP it hears, which a silent client never tells.
pub async fn unless_silent(mut serving: Pin<&mut impl Future>, asked: impl Fn() -> bool, limit: Duration) {
    if tokio::time::timeout(limit, &mut serving).await.is_err() && asked() {
        serving.await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::future::pending;
    use std::pin::pin;

    #[tokio::test]
    async fn silence_is_given_up_and_a_conversation_is_not() {
        let short = Duration::from_millis(1);
        unless_silent(pin!(pending::<()>()), || false, short).await;
        let ended = Cell::new(false);
        let conversation = async {
            tokio::time::timeout(10 * short, pending::<()>()).await.ok();
            ended.set(true);
        };
        unless_silent(pin!(conversation), || true, short).await;
        assert!(ended.get(), "it went on past the limit");
    }
}
