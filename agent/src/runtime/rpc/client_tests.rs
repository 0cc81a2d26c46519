//! Lines to servers, over loopback.

use super::*;
use hyper::service::service_fn;
use tokio::net::TcpListener;
use uuid::Uuid;

const CALLERS: usize = 200;

/// A listener that lets everybody in, and tells of each connection.
async fn server() -> (SocketAddr, mpsc::UnboundedReceiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (accepted, seen) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if accepted.send(()).is_err() {
                return;
            }
            let greet = service_fn(async |_: Request<Incoming>| Ok::<_, Infallible>(Response::new(full(Bytes::new()))));
            let serving = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
            tokio::spawn(serving.serve_connection(TokioIo::new(stream), greet));
        }
    });
    (address, seen)
}

fn client() -> Client {
    let name = "caller".to_owned();
    Client::new(Hello { version: rpc::VERSION, datacenter: "dc1".to_owned(), cluster: None, node: Uuid::nil(), name })
}

fn seen(connections: &mut mpsc::UnboundedReceiver<()>) -> usize {
    std::iter::from_fn(|| connections.try_recv().ok()).count()
}

/// Asks for a connection this many times at once: all have asked before the first attempt can come to anything.
async fn at_once(client: &Client, to: SocketAddr, class: Class) -> Vec<Result<Sender, Failed>> {
    let mut callers: Vec<_> = (0..CALLERS).map(|_| Box::pin(client.connection(to, class))).collect();
    std::future::poll_fn(|context| {
        for caller in &mut callers {
            assert!(caller.as_mut().poll(context).is_pending(), "nobody has connected yet");
        }
        Poll::Ready(())
    })
    .await;
    let mut got = Vec::new();
    for caller in callers {
        got.push(caller.await);
    }
    got
}

#[tokio::test]
async fn many_callers_at_once_make_one_connection_of_each_class() {
    let (address, mut connections) = server().await;
    let client = client();
    for class in [Class::Waiting, Class::Short] {
        assert!(at_once(&client, address, class).await.iter().all(Result::is_ok));
        assert_eq!(seen(&mut connections), 1, "{class:?}");
        assert!(client.connection(address, class).await.is_ok());
        assert_eq!(seen(&mut connections), 0, "{class:?}, later");
    }
}

#[tokio::test]
async fn a_failed_attempt_is_told_to_all_who_waited_and_repeated_for_those_who_come_later() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("its address");
    let (accepted, mut connections) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        // Whoever connects is hung up on.
        while listener.accept().await.is_ok() && accepted.send(()).is_ok() {}
    });
    let client = client();
    for _ in 0..2 {
        let got = at_once(&client, address, Class::Waiting).await;
        assert!(got.iter().all(|got| matches!(got, Err(Failed::NotSent))));
        assert_eq!(seen(&mut connections), 1);
    }
}

#[tokio::test]
async fn whoever_gives_up_connecting_leaves_it_to_the_next_and_nothing_behind() {
    let (address, mut connections) = server().await;
    let (elsewhere, _) = server().await;
    let client = client();
    let mut first = Box::pin(client.connection(elsewhere, Class::Short));
    let begun = std::future::poll_fn(|context| Poll::Ready(first.as_mut().poll(context).is_pending())).await;
    assert!(begun);
    drop(first);
    assert!(at_once(&client, address, Class::Short).await.iter().all(Result::is_ok));
    assert_eq!(seen(&mut connections), 1);
    assert_eq!(client.lines.lock().expect("not poisoned").len(), 1);
}
