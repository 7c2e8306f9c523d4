//! One call as the tool makes it: which service, which action, and what a refusal of it looks like.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

pub(super) struct Call {
    pub(super) head: http::request::Parts,
    pub(super) body: Bytes,
    /// `SERVICE.Action`, such as `iam.CreateRole`; a registry's is method and path.
    pub(super) name: String,
}

/// What AWS says instead of doing it.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    pub code: &'static str,
    pub message: String,
}

impl Refusal {
    /// The request id of every refusal.
    pub const ID: &str = "0a1b2c3d-refused";

    pub fn new(status: u16, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into() }
    }

    pub fn denied() -> Self {
        let message = "User: arn:aws:iam::1:user/u is not authorized to perform this action";
        Self::new(403, "AccessDeniedException", message)
    }
}

impl Call {
    pub(super) fn new(head: http::request::Parts, body: Bytes) -> Self {
        let name = name(&head, &body);
        Self { head, body, name }
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }

    pub(super) fn method(&self) -> &Method {
        &self.head.method
    }

    pub(super) fn is_registry(&self) -> bool {
        self.path().starts_with("/v2/")
    }

    pub(super) fn mutates(&self) -> bool {
        let Some((_, action)) = self.name.split_once('.').filter(|_| !self.is_registry()) else {
            return ![Method::GET, Method::HEAD].contains(self.method());
        };
        let questions = [
            "Get",
            "List",
            "Describe",
            "BatchGet",
            "BatchCheck",
            "Scan",
            "Query",
            "Filter",
            "Simulate",
        ];
        !questions.iter().any(|start| action.starts_with(start))
    }

    /// The body as JSON.
    pub(super) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A field of the body, whatever the protocol.
    pub(super) fn field(&self, key: &str) -> String {
        if let Some(text) = self.json().get(key).and_then(Value::as_str) {
            return text.to_owned();
        }
        let form = String::from_utf8_lossy(&self.body).into_owned();
        let start = format!("{key}=");
        form.split('&').find_map(|pair| pair.strip_prefix(&start)).unwrap_or_default().to_owned()
    }

    /// The function in the path of a call to Lambda, or in the body of the call that makes it.
    pub(super) fn function(&self) -> String {
        let mut parts = self.path().split('/').skip_while(|part| *part != "functions").skip(1);
        let named = parts.next().filter(|name| !name.is_empty());
        named.map_or_else(|| self.field("FunctionName"), str::to_owned)
    }

    /// A refusal, in the form of the protocol.
    pub(super) fn refused(&self, refusal: &Refusal) -> Response<Full<Bytes>> {
        let Refusal { status, code, message } = refusal;
        let answer = Response::builder()
            .status(StatusCode::from_u16(*status).unwrap())
            .header("x-amzn-requestid", Refusal::ID);
        let json = json!({"__type": code, "message": message, "Message": message}).to_string();
        let (answer, body) = if self.is_registry() {
            (answer, json!({"errors": [{"code": code, "message": message}]}).to_string())
        } else if self.name.starts_with("lambda.") {
            (answer.header("x-amzn-errortype", *code), json)
        } else if self.head.headers.contains_key("x-amz-target") {
            (answer, json)
        } else {
            // The query protocol's codes have no such ending.
            let (id, code) = (Refusal::ID, code.strip_suffix("Exception").unwrap_or(code));
            let body = format!(
                "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}\
                 </Message></Error><RequestId>{id}</RequestId></ErrorResponse>"
            );
            (answer, body)
        };
        answer.body(Full::from(body)).unwrap()
    }

    /// AWS says that it is too much.
    pub(super) fn throttled(&self) -> Response<Full<Bytes>> {
        let code = if self.name.starts_with("lambda.") {
            "TooManyRequestsException"
        } else if self.is_registry() {
            "TOOMANYREQUESTS"
        } else {
            "ThrottlingException"
        };
        let status = if code.starts_with("TOO") || code.starts_with("Too") { 429 } else { 400 };
        self.refused(&Refusal::new(status, code, "Rate exceeded"))
    }
}

fn name(head: &http::request::Parts, body: &Bytes) -> String {
    let target = head.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    if let Some((service, action)) = target.and_then(|target| target.split_once('.')) {
        let service = match service.split('_').next().unwrap_or_default() {
            "AmazonEC2ContainerRegistry" => "ecr",
            "DynamoDB" => "dynamodb",
            "Logs" => "logs",
            "GraniteServiceVersion20100801" => "cloudwatch",
            other => other,
        };
        return format!("{service}.{action}");
    }
    let form = String::from_utf8_lossy(body);
    let field = |start: &str| form.split('&').find_map(|pair| pair.strip_prefix(start));
    if let Some(action) = field("Action=") {
        let service = if field("Version=") == Some("2011-06-15") { "sts" } else { "iam" };
        return format!("{service}.{action}");
    }
    lambda(head).map_or_else(
        || format!("{} {}", head.method, head.uri.path()),
        |action| format!("lambda.{action}"),
    )
}

/// Lambda's actions are methods and paths.
fn lambda(head: &http::request::Parts) -> Option<String> {
    let mut parts = head.uri.path().trim_matches('/').split('/').skip(1);
    let (kind, last) = (parts.next()?, parts.nth(1));
    let verb = match head.method.as_str() {
        "GET" => "Get",
        "POST" => "Create",
        "PUT" => "Update",
        _ => "Delete",
    };
    let action = match (kind, last, verb) {
        ("account-settings", _, _) => "GetAccountSettings",
        ("tags", _, "Get") => "ListTags",
        ("tags", _, "Create") => "TagResource",
        ("tags", _, _) => "UntagResource",
        ("functions", Some("code"), _) => "UpdateFunctionCode",
        ("functions", Some("configuration"), "Update") => "UpdateFunctionConfiguration",
        ("functions", Some("configuration"), _) => "GetFunctionConfiguration",
        ("functions", Some("policy"), "Get") => "GetPolicy",
        ("functions", Some("policy"), "Create") => "AddPermission",
        ("functions", Some("policy"), _) => "RemovePermission",
        ("functions", Some("concurrency"), "Update") => "PutFunctionConcurrency",
        ("functions", Some("concurrency"), _) => "DeleteFunctionConcurrency",
        ("functions", Some("url"), _) => return Some(format!("{verb}FunctionUrlConfig")),
        ("functions", None, _) => return Some(format!("{verb}Function")),
        _ => return None,
    };
    Some(action.to_owned())
}
