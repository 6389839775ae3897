//! Which system calls are harmless, and the numbers of those that only some machines have.
//!
//! A call that is neither harmless nor decoded (`seccomp/calls.rs`) makes the observation incomplete.

#[cfg(target_arch = "x86_64")]
mod own {
    pub const OPEN: i64 = libc::SYS_open;
    pub const CREAT: i64 = libc::SYS_creat;
    pub const STAT: i64 = libc::SYS_stat;
    pub const LSTAT: i64 = libc::SYS_lstat;
    pub const ACCESS: i64 = libc::SYS_access;
    pub const READLINK: i64 = libc::SYS_readlink;
    pub const GETDENTS: i64 = libc::SYS_getdents;
    pub const RENAME: i64 = libc::SYS_rename;
    pub const RENAMEAT: i64 = libc::SYS_renameat;
    pub const LINK: i64 = libc::SYS_link;
    pub const UNLINK: i64 = libc::SYS_unlink;
    pub const RMDIR: i64 = libc::SYS_rmdir;
    pub const MKDIR: i64 = libc::SYS_mkdir;
    pub const MKNOD: i64 = libc::SYS_mknod;
    pub const SYMLINK: i64 = libc::SYS_symlink;
    pub const CHMOD: i64 = libc::SYS_chmod;
    pub const CHOWN: i64 = libc::SYS_chown;
    pub const LCHOWN: i64 = libc::SYS_lchown;
    pub const UTIME: i64 = libc::SYS_utime;
    pub const UTIMES: i64 = libc::SYS_utimes;
    pub const FUTIMESAT: i64 = libc::SYS_futimesat;
    pub const DUP2: i64 = libc::SYS_dup2;
    pub const TIME: i64 = libc::SYS_time;
    pub const GETPGRP: i64 = libc::SYS_getpgrp;
    /// Harmless calls that only this machine has.
    pub const HARMLESS: &[i64] = &[
        libc::SYS_poll,
        libc::SYS_pipe,
        libc::SYS_select,
        libc::SYS_pause,
        libc::SYS_alarm,
        libc::SYS_fork,
        libc::SYS_vfork,
        libc::SYS_arch_prctl,
        libc::SYS_epoll_create,
        libc::SYS_epoll_wait,
        libc::SYS_signalfd,
        libc::SYS_eventfd,
        // Gives new programs an address space of another layout.
        libc::SYS_personality,
    ];
}

#[cfg(not(target_arch = "x86_64"))]
mod own {
    // No such calls here: numbers that no call has.
    pub const OPEN: i64 = -1;
    pub const CREAT: i64 = -2;
    pub const STAT: i64 = -3;
    pub const LSTAT: i64 = -4;
    pub const ACCESS: i64 = -5;
    pub const READLINK: i64 = -6;
    pub const GETDENTS: i64 = -7;
    pub const RENAME: i64 = -8;
    pub const RENAMEAT: i64 = -23;
    pub const LINK: i64 = -9;
    pub const UNLINK: i64 = -10;
    pub const RMDIR: i64 = -11;
    pub const MKDIR: i64 = -12;
    pub const MKNOD: i64 = -13;
    pub const SYMLINK: i64 = -14;
    pub const CHMOD: i64 = -15;
    pub const CHOWN: i64 = -16;
    pub const LCHOWN: i64 = -17;
    pub const UTIME: i64 = -18;
    pub const UTIMES: i64 = -19;
    pub const FUTIMESAT: i64 = -20;
    pub const DUP2: i64 = -21;
    pub const TIME: i64 = -22;
    pub const GETPGRP: i64 = -24;
    /// Harmless calls that only this machine has.
    pub const HARMLESS: &[i64] = &[libc::SYS_personality];
}

pub use own::{
    ACCESS, CHMOD, CHOWN, CREAT, DUP2, FUTIMESAT, GETDENTS, GETPGRP, LCHOWN, LINK, LSTAT, MKDIR,
    MKNOD, OPEN, READLINK, RENAME, RENAMEAT, RMDIR, STAT, SYMLINK, TIME, UNLINK, UTIME, UTIMES,
};

/// Not in libc's table of every machine.
pub const FCHMODAT2: i64 = linux_raw_sys::general::__NR_fchmodat2 as i64;

/// Calls that neither name a file nor answer anything that could be in a result: memory, waiting, signals, threads, and what
/// is done with descriptors that were opened before.
const HARMLESS: &[i64] = &[
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_readv,
    libc::SYS_writev,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_preadv,
    libc::SYS_pwritev,
    libc::SYS_preadv2,
    libc::SYS_pwritev2,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_ioctl,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_readahead,
    libc::SYS_sendfile,
    libc::SYS_splice,
    libc::SYS_tee,
    libc::SYS_vmsplice,
    libc::SYS_copy_file_range,
    libc::SYS_fgetxattr,
    libc::SYS_flistxattr,
    libc::SYS_getcwd,
    libc::SYS_umask,
    libc::SYS_dup,
    libc::SYS_pipe2,
    libc::SYS_memfd_create,
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_mlock2,
    libc::SYS_munlock,
    libc::SYS_mlockall,
    libc::SYS_munlockall,
    libc::SYS_brk,
    libc::SYS_mbind,
    libc::SYS_set_mempolicy,
    libc::SYS_get_mempolicy,
    libc::SYS_pkey_alloc,
    libc::SYS_pkey_free,
    libc::SYS_pkey_mprotect,
    libc::SYS_membarrier,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigqueueinfo,
    libc::SYS_rt_tgsigqueueinfo,
    libc::SYS_rt_sigsuspend,
    libc::SYS_sigaltstack,
    libc::SYS_signalfd4,
    libc::SYS_kill,
    libc::SYS_tkill,
    libc::SYS_tgkill,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_send_signal,
    libc::SYS_restart_syscall,
    // Never held up: without an answer a thread would try to end for ever.
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_wait4,
    libc::SYS_waitid,
    libc::SYS_set_tid_address,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_futex,
    libc::SYS_futex_waitv,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getresuid,
    libc::SYS_getresgid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    libc::SYS_setpgid,
    libc::SYS_setsid,
    libc::SYS_getrlimit,
    libc::SYS_setrlimit,
    libc::SYS_prlimit64,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_ioprio_get,
    libc::SYS_ioprio_set,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_setaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_setparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_setscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_sched_getattr,
    libc::SYS_sched_setattr,
    libc::SYS_getcpu,
    libc::SYS_prctl,
    libc::SYS_nanosleep,
    libc::SYS_clock_nanosleep,
    libc::SYS_clock_getres,
    libc::SYS_getitimer,
    libc::SYS_setitimer,
    libc::SYS_timer_create,
    libc::SYS_timer_settime,
    libc::SYS_timer_gettime,
    libc::SYS_timer_getoverrun,
    libc::SYS_timer_delete,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_settime,
    libc::SYS_timerfd_gettime,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_eventfd2,
    // Of sockets only how they come to be and to a peer counts.
    libc::SYS_socketpair,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_setsockopt,
    libc::SYS_getsockopt,
];

/// What is asked of the kernel that is another at each run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Question {
    /// `time`.
    Time,
    /// The time by another way.
    Clock,
    /// Random numbers.
    Random,
    /// The number of a process.
    Process,
    /// The state of the machine.
    System,
    /// Its name.
    Host,
}

/// All calls that pass unseen.
pub fn harmless() -> Vec<i64> {
    [HARMLESS, own::HARMLESS].concat()
}

/// What a call asks that is another at each run.
pub fn asks(number: i64) -> Option<Question> {
    Some(match number {
        TIME => Question::Time,
        libc::SYS_gettimeofday
        | libc::SYS_clock_gettime
        | libc::SYS_times
        | libc::SYS_getrusage => Question::Clock,
        libc::SYS_getrandom => Question::Random,
        libc::SYS_getpid
        | libc::SYS_gettid
        | libc::SYS_getppid
        | libc::SYS_getpgid
        | libc::SYS_getsid
        | GETPGRP => Question::Process,
        // What another process says; `fakeroot` asks its own about owners.
        libc::SYS_sysinfo
        | libc::SYS_fstatfs
        | libc::SYS_msgget
        | libc::SYS_msgsnd
        | libc::SYS_msgrcv
        | libc::SYS_msgctl
        | libc::SYS_semget
        | libc::SYS_semop
        | libc::SYS_semtimedop
        | libc::SYS_semctl => Question::System,
        libc::SYS_uname => Question::Host,
        _ => return None,
    })
}
