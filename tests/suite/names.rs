//! Names of readers as composed by the real daemon, and readers that are recognized by their serial
//! number wherever they are plugged in.
#![cfg(target_os = "linux")]

use scard::{CardFilter, Context, MonitorOptions, ReaderName, Session};
use scard_testkit::{Driver, ReaderModel, Sandbox, UsbReader, isolated};

use crate::support::*;

const MODEL: &str = "Yubico YubiKey";

fn plug(sandbox: &Sandbox, serial: &str) -> UsbReader {
    sandbox
        .plug(ReaderModel::new(MODEL).serial(serial))
        .unwrap()
}

fn name(reader: &UsbReader) -> ReaderName {
    ReaderName::new(reader.slots()[0].name()).unwrap()
}

#[test]
fn what_the_daemon_has_put_together_comes_apart() {
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit).readers(1);
        let sandbox = builder.hot_plug(MODEL).start().unwrap();
        let model = ReaderModel::new(MODEL).interface("PICC Interface");
        let plugged = sandbox.plug(model.serial("00 AB(3)").slots(2)).unwrap();
        let names = Context::establish().unwrap().readers().unwrap();
        for (slot, reader) in plugged.slots().iter().enumerate() {
            let found = names.iter().find(|name| *name == reader.name());
            let parts = found.unwrap().parts();
            assert_eq!(parts.model(), MODEL);
            assert_eq!(parts.interface().as_deref(), Some("PICC Interface"));
            assert_eq!(parts.serial().as_deref(), Some("00 AB(3)"));
            assert_eq!(parts.index(), Some(0));
            assert_eq!(parts.slot().map(usize::from), Some(slot));
        }
        let first = name_of(&sandbox);
        assert_eq!(
            (first.parts().serial(), first.parts().slot()),
            (None, Some(0))
        );
    });
}

fn name_of(sandbox: &Sandbox) -> ReaderName {
    ReaderName::new(sandbox.reader(0).name()).unwrap()
}

/// A hub with two readers of the same model is plugged in again: their numbers are swapped.
#[test]
fn a_reader_is_found_by_its_serial_number_wherever_it_is() {
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit).hot_plug(MODEL);
        let sandbox = builder.start().unwrap();
        let context = Context::establish().unwrap();
        let wanted = CardFilter::new().model(MODEL).serial("0002");
        let mut session = None;
        let mut indices = Vec::new();
        for order in [["0001", "0002"], ["0002", "0001"]] {
            let readers = order.map(|serial| plug(&sandbox, serial));
            for reader in &readers {
                reader.slots()[0].insert(plain_card()).unwrap();
            }
            let second = readers
                .iter()
                .find(|it| name(it).parts().serial().as_deref() == Some("0002"));
            let second = name(second.unwrap());
            indices.push(second.parts().index());
            let found = context.wait_for_card(&wanted, Some(SOON)).unwrap();
            assert_eq!(*found.reader_name(), second);
            assert_eq!(context.find_reader("serial:0002").unwrap(), second);
            let mut monitor = context.monitor(MonitorOptions::new()).unwrap();
            let found = monitor.wait_for_card(&wanted, Some(SOON)).unwrap();
            assert_eq!(*found.reader_name(), second);
            let session = session.get_or_insert_with(|| {
                let session = Session::builder(&context).cards(wanted.clone());
                session.timeout(Some(SOON)).open().unwrap()
            });
            assert_eq!(session.run(|card| card.transmit(COMMAND)).unwrap(), OK);
            assert_eq!(
                session
                    .run(|card| Ok::<_, scard::Error>(card.reader_name().clone()))
                    .unwrap(),
                second
            );
            for reader in readers {
                reader.unplug().unwrap();
            }
        }
        assert_eq!(indices, [Some(1), Some(0)]);
    });
}
