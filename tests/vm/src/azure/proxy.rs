//! The way out of a site: an HTTP proxy that tunnels to the emulated services by their names, and to nothing else.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Emulator;

/// A running proxy. Dropping it stops it.
#[derive(Debug)]
pub struct Proxy {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
    task: JoinHandle<()>,
}

impl Proxy {
    /// `http://127.0.0.1:PORT`
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The targets of all tunnels that were asked for, `host:port`, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Emulator {
    /// Starts a proxy that knows where this cloud's names are.
    ///
    /// # Errors
    /// When no port can be had.
    pub fn proxy(&self) -> Result<Proxy> {
        let runtime = self.runtime.as_ref().context("the emulator has been stopped")?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0))).context("open the proxy's port")?;
        let url = format!("http://{}", listener.local_addr().context("ask for the proxy's port")?);
        let asked = Arc::default();
        let (places, log) = (Arc::new(self.places.clone()), Arc::clone(&asked));
        let task = runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(tunnel(client, Arc::clone(&places), Arc::clone(&log)));
            }
        });
        Ok(Proxy { url, asked, task })
    }
}

/// One `CONNECT` (RFC 9110, section 9.3.6). What is wrong with it, or with the connection, is the client's to see.
async fn tunnel(
    mut client: TcpStream,
    places: Arc<HashMap<String, SocketAddr>>,
    asked: Arc<Mutex<Vec<String>>>,
) -> std::io::Result<()> {
    const LONGEST: usize = 8192;
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < LONGEST {
        head.push(client.read_u8().await?);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let mut words = head.split(' ');
    let (Some("CONNECT"), Some(target)) = (words.next(), words.next()) else {
        return client.write_all(b"HTTP/1.1 405 Method Not Allowed\r\nallow: CONNECT\r\n\r\n").await;
    };
    asked.lock().unwrap_or_else(PoisonError::into_inner).push(target.to_owned());
    let Some(place) = places.get(target) else {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n").await;
    };
    let mut service = TcpStream::connect(place).await?;
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
    copy_bidirectional(&mut client, &mut service).await.map(drop)
}
