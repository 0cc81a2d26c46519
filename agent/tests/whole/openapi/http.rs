//! Requests as bytes, for those that no well-behaved client can send.

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use std::net::Ipv4Addr;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What is asked. Names and values are bytes: what is no UTF-8 is sent percent-encoded.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// With the id's place in braces.
    pub path: String,
    pub id: Vec<u8>,
    pub query: Vec<(String, Vec<u8>)>,
    pub body: Option<Vec<u8>>,
    /// What the head says of the body's length, if that is a lie.
    pub length: Option<u64>,
}

#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub media: String,
    pub index: Option<String>,
    /// Empty if it never ends.
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Request {
    fn target(&self) -> String {
        let encoded = |bytes: &[u8]| percent_encode(bytes, NON_ALPHANUMERIC).to_string();
        let path = match self.path.split_once('{') {
            Some((before, rest)) => [before, &encoded(&self.id), rest.split_once('}').unwrap().1].concat(),
            None => self.path.clone(),
        };
        let query: Vec<String> = self.query.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }

    /// Short enough to be read in the message of a failed test.
    pub fn shown(&self) -> String {
        let cut = |text: String| text.chars().take(300).collect::<String>();
        let body = self.body.as_deref().map(|body| cut(String::from_utf8_lossy(body).into_owned()));
        format!("{} {} {}", self.method, cut(self.target()), body.unwrap_or_default())
    }

    /// Asks on a connection of its own, and reads what comes back.
    pub async fn ask(&self, agent: Ipv4Addr) -> Result<Answer, String> {
        let body = self.body.as_deref().unwrap_or_default();
        let length = self.length.unwrap_or(body.len() as u64);
        let head = format!(
            "{} {} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n",
            self.method.to_ascii_uppercase(),
            self.target()
        );
        let exchange = async {
            let stream = TcpStream::connect((agent, 8500)).await.map_err(|error| error.to_string())?;
            let (mut reads, mut writes) = stream.into_split();
            let request = [head.as_bytes(), body].concat();
            // Whoever refuses the head need not read the rest.
            let send = async { drop(writes.write_all(&request).await) };
            tokio::join!(receive(&mut reads), send).0
        };
        tokio::time::timeout(Duration::from_secs(10), exchange)
            .await
            .map_err(|_late| "no answer within 10 s".to_owned())?
    }
}

async fn receive(stream: &mut tokio::net::tcp::OwnedReadHalf) -> Result<Answer, String> {
    let mut bytes = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break String::from_utf8_lossy(&bytes[..end]).into_owned();
        }
        match stream.read(&mut chunk).await {
            Ok(length @ 1..) => bytes.extend_from_slice(&chunk[..length]),
            end => return Err(format!("the connection ended before the answer: {end:?}")),
        }
    };
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|code| code.parse().ok());
    let status = status.ok_or_else(|| format!("no status line: {head:?}"))?;
    let field = |name: &str| {
        let mut fields = head.lines().skip(1).filter_map(|line| line.split_once(": "));
        fields.find(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
    };
    let mut body = bytes.split_off(head.len() + 4);
    if let Some(length) = field("content-length") {
        let length: usize = length.parse().map_err(|_bad| "a length that is none".to_owned())?;
        while body.len() < length {
            match stream.read(&mut chunk).await {
                Ok(read @ 1..) => body.extend_from_slice(&chunk[..read]),
                end => return Err(format!("the connection ended within the answer: {end:?}")),
            }
        }
    } else {
        body.clear();
    }
    let media = field("content-type").unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().to_owned();
    Ok(Answer { status, media, index: field("x-consul-index"), body })
}
