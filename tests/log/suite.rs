//! With tracing's feature `log` and without a subscriber, every call is logged by the crate `log`.
//!
//! A separate package, because the feature would otherwise be enabled in all tests, and a logger is
//! for a whole process.
#![cfg(target_os = "linux")]

use std::sync::Mutex;

use scard::{
    ConnectOptions, Context, Disposition, Initialization, Protocols, ReaderName, ShareMode,
};
use scard_testkit::{Sandbox, VirtualCard};

struct Logger(Mutex<Vec<String>>);

static LOGGER: Logger = Logger(Mutex::new(Vec::new()));

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target() == "scard::call"
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            let line = format!("{} {}", record.level(), record.args());
            self.0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

#[test]
fn every_call_is_logged() {
    scard_testkit::isolated(|| {
        let sandbox = Sandbox::builder()
            .card(0, VirtualCard::iso())
            .start()
            .unwrap();
        log::set_logger(&LOGGER).unwrap();
        log::set_max_level(log::LevelFilter::Debug);
        let name = ReaderName::new(sandbox.reader(0).name()).unwrap();
        let context = Context::establish().unwrap();
        context.readers().unwrap();
        let mut card = context.connect(&name, ConnectOptions::new()).unwrap();
        for _ in 0..20 {
            assert_eq!(
                card.transmit(&[0x00, 0x84, 0x00, 0x00, 0x02])
                    .unwrap()
                    .len(),
                4
            );
        }
        card.status().unwrap();
        card.reconnect(ShareMode::Shared, Protocols::ANY, Initialization::Leave)
            .unwrap();
        card.transaction().unwrap().end(Disposition::Leave).unwrap();
        card.disconnect(Disposition::Leave).unwrap();
        drop(context);

        let lines = LOGGER.0.lock().unwrap();
        let count = |call: &str| {
            let call = format!("operation={call} ");
            lines.iter().filter(|line| line.contains(&call)).count()
        };
        assert_eq!(count("SCardTransmit"), 20, "{lines:#?}");
        for call in [
            "SCardEstablishContext",
            "SCardListReaders",
            "SCardConnect",
            "SCardStatus",
            "SCardReconnect",
            "SCardBeginTransaction",
            "SCardEndTransaction",
            "SCardReleaseContext",
        ] {
            assert!(count(call) > 0, "{call}: {lines:#?}");
        }
        let sent = lines
            .iter()
            .find(|line| line.contains("SCardTransmit"))
            .unwrap();
        assert!(sent.starts_with("DEBUG "), "{sent}");
        for field in ["reader_name", "code", "duration", "status"] {
            assert!(sent.contains(&format!(" {field}=")), "{sent}");
        }
    });
}
