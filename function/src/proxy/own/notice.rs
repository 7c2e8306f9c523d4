//! A word inside Claude Code, by its HTTP hooks: who answers, and what it costs.
//!
//! A hook that fails is loud, after every turn: so the answer is always 200 and always there
//! within a second, and says nothing where there is nothing new, where a store does not answer and
//! where there is no good key. What comes holds a conversation: two fields of it are read, and
//! nothing of it is logged or kept.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use http::request::Parts;
use http::{HeaderValue, Method, Response, header};
use http_body_util::BodyExt;
use serde::Deserialize;
use serde_json::json;

use super::caller::Caller;
use crate::caller::Target;
use crate::clock;
use crate::failover::cooldown::Timestamp;
use crate::failover::identity::Fingerprint;
use crate::money::Period;
use crate::money::budget::Changed;
use crate::proxy::Proxy;
use crate::proxy::body::Body;
use crate::room::BodyPermit;
use crate::session::client::NOTICE;
use crate::session::funds::{Funds, Warning};
use crate::session::{self, Session, words};
use crate::store::StoreError;
use crate::store::budgets;

/// All of it takes no longer.
const WITHIN: Duration = Duration::from_millis(700);
/// What is read of a hook; nobody listens to a longer one.
const MOST_BYTES: usize = 256 << 10;

/// Whether a hook asks, whatever stands for a key and a name before the path.
pub(super) fn is_asked(method: &Method, path: &str) -> bool {
    method == Method::POST && unlabelled(unlabelled(path, "/k/"), "/u/") == NOTICE
}

fn unlabelled<'a>(path: &'a str, mark: &str) -> &'a str {
    let Some(labelled) = path.strip_prefix(mark) else { return path };
    labelled.find('/').map_or("", |end| &labelled[end..])
}

/// Nothing is to be said.
pub(super) fn silence() -> Response<Body> {
    Response::new(Body::from(Bytes::new()))
}

/// What is read of a hook.
#[derive(Deserialize)]
struct Hook {
    session_id: String,
    hook_event_name: String,
}

/// How a client says it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Voice {
    /// A line in the conversation.
    Line,
    /// A notification of the terminal: all that is shown where a turn has failed.
    Bell,
}

impl Proxy {
    /// Says what is new, if anything is.
    pub(in crate::proxy) async fn notice<B>(
        self: &Arc<Self>,
        head: &Parts,
        body: B,
        held: Option<BodyPermit>,
    ) -> Response<Body>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let said = tokio::time::timeout(WITHIN, self.said(head, body, held)).await;
        let Ok(Some((text, voice))) = said else { return silence() };
        let answer = match voice {
            Voice::Line => json!({"systemMessage": text}),
            Voice::Bell => json!({"terminalSequence": format!("\u{1b}]9;{text}\u{7}")}),
        };
        let mut response = Response::new(Body::from(Bytes::from(answer.to_string())));
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(header::CONTENT_TYPE, json);
        response
    }

    async fn said<B>(
        &self,
        head: &Parts,
        body: B,
        held: Option<BodyPermit>,
    ) -> Option<(String, Voice)>
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin,
    {
        let hook: Hook = serde_json::from_slice(&read(body, held).await?).ok()?;
        let voice = match hook.hook_event_name.as_str() {
            "Stop" | "UserPromptSubmit" => Voice::Line,
            "StopFailure" => Voice::Bell,
            _ => return None,
        };
        let target = Target::parse(&head.method, &head.uri, &head.headers).ok()?;
        let digest = session::digest(hook.session_id.as_bytes())?;
        let owner = self.owner(&target.key).await.ok()?;
        let now = clock::now();
        let caller = self.caller(owner.as_ref(), Some(&digest), now).await.ok()?;
        let sentences = self.sentences(&caller, (&digest, voice), now).await.ok()?;
        Some((words::said(&sentences)?, voice))
    }

    /// What nobody has said yet.
    async fn sentences(
        &self,
        caller: &Caller,
        (digest, voice): (&Fingerprint, Voice),
        now: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        let (Some(subject), Some(funds)) = (&caller.subject, &caller.funds) else {
            return Ok(Vec::new());
        };
        let session = caller.session.as_ref();
        let untold = session.filter(|s| voice == Voice::Line && s.is_untold_of(s.since));
        let news = match untold {
            Some(session) => {
                let spent = self.spent(caller, digest).await?;
                session.news(Some(funds), spent.as_ref(), &funds.zone, now)
            }
            None => None,
        };
        let telling = async {
            let (news, session) = (news?, untold?);
            self.store.tell(digest, session.since).await.then_some(news)
        };
        let refused = session.is_some_and(Session::is_refused);
        let message = self.settings.budget.message.as_deref();
        let bell = voice == Voice::Bell;
        let all = if refused { self.everybodys_funds(funds.at).await? } else { None };
        // Whichever leaves less has refused the request.
        let percent = |funds: &Funds| funds.fullest().map(|fill| fill.percent());
        let all = all.filter(|all| percent(all) > percent(funds));
        let mut warnings = funds.warnings(refused && all.is_none(), message, bell);
        warnings.extend(all.and_then(|all| funds.of_all(&all, message, bell)));
        let saying = warnings.into_iter().map(|w| self.first_to_say(subject, funds.at, w));
        let warning = join_all(saying);
        let (news, warnings) = tokio::join!(telling, warning);
        Ok(news.into_iter().chain(warnings.into_iter().flatten()).collect())
    }

    /// A warning, unless somebody else has just said it.
    async fn first_to_say(&self, subject: &str, at: Period, warning: Warning) -> Option<String> {
        let account = budgets::Account { subject, user: None, at };
        let changed = self.store.change(&account, &warning.change).await;
        matches!(changed, Ok(Changed::Yes(_))).then_some(warning.text)
    }
}

/// Reads a hook; `None` where it is too long. All of it is let come, so that its client finds the
/// answer.
async fn read<B>(mut body: B, mut held: Option<BodyPermit>) -> Option<Bytes>
where
    B: http_body::Body<Data = Bytes> + Send + Unpin,
{
    let mut read = Some(BytesMut::new());
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        read = read.filter(|read| read.len() + data.len() <= MOST_BYTES);
        let Some(known) = &mut read else { continue };
        known.extend_from_slice(&data);
        if held.as_mut().is_some_and(|held| held.grow(known.len()).is_err()) {
            read = None;
        }
    }
    read.map(BytesMut::freeze)
}
