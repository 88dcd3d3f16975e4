//! The reason codes of Windows WLAN.

use super::table::{c_name, code_table};

code_table! {
    /// The reason why Windows could not connect to a wireless network.
    ///
    /// Reasons that start with `ONEX_` are from 802.1X, which can authenticate with a certificate
    /// on a smart card.
    ///
    /// ```
    /// use scard::codes::WlanReason;
    ///
    /// let reason = WlanReason::from_raw(0x0005_0007);
    /// assert_eq!(reason, WlanReason::ONEX_NO_RESPONSE_TO_IDENTITY);
    /// assert_eq!(WlanReason::KEY_MISMATCH.name(), Some("WLAN_REASON_CODE_KEY_MISMATCH"));
    /// ```
    ///
    /// # One number, two names
    ///
    /// 0x00048016 was `WLAN_REASON_CODE_MSMSEC_SECURITY_UI_FAILURE` in the first headers of Windows
    /// Vista. In later headers, and in [`name`](WlanReason::name), it is
    /// `WLAN_REASON_CODE_MSMSEC_M3_TOO_MANY_RSNIE`. Both names are read, and
    /// [`lookup()`](super::lookup()) finds both meanings.
    pub struct WlanReason;

    SUCCESS = 0x0000_0000 as "WLAN_REASON_CODE_SUCCESS" also "ONEX_REASON_CODE_SUCCESS", "the operation succeeded";
    UNKNOWN = 0x0001_0001 as "WLAN_REASON_CODE_UNKNOWN", "the reason is not known";
    NETWORK_NOT_COMPATIBLE = 0x0002_0001 as "WLAN_REASON_CODE_NETWORK_NOT_COMPATIBLE", "the adapter cannot use this network";
    PROFILE_NOT_COMPATIBLE = 0x0002_0002 as "WLAN_REASON_CODE_PROFILE_NOT_COMPATIBLE", "the profile does not match the network";
    NO_AUTO_CONNECTION = 0x0002_8001 as "WLAN_REASON_CODE_NO_AUTO_CONNECTION", "the profile does not allow connecting automatically";
    NOT_VISIBLE = 0x0002_8002 as "WLAN_REASON_CODE_NOT_VISIBLE", "the network is out of range or does not announce itself";
    GP_DENIED = 0x0002_8003 as "WLAN_REASON_CODE_GP_DENIED", "a group policy blocks the network";
    USER_DENIED = 0x0002_8004 as "WLAN_REASON_CODE_USER_DENIED", "the user has blocked the network";
    BSS_TYPE_NOT_ALLOWED = 0x0002_8005 as "WLAN_REASON_CODE_BSS_TYPE_NOT_ALLOWED", "the adapter is not allowed to join this type of network";
    IN_FAILED_LIST = 0x0002_8006 as "WLAN_REASON_CODE_IN_FAILED_LIST", "an earlier attempt to connect to the network failed";
    IN_BLOCKED_LIST = 0x0002_8007 as "WLAN_REASON_CODE_IN_BLOCKED_LIST", "the network is on the list of blocked ones";
    SSID_LIST_TOO_LONG = 0x0002_8008 as "WLAN_REASON_CODE_SSID_LIST_TOO_LONG", "there are more network names than the adapter supports";
    CONNECT_CALL_FAIL = 0x0002_8009 as "WLAN_REASON_CODE_CONNECT_CALL_FAIL", "the media-specific module could not start to connect";
    SCAN_CALL_FAIL = 0x0002_800A as "WLAN_REASON_CODE_SCAN_CALL_FAIL", "the media-specific module could not start to scan";
    NETWORK_NOT_AVAILABLE = 0x0002_800B as "WLAN_REASON_CODE_NETWORK_NOT_AVAILABLE", "the network is not available, or does not support what the profile requires";
    PROFILE_CHANGED_OR_DELETED = 0x0002_800C as "WLAN_REASON_CODE_PROFILE_CHANGED_OR_DELETED", "the profile was changed or deleted before the connection was made";
    KEY_MISMATCH = 0x0002_800D as "WLAN_REASON_CODE_KEY_MISMATCH", "the key of the profile is not the key of the network";
    USER_NOT_RESPOND = 0x0002_800E as "WLAN_REASON_CODE_USER_NOT_RESPOND", "the user did not answer";
    AP_PROFILE_NOT_ALLOWED_FOR_CLIENT = 0x0002_800F as "WLAN_REASON_CODE_AP_PROFILE_NOT_ALLOWED_FOR_CLIENT", "a profile for a hosted network cannot be set on a physical adapter";
    AP_PROFILE_NOT_ALLOWED = 0x0002_8010 as "WLAN_REASON_CODE_AP_PROFILE_NOT_ALLOWED", "a profile for a hosted network cannot be set here";
    HOTSPOT2_PROFILE_DENIED = 0x0002_8011 as "WLAN_REASON_CODE_HOTSPOT2_PROFILE_DENIED", "the Hotspot 2.0 profile was refused";
    UNSUPPORTED_SECURITY_SET_BY_OS = 0x0003_0001 as "WLAN_REASON_CODE_UNSUPPORTED_SECURITY_SET_BY_OS", "the system does not support the network's security settings";
    UNSUPPORTED_SECURITY_SET = 0x0003_0002 as "WLAN_REASON_CODE_UNSUPPORTED_SECURITY_SET", "the adapter does not support the network's security settings";
    BSS_TYPE_UNMATCH = 0x0003_0003 as "WLAN_REASON_CODE_BSS_TYPE_UNMATCH", "the network's type differs from the profile's";
    PHY_TYPE_UNMATCH = 0x0003_0004 as "WLAN_REASON_CODE_PHY_TYPE_UNMATCH", "the network's radio type differs from the profile's";
    DATARATE_UNMATCH = 0x0003_0005 as "WLAN_REASON_CODE_DATARATE_UNMATCH", "the network and the adapter have no data rate in common";
    USER_CANCELLED = 0x0003_8001 as "WLAN_REASON_CODE_USER_CANCELLED", "the user cancelled the operation";
    ASSOCIATION_FAILURE = 0x0003_8002 as "WLAN_REASON_CODE_ASSOCIATION_FAILURE", "the driver disconnected during the association";
    ASSOCIATION_TIMEOUT = 0x0003_8003 as "WLAN_REASON_CODE_ASSOCIATION_TIMEOUT", "the association took too long";
    PRE_SECURITY_FAILURE = 0x0003_8004 as "WLAN_REASON_CODE_PRE_SECURITY_FAILURE", "the security setup before the association failed";
    START_SECURITY_FAILURE = 0x0003_8005 as "WLAN_REASON_CODE_START_SECURITY_FAILURE", "the security setup after the association could not be started";
    SECURITY_FAILURE = 0x0003_8006 as "WLAN_REASON_CODE_SECURITY_FAILURE", "the security setup after the association failed";
    SECURITY_TIMEOUT = 0x0003_8007 as "WLAN_REASON_CODE_SECURITY_TIMEOUT", "the security setup after the association took too long";
    ROAMING_FAILURE = 0x0003_8008 as "WLAN_REASON_CODE_ROAMING_FAILURE", "the driver disconnected while changing the access point";
    ROAMING_SECURITY_FAILURE = 0x0003_8009 as "WLAN_REASON_CODE_ROAMING_SECURITY_FAILURE", "the security setup for the new access point could not be started";
    ADHOC_SECURITY_FAILURE = 0x0003_800A as "WLAN_REASON_CODE_ADHOC_SECURITY_FAILURE", "the security setup with a peer of the ad hoc network could not be started";
    DRIVER_DISCONNECTED = 0x0003_800B as "WLAN_REASON_CODE_DRIVER_DISCONNECTED", "the driver disconnected";
    DRIVER_OPERATION_FAILURE = 0x0003_800C as "WLAN_REASON_CODE_DRIVER_OPERATION_FAILURE", "the driver could not perform the requested operation";
    IHV_NOT_AVAILABLE = 0x0003_800D as "WLAN_REASON_CODE_IHV_NOT_AVAILABLE", "the hardware vendor's service is not available";
    IHV_NOT_RESPONDING = 0x0003_800E as "WLAN_REASON_CODE_IHV_NOT_RESPONDING", "the hardware vendor's service did not answer in time";
    DISCONNECT_TIMEOUT = 0x0003_800F as "WLAN_REASON_CODE_DISCONNECT_TIMEOUT", "the driver took too long to disconnect";
    INTERNAL_FAILURE = 0x0003_8010 as "WLAN_REASON_CODE_INTERNAL_FAILURE", "an internal error stopped the operation";
    UI_REQUEST_TIMEOUT = 0x0003_8011 as "WLAN_REASON_CODE_UI_REQUEST_TIMEOUT", "the user took too long to answer";
    TOO_MANY_SECURITY_ATTEMPTS = 0x0003_8012 as "WLAN_REASON_CODE_TOO_MANY_SECURITY_ATTEMPTS", "the access point changed too often before the security setup was done";
    AP_STARTING_FAILURE = 0x0003_8013 as "WLAN_REASON_CODE_AP_STARTING_FAILURE", "the hosted network could not be started";
    NO_VISIBLE_AP = 0x0003_8014 as "WLAN_REASON_CODE_NO_VISIBLE_AP", "no access point of the network is in reach";
    MSMSEC_PROFILE_INVALID_KEY_INDEX = 0x0004_0001 as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_KEY_INDEX", "the profile's key index is not valid";
    MSMSEC_PROFILE_PSK_PRESENT = 0x0004_0002 as "WLAN_REASON_CODE_MSMSEC_PROFILE_PSK_PRESENT", "the profile has a pre-shared key where a network key is needed";
    MSMSEC_PROFILE_KEY_LENGTH = 0x0004_0003 as "WLAN_REASON_CODE_MSMSEC_PROFILE_KEY_LENGTH", "the profile's key has a wrong length";
    MSMSEC_PROFILE_PSK_LENGTH = 0x0004_0004 as "WLAN_REASON_CODE_MSMSEC_PROFILE_PSK_LENGTH", "the profile's pre-shared key has a wrong length";
    MSMSEC_PROFILE_NO_AUTH_CIPHER_SPECIFIED = 0x0004_0005 as "WLAN_REASON_CODE_MSMSEC_PROFILE_NO_AUTH_CIPHER_SPECIFIED", "the profile names no pair of authentication and cipher";
    MSMSEC_PROFILE_TOO_MANY_AUTH_CIPHER_SPECIFIED = 0x0004_0006 as "WLAN_REASON_CODE_MSMSEC_PROFILE_TOO_MANY_AUTH_CIPHER_SPECIFIED", "the profile names too many pairs of authentication and cipher";
    MSMSEC_PROFILE_DUPLICATE_AUTH_CIPHER = 0x0004_0007 as "WLAN_REASON_CODE_MSMSEC_PROFILE_DUPLICATE_AUTH_CIPHER", "the profile names a pair of authentication and cipher twice";
    MSMSEC_PROFILE_RAWDATA_INVALID = 0x0004_0008 as "WLAN_REASON_CODE_MSMSEC_PROFILE_RAWDATA_INVALID", "the profile's raw data is not valid";
    MSMSEC_PROFILE_INVALID_AUTH_CIPHER = 0x0004_0009 as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_AUTH_CIPHER", "the profile's authentication does not match its cipher";
    MSMSEC_PROFILE_ONEX_DISABLED = 0x0004_000A as "WLAN_REASON_CODE_MSMSEC_PROFILE_ONEX_DISABLED", "the profile disables 802.1X where it is required";
    MSMSEC_PROFILE_ONEX_ENABLED = 0x0004_000B as "WLAN_REASON_CODE_MSMSEC_PROFILE_ONEX_ENABLED", "the profile enables 802.1X where it cannot be used";
    MSMSEC_PROFILE_INVALID_PMKCACHE_MODE = 0x0004_000C as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_PMKCACHE_MODE", "the profile's mode for the cache of master keys is not valid";
    MSMSEC_PROFILE_INVALID_PMKCACHE_SIZE = 0x0004_000D as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_PMKCACHE_SIZE", "the profile's size for the cache of master keys is not valid";
    MSMSEC_PROFILE_INVALID_PMKCACHE_TTL = 0x0004_000E as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_PMKCACHE_TTL", "the profile's lifetime for cached master keys is not valid";
    MSMSEC_PROFILE_INVALID_PREAUTH_MODE = 0x0004_000F as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_PREAUTH_MODE", "the profile's pre-authentication mode is not valid";
    MSMSEC_PROFILE_INVALID_PREAUTH_THROTTLE = 0x0004_0010 as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_PREAUTH_THROTTLE", "the profile's limit for pre-authentication attempts is not valid";
    MSMSEC_PROFILE_PREAUTH_ONLY_ENABLED = 0x0004_0011 as "WLAN_REASON_CODE_MSMSEC_PROFILE_PREAUTH_ONLY_ENABLED", "the profile has pre-authentication without the cache of master keys that it needs";
    MSMSEC_CAPABILITY_NETWORK = 0x0004_0012 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_NETWORK", "the network does not have the needed capabilities";
    MSMSEC_CAPABILITY_NIC = 0x0004_0013 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_NIC", "the adapter does not have the needed capabilities";
    MSMSEC_CAPABILITY_PROFILE = 0x0004_0014 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_PROFILE", "the profile does not match the capabilities";
    MSMSEC_CAPABILITY_DISCOVERY = 0x0004_0015 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_DISCOVERY", "the network does not have the kind of capability that the profile asks for";
    MSMSEC_PROFILE_PASSPHRASE_CHAR = 0x0004_0016 as "WLAN_REASON_CODE_MSMSEC_PROFILE_PASSPHRASE_CHAR", "the passphrase has a character that is not allowed";
    MSMSEC_PROFILE_KEYMATERIAL_CHAR = 0x0004_0017 as "WLAN_REASON_CODE_MSMSEC_PROFILE_KEYMATERIAL_CHAR", "the key material has a character that is not allowed";
    MSMSEC_PROFILE_WRONG_KEYTYPE = 0x0004_0018 as "WLAN_REASON_CODE_MSMSEC_PROFILE_WRONG_KEYTYPE", "the profile's key type does not match the key material";
    MSMSEC_MIXED_CELL = 0x0004_0019 as "WLAN_REASON_CODE_MSMSEC_MIXED_CELL", "the access point seems to serve stations without encryption as well";
    MSMSEC_PROFILE_AUTH_TIMERS_INVALID = 0x0004_001A as "WLAN_REASON_CODE_MSMSEC_PROFILE_AUTH_TIMERS_INVALID", "the profile's authentication timers or their number are not valid";
    MSMSEC_PROFILE_INVALID_GKEY_INTV = 0x0004_001B as "WLAN_REASON_CODE_MSMSEC_PROFILE_INVALID_GKEY_INTV", "the profile's interval for new group keys is not valid";
    MSMSEC_TRANSITION_NETWORK = 0x0004_001C as "WLAN_REASON_CODE_MSMSEC_TRANSITION_NETWORK", "the network seems to be in transition, and older security is tried next";
    MSMSEC_PROFILE_KEY_UNMAPPED_CHAR = 0x0004_001D as "WLAN_REASON_CODE_MSMSEC_PROFILE_KEY_UNMAPPED_CHAR", "the key has a character outside of ASCII";
    MSMSEC_CAPABILITY_PROFILE_AUTH = 0x0004_001E as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_PROFILE_AUTH", "the network does not support the profile's authentication";
    MSMSEC_CAPABILITY_PROFILE_CIPHER = 0x0004_001F as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_PROFILE_CIPHER", "the network does not support the profile's cipher";
    MSMSEC_PROFILE_SAFE_MODE = 0x0004_0020 as "WLAN_REASON_CODE_MSMSEC_PROFILE_SAFE_MODE", "the profile's FIPS 140-2 mode is not valid";
    MSMSEC_CAPABILITY_PROFILE_SAFE_MODE_NIC = 0x0004_0021 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_PROFILE_SAFE_MODE_NIC", "the adapter does not support the FIPS 140-2 mode that the profile asks for";
    MSMSEC_CAPABILITY_PROFILE_SAFE_MODE_NW = 0x0004_0022 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_PROFILE_SAFE_MODE_NW", "the network does not support the FIPS 140-2 mode that the profile asks for";
    MSMSEC_PROFILE_UNSUPPORTED_AUTH = 0x0004_0023 as "WLAN_REASON_CODE_MSMSEC_PROFILE_UNSUPPORTED_AUTH", "the profile's authentication is not supported";
    MSMSEC_PROFILE_UNSUPPORTED_CIPHER = 0x0004_0024 as "WLAN_REASON_CODE_MSMSEC_PROFILE_UNSUPPORTED_CIPHER", "the profile's cipher is not supported";
    MSMSEC_CAPABILITY_MFP_NW_NIC = 0x0004_0025 as "WLAN_REASON_CODE_MSMSEC_CAPABILITY_MFP_NW_NIC", "the network needs protected management frames, which the adapter does not support";
    MSMSEC_UI_REQUEST_FAILURE = 0x0004_8001 as "WLAN_REASON_CODE_MSMSEC_UI_REQUEST_FAILURE", "the prompt for the user could not be queued";
    MSMSEC_AUTH_START_TIMEOUT = 0x0004_8002 as "WLAN_REASON_CODE_MSMSEC_AUTH_START_TIMEOUT", "the 802.1X authentication did not start in time";
    MSMSEC_AUTH_SUCCESS_TIMEOUT = 0x0004_8003 as "WLAN_REASON_CODE_MSMSEC_AUTH_SUCCESS_TIMEOUT", "the 802.1X authentication did not end in time";
    MSMSEC_KEY_START_TIMEOUT = 0x0004_8004 as "WLAN_REASON_CODE_MSMSEC_KEY_START_TIMEOUT", "the exchange of dynamic keys did not start in time";
    MSMSEC_KEY_SUCCESS_TIMEOUT = 0x0004_8005 as "WLAN_REASON_CODE_MSMSEC_KEY_SUCCESS_TIMEOUT", "the exchange of dynamic keys did not end in time";
    MSMSEC_M3_MISSING_KEY_DATA = 0x0004_8006 as "WLAN_REASON_CODE_MSMSEC_M3_MISSING_KEY_DATA", "message 3 of the 4-way handshake lacks key data";
    MSMSEC_M3_MISSING_IE = 0x0004_8007 as "WLAN_REASON_CODE_MSMSEC_M3_MISSING_IE", "message 3 of the 4-way handshake lacks an information element";
    MSMSEC_M3_MISSING_GRP_KEY = 0x0004_8008 as "WLAN_REASON_CODE_MSMSEC_M3_MISSING_GRP_KEY", "message 3 of the 4-way handshake lacks the group key";
    MSMSEC_PR_IE_MATCHING = 0x0004_8009 as "WLAN_REASON_CODE_MSMSEC_PR_IE_MATCHING", "the security capabilities in message 3 are not those that were announced";
    MSMSEC_SEC_IE_MATCHING = 0x0004_800A as "WLAN_REASON_CODE_MSMSEC_SEC_IE_MATCHING", "the secondary security capabilities in message 3 are not those that were announced";
    MSMSEC_NO_PAIRWISE_KEY = 0x0004_800B as "WLAN_REASON_CODE_MSMSEC_NO_PAIRWISE_KEY", "the access point has group keys only where a pairwise key is needed";
    MSMSEC_G1_MISSING_KEY_DATA = 0x0004_800C as "WLAN_REASON_CODE_MSMSEC_G1_MISSING_KEY_DATA", "message 1 of the group key handshake lacks key data";
    MSMSEC_G1_MISSING_GRP_KEY = 0x0004_800D as "WLAN_REASON_CODE_MSMSEC_G1_MISSING_GRP_KEY", "message 1 of the group key handshake lacks the group key";
    MSMSEC_PEER_INDICATED_INSECURE = 0x0004_800E as "WLAN_REASON_CODE_MSMSEC_PEER_INDICATED_INSECURE", "the access point revoked the secure state of the connection";
    MSMSEC_NO_AUTHENTICATOR = 0x0004_800F as "WLAN_REASON_CODE_MSMSEC_NO_AUTHENTICATOR", "the network has no 802.1X authenticator, which the profile needs";
    MSMSEC_NIC_FAILURE = 0x0004_8010 as "WLAN_REASON_CODE_MSMSEC_NIC_FAILURE", "the adapter did not accept the settings";
    MSMSEC_CANCELLED = 0x0004_8011 as "WLAN_REASON_CODE_MSMSEC_CANCELLED", "the caller cancelled the operation";
    MSMSEC_KEY_FORMAT = 0x0004_8012 as "WLAN_REASON_CODE_MSMSEC_KEY_FORMAT", "the key that was entered has a wrong format";
    MSMSEC_DOWNGRADE_DETECTED = 0x0004_8013 as "WLAN_REASON_CODE_MSMSEC_DOWNGRADE_DETECTED", "someone may be forcing weaker security";
    MSMSEC_PSK_MISMATCH_SUSPECTED = 0x0004_8014 as "WLAN_REASON_CODE_MSMSEC_PSK_MISMATCH_SUSPECTED", "the pre-shared key seems to be wrong";
    MSMSEC_FORCED_FAILURE = 0x0004_8015 as "WLAN_REASON_CODE_MSMSEC_FORCED_FAILURE", "the connection was aborted because it was not established securely";
    /// The first headers of Windows Vista had another name for this number: see the type.
    #[doc(alias = "WLAN_REASON_CODE_MSMSEC_SECURITY_UI_FAILURE")]
    MSMSEC_M3_TOO_MANY_RSNIE = 0x0004_8016 as "WLAN_REASON_CODE_MSMSEC_M3_TOO_MANY_RSNIE", "message 3 of the 4-way handshake has too many security elements";
    MSMSEC_M2_MISSING_KEY_DATA = 0x0004_8017 as "WLAN_REASON_CODE_MSMSEC_M2_MISSING_KEY_DATA", "message 2 of the 4-way handshake lacks key data";
    MSMSEC_M2_MISSING_IE = 0x0004_8018 as "WLAN_REASON_CODE_MSMSEC_M2_MISSING_IE", "message 2 of the 4-way handshake lacks an information element";
    MSMSEC_AUTH_WCN_COMPLETED = 0x0004_8019 as "WLAN_REASON_CODE_MSMSEC_AUTH_WCN_COMPLETED", "the authentication for Windows Connect Now is complete";
    MSMSEC_M3_MISSING_MGMT_GRP_KEY = 0x0004_801A as "WLAN_REASON_CODE_MSMSEC_M3_MISSING_MGMT_GRP_KEY", "message 3 of the 4-way handshake lacks the group key for management frames";
    MSMSEC_G1_MISSING_MGMT_GRP_KEY = 0x0004_801B as "WLAN_REASON_CODE_MSMSEC_G1_MISSING_MGMT_GRP_KEY", "message 1 of the group key handshake lacks the group key for management frames";
    ONEX_UNABLE_TO_IDENTIFY_USER = 0x0005_0001, "there is no user to authenticate with 802.1X";
    ONEX_IDENTITY_NOT_FOUND = 0x0005_0002, "the identity for 802.1X was not found";
    ONEX_UI_DISABLED = 0x0005_0003, "the user must be asked, which is not possible now";
    ONEX_UI_FAILURE = 0x0005_0004, "asking the user failed";
    ONEX_EAP_FAILURE_RECEIVED = 0x0005_0005, "the EAP authentication was refused";
    ONEX_AUTHENTICATOR_NO_LONGER_PRESENT = 0x0005_0006, "the 802.1X authenticator went away";
    ONEX_NO_RESPONSE_TO_IDENTITY = 0x0005_0007, "the authenticator did not react to the identity";
    ONEX_PROFILE_VERSION_NOT_SUPPORTED = 0x0005_0008, "the version of the 802.1X profile is not supported";
    ONEX_PROFILE_INVALID_LENGTH = 0x0005_0009, "the 802.1X profile has a wrong length";
    ONEX_PROFILE_DISALLOWED_EAP_TYPE = 0x0005_000A, "the 802.1X profile asks for an EAP type that is not allowed";
    ONEX_PROFILE_INVALID_EAP_TYPE_OR_FLAG = 0x0005_000B, "the 802.1X profile has an EAP type or flag that is not valid";
    ONEX_PROFILE_INVALID_ONEX_FLAGS = 0x0005_000C, "the 802.1X profile has supplicant flags that are not valid";
    ONEX_PROFILE_INVALID_TIMER_VALUE = 0x0005_000D, "the 802.1X profile has a timer that is not valid";
    ONEX_PROFILE_INVALID_SUPPLICANT_MODE = 0x0005_000E, "the 802.1X profile has a supplicant mode that is not valid";
    ONEX_PROFILE_INVALID_AUTH_MODE = 0x0005_000F, "the 802.1X profile has an authentication mode that is not valid";
    ONEX_PROFILE_INVALID_EAP_CONNECTION_PROPERTIES = 0x0005_0010, "the 802.1X profile has EAP connection properties that are not valid";
    ONEX_UI_CANCELLED = 0x0005_0011, "the user cancelled the prompt";
    ONEX_PROFILE_INVALID_EXPLICIT_CREDENTIALS = 0x0005_0012, "the credentials in the 802.1X profile are not valid";
    ONEX_PROFILE_EXPIRED_EXPLICIT_CREDENTIALS = 0x0005_0013, "the credentials in the 802.1X profile have expired";
    ONEX_UI_NOT_PERMITTED = 0x0005_0014, "the user would have to be asked, which is not permitted";
    INVALID_PROFILE_SCHEMA = 0x0008_0001 as "WLAN_REASON_CODE_INVALID_PROFILE_SCHEMA", "the profile does not follow its schema";
    PROFILE_MISSING = 0x0008_0002 as "WLAN_REASON_CODE_PROFILE_MISSING", "the profile lacks its WLANProfile element";
    INVALID_PROFILE_NAME = 0x0008_0003 as "WLAN_REASON_CODE_INVALID_PROFILE_NAME", "the profile's name is not valid";
    INVALID_PROFILE_TYPE = 0x0008_0004 as "WLAN_REASON_CODE_INVALID_PROFILE_TYPE", "the profile's type is not valid";
    INVALID_PHY_TYPE = 0x0008_0005 as "WLAN_REASON_CODE_INVALID_PHY_TYPE", "the profile names a radio type that is not valid";
    MSM_SECURITY_MISSING = 0x0008_0006 as "WLAN_REASON_CODE_MSM_SECURITY_MISSING", "the profile lacks the security settings of the media-specific module";
    IHV_SECURITY_NOT_SUPPORTED = 0x0008_0007 as "WLAN_REASON_CODE_IHV_SECURITY_NOT_SUPPORTED", "the adapter does not support security settings of a hardware vendor";
    IHV_OUI_MISMATCH = 0x0008_0008 as "WLAN_REASON_CODE_IHV_OUI_MISMATCH", "the profile is for the adapter of another hardware vendor";
    IHV_OUI_MISSING = 0x0008_0009 as "WLAN_REASON_CODE_IHV_OUI_MISSING", "the profile does not say which hardware vendor its settings are for";
    IHV_SETTINGS_MISSING = 0x0008_000A as "WLAN_REASON_CODE_IHV_SETTINGS_MISSING", "the profile lacks the settings of the hardware vendor";
    CONFLICT_SECURITY = 0x0008_000B as "WLAN_REASON_CODE_CONFLICT_SECURITY", "the profile's security settings contradict each other";
    SECURITY_MISSING = 0x0008_000C as "WLAN_REASON_CODE_SECURITY_MISSING", "the profile has no security settings";
    INVALID_BSS_TYPE = 0x0008_000D as "WLAN_REASON_CODE_INVALID_BSS_TYPE", "the profile names a network type that is not valid";
    INVALID_ADHOC_CONNECTION_MODE = 0x0008_000E as "WLAN_REASON_CODE_INVALID_ADHOC_CONNECTION_MODE", "an ad hoc network cannot be connected to automatically";
    NON_BROADCAST_SET_FOR_ADHOC = 0x0008_000F as "WLAN_REASON_CODE_NON_BROADCAST_SET_FOR_ADHOC", "an ad hoc network cannot be a hidden one";
    AUTO_SWITCH_SET_FOR_ADHOC = 0x0008_0010 as "WLAN_REASON_CODE_AUTO_SWITCH_SET_FOR_ADHOC", "an ad hoc network cannot be left for another one automatically";
    AUTO_SWITCH_SET_FOR_MANUAL_CONNECTION = 0x0008_0011 as "WLAN_REASON_CODE_AUTO_SWITCH_SET_FOR_MANUAL_CONNECTION", "a network that is connected to by hand cannot be left automatically";
    IHV_SECURITY_ONEX_MISSING = 0x0008_0012 as "WLAN_REASON_CODE_IHV_SECURITY_ONEX_MISSING", "the profile lacks the hardware vendor's 802.1X settings";
    PROFILE_SSID_INVALID = 0x0008_0013 as "WLAN_REASON_CODE_PROFILE_SSID_INVALID", "the profile's network name is missing or not valid";
    TOO_MANY_SSID = 0x0008_0014 as "WLAN_REASON_CODE_TOO_MANY_SSID", "the profile has too many network names";
    IHV_CONNECTIVITY_NOT_SUPPORTED = 0x0008_0015 as "WLAN_REASON_CODE_IHV_CONNECTIVITY_NOT_SUPPORTED", "the adapter does not support connection settings of a hardware vendor";
    BAD_MAX_NUMBER_OF_CLIENTS_FOR_AP = 0x0008_0016 as "WLAN_REASON_CODE_BAD_MAX_NUMBER_OF_CLIENTS_FOR_AP", "the hosted network cannot have this maximum number of clients";
    INVALID_CHANNEL = 0x0008_0017 as "WLAN_REASON_CODE_INVALID_CHANNEL", "the channel is not valid";
    OPERATION_MODE_NOT_SUPPORTED = 0x0008_0018 as "WLAN_REASON_CODE_OPERATION_MODE_NOT_SUPPORTED", "the adapter does not support this mode of operation";
    AUTO_AP_PROFILE_NOT_ALLOWED = 0x0008_0019 as "WLAN_REASON_CODE_AUTO_AP_PROFILE_NOT_ALLOWED", "the system's own profile for a hosted network was refused";
    AUTO_CONNECTION_NOT_ALLOWED = 0x0008_001A as "WLAN_REASON_CODE_AUTO_CONNECTION_NOT_ALLOWED", "automatic connection is not allowed for this profile";
    HOTSPOT2_PROFILE_NOT_ALLOWED = 0x0008_001B as "WLAN_REASON_CODE_HOTSPOT2_PROFILE_NOT_ALLOWED", "a Hotspot 2.0 profile is not allowed here";

    => others
    0x0004_8016 as "WLAN_REASON_CODE_MSMSEC_SECURITY_UI_FAILURE" short "MSMSEC_SECURITY_UI_FAILURE", "the prompt for the user failed or was cancelled";
}
