//! What the tests share on platforms without the test kit.
#![allow(dead_code, unreachable_pub)]

pub mod random;
