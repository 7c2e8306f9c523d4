//! `limits`: who is limited, on what, until when, and how Bedrock has stood in.
//!
//! `limits clear` takes limits away, never proofs.

use function::clock;
use function::failover::cooldown::Timestamp;
use function::store::dynamo::item;
use jiff::tz::TimeZone;

use super::deployed::{Deployed, partly};
use super::{Exit, Failure, Session};
use crate::aws::CloudError;
use crate::cli::LimitsCommand;
use crate::proxy::answers;
use crate::proxy::limits::{HEADS, Limit, in_force};
use crate::view::columns::columns;
use crate::view::money;

pub(super) async fn run(
    session: &mut Session,
    command: Option<LimitsCommand>,
) -> Result<Exit, Failure> {
    match command {
        None => list(session).await,
        Some(LimitsCommand::Clear { who }) => clear(session, &who).await,
    }
}

/// How many digits of a fingerprint are asked for at least.
const FEWEST_DIGITS: usize = 8;

async fn list(session: &mut Session) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let items = deployed.items().await?;
    let read = async {
        let mut limits = in_force(&items, clock::now(), &deployed.reader).await?;
        let unread = count(&deployed, &mut limits).await.err();
        Ok((limits, unread))
    };
    let (limits, unread) = session.unless_stopped(read).await?;
    session.report.insert("limits".to_owned(), limits.iter().map(Limit::json).collect());
    if let Some(error) = unread {
        session.printer.progress(&format!("note: answers are not counted: {error}"));
    }
    let (now, zone) = (clock::now(), TimeZone::try_system().unwrap_or(TimeZone::UTC));
    session.printer.text(match limits.is_empty() {
        true => "Nobody is limited.".to_owned(),
        false => table(&limits, now, &zone),
    });
    Ok(Exit::Done)
}

/// Looks into the function's log for what Bedrock has answered since each limit began.
async fn count(deployed: &Deployed, limits: &mut [Limit]) -> Result<(), CloudError> {
    let Some(since) = limits.iter().map(|limit| limit.cooldown.recorded_at).min() else {
        return Ok(());
    };
    let all = answers::of_bedrock(&deployed.names.log_group, since, &deployed.reader).await?;
    for limit in limits {
        limit.detour = limit.cooldown.user.is_some().then(|| limit.detour(&all));
    }
    Ok(())
}

/// What a person reads.
fn table(limits: &[Limit], now: Timestamp, zone: &TimeZone) -> String {
    let [user, credential, class, until, why] = HEADS;
    let head = [user, credential, class, until, why, "BY BEDROCK", "USD"];
    let mut rows = vec![head.map(str::to_owned)];
    rows.extend(limits.iter().map(|limit| {
        let [user, credential, class, until, why] = limit.row(now, zone);
        let none = || "–".to_owned();
        let answers = limit.detour.map_or_else(none, |detour| detour.answers.to_string());
        let cost = limit.detour.map_or_else(none, |detour| detour.cost.cents());
        [money::short(&user), credential, class, until, why, answers, cost]
    }));
    columns(&rows).trim_end().to_owned()
}

async fn clear(session: &mut Session, who: &str) -> Result<Exit, Failure> {
    let deployed = Deployed::connect(session).await?;
    let items = deployed.items().await?;
    let theirs = whose(in_force(&items, clock::now(), &deployed.reader).await?, who)?;
    let writer = deployed.writer(session);
    let mut cleared = Vec::new();
    for limit in &theirs {
        let at = item::limit_key(&limit.key);
        items.remove(&at, &writer).await.map_err(|error| partly(error, &writer))?;
        cleared.push(limit.json());
        session.report.insert("cleared".to_owned(), cleared.clone().into());
    }
    let classes: Vec<_> = theirs.iter().map(|limit| limit.models()).collect();
    session.printer.text(format!("{who} is no longer limited on: {}", classes.join(", ")));
    session.printer.progress("A warm instance of the function may go by a limit for 10 s more.");
    Ok(Exit::Done)
}

/// The limits of somebody, by name, or by the first digits of one credential's fingerprint.
fn whose(limits: Vec<Limit>, who: &str) -> Result<Vec<Limit>, Failure> {
    let named = limits.iter().any(|limit| limit.cooldown.user.as_deref() == Some(who));
    let digits = who.len() >= FEWEST_DIGITS && who.bytes().all(|byte| byte.is_ascii_hexdigit());
    let who_lower = who.to_ascii_lowercase();
    let is_theirs = |limit: &Limit| match named {
        true => limit.cooldown.user.as_deref() == Some(who),
        false => digits && limit.key.fingerprint.to_string().starts_with(&who_lower),
    };
    let theirs: Vec<_> = limits.into_iter().filter(is_theirs).collect();
    let Some(first) = theirs.first() else {
        let message = format!("{who} is not limited");
        return Err(Failure::new(Exit::Failed, message)
            .hint("`limits` shows who is; take the name, or 8 digits of the credential"));
    };
    if !named && theirs.iter().any(|limit| limit.key.fingerprint != first.key.fingerprint) {
        let message = format!("{who} begins more than one credential");
        return Err(Failure::new(Exit::Failed, message).hint("give more of its digits"));
    }
    Ok(theirs)
}

#[cfg(test)]
mod tests {
    use function::failover::cooldown::Cooldown;
    use function::failover::identity::{Fingerprint, LimitKey, LimitScope, ModelClass};
    use jiff::SignedDuration;

    use function::money::MicroDollars;

    use super::*;
    use crate::proxy::answers::Answer;
    use crate::proxy::limits::Detour;

    #[test]
    fn a_table_says_who_what_until_when_and_why() {
        let mut limits = [limit(Some("alice"), "sonnet", 0), limit(None, "*", 1)];
        limits[0].detour = Some(Detour { answers: 12, cost: MicroDollars(3_480_000) });
        let zone = TimeZone::fixed(jiff::tz::offset(9));
        insta::assert_snapshot!(table(&limits, now(), &zone), @r"
        USER   CREDENTIAL    CLASS   UNTIL                 WHY          BY BEDROCK  USD
        alice  5feceb66ffc8  sonnet  14:03 +09, in 41 min  retry-after  12          3.48
        –      6b86b273ff34  all     14:03 +09, in 41 min  retry-after  –           –
        ");
    }

    #[test]
    fn only_answers_that_the_limit_was_in_the_way_of_are_counted() {
        let limit_of = limit(Some("alice"), "sonnet", 0);
        let answer = |user: &str, model: &str, seconds| Answer {
            user: Some(user.to_owned()),
            model: Some(model.to_owned()),
            at: now() + SignedDuration::from_secs(seconds),
            cost: MicroDollars(10),
        };
        assert!(limit_of.covers(&answer("alice", "claude-sonnet-4-6", 0)));
        let theirs =
            [answer("alice", "claude-sonnet-4-6", 0), answer("bob", "claude-sonnet-4-6", 0)];
        let detour = Detour { answers: 1, cost: MicroDollars(10) };
        assert_eq!(limit_of.detour(&theirs), detour);
        for other in [
            answer("bob", "claude-sonnet-4-6", 0),
            answer("alice", "claude-opus-5-5", 0),
            answer("alice", "claude-sonnet-4-6", -60),
        ] {
            assert!(!limit_of.covers(&other), "{other:?}");
        }
        assert!(limit(Some("alice"), "*", 0).covers(&answer("alice", "claude-opus-5-5", 0)));
    }

    #[test]
    fn somebody_is_found_by_name_or_by_one_credential() {
        let all =
            || vec![limit(Some("alice"), "opus", 0), limit(None, "*", 1), limit(None, "opus", 1)];
        let found = |who: &str| whose(all(), who).map(|found| found.len()).ok();
        assert_eq!(
            [found("alice"), found("6b86b273"), found("6B86B273FF34")],
            [Some(1), Some(2), Some(2)]
        );
        assert_eq!([found("bob"), found("6b86b27"), found(""), found("-")], [None; 4]);
        let one_prefix = vec![limit(Some("cafecafe"), "opus", 0), limit(None, "opus", 1)];
        assert_eq!(whose(one_prefix, "cafecafe").unwrap().len(), 1);
    }

    fn now() -> Timestamp {
        "2026-11-26T04:22:00Z".parse().unwrap()
    }

    fn limit(user: Option<&str>, class: &str, credential: u8) -> Limit {
        let scope = match class {
            "*" => LimitScope::Account,
            class => LimitScope::Class(ModelClass::of(class).unwrap()),
        };
        let fingerprint = Fingerprint::of(&[credential.to_string().as_bytes()]).unwrap();
        let cooldown = Cooldown {
            until: "2026-11-26T05:03:00Z".parse().unwrap(),
            recorded_at: now() - SignedDuration::from_secs(30),
            reason: "retry-after".to_owned(),
            retry_after_seconds: 2490,
            model: "claude-sonnet-4-6".to_owned(),
            user: user.map(str::to_owned),
        };
        Limit { key: LimitKey { fingerprint, scope }, cooldown, detour: None }
    }
}
