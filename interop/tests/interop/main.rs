//! Card applications that others have written and published, as virtual cards, with clients that
//! others have written: `openpgp-card` over `card-backend-scard`, GnuPG, OpenSC and pcsc-tools.
//!
//! Each test runs over the driver that `SCARD_TESTKIT_DRIVER` names; `ci/interop` runs them over
//! both, and by each of the two ways to the daemon.
#![cfg(target_os = "linux")]

mod applets;
mod clients;
mod openpgp;
mod openssl;
mod piv;
mod together;
mod trussed;
