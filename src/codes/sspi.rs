//! The status codes of the Windows security packages.

use super::table::{c_name, code_table};

code_table! {
    /// A status code of SSPI, the interface of the Windows security packages.
    ///
    /// Smart-card logon returns these.
    ///
    /// A status is an `HRESULT`: the highest bit is set in errors (`SEC_E_…`) and clear in
    /// information (`SEC_I_…`).
    ///
    /// ```
    /// use scard::Severity;
    /// use scard::codes::SspiStatus;
    ///
    /// let status = SspiStatus::from_raw(0x8009_030C);
    /// assert_eq!(status, SspiStatus::E_LOGON_DENIED);
    /// assert_eq!(status.name(), Some("SEC_E_LOGON_DENIED"));
    /// assert_eq!(status.severity(), Some(Severity::Error));
    /// assert_eq!(SspiStatus::I_CONTINUE_NEEDED.severity(), Some(Severity::Information));
    ///
    /// // Two names for one number.
    /// let unsupported = SspiStatus::from_name("SEC_E_NOT_SUPPORTED");
    /// assert_eq!(unsupported, Some(SspiStatus::E_UNSUPPORTED_FUNCTION));
    /// ```
    pub struct SspiStatus;

    E_OK = 0x0000_0000 as "SEC_E_OK", "the operation succeeded";
    I_CONTINUE_NEEDED = 0x0009_0312 as "SEC_I_CONTINUE_NEEDED", "the call succeeded, and the peer's next token is needed to go on";
    I_COMPLETE_NEEDED = 0x0009_0313 as "SEC_I_COMPLETE_NEEDED", "the call succeeded, and the token must be completed before it is sent";
    I_COMPLETE_AND_CONTINUE = 0x0009_0314 as "SEC_I_COMPLETE_AND_CONTINUE", "the call succeeded, the token must be completed and the peer's next one is needed";
    I_LOCAL_LOGON = 0x0009_0315 as "SEC_I_LOCAL_LOGON", "the logon used what this computer knew, because no authority could be reached";
    I_GENERIC_EXTENSION_RECEIVED = 0x0009_0316 as "SEC_I_GENERIC_EXTENSION_RECEIVED", "the peer sent an extension that the program asked to see";
    I_CONTEXT_EXPIRED = 0x0009_0317 as "SEC_I_CONTEXT_EXPIRED", "the peer has closed the connection properly";
    I_INCOMPLETE_CREDENTIALS = 0x0009_0320 as "SEC_I_INCOMPLETE_CREDENTIALS", "the server asks for a client certificate";
    I_RENEGOTIATE = 0x0009_0321 as "SEC_I_RENEGOTIATE", "the peer requests renegotiation";
    I_NO_LSA_CONTEXT = 0x0009_0323 as "SEC_I_NO_LSA_CONTEXT", "the security authority of the system has no part in this context";
    I_SIGNATURE_NEEDED = 0x0009_035C as "SEC_I_SIGNATURE_NEEDED", "the program has to supply a signature to go on";
    I_NO_RENEGOTIATION = 0x0009_0360 as "SEC_I_NO_RENEGOTIATION", "the peer refused renegotiation";
    I_MESSAGE_FRAGMENT = 0x0009_0364 as "SEC_I_MESSAGE_FRAGMENT", "the message is one fragment of several";
    I_CONTINUE_NEEDED_MESSAGE_OK = 0x0009_0366 as "SEC_I_CONTINUE_NEEDED_MESSAGE_OK", "the message was accepted, and the peer's next token is needed to go on";
    I_ASYNC_CALL_PENDING = 0x0009_0368 as "SEC_I_ASYNC_CALL_PENDING", "the call continues in the background";
    E_INSUFFICIENT_MEMORY = 0x8009_0300 as "SEC_E_INSUFFICIENT_MEMORY", "there is not enough memory";
    E_INVALID_HANDLE = 0x8009_0301 as "SEC_E_INVALID_HANDLE", "the credential or context handle is not valid";
    E_UNSUPPORTED_FUNCTION = 0x8009_0302 as "SEC_E_UNSUPPORTED_FUNCTION" also "SEC_E_NOT_SUPPORTED", "the security package does not have this function";
    E_TARGET_UNKNOWN = 0x8009_0303 as "SEC_E_TARGET_UNKNOWN", "the target cannot be found on the network";
    E_INTERNAL_ERROR = 0x8009_0304 as "SEC_E_INTERNAL_ERROR" also "SEC_E_NO_SPM", "the security package failed for a reason that has no code of its own";
    E_SECPKG_NOT_FOUND = 0x8009_0305 as "SEC_E_SECPKG_NOT_FOUND", "there is no security package of this name";
    E_NOT_OWNER = 0x8009_0306 as "SEC_E_NOT_OWNER", "the credentials belong to someone else";
    E_CANNOT_INSTALL = 0x8009_0307 as "SEC_E_CANNOT_INSTALL", "the security package could not start and must not be installed";
    E_INVALID_TOKEN = 0x8009_0308 as "SEC_E_INVALID_TOKEN", "the token is malformed or belongs to another exchange";
    E_CANNOT_PACK = 0x8009_0309 as "SEC_E_CANNOT_PACK", "the security context cannot be packed for a transfer";
    E_QOP_NOT_SUPPORTED = 0x8009_030A as "SEC_E_QOP_NOT_SUPPORTED", "the package does not offer the wanted quality of protection";
    E_NO_IMPERSONATION = 0x8009_030B as "SEC_E_NO_IMPERSONATION", "the context does not allow impersonation of the client";
    E_LOGON_DENIED = 0x8009_030C as "SEC_E_LOGON_DENIED", "the logon was refused, for instance because of a wrong name, password or PIN";
    E_UNKNOWN_CREDENTIALS = 0x8009_030D as "SEC_E_UNKNOWN_CREDENTIALS", "the package does not recognize the credentials";
    E_NO_CREDENTIALS = 0x8009_030E as "SEC_E_NO_CREDENTIALS", "the package has no credentials to use";
    E_MESSAGE_ALTERED = 0x8009_030F as "SEC_E_MESSAGE_ALTERED", "the message was changed on its way";
    E_OUT_OF_SEQUENCE = 0x8009_0310 as "SEC_E_OUT_OF_SEQUENCE", "the message arrived out of sequence";
    E_NO_AUTHENTICATING_AUTHORITY = 0x8009_0311 as "SEC_E_NO_AUTHENTICATING_AUTHORITY", "no authority, such as a domain controller, could be reached to authenticate";
    E_BAD_PKGID = 0x8009_0316 as "SEC_E_BAD_PKGID", "there is no security package with this identifier";
    E_CONTEXT_EXPIRED = 0x8009_0317 as "SEC_E_CONTEXT_EXPIRED", "the security context was already closed or has expired";
    E_INCOMPLETE_MESSAGE = 0x8009_0318 as "SEC_E_INCOMPLETE_MESSAGE", "more of the message is needed before it can be verified";
    E_INCOMPLETE_CREDENTIALS = 0x8009_0320 as "SEC_E_INCOMPLETE_CREDENTIALS", "the credentials are not complete enough to set up a context";
    E_BUFFER_TOO_SMALL = 0x8009_0321 as "SEC_E_BUFFER_TOO_SMALL", "the data does not fit into the buffers";
    E_WRONG_PRINCIPAL = 0x8009_0322 as "SEC_E_WRONG_PRINCIPAL", "the name of the target does not match the one that the server proved";
    E_TIME_SKEW = 0x8009_0324 as "SEC_E_TIME_SKEW", "the clocks of client and server differ too much";
    E_UNTRUSTED_ROOT = 0x8009_0325 as "SEC_E_UNTRUSTED_ROOT", "the certificate chain ends at an authority that is not trusted";
    E_ILLEGAL_MESSAGE = 0x8009_0326 as "SEC_E_ILLEGAL_MESSAGE", "the message was malformed or came at the wrong moment";
    E_CERT_UNKNOWN = 0x8009_0327 as "SEC_E_CERT_UNKNOWN", "the certificate could not be processed";
    E_CERT_EXPIRED = 0x8009_0328 as "SEC_E_CERT_EXPIRED", "the certificate has expired";
    E_ENCRYPT_FAILURE = 0x8009_0329 as "SEC_E_ENCRYPT_FAILURE", "the data could not be encrypted";
    E_DECRYPT_FAILURE = 0x8009_0330 as "SEC_E_DECRYPT_FAILURE", "the data could not be decrypted";
    E_ALGORITHM_MISMATCH = 0x8009_0331 as "SEC_E_ALGORITHM_MISMATCH", "client and server have no algorithm in common";
    E_SECURITY_QOS_FAILED = 0x8009_0332 as "SEC_E_SECURITY_QOS_FAILED", "a required property of the connection, such as mutual authentication, was not reached";
    E_UNFINISHED_CONTEXT_DELETED = 0x8009_0333 as "SEC_E_UNFINISHED_CONTEXT_DELETED", "the security context was deleted before it was complete";
    E_NO_TGT_REPLY = 0x8009_0334 as "SEC_E_NO_TGT_REPLY", "the server wants a user-to-user exchange and sent no ticket for it";
    E_NO_IP_ADDRESSES = 0x8009_0335 as "SEC_E_NO_IP_ADDRESSES", "this computer has no IP address";
    E_WRONG_CREDENTIAL_HANDLE = 0x8009_0336 as "SEC_E_WRONG_CREDENTIAL_HANDLE", "the credential handle is not the one that the context was made with";
    E_CRYPTO_SYSTEM_INVALID = 0x8009_0337 as "SEC_E_CRYPTO_SYSTEM_INVALID", "a function that the cipher or checksum needs is missing";
    E_MAX_REFERRALS_EXCEEDED = 0x8009_0338 as "SEC_E_MAX_REFERRALS_EXCEEDED", "the ticket request was referred too often";
    E_MUST_BE_KDC = 0x8009_0339 as "SEC_E_MUST_BE_KDC", "only a domain controller can do this, and this computer is not one";
    E_STRONG_CRYPTO_NOT_SUPPORTED = 0x8009_033A as "SEC_E_STRONG_CRYPTO_NOT_SUPPORTED", "the peer requires strong cryptography, which this computer does not have";
    E_TOO_MANY_PRINCIPALS = 0x8009_033B as "SEC_E_TOO_MANY_PRINCIPALS", "the answer of the domain controller names more than one principal";
    E_NO_PA_DATA = 0x8009_033C as "SEC_E_NO_PA_DATA", "the pre-authentication data that would tell the encryption type is missing";
    E_PKINIT_NAME_MISMATCH = 0x8009_033D as "SEC_E_PKINIT_NAME_MISMATCH", "the client's certificate names no user, or another one than the logon";
    E_SMARTCARD_LOGON_REQUIRED = 0x8009_033E as "SEC_E_SMARTCARD_LOGON_REQUIRED", "the account must log on with a smart card";
    E_SHUTDOWN_IN_PROGRESS = 0x8009_033F as "SEC_E_SHUTDOWN_IN_PROGRESS", "the system is shutting down";
    E_KDC_INVALID_REQUEST = 0x8009_0340 as "SEC_E_KDC_INVALID_REQUEST", "the domain controller rejected the request as invalid";
    E_KDC_UNABLE_TO_REFER = 0x8009_0341 as "SEC_E_KDC_UNABLE_TO_REFER", "the domain controller does not know where to refer the request to";
    E_KDC_UNKNOWN_ETYPE = 0x8009_0342 as "SEC_E_KDC_UNKNOWN_ETYPE", "the domain controller does not support the encryption type";
    E_UNSUPPORTED_PREAUTH = 0x8009_0343 as "SEC_E_UNSUPPORTED_PREAUTH", "the package does not support the offered kind of pre-authentication";
    E_DELEGATION_REQUIRED = 0x8009_0345 as "SEC_E_DELEGATION_REQUIRED", "the operation needs delegation, which the computer or the account is not set up for";
    E_BAD_BINDINGS = 0x8009_0346 as "SEC_E_BAD_BINDINGS", "the channel bindings of the client do not match the connection";
    E_MULTIPLE_ACCOUNTS = 0x8009_0347 as "SEC_E_MULTIPLE_ACCOUNTS", "the certificate belongs to more than one account";
    E_NO_KERB_KEY = 0x8009_0348 as "SEC_E_NO_KERB_KEY", "there is no Kerberos key for the account";
    E_CERT_WRONG_USAGE = 0x8009_0349 as "SEC_E_CERT_WRONG_USAGE", "the certificate does not allow this use";
    E_DOWNGRADE_DETECTED = 0x8009_0350 as "SEC_E_DOWNGRADE_DETECTED", "someone may be forcing a weaker authentication";
    E_SMARTCARD_CERT_REVOKED = 0x8009_0351 as "SEC_E_SMARTCARD_CERT_REVOKED", "the certificate on the smart card is revoked";
    E_ISSUING_CA_UNTRUSTED = 0x8009_0352 as "SEC_E_ISSUING_CA_UNTRUSTED", "an authority that issued the certificate on the smart card is not trusted";
    E_REVOCATION_OFFLINE_C = 0x8009_0353 as "SEC_E_REVOCATION_OFFLINE_C", "the revocation status of the certificate on the smart card could not be determined";
    E_PKINIT_CLIENT_FAILURE = 0x8009_0354 as "SEC_E_PKINIT_CLIENT_FAILURE", "the certificate on the smart card is not trusted";
    E_SMARTCARD_CERT_EXPIRED = 0x8009_0355 as "SEC_E_SMARTCARD_CERT_EXPIRED", "the certificate on the smart card has expired";
    E_NO_S4U_PROT_SUPPORT = 0x8009_0356 as "SEC_E_NO_S4U_PROT_SUPPORT", "the domain controller does not support service-for-user requests";
    E_CROSSREALM_DELEGATION_FAILURE = 0x8009_0357 as "SEC_E_CROSSREALM_DELEGATION_FAILURE", "constrained delegation was asked for a target outside of the server's realm";
    E_REVOCATION_OFFLINE_KDC = 0x8009_0358 as "SEC_E_REVOCATION_OFFLINE_KDC", "the revocation status of the domain controller's certificate could not be determined";
    E_ISSUING_CA_UNTRUSTED_KDC = 0x8009_0359 as "SEC_E_ISSUING_CA_UNTRUSTED_KDC", "an authority that issued the domain controller's certificate is not trusted";
    E_KDC_CERT_EXPIRED = 0x8009_035A as "SEC_E_KDC_CERT_EXPIRED", "the domain controller's certificate for smart-card logon has expired";
    E_KDC_CERT_REVOKED = 0x8009_035B as "SEC_E_KDC_CERT_REVOKED", "the domain controller's certificate for smart-card logon is revoked";
    E_INVALID_PARAMETER = 0x8009_035D as "SEC_E_INVALID_PARAMETER", "a parameter is not valid";
    E_DELEGATION_POLICY = 0x8009_035E as "SEC_E_DELEGATION_POLICY", "a policy forbids delegating credentials to this server";
    E_POLICY_NLTM_ONLY = 0x8009_035F as "SEC_E_POLICY_NLTM_ONLY", "a policy allows delegation to this server only after another authentication than NTLM";
    E_NO_CONTEXT = 0x8009_0361 as "SEC_E_NO_CONTEXT", "there is no security context";
    E_PKU2U_CERT_FAILURE = 0x8009_0362 as "SEC_E_PKU2U_CERT_FAILURE", "the certificate for peer-to-peer authentication is not acceptable";
    E_MUTUAL_AUTH_FAILED = 0x8009_0363 as "SEC_E_MUTUAL_AUTH_FAILED", "the server could not prove its identity";
    E_ONLY_HTTPS_ALLOWED = 0x8009_0365 as "SEC_E_ONLY_HTTPS_ALLOWED", "the request has to use HTTPS";
    E_APPLICATION_PROTOCOL_MISMATCH = 0x8009_0367 as "SEC_E_APPLICATION_PROTOCOL_MISMATCH", "client and server have no application protocol in common";
    E_INVALID_UPN_NAME = 0x8009_0369 as "SEC_E_INVALID_UPN_NAME", "the user name is not in the form name@domain that is needed here";
    E_EXT_BUFFER_TOO_SMALL = 0x8009_036A as "SEC_E_EXT_BUFFER_TOO_SMALL", "the buffer for the message's extension is too small";
    E_INSUFFICIENT_BUFFERS = 0x8009_036B as "SEC_E_INSUFFICIENT_BUFFERS", "the call needs more buffers";
}
