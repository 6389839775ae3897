//! A directory with sources that a test compiles.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::SystemTime;

use tempfile::TempDir;

use crate::cache::Cache;
use crate::call::Call;

pub struct Project {
    root: TempDir,
}

impl Project {
    pub fn new() -> Project {
        let root = tempfile::Builder::new().prefix("ibid-project-").tempdir().unwrap();
        Project { root }
    }

    /// A copy in another directory, whose name is longer by so many letters; times are kept.
    pub fn copy(&self, longer: usize) -> Project {
        let prefix = format!("ibid-project-{}", "x".repeat(longer));
        let root = tempfile::Builder::new().prefix(&prefix).tempdir().unwrap();
        let from = self.at(".");
        let done = Command::new("cp").arg("-a").arg(from).arg(root.path()).status().unwrap();
        assert!(done.success(), "cp: {done}");
        Project { root }
    }

    /// With these files, name and content.
    pub fn with(files: &[(&str, &str)]) -> Project {
        let project = Project::new();
        for (name, content) in files {
            project.write(name, content);
        }
        project
    }

    pub fn path(&self) -> &Path {
        self.root.path()
    }

    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path().join(name)
    }

    /// Writes a file in place (the inode stays) and makes its directories.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Writes a program. Another process does it: a descriptor of ours that a child of another test's inherits for a
    /// moment would make running it fail with `ETXTBSY`.
    pub fn write_program(&self, name: &str, content: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut shell = Command::new("sh")
            .args(["-c", "cat > \"$1\" && chmod 755 \"$1\"", "sh"])
            .arg(path)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        shell.stdin.take().unwrap().write_all(content.as_bytes()).unwrap();
        assert!(shell.wait().unwrap().success());
    }

    /// Writes in place and puts the modification time back, as some version control tools do.
    pub fn write_unnoticed(&self, name: &str, content: &str) {
        let old = fs::metadata(self.at(name)).unwrap();
        assert_eq!(old.len(), content.len() as u64, "an edit of equal size");
        self.write(name, content);
        self.set_time(name, old.modified().unwrap());
    }

    pub fn set_time(&self, name: &str, time: SystemTime) {
        fs::File::options().append(true).open(self.at(name)).unwrap().set_modified(time).unwrap();
    }

    /// A new modification time, the same content.
    pub fn touch(&self, name: &str) {
        self.set_time(name, SystemTime::now());
    }

    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.at(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    pub fn remove(&self, name: &str) {
        let path = self.at(name);
        if path.symlink_metadata().unwrap().is_dir() {
            fs::remove_dir_all(path).unwrap();
        } else {
            fs::remove_file(path).unwrap();
        }
    }

    pub fn rename(&self, from: &str, to: &str) {
        fs::rename(self.at(from), self.at(to)).unwrap();
    }

    pub fn mkdir(&self, name: &str) {
        fs::create_dir_all(self.at(name)).unwrap();
    }

    /// A symlink `name` -> `target`, in place of what is there.
    pub fn symlink(&self, target: &str, name: &str) {
        let path = self.at(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        if path.symlink_metadata().is_ok() {
            fs::remove_file(&path).unwrap();
        }
        symlink(target, path).unwrap();
    }

    pub fn hard_link(&self, old: &str, new: &str) {
        fs::hard_link(self.at(old), self.at(new)).unwrap();
    }

    pub fn chmod(&self, name: &str, mode: u32) {
        fs::set_permissions(self.at(name), fs::Permissions::from_mode(mode)).unwrap();
    }

    /// Runs a shell line in the project, in the cache's environment; it must succeed.
    pub fn shell(&self, cache: &Cache, line: &str) -> String {
        let done =
            cache.command("sh").arg("-c").arg(line).current_dir(self.path()).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (stdout, stderr) = (text(&done.stdout), text(&done.stderr));
        assert!(done.status.success(), "{line}: {}\n{stdout}\n{stderr}", done.status);
        stdout
    }

    /// An invocation of a tool in this project: words separated by blanks.
    pub fn call<'t>(&'t self, cache: &'t Cache, line: &str) -> Call<'t> {
        Call::new(cache, self.path(), line.split_whitespace())
    }
}
