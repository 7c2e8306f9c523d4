//! What may a user spend otherwise than everybody? Stands with each of their proxy keys.
//!
//! What was typed, and what comes of it, is pure. A key is changed only while it is as it was read,
//! so that nobody's change is lost and no key that somebody has removed comes back.

use std::collections::BTreeSet;
use std::str::FromStr;

use function::caller::User;
use function::failover::cooldown::Timestamp;
use function::money::budget::{Caps, Exception};
use function::money::{MicroDollars, Period};
use function::settings::dollars;
use function::store::dynamo::item::{self, EXCEPTION, Item};
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::aws::{CloudError, Kind, Reader, Writer};
use crate::proxy::items::Items;

/// A cap as it is typed: `25/month`, `5/day`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cap {
    amount: MicroDollars,
    is_month: bool,
}

impl FromStr for Cap {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (amount, period) = text
            .split_once('/')
            .ok_or("a cap is written AMOUNT/month or AMOUNT/day, such as 25/month")?;
        let is_month = match period {
            "month" => true,
            "day" => false,
            _ => return Err("a cap is of a month or of a day: 25/month, 5/day".to_owned()),
        };
        Ok(Self { amount: dollars(amount)?, is_month })
    }
}

/// When an exception ends, as it is typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Until {
    /// With this day, by the clock of the budgets.
    Day(Date),
    Moment(Timestamp),
}

impl FromStr for Until {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let moment = text.parse().map(Self::Moment);
        // A date may be written in more ways than people would guess.
        let day = if text.len() == 10 { text.parse().map(Self::Day).ok() } else { None };
        day.or(moment.ok())
            .ok_or("is neither a day (2026-12-31, which is the last one) nor a moment (RFC 3339)")
    }
}

impl Until {
    fn moment(self, zone: &TimeZone) -> Option<Timestamp> {
        match self {
            Self::Moment(moment) => Some(moment),
            Self::Day(day) => {
                let next = day.tomorrow().ok()?.to_zoned(zone.clone()).ok()?;
                Some(next.timestamp())
            }
        }
    }
}

/// What is to be different; what is not named stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wish {
    pub caps: Caps,
    /// In this month only.
    pub extra: Option<MicroDollars>,
    pub until: Option<Until>,
}

/// A day and its clock.
#[derive(Debug, Clone)]
pub struct Today {
    pub at: Timestamp,
    pub zone: TimeZone,
}

impl Today {
    /// The day that it is.
    #[must_use]
    pub fn period(&self) -> Period {
        Period::at(self.at, &self.zone)
    }
}

impl Wish {
    /// Puts together what was typed.
    ///
    /// # Errors
    ///
    /// In a sentence: nothing is asked for, or two caps of the same kind.
    pub fn of(
        caps: &[Cap],
        extra: Option<MicroDollars>,
        until: Option<Until>,
    ) -> Result<Self, &'static str> {
        let mut wish = Self { caps: Caps::default(), extra, until };
        for Cap { amount, is_month } in caps {
            let cap = if *is_month { &mut wish.caps.month } else { &mut wish.caps.day };
            if cap.replace(*amount).is_some() {
                return Err("there are two caps for the same period: say one");
            }
        }
        if wish == Self::default() {
            return Err("say what may be spent: 25/month, 5/day, --extra 5, or --until a day");
        }
        Ok(wish)
    }

    /// What comes of it where `before` holds. An exception that is over is none, and what was
    /// granted for another month is nothing.
    ///
    /// # Errors
    ///
    /// In a sentence: its end is over already, or there is nothing that could end.
    pub fn over(&self, before: Exception, now: &Today) -> Result<Exception, String> {
        let is_over = before.until.is_some_and(|until| until <= now.at);
        let mut new = if is_over { Exception::default() } else { before };
        let month = now.period().month();
        if new.extra_month != month {
            (new.extra, new.extra_month) = (MicroDollars::default(), String::new());
        }
        new.caps.month = self.caps.month.or(new.caps.month);
        new.caps.day = self.caps.day.or(new.caps.day);
        if let Some(extra) = self.extra {
            let granted = extra > MicroDollars::default();
            (new.extra, new.extra_month) = (extra, if granted { month } else { String::new() });
        }
        if let Some(until) = self.until {
            let until = until.moment(&now.zone).ok_or("that day has no end that can be told")?;
            if until <= now.at {
                return Err(format!("--until: {until} is over already"));
            }
            new.until = Some(until);
        }
        if is_usual(&Exception { until: None, ..new.clone() }) {
            return match self.until {
                Some(_) => Err("there is no exception that could end".to_owned()),
                None => Ok(Exception::default()),
            };
        }
        Ok(new)
    }
}

/// Whether a user may spend what everybody may.
#[must_use]
pub fn is_usual(exception: &Exception) -> bool {
    *exception == Exception::default()
}

/// What of an exception holds now; `None` where that is what everybody may spend.
#[must_use]
pub fn in_force(exception: Exception, now: &Today) -> Option<Exception> {
    let is_over = exception.until.is_some_and(|until| until <= now.at);
    let mut held = exception;
    if held.extra_month != now.period().month() {
        (held.extra, held.extra_month) = (MicroDollars::default(), String::new());
    }
    (!is_over && !is_usual(&Exception { until: None, ..held.clone() })).then_some(held)
}

/// A proxy key with all that stands there.
#[derive(Debug, Clone, PartialEq)]
pub struct KeyItem {
    pub stored: item::StoredKey,
    item: Item,
}

impl KeyItem {
    /// What its owner may spend; `None` where that cannot be read, which is nothing at all.
    #[must_use]
    pub fn exception(&self) -> Option<Exception> {
        item::exception(&self.item)
    }

    /// The attributes that say so, as they are.
    #[must_use]
    pub fn attributes(&self) -> Item {
        let pairs = EXCEPTION.into_iter().filter_map(|name| self.item.get_key_value(name));
        pairs.map(|(name, value)| (name.clone(), value.clone())).collect()
    }
}

/// All proxy keys, those of the same owner oldest first.
///
/// # Errors
///
/// If the table cannot be read.
pub async fn keys(items: &Items, cloud: &Reader) -> Result<Vec<KeyItem>, CloudError> {
    let all = items.of_kind(item::KEY, cloud).await?.into_iter();
    let read = |item: Item| Some(KeyItem { stored: item::stored_key(&item)?, item });
    let mut keys: Vec<KeyItem> = all.filter_map(read).collect();
    // Whose age nobody has written down is older than all others.
    keys.sort_by(|a, b| {
        let place = |key: &KeyItem| (key.stored.user.to_string(), key.stored.created_at);
        place(a).cmp(&place(b))
    });
    Ok(keys)
}

/// How often keys are looked at that somebody else changes meanwhile.
const KEY_ROUNDS: usize = 6;

/// Gives all keys of a user the exception that `change` makes of what holds now; how many there
/// are, and which it is. Without a key nothing is done.
///
/// # Errors
///
/// What `change` says, in a sentence, or why a key could not be read or written.
pub async fn change(
    user: &User,
    change: impl Fn(Exception) -> Result<Exception, String>,
    items: &Items,
    cloud: &Writer,
) -> Result<Result<(usize, Exception), String>, CloudError> {
    let mut done = BTreeSet::new();
    let mut wanted = Exception::default();
    for _ in 0..KEY_ROUNDS {
        let mut theirs = keys(items, cloud.reader()).await?;
        theirs.retain(|key| key.stored.user == *user);
        let Some(first) = theirs.first() else { return Ok(Ok((0, wanted))) };
        if done.is_empty() {
            // What cannot be read is nobody's wish.
            wanted = match change(first.exception().unwrap_or_default()) {
                Ok(wanted) => wanted,
                Err(why) => return Ok(Err(why)),
            };
        }
        let new = written(&wanted);
        let left: Vec<&KeyItem> =
            theirs.iter().filter(|key| !done.contains(&key.stored.digest)).collect();
        if left.is_empty() {
            return Ok(Ok((theirs.len(), wanted)));
        }
        for key in left {
            if key.attributes() == new || items.replace(&key.item, &EXCEPTION, &new, cloud).await? {
                done.insert(key.stored.digest);
            }
        }
    }
    Err(CloudError::new(Kind::Busy, "somebody else changes these keys all the time"))
}

/// Gives a key the exception that another one has, if it has not.
///
/// # Errors
///
/// If it cannot be written.
pub async fn align(
    key: &KeyItem,
    other: &KeyItem,
    items: &Items,
    cloud: &Writer,
) -> Result<(), CloudError> {
    let new = other.attributes();
    if key.attributes() != new {
        // Who was quicker has said what holds.
        items.replace(&key.item, &EXCEPTION, &new, cloud).await?;
    }
    Ok(())
}

fn written(exception: &Exception) -> Item {
    let pairs = item::exception_attributes(exception).into_iter();
    pairs.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cap_is_an_amount_and_a_period_and_nothing_else() {
        let read = |text: &str| text.parse::<Cap>();
        assert_eq!(read("25/month"), Ok(Cap { amount: MicroDollars(25_000_000), is_month: true }));
        assert_eq!(read("0.5/day"), Ok(Cap { amount: MicroDollars(500_000), is_month: false }));
        assert_eq!(read("0/month").unwrap().amount, MicroDollars(0));
        for text in [
            "",
            "25",
            "/month",
            "25/",
            "25/week",
            "1/Month",
            "25/month/day",
            "-1/month",
            "1e9/day",
            "NaN/day",
            "inf/day",
            "$5/day",
            "5,5/day",
            " 5/day",
            "5/day ",
            "0.0000001/day",
            "100000001/month",
            "99999999999999999999/month",
            "٥/day",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_asked_for_is_something_and_no_contradiction() {
        let caps = ["25/month", "5/day"].map(|text| text.parse::<Cap>().unwrap());
        let wish = Wish::of(&caps, None, None).unwrap();
        assert_eq!(wish.caps, of(25, Some(5)));
        assert!(Wish::of(&[caps[0], caps[0]], None, None).is_err());
        assert!(Wish::of(&[], None, None).is_err());
        assert!(Wish::of(&[], Some(MicroDollars(0)), None).is_ok());
    }

    #[test]
    fn what_is_not_named_stays_and_what_is_over_is_none() {
        let before = Exception { caps: of(25, Some(5)), ..Exception::default() };
        let wish = |month: Option<u64>, extra: Option<u64>, until: Option<&str>| Wish {
            caps: Caps { month: month.map(usd), day: None },
            extra: extra.map(usd),
            until: until.map(|until| until.parse().unwrap()),
        };
        let over = |wish: &Wish, before: &Exception| wish.over(before.clone(), &now());
        let raised = over(&wish(Some(30), None, None), &before).unwrap();
        assert_eq!(raised.caps, of(30, Some(5)));
        let more = over(&wish(None, Some(5), None), &before).unwrap();
        assert_eq!(
            (more.caps, more.extra, more.extra_month.as_str()),
            (before.caps, usd(5), "2026-12")
        );
        // The clock of Seoul has the next month already, and the day ends with it.
        let ending = over(&wish(None, None, Some("2026-12-31")), &before).unwrap();
        assert_eq!(ending.until, "2026-12-31T15:00:00Z".parse().ok());
        let old = Exception { until: "2026-11-30T15:00:00Z".parse().ok(), ..before.clone() };
        assert_eq!(over(&wish(Some(30), None, None), &old).unwrap().caps, of(30, None));
        let earlier = Exception { extra: usd(9), extra_month: "2026-11".into(), ..before };
        assert_eq!(over(&wish(Some(30), None, None), &earlier).unwrap().extra, usd(0));
        for (wish, before) in [
            (wish(None, None, Some("2026-11-30")), &before),
            (wish(None, None, Some("2026-11-30T15:30:00Z")), &before),
            (wish(None, None, Some("2026-12-31")), &Exception::default()),
        ] {
            assert!(over(&wish, before).is_err(), "{wish:?}");
        }
        let none = over(&wish(None, Some(0), None), &Exception::default()).unwrap();
        assert!(is_usual(&none), "{none:?}");
    }

    #[test]
    fn an_end_is_a_day_or_a_moment() {
        for text in ["2026-12-31", "2026-12-31T12:00:00Z", "2026-12-31T12:00:00+09:00"] {
            assert!(text.parse::<Until>().is_ok(), "{text}");
        }
        for text in
            ["", "tomorrow", "2026-13-01", "2026-02-30", "31.12.2026", "2026-12", "20261231"]
        {
            assert!(text.parse::<Until>().is_err(), "{text}");
        }
        assert_eq!(Until::Day(Date::MAX).moment(&TimeZone::UTC), None);
    }

    fn now() -> Today {
        let at = "2026-11-30T15:30:00Z".parse().unwrap();
        Today { at, zone: TimeZone::get("Asia/Seoul").unwrap() }
    }

    fn usd(dollars: u64) -> MicroDollars {
        MicroDollars(dollars * 1_000_000)
    }

    fn of(month: u64, day: Option<u64>) -> Caps {
        Caps { month: Some(usd(month)), day: day.map(usd) }
    }
}
