//! The implementations of PC/SC.

use std::fmt;

/// An implementation of PC/SC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Platform {
    /// winscard, on Windows and in Wine.
    Windows,
    /// PCSC.framework, on macOS.
    MacOs,
    /// pcsc-lite, on Linux, BSD and other systems.
    PcscLite,
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Platform::Windows => "Windows",
            Platform::MacOs => "macOS",
            Platform::PcscLite => "pcsc-lite",
        })
    }
}

impl Platform {
    /// The implementation this program runs on.
    pub const CURRENT: Platform = if cfg!(any(windows, stand_in = "windows")) {
        Platform::Windows
    } else if cfg!(target_os = "macos") {
        Platform::MacOs
    } else {
        Platform::PcscLite
    };
}
