//! Wrappers of a card forward every method that the card implements itself.

use std::cell::RefCell;

use scard::apdu::{Command, CommandBytes, ExchangeError, ExchangeOptions, Response};
use scard::features::{
    DisplayProperties, PinFormat, PinModification, PinPadAnswer, PinPadProperties, PinVerification,
    ReaderFeatures, ReaderProperties,
};
use scard::{
    Atr, Attribute, Control, ControlCode, LogicalChannel, Protocol, ReaderName, Result, Transmit,
};

/// A card that implements each method itself, and records the calls.
struct Own {
    name: ReaderName,
    called: RefCell<Vec<&'static str>>,
}

impl Own {
    fn new() -> Own {
        Own {
            name: ReaderName::new("Own").unwrap(),
            called: RefCell::default(),
        }
    }

    fn note<T>(&self, called: &'static str, answer: T) -> T {
        self.called.borrow_mut().push(called);
        answer
    }

    fn called(&self) -> Vec<&'static str> {
        self.called.take()
    }
}

const ANSWER: &[u8] = b"\x90\x00";

fn response() -> Result<Response, ExchangeError> {
    // Including the one of the command that opens a channel.
    Ok(Response::parse(b"\x01\x90\x00").unwrap())
}

/// Both kinds of traits, blocking and asynchronous.
macro_rules! own {
    ($control:ident, $transmit:ident, [$($async:tt)?], {$($more:tt)*}) => {
        impl $control for Own {
            fn reader_name(&self) -> &ReaderName {
                self.note("reader_name", &self.name)
            }
            $($async)? fn control(&mut self, _: ControlCode, _: &[u8]) -> Result<Vec<u8>> {
                self.note("control", Ok(vec![]))
            }
            $($async)? fn attribute(&mut self, _: Attribute) -> Result<Vec<u8>> {
                self.note("attribute", Ok(vec![]))
            }
            $($async)? fn set_attribute(&mut self, _: Attribute, _: &[u8]) -> Result<()> {
                self.note("set_attribute", Ok(()))
            }
            $($async)? fn control_exclusively(
                &mut self,
                _: ControlCode,
                _: &[u8],
            ) -> Result<Vec<u8>> {
                self.note("control_exclusively", Ok(vec![]))
            }
            $($more)*
            $($async)? fn features(&mut self) -> Result<ReaderFeatures> {
                self.note("features", Ok(ReaderFeatures::default()))
            }
            $($async)? fn reader_properties(
                &mut self,
                _: &ReaderFeatures,
            ) -> Result<ReaderProperties> {
                self.note("reader_properties", Ok(ReaderProperties::default()))
            }
            $($async)? fn pin_pad_properties(
                &mut self,
                _: &ReaderFeatures,
            ) -> Result<Option<PinPadProperties>> {
                self.note("pin_pad_properties", Ok(None))
            }
            $($async)? fn display_properties(
                &mut self,
                _: &ReaderFeatures,
            ) -> Result<Option<DisplayProperties>> {
                self.note("display_properties", Ok(None))
            }
            $($async)? fn abort_pin_entry(&mut self, _: &ReaderFeatures) -> Result<()> {
                self.note("abort_pin_entry", Ok(()))
            }
            $($async)? fn verify_pin(
                &mut self,
                _: &ReaderFeatures,
                _: &PinVerification,
            ) -> Result<PinPadAnswer> {
                self.note("verify_pin", Ok(PinPadAnswer::from_bytes(ANSWER.to_vec())))
            }
            $($async)? fn modify_pin(
                &mut self,
                _: &ReaderFeatures,
                _: &PinModification,
            ) -> Result<PinPadAnswer> {
                self.note("modify_pin", Ok(PinPadAnswer::from_bytes(ANSWER.to_vec())))
            }
        }

        impl $transmit for Own {
            fn protocol(&self) -> Option<Protocol> {
                self.note("protocol", None)
            }
            $($async)? fn atr(&mut self) -> Result<Atr> {
                self.note("atr", Ok(Atr::new(b"\x3B\x00").unwrap()))
            }
            $($async)? fn send(&mut self, _: CommandBytes<'_>) -> Result<&[u8]> {
                self.note("send", Ok(ANSWER))
            }
            $($async)? fn transmit(&mut self, _: &[u8]) -> Result<Vec<u8>> {
                self.note("transmit", Ok(ANSWER.to_vec()))
            }
            $($async)? fn transmit_ref(&mut self, _: &[u8]) -> Result<&[u8]> {
                self.note("transmit_ref", Ok(ANSWER))
            }
            $($async)? fn transmit_secret(&mut self, _: &[u8]) -> Result<Vec<u8>> {
                self.note("transmit_secret", Ok(ANSWER.to_vec()))
            }
            fn exchange_options(&self) -> ExchangeOptions {
                self.note("exchange_options", ExchangeOptions::new())
            }
            $($async)? fn reader_max_data(&mut self) -> Option<u32> {
                self.note("reader_max_data", None)
            }
            $($async)? fn exchange(&mut self, _: &Command) -> Result<Response, ExchangeError> {
                self.note("exchange", response())
            }
            $($async)? fn exchange_with(
                &mut self,
                _: &Command,
                _: &ExchangeOptions,
            ) -> Result<Response, ExchangeError> {
                self.note("exchange_with", response())
            }
            $($async)? fn send_on(&mut self, _: u8, _: CommandBytes<'_>) -> Result<&[u8]> {
                self.note("send_on", Ok(ANSWER))
            }
            $($async)? fn exchange_on(
                &mut self,
                _: u8,
                _: &Command,
                _: &ExchangeOptions,
            ) -> Result<Response, ExchangeError> {
                self.note("exchange_on", response())
            }
        }
    };
}

/// Calls each method.
macro_rules! call {
    (control $of:ident [$($await:tt)*]) => {
        $of.reader_name();
        let (code, features) = (ControlCode::from_raw(1), ReaderFeatures::default());
        $of.control(code, b"") $($await)* .unwrap();
        $of.attribute(Attribute::VENDOR_NAME) $($await)* .unwrap();
        $of.set_attribute(Attribute::VENDOR_NAME, b"") $($await)* .unwrap();
        $of.control_exclusively(code, b"") $($await)* .unwrap();
        $of.features() $($await)* .unwrap();
        $of.reader_properties(&features) $($await)* .unwrap();
        $of.pin_pad_properties(&features) $($await)* .unwrap();
        $of.display_properties(&features) $($await)* .unwrap();
        $of.abort_pin_entry(&features) $($await)* .unwrap();
        let verify = PinVerification::iso(0, PinFormat::ascii());
        let _ = $of.verify_pin(&features, &verify) $($await)* .unwrap();
        let modify = PinModification::iso(0, PinFormat::ascii());
        let _ = $of.modify_pin(&features, &modify) $($await)* .unwrap();
    };
    (transmit $of:ident [$($await:tt)*]) => {
        let (bytes, command) = (CommandBytes::new(b""), Command::open_channel());
        let options = ExchangeOptions::new();
        $of.protocol();
        $of.atr() $($await)* .unwrap();
        $of.send(bytes) $($await)* .unwrap();
        $of.transmit(b"") $($await)* .unwrap();
        $of.transmit_ref(b"") $($await)* .unwrap();
        $of.transmit_secret(b"") $($await)* .unwrap();
        let _ = $of.exchange_options();
        let _ = $of.reader_max_data() $($await)*;
        let _ = $of.exchange(&command) $($await)* .unwrap();
        let _ = $of.exchange_with(&command, &options) $($await)* .unwrap();
        $of.send_on(1, bytes) $($await)* .unwrap();
        let _ = $of.exchange_on(1, &command, &options) $($await)* .unwrap();
    };
}

/// The methods of a trait, from its source.
fn methods<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let (_, source) = source.split_once(&format!("pub trait {name}")).unwrap();
    let source = &source[..source.find("\n}\n").unwrap()];
    let all = source.split("\n    fn ").skip(1);
    let callable = all.filter(|method| {
        let signature = method.split("\n    }").next().unwrap();
        !signature.contains("where\n        Self: Sized")
    });
    callable
        .map(|method| method.split(['(', '<']).next().unwrap())
        .collect()
}

const CONTROL: &str = include_str!("../../src/exchange/control.rs");
const TRANSMIT: &str = include_str!("../../src/exchange/transmit.rs");

fn call_control(of: &mut (impl Control + ?Sized)) {
    call!(control of []);
}

fn call_transmit(of: &mut (impl Transmit + ?Sized)) {
    call!(transmit of []);
}

own!(Control, Transmit, [], {});

#[test]
fn pointers_and_channels_hand_on_what_a_card_has_for_itself() {
    let mut own = Own::new();
    let control = methods(CONTROL, "Control");
    let transmit = methods(TRANSMIT, "Transmit");
    assert!(control.contains(&"verify_pin") && transmit.contains(&"exchange_on"));
    call_control(&mut own);
    assert_eq!(own.called(), control, "the test calls them in this order");
    call_transmit(&mut own);
    assert_eq!(own.called(), transmit);

    call_control(&mut &mut own);
    call_transmit(&mut &mut own);
    assert_eq!(own.called(), [&control[..], &transmit].concat());
    let object: &mut dyn Transmit = &mut own;
    call_control(&mut &mut *object);
    call_transmit(&mut &mut *object);
    assert_eq!(own.called(), [&control[..], &transmit].concat());
    let mut boxed = Box::new(own);
    call_control(&mut boxed);
    call_transmit(&mut boxed);
    assert_eq!(boxed.called(), [&control[..], &transmit].concat());

    // A channel forwards everything to its card except commands, which get its number.
    let mut channel = LogicalChannel::open(&mut *boxed).unwrap();
    call_control(&mut channel);
    call_transmit(&mut channel);
    drop(channel);
    let called = boxed.called();
    let opening = ["exchange", "reader_name"];
    assert_eq!(called[..2], opening);
    assert_eq!(called[2..2 + control.len()], control);
    assert!(called.contains(&"send_on") && !called.contains(&"send"));
}

#[cfg(feature = "async")]
mod futures {
    use scard::attributes::{self, AttributeError, TypedAttribute};
    use scard::{AsyncControl, AsyncTransmit};

    use super::*;

    own!(AsyncControl, AsyncTransmit, [async], {
        async fn attribute_value<T>(&mut self, it: TypedAttribute<T>) -> Result<T, AttributeError> {
            let error = AttributeError::of_call(it.attribute(), self.unknown());
            self.note("attribute_value", Err(error))
        }
    });

    impl Own {
        fn unknown(&self) -> scard::Error {
            let code = scard::ReturnCode::E_UNSUPPORTED_FEATURE;
            scard::Error::from_code(scard::Operation::GetAttribute, code, &self.name)
        }
    }

    async fn call_control(of: &mut impl AsyncControl) {
        call!(control of [.await]);
        of.attribute_value(attributes::VENDOR_NAME)
            .await
            .unwrap_err();
    }

    async fn call_transmit(of: &mut impl AsyncTransmit) {
        call!(transmit of [.await]);
    }

    #[test]
    fn pointers_and_channels_hand_on_what_a_card_has_for_itself() {
        smol::block_on(async {
            let mut own = Own::new();
            let mut control = methods(CONTROL, "AsyncControl");
            // At the end, because the blocking one cannot be called for everything.
            control.retain(|method| *method != "attribute_value");
            control.push("attribute_value");
            let transmit = methods(TRANSMIT, "AsyncTransmit");
            call_control(&mut own).await;
            assert_eq!(own.called(), control, "the test calls them in this order");
            call_transmit(&mut own).await;
            assert_eq!(own.called(), transmit);

            call_control(&mut &mut own).await;
            call_transmit(&mut &mut own).await;
            assert_eq!(own.called(), [&control[..], &transmit].concat());

            let mut channel = AsyncTransmit::logical_channel(&mut own).await.unwrap();
            call_control(&mut channel).await;
            call_transmit(&mut channel).await;
            drop(channel);
            let called = own.called();
            let opening = ["exchange", "reader_name"];
            assert_eq!(called[..2], opening);
            assert_eq!(called[2..2 + control.len()], control);
            assert!(called.contains(&"send_on") && !called.contains(&"send"));
        });
    }
}
