//! Every socket of an agent, bound before anything else starts: a taken port is an error at once, by name.

use crate::config::{HttpAddr, Resolved};
use std::io;
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::unix::fs::FileTypeExt as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// UDP sockets that share the DNS port, a thread each.
const DNS_SOCKETS: usize = 2;
/// Asked for, so that a burst of packets waits in the kernel.
const GOSSIP_BUFFER: usize = 2 << 20;

/// A port that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("{what} cannot listen on {address}: {cause}; {remedy}")]
    Port { what: &'static str, address: SocketAddr, cause: io::Error, remedy: String },
    /// `dns` names the address and the remedy itself.
    #[error("{0}")]
    Dns(io::Error),
    #[error(
        "HTTP cannot listen on unix socket {path}: {cause}; remove the file if nobody uses it, or choose another addresses.http"
    )]
    Unix { path: PathBuf, cause: io::Error },
}

/// All of them.
pub struct Sockets {
    pub http: Vec<TcpListener>,
    pub http_unix: Vec<UnixListener>,
    pub dns: Vec<(Vec<UdpSocket>, TcpListener)>,
    pub gossip_udp: UdpSocket,
    pub gossip_tcp: TcpListener,
    /// Servers only.
    pub rpc: Option<TcpListener>,
}

impl Sockets {
    /// # Errors
    /// [`BindError`]; sockets bound before it are closed.
    pub fn bind(config: &Resolved) -> Result<Self, BindError> {
        let mut http = Vec::new();
        let mut http_unix = Vec::new();
        for address in &config.http {
            match address {
                HttpAddr::Tcp(address) => {
                    http.push(tcp("HTTP", *address, Keys { port: "ports.http", address: "client_addr" })?)
                }
                HttpAddr::Unix(path) => http_unix.push(unix(path)?),
            }
        }
        let bind_dns = |address: &SocketAddr| lictor_dns::server::bind(*address, DNS_SOCKETS).map_err(BindError::Dns);
        let dns = config.dns.iter().map(bind_dns).collect::<Result<_, _>>()?;
        let gossip_tcp = tcp("gossip (TCP)", config.serf_lan, GOSSIP)?;
        let gossip_udp = udp(config.serf_lan)?;
        let rpc = match config.server {
            true => Some(tcp("server RPC", config.server_rpc, Keys { port: "ports.server", address: "bind_addr" })?),
            false => None,
        };
        Ok(Self { http, http_unix, dns, gossip_udp, gossip_tcp, rpc })
    }
}

/// What the operator would change to have another port or address.
#[derive(Clone, Copy)]
struct Keys {
    port: &'static str,
    address: &'static str,
}

const GOSSIP: Keys = Keys { port: "ports.serf_lan", address: "bind_addr" };

fn remedy(cause: &io::Error, Keys { port, address }: Keys) -> String {
    match cause.kind() {
        io::ErrorKind::AddrInUse => {
            format!("another process (perhaps another agent) holds the port: stop it, or set {port} or {address}")
        }
        io::ErrorKind::AddrNotAvailable => format!("this machine does not have that address: correct {address}"),
        io::ErrorKind::PermissionDenied => {
            format!("ports below 1024 need a privilege: run with CAP_NET_BIND_SERVICE, or set {port}")
        }
        _ => format!("correct {port} or {address}"),
    }
}

fn tcp(what: &'static str, address: SocketAddr, keys: Keys) -> Result<TcpListener, BindError> {
    let bound = || -> io::Result<TcpListener> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::STREAM,
            Some(socket2::Protocol::TCP),
        )?;
        // A restarted agent must not wait for the connections of its former life to time out.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bound().map_err(|cause| BindError::Port { what, address, remedy: remedy(&cause, keys), cause })
}

fn udp(address: SocketAddr) -> Result<UdpSocket, BindError> {
    let bound = || -> io::Result<UdpSocket> {
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(address),
            socket2::Type::DGRAM,
            Some(socket2::Protocol::UDP),
        )?;
        // The system may give less than is wished for.
        let _ = socket.set_recv_buffer_size(GOSSIP_BUFFER);
        socket.bind(&address.into())?;
        socket.set_nonblocking(true)?;
        Ok(socket.into())
    };
    bound().map_err(|cause| BindError::Port { what: "gossip (UDP)", address, remedy: remedy(&cause, GOSSIP), cause })
}

/// A socket file that nobody listens on any more is the remains of a former agent, and is replaced.
fn unix(path: &Path) -> Result<UnixListener, BindError> {
    let refused = |cause| BindError::Unix { path: path.to_owned(), cause };
    let stale = std::fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_socket())
        && std::os::unix::net::UnixStream::connect(path).is_err();
    if stale {
        std::fs::remove_file(path).map_err(refused)?;
    }
    let listener = UnixListener::bind(path).map_err(refused)?;
    listener.set_nonblocking(true).map_err(refused)?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_cannot_be_had_names_itself_and_the_remedy() {
        let taken = tcp("HTTP", SocketAddr::from(([127, 0, 0, 1], 0)), GOSSIP).expect("any port");
        let address = taken.local_addr().expect("bound");
        let text = tcp("HTTP", address, GOSSIP).expect_err("taken").to_string();
        assert!(text.contains(&address.to_string()) && text.contains("another process"), "{text}");
        let foreign = SocketAddr::from(([192, 0, 2, 1], 8301));
        let text = udp(foreign).expect_err("a documentation address").to_string();
        assert!(text.contains("192.0.2.1:8301") && text.contains("correct bind_addr"), "{text}");
    }

    #[test]
    fn a_dead_unix_socket_is_replaced_and_a_living_one_or_a_file_is_not() {
        let path = std::env::temp_dir().join(format!("lictor-sockets-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let living = unix(&path).expect("a free path");
        let text = unix(&path).expect_err("it is in use").to_string();
        assert!(text.contains(&path.display().to_string()) && text.contains("addresses.http"), "{text}");
        drop(living);
        drop(unix(&path).expect("nobody listens any more"));
        std::fs::remove_file(&path).expect("it is there");
        std::fs::write(&path, "precious").expect("writable");
        unix(&path).expect_err("a file is not ours to remove");
        assert_eq!(std::fs::read(&path).expect("it is still there"), b"precious");
        std::fs::remove_file(&path).expect("it is there");
    }
}
