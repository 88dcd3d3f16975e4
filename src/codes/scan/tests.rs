//! Lines as programs write them, with the codes in them.

use super::*;

/// The findings in short form.
fn found(text: &str) -> Vec<String> {
    let shown = |it: Found| match it {
        Found::StatusWord(word) => format!("sw {word:04X}"),
        Found::Code { name, number } => {
            let number = number.map(|it| format!("{it:X}"));
            let parts = [name.map(str::to_owned), number];
            parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
        }
    };
    scan(text).into_iter().map(shown).collect()
}

#[track_caller]
fn assert_found(lines: &[(&str, &str)]) {
    for (line, expected) in lines {
        assert_eq!(found(line).join(", "), *expected, "{line}");
    }
}

#[test]
fn numbers_are_read_in_all_their_forms() {
    for number in [
        "0x80100068",
        "0X80100068",
        "80100068",
        "0xffffffff80100068",
        "FFFFFFFF80100068",
        "-2146434968",
        "2148532328",
        "18446744071563116648",
        "-0x7fefff98",
        "0x8010_0068",
        "0x80100068L",
        "2148532328u",
        "-2146434968L",
        "&H80100068",
    ] {
        let lines = [
            format!("SCardTransmit: {number}"),
            format!("[SCardTransmit] rv={number}, giving up"),
            format!("Card was reset. ({number})"),
            format!("{number}: the card was reset"),
            format!("it was {number}."),
        ];
        for line in &lines {
            assert_eq!(found(line), ["80100068"], "{line}");
        }
    }
}

#[test]
fn messages_of_programs_in_all_languages_are_found() {
    assert_found(&[
        // C and pcsc-lite
        (
            "SCardConnect: No smart card inserted. (0x8010000C)",
            "8010000C",
        ),
        (
            "winscard.c:313:SCardConnect() Error code: 0x8010000C",
            "8010000C",
        ),
        (
            "00000012 winscard_svc.c:396:ContextThread() rv=80100068 for client 9",
            "80100068",
        ),
        (
            "reader-pcsc.c:324:pcsc_transmit: SCardTransmit/Control failed: 0x80100016",
            "80100016",
        ),
        (
            "gpg: DBG: pcsc_connect failed: sharing violation (0x8010000b)",
            "8010000B",
        ),
        ("SCardListReaders returned 0xFFFFFFFF8010002E", "8010002E"),
        ("cannot connect, LastError=1722", "6BA"),
        ("SCardGetStatusChange failed with error 6", "6"),
        // .NET
        (
            "System.ComponentModel.Win32Exception (0x80100068): The smart card has been reset",
            "80100068",
        ),
        (
            "Unhandled exception. System.ComponentModel.Win32Exception (-2146434968): reset",
            "80100068",
        ),
        ("   HResult=0x80090016", "80090016"),
        (
            "CryptographicException (HRESULT: 0x8009000B) Key not valid",
            "8009000B",
        ),
        (
            "PCSC.Exceptions.PCSCException: SCardError.ResetCard",
            "SCARD_W_RESET_CARD",
        ),
        // Java
        (
            "sun.security.smartcardio.PCSCException: SCARD_E_NO_SMARTCARD",
            "SCARD_E_NO_SMARTCARD",
        ),
        (
            "sun.security.smartcardio.PCSCException: Unknown error 0x8010002f",
            "8010002F",
        ),
        (
            "Caused by: sun.security.pkcs11.wrapper.PKCS11Exception: CKR_PIN_INCORRECT",
            "CKR_PIN_INCORRECT",
        ),
        ("ResponseAPDU: 2 bytes, SW=6a82", "sw 6A82"),
        // Python
        (
            "smartcard.Exceptions.CardConnectionException: Unable to connect. (0x80100069)",
            "80100069",
        ),
        ("Failed to get status: hresult=-2146435043", "8010001D"),
        ("< [] 6A 82", "sw 6A82"),
        ("sw1=106, sw2=130", "sw 6A82"),
        ("SW1: 144 SW2: 0", "sw 9000"),
        (
            "yubikit.core.smartcard.ApduError: APDU error: SW=0x6982",
            "sw 6982",
        ),
        // Go
        (
            "scard: error(80100009): The specified reader name is not recognized.",
            "80100009",
        ),
        ("pkcs11: 0xA0: CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT A0"),
        // PKCS #11
        ("Returned:  160 CKR_PIN_INCORRECT", "CKR_PIN_INCORRECT A0"),
        (
            "C_Login failed: rv = CKR_PIN_LOCKED (0xa4)",
            "CKR_PIN_LOCKED A4",
        ),
        // Windows
        ("reason code 0x00050007 (no response)", "50007"),
    ]);
}

#[test]
fn a_name_and_its_number_are_one_code() {
    assert_found(&[
        (
            "the card was reset (SCARD_W_RESET_CARD, 0x80100068)",
            "SCARD_W_RESET_CARD 80100068",
        ),
        (
            "0x80100068 SCARD_W_RESET_CARD again",
            "SCARD_W_RESET_CARD 80100068",
        ),
        (
            "rv=0x80100068 (-2146434968), scard_w_reset_card",
            "SCARD_W_RESET_CARD 80100068",
        ),
        (
            "0x8010001F SCARD_E_UNSUPPORTED_FEATURE",
            "SCARD_E_UNSUPPORTED_FEATURE 8010001F",
        ),
        (
            "SCARD_W_RESET_CARD, then 0x80100069",
            "SCARD_W_RESET_CARD, 80100069",
        ),
        (
            "0x80100068, 0x801000FF and 0x80100068",
            "80100068, 801000FF",
        ),
    ]);
}

#[test]
fn status_words_are_recognised() {
    assert_found(&[
        ("6A82", "sw 6A82"),
        ("9000", "sw 9000"),
        ("0x6985", "sw 6985"),
        ("6A 82", "sw 6A82"),
        ("the card answered 6983", "sw 6983"),
        ("SELECT failed with 6d00", "sw 6D00"),
        ("SW1=0x6A, SW2=0x82", "sw 6A82"),
        ("(SW1=0x63, SW2=0xC2) after VERIFY", "sw 63C2"),
        ("sw1 sw2: 6a 82", "sw 6A82"),
        ("SW1SW2=6A 82", "sw 6A82"),
        ("SW: 27266", "sw 6A82"),
        ("status word 0x9000", "sw 9000"),
        ("file or application not found (6A82)", "sw 6A82"),
        ("security status not satisfied (6982)", "sw 6982"),
        ("<  [9000]", "sw 9000"),
        ("< 0102 [9000]", "sw 9000"),
        ("< 6A 82 : File not found.", "sw 6A82"),
        (
            "12:00:01 <- 6F 10 84 08 A0 00 00 01 51 00 00 00 90 00",
            "sw 9000",
        ),
        ("R-APDU: 6F108408A0000001519000", "sw 9000"),
        ("Received (2 bytes): 69 85", "sw 6985"),
        ("response = [0x6A, 0x82]", "sw 6A82"),
    ]);
}

#[test]
fn text_that_is_not_a_code_is_ignored() {
    for line in [
        "",
        "nothing here",
        "2026-11-26 10:31:07.123 [4711] pcscd[6543]: started",
        "00000012 winscard.c:313:SCardConnect()",
        "received 9000 bytes, returned 5 bytes",
        "exit code 2, 3 errors",
        "reader 08e6:3437, firmware 6.9.85",
        "id 80100068-1234-6a82-9000-0123456789ab",
        "> 00A4040005A000000308",
        "> 80100068",
        "pcscd listens on port 9000",
        "hCard 0x12345678, buffer 0x7ffe80100068",
        "returning with: -1211 (PIN code or key incorrect)",
        "3B 8F 80 01 80 4F 0C A0 00 00 03 06 03 00 01 00 00 00 00 6A",
        "a < b, 12 34",
        "\u{661}\u{662} é 0x é0x",
        "NTE_ SCARD_ _ 0x_ - -- &H",
    ] {
        assert_eq!(found(line), [""; 0], "{line}");
    }
}

#[test]
fn a_single_code_is_read_as_by_parse() {
    assert_found(&[
        ("31", "1F"),
        ("W_RESET_CARD", "SCARD_W_RESET_CARD"),
        (
            "E_INVALID_HANDLE",
            "SCARD_E_INVALID_HANDLE, SEC_E_INVALID_HANDLE",
        ),
        ("0x12345678", "12345678"),
    ]);
}
