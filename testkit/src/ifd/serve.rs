//! Serving a slot: the requests of the daemon's connections.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::slot::IfdSlot;
use super::state::{Link, Look};
use super::wire::{self, Answer, Request, Round};
use super::{Device, IfdCall, IfdError};
use crate::card::Reply;
use crate::card_handle::CardHandle;
use crate::sync::lock;

/// What the thread that serves a request does next.
enum Next {
    Answer(Answer),
    /// Answers the query for a card, with the number of the last change.
    Presence(IfdError, u64),
    /// Leaves: another thread answers, or will.
    Leave,
}

impl IfdSlot {
    /// The daemon has opened the slot: serves its requests.
    pub(super) fn open(self: &Arc<Self>, stream: UnixStream, device: &Device, lun: u32) {
        // The daemon numbers readers in the upper half and slots in the lower.
        self.name.number(lun >> 16);
        let stream = Arc::new(stream);
        let id = {
            let mut state = lock(&self.state);
            self.hang_up(&mut state);
            state.links += 1;
            // The daemon asks only the first for the number of slots.
            state.added = lun & 0xFFFF != 0;
            state.link = Some(Link {
                id: state.links,
                slots: u8::try_from(device.slots.len()).unwrap_or(u8::MAX),
                slots_take_turns: device.slots_take_turns,
                requests: Arc::clone(&stream),
                events: None,
            });
            state.links
        };
        if wire::send(&stream, &Ok(Vec::new())).is_ok() {
            self.serve(id, &stream);
        }
    }

    pub(super) fn serve(self: &Arc<Self>, id: u64, stream: &UnixStream) {
        while let Ok(request) = wire::receive(stream) {
            let close = request == Request::Close;
            match self.handle(id, request) {
                Next::Answer(answer) if wire::send(stream, &answer).is_err() => break,
                Next::Answer(_) if close => break,
                Next::Answer(_) => {}
                Next::Presence(code, change) => {
                    if wire::send_presence(stream, code, change).is_err() {
                        break;
                    }
                }
                Next::Leave => return,
            }
        }
        self.ended(id);
    }

    /// A connection has ended: the daemon has ended, or has closed the slot.
    fn ended(&self, id: u64) {
        let mut state = lock(&self.state);
        if state.is_current(id) {
            self.hang_up(&mut state);
            let card = state.card.clone();
            drop(state);
            if let Some(card) = card {
                card.lose_power();
            }
        }
    }

    /// Serves the daemon's connection for events, on which each of its threads
    /// reports that it begins to wait.
    pub(super) fn watch(self: &Arc<Self>, stream: UnixStream) {
        let stream = Arc::new(stream);
        let id = {
            let mut state = lock(&self.state);
            let Some(link) = &mut state.link else { return };
            link.events = Some(Arc::clone(&stream));
            link.id
        };
        if wire::send(&stream, &Ok(Vec::new())).is_err() {
            return;
        }
        while let Ok(round) = wire::end_of_round(&stream) {
            let mut state = lock(&self.state);
            if !state.is_current(id) {
                return;
            }
            match state.looks.remove(&round) {
                Some(look) if look.doubtful => state.look_again(),
                Some(look) => {
                    state.published = Some(look.change);
                    if look.failed && lock(&self.faults).shown() {
                        state.touch();
                    }
                    if state.is_published() && state.shown.is_none() && state.card.is_some() {
                        let card = state.card.clone();
                        state.show(card);
                    }
                    self.changed.notify_all();
                }
                None => {}
            }
        }
        self.ended(id);
    }

    fn handle(self: &Arc<Self>, id: u64, request: Request) -> Next {
        let call = match &request {
            Request::Presence(round) => {
                let (code, change) = self.presence(id, *round);
                return Next::Presence(code, change);
            }
            Request::Hello { .. } | Request::Close => return Next::Answer(Ok(Vec::new())),
            // The daemon's last query about a reader that it adds; further slots
            // count as added when they are opened.
            Request::GetAttribute {
                tag: wire::TAG_SLOTS_NUMBER,
            } => return Next::Answer(self.added(id)),
            Request::GetAttribute {
                tag: wire::TAG_SLOT_THREAD_SAFE,
            } => return Next::Answer(self.slot_thread_safe()),
            // Reports what we know.
            Request::SetAttribute {
                tag: wire::TAG_DEVICE_REMOVED,
                ..
            } => return Next::Answer(Ok(Vec::new())),
            Request::Transmit(_) => IfdCall::Transmit,
            Request::Power(wire::POWER_UP) => IfdCall::PowerOn,
            Request::Power(wire::RESET) => IfdCall::Reset,
            Request::Power(_) => IfdCall::PowerOff,
            Request::SetProtocol { .. } => IfdCall::SetProtocol,
            Request::Control { .. } => IfdCall::Control,
            Request::GetAttribute { .. } => IfdCall::GetAttribute,
            Request::SetAttribute { .. } => IfdCall::SetAttribute,
        };
        let (delay, failure) = lock(&self.faults).take(call);
        if let Request::Transmit(_) | Request::Power(_) = request {
            return self.of_card(id, request, delay, failure);
        }
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let answer = match (failure, request) {
            (failure, Request::Control { code, input }) => self.control(code, input, failure),
            (Some(error), _) => Err(error),
            (None, Request::GetAttribute { tag }) => self.attribute(tag).ok_or(IfdError::TAG),
            (None, Request::SetAttribute { tag, value }) => {
                self.hooks().replace_attribute(tag, value)
            }
            (None, Request::SetProtocol { protocol }) => {
                let refused = lock(&self.faults).of_protocol(protocol);
                refused.map_or_else(|| Ok(Vec::new()), Err)
            }
            // Answered above.
            (None, _) => Err(IfdError::NOT_SUPPORTED),
        };
        Next::Answer(answer)
    }

    /// Runs what a card does, and what ends when it leaves. Its successor is not
    /// involved, however soon it comes.
    fn of_card(
        self: &Arc<Self>,
        id: u64,
        request: Request,
        delay: Duration,
        failure: Option<IfdError>,
    ) -> Next {
        let Some((ticket, card)) = self.begin(id) else {
            return Next::Answer(Err(IfdError::COMMUNICATION_ERROR));
        };
        if !delay.is_zero() {
            thread::sleep(delay);
            if lock(&self.state).command != Some(ticket) {
                // The card has left, and the thread that removed it has answered.
                return Next::Leave;
            }
        }
        let answer = match (failure, request) {
            (Some(error), _) => Err(error),
            (None, Request::Transmit(command)) => match self.transmit(ticket, &card, command) {
                Some(answer) => answer,
                None => return Next::Leave,
            },
            (None, Request::Power(action)) => power(&card, action),
            (None, _) => Err(IfdError::NOT_SUPPORTED),
        };
        match self.finish(ticket) {
            true => Next::Answer(answer),
            false => Next::Leave,
        }
    }

    fn control(&self, code: u32, input: Vec<u8>, failure: Option<IfdError>) -> Answer {
        let answer = match failure {
            Some(error) => Err(error),
            None => {
                // Not locked meanwhile: the closure may look at its reader.
                let mut control = self.hooks().take_control();
                let answer = control.answer(code, &input);
                self.hooks().return_control(control);
                answer
            }
        };
        self.hooks().log(code, input, answer.clone());
        answer
    }

    fn added(&self, id: u64) -> Answer {
        let mut state = lock(&self.state);
        state.added |= state.is_current(id);
        let slots = state.link.as_ref().map_or(1, |link| link.slots);
        self.changed.notify_all();
        Ok(vec![slots])
    }

    fn slot_thread_safe(&self) -> Answer {
        let state = lock(&self.state);
        let turns = state
            .link
            .as_ref()
            .is_some_and(|link| link.slots_take_turns);
        Ok(vec![u8::from(!turns)])
    }

    fn presence(&self, id: u64, round: Round) -> (IfdError, u64) {
        let (delay, failure) = lock(&self.faults).peek(IfdCall::Presence);
        if !delay.is_zero() {
            thread::sleep(delay);
        }
        let mut state = lock(&self.state);
        let present =
            failure.is_none() && matches!(&state.shown, Some(card) if !card.atr().is_empty());
        if state.is_current(id) {
            let change = state.change;
            let before = state.looks.get(&round);
            let doubtful = before.is_some_and(|look| look.doubtful || look.present && !present);
            let look = Look {
                change,
                present,
                failed: failure.is_some(),
                doubtful,
            };
            state.looks.insert(round, look);
        }
        let code = failure.unwrap_or(match present {
            true => wire::PRESENT,
            false => wire::ABSENT,
        });
        (code, state.change)
    }

    /// Begins something that the removal of the card ends.
    fn begin(&self, id: u64) -> Option<(u64, CardHandle)> {
        let mut state = lock(&self.state);
        if state.gone || !state.is_current(id) {
            return None;
        }
        let card = state.shown.clone()?;
        state.commands += 1;
        state.command = Some(state.commands);
        Some((state.commands, card))
    }

    /// Whether it has not been ended in the meantime.
    fn finish(&self, ticket: u64) -> bool {
        let mut state = lock(&self.state);
        let mine = state.command == Some(ticket);
        if mine {
            state.command = None;
        }
        mine
    }

    fn shown(&self) -> Option<CardHandle> {
        lock(&self.state).shown.clone()
    }

    fn attribute(&self, tag: u32) -> Option<Vec<u8>> {
        let set = self.hooks().attribute(tag);
        set.or_else(|| match tag {
            wire::ATTRIBUTE_ATR | wire::TAG_ATR => self.shown().map(|card| card.atr().to_vec()),
            _ => None,
        })
    }

    /// `None`: it is answered when the card is removed.
    fn transmit(
        self: &Arc<Self>,
        ticket: u64,
        card: &CardHandle,
        command: Vec<u8>,
    ) -> Option<Answer> {
        let (number, reply) = card.process(command, usize::MAX);
        match reply {
            Reply::Answer(answer) => {
                card.answered(number, &answer);
                Some(Ok(answer))
            }
            Reply::Fail(error) => Some(Err(error)),
            Reply::Mute => None,
            Reply::Drop => {
                let state = lock(&self.state);
                if state.command == Some(ticket) {
                    // This answers, too.
                    self.take_out(state);
                }
                None
            }
        }
    }
}

fn power(card: &CardHandle, action: u32) -> Answer {
    match action {
        wire::POWER_UP => card.power_on(),
        wire::RESET => card.reset(),
        wire::POWER_DOWN => {
            card.power_off();
            return Ok(Vec::new());
        }
        _ => return Err(IfdError::NOT_SUPPORTED),
    }
    Ok(card.atr().to_vec())
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::time::Instant;

    use super::*;
    use crate::card::VirtualCard;

    /// A scripted daemon with a driver.
    struct Daemon {
        requests: UnixStream,
        events: UnixStream,
    }

    impl Daemon {
        fn open(slot: &Arc<IfdSlot>) -> Self {
            let connect = |serve: fn(&Arc<IfdSlot>, UnixStream)| {
                let (driver, kit) = UnixStream::pair().unwrap();
                let slot = Arc::clone(slot);
                thread::spawn(move || serve(&slot, kit));
                let mut answer = [0; 8];
                (&driver).read_exact(&mut answer).unwrap();
                assert_eq!(answer, [0; 8]);
                driver
            };
            slot.daemon_starts();
            Self {
                requests: connect(|slot, stream| {
                    let device = Device {
                        slots: vec![Arc::clone(slot)],
                        slots_take_turns: false,
                    };
                    slot.open(stream, &device, 0);
                }),
                events: connect(|slot, stream| slot.watch(stream)),
            }
        }

        fn look(&mut self, thread: u32, waits: u32) -> IfdError {
            let mut request = 9u32.to_ne_bytes().to_vec();
            request.push(8);
            request.extend(thread.to_ne_bytes());
            request.extend(waits.to_ne_bytes());
            self.requests.write_all(&request).unwrap();
            // The length of the change's number, the code, the number.
            let mut answer = [0; 16];
            self.requests.read_exact(&mut answer).unwrap();
            assert_eq!(answer[..4], 8u32.to_ne_bytes());
            IfdError::new(u32::from_ne_bytes([
                answer[4], answer[5], answer[6], answer[7],
            ]))
        }

        fn wait(&mut self, thread: u32, waits: u32) {
            self.events.write_all(&thread.to_ne_bytes()).unwrap();
            self.events.write_all(&waits.to_ne_bytes()).unwrap();
        }

        /// Waits until the kit requests another look.
        fn woken(&mut self) {
            self.events.read_exact(&mut [0; 8]).unwrap();
        }
    }

    fn published(slot: &IfdSlot, within: Duration) -> bool {
        slot.wait_until_published(within, Instant::now() + within)
            .is_ok()
    }

    const SOON: Duration = Duration::from_secs(5);
    const NOT: Duration = Duration::from_millis(50);

    fn slot() -> (Arc<IfdSlot>, Daemon) {
        let slot = Arc::new(IfdSlot::new("R 00 00".into(), 0));
        let mut daemon = Daemon::open(&slot);
        assert_eq!(daemon.look(1, 0), wire::ABSENT);
        assert!(!published(&slot, NOT));
        daemon.wait(1, 0);
        assert!(published(&slot, SOON));
        (slot, daemon)
    }

    #[test]
    fn a_change_is_published_by_the_wait_after_its_look() {
        let (slot, mut daemon) = slot();
        slot.insert(&VirtualCard::iso().into()).unwrap();
        daemon.woken();
        assert_eq!(daemon.look(1, 1), wire::PRESENT);
        // The end of the previous round, read late.
        daemon.wait(1, 0);
        // A client's thread has looked, and the daemon's own waits without a look.
        assert_eq!(daemon.look(2, 0), wire::PRESENT);
        daemon.wait(1, 2);
        assert!(!published(&slot, NOT));
        daemon.wait(1, 1);
        assert!(published(&slot, SOON));
    }

    #[test]
    fn the_next_card_waits_for_the_empty_slot() {
        let (slot, mut daemon) = slot();
        slot.insert(&VirtualCard::iso().into()).unwrap();
        daemon.woken();
        assert_eq!(daemon.look(1, 1), wire::PRESENT);
        daemon.wait(1, 1);
        assert!(published(&slot, SOON));
        slot.remove();
        slot.insert(&VirtualCard::iso().into()).unwrap();
        daemon.woken();
        assert_eq!(daemon.look(1, 2), wire::ABSENT);
        assert_eq!(daemon.look(2, 0), wire::ABSENT);
        assert!(!published(&slot, NOT));
        daemon.wait(1, 2);
        daemon.woken();
        assert_eq!(daemon.look(1, 3), wire::PRESENT);
        daemon.wait(1, 3);
        assert!(published(&slot, SOON));
    }

    #[test]
    fn a_card_that_leaves_between_look_and_power_is_looked_for_again() {
        let (slot, mut daemon) = slot();
        slot.insert(&VirtualCard::iso().into()).unwrap();
        daemon.woken();
        assert_eq!(daemon.look(1, 1), wire::PRESENT);
        slot.remove();
        daemon.woken();
        assert_eq!(daemon.look(1, 1), wire::ABSENT);
        // By now it has published a mute card.
        daemon.wait(1, 1);
        daemon.woken();
        assert!(!published(&slot, NOT));
        assert_eq!(daemon.look(1, 2), wire::ABSENT);
        daemon.wait(1, 2);
        assert!(published(&slot, SOON));
    }
}
