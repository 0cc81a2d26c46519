//! A service's health endpoint, whose status the test sets.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

pub struct Endpoint {
    pub address: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Endpoint {
    pub async fn start(ip: Ipv4Addr) -> Self {
        let listener = TcpListener::bind((ip, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let status = Arc::new(AtomicU16::new(200));
        let shown = Arc::clone(&status);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = [0; 1024];
                let _ = stream.read(&mut request).await;
                let answer = format!(
                    "HTTP/1.1 {} x\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok",
                    shown.load(Ordering::SeqCst)
                );
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        Self { address, status }
    }

    pub fn answers(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }
}
