//! A fake service whose answers wait.

use scard_testkit::fake::{Answer, Gate, Request, Service};

/// Stops the answers to these messages.
pub fn stop(service: &Service, stopped: impl Fn(&Request) -> bool + Send + 'static) -> Gate {
    stop_after(service, 0, stopped)
}

/// Stops the answers to these messages after this number of bytes.
pub fn stop_after(
    service: &Service,
    bytes: usize,
    stopped: impl Fn(&Request) -> bool + Send + 'static,
) -> Gate {
    let gate = Gate::new();
    service.script({
        let gate = gate.clone();
        move |request| match stopped(request) {
            true => Answer::normal().stall_after(bytes, &gate),
            false => Answer::normal(),
        }
    });
    gate
}
