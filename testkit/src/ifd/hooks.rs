//! What a test can do to a reader of the kit's driver.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use super::wire::Answer;
use super::{IfdCall, IfdError};
use crate::error::TestkitError;
use crate::reader::VirtualReader;

/// A command for the reader (`SCardControl`), and its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlCall {
    /// The control code, as the client passed it.
    pub code: u32,
    /// The data that came with it.
    pub input: Vec<u8>,
    /// The reader's answer.
    pub answer: Result<Vec<u8>, IfdError>,
}

type ControlClosure = Box<dyn FnMut(u32, &[u8]) -> Answer + Send>;

/// How a reader answers control codes.
#[derive(Default)]
pub(crate) struct Control(Option<ControlClosure>);

impl Control {
    pub(crate) fn answer(&mut self, code: u32, input: &[u8]) -> Answer {
        let Some(control) = &mut self.0 else {
            return Err(IfdError::NOT_SUPPORTED);
        };
        catch_unwind(AssertUnwindSafe(|| control(code, input)))
            .unwrap_or(Err(IfdError::COMMUNICATION_ERROR))
    }
}

/// How a reader answers control codes and attributes, and its log.
#[derive(Default)]
pub(crate) struct Hooks {
    control: Control,
    log: Vec<ControlCall>,
    attributes: HashMap<u32, Vec<u8>>,
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("attributes", &self.attributes)
            .finish_non_exhaustive()
    }
}

impl Hooks {
    /// Takes the closure for a call; there is only one call at a time.
    pub(crate) fn take_control(&mut self) -> Control {
        std::mem::take(&mut self.control)
    }

    /// Returns the closure, unless it was replaced meanwhile.
    pub(crate) fn return_control(&mut self, control: Control) {
        if self.control.0.is_none() {
            self.control = control;
        }
    }

    pub(crate) fn log(&mut self, code: u32, input: Vec<u8>, answer: Answer) {
        self.log.push(ControlCall {
            code,
            input,
            answer,
        });
    }

    pub(crate) fn attribute(&self, tag: u32) -> Option<Vec<u8>> {
        self.attributes.get(&tag).cloned()
    }

    /// A client sets an attribute, which must exist.
    pub(crate) fn replace_attribute(&mut self, tag: u32, value: Vec<u8>) -> Answer {
        *self.attributes.get_mut(&tag).ok_or(IfdError::TAG)? = value;
        Ok(Vec::new())
    }
}

/// # Failing and answering as a real reader does
///
/// These need [`Driver::Kit`](crate::Driver::Kit): with `vpcd` they return
/// [`NeedsKitDriver`](TestkitError::NeedsKitDriver). Each slot of a reader has
/// its own settings, which stay when the daemon is restarted.
impl VirtualReader {
    /// Makes the next such call of the daemon fail; called again, also the one
    /// after it. The call has no effect: a command does not reach the card.
    ///
    /// A failure of [`IfdCall::Presence`] makes the daemon look at once, and lasts
    /// until its clients can see that the state of the reader is unknown.
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn fail_next(&self, call: IfdCall, error: IfdError) -> Result<(), TestkitError> {
        self.kit()?
            .change_faults(call, |faults| faults.fail_next(call, error));
        Ok(())
    }

    /// Makes every such call of the daemon fail, until
    /// [`clear_faults`](Self::clear_faults).
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn fail_every(&self, call: IfdCall, error: IfdError) -> Result<(), TestkitError> {
        self.kit()?
            .change_faults(call, |faults| faults.fail_every(call, error));
        Ok(())
    }

    /// Makes the card refuse one protocol, by its number (1 for T=1), until
    /// [`clear_faults`](Self::clear_faults): for instance with
    /// [`IfdError::PTS_FAILURE`], like a card that offers the protocol but cannot
    /// agree on its parameters. To refuse all protocols, see
    /// [`IfdCall::SetProtocol`].
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn refuse_protocol(&self, number: u32, error: IfdError) -> Result<(), TestkitError> {
        self.kit()?.change_faults(IfdCall::SetProtocol, |faults| {
            faults.refuse_protocol(number, error);
        });
        Ok(())
    }

    /// Makes every such call of the daemon take longer, until
    /// [`clear_faults`](Self::clear_faults). (For a slow card see
    /// [`VirtualCard::delay`](crate::VirtualCard::delay).)
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn delay_every(&self, call: IfdCall, delay: Duration) -> Result<(), TestkitError> {
        self.kit()?
            .change_faults(call, |faults| faults.delay_every(call, delay));
        Ok(())
    }

    /// Ends all failures and delays, including failures that have not happened yet.
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn clear_faults(&self) -> Result<(), TestkitError> {
        self.kit()?
            .change_faults(IfdCall::Presence, |faults| faults.clear());
        Ok(())
    }

    /// Answers control codes (`SCardControl`) with what the closure returns for
    /// the code and the data. Without a closure the reader supports no control
    /// codes.
    ///
    /// A closure that panics fails the call with
    /// [`COMMUNICATION_ERROR`](IfdError::COMMUNICATION_ERROR).
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn on_control<F>(&self, control: F) -> Result<(), TestkitError>
    where
        F: FnMut(u32, &[u8]) -> Result<Vec<u8>, IfdError> + Send + 'static,
    {
        self.kit()?.hooks().control = Control(Some(Box::new(control)));
        Ok(())
    }

    /// The control codes that clients have sent so far, failed ones included.
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn control_log(&self) -> Result<Vec<ControlCall>, TestkitError> {
        Ok(self.kit()?.hooks().log.clone())
    }

    /// Sets an attribute of the reader, for `SCardGetAttrib`. Clients can change it
    /// by `SCardSetAttrib`; the reader has no other attributes, except for the ATR
    /// of the card.
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn set_attribute(&self, tag: u32, value: impl Into<Vec<u8>>) -> Result<(), TestkitError> {
        self.kit()?.hooks().attributes.insert(tag, value.into());
        Ok(())
    }

    /// The value of an attribute, as last set by
    /// [`set_attribute`](Self::set_attribute) or a client (`SCardSetAttrib`).
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver).
    pub fn attribute(&self, tag: u32) -> Result<Option<Vec<u8>>, TestkitError> {
        Ok(self.kit()?.hooks().attribute(tag))
    }

    /// Replaces the card in the reader without the daemon noticing, as when cards
    /// are exchanged between two of its looks. To the daemon it is still the
    /// previous card, powered and with the same ATR.
    ///
    /// # Errors
    /// [`NeedsKitDriver`](TestkitError::NeedsKitDriver);
    /// [`NoCard`](TestkitError::NoCard) if the daemon knows of no card there;
    /// [`CardInUse`](TestkitError::CardInUse).
    pub fn swap_unnoticed(
        &self,
        card: impl Into<crate::CardHandle>,
    ) -> Result<crate::CardHandle, TestkitError> {
        let card = card.into();
        self.kit()?.exchange(&card)?;
        Ok(card)
    }
}
