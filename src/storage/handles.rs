#![allow(clippy::disallowed_types, reason = "this file keeps files open")]

use std::fs::File;
use std::num::NonZeroUsize;
use std::sync::Arc;

use lru::LruCache;

use super::open::open;
use super::sys::{self, Access};
use crate::disk::DiskError;
use crate::disk::StoreId;
use crate::disk::{Layout, Span};

use crate::model::Block;

/// The files that one worker keeps open, a bounded number of them.
#[derive(Debug)]
pub(super) struct Handles {
    open: LruCache<(StoreId, usize, Access), Arc<File>>,
}

impl Handles {
    pub(super) fn new(handles_max: NonZeroUsize) -> Self {
        Self { open: LruCache::new(handles_max) }
    }

    /// A file of the layout, opened if it is not open yet.
    pub(super) fn file(
        &mut self,
        store: StoreId,
        layout: &Layout,
        file: usize,
        access: Access,
    ) -> Result<Arc<File>, DiskError> {
        // A handle for writing reads as well.
        for suiting in [Access::Write, access] {
            if let Some(handle) = self.open.get(&(store, file, suiting)) {
                return Ok(handle.clone());
            }
        }
        let opened = match open(layout, file, access) {
            // Ours give way first.
            Err(DiskError::Io { source, .. }) if sys::is_out_of_files(&source) => {
                self.open.clear();
                open(layout, file, access)
            }
            opened => opened,
        };
        let handle = Arc::new(opened?);
        self.open.put((store, file, access), handle.clone());
        Ok(handle)
    }

    /// Appends the bytes of a range of a piece to `out`.
    pub(super) fn read(
        &mut self,
        store: StoreId,
        layout: &Layout,
        block: &Block,
        out: &mut Vec<u8>,
    ) -> Result<(), DiskError> {
        out.reserve_exact(block.len as usize);
        for span in layout.spans(block) {
            if layout.files()[span.file].padding {
                out.resize(out.len() + span.len as usize, 0);
                continue;
            }
            let file = self.file(store, layout, span.file, Access::Read)?;
            if let Err(error) = sys::append_at(&file, out, span.len as usize, span.offset) {
                // The next attempt meets what stands there by then.
                self.forget(store, span.file);
                return Err(DiskError::new("read", &layout.path(span.file), error));
            }
        }
        Ok(())
    }

    /// Whether a part of a file is there and a hole: it reads as zeros, without reading.
    pub(super) fn is_hole(&mut self, store: StoreId, layout: &Layout, span: &Span) -> bool {
        let file = self.file(store, layout, span.file, Access::Read);
        file.is_ok_and(|file| sys::is_hole(&file, span.offset, u64::from(span.len)))
    }

    /// Closes a file.
    pub(super) fn forget(&mut self, store: StoreId, file: usize) {
        for access in [Access::Read, Access::Write] {
            self.open.pop(&(store, file, access));
        }
    }

    /// Closes every file of a torrent.
    pub(super) fn close(&mut self, store: StoreId) {
        let closed: Vec<_> = self.open.iter().map(|(key, _)| *key).filter(|(of, ..)| *of == store).collect();
        for key in closed {
            self.open.pop(&key);
        }
    }
}
