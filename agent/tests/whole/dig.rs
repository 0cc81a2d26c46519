//! A small DNS client: one question, one answer, over UDP or TCP.

use hickory_proto::op::{Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr as _;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};

fn question(name: &str, kind: RecordType) -> Vec<u8> {
    let mut message = Message::new(4711, MessageType::Query, OpCode::Query);
    message.add_query(Query::query(Name::from_str(&format!("{name}.")).expect("a name"), kind));
    message.to_vec().expect("a question encodes")
}

/// Asks over UDP; `None` when nothing came back in time.
pub async fn udp(server: Ipv4Addr, name: &str, kind: RecordType) -> Option<Message> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a socket");
    let to = SocketAddr::from((server, 8600));
    socket.send_to(&question(name, kind), to).await.ok()?;
    let mut buffer = vec![0; 65_536];
    let answer = tokio::time::timeout(Duration::from_secs(2), socket.recv_from(&mut buffer)).await;
    let (length, _) = answer.ok()?.ok()?;
    Message::from_vec(&buffer[..length]).ok()
}

pub async fn tcp(server: Ipv4Addr, name: &str, kind: RecordType) -> Option<Message> {
    let mut stream = TcpStream::connect(SocketAddr::from((server, 8600))).await.ok()?;
    let question = question(name, kind);
    stream.write_u16(u16::try_from(question.len()).expect("short")).await.ok()?;
    stream.write_all(&question).await.ok()?;
    let mut answer = vec![0; usize::from(stream.read_u16().await.ok()?)];
    stream.read_exact(&mut answer).await.ok()?;
    Message::from_vec(&answer).ok()
}

/// The rcode and the answers as text, sorted.
pub async fn ask(server: Ipv4Addr, name: &str, kind: RecordType) -> Option<(ResponseCode, Vec<String>)> {
    let message = udp(server, name, kind).await?;
    let mut answers: Vec<String> = message.answers.iter().map(|record| record.data.to_string()).collect();
    answers.sort();
    Some((message.metadata.response_code, answers))
}
