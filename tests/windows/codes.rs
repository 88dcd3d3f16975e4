//! Windows' own codes: their names, kinds and recoveries.

use std::time::Duration;

use scard::{ConnectOptions, Context, ErrorKind, Origin, Recovery, ReturnCode, Session};
use scard_on_windows as scard;
use scard_testkit::isolated;

use crate::world::{plug, world};

const LIMIT: Option<Duration> = Some(Duration::from_secs(20));
const COMMAND: &[u8] = &[0, 0, 0, 0];

#[test]
fn system_codes_of_a_command_have_names_and_kinds() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut card = context.connect("R", ConnectOptions::new()).unwrap();
        use {ErrorKind as Kind, Recovery as Way};
        for (code, name, kind, recovery) in [
            (
                6,
                "ERROR_INVALID_HANDLE",
                Kind::ServiceGone,
                Way::ConnectAgain,
            ),
            (31, "ERROR_GEN_FAILURE", Kind::Communication, Way::ResetCard),
            (
                433,
                "ERROR_NO_SUCH_DEVICE",
                Kind::ReaderGone,
                Way::AttachReader,
            ),
            (
                995,
                "ERROR_OPERATION_ABORTED",
                Kind::Communication,
                Way::ResetCard,
            ),
            (
                1062,
                "ERROR_SERVICE_NOT_ACTIVE",
                Kind::ServiceGone,
                Way::ConnectAgain,
            ),
            (
                1115,
                "ERROR_SHUTDOWN_IN_PROGRESS",
                Kind::Cancelled,
                Way::None,
            ),
            (
                1167,
                "ERROR_DEVICE_NOT_CONNECTED",
                Kind::ReaderGone,
                Way::AttachReader,
            ),
            (1223, "ERROR_CANCELLED", Kind::Cancelled, Way::AskUser),
            (
                1722,
                "RPC_S_SERVER_UNAVAILABLE",
                Kind::ServiceGone,
                Way::ConnectAgain,
            ),
            (
                1726,
                "RPC_S_CALL_FAILED",
                Kind::ServiceGone,
                Way::ConnectAgain,
            ),
            (
                1734,
                "RPC_S_INVALID_BOUND",
                Kind::InvalidArgument,
                Way::FixCall,
            ),
            (
                1783,
                "RPC_X_BAD_STUB_DATA",
                Kind::InvalidArgument,
                Way::FixCall,
            ),
            (
                0x8010_001F,
                "SCARD_E_UNEXPECTED",
                Kind::Communication,
                Way::ResetCard,
            ),
            (
                0x8010_0022,
                "SCARD_E_UNSUPPORTED_FEATURE",
                Kind::Unsupported,
                Way::FixCall,
            ),
        ] {
            world().fails_with = Some(code);
            let error = card.transmit(COMMAND).unwrap_err();
            assert_eq!(error.code().name(), Some(name));
            assert_eq!((error.kind(), error.recovery()), (kind, recovery), "{name}");
            assert_eq!(error.origin(), Origin::Service);
            assert!(error.to_string().contains(name), "{error}");
        }
    });
}

#[test]
fn a_code_without_a_name_is_reported_as_a_windows_error() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut card = context.connect("R", ConnectOptions::new()).unwrap();
        for code in [1234, 0x8007_04D2, 0xC000_0001] {
            world().fails_with = Some(code);
            let error = card.transmit(COMMAND).unwrap_err();
            assert_eq!(error.code(), ReturnCode::from_raw(code));
            assert_eq!(error.kind(), ErrorKind::Unknown);
            let text = error.to_string();
            assert!(
                text.contains("a Windows error with no known name"),
                "{text}"
            );
            assert!(text.contains(&format!("{code:#010X}")), "{text}");
        }
    });
}

/// If the service breaks off a call, the session connects again. The command may have run, so only
/// restartable work is repeated.
#[test]
fn a_session_connects_again_when_the_service_breaks_off_a_call() {
    isolated(|| {
        plug(&["R"]);
        let context = Context::establish().unwrap();
        let mut session = Session::builder(&context).timeout(LIMIT).open().unwrap();
        for code in [6, 1062, 1722, 1726, 0x8010_0012, 0x8010_001E] {
            world().fails_with = Some(code);
            let answer = session.run_restartable(|card| card.transmit(COMMAND));
            assert_eq!(answer.unwrap(), [0x90, 0x00], "{code:#X}");
        }
    });
}
