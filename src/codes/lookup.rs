//! Looks up numbers and names in every family.

use std::fmt;

use super::table::{Row, Table};
use super::text::{Identity, Mention};
use super::{CryptoApiStatus, CryptokiRv, ReturnCode, Severity, SspiStatus, WlanReason};
use crate::codes::Platform;

/// A family of codes. The same number can mean something different in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Family {
    /// The codes of the PC/SC functions themselves, `SCARD_…`: [`ReturnCode`].
    Scard,
    /// The Windows system codes in [`ReturnCode`]: `ERROR_…`, `RPC_…` and `EPT_…`.
    ///
    /// PC/SC functions return these, too.
    System,
    /// The status codes of the Windows security packages, `SEC_…`: [`SspiStatus`].
    Sspi,
    /// The codes of Windows' cryptography, `NTE_…`, `CRYPT_E_…`, `CERT_E_…`: [`CryptoApiStatus`].
    CryptoApi,
    /// The return values of PKCS #11, `CKR_…`: [`CryptokiRv`].
    Cryptoki,
    /// The reason codes of Windows WLAN, `WLAN_REASON_CODE_…` and `ONEX_…`: [`WlanReason`].
    Wlan,
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Family::Scard => "PC/SC",
            Family::System => "Windows system code",
            Family::Sspi => "SSPI",
            Family::CryptoApi => "CryptoAPI",
            Family::Cryptoki => "PKCS #11",
            Family::Wlan => "WLAN",
        })
    }
}

/// One meaning of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Meaning {
    family: Family,
    code: u32,
    row: &'static Row,
}

impl Meaning {
    /// Returns the family of the code.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Returns the number.
    pub fn code(&self) -> u32 {
        self.code
    }

    /// The number as the family defines it, without the `HRESULT` wrapping.
    pub(crate) fn value(&self) -> u32 {
        self.row.value
    }

    /// A platform on which the number has this meaning. Meanings not marked otherwise are from
    /// Windows.
    pub(crate) fn platform(&self) -> Platform {
        self.row
            .platforms
            .first()
            .copied()
            .unwrap_or(Platform::Windows)
    }

    /// Returns the name in the C headers.
    pub fn name(&self) -> &'static str {
        self.row.name
    }

    /// Returns the description: a clause, not capitalized and without a full stop.
    pub fn description(&self) -> &'static str {
        self.row.description
    }

    /// Returns the severity encoded in the name, if any.
    pub fn severity(&self) -> Option<Severity> {
        self.row.severity()
    }

    /// Returns the platforms on which the number has this meaning, if it differs on others.
    ///
    /// `None` if the meaning does not depend on the platform.
    pub fn only_on(&self) -> Option<&'static [Platform]> {
        match self.row.platforms {
            [] => None,
            platforms => Some(platforms),
        }
    }

    /// Returns the Windows system code inside an `HRESULT` 0x8007….
    ///
    /// ```
    /// let meaning = scard::codes::lookup(0x8007_0006).next().unwrap();
    /// assert_eq!(meaning.name(), "ERROR_INVALID_HANDLE");
    /// assert_eq!(meaning.code(), 0x8007_0006);
    /// assert_eq!(meaning.system_code(), Some(6));
    /// ```
    pub fn system_code(&self) -> Option<u32> {
        (self.family == Family::System).then_some(self.row.value)
    }
}

/// Formats like the code itself: `the card was reset (SCARD_W_RESET_CARD, 0x80100068)`.
impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let identity = Identity {
            name: Some(self.name()),
            number: self.code,
        };
        write!(f, "{} ({identity})", self.description())
    }
}

/// Returns every meaning of a number, in the order of [`Family`].
///
/// ```
/// use scard::codes::{self, Family};
///
/// let names: Vec<_> = codes::lookup(6).map(|meaning| meaning.name()).collect();
/// assert_eq!(names, ["ERROR_INVALID_HANDLE", "CKR_FUNCTION_FAILED"]);
///
/// assert_eq!(codes::lookup(0x0005_0007).next().unwrap().family(), Family::Wlan);
/// assert_eq!(codes::lookup(0x8010_00FF).next(), None);
/// ```
pub fn lookup(number: u32) -> impl Iterator<Item = Meaning> {
    let mention = Mention {
        name: None,
        number: Some(number),
    };
    meanings(mention)
}

/// Returns every code with a name, ignoring case: the C name, or the name of the constant.
///
/// ```
/// use scard::codes;
///
/// let code = |name| codes::lookup_name(name).map(|meaning| meaning.code()).next();
/// assert_eq!(code("SCARD_W_RESET_CARD"), Some(0x8010_0068));
/// assert_eq!(code("ckr_pin_locked"), Some(0xA4));
/// assert_eq!(code("W_RESET_CARD"), Some(0x8010_0068));
/// assert_eq!(code("SCARD_W_LOST_CARD"), None);
///
/// // SCARD_E_INVALID_HANDLE and SEC_E_INVALID_HANDLE
/// assert_eq!(codes::lookup_name("E_INVALID_HANDLE").count(), 2);
/// ```
pub fn lookup_name(name: &str) -> impl Iterator<Item = Meaning> {
    let mention = Mention {
        name: Some(name.trim()),
        number: None,
    };
    meanings(mention)
}

/// Returns every meaning of a text that is, or ends with, a code.
///
/// The text is a number as read by [`parse_number`](super::parse_number), a name as read by
/// [`lookup_name`], or any text that ends with one or both in parentheses, like the `Display`
/// output of codes and errors. To find codes anywhere in a line, use [`scan`](super::scan()).
///
/// ```
/// use scard::codes;
///
/// let line = "SCardTransmit failed: the card was reset (SCARD_W_RESET_CARD, 0x80100068)";
/// for text in ["-2146434968", "0x80100068", "SCARD_W_RESET_CARD", line] {
///     let meaning = codes::parse(text).next().unwrap();
///     assert_eq!(meaning.description(), "the card was reset");
/// }
/// ```
pub fn parse(text: &str) -> impl Iterator<Item = Meaning> {
    meanings(Mention::of(text))
}

/// `HRESULT_FROM_WIN32`: marks the low half as a Windows system code.
const HRESULT_FROM_SYSTEM: u32 = 0x8007_0000;

static FAMILIES: [(Family, Table); 6] = [
    (Family::Scard, ReturnCode::TABLE),
    (Family::System, ReturnCode::TABLE),
    (Family::Sspi, SspiStatus::TABLE),
    (Family::CryptoApi, CryptoApiStatus::TABLE),
    (Family::Cryptoki, CryptokiRv::TABLE),
    (Family::Wlan, WlanReason::TABLE),
];

pub(super) fn meanings(mention: Mention<'_>) -> impl Iterator<Item = Meaning> {
    let asked = mention.name.is_some() || mention.number.is_some();
    FAMILIES
        .iter()
        .filter(move |_| asked)
        .flat_map(|(family, table)| table.rows().map(move |row| (*family, row)))
        .filter(|(family, row)| match family {
            Family::Scard => !is_system(row),
            Family::System => is_system(row),
            _ => true,
        })
        .filter(move |(_, row)| mention.name.is_none_or(|name| row.is_called(name)))
        .filter_map(move |(family, row)| {
            let wrapped = HRESULT_FROM_SYSTEM | row.value;
            let code = match mention.number {
                None => row.value,
                Some(number) if number == row.value => number,
                Some(number) if family == Family::System && number == wrapped => number,
                Some(_) => return None,
            };
            Some(Meaning { family, code, row })
        })
}

/// The rows of all families.
pub(super) fn rows() -> impl Iterator<Item = &'static Row> {
    FAMILIES.iter().flat_map(|(_, table)| table.rows())
}

fn is_system(row: &Row) -> bool {
    ["ERROR_", "RPC_", "EPT_"]
        .iter()
        .any(|prefix| row.name.starts_with(prefix))
}
