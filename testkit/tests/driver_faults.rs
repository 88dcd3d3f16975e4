//! Readers that fail, are slow, know control codes and have attributes.
#![cfg(target_os = "linux")]

mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::{SELECT, connect, context, name, sees_card, transmit};
use pcsc::ffi::DWORD;
use pcsc::{
    Attribute, Context, Disposition, Error, Protocols, ReaderState, ShareMode, State, ctl_code,
};
use scard_testkit::{
    ControlCall, Driver, IfdCall, IfdError, Reply, Sandbox, VirtualCard, VirtualReader, atr,
    isolated,
};

/// `CM_IOCTL_GET_FEATURE_REQUEST`.
const FEATURES: DWORD = ctl_code(3400);
const VERIFY_PIN: u32 = 0x4233_0006;

fn sandbox() -> Sandbox {
    let builder = Sandbox::builder().driver(Driver::Kit);
    builder.card(0, VirtualCard::iso()).start().unwrap()
}

fn state(context: &Context, reader: &VirtualReader) -> State {
    let mut states = [ReaderState::new(name(reader), State::UNAWARE)];
    context
        .get_status_change(Duration::ZERO, &mut states)
        .expect("a status");
    states[0].event_state()
}

#[test]
fn commands_fail_before_they_reach_the_card() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let card = reader.card().unwrap();
        let context = context();
        let client = connect(&context, reader).unwrap();
        for error in [
            IfdError::COMMUNICATION_ERROR,
            IfdError::RESPONSE_TIMEOUT,
            IfdError::new(4711),
        ] {
            reader.fail_next(IfdCall::Transmit, error).unwrap();
            assert_eq!(transmit(&client, SELECT), Err(Error::NotTransacted));
            assert!(transmit(&client, SELECT).is_ok());
        }
        assert_eq!(card.commands(), 3);

        let error = IfdError::COMMUNICATION_ERROR;
        reader.fail_every(IfdCall::Transmit, error).unwrap();
        for _ in 0..3 {
            assert_eq!(transmit(&client, SELECT), Err(Error::NotTransacted));
        }
        reader.clear_faults().unwrap();
        assert!(transmit(&client, SELECT).is_ok());
        assert_eq!(card.commands(), 4);
    });
}

#[test]
fn failures_in_a_row_come_in_their_order() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = context();
        let client = connect(&context, reader).unwrap();
        for error in [IfdError::COMMUNICATION_ERROR, IfdError::ICC_NOT_PRESENT] {
            reader.fail_next(IfdCall::Transmit, error).unwrap();
        }
        assert_eq!(transmit(&client, SELECT), Err(Error::NotTransacted));
        assert_eq!(transmit(&client, SELECT), Err(Error::NoSmartcard));
    });
}

#[test]
fn a_command_can_fail_after_the_card_has_run_it() {
    isolated(|| {
        let mut number = 0;
        let counter = VirtualCard::new(move |_: &[u8]| {
            number += 1;
            match number {
                1 => Reply::Fail(IfdError::RESPONSE_TIMEOUT),
                n => Reply::from([n, 0x90, 0x00]),
            }
        });
        let builder = Sandbox::builder().driver(Driver::Kit);
        let sandbox = builder.card(0, counter).start().unwrap();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        assert_eq!(transmit(&client, SELECT), Err(Error::NotTransacted));
        assert_eq!(transmit(&client, SELECT).unwrap(), [2, 0x90, 0x00]);
        let card = sandbox.reader(0).card().unwrap();
        assert_eq!(card.commands(), 2);
        assert_eq!(card.log()[0].response, None);
    });
}

#[test]
fn with_vpcd_such_a_card_leaves_the_reader() {
    isolated(|| {
        let card = VirtualCard::new(|_: &[u8]| Reply::Fail(IfdError::RESPONSE_TIMEOUT));
        let builder = Sandbox::builder().driver(Driver::Vpcd);
        let sandbox = builder.card(0, card).start().unwrap();
        let client = connect(&context(), sandbox.reader(0)).unwrap();
        assert!(transmit(&client, SELECT).is_err());
        assert!(sandbox.reader(0).card().is_none());
    });
}

#[test]
fn a_device_that_is_gone_makes_the_reader_unavailable() {
    isolated(|| {
        let sandbox = sandbox();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        let error = IfdError::NO_SUCH_DEVICE;
        let reader = sandbox.reader(0);
        reader.fail_next(IfdCall::Transmit, error).unwrap();
        assert_eq!(transmit(&client, SELECT), Err(Error::ReaderUnavailable));
    });
}

#[test]
fn a_card_that_cannot_be_powered_is_mute() {
    isolated(|| {
        let sandbox = Sandbox::builder().driver(Driver::Kit).start().unwrap();
        let reader = sandbox.reader(0);
        let error = IfdError::POWER_ACTION;
        reader.fail_every(IfdCall::PowerOn, error).unwrap();
        let card = reader.insert(VirtualCard::iso()).unwrap();
        let context = context();
        assert!(state(&context, reader).contains(State::PRESENT | State::MUTE));
        assert_eq!(connect(&context, reader).err(), Some(Error::UnpoweredCard));
        assert_eq!(card.power_ons(), 0);
        reader.clear_faults().unwrap();
        let client = connect(&context, reader).unwrap();
        transmit(&client, SELECT).unwrap();
    });
}

#[test]
fn a_reset_can_fail() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = context();
        let mut client = connect(&context, reader).unwrap();
        let error = IfdError::COMMUNICATION_ERROR;
        reader.fail_next(IfdCall::Reset, error).unwrap();
        let result = client.reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard);
        assert_eq!(result, Err(Error::UnresponsiveCard));
        assert_eq!(reader.card().unwrap().resets(), 0);
    });
}

#[test]
fn a_protocol_can_be_refused() {
    isolated(|| {
        let builder = Sandbox::builder().driver(Driver::Kit);
        let card = VirtualCard::iso().atr(atr::T0_T1);
        let sandbox = builder.card(0, card).start().unwrap();
        let reader = sandbox.reader(0);
        let context = context();
        let error = IfdError::PTS_FAILURE;
        reader.fail_next(IfdCall::SetProtocol, error).unwrap();
        assert_eq!(
            connect(&context, reader).err(),
            Some(Error::UnresponsiveCard)
        );
        // The daemon tries T=1 first, and no other if that fails.
        reader.refuse_protocol(1, error).unwrap();
        assert_eq!(
            connect(&context, reader).err(),
            Some(Error::UnresponsiveCard)
        );
        let with_t0 = || context.connect(&name(reader), ShareMode::Shared, Protocols::T0);
        drop(with_t0().unwrap());
        reader.clear_faults().unwrap();
        reader.refuse_protocol(0, error).unwrap();
        drop(connect(&context, reader).unwrap());
    });
}

#[test]
fn a_reader_that_cannot_tell_its_state_is_unavailable() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = context();
        let error = IfdError::COMMUNICATION_ERROR;
        for _ in 0..10 {
            reader.fail_every(IfdCall::Presence, error).unwrap();
            reader.wait_until_published().unwrap();
            assert!(state(&context, reader).contains(State::UNAVAILABLE));
            reader.clear_faults().unwrap();
            reader.wait_until_published().unwrap();
            assert!(state(&context, reader).contains(State::PRESENT));
        }
        // Once, and it recovers by itself.
        let mut states = [ReaderState::new(name(reader), State::UNAWARE)];
        context
            .get_status_change(Duration::ZERO, &mut states)
            .unwrap();
        let before = states[0].event_count();
        reader.fail_next(IfdCall::Presence, error).unwrap();
        reader.wait_until_published().unwrap();
        assert!(sees_card(&context, reader));
        context
            .get_status_change(Duration::ZERO, &mut states)
            .unwrap();
        assert_eq!(states[0].event_count(), before + 1);
    });
}

#[test]
fn calls_can_be_slow() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = context();
        let mut client = connect(&context, reader).unwrap();
        let delay = Duration::from_millis(100);
        for call in [IfdCall::Transmit, IfdCall::Reset] {
            reader.delay_every(call, delay).unwrap();
        }
        let start = Instant::now();
        transmit(&client, SELECT).unwrap();
        assert!(start.elapsed() >= delay);
        let start = Instant::now();
        client
            .reconnect(ShareMode::Shared, Protocols::ANY, Disposition::ResetCard)
            .unwrap();
        assert!(start.elapsed() >= delay);
        // A card that leaves does not wait for it.
        reader
            .delay_every(IfdCall::Transmit, Duration::from_secs(30))
            .unwrap();
        thread::scope(|scope| {
            let exchange = scope.spawn(|| transmit(&client, SELECT));
            // Its command is on the way by then, or comes to an empty reader.
            thread::yield_now();
            reader.remove().unwrap();
            assert!(exchange.join().unwrap().is_err());
        });
    });
}

#[test]
fn faults_are_of_one_slot_and_stay_over_restarts() {
    isolated(|| {
        let sandbox = Sandbox::builder()
            .driver(Driver::Kit)
            .readers(2)
            .card(0, VirtualCard::iso())
            .card(1, VirtualCard::iso())
            .start()
            .unwrap();
        let error = IfdError::COMMUNICATION_ERROR;
        let faulty = sandbox.reader(0);
        faulty.fail_every(IfdCall::Transmit, error).unwrap();
        for _ in 0..2 {
            let context = context();
            let client = connect(&context, faulty).unwrap();
            assert_eq!(transmit(&client, SELECT), Err(Error::NotTransacted));
            let client = connect(&context, sandbox.reader(1)).unwrap();
            assert!(transmit(&client, SELECT).is_ok());
            drop(client);
            sandbox.restart().unwrap();
        }
    });
}

/// A PIN pad, as PC/SC Part 10 has it: the client asks for the control code of
/// the feature, and sends the template of the command to it.
#[test]
fn a_pin_pad_is_played() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        reader
            .on_control(move |code, input| match code {
                _ if DWORD::from(code) == FEATURES => {
                    Ok([&[0x06, 4][..], &VERIFY_PIN.to_be_bytes()].concat())
                }
                VERIFY_PIN if input.is_empty() => Err(IfdError::COMMUNICATION_ERROR),
                VERIFY_PIN => Ok(vec![0x90, 0x00]),
                _ => Err(IfdError::NOT_SUPPORTED),
            })
            .unwrap();
        let context = context();
        let client = connect(&context, reader).unwrap();
        let mut buffer = [0; 64];
        let features = client.control(FEATURES, &[], &mut buffer).unwrap();
        assert_eq!(features, [0x06, 4, 0x42, 0x33, 0x00, 0x06]);
        let verify = VERIFY_PIN.into();
        let answer = client.control(verify, &[1, 2, 3], &mut buffer).unwrap();
        assert_eq!(answer, [0x90, 0x00]);
        assert_eq!(
            client.control(verify, &[], &mut buffer).err(),
            Some(Error::NotTransacted)
        );
        assert_eq!(
            client.control(1, &[], &mut buffer).err(),
            Some(Error::UnsupportedFeature)
        );
        assert_eq!(
            client.control(verify, &[1], &mut [0; 1]).err(),
            Some(Error::InsufficientBuffer)
        );
        let error = IfdError::NO_SUCH_DEVICE;
        reader.fail_next(IfdCall::Control, error).unwrap();
        assert_eq!(
            client.control(verify, &[1], &mut buffer).err(),
            Some(Error::ReaderUnavailable)
        );
        let log = reader.control_log().unwrap();
        assert_eq!(log.len(), 6);
        assert_eq!(
            log[1],
            ControlCall {
                code: VERIFY_PIN,
                input: vec![1, 2, 3],
                answer: Ok(vec![0x90, 0x00]),
            }
        );
        assert_eq!(log[3].answer, Err(IfdError::NOT_SUPPORTED));
        assert_eq!(log[5].answer, Err(error));
    });
}

#[test]
fn a_closure_for_control_codes_can_panic_and_be_replaced() {
    isolated(|| {
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = context();
        let client = connect(&context, reader).unwrap();
        let mut buffer = [0; 64];
        reader.on_control(|_, _| panic!("on purpose")).unwrap();
        for _ in 0..2 {
            let result = client.control(FEATURES, &[], &mut buffer);
            assert_eq!(result.err(), Some(Error::NotTransacted));
        }
        reader.on_control(|_, input| Ok(input.to_vec())).unwrap();
        let result = client.control(FEATURES, &[1, 2], &mut buffer);
        assert_eq!(result.unwrap(), [1, 2]);
        assert_eq!(reader.control_log().unwrap().len(), 3);
    });
}

#[test]
fn a_reader_without_control_codes_says_so() {
    isolated(|| {
        let sandbox = sandbox();
        let context = context();
        let client = connect(&context, sandbox.reader(0)).unwrap();
        let mut buffer = [0; 64];
        let result = client.control(FEATURES, &[], &mut buffer);
        assert_eq!(result.err(), Some(Error::UnsupportedFeature));
    });
}

#[test]
fn attributes_are_a_table() {
    isolated(|| {
        const VENDOR_NAME: u32 = 0x0001_0100;
        let sandbox = sandbox();
        let reader = sandbox.reader(0);
        let context = context();
        let client = connect(&context, reader).unwrap();
        let mut buffer = [0; 64];
        let known = client.get_attribute(Attribute::AtrString, &mut buffer);
        assert_eq!(known.unwrap(), atr::T1);
        let unknown = client.get_attribute(Attribute::VendorName, &mut buffer);
        assert!(unknown.is_err(), "{unknown:?}");
        let unknown = client.set_attribute(Attribute::VendorName, b"Somebody");
        assert_eq!(unknown, Err(Error::UnsupportedFeature));
        reader.set_attribute(VENDOR_NAME, "Nobody").unwrap();
        let known = client.get_attribute(Attribute::VendorName, &mut buffer);
        assert_eq!(known.unwrap(), b"Nobody");

        client
            .set_attribute(Attribute::VendorName, b"Somebody")
            .unwrap();
        let set = reader.attribute(VENDOR_NAME).unwrap();
        assert_eq!(set.as_deref(), Some(&b"Somebody"[..]));
        let error = IfdError::VALUE_READ_ONLY;
        reader.fail_next(IfdCall::SetAttribute, error).unwrap();
        let refused = client.set_attribute(Attribute::VendorName, b"Anybody");
        assert!(refused.is_err());
        assert_eq!(reader.attribute(VENDOR_NAME).unwrap(), set);
        let error = IfdError::COMMUNICATION_ERROR;
        reader.fail_next(IfdCall::GetAttribute, error).unwrap();
        let refused = client.get_attribute(Attribute::VendorName, &mut buffer);
        assert!(refused.is_err());
        assert_eq!(reader.attribute(0x4711).unwrap(), None);
    });
}
