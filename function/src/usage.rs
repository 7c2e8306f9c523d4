//! What has Bedrock cost? Asked on the machine whose proxy keeps the ledger in a file.
//!
//! One process owns the file. Where a proxy holds it, that proxy is asked over the loopback, by
//! whoever can show that the file is theirs ([`nonce`]); to all others there is no such endpoint.

pub mod nonce;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use self::nonce::LeftNonce;
use crate::clock;
use crate::money::budget::Month;
use crate::money::statement::view::lines;
use crate::money::statement::written::{csv, json};
use crate::money::statement::{Statement, Statements};
use crate::money::{MicroDollars, Period};
use crate::settings::{Budget, Form, Settings, StoreSettings, Wanted};
use crate::store::StoreError;
use crate::store::embedded::{EmbeddedStore, OpenError};
use crate::upstream::anthropic::Anthropic;

/// Where a running proxy is asked, with `GET`; the month stands in the query.
pub const PATH: &str = "/_proxy/usage";

/// How long the proxy that holds the file may take.
const ANSWER_WITHIN: Duration = Duration::from_secs(10);
/// More is not read of its answer, in bytes.
const MOST_BYTES: usize = 64 << 20;

/// A month as the proxy tells it that holds the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub month: String,
    pub timezone: String,
    /// What each user may spend in a month, in micro-dollars.
    pub limit: Option<u64>,
    pub months: Vec<(String, Month)>,
}

impl Told {
    /// Reads a month of the file; none named is the one that it is by the budget's clock.
    ///
    /// # Errors
    ///
    /// Where it cannot be read.
    pub fn read(
        month: Option<&str>,
        budget: &Budget,
        months: impl FnOnce(&str) -> Result<Vec<(String, Month)>, StoreError>,
    ) -> Result<Self, StoreError> {
        let this_month = || Period::at(clock::now(), &budget.zone).month();
        let month = month.map_or_else(this_month, str::to_owned);
        let months = months(&month)?;
        let limit = budget.user.month.map(|limit| limit.0);
        Ok(Self { month, timezone: name(&budget.zone).to_owned(), limit, months })
    }

    /// What it says of everybody.
    #[must_use]
    pub fn statements(&self) -> Statements {
        let limit = self.limit.map(MicroDollars);
        let months = self.months.iter().map(|(subject, month)| (subject.as_str(), month));
        Statements::of((&self.month, &self.timezone), months, |_, _| limit)
    }

    /// What it says of all of them together.
    #[must_use]
    pub fn total(&self) -> Statement {
        self.statements().total()
    }
}

fn name(zone: &TimeZone) -> &str {
    zone.iana_name().unwrap_or("UTC")
}

/// What is wanted, as it is printed.
///
/// # Errors
///
/// A sentence, where it cannot be read.
pub async fn run(settings: &Settings, wanted: &Wanted) -> anyhow::Result<String> {
    let path = match &settings.store {
        StoreSettings::Embedded(path) => path,
        StoreSettings::Memory => bail!(
            "the memory store keeps nothing that could be shown: choose RATE_LIMIT_STORE=embedded"
        ),
        StoreSettings::Dynamo(table) => {
            bail!("what is spent stands in the DynamoDB table {table}: ask `provisioner usage`")
        }
    };
    let told = told(path, settings, wanted.month.as_deref()).await?;
    let mut statements = told.statements();
    if let Some(user) = &wanted.user {
        statements = statements.only(user);
    }
    Ok(match wanted.form {
        Form::Json => json(&statements) + "\n",
        Form::Csv => csv(&statements),
        Form::Table => {
            lines(&statements, wanted.by).iter().map(|line| format!("{line}\n")).collect()
        }
    })
}

/// Reads the file, or asks whoever holds it. A file that is not there is not made.
async fn told(path: &Path, settings: &Settings, month: Option<&str>) -> anyhow::Result<Told> {
    let unread = || format!("cannot read what was spent from {}", path.display());
    if !path.exists() {
        return Told::read(month, &settings.budget, |_| Ok(Vec::new())).with_context(unread);
    }
    match EmbeddedStore::open(path, clock::now()) {
        Ok(store) => {
            Told::read(month, &settings.budget, |month| store.months(month)).with_context(unread)
        }
        Err(OpenError::InUse { .. }) => {
            let asking = ask(path, loopback(settings.listen), month);
            tokio::time::timeout(ANSWER_WITHIN, asking).await.unwrap_or_else(|_| {
                bail!("{}", nobody(path, loopback(settings.listen)));
            })
        }
        Err(error) => Err(error.into()),
    }
}

/// Where on this machine somebody is reached who listens there.
fn loopback(listen: SocketAddr) -> SocketAddr {
    let loopback: IpAddr = match listen.ip() {
        IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
    };
    let ip = if listen.ip().is_unspecified() { loopback } else { listen.ip() };
    SocketAddr::new(ip, listen.port())
}

fn nobody(path: &Path, at: SocketAddr) -> String {
    format!(
        "{} is in use by another process, and no proxy that knows it answers at http://{at}: set \
         LISTEN_ADDRESS to where that proxy listens, or stop it",
        path.display()
    )
}

/// Asks the proxy that holds the file.
async fn ask(path: &Path, at: SocketAddr, month: Option<&str>) -> anyhow::Result<Told> {
    let nonce = LeftNonce::leave(path)?;
    let query = month.map(|month| format!("?month={month}")).unwrap_or_default();
    let target: PathAndQuery = format!("{PATH}{query}").parse().context("the month is none")?;
    let base: Uri = format!("http://{at}/").parse().context("the address is none")?;
    let mut headers = HeaderMap::new();
    headers.insert(nonce::HEADER, HeaderValue::from_str(nonce.reveal())?);
    let asked = Anthropic::new(base).send(Method::GET, &target, headers, Bytes::new()).await;
    let answer = asked.map_err(|_| anyhow::anyhow!(nobody(path, at)))?;
    if answer.status() != StatusCode::OK {
        bail!(nobody(path, at));
    }
    let (mut body, mut read) = (answer.into_body(), Vec::new());
    while let Some(chunk) = body.chunk().await {
        read.extend(chunk.map_err(|_| anyhow::anyhow!(nobody(path, at)))?);
        if read.len() > MOST_BYTES {
            bail!("http://{at} says more than can be shown: ask for --user");
        }
    }
    serde_json::from_slice(&read).map_err(|_| anyhow::anyhow!(nobody(path, at)))
}
