//! The firmware below the applications: Trussed in memory, with the extensions that they need.

use trussed::backend::{Backend as _, BackendId};
use trussed::platform::Platform;
use trussed::serde_extensions::{ExtensionDispatch, ExtensionId, ExtensionImpl};
use trussed::service::ServiceResources;
use trussed::types::Context;
use trussed::virt::{self, StoreConfig};
use trussed_auth::AuthExtension;
use trussed_auth_backend::{AuthBackend, AuthContext, FilesystemLayout};
use trussed_chunked::ChunkedExtension;
use trussed_core::Error;
use trussed_core::api::{Reply, Request, reply, request};
use trussed_core::types::{Bytes, Location};
use trussed_hpke::HpkeExtension;
use trussed_rsa_alloc::SoftwareRsa;
use trussed_staging::{StagingBackend, StagingContext};
use trussed_wrap_key_to_file::WrapKeyToFileExtension;

pub(crate) type Client<'a> = virt::Client<'a, Dispatch>;

/// Calls a function with a client of a new device, with empty memory.
pub(crate) fn with_client<R>(id: &str, run: impl FnOnce(Client<'_>) -> R) -> R {
    virt::with_platform(StoreConfig::ram(), |platform| {
        let key = Bytes::from(b"a key of the hardware");
        let dispatch = Dispatch {
            auth: AuthBackend::with_hw_key(Location::Internal, key, FilesystemLayout::V0),
            staging: StagingBackend::new(),
        };
        platform.run_client_with_backends(id, dispatch, BACKENDS, run)
    })
}

const BACKENDS: &[BackendId<Backend>] = &[
    BackendId::Custom(Backend::Staging),
    BackendId::Custom(Backend::Auth),
    BackendId::Custom(Backend::Rsa),
    BackendId::Core,
];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Backend {
    Auth,
    Staging,
    Rsa,
}

pub(crate) struct Dispatch {
    auth: AuthBackend,
    staging: StagingBackend,
}

#[derive(Default)]
pub(crate) struct Contexts {
    auth: AuthContext,
    staging: StagingContext,
}

/// The extensions by number, with the backend of each.
macro_rules! extensions {
    ($($name:ident: $type:ty = $number:literal of $backend:ident in $field:ident;)*) => {
        #[derive(Clone, Copy, Debug)]
        pub(crate) enum Extension {
            $($name = $number,)*
        }

        impl From<Extension> for u8 {
            fn from(extension: Extension) -> u8 {
                extension as u8
            }
        }

        impl TryFrom<u8> for Extension {
            type Error = Error;

            fn try_from(number: u8) -> Result<Self, Error> {
                match number {
                    $($number => Ok(Self::$name),)*
                    _ => Err(Error::InternalError),
                }
            }
        }

        $(impl ExtensionId<$type> for Dispatch {
            type Id = Extension;
            const ID: Extension = Extension::$name;
        })*

        impl Dispatch {
            fn extension<P: Platform>(
                &mut self,
                backend: Backend,
                extension: Extension,
                context: &mut Context<Contexts>,
                request: &request::SerdeExtension,
                resources: &mut ServiceResources<P>,
            ) -> Result<reply::SerdeExtension, Error> {
                match (backend, extension) {
                    $((Backend::$backend, Extension::$name) => {
                        ExtensionImpl::<$type>::extension_request_serialized(
                            &mut self.$field,
                            &mut context.core,
                            &mut context.backends.$field,
                            request,
                            resources,
                        )
                    })*
                    _ => Err(Error::RequestNotAvailable),
                }
            }
        }
    };
}

extensions! {
    Auth: AuthExtension = 0 of Auth in auth;
    WrapKeyToFile: WrapKeyToFileExtension = 1 of Staging in staging;
    Chunked: ChunkedExtension = 2 of Staging in staging;
    Hpke: HpkeExtension = 3 of Staging in staging;
}

impl ExtensionDispatch for Dispatch {
    type BackendId = Backend;
    type Context = Contexts;
    type ExtensionId = Extension;

    fn core_request<P: Platform>(
        &mut self,
        backend: &Backend,
        context: &mut Context<Contexts>,
        request: &Request,
        resources: &mut ServiceResources<P>,
    ) -> Result<Reply, Error> {
        let (core, own) = (&mut context.core, &mut context.backends);
        match backend {
            Backend::Auth => self.auth.request(core, &mut own.auth, request, resources),
            Backend::Staging => self
                .staging
                .request(core, &mut own.staging, request, resources),
            Backend::Rsa => SoftwareRsa.request(core, &mut (), request, resources),
        }
    }

    fn extension_request<P: Platform>(
        &mut self,
        backend: &Backend,
        extension: &Extension,
        context: &mut Context<Contexts>,
        request: &request::SerdeExtension,
        resources: &mut ServiceResources<P>,
    ) -> Result<reply::SerdeExtension, Error> {
        self.extension(*backend, *extension, context, request, resources)
    }
}
