//! Tests of `scard` with published card applications and clients: they are in `tests/interop`, and
//! `ci/interop` runs them. This library is empty.
