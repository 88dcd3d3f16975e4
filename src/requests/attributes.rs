//! The call, on all that have attributes.

#[cfg(feature = "async")]
use crate::asynchronous::{AsyncCard, AsyncReader, AsyncTransaction};
use crate::attributes::{AttributeError, TypedAttribute};
use crate::card::{Card, Reader, Transaction};
use crate::session::SessionCard;

macro_rules! attribute_value {
    ($(#[$gate:meta])* $type:ty, [$($async:tt)?], [$($await:tt)*], $cancel:literal) => {
        $(#[$gate])*
        impl $type {
            /// The value of an attribute that has a type: [`attributes`](crate::attributes).
            ///
            /// Corresponds to `SCardGetAttrib`.
            ///
            /// # Errors
            ///
            /// [`AttributeError::Call`] with the errors of
            /// [`Card::attribute`](crate::Card::attribute); [`AttributeError::Value`] if the
            /// driver gave something else.
            #[doc = $cancel]
            #[doc(alias = "SCardGetAttrib")]
            pub $($async)? fn attribute_value<T>(
                &mut self,
                attribute: TypedAttribute<T>,
            ) -> Result<T, AttributeError> {
                let bytes = self.attribute(attribute.attribute())$($await)*?;
                Ok(attribute.read(&bytes)?)
            }
        }
    };
}

attribute_value!(Card, [], [], "");
attribute_value!(Transaction<'_>, [], [], "");
attribute_value!(SessionCard<'_>, [], [], "");
attribute_value!(Reader, [], [], "");
attribute_value!(
    #[cfg(feature = "async")]
    AsyncCard,
    [async],
    [.await],
    "# Cancel safety\n\n[Dropping the future](AsyncCard#dropping-a-future) abandons the card."
);
attribute_value!(
    #[cfg(feature = "async")]
    AsyncTransaction<'_>,
    [async],
    [.await],
    "# Cancel safety\n\n[Dropping the future](AsyncCard#dropping-a-future) abandons the card."
);
attribute_value!(
    #[cfg(feature = "async")]
    AsyncReader,
    [async],
    [.await],
    "# Cancel safety\n\n[Dropping the future](AsyncCard#dropping-a-future) abandons the reader."
);
