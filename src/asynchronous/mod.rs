//! Futures for every call that waits.
//!
//! A call runs on the worker of its card, as a call with a limit of time does without this;
//! what it does there is written once, in `call`. Here is only what its caller sees.

mod card;
mod context;
mod reader;
mod session;
mod transaction;

pub use card::AsyncCard;
pub use context::AsyncContext;
pub use reader::AsyncReader;
pub use session::AsyncSession;
pub use transaction::AsyncTransaction;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::apdu::Command;
    use crate::attributes;
    use crate::exchange::{AsyncContactless, AsyncControl, AsyncLogicalChannel, AsyncTransmit};
    use crate::features::{PinFormat, PinVerification, ReaderFeatures};
    use crate::{
        Attribute, CardFilter, ConnectOptions, ControlCode, Disposition, EventStream,
        Initialization, Protocols, ReaderName, Session, SessionCard, ShareMode,
    };

    fn goes<T: Send>(_: T) {}

    fn is_shared<T: Send + Sync + 'static>() {}

    #[test]
    fn handles_can_go_to_other_threads() {
        fn can_go<T: Send + 'static>() {}
        is_shared::<AsyncContext>();
        is_shared::<AsyncCard>();
        is_shared::<AsyncReader>();
        can_go::<AsyncSession>();
        can_go::<EventStream>();
        is_shared::<AsyncTransaction<'static>>();
        is_shared::<AsyncLogicalChannel<'static, AsyncCard>>();
        is_shared::<AsyncLogicalChannel<'static, AsyncTransaction<'static>>>();
        is_shared::<AsyncContactless<'static, AsyncCard>>();
    }

    /// Compiles if every future can go to other threads.
    #[allow(dead_code, unused_must_use)]
    fn futures_can_go_to_other_threads(
        context: AsyncContext,
        name: &ReaderName,
        card: &mut AsyncCard,
        reader: &mut AsyncReader,
        session: &mut AsyncSession,
        events: &mut EventStream,
    ) {
        let (shared, any, leave) = (ShareMode::Shared, Protocols::ANY, Initialization::Leave);
        goes(AsyncContext::establish());
        goes(context.readers());
        goes(context.reader_groups());
        goes(context.reader_states());
        goes(context.connect(name, ConnectOptions::new()));
        goes(context.wait_for_card(&CardFilter::new(), None));
        goes(context.wait_for_removal(&CardFilter::new(), None));
        goes(events.next());
        goes(events.wait_for_card(&CardFilter::new(), None));
        goes(events.wait_for_removal(&CardFilter::new(), None));
        goes(context.open_reader(name));
        goes(context.clone().release());
        goes(Session::builder(context.context()).open_async());
        goes(card.transmit(&[]));
        goes(card.reconnect(shared, any, leave));
        goes(card.status());
        goes(card.control(ControlCode::GET_FEATURE_REQUEST, &[]));
        goes(card.attribute(Attribute::VENDOR_NAME));
        goes(card.set_attribute(Attribute::VENDOR_NAME, &[]));
        goes(card.attribute_value(attributes::VENDOR_NAME));
        goes(card.features());
        let features = ReaderFeatures::default();
        goes(card.reader_properties(&features));
        let pin = PinVerification::iso(0, PinFormat::ascii());
        goes(card.verify_pin(&features, &pin));
        goes(reader.abort_pin_entry(&features));
        goes(card.transaction());
        goes(async {
            let mut transaction = card.transaction().await?;
            transaction.transmit(&[]).await?;
            transaction.reconnect(shared, any, leave).await?;
            transaction.end(Disposition::Leave).await
        });
        goes(async {
            let mut channel = card.logical_channel().await?;
            channel.exchange(&Command::open_channel()).await?;
            channel.transmit_secret(&[]).await?;
            channel.contactless().uid().await.ok();
            channel.close().await
        });
        goes(over_any(card));
        goes(card.within(Duration::MAX, async |card| card.status().await));
        goes(card.within(Duration::MAX, async |card| {
            let mut transaction = card.transaction().await?;
            transaction.transmit(name.as_bytes()).await?;
            transaction.end(Disposition::Leave).await
        }));
        goes(reader.status());
        goes(reader.reconnect(leave));
        goes(session.keep_alive());
        goes(session.run(|card: &mut SessionCard<'_>| card.transmit(&[])));
        goes(session.run_restartable(|card: &mut SessionCard<'_>| card.transmit(&[])));
    }

    /// Compiles if that holds for every implementation, too: an `async fn` would not say so.
    #[allow(clippy::manual_async_fn)]
    fn over_any(card: &mut impl AsyncTransmit) -> impl Future<Output = crate::Result<()>> + Send {
        async {
            card.features().await?;
            card.contactless().uid().await.ok();
            if let Ok(mut channel) = card.logical_channel().await {
                channel.transmit_ref(&[]).await?;
                channel.logical_channel().await.ok();
            }
            card.atr().await.map(drop)
        }
    }

    #[allow(dead_code, unused_must_use)]
    fn futures_that_own_can_go_to_other_threads(
        cards: (AsyncCard, AsyncCard, AsyncCard),
        readers: (AsyncReader, AsyncReader, AsyncReader),
        session: AsyncSession,
    ) {
        let (shared, any, leave) = (ShareMode::Shared, Protocols::ANY, Initialization::Leave);
        goes(cards.0.disconnect(Disposition::Leave));
        goes(cards.1.into_reader(leave));
        goes(cards.2.into_card());
        goes(readers.0.disconnect(Disposition::Leave));
        goes(readers.1.into_card(shared, any, leave));
        goes(readers.2.into_reader());
        goes(session.into_session());
    }
}
