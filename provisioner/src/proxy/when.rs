//! When is that, for the person who reads it? Local time with its zone, and how long from now.
//!
//! Pure: the moment, now and the zone are arguments.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

/// A moment to come, such as `14:03 KST, in 41 min`; with its day, where that is not today.
#[must_use]
pub fn ahead(moment: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    format!("{}, in {}", local(moment, now, zone), words(moment.duration_since(now)))
}

/// A moment in local time, with its day, where that is not today.
#[must_use]
pub fn local(moment: Timestamp, now: Timestamp, zone: &TimeZone) -> String {
    let (then, today) = (moment.to_zoned(zone.clone()), now.to_zoned(zone.clone()));
    let form = match (then.date() == today.date(), then.year() == today.year()) {
        (true, _) => "%H:%M %Z",
        (false, true) => "%a %-d %b %H:%M %Z",
        (false, false) => "%-d %b %Y %H:%M %Z",
    };
    then.strftime(form).to_string()
}

/// How long, rounded up: nobody is told to come back too early.
#[must_use]
pub fn words(left: SignedDuration) -> String {
    let seconds = left.as_secs().max(0) + i64::from(left.subsec_nanos() > 0);
    let minutes = seconds.unsigned_abs().div_ceil(60);
    match (seconds, minutes) {
        (..=90, _) => format!("{} s", seconds.max(0)),
        (_, ..=90) => format!("{minutes} min"),
        _ => format!("{} h {:02} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz;

    use super::*;

    #[test]
    fn a_moment_is_told_in_local_time_and_from_now() {
        let zone = TimeZone::fixed(tz::offset(9));
        let now = "2026-11-26T04:22:00.5Z".parse().unwrap();
        let told = |moment: &str| ahead(moment.parse().unwrap(), now, &zone);
        assert_eq!(told("2026-11-26T05:03:00Z"), "14:03 +09, in 41 min");
        assert_eq!(told("2026-11-26T04:22:30Z"), "13:22 +09, in 30 s");
        assert_eq!(told("2026-11-26T15:00:00Z"), "Fri 27 Nov 00:00 +09, in 10 h 38 min");
        assert_eq!(told("2027-01-01T15:00:00Z"), "2 Jan 2027 00:00 +09, in 874 h 38 min");
    }

    #[test]
    fn how_long_is_rounded_up() {
        let told = |millis| words(SignedDuration::from_millis(millis));
        assert_eq!([told(-5), told(1), told(90_000)], ["0 s", "1 s", "90 s"]);
        assert_eq!([told(90_001), told(5_400_000)], ["2 min", "90 min"]);
        assert_eq!([told(5_400_001), told(7_200_000)], ["1 h 31 min", "2 h 00 min"]);
    }
}
