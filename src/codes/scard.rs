//! The return codes of the SCard functions.

use super::table::{c_name, code_table};
use crate::codes::Platform;

code_table! {
    /// The exact 32-bit code that an SCard function returned.
    ///
    /// Known codes are associated constants and can be used in patterns. Unknown codes are kept as
    /// they are: services, drivers and remote-desktop clients return codes of their own.
    ///
    /// ```
    /// use scard::ReturnCode;
    ///
    /// let code = ReturnCode::from_raw(0x8010_0068);
    /// assert_eq!(code, ReturnCode::W_RESET_CARD);
    /// assert_eq!(code.name(), Some("SCARD_W_RESET_CARD"));
    /// assert_eq!(code.to_string(), "the card was reset (SCARD_W_RESET_CARD, 0x80100068)");
    ///
    /// let unknown = ReturnCode::from_raw(0x8010_00FF);
    /// assert_eq!(unknown.raw(), 0x8010_00FF);
    /// assert_eq!(unknown.to_string(), "unknown code (0x801000FF)");
    /// ```
    ///
    /// # Platform notes
    ///
    /// 0x8010001F is `SCARD_E_UNEXPECTED` on Windows, where an unsupported feature is 0x80100022;
    /// with pcsc-lite and on macOS it is `SCARD_E_UNSUPPORTED_FEATURE`, and 0x80100022 does not
    /// occur. The constants have the Windows values; names follow the platform the program runs on,
    /// or the one passed to [`name_on`](ReturnCode::name_on).
    ///
    /// Besides the codes of PC/SC, winscard returns Windows system codes: its own and, translated,
    /// those of the reader's driver (`ERROR_…`), and those of the remote procedure call to the
    /// service (`RPC_…`, `EPT_…`). Their names are known on all platforms, because the numbers mean
    /// nothing else anywhere. `ERROR_BROKEN_PIPE` is the only name with two numbers: see
    /// [`BROKEN_PIPE`](ReturnCode::BROKEN_PIPE).
    pub struct ReturnCode unnamed by unnamed;

    S_SUCCESS = 0x0000_0000 as "SCARD_S_SUCCESS", "no error was encountered";

    F_INTERNAL_ERROR = 0x8010_0001 as "SCARD_F_INTERNAL_ERROR", "an internal consistency check failed";
    E_CANCELLED = 0x8010_0002 as "SCARD_E_CANCELLED", "the wait was cancelled by the program";
    E_INVALID_HANDLE = 0x8010_0003 as "SCARD_E_INVALID_HANDLE", "the context or card handle is not valid";
    E_INVALID_PARAMETER = 0x8010_0004 as "SCARD_E_INVALID_PARAMETER", "a parameter could not be interpreted";
    E_INVALID_TARGET = 0x8010_0005 as "SCARD_E_INVALID_TARGET", "the registered start-up information is missing or not valid";
    E_NO_MEMORY = 0x8010_0006 as "SCARD_E_NO_MEMORY", "there is not enough memory, or the service has reached a limit";
    F_WAITED_TOO_LONG = 0x8010_0007 as "SCARD_F_WAITED_TOO_LONG", "an internal timer expired";
    E_INSUFFICIENT_BUFFER = 0x8010_0008 as "SCARD_E_INSUFFICIENT_BUFFER", "the data does not fit into the buffer";
    E_UNKNOWN_READER = 0x8010_0009 as "SCARD_E_UNKNOWN_READER", "there is no reader of this name";
    E_TIMEOUT = 0x8010_000A as "SCARD_E_TIMEOUT", "the time limit passed";
    E_SHARING_VIOLATION = 0x8010_000B as "SCARD_E_SHARING_VIOLATION", "another connection to the card excludes this one";
    E_NO_SMARTCARD = 0x8010_000C as "SCARD_E_NO_SMARTCARD", "there is no card in the reader";
    E_UNKNOWN_CARD = 0x8010_000D as "SCARD_E_UNKNOWN_CARD", "the card name is not known to the system";
    E_CANT_DISPOSE = 0x8010_000E as "SCARD_E_CANT_DISPOSE", "the card cannot be disposed of in the requested way";
    E_PROTO_MISMATCH = 0x8010_000F as "SCARD_E_PROTO_MISMATCH", "the requested protocols do not include the one the card uses";
    E_NOT_READY = 0x8010_0010 as "SCARD_E_NOT_READY", "the reader or the card is not ready for commands";
    E_INVALID_VALUE = 0x8010_0011 as "SCARD_E_INVALID_VALUE", "a parameter has a value that is not valid here";
    E_SYSTEM_CANCELLED = 0x8010_0012 as "SCARD_E_SYSTEM_CANCELLED", "the smart-card service ended the call, because it or the system is shutting down";
    F_COMM_ERROR = 0x8010_0013 as "SCARD_F_COMM_ERROR", "communication with the smart-card service failed";
    F_UNKNOWN_ERROR = 0x8010_0014 as "SCARD_F_UNKNOWN_ERROR", "an internal error of unknown source occurred";
    E_INVALID_ATR = 0x8010_0015 as "SCARD_E_INVALID_ATR", "the registered ATR is not valid";
    E_NOT_TRANSACTED = 0x8010_0016 as "SCARD_E_NOT_TRANSACTED", "there is no transaction to end, or the exchange with the card failed";
    E_READER_UNAVAILABLE = 0x8010_0017 as "SCARD_E_READER_UNAVAILABLE", "the reader is not available";
    P_SHUTDOWN = 0x8010_0018 as "SCARD_P_SHUTDOWN", "the operation was aborted so that the service can shut down";
    E_PCI_TOO_SMALL = 0x8010_0019 as "SCARD_E_PCI_TOO_SMALL", "the buffer for the protocol control information is too small";
    E_READER_UNSUPPORTED = 0x8010_001A as "SCARD_E_READER_UNSUPPORTED", "the reader's driver does not meet the minimal requirements";
    E_DUPLICATE_READER = 0x8010_001B as "SCARD_E_DUPLICATE_READER", "the driver did not give the reader a unique name";
    E_CARD_UNSUPPORTED = 0x8010_001C as "SCARD_E_CARD_UNSUPPORTED", "the card does not meet the minimal requirements";
    E_NO_SERVICE = 0x8010_001D as "SCARD_E_NO_SERVICE", "the smart-card service is not running";
    E_SERVICE_STOPPED = 0x8010_001E as "SCARD_E_SERVICE_STOPPED", "the smart-card service has shut down";
    /// With pcsc-lite and on macOS this value means that a feature is not supported.
    E_UNEXPECTED = 0x8010_001F as "SCARD_E_UNEXPECTED", "an unexpected card error occurred";
    E_ICC_INSTALLATION = 0x8010_0020 as "SCARD_E_ICC_INSTALLATION", "no primary provider is registered for the card";
    E_ICC_CREATEORDER = 0x8010_0021 as "SCARD_E_ICC_CREATEORDER", "the objects cannot be created in this order";
    /// The number on Windows; on other platforms it is that of [`ReturnCode::E_UNEXPECTED`].
    E_UNSUPPORTED_FEATURE = 0x8010_0022 as "SCARD_E_UNSUPPORTED_FEATURE" on Windows, "the feature is not supported";
    E_DIR_NOT_FOUND = 0x8010_0023 as "SCARD_E_DIR_NOT_FOUND", "the directory does not exist on the card";
    E_FILE_NOT_FOUND = 0x8010_0024 as "SCARD_E_FILE_NOT_FOUND", "the file does not exist on the card";
    E_NO_DIR = 0x8010_0025 as "SCARD_E_NO_DIR", "the path does not lead to a directory on the card";
    E_NO_FILE = 0x8010_0026 as "SCARD_E_NO_FILE", "the path does not lead to a file on the card";
    E_NO_ACCESS = 0x8010_0027 as "SCARD_E_NO_ACCESS", "access to the file is denied";
    E_WRITE_TOO_MANY = 0x8010_0028 as "SCARD_E_WRITE_TOO_MANY", "more data was written than the target can hold";
    E_BAD_SEEK = 0x8010_0029 as "SCARD_E_BAD_SEEK", "the position in the card's file could not be set";
    E_INVALID_CHV = 0x8010_002A as "SCARD_E_INVALID_CHV", "the PIN is not correct";
    E_UNKNOWN_RES_MNG = 0x8010_002B as "SCARD_E_UNKNOWN_RES_MNG", "a layer below returned a code that the service does not know";
    E_NO_SUCH_CERTIFICATE = 0x8010_002C as "SCARD_E_NO_SUCH_CERTIFICATE", "the certificate does not exist";
    E_CERTIFICATE_UNAVAILABLE = 0x8010_002D as "SCARD_E_CERTIFICATE_UNAVAILABLE", "the certificate could not be read";
    E_NO_READERS_AVAILABLE = 0x8010_002E as "SCARD_E_NO_READERS_AVAILABLE", "there is no reader";
    E_COMM_DATA_LOST = 0x8010_002F as "SCARD_E_COMM_DATA_LOST", "data was lost in the communication with the card";
    E_NO_KEY_CONTAINER = 0x8010_0030 as "SCARD_E_NO_KEY_CONTAINER", "the key container does not exist on the card";
    E_SERVER_TOO_BUSY = 0x8010_0031 as "SCARD_E_SERVER_TOO_BUSY", "the smart-card service is too busy";
    E_PIN_CACHE_EXPIRED = 0x8010_0032 as "SCARD_E_PIN_CACHE_EXPIRED", "the cached PIN is no longer valid";
    E_NO_PIN_CACHE = 0x8010_0033 as "SCARD_E_NO_PIN_CACHE", "the PIN cannot be cached";
    E_READ_ONLY_CARD = 0x8010_0034 as "SCARD_E_READ_ONLY_CARD", "the card cannot be written";

    W_UNSUPPORTED_CARD = 0x8010_0065 as "SCARD_W_UNSUPPORTED_CARD", "the reader cannot talk to the card: its ATR has conflicting settings";
    W_UNRESPONSIVE_CARD = 0x8010_0066 as "SCARD_W_UNRESPONSIVE_CARD", "the card does not answer to a reset";
    W_UNPOWERED_CARD = 0x8010_0067 as "SCARD_W_UNPOWERED_CARD", "the card has no power";
    W_RESET_CARD = 0x8010_0068 as "SCARD_W_RESET_CARD", "the card was reset";
    W_REMOVED_CARD = 0x8010_0069 as "SCARD_W_REMOVED_CARD", "the card was removed";
    W_SECURITY_VIOLATION = 0x8010_006A as "SCARD_W_SECURITY_VIOLATION", "access was denied by a security rule";
    W_WRONG_CHV = 0x8010_006B as "SCARD_W_WRONG_CHV", "the PIN was wrong";
    W_CHV_BLOCKED = 0x8010_006C as "SCARD_W_CHV_BLOCKED", "the PIN is blocked after too many wrong attempts";
    W_EOF = 0x8010_006D as "SCARD_W_EOF", "the end of the card's file was reached";
    W_CANCELLED_BY_USER = 0x8010_006E as "SCARD_W_CANCELLED_BY_USER", "the user cancelled the operation";
    W_CARD_NOT_AUTHENTICATED = 0x8010_006F as "SCARD_W_CARD_NOT_AUTHENTICATED", "no PIN was presented to the card";
    W_CACHE_ITEM_NOT_FOUND = 0x8010_0070 as "SCARD_W_CACHE_ITEM_NOT_FOUND", "the item is not in the cache";
    W_CACHE_ITEM_STALE = 0x8010_0071 as "SCARD_W_CACHE_ITEM_STALE", "the cached item was too old and has been deleted";
    W_CACHE_ITEM_TOO_BIG = 0x8010_0072 as "SCARD_W_CACHE_ITEM_TOO_BIG", "the item is too large for the cache";

    // Windows system codes, by origin:
    //
    // The client library and its connection to the service: ACCESS_DENIED for service accounts and
    // sandboxed programs (danm-de/pcsc-sharp, issues 75 and 83); INVALID_HANDLE as documented for
    // SCardIsValidContext, and from Wine for every closed handle; INVALID_PARAMETER from
    // SCardTransmit (reported for an O2Micro reader); NOT_ENOUGH_MEMORY and NOACCESS are how
    // Windows reports its own failures with the caller's memory.
    //
    // The driver of the reader: its NTSTATUS arrives translated, as by RtlNtStatusToDosError.
    // Documented for the callbacks of smart-card drivers are STATUS_INVALID_DEVICE_REQUEST (1: the
    // usual answer to an SCardControl code that the driver does not implement),
    // STATUS_INVALID_DEVICE_STATE (22), STATUS_INVALID_PARAMETER (87), STATUS_IO_TIMEOUT (121),
    // STATUS_BUFFER_TOO_SMALL (122), STATUS_DEVICE_BUSY (170) and STATUS_NO_MEDIA (1112). Reported
    // from SCardTransmit are 31 (santigimeno/node-pcsclite, issue 57), which is
    // STATUS_UNSUCCESSFUL, and 995 (danm-de/pcsc-sharp, issue 94), STATUS_CANCELLED. The others are
    // general answers of USB drivers, listed so that they have names: STATUS_NO_MEDIA_IN_DEVICE
    // (21), STATUS_NOT_SUPPORTED (50), STATUS_BUFFER_OVERFLOW (234), STATUS_IO_DEVICE_ERROR and
    // STATUS_DEVICE_PROTOCOL_ERROR (1117), STATUS_DEVICE_NOT_CONNECTED (1167),
    // STATUS_DEVICE_REMOVED (1617), STATUS_INVALID_BUFFER_SIZE (1784), STATUS_UNRECOGNIZED_MEDIA
    // (1785).
    //
    // STATUS_NO_SUCH_DEVICE is 433 since Windows 8; 23 (STATUS_CRC_ERROR) and 1460 (STATUS_TIMEOUT)
    // are also returned by drivers.
    //
    // Calls reach the service by remote procedure call, locally as well as over a remote desktop,
    // and the codes of that layer (RPC_…, EPT_…) reach callers: 1722 and 1753 while the service
    // starts or stops, 1726 and 1727 when it stops during a call, 1775 for a handle from a service
    // that has stopped, 1734, 1780 and 1783 for more readers than fit in a call. 1062 and 1058 mean
    // that the service is not running, 1115 that the system is shutting down, 1223 that the user
    // cancelled. 2 means that the card database has no such entry.

    /// The number of this name in the Windows documentation of smart-card return values. In the
    /// system headers `ERROR_BROKEN_PIPE` is 109 (0x6D): [`ReturnCode::SYSTEM_BROKEN_PIPE`]. Expect
    /// either; parsing the name returns this one.
    BROKEN_PIPE = 0x0000_0109 as "ERROR_BROKEN_PIPE", "the remote session does not redirect smart cards";
    INVALID_FUNCTION = 0x0000_0001 as "ERROR_INVALID_FUNCTION", "the reader's driver does not have this function";
    ACCESS_DENIED = 0x0000_0005 as "ERROR_ACCESS_DENIED", "the system denied access";
    INVALID_HANDLE = 0x0000_0006 as "ERROR_INVALID_HANDLE", "the context or card handle is not valid";
    FILE_NOT_FOUND = 0x0000_0002 as "ERROR_FILE_NOT_FOUND", "the system does not have the requested item";
    NOT_ENOUGH_MEMORY = 0x0000_0008 as "ERROR_NOT_ENOUGH_MEMORY", "the system does not have enough memory";
    OUT_OF_MEMORY = 0x0000_000E as "ERROR_OUTOFMEMORY", "the system does not have enough memory";
    NOT_READY = 0x0000_0015 as "ERROR_NOT_READY", "the reader is not ready";
    BAD_COMMAND = 0x0000_0016 as "ERROR_BAD_COMMAND", "the reader cannot do this in its current state";
    CRC = 0x0000_0017 as "ERROR_CRC", "the data of the exchange with the reader was damaged";
    GEN_FAILURE = 0x0000_001F as "ERROR_GEN_FAILURE", "the reader or its driver failed";
    NOT_SUPPORTED = 0x0000_0032 as "ERROR_NOT_SUPPORTED", "the reader's driver does not support the request";
    INVALID_PARAMETER = 0x0000_0057 as "ERROR_INVALID_PARAMETER", "a parameter is not valid";
    /// `ERROR_BROKEN_PIPE` of the system headers; [`ReturnCode::BROKEN_PIPE`] has the number
    /// of the smart-card documentation.
    SYSTEM_BROKEN_PIPE = 0x0000_006D as "ERROR_BROKEN_PIPE", "the connection to the smart-card service broke, or the remote session does not redirect smart cards";
    SEM_TIMEOUT = 0x0000_0079 as "ERROR_SEM_TIMEOUT", "the reader did not answer in time";
    INSUFFICIENT_BUFFER = 0x0000_007A as "ERROR_INSUFFICIENT_BUFFER", "the data does not fit into the buffer";
    BUSY = 0x0000_00AA as "ERROR_BUSY", "the reader is busy";
    MORE_DATA = 0x0000_00EA as "ERROR_MORE_DATA", "there is more data than the buffer can hold";
    NO_SUCH_DEVICE = 0x0000_01B1 as "ERROR_NO_SUCH_DEVICE", "the reader is no longer there";
    OPERATION_ABORTED = 0x0000_03E3 as "ERROR_OPERATION_ABORTED", "the exchange with the reader was aborted";
    NOACCESS = 0x0000_03E6 as "ERROR_NOACCESS", "a buffer is not in accessible memory";
    SERVICE_DISABLED = 0x0000_0422 as "ERROR_SERVICE_DISABLED", "the smart-card service is disabled";
    SERVICE_NOT_ACTIVE = 0x0000_0426 as "ERROR_SERVICE_NOT_ACTIVE", "the smart-card service is not running";
    NO_MEDIA_IN_DRIVE = 0x0000_0458 as "ERROR_NO_MEDIA_IN_DRIVE", "there is no card in the reader";
    SHUTDOWN_IN_PROGRESS = 0x0000_045B as "ERROR_SHUTDOWN_IN_PROGRESS", "the system is shutting down";
    IO_DEVICE = 0x0000_045D as "ERROR_IO_DEVICE", "the exchange with the reader failed";
    DEVICE_NOT_CONNECTED = 0x0000_048F as "ERROR_DEVICE_NOT_CONNECTED", "the reader is not connected";
    /// The Windows system code; the PC/SC one is [`ReturnCode::W_CANCELLED_BY_USER`].
    CANCELLED = 0x0000_04C7 as "ERROR_CANCELLED", "the user cancelled the operation";
    REQUEST_ABORTED = 0x0000_04D3 as "ERROR_REQUEST_ABORTED", "the request to the reader was aborted";
    NO_SYSTEM_RESOURCES = 0x0000_05AA as "ERROR_NO_SYSTEM_RESOURCES", "the system does not have enough resources";
    TIMEOUT = 0x0000_05B4 as "ERROR_TIMEOUT", "the reader did not answer in time";
    DEVICE_REMOVED = 0x0000_0651 as "ERROR_DEVICE_REMOVED", "the reader was removed";
    RPC_SERVER_UNAVAILABLE = 0x0000_06BA as "RPC_S_SERVER_UNAVAILABLE", "the smart-card service cannot be reached";
    RPC_SERVER_TOO_BUSY = 0x0000_06BB as "RPC_S_SERVER_TOO_BUSY", "the smart-card service is too busy";
    RPC_CALL_FAILED = 0x0000_06BE as "RPC_S_CALL_FAILED", "the call to the smart-card service was interrupted";
    RPC_CALL_FAILED_DNE = 0x0000_06BF as "RPC_S_CALL_FAILED_DNE", "the call did not reach the smart-card service";
    RPC_PROTOCOL_ERROR = 0x0000_06C0 as "RPC_S_PROTOCOL_ERROR", "communication with the smart-card service failed";
    RPC_INVALID_BOUND = 0x0000_06C6 as "RPC_S_INVALID_BOUND", "the call exceeded a limit of the smart-card service";
    EPT_NOT_REGISTERED = 0x0000_06D9 as "EPT_S_NOT_REGISTERED", "the smart-card service cannot be reached yet";
    RPC_IN_NULL_CONTEXT = 0x0000_06EF as "RPC_X_SS_IN_NULL_CONTEXT", "the smart-card service no longer knows the context";
    RPC_NULL_REF_POINTER = 0x0000_06F4 as "RPC_X_NULL_REF_POINTER", "a parameter was missing in the call to the smart-card service";
    RPC_BAD_STUB_DATA = 0x0000_06F7 as "RPC_X_BAD_STUB_DATA", "the smart-card service rejected the data of the call";
    INVALID_USER_BUFFER = 0x0000_06F8 as "ERROR_INVALID_USER_BUFFER", "a buffer has a size that the reader's driver does not accept";
    UNRECOGNIZED_MEDIA = 0x0000_06F9 as "ERROR_UNRECOGNIZED_MEDIA", "the reader cannot talk to the card";

    => others
    0x8010_001F as "SCARD_E_UNSUPPORTED_FEATURE" short "E_UNSUPPORTED_FEATURE" on MacOs | PcscLite, "the feature is not supported";
}

impl ReturnCode {
    /// Returns the name in the PC/SC headers of a platform; `None` for an unknown code.
    ///
    /// [`name`](ReturnCode::name) uses [`Platform::CURRENT`] and falls back to the other platforms.
    ///
    /// ```
    /// use scard::{Platform, ReturnCode};
    ///
    /// let code = ReturnCode::from_raw(0x8010_001F);
    /// assert_eq!(code.name_on(Platform::Windows), Some("SCARD_E_UNEXPECTED"));
    /// assert_eq!(code.name_on(Platform::PcscLite), Some("SCARD_E_UNSUPPORTED_FEATURE"));
    ///
    /// let code = ReturnCode::from_raw(0x8010_0022);
    /// assert_eq!(code.name_on(Platform::Windows), Some("SCARD_E_UNSUPPORTED_FEATURE"));
    /// assert_eq!(code.name_on(Platform::PcscLite), None);
    /// assert_eq!(code.description(), "the feature is not supported");
    /// ```
    pub fn name_on(self, platform: Platform) -> Option<&'static str> {
        let row = ReturnCode::TABLE.row_on(self.raw(), platform)?;
        Some(row.name)
    }

    /// Returns the code with this name on a platform, ignoring case.
    ///
    /// Names that exist only on other platforms are accepted, too.
    ///
    /// ```
    /// use scard::{Platform, ReturnCode};
    ///
    /// let named = |platform| ReturnCode::from_name_on("SCARD_E_UNSUPPORTED_FEATURE", platform);
    /// assert_eq!(named(Platform::Windows), Some(ReturnCode::from_raw(0x8010_0022)));
    /// assert_eq!(named(Platform::MacOs), Some(ReturnCode::from_raw(0x8010_001F)));
    /// ```
    pub fn from_name_on(name: &str, platform: Platform) -> Option<ReturnCode> {
        let row = ReturnCode::TABLE.named_on(name, platform)?;
        Some(ReturnCode::from_raw(row.value))
    }
}

/// The description of a code that is not in the table. Only Windows also returns foreign codes.
fn unnamed(value: u32, platform: Platform) -> &'static str {
    const FACILITY_SCARD: u32 = 0x8010;
    match platform {
        Platform::Windows if value >> 16 != FACILITY_SCARD => "a Windows error with no known name",
        _ => "unknown code",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Severity;

    #[test]
    fn severity_matches_the_letter_in_the_name() {
        assert_eq!(ReturnCode::S_SUCCESS.severity(), Some(Severity::Success));
        assert_eq!(ReturnCode::P_SHUTDOWN.severity(), Some(Severity::Progress));
        assert_eq!(ReturnCode::W_RESET_CARD.severity(), Some(Severity::Warning));
        assert_eq!(ReturnCode::E_NO_SERVICE.severity(), Some(Severity::Error));
        assert_eq!(ReturnCode::F_COMM_ERROR.severity(), Some(Severity::Fatal));
        assert_eq!(ReturnCode::BROKEN_PIPE.severity(), None);
        assert_eq!(ReturnCode::from_raw(0xFFFF_FFFF).severity(), None);
    }

    #[test]
    fn unsupported_feature_is_named_for_the_platform() {
        let name = ReturnCode::from_raw(0x8010_001F).name();
        if Platform::CURRENT == Platform::Windows {
            assert_eq!(name, Some("SCARD_E_UNEXPECTED"));
        } else {
            assert_eq!(name, Some("SCARD_E_UNSUPPORTED_FEATURE"));
        }
    }

    #[test]
    fn unknown_codes_are_shown_by_number() {
        let unknown = ReturnCode::from_raw(0x20);
        assert_eq!(unknown.name(), None);
        let said = unnamed(0x20, Platform::CURRENT);
        assert_eq!(unknown.to_string(), format!("{said} (0x00000020)"));
        assert_eq!(format!("{unknown:?}"), "ReturnCode(0x00000020)");
    }

    #[test]
    fn codes_of_other_facilities_are_reported_as_windows_errors() {
        for value in [0x20, 0x8007_0020, 0xC000_0001, u32::MAX] {
            let windows = unnamed(value, Platform::Windows);
            assert_eq!(windows, "a Windows error with no known name");
            assert_eq!(unnamed(value, Platform::PcscLite), "unknown code");
        }
        assert_eq!(unnamed(0x8010_00FF, Platform::Windows), "unknown code");
    }
}
