//! Times as they are typed: an age, a date, seconds since the epoch.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

/// From when on something was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago, from now.
    Ago(Duration),
    /// Seconds since the epoch.
    At(u64),
}

impl Since {
    /// In seconds since the epoch.
    pub fn seconds(self) -> u64 {
        match self {
            Since::At(seconds) => seconds,
            Since::Ago(age) => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                now.saturating_sub(age).as_secs()
            }
        }
    }
}

/// The least number that is a time and not a mistake: in 2001.
const UNIX_TIME_MIN: u64 = 1_000_000_000;

/// `2h`, `2026-11-29T13:44:41Z`, `2026-11-29` (in UTC) or seconds since the epoch.
pub fn parse_since(text: &str) -> Result<Since, String> {
    let refused = || {
        format!(
            "`{text}` is not a time, such as `2h`, `3d`, `2026-11-29T13:44:41Z` or `1796046281`"
        )
    };
    if let Ok(seconds) = text.parse::<u64>() {
        return if seconds < UNIX_TIME_MIN { Err(refused()) } else { Ok(Since::At(seconds)) };
    }
    if text.ends_with(['d', 'h', 'm', 's']) {
        return parse_age(text).map(Since::Ago).map_err(|_| refused());
    }
    parse_date(text).map(Since::At).ok_or_else(refused)
}

/// A date, in UTC, or a time of RFC 3339.
fn parse_date(text: &str) -> Option<u64> {
    let midnight = || text.parse::<Date>().ok()?.to_zoned(TimeZone::UTC).ok();
    let is_date = text.len() == "2026-11-29".len();
    let at = if is_date { midnight()?.timestamp() } else { text.parse::<Timestamp>().ok()? };
    u64::try_from(at.as_second()).ok()
}

/// A time such as `30d`, `12h`, `45m` or `10s`; a bare number is days.
pub fn parse_age(text: &str) -> Result<Duration, String> {
    let refused = || format!("`{text}` is not a time, such as `30d`, `12h`, `45m` or `10s`");
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit_s: u64 = match unit {
        "" | "d" => 24 * 60 * 60,
        "h" => 60 * 60,
        "m" => 60,
        "s" => 1,
        _ => return Err(refused()),
    };
    let number: u64 = number.parse().map_err(|_| refused())?;
    number.checked_mul(unit_s).map(Duration::from_secs).ok_or_else(refused)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages() {
        for (text, seconds) in [("30d", 2_592_000), ("2", 172_800), ("1h", 3600), ("0s", 0)] {
            assert_eq!(parse_age(text).map(|age| age.as_secs()), Ok(seconds), "{text}");
        }
        for text in ["", "d", "-1d", "1y", "1.5h", "99999999999999999999d"] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }

    #[test]
    fn times_as_they_are_typed() {
        let hours = |hours| Since::Ago(Duration::from_hours(hours));
        for (text, since) in [
            ("2h", hours(2)),
            ("3d", hours(72)),
            ("45m", Since::Ago(Duration::from_mins(45))),
            ("1796046281", Since::At(1_796_046_281)),
            ("1970-01-01", Since::At(0)),
            ("2000-02-29T00:00:00Z", Since::At(951_782_400)),
            ("2026-11-29T13:44:41Z", Since::At(1_795_959_881)),
            ("2026-11-29t13:44:41.123z", Since::At(1_795_959_881)),
            ("2026-11-29 15:44:41+02:00", Since::At(1_795_959_881)),
            ("2026-11-29T05:14:41-08:30", Since::At(1_795_959_881)),
            ("2100-03-01", Since::At(4_107_542_400)),
        ] {
            assert_eq!(parse_since(text), Ok(since), "{text}");
        }
        for text in [
            "",
            "3",
            "h",
            "-2h",
            "1y",
            "soon",
            "yesterday",
            "2026-11-31",
            "2026-13-01",
            "2025-02-29",
            "2100-02-29",
            "2026-11-29T",
            "2026-11-29T13:44",
            "2026-11-29T13:44:41",
            "2026-11-29T13:44:41.Z",
            "2026-11-29T24:00:00Z",
            "2026-11-29T13:44:41Zx",
            "2026/11/29",
            "1970-01-01T00:00:00+01:00",
            "é",
            "2026-11-2é",
        ] {
            assert!(parse_since(text).is_err(), "{text}");
        }
    }
}
