//! Published card applications and clients, tried with `scard`: the tests in `tests/interop`, which
//! `ci/interop` runs. Nothing is in this library.
