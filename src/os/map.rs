//! Files that are mapped after libc has started: memmap2 maps them, `shm` reads and writes what is mapped.
//!
//! The probe runs before libc, through which memmap2 goes; it maps by `shm/map.rs`.

use std::io;
use std::ops::Deref;
use std::os::fd::{AsRawFd, BorrowedFd};

use memmap2::{Advice, MmapOptions, MmapRaw};

use crate::shm::map::{View, ViewMut};

/// How much [`FileMapMut::populate`] makes sure of.
const PAGE_BYTES: usize = 4096;

/// A file that is mapped for reading.
#[derive(Debug)]
pub struct FileMap {
    view: View,
    /// Unmaps it when it is dropped.
    _pages: MmapRaw,
}

impl FileMap {
    /// Maps the first `len_bytes` of `file`, which must be that long.
    pub fn new(file: BorrowedFd<'_>, len_bytes: usize) -> io::Result<FileMap> {
        let pages = MmapOptions::new().len(len_bytes).map_raw_read_only(file.as_raw_fd())?;
        // SAFETY: it is mapped until the map is dropped, and the view with it.
        let view = unsafe { View::new(pages.as_mut_ptr(), len_bytes) };
        Ok(FileMap { view, _pages: pages })
    }
}

impl Drop for FileMap {
    fn drop(&mut self) {
        self.view.forget();
    }
}

impl Deref for FileMap {
    type Target = View;
    fn deref(&self) -> &View {
        &self.view
    }
}

/// A file that is mapped for reading and writing.
#[derive(Debug)]
pub struct FileMapMut {
    view: ViewMut,
    pages: MmapRaw,
}

impl FileMapMut {
    /// Maps the first `len_bytes` of `file`, which must be that long.
    pub fn new(file: BorrowedFd<'_>, len_bytes: usize) -> io::Result<FileMapMut> {
        let pages = MmapOptions::new().len(len_bytes).map_raw(file.as_raw_fd())?;
        // SAFETY: it is mapped until the map is dropped, and the view with it.
        let view = unsafe { ViewMut::new(pages.as_mut_ptr(), len_bytes) };
        Ok(FileMapMut { view, pages })
    }

    /// Makes sure that the page of `offset` can be written: a full disk or a cut file is an error here, not a SIGBUS.
    pub fn populate(&self, offset: usize) -> io::Result<()> {
        let page = offset / PAGE_BYTES * PAGE_BYTES;
        if page + PAGE_BYTES > self.view.len() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match self.pages.advise_range(Advice::PopulateWrite, page, PAGE_BYTES) {
            // A kernel before 5.14 does not know the advice.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
            advised => advised,
        }
    }
}

impl Drop for FileMapMut {
    fn drop(&mut self) {
        self.view.forget();
    }
}

impl Deref for FileMapMut {
    type Target = ViewMut;
    fn deref(&self) -> &ViewMut {
        &self.view
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::fd::AsFd;

    use super::{FileMap, FileMapMut};
    use crate::shm::words::Ordering::Relaxed;

    #[test]
    fn what_is_written_is_seen_in_the_file_and_in_other_maps() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(8192).expect("it is ours");
        let (written, read) =
            (FileMapMut::new(file.as_fd(), 8192), FileMap::new(file.as_fd(), 8192));
        let (written, read) = (written.expect("mapped"), read.expect("mapped"));
        written.words_mut(4096, 1).expect("it is inside")[0].store(7, Relaxed);
        assert_eq!(read.get::<u64>(4096), Some(7));
        let mut bytes = [0; 8];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut bytes, 4096).expect("it is there");
        assert_eq!(u64::from_le_bytes(bytes), 7);
        assert_eq!((read.len(), read.get::<u64>(8192 - 7)), (8192, None));
        assert!(written.words_mut(8192, 1).is_none() && written.words_mut(4, 1).is_none());
    }

    #[test]
    fn a_page_that_cannot_be_written_is_an_error() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("f");
        fs::write(&path, [1; 8192]).expect("a file");
        let file = fs::File::options().read(true).write(true).open(&path).expect("it is there");
        let map = FileMapMut::new(file.as_fd(), 8192).expect("mapped");
        map.populate(0).expect("it is there");
        map.populate(8191).expect("it is there");
        assert!(map.populate(8192).is_err());
        if crate::shm::clock::kernel_is_at_least((5, 14)) {
            file.set_len(4096).expect("it is ours");
            assert!(map.populate(4096).is_err());
            map.populate(4095).expect("it is still there");
        }
    }
}
