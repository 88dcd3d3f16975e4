//! TCP ports that are reserved, but that the driver may bind.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, SocketFlags, SocketType, bind, getsockname, socket_with, sockopt,
};

/// Two neighbouring ports, reserved as long as this lives.
///
/// Those of [`reserve`](PortPair::reserve) are bound without `SO_REUSEADDR`, so
/// the kernel assigns the ports to no other socket. The option is set afterwards, and lets only a
/// socket that has it, too, bind there: the driver's, which listens on the port.
/// The reservation outlives any number of daemons. Like the driver's, the
/// sockets are bound at all addresses: the driver cannot use a port that is in
/// use at any of them, for example by a connection to another machine.
#[derive(Debug)]
pub(crate) struct PortPair {
    first: u16,
    _sockets: [OwnedFd; 2],
}

impl PortPair {
    pub(crate) fn reserve() -> io::Result<Self> {
        // Half of the time the neighbour is free at the first attempt.
        for _ in 0..1000 {
            let (lower, first) = reserve(0)?;
            let Some(second) = first.checked_add(1) else {
                continue;
            };
            match reserve(second) {
                Ok((upper, _)) => return Self::shared(first, [lower, upper]),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => return Err(e),
            }
        }
        Err(io::ErrorKind::AddrInUse.into())
    }

    /// Reserves exactly these two. The highest port has no neighbour.
    ///
    /// Connections of an earlier daemon, which occupy the ports for a minute after their end, do
    /// not prevent this; nor does another reservation, until its driver listens.
    pub(crate) fn reserve_at(first: u16) -> io::Result<Self> {
        let second = first
            .checked_add(1)
            .ok_or(io::ErrorKind::AddrNotAvailable)?;
        let again = |port| {
            let socket = socket()?;
            sockopt::set_socket_reuseaddr(&socket, true)?;
            bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
            Ok::<_, io::Error>(socket)
        };
        Ok(Self {
            first,
            _sockets: [again(first)?, again(second)?],
        })
    }

    /// Lets the driver bind them, too.
    fn shared(first: u16, sockets: [OwnedFd; 2]) -> io::Result<Self> {
        for socket in &sockets {
            sockopt::set_socket_reuseaddr(socket, true)?;
        }
        Ok(Self {
            first,
            _sockets: sockets,
        })
    }

    pub(crate) fn first(&self) -> u16 {
        self.first
    }
}

/// Checks that 127.0.0.1 is reachable. Sends nothing.
pub(crate) fn check_loopback() -> io::Result<()> {
    UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?.connect((Ipv4Addr::LOCALHOST, 9))
}

fn socket() -> io::Result<OwnedFd> {
    Ok(socket_with(
        AddressFamily::INET,
        SocketType::STREAM,
        SocketFlags::CLOEXEC,
        None,
    )?)
}

fn reserve(port: u16) -> io::Result<(OwnedFd, u16)> {
    let socket = socket()?;
    bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
    let address = SocketAddr::try_from(getsockname(&socket)?)?;
    Ok((socket, address.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    /// Binds as the driver does.
    fn listen_like_vpcd(port: u16) -> io::Result<OwnedFd> {
        let socket = socket()?;
        sockopt::set_socket_reuseaddr(&socket, true)?;
        bind(&socket, &SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port))?;
        rustix::net::listen(&socket, 0)?;
        Ok(socket)
    }

    #[test]
    fn the_driver_can_bind_reserved_ports_again_and_again() {
        let ports = PortPair::reserve().unwrap();
        for _ in 0..3 {
            for port in [ports.first(), ports.first() + 1] {
                drop(listen_like_vpcd(port).unwrap());
            }
        }
    }

    #[test]
    fn chosen_ports_can_be_had_again_and_not_while_the_driver_listens() {
        let held = PortPair::reserve().unwrap();
        let first = held.first();
        assert!(PortPair::reserve_at(u16::MAX).is_err());
        for port in [first, first + 1] {
            let ports = PortPair::reserve_at(first).unwrap();
            assert_eq!(ports.first(), first);
            let driver = listen_like_vpcd(port).unwrap();
            assert!(PortPair::reserve_at(first).is_err());
            let card = TcpStream::connect(("127.0.0.1", port)).unwrap();
            // The side that closes first keeps its port occupied.
            drop(rustix::net::accept(&driver).unwrap());
            drop((driver, card));
        }
        PortPair::reserve_at(first).unwrap();
    }

    #[test]
    fn a_port_in_use_at_any_address_is_not_reserved() {
        let elsewhere = TcpListener::bind("127.0.0.2:0").unwrap();
        let client = TcpStream::connect(elsewhere.local_addr().unwrap()).unwrap();
        for used in [elsewhere.local_addr(), client.local_addr()] {
            let port = used.unwrap().port();
            assert!(reserve(port).is_err());
            assert!(PortPair::reserve_at(port).is_err());
        }
    }

    #[test]
    fn nobody_else_is_given_a_reserved_port() {
        let reserved: Vec<_> = (0..50).map(|_| PortPair::reserve().unwrap()).collect();
        let taken = |port| {
            reserved
                .iter()
                .any(|pair| port == pair.first() || port == pair.first() + 1)
        };
        // `TcpListener` sets SO_REUSEADDR, the only way to share a port.
        let others: Vec<_> = (0..500)
            .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
            .collect();
        assert!(!others.iter().any(|o| taken(o.local_addr().unwrap().port())));
    }
}
