//! The return values of PKCS #11.

use super::table::{c_name, code_table};

code_table! {
    /// A return value of PKCS #11, also called Cryptoki.
    ///
    /// PKCS #11 modules make smart cards available to programs such as browsers.
    ///
    /// Numbers from [`VENDOR_DEFINED`](CryptokiRv::VENDOR_DEFINED) upwards are vendor-defined.
    ///
    /// ```
    /// use scard::codes::CryptokiRv;
    ///
    /// let rv = CryptokiRv::from_raw(0xA4);
    /// assert_eq!(rv, CryptokiRv::PIN_LOCKED);
    /// assert_eq!(rv.name(), Some("CKR_PIN_LOCKED"));
    /// ```
    ///
    /// # Misspelt names
    ///
    /// Two names are in use that are not in the standard: `CKR_OPERATION_NOT_INITIALED` for
    /// `CKR_OPERATION_NOT_INITIALIZED` and `CKR_ARGUMENT_BAD` for `CKR_ARGUMENTS_BAD`. They are
    /// read, but never printed.
    ///
    /// ```
    /// # use scard::codes::CryptokiRv;
    /// assert_eq!("CKR_ARGUMENT_BAD".parse(), Ok(CryptokiRv::ARGUMENTS_BAD));
    /// assert_eq!(CryptokiRv::ARGUMENTS_BAD.name(), Some("CKR_ARGUMENTS_BAD"));
    /// ```
    pub struct CryptokiRv;

    OK = 0x0000_0000 as "CKR_OK", "the function succeeded";
    CANCEL = 0x0000_0001 as "CKR_CANCEL", "the application's callback cancelled the function";
    HOST_MEMORY = 0x0000_0002 as "CKR_HOST_MEMORY", "the computer does not have enough memory";
    SLOT_ID_INVALID = 0x0000_0003 as "CKR_SLOT_ID_INVALID", "there is no slot with this number";
    GENERAL_ERROR = 0x0000_0005 as "CKR_GENERAL_ERROR", "the library is in a state from which it cannot recover";
    FUNCTION_FAILED = 0x0000_0006 as "CKR_FUNCTION_FAILED", "the function failed for a reason that has no code of its own";
    ARGUMENTS_BAD = 0x0000_0007 as "CKR_ARGUMENTS_BAD" also "CKR_ARGUMENT_BAD", "an argument is not acceptable";
    NO_EVENT = 0x0000_0008 as "CKR_NO_EVENT", "no slot has changed";
    NEED_TO_CREATE_THREADS = 0x0000_0009 as "CKR_NEED_TO_CREATE_THREADS", "the library needs its own threads, but must not create any";
    CANT_LOCK = 0x0000_000A as "CKR_CANT_LOCK", "the library cannot provide the kind of locking that was asked for";
    ATTRIBUTE_READ_ONLY = 0x0000_0010 as "CKR_ATTRIBUTE_READ_ONLY", "the attribute cannot be changed";
    ATTRIBUTE_SENSITIVE = 0x0000_0011 as "CKR_ATTRIBUTE_SENSITIVE", "the attribute is secret and is not revealed";
    ATTRIBUTE_TYPE_INVALID = 0x0000_0012 as "CKR_ATTRIBUTE_TYPE_INVALID", "the object does not have this attribute";
    ATTRIBUTE_VALUE_INVALID = 0x0000_0013 as "CKR_ATTRIBUTE_VALUE_INVALID", "the attribute cannot have this value";
    ACTION_PROHIBITED = 0x0000_001B as "CKR_ACTION_PROHIBITED", "the object's attributes or the token's policy forbid this";
    DATA_INVALID = 0x0000_0020 as "CKR_DATA_INVALID", "the data is not acceptable for the operation";
    DATA_LEN_RANGE = 0x0000_0021 as "CKR_DATA_LEN_RANGE", "the data has a length that the operation does not accept";
    DEVICE_ERROR = 0x0000_0030 as "CKR_DEVICE_ERROR", "the token or its slot failed";
    DEVICE_MEMORY = 0x0000_0031 as "CKR_DEVICE_MEMORY", "the token does not have enough memory";
    DEVICE_REMOVED = 0x0000_0032 as "CKR_DEVICE_REMOVED", "the token was removed while the function ran";
    ENCRYPTED_DATA_INVALID = 0x0000_0040 as "CKR_ENCRYPTED_DATA_INVALID", "the ciphertext is not valid";
    ENCRYPTED_DATA_LEN_RANGE = 0x0000_0041 as "CKR_ENCRYPTED_DATA_LEN_RANGE", "the ciphertext has an invalid length";
    AEAD_DECRYPT_FAILED = 0x0000_0042 as "CKR_AEAD_DECRYPT_FAILED", "the ciphertext or its associated data fails authentication";
    FUNCTION_CANCELED = 0x0000_0050 as "CKR_FUNCTION_CANCELED", "the function was cancelled while it ran";
    FUNCTION_NOT_PARALLEL = 0x0000_0051 as "CKR_FUNCTION_NOT_PARALLEL", "no function runs in parallel in this session";
    FUNCTION_NOT_SUPPORTED = 0x0000_0054 as "CKR_FUNCTION_NOT_SUPPORTED", "the library does not have this function";
    KEY_HANDLE_INVALID = 0x0000_0060 as "CKR_KEY_HANDLE_INVALID", "the key handle is not valid";
    KEY_SIZE_RANGE = 0x0000_0062 as "CKR_KEY_SIZE_RANGE", "the key has a size that is not allowed here";
    KEY_TYPE_INCONSISTENT = 0x0000_0063 as "CKR_KEY_TYPE_INCONSISTENT", "the mechanism needs another type of key";
    KEY_NOT_NEEDED = 0x0000_0064 as "CKR_KEY_NOT_NEEDED", "a key was given where none is used";
    KEY_CHANGED = 0x0000_0065 as "CKR_KEY_CHANGED", "a key is not the one that the saved state was made with";
    KEY_NEEDED = 0x0000_0066 as "CKR_KEY_NEEDED", "the saved state needs a key to be restored";
    KEY_INDIGESTIBLE = 0x0000_0067 as "CKR_KEY_INDIGESTIBLE", "the value of this key cannot be digested";
    KEY_FUNCTION_NOT_PERMITTED = 0x0000_0068 as "CKR_KEY_FUNCTION_NOT_PERMITTED", "the key's attributes do not allow this use";
    KEY_NOT_WRAPPABLE = 0x0000_0069 as "CKR_KEY_NOT_WRAPPABLE", "the token does not wrap this key";
    KEY_UNEXTRACTABLE = 0x0000_006A as "CKR_KEY_UNEXTRACTABLE", "the key may not leave the token";
    MECHANISM_INVALID = 0x0000_0070 as "CKR_MECHANISM_INVALID", "the token does not offer the mechanism for this";
    MECHANISM_PARAM_INVALID = 0x0000_0071 as "CKR_MECHANISM_PARAM_INVALID", "the parameters of the mechanism are not valid";
    OBJECT_HANDLE_INVALID = 0x0000_0082 as "CKR_OBJECT_HANDLE_INVALID", "the object handle is not valid";
    OPERATION_ACTIVE = 0x0000_0090 as "CKR_OPERATION_ACTIVE", "another operation is active and must end first";
    OPERATION_NOT_INITIALIZED = 0x0000_0091 as "CKR_OPERATION_NOT_INITIALIZED" also "CKR_OPERATION_NOT_INITIALED", "no operation of this kind was started";
    PIN_INCORRECT = 0x0000_00A0 as "CKR_PIN_INCORRECT", "the PIN is wrong";
    PIN_INVALID = 0x0000_00A1 as "CKR_PIN_INVALID", "the new PIN has characters that are not allowed";
    PIN_LEN_RANGE = 0x0000_00A2 as "CKR_PIN_LEN_RANGE", "the PIN is too short or too long";
    PIN_EXPIRED = 0x0000_00A3 as "CKR_PIN_EXPIRED", "the PIN must be changed first";
    PIN_LOCKED = 0x0000_00A4 as "CKR_PIN_LOCKED", "the PIN is locked after too many wrong attempts";
    SESSION_CLOSED = 0x0000_00B0 as "CKR_SESSION_CLOSED", "the session was closed while the function ran";
    SESSION_COUNT = 0x0000_00B1 as "CKR_SESSION_COUNT", "there are too many sessions open";
    SESSION_HANDLE_INVALID = 0x0000_00B3 as "CKR_SESSION_HANDLE_INVALID", "the session handle is not valid";
    SESSION_PARALLEL_NOT_SUPPORTED = 0x0000_00B4 as "CKR_SESSION_PARALLEL_NOT_SUPPORTED", "parallel sessions are not supported";
    SESSION_READ_ONLY = 0x0000_00B5 as "CKR_SESSION_READ_ONLY", "the session may only read";
    SESSION_EXISTS = 0x0000_00B6 as "CKR_SESSION_EXISTS", "a session with the token is already open";
    SESSION_READ_ONLY_EXISTS = 0x0000_00B7 as "CKR_SESSION_READ_ONLY_EXISTS", "a read-only session is open, which excludes the security officer";
    SESSION_READ_WRITE_SO_EXISTS = 0x0000_00B8 as "CKR_SESSION_READ_WRITE_SO_EXISTS", "the security officer is logged in, which excludes read-only sessions";
    SIGNATURE_INVALID = 0x0000_00C0 as "CKR_SIGNATURE_INVALID", "the signature is wrong";
    SIGNATURE_LEN_RANGE = 0x0000_00C1 as "CKR_SIGNATURE_LEN_RANGE", "the signature has an invalid length";
    TEMPLATE_INCOMPLETE = 0x0000_00D0 as "CKR_TEMPLATE_INCOMPLETE", "the template lacks an attribute";
    TEMPLATE_INCONSISTENT = 0x0000_00D1 as "CKR_TEMPLATE_INCONSISTENT", "the attributes of the template contradict each other";
    TOKEN_NOT_PRESENT = 0x0000_00E0 as "CKR_TOKEN_NOT_PRESENT", "there is no token in the slot";
    TOKEN_NOT_RECOGNIZED = 0x0000_00E1 as "CKR_TOKEN_NOT_RECOGNIZED", "the library does not know the token in the slot";
    TOKEN_WRITE_PROTECTED = 0x0000_00E2 as "CKR_TOKEN_WRITE_PROTECTED", "the token is write-protected";
    UNWRAPPING_KEY_HANDLE_INVALID = 0x0000_00F0 as "CKR_UNWRAPPING_KEY_HANDLE_INVALID", "the handle of the unwrapping key is not valid";
    UNWRAPPING_KEY_SIZE_RANGE = 0x0000_00F1 as "CKR_UNWRAPPING_KEY_SIZE_RANGE", "the unwrapping key has a size that is not allowed here";
    UNWRAPPING_KEY_TYPE_INCONSISTENT = 0x0000_00F2 as "CKR_UNWRAPPING_KEY_TYPE_INCONSISTENT", "the mechanism needs another type of unwrapping key";
    USER_ALREADY_LOGGED_IN = 0x0000_0100 as "CKR_USER_ALREADY_LOGGED_IN", "the user is already logged in";
    USER_NOT_LOGGED_IN = 0x0000_0101 as "CKR_USER_NOT_LOGGED_IN", "nobody is logged in, or not the right user";
    USER_PIN_NOT_INITIALIZED = 0x0000_0102 as "CKR_USER_PIN_NOT_INITIALIZED", "the user's PIN has not been set";
    USER_TYPE_INVALID = 0x0000_0103 as "CKR_USER_TYPE_INVALID", "the token does not have this type of user";
    USER_ANOTHER_ALREADY_LOGGED_IN = 0x0000_0104 as "CKR_USER_ANOTHER_ALREADY_LOGGED_IN", "another user is logged in";
    USER_TOO_MANY_TYPES = 0x0000_0105 as "CKR_USER_TOO_MANY_TYPES", "the token cannot serve more types of users at a time";
    WRAPPED_KEY_INVALID = 0x0000_0110 as "CKR_WRAPPED_KEY_INVALID", "the wrapped key is not valid";
    WRAPPED_KEY_LEN_RANGE = 0x0000_0112 as "CKR_WRAPPED_KEY_LEN_RANGE", "the wrapped key has an invalid length";
    WRAPPING_KEY_HANDLE_INVALID = 0x0000_0113 as "CKR_WRAPPING_KEY_HANDLE_INVALID", "the handle of the wrapping key is not valid";
    WRAPPING_KEY_SIZE_RANGE = 0x0000_0114 as "CKR_WRAPPING_KEY_SIZE_RANGE", "the wrapping key has a size that is not allowed here";
    WRAPPING_KEY_TYPE_INCONSISTENT = 0x0000_0115 as "CKR_WRAPPING_KEY_TYPE_INCONSISTENT", "the mechanism needs another type of wrapping key";
    RANDOM_SEED_NOT_SUPPORTED = 0x0000_0120 as "CKR_RANDOM_SEED_NOT_SUPPORTED", "the token's random generator takes no seed";
    RANDOM_NO_RNG = 0x0000_0121 as "CKR_RANDOM_NO_RNG", "the token has no random generator";
    DOMAIN_PARAMS_INVALID = 0x0000_0130 as "CKR_DOMAIN_PARAMS_INVALID", "the domain parameters are not valid or not supported";
    CURVE_NOT_SUPPORTED = 0x0000_0140 as "CKR_CURVE_NOT_SUPPORTED", "the token does not support the curve";
    BUFFER_TOO_SMALL = 0x0000_0150 as "CKR_BUFFER_TOO_SMALL", "the data does not fit into the buffer";
    SAVED_STATE_INVALID = 0x0000_0160 as "CKR_SAVED_STATE_INVALID", "the saved state of the operation is not valid";
    INFORMATION_SENSITIVE = 0x0000_0170 as "CKR_INFORMATION_SENSITIVE", "the information is secret and is not revealed";
    STATE_UNSAVEABLE = 0x0000_0180 as "CKR_STATE_UNSAVEABLE", "the state of the operation cannot be saved";
    CRYPTOKI_NOT_INITIALIZED = 0x0000_0190 as "CKR_CRYPTOKI_NOT_INITIALIZED", "the library has not been initialized";
    CRYPTOKI_ALREADY_INITIALIZED = 0x0000_0191 as "CKR_CRYPTOKI_ALREADY_INITIALIZED", "the library is already initialized";
    MUTEX_BAD = 0x0000_01A0 as "CKR_MUTEX_BAD", "the mutex is not valid";
    MUTEX_NOT_LOCKED = 0x0000_01A1 as "CKR_MUTEX_NOT_LOCKED", "the mutex was not locked";
    NEW_PIN_MODE = 0x0000_01B0 as "CKR_NEW_PIN_MODE", "the token requires a new PIN before it generates one-time passwords";
    NEXT_OTP = 0x0000_01B1 as "CKR_NEXT_OTP", "the token requires another one-time password to synchronize";
    EXCEEDED_MAX_ITERATIONS = 0x0000_01B5 as "CKR_EXCEEDED_MAX_ITERATIONS", "no suitable parameters were found in the allowed number of attempts";
    FIPS_SELF_TEST_FAILED = 0x0000_01B6 as "CKR_FIPS_SELF_TEST_FAILED", "a self-test of the cryptography failed";
    LIBRARY_LOAD_FAILED = 0x0000_01B7 as "CKR_LIBRARY_LOAD_FAILED", "a library that this one depends on could not be loaded";
    PIN_TOO_WEAK = 0x0000_01B8 as "CKR_PIN_TOO_WEAK", "the new PIN is too easy to guess";
    PUBLIC_KEY_INVALID = 0x0000_01B9 as "CKR_PUBLIC_KEY_INVALID", "the public key is not valid";
    FUNCTION_REJECTED = 0x0000_0200 as "CKR_FUNCTION_REJECTED", "the user or a policy refused the operation";
    TOKEN_RESOURCE_EXCEEDED = 0x0000_0201 as "CKR_TOKEN_RESOURCE_EXCEEDED", "the token has run out of a resource";
    OPERATION_CANCEL_FAILED = 0x0000_0202 as "CKR_OPERATION_CANCEL_FAILED", "the operation could not be cancelled";
    KEY_EXHAUSTED = 0x0000_0203 as "CKR_KEY_EXHAUSTED", "the key may no longer be used";
    PENDING = 0x0000_0204 as "CKR_PENDING", "the operation is still running";
    SESSION_ASYNC_NOT_SUPPORTED = 0x0000_0205 as "CKR_SESSION_ASYNC_NOT_SUPPORTED", "asynchronous sessions are not supported";
    SEED_RANDOM_REQUIRED = 0x0000_0206 as "CKR_SEED_RANDOM_REQUIRED", "the random generator must be seeded first";
    OPERATION_NOT_VALIDATED = 0x0000_0207 as "CKR_OPERATION_NOT_VALIDATED", "the operation is not one that the token is certified for";
    TOKEN_NOT_INITIALIZED = 0x0000_0208 as "CKR_TOKEN_NOT_INITIALIZED", "the token has not been initialized";
    PARAMETER_SET_NOT_SUPPORTED = 0x0000_0209 as "CKR_PARAMETER_SET_NOT_SUPPORTED", "the token does not support the parameter set";
    VENDOR_DEFINED = 0x8000_0000 as "CKR_VENDOR_DEFINED", "a vendor-defined error, the first of the numbers reserved for them";
}
