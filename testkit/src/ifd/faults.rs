//! Faults of readers of the kit's driver.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

/// A call of the daemon to the driver of a reader, which can be made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IfdCall {
    /// Is there a card? The daemon asks after every change, and before it
    /// powers or resets a card.
    Presence,
    /// The card is powered on: when it is inserted, and by a cold reset.
    PowerOn,
    /// The card is powered off.
    PowerOff,
    /// The card is reset without losing power.
    Reset,
    /// A protocol is chosen, at the first connection to a card.
    SetProtocol,
    /// A command for the card: `SCardTransmit`.
    Transmit,
    /// A command for the reader: `SCardControl`.
    Control,
    /// `SCardGetAttrib`.
    GetAttribute,
    /// `SCardSetAttrib`.
    SetAttribute,
}

/// A driver's response code: how a call of the daemon fails.
///
/// The names are those of `ifdhandler.h`, without `IFD_` and `ERROR_`.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct IfdError(u32);

macro_rules! errors {
    ($($name:ident = $code:literal, $doc:literal;)*) => {
        impl IfdError {
            $(#[doc = $doc] pub const $name: Self = Self($code);)*
        }

        const NAMES: &[(IfdError, &str)] = &[$((IfdError::$name, stringify!($name)),)*];
    };
}

errors! {
    TAG = 600, "The attribute is unknown.";
    SET_FAILURE = 601, "The attribute could not be set.";
    VALUE_READ_ONLY = 602, "The attribute cannot be set.";
    PTS_FAILURE = 605, "The card refused the protocol's parameters.";
    ERROR_NOT_SUPPORTED = 606, "The reader cannot do that.";
    PROTOCOL_NOT_SUPPORTED = 607, "The card does not have this protocol.";
    POWER_ACTION = 608, "The card could not be powered.";
    COMMUNICATION_ERROR = 612, "The card or the reader did not answer as it should.";
    RESPONSE_TIMEOUT = 613, "The card or the reader did not answer in time.";
    NOT_SUPPORTED = 614, "The reader does not know the control code.";
    ICC_NOT_PRESENT = 616, "There is no card.";
    NO_SUCH_DEVICE = 617, "The reader is gone.";
    INSUFFICIENT_BUFFER = 618, "The answer does not fit into the caller's buffer.";
}

impl IfdError {
    /// A response code by its number; 0 is success, not an error.
    pub const fn new(code: u32) -> Self {
        Self(code)
    }

    /// The number.
    pub const fn code(self) -> u32 {
        self.0
    }
}

impl fmt::Debug for IfdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(known, _)| known == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "IfdError({})", self.0),
        }
    }
}

/// The faults of a reader.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    calls: HashMap<IfdCall, Fault>,
    /// By the number of `T=`.
    protocols: HashMap<u32, IfdError>,
}

#[derive(Debug, Default)]
struct Fault {
    next: VecDeque<IfdError>,
    every: Option<IfdError>,
    delay: Duration,
}

impl Faults {
    pub(crate) fn fail_next(&mut self, call: IfdCall, error: IfdError) {
        self.calls.entry(call).or_default().next.push_back(error);
    }

    pub(crate) fn fail_every(&mut self, call: IfdCall, error: IfdError) {
        self.calls.entry(call).or_default().every = Some(error);
    }

    pub(crate) fn delay_every(&mut self, call: IfdCall, delay: Duration) {
        self.calls.entry(call).or_default().delay = delay;
    }

    pub(crate) fn clear(&mut self) {
        *self = Faults::default();
    }

    pub(crate) fn refuse_protocol(&mut self, number: u32, error: IfdError) {
        self.protocols.insert(number, error);
    }

    /// How the choice of this protocol, one of the `SCARD_PROTOCOL_…` bits, should fail.
    pub(crate) fn of_protocol(&self, protocol: u32) -> Option<IfdError> {
        self.protocols.get(&protocol.trailing_zeros()).copied()
    }

    /// Like [`take`](Self::take), but the next call will fail the same way.
    pub(crate) fn peek(&self, call: IfdCall) -> (Duration, Option<IfdError>) {
        self.calls
            .get(&call)
            .map_or((Duration::ZERO, None), |fault| {
                (fault.delay, fault.next.front().copied().or(fault.every))
            })
    }

    /// Ends the failure to look, which the daemon has published. Returns whether
    /// there was one to end.
    pub(crate) fn shown(&mut self) -> bool {
        let presence = self.calls.get_mut(&IfdCall::Presence);
        presence.is_some_and(|fault| fault.next.pop_front().is_some())
    }

    /// How long this call should take, and how it should fail.
    pub(crate) fn take(&mut self, call: IfdCall) -> (Duration, Option<IfdError>) {
        self.calls
            .get_mut(&call)
            .map_or((Duration::ZERO, None), |fault| {
                (fault.delay, fault.next.pop_front().or(fault.every))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_failures_come_before_that_of_every_call() {
        let mut faults = Faults::default();
        let mut take = |change: fn(&mut Faults)| {
            change(&mut faults);
            faults.take(IfdCall::Transmit).1
        };
        assert_eq!(take(|_| {}), None);
        let next = take(|faults| {
            faults.fail_next(IfdCall::Transmit, IfdError::RESPONSE_TIMEOUT);
            faults.fail_next(IfdCall::Transmit, IfdError::NO_SUCH_DEVICE);
            faults.fail_next(IfdCall::Control, IfdError::NOT_SUPPORTED);
            faults.fail_every(IfdCall::Transmit, IfdError::new(1));
        });
        assert_eq!(next, Some(IfdError::RESPONSE_TIMEOUT));
        assert_eq!(take(|_| {}), Some(IfdError::NO_SUCH_DEVICE));
        assert_eq!(take(|_| {}), Some(IfdError::new(1)));
        assert_eq!(take(|_| {}), Some(IfdError::new(1)));
        assert_eq!(take(Faults::clear), None);
    }

    #[test]
    fn one_protocol_is_refused_until_all_faults_end() {
        let mut faults = Faults::default();
        faults.refuse_protocol(1, IfdError::PTS_FAILURE);
        assert_eq!(faults.of_protocol(1), None, "SCARD_PROTOCOL_T0");
        assert_eq!(faults.of_protocol(2), Some(IfdError::PTS_FAILURE));
        faults.clear();
        assert_eq!(faults.of_protocol(2), None);
    }

    #[test]
    fn codes_have_names_and_unknown_ones_stay() {
        assert_eq!(
            format!("{:?}", IfdError::COMMUNICATION_ERROR),
            "COMMUNICATION_ERROR"
        );
        assert_eq!(format!("{:?}", IfdError::new(4711)), "IfdError(4711)");
        assert_eq!(IfdError::new(617), IfdError::NO_SUCH_DEVICE);
    }
}
