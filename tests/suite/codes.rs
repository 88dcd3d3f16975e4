//! The tables of codes compared with the reference documents and the ecosystem's own constants, and
//! parsing compared with formatting.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Display, LowerHex, UpperHex};
use std::str::FromStr;

use scard::codes::{
    self, CryptoApiStatus, CryptokiRv, Family, ParseCodeError, SspiStatus, WlanReason,
};
use scard::{Platform, ReturnCode, Severity};

#[path = "../data/ecosystem.rs"]
mod ecosystem;

/// What all code types share, so that each property is checked by the same code.
trait Code:
    Copy + Eq + Debug + Display + LowerHex + UpperHex + From<u32> + FromStr<Err = ParseCodeError>
{
    fn from_raw(raw: u32) -> Self;
    fn raw(self) -> u32;
    fn known() -> Vec<Self>;
    fn from_name(name: &str) -> Option<Self>;
    fn name(self) -> Option<&'static str>;
    fn description(self) -> &'static str;
    fn severity(self) -> Option<Severity>;
}

macro_rules! impl_code {
    ($($Type:ident)+) => { $(
        impl Code for $Type {
            fn from_raw(raw: u32) -> Self { $Type::from_raw(raw) }
            fn raw(self) -> u32 { $Type::raw(self) }
            fn known() -> Vec<Self> { $Type::known().collect() }
            fn from_name(name: &str) -> Option<Self> { $Type::from_name(name) }
            fn name(self) -> Option<&'static str> { $Type::name(self) }
            fn description(self) -> &'static str { $Type::description(self) }
            fn severity(self) -> Option<Severity> { $Type::severity(self) }
        }
    )+ };
}
impl_code! { ReturnCode SspiStatus CryptoApiStatus CryptokiRv WlanReason }

/// Runs a generic check for every family.
macro_rules! for_each_family {
    ($check:ident) => {
        $check::<ReturnCode>();
        $check::<SspiStatus>();
        $check::<CryptoApiStatus>();
        $check::<CryptokiRv>();
        $check::<WlanReason>();
    };
}

/// The (name, number) of each line of a list.
fn document(text: &'static str) -> Vec<(&'static str, Option<u32>)> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entries: Vec<_> = lines
        .map(|line| match line.split_once(' ') {
            None => (line, None),
            Some((name, number)) => (name, Some(codes::parse_number(number).unwrap())),
        })
        .collect();
    assert!(entries.len() > 40, "the list is empty or cut off");
    entries
}

/// The names of the family's constants, for PC/SC those on Windows.
fn names<C: Code>(name: impl Fn(C) -> Option<&'static str>) -> BTreeSet<&'static str> {
    C::known().into_iter().filter_map(name).collect()
}

fn values(lists: &[ecosystem::Constants]) -> BTreeMap<&'static str, u32> {
    lists.iter().copied().flatten().copied().collect()
}

/// Every constant has the same number in both crates, and except for the given names, neither has a
/// name that the other lacks.
fn assert_same<C: Code>(
    own: &BTreeSet<&str>,
    theirs: &BTreeMap<&'static str, u32>,
    only_ours: &[&str],
    other_names: &[&str],
) {
    for (name, value) in theirs {
        let code = C::from_name(name).map(C::raw);
        assert_eq!(code, Some(*value), "{name}");
    }
    let names: BTreeSet<&str> = theirs.keys().copied().collect();
    assert_eq!(own - &names, only_ours.iter().copied().collect());
    assert_eq!(&names - own, other_names.iter().copied().collect());
}

/// The document's names that are not constants of the table. All of them are known, with the
/// document's number if it has one.
fn unlisted<C: Code>(
    document: &[(&'static str, Option<u32>)],
    own: &BTreeSet<&str>,
    from_name: impl Fn(&str) -> Option<C>,
) -> Vec<&'static str> {
    for (name, number) in document {
        let code = from_name(name).unwrap_or_else(|| panic!("{name} is not known"));
        if let Some(number) = number {
            assert_eq!(code.raw(), *number, "{name}");
        }
    }
    let names = document.iter().map(|(name, _)| *name);
    names.filter(|name| !own.contains(name)).collect()
}

fn on_windows(name: &str) -> Option<ReturnCode> {
    ReturnCode::from_name_on(name, Platform::Windows)
}

#[test]
fn scard_is_the_document() {
    let document = document(include_str!("../data/scard.txt"));
    let own = names(|code: ReturnCode| code.name_on(Platform::Windows));
    assert!(unlisted(&document, &own, on_windows).is_empty());

    let theirs: BTreeSet<&str> = document.iter().map(|(name, _)| *name).collect();
    assert_eq!(theirs.len(), document.len());
    let system: BTreeSet<&str> = values(&[ecosystem::SYSTEM, ecosystem::RPC])
        .into_keys()
        .collect();
    assert_eq!(
        &own - &theirs,
        &system - &BTreeSet::from(["ERROR_BROKEN_PIPE"])
    );
    assert_eq!(on_windows("SCARD_S_SUCCESS"), Some(ReturnCode::S_SUCCESS));
}

#[test]
fn scard_is_windows_sys() {
    let own = names(|code: ReturnCode| code.name_on(Platform::Windows));
    let theirs = values(&[ecosystem::SCARD, ecosystem::SYSTEM, ecosystem::RPC]);
    for (name, value) in &theirs {
        // The only name whose number in the document differs from the headers.
        if *name != "ERROR_BROKEN_PIPE" {
            assert_eq!(
                on_windows(name).map(ReturnCode::raw),
                Some(*value),
                "{name}"
            );
        }
        let code = ReturnCode::from_raw(*value);
        assert_eq!(code.name_on(Platform::Windows), Some(*name));
    }
    let names: BTreeSet<&str> = theirs.keys().copied().collect();
    assert_eq!(&own - &names, BTreeSet::from(["SCARD_S_SUCCESS"]));
    assert_eq!(&names - &own, BTreeSet::new());
}

#[test]
fn scard_is_pcsc_sys() {
    for (name, value) in ecosystem::PCSC {
        assert_eq!(
            ReturnCode::from_name(name).map(ReturnCode::raw),
            Some(*value),
            "{name}"
        );
    }
    // The bindings have two names for 0x8010001F off Windows; the rest is one to one.
    for (name, value) in ecosystem::PCSC {
        let printed = ReturnCode::from_raw(*value).name();
        if cfg!(windows) || *name != "SCARD_E_UNEXPECTED" {
            assert_eq!(printed, Some(*name));
        } else {
            assert_eq!(printed, Some("SCARD_E_UNSUPPORTED_FEATURE"));
        }
    }
}

#[test]
fn both_broken_pipes_are_named() {
    let name = Some("ERROR_BROKEN_PIPE");
    assert_eq!(ReturnCode::BROKEN_PIPE.raw(), 0x109);
    assert_eq!(ReturnCode::SYSTEM_BROKEN_PIPE.raw(), 109);
    assert_eq!(ReturnCode::BROKEN_PIPE.name(), name);
    assert_eq!(ReturnCode::SYSTEM_BROKEN_PIPE.name(), name);
    assert_eq!("ERROR_BROKEN_PIPE".parse(), Ok(ReturnCode::BROKEN_PIPE));
    let both: Vec<u32> = codes::lookup_name("ERROR_BROKEN_PIPE")
        .map(|meaning| meaning.code())
        .collect();
    assert_eq!(both, [0x109, 109]);
}

#[test]
fn sspi_is_the_document_and_windows_sys() {
    let own = names(SspiStatus::name);
    let document = document(include_str!("../data/sspi.txt"));
    // winerror.h defines it as SEC_E_UNSUPPORTED_FUNCTION.
    assert_eq!(
        unlisted(&document, &own, SspiStatus::from_name),
        ["SEC_E_NOT_SUPPORTED"]
    );
    let second = ["SEC_E_NOT_SUPPORTED", "SEC_E_NO_SPM"];
    assert_same::<SspiStatus>(&own, &values(&[ecosystem::SSPI]), &[], &second);
}

#[test]
fn crypto_api_is_windows_sys() {
    let own = names(CryptoApiStatus::name);
    assert_same::<CryptoApiStatus>(&own, &values(&[ecosystem::CRYPTO_API]), &[], &[]);
    for status in CryptoApiStatus::known() {
        assert_eq!(status.severity(), Some(Severity::Error), "{status:?}");
    }
}

#[test]
fn cryptoki_is_the_document_and_cryptoki_sys() {
    let own = names(CryptokiRv::name);
    let document = document(include_str!("../data/cryptoki.txt"));
    assert!(document.iter().all(|(_, number)| number.is_some()));
    assert_eq!(
        unlisted(&document, &own, CryptokiRv::from_name),
        ["CKR_ARGUMENT_BAD", "CKR_OPERATION_NOT_INITIALED"]
    );
    assert_same::<CryptokiRv>(&own, &values(&[ecosystem::CRYPTOKI]), &[], &[]);
}

#[test]
fn wlan_is_the_document_and_windows_sys() {
    let own = names(WlanReason::name);
    let document = document(include_str!("../data/wlan.txt"));
    assert_eq!(
        unlisted(&document, &own, WlanReason::from_name),
        ["WLAN_REASON_CODE_MSMSEC_SECURITY_UI_FAILURE"]
    );
    let theirs = values(&[ecosystem::WLAN, ecosystem::ONEX]);
    assert_same::<WlanReason>(&own, &theirs, &[], &["ONEX_REASON_CODE_SUCCESS"]);
}

#[test]
fn the_misspelt_names_are_read_and_never_written() {
    for (misspelt, name) in [
        (
            "CKR_OPERATION_NOT_INITIALED",
            "CKR_OPERATION_NOT_INITIALIZED",
        ),
        ("CKR_ARGUMENT_BAD", "CKR_ARGUMENTS_BAD"),
    ] {
        let found: Vec<_> = codes::lookup_name(misspelt).collect();
        assert_eq!(found, codes::lookup_name(name).collect::<Vec<_>>());
        assert_eq!(found[0].name(), name);
        assert_eq!(found.len(), 1);
    }
}

/// Numbers of every class: all low halves of the facilities that have codes and at the bounds of
/// the signed and unsigned range, and a sample of the rest.
fn numbers() -> impl Iterator<Item = u32> {
    let halves = [
        0x0000, 0x0001, 0x0002, 0x0003, 0x0004, 0x0005, 0x0008, 0x0009, 0x7FFF, 0x8000, 0x8007,
        0x8009, 0x800B, 0x8010, 0xC000, 0xFFFF,
    ];
    let dense = halves
        .into_iter()
        .flat_map(|high: u32| (0..=0xFFFF).map(move |low| high << 16 | low));
    let spread = (0..=u32::MAX).step_by(65_521);
    dense.chain(spread)
}

#[test]
fn every_number_passes_through() {
    fn check<C: Code + Into<u32>>() {
        for number in numbers() {
            assert_eq!(C::from_raw(number).raw(), number);
            assert_eq!(C::from(number), C::from_raw(number));
            assert_eq!(C::from(number).into(), number);
        }
    }
    for_each_family!(check);
}

#[test]
fn no_number_and_no_name_stands_twice() {
    fn check<C: Code>() {
        let numbers: BTreeSet<u32> = C::known().into_iter().map(C::raw).collect();
        assert_eq!(numbers.len(), C::known().len());
        let names: Vec<&str> = C::known().into_iter().filter_map(C::name).collect();
        let mut once = BTreeSet::new();
        for name in names {
            let twice = ["ERROR_BROKEN_PIPE", "SCARD_E_UNSUPPORTED_FEATURE"];
            assert!(once.insert(name) || twice.contains(&name), "{name}");
        }
    }
    for_each_family!(check);
}

#[test]
fn a_name_gives_its_code_back() {
    fn check<C: Code>() {
        for code in C::known() {
            let name = code.name().unwrap();
            let read = C::from_name(name).unwrap();
            assert_eq!(read.name(), Some(name));
            // Outside Windows, another number has the name of 0x80100022.
            let named_twice = code.raw() == ReturnCode::SYSTEM_BROKEN_PIPE.raw()
                || code.raw() == 0x8010_0022 && !cfg!(windows);
            if !named_twice {
                assert_eq!(read, code, "{name}");
            }
            assert_eq!(name.parse(), Ok(read));
            assert_eq!(name.to_lowercase().parse(), Ok(read));
            assert_eq!(format!(" {name}\r\n").parse(), Ok(read));
            assert_eq!(codes::parse_number(name), None, "{name} reads as a number");
        }
    }
    for_each_family!(check);
}

#[test]
fn a_name_gives_its_code_back_on_every_platform() {
    for platform in [Platform::Windows, Platform::MacOs, Platform::PcscLite] {
        for code in ReturnCode::known() {
            let Some(name) = code.name_on(platform) else {
                assert_eq!(code, ReturnCode::E_UNSUPPORTED_FEATURE);
                assert_ne!(platform, Platform::Windows);
                continue;
            };
            if code != ReturnCode::SYSTEM_BROKEN_PIPE {
                assert_eq!(ReturnCode::from_name_on(name, platform), Some(code));
            }
        }
    }
    let here = Platform::CURRENT;
    for number in numbers() {
        let code = ReturnCode::from_raw(number);
        let elsewhere = code.name_on(Platform::Windows);
        assert_eq!(code.name(), code.name_on(here).or(elsewhere));
    }
}

#[test]
fn names_are_those_of_the_platform() {
    let name = |raw, platform| ReturnCode::from_raw(raw).name_on(platform);
    let unsupported = Some("SCARD_E_UNSUPPORTED_FEATURE");
    assert_eq!(
        name(0x8010_001F, Platform::Windows),
        Some("SCARD_E_UNEXPECTED")
    );
    assert_eq!(name(0x8010_001F, Platform::MacOs), unsupported);
    assert_eq!(name(0x8010_001F, Platform::PcscLite), unsupported);
    assert_eq!(name(0x8010_0022, Platform::Windows), unsupported);
    assert_eq!(name(0x8010_0022, Platform::MacOs), None);
    assert_eq!(name(0x8010_0022, Platform::PcscLite), None);

    // Names of other platforms are understood here.
    for platform in [Platform::Windows, Platform::MacOs, Platform::PcscLite] {
        let code = ReturnCode::from_name_on("SCARD_E_UNEXPECTED", platform);
        assert_eq!(code, Some(ReturnCode::E_UNEXPECTED));
    }
}

#[test]
fn what_is_displayed_gives_the_code_back() {
    fn check<C: Code>(code: C) {
        for text in [
            code.to_string(),
            format!("{code:?}"),
            format!("{code:#x}"),
            format!("{code:#010X}"),
            format!("{code:08X}"),
            format!("{}", code.raw() as i32),
            format!("SCardTransmit on \"Reader (1)\" failed: {code}"),
        ] {
            // A decimal number of eight digits is parsed as hexadecimal.
            if text.len() != 8 || text.starts_with('-') || text == format!("{code:08X}") {
                assert_eq!(text.parse(), Ok(code), "{text}");
            }
        }
    }
    fn check_all<C: Code>() {
        C::known().into_iter().for_each(check);
        for number in numbers().step_by(97) {
            check(C::from_raw(number));
        }
    }
    for_each_family!(check_all);
}

#[test]
fn a_code_is_read_in_many_forms() {
    for text in [
        "the card was reset (SCARD_W_RESET_CARD, 0x80100068)",
        "ReturnCode(SCARD_W_RESET_CARD, 0x80100068)",
        "SCARD_W_RESET_CARD, 0x80100068",
        "(SCARD_W_RESET_CARD)",
        "SCARD_W_RESET_CARD",
        "W_RESET_CARD",
        "scard_w_reset_card",
        "0x80100068",
        "80100068",
        "-2146434968",
        "2148532328",
    ] {
        assert_eq!(text.parse(), Ok(ReturnCode::W_RESET_CARD), "{text}");
        let names: Vec<_> = codes::parse(text).map(|meaning| meaning.name()).collect();
        assert_eq!(names, ["SCARD_W_RESET_CARD"], "{text}");
    }
}

#[test]
fn what_is_no_code_is_refused() {
    for text in [
        "",
        "()",
        "the card was reset",
        "SCARD_W_LOST_CARD",
        "4294967296",
        "-2147483649",
        "the card was reset (SCARD_W_RESET_CARD, 0x80100069)",
        "the PIN is locked (CKR_PIN_LOCKED, 0x000000A4)",
        "(SCARD_W_RESET_CARD, )",
        "SCARD_W_RESET_CARD, soon",
    ] {
        let error = text.parse::<ReturnCode>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "neither a known name nor a 32-bit number"
        );
    }
    for text in [
        "",
        "()",
        "SCARD_W_RESET_CARD, 1",
        "0x801000FF",
        "nothing, at all",
    ] {
        assert_eq!(codes::parse(text).next(), None, "{text}");
    }
}

#[test]
fn descriptions_are_clauses() {
    fn check<C: Code>() {
        for code in C::known() {
            let text = code.description();
            assert!(
                text.starts_with(|c: char| c.is_lowercase()),
                "{code:?}: {text}"
            );
            assert!(!text.ends_with(['.', ' ']), "{code:?}: {text}");
            assert!(
                text.len() > 10 && text != "unknown code",
                "{code:?}: {text}"
            );
        }
        // A number in no family.
        let unknown = C::from_raw(0x8010_7FFF);
        assert_eq!(unknown.name(), None);
        assert_eq!(unknown.severity(), None);
        assert_eq!(unknown.to_string(), "unknown code (0x80107FFF)");
    }
    for_each_family!(check);
}

#[test]
fn severity_is_one_notion() {
    for status in SspiStatus::known() {
        let expected = match status.raw() {
            0 => Severity::Success,
            raw if raw >> 31 == 1 => Severity::Error,
            _ => Severity::Information,
        };
        assert_eq!(status.severity(), Some(expected), "{status:?}");
    }
    assert_eq!(CryptokiRv::OK.severity(), Some(Severity::Success));
    assert_eq!(CryptokiRv::PIN_LOCKED.severity(), None);
    assert_eq!(WlanReason::SUCCESS.severity(), Some(Severity::Success));
    assert_eq!(
        ReturnCode::E_UNSUPPORTED_FEATURE.severity(),
        Some(Severity::Error)
    );
}

#[test]
fn lookup_finds_every_code_of_every_family() {
    fn check<C: Code>() {
        for code in C::known() {
            let mut found = codes::lookup(code.raw());
            assert!(
                found.any(|meaning| meaning.description() == code.description()),
                "{code:?}"
            );
        }
    }
    for_each_family!(check);

    let families: Vec<_> = codes::lookup(0).map(|meaning| meaning.family()).collect();
    assert_eq!(
        families,
        [Family::Scard, Family::Sspi, Family::Cryptoki, Family::Wlan]
    );
}

#[test]
fn lookup_says_where_a_meaning_holds() {
    let found: Vec<_> = codes::lookup(0x8010_001F)
        .map(|meaning| (meaning.name(), meaning.only_on()))
        .collect();
    let elsewhere: &[Platform] = &[Platform::MacOs, Platform::PcscLite];
    assert_eq!(
        found,
        [
            ("SCARD_E_UNEXPECTED", None),
            ("SCARD_E_UNSUPPORTED_FEATURE", Some(elsewhere)),
        ]
    );
    let found = codes::lookup(0x8010_0022).next().unwrap();
    assert_eq!(found.only_on(), Some(&[Platform::Windows][..]));
}

#[test]
fn a_system_code_is_found_inside_of_an_hresult() {
    for (name, value) in ecosystem::SYSTEM {
        let found: Vec<_> = codes::lookup(0x8007_0000 | value).collect();
        assert_eq!(found.len(), 1, "{name}");
        assert_eq!(found[0].name(), *name);
        assert_eq!(found[0].system_code(), Some(*value));
        assert_eq!(
            codes::parse(&found[0].to_string()).collect::<Vec<_>>(),
            found
        );
    }
    // The codes of other families are not wrapped.
    assert_eq!(codes::lookup(0x8007_00A4).next(), None);
    assert_eq!(
        codes::lookup(0x8010_0068).next().unwrap().system_code(),
        None
    );
}

#[test]
fn both_meanings_of_a_number_are_found() {
    let names: Vec<_> = codes::lookup(0x0004_8016)
        .map(|meaning| meaning.name())
        .collect();
    assert_eq!(
        names,
        [
            "WLAN_REASON_CODE_MSMSEC_M3_TOO_MANY_RSNIE",
            "WLAN_REASON_CODE_MSMSEC_SECURITY_UI_FAILURE",
        ]
    );
}
