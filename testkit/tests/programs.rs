//! Cards that are programs: on a thread or in a process of their own, or connected
//! from outside. And those that come with the kit.
#![cfg(target_os = "linux")]

mod common;

use std::cell::RefCell;
use std::net::TcpStream;
use std::process::Command;
use std::thread;

use common::{SELECT, connect, context, transmit};
use scard_testkit::{Applet, Driver, OpenPgpCard, Reply, Sandbox, VirtualCard, isolated};

/// Notes what happens to it, borrows, and cannot be sent to another thread.
struct Notes<'a>(&'a RefCell<Vec<&'static str>>);

impl Applet for Notes<'_> {
    fn process(&mut self, _command: &[u8]) -> Reply {
        self.0.borrow_mut().push("command");
        Reply::from([self.0.borrow().len() as u8, 0x90, 0x00])
    }

    fn reset(&mut self) {
        self.0.borrow_mut().push("reset");
    }
}

#[test]
fn an_applet_that_is_not_send_is_made_on_the_thread_of_its_card() {
    isolated(|| {
        let (sender, notes) = std::sync::mpsc::channel();
        let card = VirtualCard::on_own_thread(move |requests| {
            let notes = RefCell::default();
            requests.serve(&mut Notes(&notes));
            sender.send(notes.into_inner()).unwrap();
        });
        let sandbox = Sandbox::builder().card(0, card).start().unwrap();
        let context = context();
        let mut client = connect(&context, sandbox.reader(0)).unwrap();
        assert_eq!(transmit(&client, SELECT).unwrap(), [1, 0x90, 0x00]);
        let (mode, protocols) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
        client
            .reconnect(mode, protocols, pcsc::Disposition::ResetCard)
            .unwrap();
        assert_eq!(transmit(&client, SELECT).unwrap(), [3, 0x90, 0x00]);
        // The thread ends with its card.
        sandbox.reader(0).remove().unwrap();
        assert_eq!(notes.recv().unwrap(), ["command", "reset", "command"]);
    });
}

#[test]
fn a_program_that_ends_takes_its_card_out() {
    isolated(|| {
        let sandbox = Sandbox::builder().start().unwrap();
        let mut program = Command::new("sh");
        program.args([
            "-c",
            "read on; read command; echo 9000; read command; echo nonsense",
        ]);
        for card in [
            VirtualCard::on_own_thread(|_| panic!("on purpose")),
            VirtualCard::program(program).unwrap(),
        ] {
            let card = sandbox.reader(0).insert(card).unwrap();
            let context = context();
            while let Ok(client) = connect(&context, sandbox.reader(0)) {
                while transmit(&client, SELECT).is_ok() {}
            }
            sandbox.reader(0).remove().unwrap();
            assert!(card.panicked());
        }
    });
}

#[test]
fn a_program_is_a_card() {
    isolated(|| {
        // Answers with what it is told, and says what else it was told.
        let script = "events=; while read line; do case $line in \
                      [0-9A-F]*) echo \"${line}$events\" 90 00; events=;; \
                      reset) events=$events\\ 03;; esac; done";
        let mut program = Command::new("sh");
        program.args(["-c", script]);
        let card = VirtualCard::program(program).unwrap();
        let sandbox = Sandbox::builder().card(0, card).start().unwrap();
        let context = context();
        let mut client = connect(&context, sandbox.reader(0)).unwrap();
        let expected = [SELECT, &[0x90, 0x00]].concat();
        assert_eq!(transmit(&client, SELECT).unwrap(), expected);
        let (mode, protocols) = (pcsc::ShareMode::Shared, pcsc::Protocols::ANY);
        client
            .reconnect(mode, protocols, pcsc::Disposition::ResetCard)
            .unwrap();
        let expected = [SELECT, &[0x03, 0x90, 0x00]].concat();
        assert_eq!(transmit(&client, SELECT).unwrap(), expected);
    });
}

#[test]
fn a_card_from_outside_connects_and_leaves() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Vpcd).start().unwrap();
        let reader = sandbox.reader(1);
        let stream = TcpStream::connect(reader.address().unwrap()).unwrap();
        let card = thread::spawn({
            let stream = stream.try_clone().unwrap();
            move || serve(&stream)
        });
        reader.wait_for_card().unwrap();
        let context = context();
        let client = connect(&context, reader).unwrap();
        assert_eq!(transmit(&client, SELECT).unwrap(), [0x90, 0x00]);
        stream.shutdown(std::net::Shutdown::Both).unwrap();
        card.join().unwrap();
        assert!(transmit(&client, SELECT).is_err());
    });
}

/// A card as others write it for vpcd: two bytes of length, then a message.
fn serve(mut stream: &TcpStream) {
    use std::io::{Read, Write};
    let mut length = [0; 2];
    while stream.read_exact(&mut length).is_ok() {
        let mut message = vec![0; u16::from_be_bytes(length).into()];
        if stream.read_exact(&mut message).is_err() {
            return;
        }
        let answer: &[u8] = match *message {
            [4] => &[0, 4, 0x3B, 0x80, 0x01, 0x81],
            [_] => continue,
            _ => &[0, 2, 0x90, 0x00],
        };
        if stream.write_all(answer).is_err() {
            return;
        }
    }
}

#[test]
fn a_card_that_does_not_come_is_missed() {
    let timeout = std::time::Duration::from_millis(20);
    let builder = Sandbox::builder().driver(Driver::Vpcd).timeout(timeout);
    let sandbox = builder.start().unwrap();
    let address = sandbox.reader(0).address().unwrap().to_string();
    let error = sandbox.reader(0).wait_for_card().unwrap_err().to_string();
    assert!(error.contains(&address), "{error}");
    let kit = Sandbox::builder().driver(Driver::Kit).start().unwrap();
    let error = kit.reader(0).address().unwrap_err().to_string();
    assert!(error.contains("Driver::Vpcd"), "{error}");
}

#[test]
fn answers_have_every_legal_size() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .driver(Driver::Kit)
            .card(0, VirtualCard::iso())
            .start()
            .unwrap();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        // GET CHALLENGE; the longest is what ISO 7816-4 allows.
        for length in [1, 255, 256, 257, 4096, 65_533, 65_534, 65_535, 65_536] {
            let [.., high, low] = (length as u32).to_be_bytes();
            let challenge = [0x00, 0x84, 0x00, 0x00, 0x00, high, low];
            let answer = transmit(&client, &challenge).unwrap();
            assert_eq!(answer.len(), length + 2);
            assert_eq!(answer[length..], [0x90, 0x00]);
        }
    });
}

#[test]
fn the_card_of_openpgp_signs_once_for_each_pin() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .card(0, VirtualCard::openpgp())
            .start()
            .unwrap();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        let select = [&[0x00, 0xA4, 0x04, 0x00, 0x06], &OpenPgpCard::AID[..6]].concat();
        assert_eq!(transmit(&client, &select).unwrap(), [0x90, 0x00]);
        let verify = [&[0x00, 0x20, 0x00, 0x81, 0x06], OpenPgpCard::USER_PIN].concat();
        assert_eq!(transmit(&client, &verify).unwrap(), [0x90, 0x00]);
        let sign = [0x00, 0x2A, 0x9E, 0x9A, 0x01, 0x07, 0x00];
        assert_eq!(transmit(&client, &sign).unwrap().len(), 66);
        assert_eq!(transmit(&client, &sign).unwrap(), [0x69, 0x82]);
    });
}
