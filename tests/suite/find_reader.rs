//! Readers as people name them, under the real daemon.
#![cfg(target_os = "linux")]

use scard::{
    Attribute, ConnectOptions, Context, ErrorKind, FindReaderError, ReaderName, ReaderSelector,
};
use scard_testkit::{Driver, Sandbox, isolated};

use crate::support::*;

fn find(context: &Context, text: &str) -> Result<ReaderName, FindReaderError> {
    let found = context.find_reader(ReaderSelector::from(text));
    let again = context.find_reader(text);
    assert_eq!(found.as_ref().ok(), again.as_ref().ok());
    found
}

#[test]
fn readers_are_found_by_what_people_know_of_them() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit);
        let sandbox = sandbox.reader("ACS ACR122U").reader("Gemalto PC Twin");
        let sandbox = sandbox.start().unwrap();
        let context = Context::establish().unwrap();
        let (acs, gemalto) = ("ACS ACR122U 00 00", "Gemalto PC Twin 00 00");
        for (text, name) in [("acr", acs), ("1", gemalto), (gemalto, gemalto)] {
            assert_eq!(find(&context, text).unwrap(), name);
        }
        let none = find(&context, "").unwrap_err();
        assert!(matches!(none, FindReaderError::NotFound { .. }), "{none:?}");
        sandbox.reader(1).insert(plain_card()).unwrap();
        assert_eq!(find(&context, "").unwrap(), gemalto);
        sandbox.reader(0).insert(plain_card()).unwrap();
        let both = find(&context, "").unwrap_err();
        assert_eq!(
            both.to_string(),
            format!(
                "expected one match for a reader with a card, found 2; available readers:\n\
                 0: {acs} (card)\n1: {gemalto} (card)"
            )
        );
        let serial = Attribute::VENDOR_IFD_SERIAL_NO.raw();
        sandbox
            .reader(1)
            .set_attribute(serial, *b"47-11\0")
            .unwrap();
        assert_eq!(find(&context, "serial:47-11").unwrap(), gemalto);
        #[cfg(feature = "async")]
        {
            let context = crate::support::executor::block_on(scard::AsyncContext::establish());
            let wanted = ReaderSelector::Serial("47-11".into());
            let found = crate::support::executor::block_on(context.unwrap().find_reader(&wanted));
            assert_eq!(found.unwrap(), gemalto);
        }
        // What cannot be asked does not match.
        let exclusive = ConnectOptions::new().share_mode(scard::ShareMode::Exclusive);
        let held = context.connect(gemalto, exclusive).unwrap();
        assert!(find(&context, "serial:47-11").is_err());
        drop(held);
    });
}

#[test]
fn a_reader_is_connected_by_its_name_as_text() {
    isolated(|| {
        let fixture = fixture();
        let name = fixture.reader.to_string();
        for card in [
            fixture
                .context
                .connect(name.as_str(), ConnectOptions::new()),
            fixture.context.connect(&name, ConnectOptions::new()),
            fixture
                .context
                .connect(&fixture.reader, ConnectOptions::new()),
            fixture.context.connect(name.clone(), ConnectOptions::new()),
        ] {
            assert_works(&mut card.unwrap());
        }
        drop(fixture.context.open_reader(name.as_str()).unwrap());
        let wrong = fixture.context.connect("two\0names", ConnectOptions::new());
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.kind(), ErrorKind::InvalidArgument);
        assert!(wrong.to_string().contains("NUL"), "{wrong}");
    });
}
