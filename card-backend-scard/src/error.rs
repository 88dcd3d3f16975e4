//! Converts errors to those of `card-backend`.

use card_backend::SmartcardError;
use scard::apdu::ExchangeError;
use scard::{Error, ErrorKind, ReturnCode, SessionError, StatusWord};

/// An error of a call on a card.
pub(crate) fn of_call(error: &Error) -> SmartcardError {
    if error.code() == ReturnCode::E_NOT_TRANSACTED {
        return SmartcardError::NotTransacted;
    }
    match (error.kind(), error.reader_name()) {
        (ErrorKind::NoCard | ErrorKind::CardRemoved, Some(reader)) => {
            SmartcardError::CardNotFound(reader.to_string())
        }
        _ => SmartcardError::Error(format!("{error:#}")),
    }
}

/// An error of an exchange.
pub(crate) fn of_exchange(error: &ExchangeError) -> SmartcardError {
    match error.error() {
        Some(error) => of_call(error),
        None => SmartcardError::Error(error.to_string()),
    }
}

/// An error of a connect.
pub(crate) fn of_connect(error: &Error) -> SmartcardError {
    match of_call(error) {
        SmartcardError::Error(text) => SmartcardError::SmartCardConnectionError(text),
        other => other,
    }
}

/// An error of a session that could not prepare a card.
pub(crate) fn of_session(error: &SessionError) -> SmartcardError {
    SmartcardError::SmartCardConnectionError(with_causes(error))
}

/// The message for a refused SELECT.
pub(crate) fn not_selected(application: &[u8], status: StatusWord) -> String {
    let name: String = application.iter().map(|b| format!("{b:02X}")).collect();
    format!("application {name} was not selected: {status:04X}")
}

fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
