//! The numbers that the service assigned to the contexts and handles of this process.
//!
//! pcsc-lite's client library looks a number up in a list and uses the first match. If the service
//! assigned a number twice, calls on the second context or card would go to the first one, and its
//! memory would be freed while another thread is in a call. So a number that is in use is not
//! accepted again.

use crate::codes::ReturnCode;
use crate::service::{CardHandle, ContextHandle};
use crate::sync::{Mutex, lock};

static IN_USE: Mutex<Numbers> = Mutex::new(Numbers {
    contexts: Vec::new(),
    cards: Vec::new(),
});

/// In lists: the service accepts a few hundred.
struct Numbers {
    contexts: Vec<u64>,
    /// Each card with its context.
    cards: Vec<(u64, u64)>,
}

impl Numbers {
    fn add_context(&mut self, context: u64) -> Result<(), ReturnCode> {
        if self.contexts.contains(&context) {
            return Err(ReturnCode::F_INTERNAL_ERROR);
        }
        self.contexts.push(context);
        Ok(())
    }

    fn remove_context(&mut self, context: u64) {
        self.contexts.retain(|it| *it != context);
        self.cards.retain(|(_, of)| *of != context);
    }

    fn add_card(&mut self, card: u64, context: u64) -> Result<(), ReturnCode> {
        if self.cards.iter().any(|(it, _)| *it == card) {
            return Err(ReturnCode::F_INTERNAL_ERROR);
        }
        self.cards.push((card, context));
        Ok(())
    }
}

/// Adds an established context. If refused, it must not be used or released.
pub(super) fn add_context(context: &ContextHandle) -> Result<(), ReturnCode> {
    match context.looked_up_number() {
        Some(number) => lock(&IN_USE).add_context(number),
        None => Ok(()),
    }
}

/// Removes a released context and its handles.
pub(super) fn remove_context(context: &ContextHandle) {
    if let Some(number) = context.looked_up_number() {
        lock(&IN_USE).remove_context(number);
    }
}

/// Adds a handle of a card or reader. If refused, it must not be used; it ends with its context.
pub(super) fn add_card(card: CardHandle, context: &ContextHandle) -> Result<(), ReturnCode> {
    match context.looked_up_number() {
        Some(number) => lock(&IN_USE).add_card(card.number(), number),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_accepted_again_when_it_is_free() {
        let mut numbers = Numbers {
            contexts: Vec::new(),
            cards: Vec::new(),
        };
        let refused = Err(ReturnCode::F_INTERNAL_ERROR);
        assert_eq!(numbers.add_context(1), Ok(()));
        assert_eq!(numbers.add_context(2), Ok(()));
        assert_eq!(numbers.add_context(1), refused);
        assert_eq!(numbers.add_card(7, 1), Ok(()));
        assert_eq!(numbers.add_card(7, 2), refused);
        numbers.remove_context(2);
        assert_eq!(numbers.add_card(7, 2), refused);
        numbers.remove_context(1);
        assert_eq!(numbers.add_context(1), Ok(()));
        assert_eq!(numbers.add_card(7, 1), Ok(()));
    }
}
