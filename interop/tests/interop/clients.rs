//! Third-party programs as clients.

use std::path::Path;
use std::process::{Command, Output};

use scard_testkit::Sandbox;

use crate::openssl::Openssl;

/// Runs a program to its end.
pub(crate) fn output(command: &mut Command) -> Output {
    let output = command.output();
    output.unwrap_or_else(|error| panic!("{:?}: {error}", command.get_program()))
}

/// Fails unless a program has succeeded and printed this.
#[track_caller]
pub(crate) fn says(output: &Output, part: &str) {
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains(part), "{output:?}");
}

/// GnuPG with its own home directory, sharing the card with other programs.
pub(crate) struct Gpg<'a> {
    sandbox: &'a Sandbox,
    home: Openssl,
}

impl<'a> Gpg<'a> {
    pub(crate) fn new(sandbox: &'a Sandbox) -> Self {
        let home = Openssl::new();
        let options = "disable-ccid\npcsc-shared\n";
        std::fs::write(home.path().join("scdaemon.conf"), options).unwrap();
        Self { sandbox, home }
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.sandbox.command(program);
        command.env("GNUPGHOME", self.home());
        command
    }

    pub(crate) fn card_status(&self) -> Output {
        output(self.command("gpg").args(["--batch", "--card-status"]))
    }
}

impl Drop for Gpg<'_> {
    fn drop(&mut self) {
        // Otherwise its daemons keep running.
        let _ = self.command("gpgconf").args(["--kill", "all"]).output();
    }
}

#[test]
fn gpg_shows_the_demonstration_card() {
    let sandbox = Sandbox::builder()
        .card(0, scard_testkit::VirtualCard::openpgp())
        .start()
        .unwrap();
    let said = Gpg::new(&sandbox).card_status();
    says(&said, "Demonstration Card");
}

#[test]
fn opensc_recognizes_the_piv_demonstration_card() {
    let sandbox = Sandbox::builder()
        .card(0, scard_testkit::VirtualCard::piv())
        .start()
        .unwrap();
    let said = output(
        sandbox
            .command("opensc-tool")
            .args(["--reader", "0", "--name"]),
    );
    says(&said, "Personal Identity Verification Card");
}
