//! Forwarding for pointers, channels and guards of a card or reader. They forward all methods of a
//! trait, not only the required ones, so that overridden methods are not lost.
//!
//! `forward_control!(self => self.card)` implements the methods of [`Control`](super::Control),
//! `forward_control!(async self => self.card)` those of [`AsyncControl`](super::AsyncControl), and
//! `forward_transmit!` those of the other two. Methods that cannot be called on a `dyn` of the
//! trait are omitted.

macro_rules! forward_control {
    (async $self:ident => $to:expr) => {
        $crate::exchange::forward::forward_control!([async] [.await] $self => $to);

        async fn attribute_value<V>(
            &mut $self,
            attribute: $crate::attributes::TypedAttribute<V>,
        ) -> Result<V, $crate::attributes::AttributeError> {
            $to.attribute_value(attribute).await
        }
    };
    ($self:ident => $to:expr) => {
        $crate::exchange::forward::forward_control!([] [] $self => $to);
    };
    ([$($async:tt)?] [$($await:tt)*] $self:ident => $to:expr) => {
        fn reader_name(&$self) -> &$crate::values::ReaderName {
            $to.reader_name()
        }

        $($async)? fn control(
            &mut $self,
            code: $crate::values::ControlCode,
            input: &[u8],
        ) -> $crate::error::Result<Vec<u8>> {
            $to.control(code, input) $($await)*
        }

        $($async)? fn attribute(
            &mut $self,
            attribute: $crate::values::Attribute,
        ) -> $crate::error::Result<Vec<u8>> {
            $to.attribute(attribute) $($await)*
        }

        $($async)? fn set_attribute(
            &mut $self,
            attribute: $crate::values::Attribute,
            value: &[u8],
        ) -> $crate::error::Result<()> {
            $to.set_attribute(attribute, value) $($await)*
        }

        $($async)? fn control_exclusively(
            &mut $self,
            code: $crate::values::ControlCode,
            input: &[u8],
        ) -> $crate::error::Result<Vec<u8>> {
            $to.control_exclusively(code, input) $($await)*
        }

        $($async)? fn features(&mut $self) -> $crate::error::Result<$crate::features::ReaderFeatures> {
            $to.features() $($await)*
        }

        $($async)? fn reader_properties(
            &mut $self,
            features: &$crate::features::ReaderFeatures,
        ) -> $crate::error::Result<$crate::features::ReaderProperties> {
            $to.reader_properties(features) $($await)*
        }

        $($async)? fn pin_pad_properties(
            &mut $self,
            features: &$crate::features::ReaderFeatures,
        ) -> $crate::error::Result<Option<$crate::features::PinPadProperties>> {
            $to.pin_pad_properties(features) $($await)*
        }

        $($async)? fn display_properties(
            &mut $self,
            features: &$crate::features::ReaderFeatures,
        ) -> $crate::error::Result<Option<$crate::features::DisplayProperties>> {
            $to.display_properties(features) $($await)*
        }

        $($async)? fn abort_pin_entry(
            &mut $self,
            features: &$crate::features::ReaderFeatures,
        ) -> $crate::error::Result<()> {
            $to.abort_pin_entry(features) $($await)*
        }

        $($async)? fn verify_pin(
            &mut $self,
            features: &$crate::features::ReaderFeatures,
            request: &$crate::features::PinVerification,
        ) -> $crate::error::Result<$crate::features::PinPadAnswer> {
            $to.verify_pin(features, request) $($await)*
        }

        $($async)? fn modify_pin(
            &mut $self,
            features: &$crate::features::ReaderFeatures,
            request: &$crate::features::PinModification,
        ) -> $crate::error::Result<$crate::features::PinPadAnswer> {
            $to.modify_pin(features, request) $($await)*
        }
    };
}

macro_rules! forward_transmit {
    (async $self:ident => $to:expr) => {
        $crate::exchange::forward::forward_transmit!([async] [.await] $self => $to);
    };
    ($self:ident => $to:expr) => {
        $crate::exchange::forward::forward_transmit!([] [] $self => $to);
    };
    ([$($async:tt)?] [$($await:tt)*] $self:ident => $to:expr) => {
        fn protocol(&$self) -> Option<$crate::values::Protocol> {
            $to.protocol()
        }

        $($async)? fn atr(&mut $self) -> $crate::error::Result<$crate::values::Atr> {
            $to.atr() $($await)*
        }

        $($async)? fn send(
            &mut $self,
            command: $crate::apdu::CommandBytes<'_>,
        ) -> $crate::error::Result<&[u8]> {
            $to.send(command) $($await)*
        }

        fn exchange_options(&$self) -> $crate::apdu::ExchangeOptions {
            $to.exchange_options()
        }

        $($async)? fn reader_max_data(&mut $self) -> Option<u32> {
            $to.reader_max_data() $($await)*
        }

        $($async)? fn transmit(&mut $self, command: &[u8]) -> $crate::error::Result<Vec<u8>> {
            $to.transmit(command) $($await)*
        }

        $($async)? fn transmit_ref(&mut $self, command: &[u8]) -> $crate::error::Result<&[u8]> {
            $to.transmit_ref(command) $($await)*
        }

        $($async)? fn transmit_secret(&mut $self, command: &[u8]) -> $crate::error::Result<Vec<u8>> {
            $to.transmit_secret(command) $($await)*
        }

        $($async)? fn exchange(
            &mut $self,
            command: &$crate::apdu::Command,
        ) -> Result<$crate::apdu::Response, $crate::apdu::ExchangeError> {
            $to.exchange(command) $($await)*
        }

        $($async)? fn exchange_with(
            &mut $self,
            command: &$crate::apdu::Command,
            options: &$crate::apdu::ExchangeOptions,
        ) -> Result<$crate::apdu::Response, $crate::apdu::ExchangeError> {
            $to.exchange_with(command, options) $($await)*
        }

        $($async)? fn send_on(
            &mut $self,
            channel: u8,
            command: $crate::apdu::CommandBytes<'_>,
        ) -> $crate::error::Result<&[u8]> {
            $to.send_on(channel, command) $($await)*
        }

        $($async)? fn exchange_on(
            &mut $self,
            channel: u8,
            command: &$crate::apdu::Command,
            options: &$crate::apdu::ExchangeOptions,
        ) -> Result<$crate::apdu::Response, $crate::apdu::ExchangeError> {
            $to.exchange_on(channel, command, options) $($await)*
        }
    };
}

pub(crate) use {forward_control, forward_transmit};
