//! The connections of a server: bounded, and shared out among the addresses that may connect, so
//! that none of them, and no idle connection, shuts others out.

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;

/// How many connections are served at one time. Proxies use a few.
const MAX_CONNECTIONS: usize = 64;

/// The connections that are open.
#[derive(Debug)]
pub(super) struct OpenConnections {
    /// How many each address can have.
    share: usize,
    entries: Arc<Mutex<ConnectionTable>>,
}

#[derive(Debug, Default)]
struct ConnectionTable {
    open: Vec<ConnectionEntry>,
    /// The number of the last connection. None is used twice: a thread that is still ending must
    /// not remove the entry of another.
    last: u64,
}

#[derive(Debug)]
struct ConnectionEntry {
    number: u64,
    address: IpAddr,
    /// When the last whole message came, or the connection was opened.
    heard: Instant,
    /// To end the connection from outside of its thread.
    stream: TcpStream,
}

/// A connection that is open. Dropping it makes room for another.
#[derive(Debug)]
pub(super) struct OpenConnection {
    number: u64,
    entries: Arc<Mutex<ConnectionTable>>,
}

impl OpenConnections {
    /// For connections from a number of addresses.
    pub(super) fn shared_by(addresses: usize) -> Self {
        Self {
            share: (MAX_CONNECTIONS / addresses.max(1)).max(1),
            entries: Arc::default(),
        }
    }

    /// Registers a connection. If its address has its share of connections, the one that has been
    /// idle for the longest time is closed for it. `None` if the system refuses.
    pub(super) fn enter(
        &self,
        address: IpAddr,
        stream: &TcpStream,
        now: Instant,
    ) -> Option<OpenConnection> {
        let stream = stream.try_clone().ok()?;
        let mut table = self.entries.lock();
        let of_address = || {
            let entries = table.open.iter().enumerate();
            entries.filter(|(_, entry)| entry.address == address)
        };
        if of_address().count() >= self.share
            && let Some((at, _)) = of_address().min_by_key(|(_, entry)| entry.heard)
        {
            let idle = table.open.swap_remove(at);
            // Its thread reads the end, and stops.
            let _ = idle.stream.shutdown(Shutdown::Both);
        }
        table.last += 1;
        let number = table.last;
        table.open.push(ConnectionEntry {
            number,
            address,
            heard: now,
            stream,
        });
        Some(OpenConnection {
            number,
            entries: Arc::clone(&self.entries),
        })
    }
}

impl OpenConnection {
    /// A whole message came.
    pub(super) fn is_active(&self, now: Instant) {
        let mut table = self.entries.lock();
        let mut entries = table.open.iter_mut();
        if let Some(entry) = entries.find(|entry| entry.number == self.number) {
            entry.heard = now;
        }
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        let mut table = self.entries.lock();
        table.open.retain(|entry| entry.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::{Ipv4Addr, TcpListener};
    use std::time::Duration;

    use super::*;

    const PROXY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    const OTHER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));

    /// Both ends of a connection.
    fn connection(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).expect("a connection");
        client
            .set_read_timeout(Some(Duration::from_secs(10)))
            .expect("a timeout");
        (client, listener.accept().expect("a connection").0)
    }

    /// A connection that holds its place is closed for a new one, and only if it is of the same
    /// address.
    #[test]
    fn an_idle_connection_makes_room_for_a_new_one_of_its_address() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (open, start) = (OpenConnections::shared_by(2), Instant::now());
        let seconds = |n| start + Duration::from_secs(n);
        let (mut clients, mut entered) = (Vec::new(), Vec::new());
        for number in 0..MAX_CONNECTIONS as u64 {
            let address = if number % 2 == 0 { PROXY } else { OTHER };
            let (client, server) = connection(&listener);
            let entry = open.enter(address, &server, seconds(number));
            clients.push(client);
            entered.push((entry.expect("an entry"), server));
        }
        // The oldest of the proxy has work, so the next one is the most idle.
        entered[0].0.is_active(seconds(100));
        let (_client, server) = connection(&listener);
        let fresh = open.enter(PROXY, &server, seconds(101));
        assert_eq!(clients[2].read(&mut [0]).expect("the end"), 0);
        for (number, client) in clients.iter().enumerate().filter(|(n, _)| *n != 2) {
            client.set_nonblocking(true).expect("non-blocking");
            let read = (&*client).read(&mut [0]).expect_err("it is open");
            assert_eq!(read.kind(), std::io::ErrorKind::WouldBlock, "{number}");
        }
        assert_eq!(open.entries.lock().open.len(), MAX_CONNECTIONS);
        drop((entered, fresh));
        assert!(open.entries.lock().open.is_empty());
    }
}
