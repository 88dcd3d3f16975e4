//! Answers.

use std::fmt;

use super::error::{AnswerProblem, StatusError, Step};
use super::header::Header;
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
    /// the last.
    pub fn status(&self) -> StatusWord {
        self.status
    }

    /// The step of the exchange that the status word is of.
    pub fn step(&self) -> Step {
        self.step
    }

    /// The data, if the status word is 9000. Not 61XX either: then some of the answer was not
    /// fetched, which happens only without an [exchange](crate::Card::exchange).
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn ok(self) -> Result<Vec<u8>, StatusError> {
        let accepted = self.accept(|status| status == StatusWord::SUCCESS)?;
        Ok(accepted.data)
    }

    /// Accepts 9000, and the warnings 62XX and 63XX. A VERIFY that fails answers with 63CX.
    ///
    /// # Errors
    ///
    /// Any other status word.
    pub fn accept_warnings(self) -> Result<Response, StatusError> {
        self.accept(|status| status == StatusWord::SUCCESS || status.is_warning())
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
