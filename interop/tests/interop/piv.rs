//! Nitrokey's PIV application.

use scard::{Command, ConnectOptions, Context};
use scard_testkit::{Sandbox, isolated};

use crate::applets::piv;
use crate::clients::{output, says};

const SELECT: &[u8] = b"\x00\xA4\x04\x00\x09\xA0\x00\x00\x03\x08\x00\x00\x10\x00\x00";
const WRONG: &[u8] = b"\x00\x20\x00\x80\x08654321\xFF\xFF";
const RIGHT: &[u8] = b"\x00\x20\x00\x80\x08123456\xFF\xFF";

#[test]
fn pins_are_refused_and_accepted_and_objects_are_read_whole() {
    isolated(|| {
        let sandbox = Sandbox::builder().card(0, piv()).start().unwrap();
        let context = Context::establish().unwrap();
        let readers = context.readers().unwrap();
        let mut card = context.connect(&readers[0], ConnectOptions::new()).unwrap();
        let mut transaction = card.transaction().unwrap();
        let selected = transaction.transmit(SELECT).unwrap();
        assert_eq!(selected[0], 0x61, "{selected:02X?}");
        assert_eq!(transaction.transmit(WRONG).unwrap(), [0x63, 0xC2]);
        assert_eq!(transaction.transmit(RIGHT).unwrap(), [0x90, 0x00]);
        // The discovery object.
        let read = Command::new(0x00, 0xCB, 0x3F, 0xFF).unwrap();
        let read = read.with_data(b"\x5C\x01\x7E").unwrap().expecting_all();
        let object = transaction.exchange(&read).unwrap().ok().unwrap();
        assert_eq!(object[0], 0x7E, "{object:02X?}");
        drop(transaction);
        drop(card);
        drop(sandbox);
    });
}

#[test]
fn opensc_recognizes_it() {
    let sandbox = Sandbox::builder().card(0, piv()).start().unwrap();
    let said = output(
        sandbox
            .command("opensc-tool")
            .args(["--reader", "0", "--name"]),
    );
    says(&said, "Personal Identity Verification Card");
    let said = output(
        sandbox
            .command("piv-tool")
            .args(["--reader", "0", "--serial"]),
    );
    assert!(said.status.success(), "{said:?}");
}
