//! ATRs of well-known cards from vendors' manuals, specifications and public lists. The
//! expectations were worked out by hand from the standards.

use super::atr;
use crate::atr::{
    AtrProblem, Category, ClockStop, ContactC6, ContactlessAtr, Convention, DataObject,
    ErrorDetection, InterfaceName, LifeCycle, Mode, Tck,
};

/// A fact stated by an ATR.
#[derive(Debug, Clone, Copy)]
enum Is {
    Inverse,
    /// Extra guard time.
    N(u8),
    /// Waiting time integer of T=0.
    Wi(u8),
    /// IFSC, BWI and CWI.
    T1(u8, u8, u8),
    /// Clock stop, and the bits of the classes.
    Clock(ClockStop, u8),
    /// Programming: volts and milliamperes.
    Vpp(u8, u8),
    /// Protocol of the specific mode, and whether it can change.
    Specific(u8, bool),
    C6(ContactC6),
    /// The historical bytes are proprietary and begin with this.
    Text(&'static str),
    /// Card service data.
    Service(u8),
    /// Command chaining, extended length, and the maximum number of logical channels.
    Can(bool, bool, u8),
    /// Capabilities of fewer than three bytes.
    CanFirst,
    Life(LifeCycle),
    Sw(u16),
    Country(&'static [u8]),
    Issuer(&'static [u8]),
    IssuerData(&'static [u8]),
    PreIssuing(&'static [u8]),
    Aid(&'static [u8]),
    /// SS and NN of a storage card, and their names.
    Storage(u8, u16, &'static str),
    /// The contactless form, and whether it looks like type B.
    Contactless(bool),
    Wrong(AtrProblem),
}
use Is::*;

const A: u8 = 1;
const AB: u8 = 3;
const ABC: u8 = 7;

/// Family; bytes; protocols; Fi and Di (0: reserved); check byte; further facts.
type Row = (
    &'static str,
    &'static str,
    &'static [u8],
    (u16, u8),
    Tck,
    &'static [Is],
);

const T0: &[u8] = &[0];
const T1_ONLY: &[u8] = &[1];
const BOTH: &[u8] = &[0, 1];
const RIGHT: Tck = Tck::Correct;
const NONE: Tck = Tck::NotNeeded;

#[rustfmt::skip]
const CARDS: &[Row] = &[
    // Security keys and OpenPGP.
    ("YubiKey 5", "3B FD 13 00 00 81 31 FE 15 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 40",
        T1_ONLY, (372, 4), RIGHT,
        &[N(0), T1(254, 1, 5), Clock(ClockStop::NotSupported, A), Can(true, true, 1),
          IssuerData(b"YubiKey")]),
    ("YubiKey 5 over NFC", "3B 8D 80 01 80 73 C0 21 C0 57 59 75 62 69 4B 65 79 F9",
        BOTH, (372, 1), RIGHT,
        &[Wi(10), T1(32, 4, 13), Can(true, true, 1), IssuerData(b"YubiKey"), Contactless(false)]),
    ("YubiKey NEO", "3B FC 13 00 00 81 31 FE 15 59 75 62 69 6B 65 79 4E 45 4F 72 33 E1",
        T1_ONLY, (372, 4), RIGHT, &[Text("YubikeyNEOr3")]),
    ("YubiKey 4", "3B F8 13 00 00 81 31 FE 15 59 75 62 69 6B 65 79 34 D4",
        T1_ONLY, (372, 4), RIGHT, &[Text("Yubikey4"), T1(254, 1, 5)]),
    ("OpenPGP card 2", "3B DA 18 FF 81 B1 FE 75 1F 03 00 31 C5 73 C0 01 40 00 90 00 0C",
        T1_ONLY, (372, 12), RIGHT,
        &[N(255), T1(254, 7, 5), Clock(ClockStop::NotSupported, AB), Service(0xC5),
          Can(false, true, 1), Life(LifeCycle::NotReported), Sw(0x9000)]),
    ("OpenPGP card 3", "3B DA 18 FF 81 B1 FE 75 1F 03 00 31 F5 73 C0 01 60 00 90 00 1C",
        T1_ONLY, (372, 12), RIGHT,
        &[Service(0xF5), Can(false, true, 1), Life(LifeCycle::NotReported), Sw(0x9000)]),
    ("Gnuk token", "3B DA 11 FF 81 B1 FE 55 1F 03 00 31 84 73 80 01 80 00 90 00 E4",
        T1_ONLY, (372, 1), RIGHT,
        &[N(255), T1(254, 5, 5), Service(0x84), Can(true, false, 1), Sw(0x9000)]),
    ("Nitrokey Start", "3B DA 11 FF 81 B1 FE 55 1F 03 00 31 84 73 80 01 80 05 90 00 E1",
        T1_ONLY, (372, 1), RIGHT, &[Can(true, false, 1), Life(LifeCycle::Activated)]),
    ("Nitrokey 3", "3B 8F 01 80 5D 4E 69 74 72 6F 6B 65 79 00 00 00 00 00 6A",
        T1_ONLY, (372, 1), RIGHT, &[IssuerData(b"Nitrokey\0\0\0\0\0"), T1(32, 4, 13)]),
    ("SmartCard-HSM 4", "3B DE 96 FF 81 91 FE 1F C3 80 31 81 54 48 53 4D 31 73 80 21 40 81 07 92",
        T1_ONLY, (512, 32), RIGHT,
        &[N(255), T1(254, 4, 13), Clock(ClockStop::NoPreference, AB), Service(0x81),
          IssuerData(b"HSM1"), Can(false, true, 1), Life(LifeCycle::Activated)]),
    ("Nitrokey HSM 2, as a list has it",
        "3B DE 98 FF 81 91 FE 1F C3 80 31 81 54 48 53 4D 31 73 80 21 40 81 07 92",
        T1_ONLY, (512, 12), Tck::Wrong { expected: 0x9C },
        &[IssuerData(b"HSM1"), Can(false, true, 1),
          Wrong(AtrProblem::TckWrong { sent: 0x92, expected: 0x9C })]),
    ("SmartCard-HSM", "3B FE 18 00 00 81 31 FE 45 80 31 81 54 48 53 4D 31 73 80 21 40 81 07 FA",
        T1_ONLY, (372, 12), RIGHT,
        &[T1(254, 4, 5), IssuerData(b"HSM1"), Can(false, true, 1)]),
    ("RSA SecurID 800", "3B 0F 80 22 15 E1 5A 00 20 00 30 21 03 31 21 03 00",
        T0, (372, 1), NONE,
        &[Issuer(&[0x15, 0xE1]),
          IssuerData(&[0x00, 0x20, 0x00, 0x30, 0x21, 0x03, 0x31, 0x21, 0x03, 0x00])]),

    // Java cards, MULTOS, operating systems.
    ("JCOP 2.4.1", "3B F8 18 00 FF 81 31 FE 45 4A 43 4F 50 76 32 34 31 43",
        T1_ONLY, (372, 12), RIGHT, &[N(255), T1(254, 4, 5), Text("JCOPv241")]),
    ("JCOP 21, T=0", "3B 6A 00 FF 4A 43 4F 50 32 31 56 32 33 31",
        T0, (372, 1), NONE, &[N(255), Text("JCOP21V231")]),
    ("JCOP 31, contactless", "3B 89 80 01 4A 43 4F 50 33 31 56 32 32 4A",
        BOTH, (372, 1), RIGHT, &[Text("JCOP31V22"), Contactless(false)]),
    ("MULTOS", "3B 6F 00 00 80 31 E0 6B 04 06 05 02 17 55 55 55 55 55 55",
        T0, (372, 1), NONE,
        &[Service(0xE0), PreIssuing(b"\x04\x06\x05\x02\x17\x55\x55\x55\x55\x55\x55")]),
    ("CardOS 5", "3B D2 18 00 81 31 FE 58 C9 01 14",
        T1_ONLY, (372, 12), RIGHT, &[N(0), T1(254, 5, 8), Text("\u{c9}")]),
    ("CardOS 4.3B", "3B F2 18 00 02 C1 0A 31 FE 58 C8 08 74",
        T1_ONLY, (372, 12), RIGHT, &[N(2), T1(254, 5, 8)]),
    ("STARCOS 3.2", "3B 9F 96 81 B1 FE 45 1F 07 00 64 05 1E B2 00 31 B0 73 96 21 DB 05 90 00 5C",
        T1_ONLY, (512, 32), RIGHT,
        &[T1(254, 4, 5), Clock(ClockStop::NotSupported, ABC),
          PreIssuing(&[0x05, 0x1E, 0xB2, 0x00]), Service(0xB0), Can(true, true, 4),
          Life(LifeCycle::Activated), Sw(0x9000)]),
    ("STARCOS SPK 2.4", "3B B7 18 00 C0 3E 31 FE 65 53 50 4B 32 34 90 00 25",
        BOTH, (372, 12), RIGHT, &[Wi(62), T1(254, 6, 5), Text("SPK24")]),
    ("Cryptoflex 8k", "3B 85 40 20 68 01 01 05 01", T0, (372, 1), NONE, &[Wi(32)]),
    ("GemXpresso iButton", "3B AD 00 40 FF 80 31 80 65 B0 05 01 01 5E 83 00 90 00",
        T0, (372, 1), NONE, &[Wi(255), Service(0x80), Sw(0x9000)]),
    ("IDPrime MD", "3B 7F 96 00 00 80 31 80 65 B0 84 41 3D F6 12 0F FE 82 90 00",
        T0, (512, 32), NONE,
        &[Service(0x80), PreIssuing(&[0xB0, 0x84, 0x41, 0x3D, 0xF6]), Country(&[0x0F, 0xFE]),
          Sw(0x9000)]),
    ("IDPrime .NET", "3B 16 96 41 73 74 72 69 64", T0, (512, 32), NONE, &[Text("Astrid")]),
    ("BasicCard ZC3.12", "3B BC 18 00 81 31 20 75 5A 43 33 2E 31 32 20 52 45 56 20 41 46",
        T1_ONLY, (372, 12), RIGHT, &[T1(32, 7, 5), Text("ZC3.12 REV A")]),
    ("Microsoft virtual smart card", "3B 8D 01 80 FB A0 00 00 03 97 42 54 46 59 04 01 CF",
        T1_ONLY, (372, 1), RIGHT,
        &[Aid(b"\xA0\x00\x00\x03\x97\x42\x54\x46\x59\x04\x01")]),

    // Identity cards and passports.
    ("Belgian eID", "3B 98 13 40 0A A5 03 01 01 01 AD 13 11",
        T0, (372, 4), NONE, &[Wi(10), Text("\u{a5}")]),
    ("Estonian ID, 2006", "3B 6E 00 FF 45 73 74 45 49 44 20 76 65 72 20 31 2E 30",
        T0, (372, 1), NONE, &[N(255), Text("EstEID ver 1.0")]),
    ("Estonian ID, 2011",
        "3B FE 18 00 00 80 31 FE 45 45 73 74 45 49 44 20 76 65 72 20 31 2E 30 A8",
        BOTH, (372, 12), RIGHT, &[T1(254, 4, 5), Text("EstEID ver 1.0")]),
    ("Estonian ID, 2018",
        "3B DB 96 00 80 B1 FE 45 1F 83 00 12 23 3F 53 65 49 44 0F 90 00 F1",
        BOTH, (512, 32), RIGHT,
        &[T1(254, 4, 5), Clock(ClockStop::High, AB), Country(&[0x23, 0x3F]), IssuerData(b"eID"),
          Life(LifeCycle::Terminated), Sw(0x9000)]),
    ("Estonian ID, 2025, contactless",
        "3B 8F 80 01 80 31 D8 53 65 49 44 64 B0 85 05 10 12 23 3F 16",
        BOTH, (372, 1), RIGHT,
        &[Service(0xD8), IssuerData(b"eID"), PreIssuing(&[0xB0, 0x85, 0x05, 0x10]),
          Country(&[0x23, 0x3F]), Contactless(false)]),
    ("Spanish DNIe 3", "3B 7F 96 00 00 00 6A 44 4E 49 65 20 01 01 55 04 21 03 90 00",
        T0, (512, 32), NONE,
        &[PreIssuing(b"DNIe \x01\x01\x55\x04\x21"), Life(LifeCycle::Initialization), Sw(0x9000)]),
    ("Spanish DNIe", "3B 7F 38 00 00 00 6A 44 4E 49 65 20 02 4C 34 01 13 03 90 00",
        T0, (744, 12), NONE, &[PreIssuing(b"DNIe \x02\x4C\x34\x01\x13"), Sw(0x9000)]),
    ("Spanish DNIe 4, contactless", "3B 88 80 01 E1 F3 5E 11 77 81 E1 60 23",
        BOTH, (372, 1), RIGHT, &[Contactless(true)]),
    ("Portuguese Cartão de Cidadão", "3B 7D 95 00 00 80 31 80 65 B0 83 11 C0 A9 83 00 90 00",
        T0, (512, 16), NONE,
        &[Service(0x80), PreIssuing(&[0xB0, 0x83, 0x11, 0xC0, 0xA9]),
          Life(LifeCycle::NotReported), Sw(0x9000)]),
    ("German Personalausweis", "3B 8A 80 01 80 31 F8 73 F7 41 E0 82 90 00 75",
        BOTH, (372, 1), RIGHT,
        &[Service(0xF8), Can(true, true, 1), Sw(0x9000), Contactless(false)]),
    ("German passport", "3B 84 80 01 80 82 90 00 97",
        BOTH, (372, 1), RIGHT, &[Sw(0x9000), Contactless(false)]),
    ("Passport of type B", "3B 80 80 01 01", BOTH, (372, 1), RIGHT, &[Contactless(false)]),
    ("Finnish ID card", "3B 7F 96 00 00 80 31 B8 65 B0 85 03 00 EF 12 00 F6 82 90 00",
        T0, (512, 32), NONE, &[Service(0xB8), Country(&[0x00, 0xF6]), Sw(0x9000)]),
    ("Italian ID card", "3B 8E 80 01 80 31 80 65 49 54 4E 58 50 12 0F FF FF FF E2",
        BOTH, (372, 1), RIGHT,
        &[PreIssuing(b"ITNXP"), Country(&[0x0F, 0xFF]), Contactless(false),
          Wrong(AtrProblem::ObjectTooLong { tag: 15, announced: 15, present: 1 })]),
    ("US CAC, TOP DL", "3B 7D 96 00 00 80 31 80 65 B0 83 11 17 D6 83 00 90 00",
        T0, (512, 32), NONE, &[PreIssuing(&[0xB0, 0x83, 0x11, 0x17, 0xD6]), Sw(0x9000)]),
    ("US CAC, ID-One 128", "3B DB 96 00 80 1F 03 00 31 C0 64 B0 F3 10 00 07 90 00 80",
        T0, (512, 32), RIGHT,
        &[Clock(ClockStop::NotSupported, AB), Service(0xC0), Life(LifeCycle::Activated),
          Sw(0x9000)]),
    ("US PIV, Oberthur",
        "3B DB 96 00 81 B1 FE 45 1F 03 80 F9 A0 00 00 03 08 00 00 10 00 18",
        T1_ONLY, (512, 32), RIGHT, &[Aid(b"\xA0\x00\x00\x03\x08\x00\x00\x10\x00")]),
    ("US PIV, Cosmo 8, contactless", "3B 86 80 01 80 31 C1 52 11 18 2C",
        BOTH, (372, 1), RIGHT,
        &[Service(0xC1), IssuerData(&[0x11, 0x18]), Contactless(false)]),
    ("Indian driving licence (SCOSTA)",
        "3B 3F 11 00 80 12 00 91 31 C0 64 0E 01 13 12 72 F7 41 05",
        T0, (372, 1), NONE,
        &[Country(&[0x00, 0x91]), CanFirst,
          Wrong(AtrProblem::ObjectTooLong { tag: 0, announced: 5, present: 0 })]),
    ("EU tachograph card", "3B 9A 96 C0 10 31 FE 5D 00 64 05 7B 01 02 31 80 90 00 76",
        BOTH, (512, 32), RIGHT,
        &[Wi(16), T1(254, 5, 13), PreIssuing(&[0x05, 0x7B, 0x01, 0x02]),
          Life(LifeCycle::Proprietary(0x80)), Sw(0x9000),
          Wrong(AtrProblem::ObjectTooLong { tag: 3, announced: 1, present: 0 })]),

    // Health.
    ("German eGK", "3B DD 97 FF 81 B1 FE 45 1F 03 00 64 04 05 08 03 73 96 21 D0 00 90 00 C8",
        T1_ONLY, (512, 64), RIGHT,
        &[N(255), T1(254, 4, 5), Clock(ClockStop::NotSupported, AB), Can(true, true, 1),
          Sw(0x9000)]),
    ("German eGK, generation 2", "3B D0 97 FF 81 B1 FE 45 1F 07 2B",
        T1_ONLY, (512, 64), RIGHT, &[Clock(ClockStop::NotSupported, ABC)]),
    ("French Vitale 2", "3B 75 13 00 00 43 09 EA 90 00",
        T0, (372, 4), NONE, &[N(0), Text("C")]),
    ("French Vitale", "3F 65 25 00 52 09 6A 90 00",
        T0, (372, 1), NONE, &[Inverse, Vpp(5, 50), Text("R")]),

    // SIM.
    ("GSM SIM", "3F 2F 00 80 69 AF 02 04 01 36 00 00 0A 0E 83 3E 9F 16",
        T0, (372, 1), NONE, &[Inverse, Life(LifeCycle::Proprietary(0x3E)), Sw(0x9F16)]),
    ("USIM", "3B 9E 95 80 1F C3 80 31 E0 73 FE 21 1B 66 D0 00 49 00 00 00 4E",
        T0, (512, 16), RIGHT,
        &[Clock(ClockStop::NoPreference, AB), Service(0xE0), Can(false, false, 4)]),
    ("USIM that uses C6", "3B 9D 95 80 3F C7 A0 80 31 A0 73 BE 21 13 51 05 83 05 90 00 7C",
        T0, (512, 16), RIGHT,
        &[Clock(ClockStop::NoPreference, ABC), C6(ContactC6::Proprietary(0x20)),
          Can(false, false, 4), Life(LifeCycle::Activated)]),
    ("UICC of ETSI TS 102 221", "3B 97 95 80 1F 42 80 31 A0 73 BE 21 15 37",
        T0, (512, 16), RIGHT,
        &[Clock(ClockStop::Low, 2), Service(0xA0), Can(false, false, 6)]),
    ("UICC of ETSI TS 102 221 with T=1", "3B 97 95 80 B1 FE 00 1F 42 80 31 A0 73 BE 21 17 7A",
        BOTH, (512, 16), RIGHT, &[T1(254, 0, 0), Can(false, false, 8)]),

    // Payment, transport.
    ("EMV card, Mastercard", "3B 6D 00 00 00 31 C0 71 D6 64 A0 01 04 00 84 90 00",
        T0, (372, 1), NONE, &[Service(0xC0), CanFirst, Life(LifeCycle::Proprietary(0x84))]),
    ("EMV card, MultiApp", "3B 6E 00 00 80 31 80 66 B1 A6 01 01 01 13 83 00 90 00",
        T0, (372, 1), NONE, &[PreIssuing(&[0xB1, 0xA6, 0x01, 0x01, 0x01, 0x13]), Sw(0x9000)]),
    ("EMV card, JCOP", "3B 78 13 00 00 00 73 C8 40 10 00 90 00",
        T0, (372, 4), NONE, &[Can(false, false, 1), Sw(0x9000)]),
    ("EMV card, MIR", "3B FD 13 00 00 10 00 80 31 80 65 49 53 06 0B 01 83 07 90 00",
        T0, (372, 4), NONE, &[Specific(0, true), Life(LifeCycle::Activated)]),
    ("Calypso (OPUS)", "3B 6F 00 00 80 5A 08 06 08 20 02 2B 93 19 C2 4F 82 90 00",
        T0, (372, 1), NONE,
        &[IssuerData(b"\x08\x06\x08\x20\x02\x2B\x93\x19\xC2\x4F"), Sw(0x9000)]),
    ("Didem pay TV", "3B 97 18 11 81 44 49 44 45 4D 01 07 58",
        T1_ONLY, (372, 12), RIGHT, &[Specific(1, false), Text("DIDEM")]),

    // Contactless.
    ("DESFire", "3B 81 80 01 80 80", BOTH, (372, 1), RIGHT, &[Contactless(false)]),
    ("MIFARE Plus", "3B 87 80 01 C1 05 2F 2F 01 BC D6 A9",
        BOTH, (372, 1), RIGHT, &[Text("\u{c1}"), Contactless(false)]),
    ("MIFARE Classic 1K", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 01 00 00 00 00 6A",
        BOTH, (372, 1), RIGHT,
        &[Storage(3, 1, "MIFARE Classic 1K, ISO 14443 A, part 3"),
          Aid(b"\xA0\x00\x00\x03\x06\x03\x00\x01\x00\x00\x00\x00")]),
    ("MIFARE Classic 4K", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 02 00 00 00 00 69",
        BOTH, (372, 1), RIGHT, &[Storage(3, 2, "MIFARE Classic 4K, ISO 14443 A, part 3")]),
    ("MIFARE Ultralight", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 03 00 00 00 00 68",
        BOTH, (372, 1), RIGHT, &[Storage(3, 3, "MIFARE Ultralight, ISO 14443 A, part 3")]),
    ("ICODE SLI", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 0B 00 14 00 00 00 00 77",
        BOTH, (372, 1), RIGHT, &[Storage(11, 0x14, "ICODE SLI, ISO 15693, part 3")]),
    ("FeliCa", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 11 00 3B 00 00 00 00 42",
        BOTH, (372, 1), RIGHT, &[Storage(0x11, 0x3B, "FeliCa, FeliCa standard")]),
    ("iCLASS 16K", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 0A 00 1C 00 00 00 00 7E",
        BOTH, (372, 1), RIGHT,
        &[Storage(10, 0x1C, "PicoPass 16KS (8x2), ISO 15693, part 2")]),
    ("Topaz in an ACS reader", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 F0 04 00 00 00 00 9F",
        BOTH, (372, 1), RIGHT,
        &[Storage(3, 0xF004, "Topaz or Jewel (readers of ACS), ISO 14443 A, part 3")]),
    ("FeliCa in an ACS reader", "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 F0 11 00 00 00 00 8A",
        BOTH, (372, 1), RIGHT,
        &[Storage(3, 0xF011, "FeliCa at 212 kbit/s (readers of ACS), ISO 14443 A, part 3")]),
    ("A storage card without a name in the list",
        "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 FF 88 00 00 00 00 1C",
        BOTH, (372, 1), RIGHT,
        &[Storage(3, 0xFF88, "card with SAK 0x88 (readers of ACS), ISO 14443 A, part 3")]),
    ("Chinese ID card", "3B 86 80 01 80 4F 03 F0 01 00 3A",
        BOTH, (372, 1), RIGHT, &[Aid(&[0xF0, 0x01, 0x00]), Contactless(false)]),

    // Memory cards, and cards whose ATRs break rules.
    ("SLE 4442 in a reader that says 3B", "3B 04 92 23 10 91", T0, (372, 1), NONE, &[]),
    ("SLE 4442", "A2 13 10 91", T0, (372, 0), NONE,
        &[Wrong(AtrProblem::UnknownConvention(0xA2)),
          Wrong(AtrProblem::ReservedValue { name: InterfaceName::new('A', 1), value: 0x10 }),
          Wrong(AtrProblem::HistoricalBytesMissing { announced: 3, present: 1 })]),
    ("eToken R2", "3B 81 1F 00 CC 52", T0, (372, 1), RIGHT,
        &[Specific(0, true), Wrong(AtrProblem::T15First)]),
    ("J3R150, shifted", "3B FA 00 00 81 31 FE 45 00 31 C1 73 C8 40 00 00 90 00 7A",
        T1_ONLY, (372, 0), Tck::Wrong { expected: 0x6A },
        &[N(0x81), Specific(14, false), Service(0xC1), Can(false, false, 1),
          Wrong(AtrProblem::ReservedValue { name: InterfaceName::new('A', 1), value: 0 }),
          Wrong(AtrProblem::ReservedValue { name: InterfaceName::new('A', 2), value: 0xFE }),
          Wrong(AtrProblem::TckWrong { sent: 0x7A, expected: 0x6A })]),
    ("Japanese card with T=14", "3B F5 71 00 FF FE 24 00 01 1E 0F 33 39 32 01 03",
        &[14], (0, 1), Tck::Missing,
        &[N(255), Specific(4, true),
          Wrong(AtrProblem::ReservedValue { name: InterfaceName::new('A', 1), value: 0x71 }),
          Wrong(AtrProblem::ReservedValue { name: InterfaceName::new('A', 2), value: 0x24 }),
          Wrong(AtrProblem::TckMissing)]),
];

/// The bytes of all cards.
pub(super) fn all() -> impl Iterator<Item = Vec<u8>> {
    CARDS.iter().map(|row| atr(row.1).as_bytes().to_vec())
}

#[test]
fn well_known_cards_are_read_correctly() {
    assert!(CARDS.len() >= 40);
    for &(family, bytes, offered, (fi, di), tck, facts) in CARDS {
        let reading = atr(bytes).parse();
        println!("{family}\n{reading}\n");
        assert_eq!(reading.offered(), offered, "{family}");
        assert_eq!(reading.first_offered(), offered.first().copied());
        assert_eq!(reading.protocols().bits() & 1 != 0, offered.contains(&0));
        assert_eq!(reading.protocols().bits() & 2 != 0, offered.contains(&1));
        let rate = reading.bit_rate();
        assert_eq!(rate.fi().unwrap_or(0), fi, "{family}");
        assert_eq!(rate.di().unwrap_or(0), di, "{family}");
        assert_eq!(reading.tck(), tck, "{family}");

        for &fact in facts {
            assert!(holds(&reading, fact), "{family}: {fact:?}\n{reading:#?}");
        }
        let wrong: Vec<AtrProblem> = facts
            .iter()
            .filter_map(|fact| match fact {
                Wrong(problem) => Some(*problem),
                _ => None,
            })
            .collect();
        assert_eq!(reading.problems(), wrong, "{family}");
        // Facts that are not listed must not hold.
        let says = |what: fn(&Is) -> bool| facts.iter().any(what);
        let contactless = reading.contactless().is_some();
        let expected = says(|fact| matches!(fact, Storage(..) | Contactless(_)));
        assert_eq!(contactless, expected, "{family}");
        let inverse = reading.convention() == Some(Convention::Inverse);
        assert_eq!(inverse, says(|fact| matches!(fact, Inverse)), "{family}");
        let specific = reading.mode() != Mode::Negotiable;
        let expected = says(|fact| matches!(fact, Specific(..)));
        assert_eq!(specific, expected, "{family}");
        let capable = reading.capabilities().is_some();
        let expected = says(|fact| matches!(fact, Can(..) | CanFirst));
        assert_eq!(capable, expected, "{family}");
    }
}

fn holds(reading: &crate::AtrReading, fact: Is) -> bool {
    let historical = reading.historical();
    let has = |object: DataObject<'_>| historical.objects().any(|it| it == object);
    let status = historical.status();
    match fact {
        Inverse => reading.convention() == Some(Convention::Inverse),
        N(n) => reading.extra_guard_time().n() == n,
        Wi(wi) => reading.t0().map(|it| it.waiting_time_integer()) == Some(wi),
        T1(ifsc, bwi, cwi) => reading.t1().is_some_and(|it| {
            it.information_field_size() == ifsc
                && it.block_waiting_integer() == bwi
                && it.character_waiting_integer() == cwi
                && it.error_detection() == ErrorDetection::Lrc
        }),
        Clock(stop, classes) => {
            reading.clock_stop() == stop && reading.operating_classes().bits() == classes
        }
        Vpp(volts, current) => reading
            .programming()
            .is_some_and(|it| it.volts() == Some(volts) && it.milliamperes() == Some(current)),
        Specific(t, changeable) => match reading.mode() {
            Mode::Specific(mode) => mode.protocol() == t && mode.is_changeable() == changeable,
            Mode::Negotiable => false,
        },
        C6(usage) => reading.contact_c6() == usage,
        Text(text) => {
            let bytes: Vec<u8> = text.chars().map(|it| it as u8).collect();
            historical.as_bytes().starts_with(&bytes)
                && matches!(historical.category(), Some(Category::Proprietary(_)))
        }
        Service(byte) => historical.card_service_data().map(|it| it.raw()) == Some(byte),
        Can(chaining, extended, channels) => reading.capabilities().is_some_and(|it| {
            it.command_chaining() == chaining
                && it.extended_length() == extended
                && it.logical_channels().map(|it| it.maximum()) == Some(channels)
        }),
        CanFirst => reading
            .capabilities()
            .is_some_and(|it| it.logical_channels().is_none() && !it.extended_length()),
        Life(life) => status.and_then(|it| it.life_cycle()) == Some(life),
        Sw(word) => status.and_then(|it| it.status_word()) == Some(word),
        Country(value) => has(DataObject::Country(value)),
        Issuer(value) => has(DataObject::IssuerIdentification(value)),
        IssuerData(value) => has(DataObject::IssuerData(value)),
        PreIssuing(value) => has(DataObject::PreIssuing(value)),
        Aid(aid) => historical.application_identifier() == Some(aid),
        Storage(standard, name, text) => reading.storage_card().is_some_and(|it| {
            it.standard().raw() == standard && it.name().raw() == name && it.to_string() == text
        }),
        Contactless(is_b) => matches!(
            reading.contactless(),
            Some(ContactlessAtr::Iso14443_4 { type_b }) if type_b.is_some() == is_b
        ),
        Wrong(problem) => reading.problems().contains(&problem),
    }
}
