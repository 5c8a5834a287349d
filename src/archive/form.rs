//! Between a tar and the content that is stored for it: its normal form, if it has one.

use crate::format::Damaged;
use crate::format::normal_form::{self, NormalForm};
use crate::format::pack::{AS_IT_IS, NORMAL_FORM, RecordMeta};
use std::borrow::Cow;
use std::ops::ControlFlow;

/// What is stored for a tar, and the transform that gives the tar again. [R 5.5]
pub(super) fn content_of(tar: Vec<u8>) -> (Vec<u8>, u8) {
    match normal_form::encode(&tar) {
        Some(content) => (content, NORMAL_FORM),
        None => (tar, AS_IT_IS),
    }
}

/// What `transform` makes of a tar; none if it cannot be made of this one.
pub(super) fn content_by(transform: u8, tar: Vec<u8>) -> Option<Vec<u8>> {
    match transform {
        AS_IT_IS => Some(tar),
        NORMAL_FORM => normal_form::encode(&tar),
        _ => None,
    }
}

/// What `content` stands for: the tar, or the crate file if it is stored as it came.
pub(super) fn undo<'a>(meta: &RecordMeta, content: &'a [u8]) -> Result<Cow<'a, [u8]>, Damaged> {
    match meta.transform {
        NORMAL_FORM => Ok(Cow::Owned(NormalForm::parse(content)?.tar()?)),
        _ => Ok(Cow::Borrowed(content)),
    }
}

/// Checks that [`undo`] can do it, without making the tar.
pub(super) fn check(meta: &RecordMeta, content: &[u8]) -> Result<(), Damaged> {
    if meta.transform == NORMAL_FORM {
        let _ = NormalForm::parse(content)?.pieces(|_| ControlFlow::Continue(()))?;
    }
    Ok(())
}
