//! A directory tree as it is at one moment: to compare with another, and to put back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    File(Vec<u8>),
    Directory,
    Symlink(PathBuf),
    Special,
}

/// What must be the same after ibid as after the bare tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    pub content: Content,
    pub mode: u32,
    pub links: u64,
    /// The other names, in this tree, of the same file.
    pub same_file_as: BTreeSet<PathBuf>,
}

#[derive(Debug, Clone)]
struct Node {
    shape: Shape,
    inode: u64,
    changed_ns: i128,
    modified_ns: i128,
}

#[derive(Debug, Clone)]
pub struct Tree {
    root: PathBuf,
    nodes: BTreeMap<PathBuf, Node>,
}

impl Tree {
    pub fn read(root: &Path) -> Tree {
        let mut nodes = BTreeMap::new();
        read_below(root, Path::new(""), &mut nodes);
        let mut names: BTreeMap<u64, BTreeSet<PathBuf>> = BTreeMap::new();
        for (path, node) in &nodes {
            if node.shape.links > 1 && node.shape.content != Content::Directory {
                names.entry(node.inode).or_default().insert(path.clone());
            }
        }
        for (path, node) in &mut nodes {
            if let Some(same) = names.get(&node.inode) {
                node.shape.same_file_as =
                    same.iter().filter(|name| *name != path).cloned().collect();
            }
        }
        Tree { root: root.to_path_buf(), nodes }
    }

    pub fn shapes(&self) -> BTreeMap<PathBuf, Shape> {
        self.nodes.iter().map(|(path, node)| (path.clone(), node.shape.clone())).collect()
    }

    /// What is other than in `before`, by name; `None` where it is gone.
    pub fn written_since(&self, before: &Tree) -> BTreeMap<PathBuf, Option<Shape>> {
        let mut written = BTreeMap::new();
        for (path, node) in &self.nodes {
            if before.nodes.get(path).is_none_or(|old| !old.is_untouched(node)) {
                written.insert(path.clone(), Some(node.shape.clone()));
            }
        }
        for path in before.nodes.keys().filter(|path| !self.nodes.contains_key(*path)) {
            written.insert(path.clone(), None);
        }
        written
    }

    /// When a file that was written since `before` was modified, the earliest of them.
    pub fn earliest_write_ns(&self, before: &Tree) -> Option<i128> {
        let rewritten = |(path, node): &(&PathBuf, &Node)| {
            // A file that only lost or got another name was not written.
            let same = |old: &Node| old.inode == node.inode && old.modified_ns == node.modified_ns;
            matches!(node.shape.content, Content::File(_))
                && !before.nodes.get(*path).is_some_and(same)
        };
        self.nodes.iter().filter(rewritten).map(|(_, node)| node.modified_ns).min()
    }

    /// When anything in the tree was last changed.
    pub fn newest_change_ns(&self) -> i128 {
        self.nodes.values().map(|node| node.changed_ns).max().unwrap_or(0)
    }

    /// Makes the directory what it was, and leaves alone what was not touched since: its stamps must survive.
    pub fn put_back(&self) {
        let now = Tree::read(&self.root);
        for (path, node) in now.nodes.iter().rev() {
            let same_kind = |old: &Node| {
                old.is_untouched(node)
                    || old.shape.content == Content::Directory
                        && node.shape.content == Content::Directory
            };
            if !self.nodes.get(path).is_some_and(same_kind) {
                self.remove(path, &node.shape.content);
            }
        }
        for (path, node) in &self.nodes {
            self.make(path, &node.shape);
        }
        for (path, node) in &self.nodes {
            if node.shape.content == Content::Directory {
                let full = self.root.join(path);
                if fs::metadata(&full).unwrap().mode() & 0o7777 != node.shape.mode {
                    fs::set_permissions(full, Permissions::from_mode(node.shape.mode)).unwrap();
                }
            }
        }
    }

    fn remove(&self, path: &Path, content: &Content) {
        let full = self.root.join(path);
        if *content == Content::Directory {
            fs::remove_dir(full).unwrap();
        } else {
            fs::remove_file(full).unwrap();
        }
    }

    fn make(&self, path: &Path, shape: &Shape) {
        let full = self.root.join(path);
        if full.symlink_metadata().is_ok() {
            return;
        }
        let partner = shape.same_file_as.iter().find(|name| self.root.join(name).exists());
        match &shape.content {
            Content::Directory => fs::create_dir(full).unwrap(),
            Content::Symlink(target) => symlink(target, full).unwrap(),
            Content::Special => panic!("{}: cannot be put back", path.display()),
            Content::File(_) if partner.is_some() => {
                fs::hard_link(self.root.join(partner.unwrap()), full).unwrap();
            }
            Content::File(bytes) => {
                fs::write(&full, bytes).unwrap();
                fs::set_permissions(full, Permissions::from_mode(shape.mode)).unwrap();
            }
        }
    }
}

impl Node {
    fn is_untouched(&self, later: &Node) -> bool {
        if self.shape.content == Content::Directory && later.shape.content == Content::Directory {
            return self.shape.mode == later.shape.mode && self.inode == later.inode;
        }
        self.shape == later.shape
            && self.inode == later.inode
            && self.changed_ns == later.changed_ns
            && self.modified_ns == later.modified_ns
    }
}

fn read_below(root: &Path, below: &Path, nodes: &mut BTreeMap<PathBuf, Node>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let name = below.join(entry.unwrap().file_name());
        let full = root.join(&name);
        let metadata = fs::symlink_metadata(&full).unwrap();
        let kind = metadata.file_type();
        let content = if kind.is_file() {
            Content::File(fs::read(&full).unwrap_or_default())
        } else if kind.is_dir() {
            Content::Directory
        } else if kind.is_symlink() {
            Content::Symlink(fs::read_link(&full).unwrap())
        } else {
            Content::Special
        };
        let is_directory = content == Content::Directory;
        let nanoseconds = |s: i64, ns: i64| i128::from(s) * 1_000_000_000 + i128::from(ns);
        let shape = Shape {
            content,
            mode: metadata.mode() & 0o7777,
            links: if is_directory { 0 } else { metadata.nlink() },
            same_file_as: BTreeSet::new(),
        };
        let node = Node {
            shape,
            inode: metadata.ino(),
            changed_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            modified_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
        };
        nodes.insert(name.clone(), node);
        if is_directory {
            read_below(root, &name, nodes);
        }
    }
}
