//! Functions that ask for what is no file: variables, the time, the locale, users, the network.

use core::ffi::c_void;

use crate::log_layout::{Entry, fact, kind};
use crate::note;
use crate::raw;

type Text = *const u8;
type Any = *mut c_void;

/// Notes the locale if it is taken from the environment.
unsafe fn locale(name: Text) {
    // SAFETY: null or a C string, by the contract of setlocale.
    if !name.is_null() && unsafe { raw::bytes(name) }.is_empty() {
        note::fact(fact::LOCALE);
    }
}

unsafe fn text_domain(domain: Text, directory: Text) {
    if !directory.is_null() && note::log().is_some() {
        // SAFETY: C strings, by the contract of bindtextdomain.
        let (path, second) = unsafe { (raw::bytes(domain), raw::bytes(directory)) };
        note::append(&Entry {
            kind: kind::TEXT_DOMAIN,
            path: [path, b"", b""],
            second: [second, b"", b""],
            ..Entry::default()
        });
    }
}

before! {
    fn getenv(name: Text) -> *mut u8, note::variable(name);
    fn secure_getenv(name: Text) -> *mut u8, note::variable(name);
    fn __secure_getenv(name: Text) -> *mut u8, note::variable(name);
    fn setlocale(category: i32, name: Text) -> *mut u8, locale(name);
    fn newlocale(mask: i32, name: Text, base: Any) -> Any, locale(name);
    fn bindtextdomain(domain: Text, directory: Text) -> *mut u8, text_domain(domain, directory);
    fn time(out: *mut i64) -> isize, note::fact(fact::TIME);
    fn localtime(time: Any) -> Any, note::fact(fact::LOCAL_TIME);
    fn localtime_r(time: Any, out: Any) -> Any, note::fact(fact::LOCAL_TIME);
    fn ctime(time: Any) -> *mut u8, note::fact(fact::LOCAL_TIME);
    fn ctime_r(time: Any, out: Any) -> *mut u8, note::fact(fact::LOCAL_TIME);
    fn mktime(time: Any) -> isize, note::fact(fact::LOCAL_TIME);
    fn connect(socket: i32, address: Any, len: u32) -> i32, note::fact(fact::NETWORK);
    fn getaddrinfo(node: Text, service: Text, hints: Any, out: Any) -> i32, note::fact(fact::NETWORK);
    fn gethostbyname(name: Text) -> Any, note::fact(fact::NETWORK);
    fn gethostbyname2(name: Text, family: i32) -> Any, note::fact(fact::NETWORK);
    fn getpwuid(user: u32) -> Any, note::fact(fact::USERS);
    fn getpwnam(name: Text) -> Any, note::fact(fact::USERS);
    fn getpwuid_r(user: u32, out: Any, room: Any, len: usize, found: Any) -> i32, note::fact(fact::USERS);
    fn getpwnam_r(name: Text, out: Any, room: Any, len: usize, found: Any) -> i32, note::fact(fact::USERS);
    fn getgrgid(group: u32) -> Any, note::fact(fact::USERS);
    fn getgrnam(name: Text) -> Any, note::fact(fact::USERS);
    fn iconv_open(to: Text, from: Text) -> Any, note::fact(fact::ICONV);
    fn iconv_close(conversion: Any) -> i32, note::mapped_objects();
}
