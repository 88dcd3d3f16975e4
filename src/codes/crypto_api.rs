//! The status codes of Windows' cryptography.

use super::table::{c_name, code_table};

code_table! {
    /// A status code of Windows' cryptography, which uses a card's keys and certificates.
    ///
    /// `NTE_…` are from key storage and the card's minidriver, `CRYPT_E_…` from certificate stores
    /// and revocation checks, `CERT_E_…` from certificate chains.
    ///
    /// A status is an `HRESULT`; all of these are errors. Of the `CRYPT_E_…` codes, the table has
    /// those about certificates, but not those about messages and encodings.
    ///
    /// ```
    /// use scard::Severity;
    /// use scard::codes::CryptoApiStatus;
    ///
    /// let status = CryptoApiStatus::from_raw(0x8009_0016);
    /// assert_eq!(status, CryptoApiStatus::NTE_BAD_KEYSET);
    /// assert_eq!(status.name(), Some("NTE_BAD_KEYSET"));
    /// assert_eq!(status.severity(), Some(Severity::Error));
    /// ```
    pub struct CryptoApiStatus;

    NTE_BAD_UID = 0x8009_0001, "the key or container identifier is not valid";
    NTE_BAD_HASH = 0x8009_0002, "the hash is not valid";
    NTE_BAD_KEY = 0x8009_0003, "the key is not valid";
    NTE_BAD_LEN = 0x8009_0004, "a length is not valid";
    NTE_BAD_DATA = 0x8009_0005, "the data is not valid";
    NTE_BAD_SIGNATURE = 0x8009_0006, "the signature is wrong";
    NTE_BAD_VER = 0x8009_0007, "the provider has another version";
    NTE_BAD_ALGID = 0x8009_0008, "the algorithm is not valid";
    NTE_BAD_FLAGS = 0x8009_0009, "the flags are not valid";
    NTE_BAD_TYPE = 0x8009_000A, "the type is not valid";
    NTE_BAD_KEY_STATE = 0x8009_000B, "the key is in a state that does not allow its use";
    NTE_BAD_HASH_STATE = 0x8009_000C, "the hash is in a state that does not allow its use";
    NTE_NO_KEY = 0x8009_000D, "there is no such key";
    NTE_NO_MEMORY = 0x8009_000E, "there is not enough memory";
    NTE_EXISTS = 0x8009_000F, "the object already exists";
    NTE_PERM = 0x8009_0010, "access is denied";
    NTE_NOT_FOUND = 0x8009_0011, "the object was not found";
    NTE_DOUBLE_ENCRYPT = 0x8009_0012, "the data is already encrypted";
    NTE_BAD_PROVIDER = 0x8009_0013, "the named provider is not valid";
    NTE_BAD_PROV_TYPE = 0x8009_0014, "the provider type is not valid";
    NTE_BAD_PUBLIC_KEY = 0x8009_0015, "the public key of the provider is not valid";
    NTE_BAD_KEYSET = 0x8009_0016, "the key container does not exist, or cannot be opened";
    NTE_PROV_TYPE_NOT_DEF = 0x8009_0017, "no provider of this type is installed";
    NTE_PROV_TYPE_ENTRY_BAD = 0x8009_0018, "the registration of the provider type is damaged";
    NTE_KEYSET_NOT_DEF = 0x8009_0019, "the key container or the provider is not registered";
    NTE_KEYSET_ENTRY_BAD = 0x8009_001A, "the registration of the key container is damaged";
    NTE_PROV_TYPE_NO_MATCH = 0x8009_001B, "the provider's type differs from the registered one";
    NTE_SIGNATURE_FILE_BAD = 0x8009_001C, "the file with the provider's signature is damaged";
    NTE_PROVIDER_DLL_FAIL = 0x8009_001D, "the provider's library could not be initialized";
    NTE_PROV_DLL_NOT_FOUND = 0x8009_001E, "the provider's library was not found";
    NTE_BAD_KEYSET_PARAM = 0x8009_001F, "the parameter for the key container is not valid";
    NTE_FAIL = 0x8009_0020, "the provider failed for a reason that has no code of its own";
    NTE_SYS_ERR = 0x8009_0021, "the system failed while the provider used it";
    NTE_SILENT_CONTEXT = 0x8009_0022, "the user must be asked, but the program does not allow that";
    NTE_TOKEN_KEYSET_STORAGE_FULL = 0x8009_0023, "the card has no room for another key container";
    NTE_TEMPORARY_PROFILE = 0x8009_0024, "the user's profile is temporary and keeps no keys";
    NTE_FIXEDPARAMETER = 0x8009_0025, "the parameter cannot be changed";
    NTE_INVALID_HANDLE = 0x8009_0026, "the handle is not valid";
    NTE_INVALID_PARAMETER = 0x8009_0027, "a parameter is not valid";
    NTE_BUFFER_TOO_SMALL = 0x8009_0028, "the data does not fit into the buffer";
    NTE_NOT_SUPPORTED = 0x8009_0029, "the provider or the card does not support this";
    NTE_NO_MORE_ITEMS = 0x8009_002A, "the end of the list is reached";
    NTE_BUFFERS_OVERLAP = 0x8009_002B, "the buffers overlap";
    NTE_DECRYPTION_FAILURE = 0x8009_002C, "the data could not be decrypted";
    NTE_INTERNAL_ERROR = 0x8009_002D, "the provider failed internally";
    NTE_UI_REQUIRED = 0x8009_002E, "the user must be asked before going on";
    NTE_HMAC_NOT_SUPPORTED = 0x8009_002F, "the provider does not support HMAC";
    NTE_DEVICE_NOT_READY = 0x8009_0030, "the card or the device is not ready";
    NTE_AUTHENTICATION_IGNORED = 0x8009_0031, "the device ignored the authentication";
    NTE_VALIDATION_FAILED = 0x8009_0032, "the key failed its validation";
    NTE_INCORRECT_PASSWORD = 0x8009_0033, "the password or PIN is wrong";
    NTE_ENCRYPTION_FAILURE = 0x8009_0034, "the data could not be encrypted";
    NTE_DEVICE_NOT_FOUND = 0x8009_0035, "the device was not found";
    NTE_USER_CANCELLED = 0x8009_0036, "the user cancelled the operation";
    NTE_PASSWORD_CHANGE_REQUIRED = 0x8009_0037, "the password or PIN must be changed first";
    NTE_NOT_ACTIVE_CONSOLE = 0x8009_0038, "the user's session is not the one on the console";
    CRYPT_E_FILE_ERROR = 0x8009_2003, "a file could not be read or written";
    CRYPT_E_NOT_FOUND = 0x8009_2004, "the certificate, the key or the property was not found";
    CRYPT_E_EXISTS = 0x8009_2005, "the certificate or the property already exists";
    CRYPT_E_NO_PROVIDER = 0x8009_2006, "there is no provider for the object";
    CRYPT_E_SELF_SIGNED = 0x8009_2007, "the certificate is self-signed";
    CRYPT_E_NO_MATCH = 0x8009_2009, "no certificate matches";
    CRYPT_E_NO_KEY_PROPERTY = 0x8009_200B, "the certificate names no private key";
    CRYPT_E_NO_DECRYPT_CERT = 0x8009_200C, "there is no certificate with a key that can decrypt";
    CRYPT_E_NO_SIGNER = 0x8009_200E, "the message has no such signer";
    CRYPT_E_REVOKED = 0x8009_2010, "the certificate is revoked";
    CRYPT_E_NO_REVOCATION_DLL = 0x8009_2011, "no library that can check revocation is installed";
    CRYPT_E_NO_REVOCATION_CHECK = 0x8009_2012, "revocation could not be checked for this certificate";
    CRYPT_E_REVOCATION_OFFLINE = 0x8009_2013, "the revocation server could not be reached";
    CRYPT_E_NOT_IN_REVOCATION_DATABASE = 0x8009_2014, "the revocation server does not know the certificate";
    CRYPT_E_SECURITY_SETTINGS = 0x8009_2026, "the security settings do not allow this";
    CRYPT_E_NO_TRUSTED_SIGNER = 0x8009_202B, "no signer is trusted";
    CRYPT_E_MISSING_PUBKEY_PARA = 0x8009_202C, "the parameters of the public key are missing";
    CERT_E_EXPIRED = 0x800B_0101, "a certificate has expired, or is not valid yet";
    CERT_E_VALIDITYPERIODNESTING = 0x800B_0102, "the certificate is valid for longer than its issuer's";
    CERT_E_ROLE = 0x800B_0103, "an end entity's certificate is used as an authority's, or vice versa";
    CERT_E_PATHLENCONST = 0x800B_0104, "the certificate chain is longer than an authority allows";
    CERT_E_CRITICAL = 0x800B_0105, "the certificate has a critical extension that is not known";
    CERT_E_PURPOSE = 0x800B_0106, "the certificate is used for something its issuer does not allow";
    CERT_E_ISSUERCHAINING = 0x800B_0107, "the issuer's certificate is not the one that issued the certificate";
    CERT_E_MALFORMED = 0x800B_0108, "the certificate is malformed";
    CERT_E_UNTRUSTEDROOT = 0x800B_0109, "the certificate chain ends at a root that is not trusted";
    CERT_E_CHAINING = 0x800B_010A, "no chain to a trusted root could be built";
    CERT_E_REVOKED = 0x800B_010C, "the issuer has revoked the certificate";
    CERT_E_UNTRUSTEDTESTROOT = 0x800B_010D, "the certificate chain ends at a test root, which is not trusted";
    CERT_E_REVOCATION_FAILURE = 0x800B_010E, "revocation could not be checked";
    CERT_E_CN_NO_MATCH = 0x800B_010F, "the certificate is for another name";
    CERT_E_WRONG_USAGE = 0x800B_0110, "the certificate does not allow this use";
    CERT_E_UNTRUSTEDCA = 0x800B_0112, "an authority in the certificate chain is not trusted";
    CERT_E_INVALID_POLICY = 0x800B_0113, "a policy in the certificate chain is not valid";
    CERT_E_INVALID_NAME = 0x800B_0114, "a name in the certificate chain is not permitted";
}
