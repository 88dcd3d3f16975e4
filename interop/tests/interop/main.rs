//! Published third-party card applications as virtual cards, with third-party clients:
//! `openpgp-card` over `card-backend-scard`, GnuPG, OpenSC and pcsc-tools.
//!
//! The tests run over the driver named by `SCARD_TESTKIT_DRIVER`; `ci/interop` runs them over both
//! drivers, and over both the library and the socket.
#![cfg(target_os = "linux")]

mod applets;
mod clients;
mod openpgp;
mod openssl;
mod piv;
mod together;
mod trussed;
