//! Functions that ask for what is no file: variables, the time, the locale, users, the network.

use crate::link::Slot;
use crate::log_layout::{fact, kind};
use crate::note;
use crate::raw::{self, Any, CText};

/// `CLOCK_MONOTONIC`, `_RAW`, `_COARSE`, `CLOCK_BOOTTIME`, `_ALARM`.
const CLOCKS_SINCE_BOOT: [i32; 5] = [1, 4, 6, 7, 9];

/// Notes a clock that is read, unless it counts since the machine was started: with that programs measure how long
/// something took.
fn read_clock(clock: i32) {
    if !CLOCKS_SINCE_BOOT.contains(&clock) {
        note::fact(fact::CLOCK);
    }
}

/// Notes a locale that is set, and whether it is taken from the environment.
unsafe fn locale(name: CText) {
    if name.is_null() {
        return;
    }
    // SAFETY: a C string, by the contract of setlocale.
    match unsafe { raw::bytes(name) } {
        b"" => note::fact(fact::LOCALE),
        b"C" | b"POSIX" => {}
        // SAFETY: as above.
        _ => unsafe { note::name(kind::LOCALE, name) },
    }
}

/// libc's own look at the environment.
unsafe fn posix() {
    // SAFETY: a C string.
    unsafe { note::variable(c"POSIXLY_CORRECT".as_ptr().cast()) };
}

/// A domain that may have been bound to no directory.
unsafe fn domain(domain: CText) {
    // SAFETY: null or a C string, by the contract of textdomain.
    unsafe { note::text_domain(domain, note::DEFAULT_DIRECTORY.as_ptr().cast()) };
}

// Of some the caller is noted; `dlopen`, which depends on it, must be called as if we were not there.
tail_calls! {
    fn time => "mov rsi, [rsp]\njmp {then}", "mov x1, x30\nb {then}", time_for;
    fn clock_gettime => "mov rdx, [rsp]\njmp {then}", "mov x2, x30\nb {then}", clock_gettime_for;
    fn gettimeofday => "mov rdx, [rsp]\njmp {then}", "mov x2, x30\nb {then}", gettimeofday_for;
    fn getpid => "mov rdi, [rsp]\njmp {then}", "mov x0, x30\nb {then}", getpid_for;
    fn getcwd => "mov rdx, [rsp]\njmp {then}", "mov x2, x30\nb {then}", getcwd_for;
    fn getenv => "mov rsi, [rsp]\njmp {then}", "mov x1, x30\nb {then}", getenv_for;
    fn dlopen =>
        "push rdi\npush rsi\nsub rsp, 8\ncall {then}\nadd rsp, 8\npop rsi\npop rdi\njmp rax",
        "stp x0, x1, [sp, #-32]!\nstr x30, [sp, #16]\nbl {then}\nmov x16, x0\nldr x30, [sp, #16]\nldp x0, x1, [sp], #32\nbr x16",
        before_load;
}

unsafe extern "C" fn time_for(out: *mut i64, caller: usize) -> isize {
    note::time(caller);
    real!(time(out: *mut i64) -> isize)
}

unsafe extern "C" fn clock_gettime_for(which: i32, out: Any, caller: usize) -> i32 {
    if !CLOCKS_SINCE_BOOT.contains(&which) {
        note::fact_for(fact::CLOCK, caller);
    }
    real!(clock_gettime(which: i32, out: Any) -> i32)
}

unsafe extern "C" fn gettimeofday_for(out: Any, zone: Any, caller: usize) -> i32 {
    note::fact_for(fact::CLOCK, caller);
    real!(gettimeofday(out: Any, zone: Any) -> i32)
}

unsafe extern "C" fn getpid_for(caller: usize) -> i32 {
    note::fact_for(fact::PROCESS, caller);
    real!(getpid() -> i32)
}

unsafe extern "C" fn getcwd_for(out: *mut u8, len: usize, caller: usize) -> *mut u8 {
    note::directory_for(caller);
    real!(getcwd(out: *mut u8, len: usize) -> *mut u8)
}

unsafe extern "C" fn getenv_for(name: CText, caller: usize) -> *mut u8 {
    // SAFETY: a C string, by the contract of getenv.
    unsafe { note::variable_for(name, caller) };
    real!(getenv(name: CText) -> *mut u8)
}

/// `time` of a caller that is not known.
pub unsafe fn time_unknown(out: *mut i64) -> isize {
    // SAFETY: the contract of time.
    unsafe { time_for(out, 0) }
}

/// Notes what is to be loaded; the address of the real `dlopen`.
unsafe extern "C" fn before_load(name: CText) -> usize {
    static DLOPEN: Slot = Slot::new();
    // SAFETY: null or a C string, by the contract of dlopen.
    unsafe { note::name(kind::LOAD, name) };
    match DLOPEN.function(b"dlopen") {
        0 => no_loader as *const () as usize,
        address => address,
    }
}

extern "C" fn no_loader() -> Any {
    note::missing("dlopen");
    core::ptr::null_mut()
}

#[unsafe(no_mangle)]
pub unsafe extern "C" fn arc4random_buf(out: Any, len: usize) {
    note::fact(fact::RANDOM);
    real!(arc4random_buf(out: Any, len: usize) -> ());
}

// That a descriptor is no terminal says as much as `isatty` does: bash asks at its start, where there is no terminal.
after! {
    fn ttyname(fd: i32) -> *mut u8, |name| if !name.is_null() { note::fact(fact::SESSION) };
    fn ttyname_r(fd: i32, out: Any, len: usize) -> i32, |error| if error == 0 { note::fact(fact::SESSION) };
}

before! {
    fn secure_getenv(name: CText) -> *mut u8, note::variable(name);
    fn __secure_getenv(name: CText) -> *mut u8, note::variable(name);
    fn setlocale(category: i32, name: CText) -> *mut u8, locale(name);
    fn newlocale(mask: i32, name: CText, base: Any) -> Any, locale(name);
    fn __newlocale(mask: i32, name: CText, base: Any) -> Any, locale(name);
    fn bindtextdomain(domain: CText, directory: CText) -> *mut u8, note::text_domain(domain, directory);
    fn textdomain(name: CText) -> *mut u8, domain(name);
    fn dgettext(name: CText, text: CText) -> *mut u8, domain(name);
    fn dcgettext(name: CText, text: CText, category: i32) -> *mut u8, domain(name);
    fn dngettext(name: CText, one: CText, more: CText, n: usize) -> *mut u8, domain(name);
    fn dcngettext(name: CText, one: CText, more: CText, n: usize, category: i32) -> *mut u8, domain(name);
    fn catopen(name: CText, flags: i32) -> *mut u8, note::incomplete(b"opened a message catalogue", raw::bytes(name));
    fn getopt(count: i32, arguments: Any, options: CText) -> i32, posix();
    fn getopt_long(count: i32, arguments: Any, options: CText, long: Any, index: Any) -> i32, posix();
    fn getopt_long_only(count: i32, arguments: Any, options: CText, long: Any, index: Any) -> i32, posix();
    fn get_current_dir_name() -> *mut u8, { note::variable(c"PWD".as_ptr().cast()); note::directory_for(note::UNKNOWN) };
    fn getwd(out: *mut u8) -> *mut u8, note::directory_for(note::UNKNOWN);
    fn __getcwd_chk(out: *mut u8, len: usize, room: usize) -> *mut u8, note::directory_for(note::UNKNOWN);
    fn localtime(time: Any) -> Any, note::fact(fact::LOCAL_TIME);
    fn localtime_r(time: Any, out: Any) -> Any, note::fact(fact::LOCAL_TIME);
    fn ctime(time: Any) -> *mut u8, note::fact(fact::LOCAL_TIME);
    fn ctime_r(time: Any, out: Any) -> *mut u8, note::fact(fact::LOCAL_TIME);
    fn mktime(time: Any) -> isize, note::fact(fact::LOCAL_TIME);
    fn timelocal(time: Any) -> isize, note::fact(fact::LOCAL_TIME);
    fn gmtime(time: Any) -> Any, note::fact(fact::ZONE);
    fn gmtime_r(time: Any, out: Any) -> Any, note::fact(fact::ZONE);
    fn timegm(time: Any) -> isize, note::fact(fact::ZONE);
    fn tzset() -> (), note::fact(fact::ZONE);
    fn strftime(out: Any, len: usize, format: CText, time: Any) -> isize, note::fact(fact::ZONE);
    fn strftime_l(out: Any, len: usize, format: CText, time: Any, locale: Any) -> isize, note::fact(fact::ZONE);
    fn getdate(text: CText) -> Any, note::incomplete(b"called getdate", b"");
    fn getdate_r(text: CText, out: Any) -> i32, note::incomplete(b"called getdate", b"");
    fn connect(socket: i32, address: Any, len: u32) -> i32, note::fact(fact::NETWORK);
    fn __connect(socket: i32, address: Any, len: u32) -> i32, note::fact(fact::NETWORK);
    fn bind(socket: i32, address: Any, len: u32) -> i32, note::fact(fact::NETWORK);
    fn sendto(socket: i32, from: Any, len: usize, flags: i32, to: Any, to_len: u32) -> isize, if !to.is_null() { note::fact(fact::NETWORK) };
    fn getnameinfo(address: Any, len: u32, host: Any, host_len: u32, service: Any, service_len: u32, flags: i32) -> i32, note::fact(fact::NETWORK);
    fn gethostbyaddr(address: Any, len: u32, family: i32) -> Any, note::fact(fact::NETWORK);
    fn gethostbyname_r(name: CText, out: Any, room: Any, len: usize, found: Any, error: Any) -> i32, note::fact(fact::NETWORK);
    fn gethostbyname2_r(name: CText, family: i32, out: Any, room: Any, len: usize, found: Any, error: Any) -> i32, note::fact(fact::NETWORK);
    fn gethostent() -> Any, note::fact(fact::NETWORK);
    fn getservbyname(name: CText, protocol: CText) -> Any, note::fact(fact::NETWORK);
    fn getservbyport(port: i32, protocol: CText) -> Any, note::fact(fact::NETWORK);
    fn getprotobyname(name: CText) -> Any, note::fact(fact::NETWORK);
    fn getnetbyname(name: CText) -> Any, note::fact(fact::NETWORK);
    fn getaddrinfo(node: CText, service: CText, hints: Any, out: Any) -> i32, note::fact(fact::NETWORK);
    fn gethostbyname(name: CText) -> Any, note::fact(fact::NETWORK);
    fn gethostbyname2(name: CText, family: i32) -> Any, note::fact(fact::NETWORK);
    fn getpwuid(user: u32) -> Any, note::fact(fact::USERS);
    fn getpwnam(name: CText) -> Any, note::fact(fact::USERS);
    fn getpwuid_r(user: u32, out: Any, room: Any, len: usize, found: Any) -> i32, note::fact(fact::USERS);
    fn getpwnam_r(name: CText, out: Any, room: Any, len: usize, found: Any) -> i32, note::fact(fact::USERS);
    fn getgrgid(group: u32) -> Any, note::fact(fact::USERS);
    fn getgrnam(name: CText) -> Any, note::fact(fact::USERS);
    fn getgrgid_r(group: u32, out: Any, room: Any, len: usize, found: Any) -> i32, note::fact(fact::USERS);
    fn getgrnam_r(name: CText, out: Any, room: Any, len: usize, found: Any) -> i32, note::fact(fact::USERS);
    fn getgrouplist(user: CText, group: u32, out: Any, count: Any) -> i32, note::fact(fact::USERS);
    fn getpwent() -> Any, note::fact(fact::USERS);
    fn getgrent() -> Any, note::fact(fact::USERS);
    fn getpw(user: u32, out: Any) -> i32, note::fact(fact::USERS);
    fn getspnam(name: CText) -> Any, note::incomplete(b"asked for a password", b"");
    fn getpass(prompt: CText) -> *mut u8, note::incomplete(b"asked for a password", b"");
    fn gethostname(out: Any, len: usize) -> i32, note::fact(fact::HOST);
    fn getdomainname(out: Any, len: usize) -> i32, note::fact(fact::HOST);
    fn __gethostname_chk(out: Any, len: usize, room: usize) -> i32, note::fact(fact::HOST);
    fn gethostid() -> isize, note::fact(fact::HOST);
    fn uname(out: Any) -> i32, note::fact(fact::HOST);
    fn getlogin() -> *mut u8, note::fact(fact::SESSION);
    fn getlogin_r(out: Any, len: usize) -> i32, note::fact(fact::SESSION);
    fn __getlogin_r_chk(out: Any, len: usize, room: usize) -> i32, note::fact(fact::SESSION);
    fn cuserid(out: Any) -> *mut u8, note::fact(fact::SESSION);
    fn getutent() -> Any, note::fact(fact::SESSION);
    fn getutxent() -> Any, note::fact(fact::SESSION);
    fn __clock_gettime(which: i32, out: Any) -> i32, read_clock(which);
    fn __gettimeofday(out: Any, zone: Any) -> i32, note::fact(fact::CLOCK);
    fn timespec_get(out: Any, base: i32) -> i32, note::fact(fact::CLOCK);
    fn ftime(out: Any) -> i32, note::fact(fact::CLOCK);
    fn clock() -> isize, note::fact(fact::CLOCK);
    fn times(out: Any) -> isize, note::fact(fact::CLOCK);
    fn getrusage(who: i32, out: Any) -> i32, note::fact(fact::CLOCK);
    fn getrandom(out: Any, len: usize, flags: u32) -> isize, note::fact(fact::RANDOM);
    fn getentropy(out: Any, len: usize) -> i32, note::fact(fact::RANDOM);
    fn arc4random() -> i32, note::fact(fact::RANDOM);
    fn arc4random_uniform(end: u32) -> i32, note::fact(fact::RANDOM);
    fn __getpid() -> i32, note::fact(fact::PROCESS);
    fn getppid() -> i32, note::fact(fact::PROCESS);
    fn gettid() -> i32, note::fact(fact::PROCESS);
    fn getpgrp() -> i32, note::fact(fact::PROCESS);
    fn getpgid(process: i32) -> i32, note::fact(fact::PROCESS);
    fn __getpgid(process: i32) -> i32, note::fact(fact::PROCESS);
    fn getsid(process: i32) -> i32, note::fact(fact::PROCESS);
    fn sysinfo(out: Any) -> i32, note::fact(fact::SYSTEM);
    fn getloadavg(out: Any, count: i32) -> i32, note::fact(fact::SYSTEM);
    fn fstatfs(fd: i32, out: Any) -> i32, note::fact(fact::SYSTEM);
    fn fstatfs64(fd: i32, out: Any) -> i32, note::fact(fact::SYSTEM);
    fn fstatvfs(fd: i32, out: Any) -> i32, note::fact(fact::SYSTEM);
    fn fstatvfs64(fd: i32, out: Any) -> i32, note::fact(fact::SYSTEM);
    fn iconv_open(to: CText, from: CText) -> Any, note::fact(fact::ICONV);
    fn iconv_close(conversion: Any) -> i32, note::mapped_objects();
}
