//! Becoming the one writer of an archive, or saying who is.

use super::Error;
use super::commit::now;
use super::names::HEAD_NAMES;
use crate::store::{Holder, Medium};
use std::io;
use std::time::Duration;

/// Whoever has just got the lock may not have signed it yet.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// Locks the archive for writing until the medium is dropped. [R 10.9]
pub(super) fn lock(medium: &dyn Medium) -> Result<(), Error> {
    let path = medium.describe();
    match medium.lock() {
        Ok(()) => {
            medium.sign_lock(&Holder::this(now()).note());
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(Error::Locked {
            path,
            holder: holder(medium).map_or_else(String::new, |holder| format!(": {holder}")),
        }),
        // Of an archive that is there. Where there is none, it is a folder as any other.
        Err(error) if is_refusal(&error) && HEAD_NAMES.iter().any(|head| medium.len(head).is_ok()) => {
            Err(Error::NotWritable { path, cause: error })
        }
        Err(error) => Err(Error::io(format!("{path}/lock"))(error)),
    }
}

fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
    )
}

/// Who holds the lock, if that can be told. What a writer that is gone has left there
/// is not believed.
fn holder(medium: &dyn Medium) -> Option<Holder> {
    for look in 0..LOOKS {
        if look > 0 {
            std::thread::sleep(PAUSE);
        }
        let holder = medium.read("lock").ok().and_then(|note| Holder::parse(&note));
        if let Some(holder) = holder.filter(Holder::may_live) {
            return Some(holder);
        }
    }
    None
}
