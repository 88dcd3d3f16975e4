//! Checks which types can be sent to other threads, and which can be keys.

use super::*;

fn is_shared<T: Send + Sync + 'static>() {}

fn borrows_and_is_shared<T: Send + Sync>() {}

fn borrows<T: Send>() {}

#[test]
fn values_and_errors_can_go_to_other_threads() {
    is_shared::<Command>();
    is_shared::<Response>();
    is_shared::<apdu::ExchangeError>();
    is_shared::<Error>();
    // What `anyhow` requires of an error.
    is_shared::<HandleError<Card>>();
    is_shared::<HandleError<Reader>>();
    is_shared::<SessionError>();
    is_shared::<ReaderName>();
    is_shared::<features::ReaderFeatures>();
    is_shared::<attributes::AttributeError>();
    is_shared::<contactless::ContactlessError>();
}

#[test]
fn values_can_be_keys() {
    use std::hash::Hash;

    fn is_in_sets<T: Eq + Hash>() {}
    fn is_in_order<T: Ord + Hash>() {}
    is_in_order::<Atr>();
    is_in_order::<Attribute>();
    is_in_order::<ControlCode>();
    is_in_order::<Disposition>();
    is_in_order::<Initialization>();
    is_in_order::<Platform>();
    is_in_order::<Protocol>();
    is_in_order::<ReaderName>();
    is_in_order::<ReturnCode>();
    is_in_order::<Scope>();
    is_in_order::<Severity>();
    is_in_order::<ShareMode>();
    is_in_order::<StatusWord>();
    is_in_order::<Usage>();
    is_in_order::<apdu::Header>();
    is_in_order::<attributes::ChannelId>();
    is_in_order::<codes::CryptokiRv>();
    is_in_order::<codes::Family>();
    is_in_order::<codes::CryptoApiStatus>();
    is_in_order::<codes::SspiStatus>();
    is_in_order::<codes::WlanReason>();
    is_in_order::<features::Feature>();
    is_in_order::<features::Property>();
    is_in_sets::<AtrProblem>();
    is_in_sets::<AtrReading>();
    is_in_sets::<CardCapabilities>();
    is_in_sets::<CardState>();
    is_in_sets::<CardStatus>();
    is_in_sets::<Event>();
    is_in_sets::<Protocols>();
    is_in_sets::<ReaderFlags>();
    is_in_sets::<ReaderState>();
    is_in_sets::<codes::Meaning>();
    is_in_sets::<features::ReaderFeatures>();
    is_in_sets::<features::ReaderProperties>();
}

#[test]
fn handles_can_go_to_other_threads() {
    fn goes<T: Send + 'static>() {}
    goes::<Monitor>();
    goes::<Session>();
    is_shared::<Card>();
    is_shared::<Reader>();
    is_shared::<Context>();
    is_shared::<AbortHandle>();
}

#[test]
fn boxed_cards_implement_the_card_traits() {
    fn is_card<T: Transmit>() {}
    is_card::<Box<dyn Transmit>>();
    is_card::<&mut dyn Transmit>();
    is_card::<Box<SessionGuard<'_>>>();
}

#[test]
fn handles_that_borrow_can_go_to_other_threads() {
    type Nested<T> = LogicalChannel<'static, LogicalChannel<'static, T>>;
    borrows_and_is_shared::<Transaction<'_>>();
    borrows_and_is_shared::<SessionCard<'_>>();
    borrows::<SessionGuard<'_>>();
    borrows_and_is_shared::<LogicalChannel<'_, Card>>();
    borrows_and_is_shared::<LogicalChannel<'_, dyn Transmit + Send + Sync>>();
    borrows_and_is_shared::<Nested<SessionCard<'static>>>();
    borrows_and_is_shared::<Contactless<'_, Transaction<'_>>>();
    borrows_and_is_shared::<apdu::CommandBytes<'_>>();
}

#[cfg(feature = "async")]
mod futures {
    use std::future::Future;
    use std::time::Duration;

    use super::*;
    use crate::features::{PinFormat, PinVerification, ReaderFeatures};

    fn goes<T: Send>(_: T) {}

    #[test]
    fn handles_can_go_to_other_threads() {
        fn can_go<T: Send + 'static>() {}
        is_shared::<AsyncContext>();
        is_shared::<AsyncCard>();
        is_shared::<AsyncReader>();
        can_go::<AsyncSession>();
        can_go::<AsyncSessionGuard<'static>>();
        can_go::<EventStream>();
        is_shared::<AsyncTransaction<'static>>();
        is_shared::<AsyncLogicalChannel<'static, AsyncCard>>();
        is_shared::<AsyncLogicalChannel<'static, AsyncTransaction<'static>>>();
        is_shared::<AsyncContactless<'static, AsyncCard>>();
    }

    /// Compiles if every future can be sent to other threads.
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
        goes(async {
            let mut card = session.begin().await?;
            card.exchange(&Command::open_channel()).await.ok();
            Ok::<_, SessionError>(over_any(&mut card).await)
        });
    }

    /// Compiles if that holds for every implementation, which an `async fn` would not promise.
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
