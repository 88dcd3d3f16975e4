//! Answers.

use std::fmt;

use super::error::{AnswerProblem, StatusError, Step};
use super::header::Header;
use super::status_family::StatusFamily;
use super::status_word::StatusWord;

/// The answer to a command: data and status word.
///
/// What counts as success is the caller's to say:
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
    /// Where the status word came from.
    pub(super) step: Step,
    /// What was asked for, if there may be more.
    pub(super) asked_for: Option<u32>,
    pub(super) secret: bool,
}

impl Response {
    /// Takes an answer apart, as [`Card::transmit`](crate::Card::transmit) gives it.
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
            asked_for: None,
            secret: false,
        })
    }

    /// The data, without the status word.
    pub fn data(&self) -> &[u8] {
        &self.data
    }

    /// The data, without the status word.
    pub fn into_data(self) -> Vec<u8> {
        self.data
    }

    /// The status word: of several commands in an [exchange](crate::Card::exchange), that of
    /// the last, or the warning whose data the others fetched. A refusal to give the rest of the
    /// answer is [an error](AnswerProblem::RestRefused) instead.
    pub fn status(&self) -> StatusWord {
        self.status
    }

    /// The step of the exchange that the status word is of.
    pub fn step(&self) -> Step {
        self.step
    }

    /// How many bytes were asked for in all, if that is less than the command expects or the card
    /// announced, and the card gave them without a word on whether there is more: it may have more.
    /// See [`ExchangeOptions::allow_less`](super::ExchangeOptions::allow_less) and
    /// [`max_answer_data`](super::ExchangeOptions::max_answer_data).
    ///
    /// `None` does not say that this is all the card has. A command that
    /// [expects all](super::Command::expecting_all) asks for 256 bytes with short lengths, and a
    /// card that gives 256 of more without announcing the rest by 61XX has done as it was asked.
    pub fn asked_for(&self) -> Option<u32> {
        self.asked_for
    }

    /// The data, if the status word is a [success](StatusWord::is_success_in) to the
    /// [family](StatusFamily::of_command) of the command: 9000; after class 90 (DESFire) also 9100,
    /// after class A0 (SIM) 91XX and 920X. Not 61XX: then some of the answer was not fetched, which happens without an
    /// [exchange](crate::Card::exchange), or if [told so](super::Continuation::Never).
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn ok(self) -> Result<Vec<u8>, StatusError> {
        let family = StatusFamily::of(self.command);
        let accepted = self.accept(|status| status.is_success_in(family))?;
        Ok(accepted.data)
    }

    /// Accepts what [`ok`](Response::ok) does, and the warnings 62XX and 63XX. A VERIFY that fails
    /// answers with 63CX.
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn accept_warnings(self) -> Result<Response, StatusError> {
        let family = StatusFamily::of(self.command);
        self.accept(|status| status.is_success_in(family) || status.is_warning())
    }

    /// Accepts the status words that `accepts` does.
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
        // What ended in the middle of a chain did not run, whatever the card says of it.
        let ended_early = matches!(self.step, Step::Part { number, of } if number < of);
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

/// Data and status word.
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
