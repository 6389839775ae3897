//! The day as the user's clock shows it.

use std::mem::MaybeUninit;

/// When the day began in which `now_s` (seconds since the epoch) lies, by the time zone of this process.
pub fn midnight_s(now_s: i64) -> i64 {
    let mut day = MaybeUninit::<libc::tm>::zeroed();
    // SAFETY: both pointers are to our own values; there is one thread that knows the time zone.
    let is_known = !unsafe { libc::localtime_r(&raw const now_s, day.as_mut_ptr()) }.is_null();
    if !is_known {
        return now_s - now_s.rem_euclid(24 * 60 * 60);
    }
    // SAFETY: it was filled in, and zero before.
    let mut day = unsafe { day.assume_init() };
    (day.tm_hour, day.tm_min, day.tm_sec, day.tm_isdst) = (0, 0, 0, -1);
    // SAFETY: a whole `tm` of our own.
    unsafe { libc::mktime(&raw mut day) }
}

#[cfg(test)]
mod tests {
    use super::midnight_s;

    #[test]
    fn the_day_has_begun() {
        for now in [1_700_000_000, 1_795_975_647] {
            let began = midnight_s(now);
            assert!(began <= now && now - began <= 25 * 60 * 60, "{now}: {began}");
            assert_eq!(midnight_s(began), began);
        }
    }
}
