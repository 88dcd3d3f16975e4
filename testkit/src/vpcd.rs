//! The wire between the `vpcd` driver and a card: two bytes of length, most
//! significant first, then the data.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};

use rustix::net::sockopt::set_tcp_quickack;

/// The longest message that the two bytes of length can announce.
pub(crate) const MAX_LEN: usize = u16::MAX as usize;

/// A request of the driver to a card.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Message {
    PowerOff,
    PowerOn,
    Reset,
    /// Answered with the ATR. The driver also uses it to check for a card.
    GetAtr,
    /// Answered with the response.
    Command(Vec<u8>),
}

impl Message {
    fn parse(data: Vec<u8>) -> Self {
        match *data {
            [0] => Self::PowerOff,
            [1] => Self::PowerOn,
            [2] => Self::Reset,
            [4] => Self::GetAtr,
            _ => Self::Command(data),
        }
    }
}

/// Waits for the next message.
pub(crate) fn receive(stream: &TcpStream) -> io::Result<Message> {
    let mut length = [0; 2];
    fill(stream, &mut length)?;
    let mut data = vec![0; usize::from(u16::from_be_bytes(length))];
    fill(stream, &mut data)?;
    Ok(Message::parse(data))
}

/// Sends an answer as one segment.
pub(crate) fn send(mut stream: &TcpStream, data: &[u8]) -> io::Result<()> {
    let length = u16::try_from(data.len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "answer longer than 65535"))?;
    let mut message = Vec::with_capacity(2 + data.len());
    message.extend_from_slice(&length.to_be_bytes());
    message.extend_from_slice(data);
    stream.write_all(&message)
}

/// Ends a connection on which the driver waits for an answer, so that the
/// command fails. After an orderly end, or an error while it waits for the
/// length, the driver reports success with an empty answer; it respects an
/// error only while it waits for the data. So this sends a length, and then a
/// reset. (The thread that serves the connection must not be reading meanwhile:
/// some kernels would refuse to reset it.)
pub(crate) fn tear(mut stream: &TcpStream) {
    let _ = stream.write_all(&[0, 1]);
    if rustix::net::connect_unspec(stream).is_err() {
        let _ = stream.shutdown(Shutdown::Both);
    }
}

/// `read_exact` that acknowledges each segment at once. Some versions of the
/// driver write length and data separately, and the Nagle algorithm then holds
/// the data back until the length is acknowledged: 40 ms by default. The
/// kernel resets the option, so this sets it before every read.
fn fill(mut stream: &TcpStream, mut buffer: &mut [u8]) -> io::Result<()> {
    while !buffer.is_empty() {
        set_tcp_quickack(stream, true)?;
        match stream.read(buffer) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => buffer = &mut buffer[n..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn messages_are_told_apart() {
        for (data, message) in [
            (vec![0], Message::PowerOff),
            (vec![1], Message::PowerOn),
            (vec![2], Message::Reset),
            (vec![4], Message::GetAtr),
            (vec![3], Message::Command(vec![3])),
            (vec![0, 0xA4], Message::Command(vec![0, 0xA4])),
            (vec![], Message::Command(vec![])),
        ] {
            assert_eq!(Message::parse(data), message);
        }
    }

    #[test]
    fn messages_survive_any_segmentation_and_the_longest_length() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let card = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut driver, _) = listener.accept().unwrap();
        let writer = std::thread::spawn(move || {
            driver.write_all(&[0xFF]).unwrap();
            driver.write_all(&[0xFF, 7]).unwrap();
            driver.write_all(&vec![7; MAX_LEN - 1]).unwrap();
            driver
        });
        assert_eq!(receive(&card).unwrap(), Message::Command(vec![7; MAX_LEN]));
        let mut driver = writer.join().unwrap();
        send(&card, &[0x90, 0x00]).unwrap();
        let mut answer = [0; 4];
        driver.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0, 2, 0x90, 0x00]);
        assert!(send(&card, &vec![0; MAX_LEN + 1]).is_err());
    }
}
