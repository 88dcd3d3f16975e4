//! PC/SC and this library, explained. This module contains only documentation.
//!
//! - [`pcsc`]: PC/SC in ten minutes, for newcomers.
//! - [`reconnect`]: the states of a connection, and how reconnecting changes them.
//! - [`endings`]: what ends a transaction or a connection, and what happens to the card.
//! - [`cookbook`]: short programs for common tasks.
//! - [`deployment`]: permissions, containers, limits, and other programs that use the cards.
//! - [`from_pcsc_crate`]: from the `pcsc` crate, item by item.
//! - [`from_pyscard`]: from Python's pyscard, call by call.
//! - [`from_others`]: from Java's `javax.smartcardio` and .NET's PCSC-sharp.

pub mod cookbook {
    #![doc = include_str!("cookbook.md")]
    #![cfg_attr(feature = "async", doc = include_str!("cookbook_async.md"))]
    #![cfg_attr(
        all(feature = "socket", unix, not(target_vendor = "apple")),
        doc = include_str!("cookbook_socket.md")
    )]

    #[cfg(doc)]
    use crate::*;
}

pub mod deployment {
    #![doc = include_str!("deployment.md")]

    #[cfg(doc)]
    use crate::*;
}

pub mod endings {
    #![doc = include_str!("endings.md")]

    #[cfg(doc)]
    use crate::*;
}

pub mod from_others {
    #![doc = include_str!("from_others.md")]

    #[cfg(doc)]
    use crate::*;
}

pub mod from_pcsc_crate {
    #![doc = include_str!("from_pcsc_crate.md")]

    #[cfg(doc)]
    use crate::*;
}

pub mod from_pyscard {
    #![doc = include_str!("from_pyscard.md")]

    #[cfg(doc)]
    use crate::*;
}

pub mod pcsc {
    #![doc = include_str!("pcsc.md")]
    #![cfg_attr(feature = "async", doc = include_str!("pcsc_async.md"))]

    #[cfg(doc)]
    use crate::*;
}

pub mod reconnect {
    #![doc = include_str!("reconnect.md")]

    #[cfg(doc)]
    use crate::*;
}
