//! Named threads that cannot end unnoticed: if one panics or fails while the house runs, the house is told to stop.

use tokio::sync::watch;

use super::Error;
use crate::archive;

/// Starts a thread; if it ends by panic or failure, `fail` says which.
pub(super) fn spawn<T: Ended + Send + 'static>(
    name: &'static str,
    fail: watch::Sender<Option<&'static str>>,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<std::thread::JoinHandle<T>, Error> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            let mut alarm = Alarm { name, fail, armed: true };
            let ended = work();
            alarm.armed = ended.is_failure();
            ended
        })
        .map_err(|error| Error::Thread(name, error))
}

/// How much a thread that gives way steps back: a third of the processor time that another gets beside it.
const BACK: i32 = 5;

/// From now on this thread runs behind the others when there is not enough processor for all. There is no way back: only for
/// threads of which nobody waits who has to answer a sender.
pub(super) fn give_way() {
    if rustix::process::getpriority_process(None).is_ok_and(|now| now < BACK)
        && let Err(error) = rustix::process::setpriority_process(None, BACK)
    {
        tracing::debug!(%error, "a thread that reads cannot step back");
    }
}

/// Rings when it is dropped armed, which a panic does too.
struct Alarm {
    name: &'static str,
    fail: watch::Sender<Option<&'static str>>,
    armed: bool,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        if self.armed {
            self.fail.send_replace(Some(self.name));
        }
    }
}

/// Whether a thread's result is a failure.
pub(super) trait Ended {
    fn is_failure(&self) -> bool;
}

impl Ended for () {
    fn is_failure(&self) -> bool {
        false
    }
}

impl Ended for Result<(), archive::Error> {
    fn is_failure(&self) -> bool {
        if let Err(error) = self {
            tracing::error!(%error, "the archive cannot write; no more receipts");
        }
        self.is_err()
    }
}
