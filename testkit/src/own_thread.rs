//! Cards whose program has its own thread.

use std::fmt;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread;

use crate::card::{Applet, Reply};

/// The requests to a card's program, for
/// [`VirtualCard::on_own_thread`](crate::VirtualCard::on_own_thread).
pub struct Requests(Receiver<Request>);

impl Requests {
    /// Lets an applet answer the requests, until the card is dropped.
    pub fn serve(self, applet: &mut impl Applet) {
        for request in self.0 {
            match request {
                Request::Command(command, answer) => {
                    // Nothing waits if the card was dropped meanwhile.
                    let _ = answer.send(applet.process(&command));
                }
                Request::Event(event, done) => {
                    match event {
                        Event::PowerOn => applet.power_on(),
                        Event::PowerOff => applet.power_off(),
                        Event::Reset => applet.reset(),
                    }
                    let _ = done.send(());
                }
            }
        }
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").finish_non_exhaustive()
    }
}

enum Request {
    Command(Vec<u8>, SyncSender<Reply>),
    Event(Event, SyncSender<()>),
}

enum Event {
    PowerOn,
    PowerOff,
    Reset,
}

/// The side of the card that is in the reader.
pub(crate) struct OwnThread(SyncSender<Request>);

impl OwnThread {
    pub(crate) fn start(program: impl FnOnce(Requests) + Send + 'static) -> Self {
        let (sender, receiver) = mpsc::sync_channel(0);
        thread::spawn(move || program(Requests(receiver)));
        Self(sender)
    }

    /// Waits for the answer. Panics, as the program did or should have done, if the
    /// program has ended.
    fn ask<T>(&self, request: impl FnOnce(SyncSender<T>) -> Request) -> T {
        let (answer, answered) = mpsc::sync_channel(1);
        let sent = self.0.send(request(answer));
        sent.ok()
            .and_then(|()| answered.recv().ok())
            .expect("the program on the card's thread has ended")
    }
}

impl Applet for OwnThread {
    fn process(&mut self, command: &[u8]) -> Reply {
        self.ask(|answer| Request::Command(command.to_vec(), answer))
    }

    fn power_on(&mut self) {
        self.ask(|done| Request::Event(Event::PowerOn, done));
    }

    fn power_off(&mut self) {
        self.ask(|done| Request::Event(Event::PowerOff, done));
    }

    fn reset(&mut self) {
        self.ask(|done| Request::Event(Event::Reset, done));
    }
}
