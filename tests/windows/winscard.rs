//! winscard's functions, defined by this program. pcsc-lite's functions of the same names are
//! shadowed. Numbers are as wide as pcsc-lite's: 64 bits in 64-bit programs, otherwise 32 as on
//! Windows.
#![allow(non_snake_case, unreachable_pub, unsafe_code)]
#![allow(clippy::undocumented_unsafe_blocks, clippy::missing_safety_doc)]
#![allow(
    clippy::multiple_unsafe_ops_per_block,
    clippy::unnecessary_cast,
    clippy::useless_conversion
)]

use std::ffi::c_void;
use std::ptr;
use std::time::{Duration, Instant};

use pcsc::ffi::{ATR_BUFFER_SIZE, DWORD, LONG, SCARD_IO_REQUEST, SCARDCONTEXT, SCARDHANDLE};

use super::world::{
    ATR, CHANGED, INSUFFICIENT_BUFFER, INVALID_HANDLE, NO_READERS_AVAILABLE, SYSTEM_CANCELLED,
    TIMEOUT, units, world,
};

/// `SCARD_READERSTATEW`.
#[repr(C)]
pub struct ReaderState {
    name: *const u16,
    user_data: *mut c_void,
    current: DWORD,
    event: DWORD,
    atr_len: DWORD,
    atr: [u8; ATR_BUFFER_SIZE],
}

/// The maximum number of readers in a wait, and the maximum length that every driver accepts.
const MAX_READERS: usize = 10;
const MAX_ESCAPE: usize = 65_544;

unsafe fn read(name: *const u16) -> Vec<u16> {
    let len = (0..)
        .take_while(|index| unsafe { *name.add(*index) } != 0)
        .count();
    unsafe { std::slice::from_raw_parts(name, len) }.to_vec()
}

/// Returns a value, or its length if the buffer is too small.
unsafe fn give<T: Copy>(
    from: &[T],
    to: *mut T,
    len: *mut DWORD,
    too_small: u32,
) -> Result<(), u32> {
    let room = unsafe { len.replace(from.len() as DWORD) } as usize;
    if room < from.len() {
        return Err(too_small);
    }
    unsafe { ptr::copy_nonoverlapping(from.as_ptr(), to, from.len()) };
    Ok(())
}

fn list<'a>(names: impl Iterator<Item = &'a [u16]>) -> Vec<u16> {
    let mut list: Vec<u16> = names
        .flat_map(|name| name.iter().copied().chain([0]))
        .collect();
    list.push(0);
    list
}

/// Waits for another program's transaction. The end of the service ends the wait.
fn wait_for_transaction(card: SCARDHANDLE) -> Result<(), u32> {
    let mut world = world();
    let start = world.start();
    world.blocked += 1;
    CHANGED.notify_all();
    let waited = loop {
        match world.is_held_by_another(card.into()) {
            Ok(true) => world = CHANGED.wait(world).unwrap(),
            Ok(false) => break Ok(()),
            Err(code) => break Err(code),
        }
        if !world.running || world.start() != start {
            break Err(SYSTEM_CANCELLED);
        }
    };
    world.blocked -= 1;
    CHANGED.notify_all();
    waited
}

macro_rules! functions {
    ($(fn $name:ident($($argument:ident: $type:ty),*) $body:block)+) => { $(
        #[unsafe(no_mangle)]
        pub unsafe extern "system" fn $name($($argument: $type),*) -> LONG {
            world().calls += 1;
            let body = || -> Result<(), u32> { $body };
            body().err().map_or(0, |code| code as i32 as LONG)
        }
    )+ };
}

functions! {
    fn SCardEstablishContext(
        _scope: DWORD, _a: *const c_void, _b: *const c_void, context: *mut SCARDCONTEXT
    ) {
        let handle = world().establish()?;
        unsafe { *context = handle as SCARDCONTEXT };
        Ok(())
    }
    fn SCardReleaseContext(context: SCARDCONTEXT) {
        world().release(context.into())
    }
    fn SCardIsValidContext(context: SCARDCONTEXT) {
        world().context(context.into()).map_err(|_| INVALID_HANDLE)
    }
    fn SCardCancel(context: SCARDCONTEXT) {
        world().cancel(context.into());
        Ok(())
    }
    fn SCardListReadersW(
        context: SCARDCONTEXT, groups: *const u16, names: *mut u16, len: *mut DWORD
    ) {
        let world = world();
        world.context(context.into())?;
        let mut wanted = None;
        if !groups.is_null() {
            let group = unsafe { read(groups) };
            assert_eq!(unsafe { *groups.add(group.len() + 1) }, 0, "a list must end with two NULs");
            wanted = Some(group);
        }
        let is_wanted = |group: &str| wanted.as_ref().is_none_or(|wanted| *wanted == units(group));
        let ghost = world.ghost.map(units);
        let all = world.readers.iter().filter(|it| is_wanted(it.group)).map(|it| &it.name[..]);
        let names_of_all = list(all.chain(ghost.as_deref()));
        if names_of_all.len() == 1 {
            return Err(NO_READERS_AVAILABLE);
        }
        unsafe { give(&names_of_all, names, len, INSUFFICIENT_BUFFER) }
    }
    fn SCardListReaderGroupsW(context: SCARDCONTEXT, groups: *mut u16, len: *mut DWORD) {
        let world = world();
        world.context(context.into())?;
        let mut names: Vec<Vec<u16>> = world.readers.iter().map(|it| units(it.group)).collect();
        names.dedup();
        unsafe { give(&list(names.iter().map(Vec::as_slice)), groups, len, INSUFFICIENT_BUFFER) }
    }
    fn SCardGetStatusChangeW(
        context: SCARDCONTEXT, limit: DWORD, states: *mut ReaderState, count: DWORD
    ) {
        // Without a limit: 49 days.
        let end = Instant::now() + Duration::from_millis(limit as u32 as u64);
        let states = match count {
            0 => &mut [],
            _ => unsafe { std::slice::from_raw_parts_mut(states, count as usize) },
        };
        let mut world = world();
        let start = world.begin_wait(context.into())?;
        let pnp = units(super::world::PLUG_AND_PLAY);
        let readers = states.iter().filter(|it| unsafe { read(it.name) } != pnp).count();
        world.longest_wait = world.longest_wait.max(readers);
        if readers > MAX_READERS {
            return Err(world.too_many);
        }
        loop {
            world.goes_on(context.into(), start)?;
            let mut changed = false;
            for state in &mut *states {
                let current = state.current as u32 & !2;
                let (event, has_card) =
                    world.event_state(&unsafe { read(state.name) }, current)?;
                let differs = current != event;
                changed |= differs;
                state.event = (event | if differs { 2 } else { 0 }) as DWORD;
                state.atr_len = 0;
                if has_card {
                    state.atr[..ATR.len()].copy_from_slice(ATR);
                    state.atr_len = ATR.len() as DWORD;
                }
            }
            if changed || states.is_empty() {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(TIMEOUT);
            }
            world = CHANGED.wait_timeout(world, left).unwrap().0;
        }
    }
    fn SCardConnectW(
        context: SCARDCONTEXT, reader: *const u16, mode: DWORD, protocols: DWORD,
        card: *mut SCARDHANDLE, protocol: *mut DWORD
    ) {
        let reader = unsafe { read(reader) };
        let connected = world().connect(context.into(), reader, mode as u32, protocols as u32)?;
        unsafe { *card = connected.0 as SCARDHANDLE };
        unsafe { *protocol = connected.1 as DWORD };
        Ok(())
    }
    fn SCardReconnect(
        card: SCARDHANDLE, mode: DWORD, protocols: DWORD, initialization: DWORD,
        protocol: *mut DWORD
    ) {
        let (mode, protocols) = (mode as u32, protocols as u32);
        let agreed = world().reconnect(card.into(), mode, protocols, initialization as u32)?;
        unsafe { *protocol = agreed as DWORD };
        Ok(())
    }
    fn SCardDisconnect(card: SCARDHANDLE, disposition: DWORD) {
        world().disconnect(card.into(), disposition as u32)
    }
    fn SCardBeginTransaction(card: SCARDHANDLE) {
        wait_for_transaction(card)?;
        world().begin(card.into())
    }
    fn SCardEndTransaction(card: SCARDHANDLE, disposition: DWORD) {
        world().end(card.into(), disposition as u32)
    }
    fn SCardStatusW(
        card: SCARDHANDLE, names: *mut u16, names_len: *mut DWORD, state: *mut DWORD,
        protocol: *mut DWORD, atr: *mut u8, atr_len: *mut DWORD
    ) {
        let (name, is, active) = world().status(card.into())?;
        unsafe { give(&list([&name[..]].into_iter()), names, names_len, INSUFFICIENT_BUFFER)? };
        unsafe { *state = is as DWORD };
        unsafe { *protocol = active as DWORD };
        unsafe { give(ATR, atr, atr_len, INSUFFICIENT_BUFFER) }
    }
    fn SCardTransmit(
        card: SCARDHANDLE, send: *const SCARD_IO_REQUEST, command: *const u8, command_len: DWORD,
        _receive: *mut SCARD_IO_REQUEST, answer: *mut u8, len: *mut DWORD
    ) {
        wait_for_transaction(card)?;
        let mut world = world();
        let used = unsafe { (*send).dwProtocol } as u32;
        let active = world.status(card.into())?.2;
        assert_eq!(used, active, "the protocol of the command");
        world.longest_buffer = world.longest_buffer.max(unsafe { *len } as usize);
        if let Some(code) = world.fails_with.take() {
            return Err(code);
        }
        world.commands += 1;
        let command = unsafe { std::slice::from_raw_parts(command, command_len as usize) };
        let bytes = match (world.applet, &world.answer) {
            (Some(applet), _) => applet(command),
            (None, Some(answer)) => answer.clone(),
            (None, None) => vec![0x90, 0x00],
        };
        // Some drivers use only the low half of the length.
        unsafe { *len &= 0xFFFF };
        unsafe { give(&bytes, answer, len, INSUFFICIENT_BUFFER) }
    }
    fn SCardControl(
        card: SCARDHANDLE, code: DWORD, _input: *const u8, _input_len: DWORD, output: *mut u8,
        room: DWORD, len: *mut DWORD
    ) {
        let mut world = world();
        world.usable(card.into())?;
        world.longest_buffer = world.longest_buffer.max(room as usize);
        if room as usize > MAX_ESCAPE {
            return Err(87); // ERROR_INVALID_PARAMETER
        }
        // ERROR_INVALID_FUNCTION
        let bytes = world.controls.get(&(code as u32)).ok_or(1u32)?;
        unsafe { *len = room };
        unsafe { give(bytes, output, len, INSUFFICIENT_BUFFER) }
    }
    fn SCardGetAttrib(card: SCARDHANDLE, _attribute: DWORD, value: *mut u8, len: *mut DWORD) {
        let world = world();
        world.usable(card.into())?;
        unsafe { give(&[1; 300], value, len, world.too_small) }
    }
    fn SCardSetAttrib(card: SCARDHANDLE, _attribute: DWORD, _value: *const u8, _len: DWORD) {
        world().usable(card.into())?;
        Err(50) // ERROR_NOT_SUPPORTED
    }
}

/// The handle of the only event.
static EVENT: u8 = 0;

#[unsafe(no_mangle)]
pub extern "system" fn SCardAccessStartedEvent() -> *mut c_void {
    world().started_events += 1;
    CHANGED.notify_all();
    (&raw const EVENT).cast_mut().cast()
}

#[unsafe(no_mangle)]
pub extern "system" fn SCardReleaseStartedEvent() {
    world().started_events -= 1;
    CHANGED.notify_all();
}

#[unsafe(no_mangle)]
pub extern "system" fn WaitForSingleObject(handle: *mut c_void, milliseconds: u32) -> u32 {
    const WAIT_TIMEOUT: u32 = 258;
    assert_eq!(handle.cast_const().cast(), &raw const EVENT);
    let limit = Duration::from_millis(milliseconds.into());
    let waited = CHANGED.wait_timeout_while(world(), limit, |world| !world.running);
    match waited.unwrap().0.running {
        true => 0,
        false => WAIT_TIMEOUT,
    }
}
