//! Answers.

use std::fmt;

use super::error::{AnswerProblem, StatusError, Step};
use super::header::Header;
use super::status_family::StatusFamily;
use super::status_word::StatusWord;

/// The answer to a command: data and status word.
///
/// The caller decides what counts as success:
///
/// ```
/// use scard::apdu::{Response, StatusWord};
///
/// let response = Response::parse(b"\x01\x02\x62\x82")?;
/// assert_eq!(response.status(), StatusWord::END_OF_FILE);
/// assert!(response.clone().ok().is_err());
/// assert_eq!(response.accept_warnings()?.data(), [0x01, 0x02]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// [`Debug`](fmt::Debug) shows status word and length; the alternate `{:#?}` shows the data,
/// too, unless the command was [secret](super::Command::is_secret).
#[derive(Clone, PartialEq, Eq)]
#[must_use = "the status word says whether the command succeeded"]
pub struct Response {
    pub(super) data: Vec<u8>,
    pub(super) status: StatusWord,
    /// The command that was exchanged.
    pub(super) command: Option<Header>,
    /// The step that the status word came from.
    pub(super) step: Step,
    /// The requested length, if there may be more.
    pub(super) requested_len: Option<u32>,
    pub(super) secret: bool,
}

impl Response {
    /// Parses an answer, as returned by [`Card::transmit`](crate::Card::transmit).
    ///
    /// # Errors
    ///
    /// [`AnswerProblem::NoStatusWord`] if it has fewer than two bytes.
    pub fn parse(answer: &[u8]) -> Result<Response, AnswerProblem> {
        let (data, status) = split(answer)?;
        Ok(Response {
            data: data.to_vec(),
            status,
            command: None,
            step: Step::Command,
            requested_len: None,
            secret: false,
        })
    }

    /// Returns the data, without the status word.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// Returns the data, without the status word.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// Returns the status word. After an [exchange](crate::Card::exchange) of several commands,
    /// this is that of the last one, or the warning whose data the others fetched. A refusal to
    /// return the rest of the answer is [an error](AnswerProblem::RestRefused) instead.
    pub fn status(&self) -> StatusWord {
        self.status
    }

    /// Returns the step of the exchange that the status word came from.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Returns the total number of bytes requested, if that is less than the command expects or the
    /// card announced, and the card returned them without saying whether there is more: it may have
    /// more. See [`ExchangeOptions::allow_incomplete`](super::ExchangeOptions::allow_incomplete) and
    /// [`max_answer_data`](super::ExchangeOptions::max_answer_data).
    ///
    /// `None` does not guarantee that the card has no more. A command that [expects
    /// all](super::Command::expecting_all) asks for 256 bytes with short lengths, and a card that
    /// has more but returns 256 without announcing the rest with 61XX has done what it was asked
    /// to.
    pub fn requested_len(&self) -> Option<u32> {
        self.requested_len
    }

    /// Returns the data, if the status word is a [success](StatusWord::is_success_in) in the
    /// [family](StatusFamily::of_command) of the command: 9000; after class 90 (DESFire) also 9100,
    /// after class A0 (SIM) 91XX and 920X. Not 61XX, after which part of the answer was not
    /// fetched: this happens without an [exchange](crate::Card::exchange), or with
    /// [`Continuation::Never`](super::Continuation::Never).
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn ok(self) -> Result<Vec<u8>, StatusError> {
        let family = StatusFamily::of(self.command);
        let accepted = self.accept(|status| status.is_success_in(family))?;
        Ok(accepted.data)
    }

    /// Accepts what [`ok`](Response::ok) accepts, and the warnings 62XX and 63XX. Note that a
    /// failed VERIFY answers 63CX.
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn accept_warnings(self) -> Result<Response, StatusError> {
        let family = StatusFamily::of(self.command);
        self.accept(|status| status.is_success_in(family) || status.is_warning())
    }

    /// Accepts the status words for which `accepts` returns true.
    ///
    /// ```
    /// # use scard::apdu::{Response, StatusWord};
    /// # fn demo(response: Response) -> Result<(), scard::apdu::StatusError> {
    /// let found = response.accept(|status| {
    ///     [StatusWord::SUCCESS, StatusWord::FILE_NOT_FOUND].contains(&status)
    /// })?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn accept(self, accepts: impl FnOnce(StatusWord) -> bool) -> Result<Response, StatusError> {
        // A command that ended in the middle of a chain did not run, whatever the card says.
        let ended_early = matches!(self.step, Step::Part { number, total } if number < total);
        if !ended_early && accepts(self.status) {
            return Ok(self);
        }
        Err(StatusError {
            command: self.command,
            step: self.step,
            status: self.status,
        })
    }
}

/// Splits an answer into data and status word.
pub(super) fn split(answer: &[u8]) -> Result<(&[u8], StatusWord), AnswerProblem> {
    match answer.split_last_chunk() {
        Some((data, status)) => Ok((data, StatusWord::from(*status))),
        None => Err(AnswerProblem::NoStatusWord { len: answer.len() }),
    }
}

impl TryFrom<&[u8]> for Response {
    type Error = AnswerProblem;

    /// See [`Response::parse`].
    fn try_from(answer: &[u8]) -> Result<Response, AnswerProblem> {
        Response::parse(answer)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Response({} bytes, {:?}", self.data.len(), self.status)?;
        if f.alternate() && !self.data.is_empty() {
            f.write_str(": ")?;
            match self.secret {
                true => f.write_str("secret")?,
                false => super::hex(f, &self.data)?,
            }
        }
        f.write_str(")")
    }
}
