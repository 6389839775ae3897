//! `ccache-storage-file`: values are files in a directory, on a file system that several machines share.
//!
//! A file has its name when it is whole. Read next: `server.rs`.

mod names;
mod server;
mod settings;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use names::{has_folders, name_of};
use server::{Storage, serve};
use settings::Settings;

fn main() -> ExitCode {
    serve("ccache-storage-file", Directory::open)
}

struct Directory {
    root: PathBuf,
    has_folders: bool,
}

impl Directory {
    fn open(settings: &Settings) -> Result<Directory, String> {
        settings.only(&["layout"])?;
        let root = settings.url.to_file_path().map_err(|()| "write `file:///DIRECTORY`")?;
        fs::create_dir_all(&root).map_err(|error| about(&root, &error))?;
        Ok(Directory { root, has_folders: has_folders(settings)? })
    }

    fn path(&self, key: &[u8]) -> PathBuf {
        self.root.join(name_of(key, self.has_folders))
    }

    fn write(path: &Path, value: &[u8], overwrite: bool) -> io::Result<bool> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(directory)?;
        let new = Unnamed::new(directory)?;
        (&new.file).write_all(value)?;
        if overwrite {
            fs::rename(&new.path, path)?;
            return Ok(true);
        }
        match fs::hard_link(&new.path, path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
            // A file system without hard links.
            Err(_) => fs::rename(&new.path, path).map(|()| true),
        }
    }
}

/// A file without a name of its own yet; what is left of it is removed.
struct Unnamed {
    path: PathBuf,
    file: File,
}

impl Unnamed {
    fn new(directory: &Path) -> io::Result<Unnamed> {
        let id = std::process::id();
        for number in 0..u32::MAX {
            let thread = std::thread::current().id();
            let path = directory.join(format!(".new-{id}-{thread:?}-{number}"));
            match File::options().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Unnamed { path, file }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(ErrorKind::AlreadyExists.into())
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn about(path: &Path, error: &io::Error) -> String {
    format!("{}: {error}", path.display())
}

impl Storage for Directory {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, String> {
        let path = self.path(key);
        match fs::read(&path) {
            Ok(value) => Ok(Some(value)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(about(&path, &error)),
        }
    }

    fn put(&self, key: &[u8], value: &[u8], overwrite: bool) -> Result<bool, String> {
        let path = self.path(key);
        if !overwrite && path.exists() {
            return Ok(false);
        }
        Directory::write(&path, value, overwrite).map_err(|error| about(&path, &error))
    }

    fn remove(&self, key: &[u8]) -> Result<bool, String> {
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(about(&path, &error)),
        }
    }

    fn exists(&self, key: &[u8]) -> Result<bool, String> {
        let path = self.path(key);
        path.try_exists().map_err(|error| about(&path, &error))
    }
}
