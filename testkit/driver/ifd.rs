//! The kit's driver: an IFD handler that `pcscd` loads and that asks the kit.
//!
//! Every call of the daemon is passed on over a Unix socket and answered there;
//! nothing is decided here. The socket's path is in the daemon's environment.
//! A logical unit (a slot of a reader) has two connections:
//!
//! - requests: one at a time, each with one answer;
//! - events: the number of a change from the kit ends the wait of the polling
//!   function, unless the daemon has looked since, for at the end of a wait it
//!   powers a card off that nobody uses. The polling function tells the kit each
//!   time that it begins to wait. By then the daemon has told its clients what
//!   the last look at the slot gave.
//!
//! Compiled by the kit's build script, with the standard library alone, and
//! loaded from a file of the sandbox. `wire.rs` of the kit is the other side.
#![allow(unsafe_code, non_snake_case)]

use std::cell::Cell;
use std::ffi::{CStr, c_char, c_int, c_long, c_uchar, c_ulong};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Where the kit listens.
const SOCKET_VARIABLE: &str = "SCARD_TESTKIT_IFD_SOCKET";

type Dword = c_ulong;
type ResponseCode = c_long;

const SUCCESS: ResponseCode = 0;
const ERROR_TAG: ResponseCode = 600;
const COMMUNICATION_ERROR: ResponseCode = 612;
const NO_SUCH_DEVICE: ResponseCode = 617;
const INSUFFICIENT_BUFFER: ResponseCode = 618;

const TAG_THREAD_SAFE: Dword = 0x0FAD;
const TAG_SIMULTANEOUS_ACCESS: Dword = 0x0FAF;
const TAG_POLLING_THREAD_KILLABLE: Dword = 0x0FB1;
const TAG_STOP_POLLING_THREAD: Dword = 0x0FB2;
const TAG_POLLING_THREAD_WITH_TIMEOUT: Dword = 0x0FB3;
const TAG_DEVICE_REMOVED: Dword = 0x0FB4;

/// The kinds of requests.
const HELLO: u8 = 0;
const CLOSE: u8 = 1;
const GET_CAPABILITIES: u8 = 2;
const SET_CAPABILITIES: u8 = 3;
const SET_PROTOCOL: u8 = 4;
const POWER: u8 = 5;
const TRANSMIT: u8 = 6;
const CONTROL: u8 = 7;
const PRESENCE: u8 = 8;

/// What a connection is for.
const REQUESTS: u32 = 0;
const EVENTS: u32 = 1;

/// The longest ATR.
const MAX_ATR: usize = 33;

/// A logical unit that the daemon has opened.
struct Unit {
    requests: Mutex<UnixStream>,
    events: UnixStream,
    /// Written to by the stop function, read from by the polling function.
    stop: (UnixStream, UnixStream),
}

static UNITS: Mutex<Vec<(Dword, Arc<Unit>)>> = Mutex::new(Vec::new());

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unit(lun: Dword) -> Option<Arc<Unit>> {
    let units = lock(&UNITS);
    let (_, unit) = units.iter().find(|(known, _)| *known == lun)?;
    Some(Arc::clone(unit))
}

/// What this thread of the daemon does now: its number, and how often it has
/// begun to wait. The two connections are read by different threads of the kit,
/// so a look and the wait after it have to be matched.
#[derive(Clone, Copy)]
struct Round {
    thread: u32,
    waits: u32,
    /// The last change that it has seen.
    change: u64,
}

impl Round {
    fn now() -> Self {
        Self::change(|round| round)
    }

    /// The thread begins to wait.
    fn end() -> Self {
        Self::change(|round| Self {
            waits: round.waits.wrapping_add(1),
            ..round
        })
    }

    fn saw(change: u64) {
        Self::change(|round| Self { change, ..round });
    }

    /// Returns what was before.
    fn change(change: impl FnOnce(Self) -> Self) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        thread_local!(static ROUND: Cell<Round> = Cell::new(Round {
            thread: NEXT.fetch_add(1, Ordering::Relaxed),
            waits: 0,
            change: 0,
        }));
        ROUND.with(|round| round.replace(change(round.get())))
    }
}

/// A request: length of what follows, kind, two numbers, data.
fn request(kind: u8, a: u32, b: u32, data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(9 + data.len()).unwrap_or(u32::MAX);
    let mut message = Vec::with_capacity(13 + data.len());
    message.extend_from_slice(&length.to_ne_bytes());
    message.push(kind);
    message.extend_from_slice(&a.to_ne_bytes());
    message.extend_from_slice(&b.to_ne_bytes());
    message.extend_from_slice(data);
    message
}

/// Sends a request and waits for the answer: length of the data, response code,
/// data.
fn call(mut stream: &UnixStream, request: &[u8]) -> io::Result<(ResponseCode, Vec<u8>)> {
    stream.write_all(request)?;
    let mut header = [0; 8];
    stream.read_exact(&mut header)?;
    let [l0, l1, l2, l3, c0, c1, c2, c3] = header;
    let length = u32::from_ne_bytes([l0, l1, l2, l3]);
    let code = i32::from_ne_bytes([c0, c1, c2, c3]);
    let mut data = vec![0; length as usize];
    stream.read_exact(&mut data)?;
    Ok((ResponseCode::from(code), data))
}

/// Asks the kit. Where it is gone, so is the reader.
fn ask(lun: Dword, kind: u8, a: u32, b: u32, data: &[u8]) -> (ResponseCode, Vec<u8>) {
    let Some(unit) = unit(lun) else {
        return (COMMUNICATION_ERROR, Vec::new());
    };
    let stream = lock(&unit.requests);
    call(&stream, &request(kind, a, b, data)).unwrap_or((NO_SUCH_DEVICE, Vec::new()))
}

fn open(lun: Dword, device: &[u8]) -> ResponseCode {
    let connect = |purpose| -> io::Result<(UnixStream, ResponseCode)> {
        let path = std::env::var_os(SOCKET_VARIABLE).ok_or(io::ErrorKind::NotFound)?;
        let stream = UnixStream::connect(path)?;
        let (code, _) = call(&stream, &request(HELLO, lun as u32, purpose, device))?;
        Ok((stream, code))
    };
    let opened = || -> io::Result<Result<Unit, ResponseCode>> {
        let (requests, code) = connect(REQUESTS)?;
        if code != SUCCESS {
            return Ok(Err(code));
        }
        let (events, code) = connect(EVENTS)?;
        if code != SUCCESS {
            return Ok(Err(code));
        }
        let stop = UnixStream::pair()?;
        stop.0.set_nonblocking(true)?;
        Ok(Ok(Unit {
            requests: Mutex::new(requests),
            events,
            stop,
        }))
    };
    match opened() {
        Ok(Ok(unit)) => {
            let mut units = lock(&UNITS);
            units.retain(|(known, _)| *known != lun);
            units.push((lun, Arc::new(unit)));
            SUCCESS
        }
        Ok(Err(code)) => code,
        Err(_) => COMMUNICATION_ERROR,
    }
}

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: i16,
    revents: i16,
}

const POLLIN: i16 = 1;

unsafe extern "C" {
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
}

/// Whether each of the streams can be read (or has ended), by `deadline`.
fn readable(streams: [&UnixStream; 2], deadline: Instant) -> [bool; 2] {
    let mut fds = streams.map(|stream| PollFd {
        fd: stream.as_raw_fd(),
        events: POLLIN,
        revents: 0,
    });
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up, so that the last round does not spin.
        let left = c_int::try_from(left.as_millis() + 1).unwrap_or(c_int::MAX);
        // SAFETY: `fds` are two valid entries, which the call alone writes to;
        // their descriptors are open as long as `streams` are borrowed.
        let found = unsafe { poll(fds.as_mut_ptr(), 2, left) };
        if found > 0 || Instant::now() >= deadline {
            return fds.map(|fd| fd.revents != 0);
        }
    }
}

/// The daemon's wait for a change: until the kit or the daemon itself has one,
/// or for `timeout` milliseconds.
extern "C" fn wait_for_event(lun: Dword, timeout: c_int) -> ResponseCode {
    let Some(unit) = unit(lun) else {
        return COMMUNICATION_ERROR;
    };
    let round = Round::end();
    let mut message = [0; 8];
    message[..4].copy_from_slice(&round.thread.to_ne_bytes());
    message[4..].copy_from_slice(&round.waits.to_ne_bytes());
    if (&unit.events).write_all(&message).is_err() {
        return NO_SUCH_DEVICE;
    }
    let timeout = Duration::from_millis(u64::try_from(timeout).unwrap_or(0));
    let deadline = Instant::now() + timeout;
    loop {
        let [event, stopped] = readable([&unit.events, &unit.stop.1], deadline);
        if stopped {
            let _ = (&unit.stop.1).read(&mut [0; 64]);
        }
        if !event {
            return SUCCESS;
        }
        let mut change = [0; 8];
        if (&unit.events).read_exact(&mut change).is_err() {
            return NO_SUCH_DEVICE;
        }
        if stopped || u64::from_ne_bytes(change) > round.change {
            return SUCCESS;
        }
    }
}

/// Ends the daemon's wait. Called before the reader is closed, and whenever the
/// last client has disconnected.
extern "C" fn stop_waiting(lun: Dword) -> ResponseCode {
    if let Some(unit) = unit(lun) {
        // When the pipe is full, there is a reason to stop in it already.
        let _ = (&unit.stop.0).write(&[0]);
    }
    SUCCESS
}

/// The daemon's bytes.
///
/// # Safety
/// `data` is null or valid for reads of `length` bytes for the whole call.
unsafe fn bytes<'a>(data: *const c_uchar, length: Dword) -> &'a [u8] {
    if data.is_null() {
        return &[];
    }
    // SAFETY: see above.
    unsafe { std::slice::from_raw_parts(data, length as usize) }
}

/// Copies an answer into the daemon's buffer and sets its length.
///
/// # Safety
/// `buffer` is null or valid for writes of `room` bytes; `length` is null or
/// valid for a write.
unsafe fn give(data: &[u8], buffer: *mut c_uchar, room: usize, length: *mut Dword) -> ResponseCode {
    let fits = data.len() <= room && (!buffer.is_null() || data.is_empty());
    if fits && !data.is_empty() {
        // SAFETY: the buffer has the room, and is not ours.
        unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), buffer, data.len()) };
    }
    if !length.is_null() {
        // SAFETY: valid for a write, see above.
        unsafe { length.write(data.len() as Dword) };
    }
    if fits { SUCCESS } else { INSUFFICIENT_BUFFER }
}

/// What `length` points to.
///
/// # Safety
/// `length` is null or valid for a read.
unsafe fn room(length: *const Dword) -> usize {
    if length.is_null() {
        return 0;
    }
    // SAFETY: see above.
    unsafe { length.read() as usize }
}

/// # Safety
/// As the IFD handler's interface has it: `device` is a string.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn IFDHCreateChannelByName(
    lun: Dword,
    device: *const c_char,
) -> ResponseCode {
    if device.is_null() {
        return COMMUNICATION_ERROR;
    }
    // SAFETY: a string of the daemon, for the time of this call.
    let device = unsafe { CStr::from_ptr(device) };
    open(lun, device.to_bytes())
}

/// Called for readers without a device name, of which the kit has none.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn IFDHCreateChannel(_lun: Dword, _channel: Dword) -> ResponseCode {
    NO_SUCH_DEVICE
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn IFDHCloseChannel(lun: Dword) -> ResponseCode {
    let (code, _) = ask(lun, CLOSE, 0, 0, &[]);
    lock(&UNITS).retain(|(known, _)| *known != lun);
    code
}

/// # Safety
/// As the IFD handler's interface has it: `value` has room for `*length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn IFDHGetCapabilities(
    lun: Dword,
    tag: Dword,
    length: *mut Dword,
    value: *mut c_uchar,
) -> ResponseCode {
    // SAFETY: the daemon's own variable.
    let room = unsafe { room(length) };
    let (code, data) = match tag {
        TAG_THREAD_SAFE | TAG_DEVICE_REMOVED => (SUCCESS, vec![1]),
        TAG_SIMULTANEOUS_ACCESS => (SUCCESS, vec![u8::MAX]),
        TAG_POLLING_THREAD_WITH_TIMEOUT => {
            let function: extern "C" fn(Dword, c_int) -> ResponseCode = wait_for_event;
            (SUCCESS, (function as usize).to_ne_bytes().to_vec())
        }
        TAG_STOP_POLLING_THREAD => {
            let function: extern "C" fn(Dword) -> ResponseCode = stop_waiting;
            (SUCCESS, (function as usize).to_ne_bytes().to_vec())
        }
        TAG_POLLING_THREAD_KILLABLE => (ERROR_TAG, Vec::new()),
        _ => ask(lun, GET_CAPABILITIES, tag as u32, room as u32, &[]),
    };
    if code != SUCCESS {
        return code;
    }
    // SAFETY: the daemon's buffer, of the size that it has told.
    unsafe { give(&data, value, room, length) }
}

/// # Safety
/// As the IFD handler's interface has it: `value` are `length` bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn IFDHSetCapabilities(
    lun: Dword,
    tag: Dword,
    length: Dword,
    value: *const c_uchar,
) -> ResponseCode {
    // SAFETY: the daemon's buffer, for the time of this call.
    let value = unsafe { bytes(value, length) };
    ask(lun, SET_CAPABILITIES, tag as u32, 0, value).0
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn IFDHSetProtocolParameters(
    lun: Dword,
    protocol: Dword,
    flags: c_uchar,
    pts1: c_uchar,
    pts2: c_uchar,
    pts3: c_uchar,
) -> ResponseCode {
    let parameters = [flags, pts1, pts2, pts3];
    ask(lun, SET_PROTOCOL, protocol as u32, 0, &parameters).0
}

/// # Safety
/// As the IFD handler's interface has it: `atr` has room for 33 bytes.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn IFDHPowerICC(
    lun: Dword,
    action: Dword,
    atr: *mut c_uchar,
    length: *mut Dword,
) -> ResponseCode {
    let (code, mut data) = ask(lun, POWER, action as u32, 0, &[]);
    if code != SUCCESS {
        data.clear();
    }
    data.truncate(MAX_ATR);
    // SAFETY: the daemon's buffer, which has room for the longest ATR.
    let given = unsafe { give(&data, atr, MAX_ATR, length) };
    if code == SUCCESS { given } else { code }
}

/// The header of a command, `SCARD_IO_HEADER`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub(crate) struct IoHeader {
    protocol: Dword,
    length: Dword,
}

/// # Safety
/// As the IFD handler's interface has it: `command` are `command_length` bytes,
/// `response` has room for `*response_length`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn IFDHTransmitToICC(
    lun: Dword,
    header: IoHeader,
    command: *const c_uchar,
    command_length: Dword,
    response: *mut c_uchar,
    response_length: *mut Dword,
    response_header: *mut IoHeader,
) -> ResponseCode {
    // SAFETY: the daemon's own variable.
    let room = unsafe { room(response_length) };
    // SAFETY: the daemon's buffer, for the time of this call.
    let command = unsafe { bytes(command, command_length) };
    let (code, mut data) = ask(lun, TRANSMIT, header.protocol as u32, room as u32, command);
    if code != SUCCESS {
        data.clear();
    }
    if !response_header.is_null() {
        // SAFETY: the daemon's own variable.
        unsafe { response_header.write(header) };
    }
    // SAFETY: the daemon's buffer, of the size that it has told.
    let given = unsafe { give(&data, response, room, response_length) };
    if given != SUCCESS && !response_length.is_null() {
        // SAFETY: the daemon's own variable. It shows so many bytes in its log.
        unsafe { response_length.write(0) };
    }
    if code == SUCCESS { given } else { code }
}

/// # Safety
/// As the IFD handler's interface has it: `input` are `input_length` bytes,
/// `output` has room for `room`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn IFDHControl(
    lun: Dword,
    control_code: Dword,
    input: *const c_uchar,
    input_length: Dword,
    output: *mut c_uchar,
    room: Dword,
    returned: *mut Dword,
) -> ResponseCode {
    // SAFETY: the daemon's buffer, for the time of this call.
    let input = unsafe { bytes(input, input_length) };
    let (code, mut data) = ask(lun, CONTROL, control_code as u32, room as u32, input);
    if code != SUCCESS {
        data.clear();
    }
    // SAFETY: the daemon's buffer, of the size that it has told.
    let given = unsafe { give(&data, output, room as usize, returned) };
    if code == SUCCESS && given == SUCCESS {
        return SUCCESS;
    }
    if !returned.is_null() {
        // SAFETY: the daemon's own variable. It shows so many bytes in its log.
        unsafe { returned.write(0) };
    }
    if code == SUCCESS { given } else { code }
}

#[unsafe(no_mangle)]
pub(crate) extern "C" fn IFDHICCPresence(lun: Dword) -> ResponseCode {
    let round = Round::now();
    let (code, data) = ask(lun, PRESENCE, round.thread, round.waits, &[]);
    if let Ok(change) = <[u8; 8]>::try_from(data) {
        Round::saw(u64::from_ne_bytes(change));
    }
    code
}
