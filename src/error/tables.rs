//! The tables in the documentation, which are also what the tests compare with.

use crate::codes::{Platform, ReturnCode};

/// The file is written by the test; on a failure, put what is printed into it.
#[track_caller]
pub(super) fn assert_written(file: &str, is: &str, written: &str) {
    if is != written {
        println!("{written}");
        panic!("src/error/{file} is not what is printed above");
    }
}

/// A code as the tables name it.
pub(super) fn name(code: ReturnCode) -> String {
    let name = code.name_on(Platform::Windows).expect("a known code");
    format!("`{name}` {:#X}", code.raw())
}
