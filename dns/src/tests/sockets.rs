//! The server on the loopback: both transports, both paths, and its end.

use super::fixture::{Whole, catalog, question, written};
use crate::Settings;
use crate::server::{TCP_MAX, bind, serve};
use crate::source::{Source, Unavailable};
use hickory_proto::op::Message;
use lictor_catalog::Store;
use lictor_catalog::store::Scope;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

const TEXT: &str = "node n1 10.0.0.1\nservice n1 web web 80\nservice n1 consul consul 8300";

/// Must fetch every part.
struct Remote(Store);

impl Source for Remote {
    type Held = Box<Store>;
    fn load(&self, _: &Scope) -> Result<Option<Box<Store>>, Unavailable> {
        Ok(None)
    }
    async fn fetch(&self, scope: Scope) -> Result<Box<Store>, Unavailable> {
        if scope == Scope::Service("gone".to_owned()) { Err(Unavailable) } else { Ok(Box::new(self.0.part(&scope))) }
    }
    fn now_unix(&self) -> u32 {
        1000
    }
}

fn over_udp(server: SocketAddr, question: &[u8]) -> Vec<u8> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("binds");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("sets");
    socket.send_to(question, server).expect("sends");
    let mut buffer = [0; 4096];
    let (length, from) = socket.recv_from(&mut buffer).expect("answers");
    assert_eq!(from, server);
    buffer[..length].to_vec()
}

fn over_tcp(stream: &mut TcpStream, question: &[u8]) -> Vec<u8> {
    let mut framed = (question.len() as u16).to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).expect("sends");
    let mut length = [0; 2];
    stream.read_exact(&mut length).expect("answers");
    let mut reply = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut reply).expect("answers");
    reply
}

/// Has this source served while `client` runs; stops the server; gives what the client gave.
fn served<T>(source: impl Source, client: impl FnOnce(SocketAddr) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("starts");
    let (udp, tcp) = bind((Ipv4Addr::LOCALHOST, 0).into(), 2).expect("binds");
    let address = tcp.local_addr().expect("bound");
    assert!(udp.iter().all(|socket| socket.local_addr().is_ok_and(|own| own == address)));
    let settings = Arc::new(Settings::default());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { stopped.await.unwrap_or_default() };
    let server = runtime.spawn(serve(move || Arc::clone(&settings), Arc::new(source), udp, tcp, stopped));
    let given = client(address);
    stop.send(()).expect("still serving");
    runtime.block_on(server).expect("does not panic").expect("ends in order");
    assert!(UdpSocket::bind(address).is_ok(), "the port is free again");
    given
}

fn connect(server: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(server).expect("connects");
    stream.set_read_timeout(Some(Duration::from_secs(10))).expect("sets");
    stream
}

/// Asks the same over both transports, on one TCP connection; gives what was answered.
fn check(source: impl Source, questions: &[&str]) -> Vec<String> {
    served(source, |address| {
        let mut stream = connect(address);
        let replies = questions.iter().map(|text| {
            let bytes = question(text).to_vec().expect("encodes");
            let (udp, tcp) = (over_udp(address, &bytes), over_tcp(&mut stream, &bytes));
            let (udp, tcp) = (Message::from_vec(&udp).expect("decodes"), Message::from_vec(&tcp).expect("decodes"));
            assert_eq!(udp, tcp, "{text}");
            written(&udp)
        });
        replies.collect()
    })
}

#[test]
fn one_tcp_client_too_many_is_hung_up_on_until_another_one_goes() {
    served(Whole(catalog(TEXT)), |address| {
        let bytes = question("n1.node.consul. A").to_vec().expect("encodes");
        let mut clients: Vec<TcpStream> = (0..TCP_MAX).map(|_| connect(address)).collect();
        for client in &mut clients {
            over_tcp(client, &bytes);
        }
        let is_let_in = || {
            let mut client = connect(address);
            // Neither of these needs to go well when the other side has hung up.
            let framed = [&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat();
            client.write_all(&framed).and_then(|()| client.read_exact(&mut [0; 2])).is_ok()
        };
        assert!(!is_let_in());
        for client in &mut clients {
            over_tcp(client, &bytes);
        }
        let mut leaving = clients.pop().expect("there are some");
        leaving.shutdown(Shutdown::Write).expect("hangs up");
        assert_eq!(leaving.read(&mut [0]).expect("is hung up on"), 0);
        // The server has let go of the connection, and is about to count it no more.
        assert!((0..1000).any(|_| is_let_in()), "the place was never given to another one");
    });
}

const QUESTIONS: [&str; 7] = [
    "web.service.consul. SRV",
    "web.service.consul. A 1232",
    "n1.node.consul. A",
    "consul. SOA",
    "1.0.0.10.in-addr.arpa. PTR",
    "nope.service.consul. A",
    "example.com. A",
];

#[test]
fn both_transports_agree_whether_the_catalog_is_near_or_far() {
    let near = check(Whole(catalog(TEXT)), &QUESTIONS);
    let far = check(Remote(catalog(TEXT)), &QUESTIONS);
    assert_eq!(near, far);
    assert!(near[0].starts_with("NOERROR aa\nweb.service.consul. 0 SRV 1 1 80 n1.node.dc1.consul."), "{}", near[0]);
    assert_eq!(check(Remote(catalog(TEXT)), &["gone.service.consul. A"]), ["SERVFAIL aa"]);
}

#[test]
fn a_taken_port_is_named_with_what_to_do() {
    let (_udp, tcp) = bind((Ipv4Addr::LOCALHOST, 0).into(), 2).expect("binds");
    let address = tcp.local_addr().expect("bound");
    let error = bind(address, 2).expect_err("taken");
    assert_eq!(error.kind(), std::io::ErrorKind::AddrInUse);
    let text = error.to_string();
    assert!(text.contains(&address.to_string()) && text.contains("ports.dns"), "{text}");
}
