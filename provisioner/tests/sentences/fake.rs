//! An AWS in which there is nothing yet, and which fails as it is told to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

/// What was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// Such as `iam.GetRole`.
    pub(crate) action: String,
}

/// What is answered; `None` breaks the connection off.
pub(crate) type Answer = Option<(u16, &'static str, String)>;

/// A running server; it ends with the test program.
pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Fake {
    /// Answers as `answer` says, and where that says nothing, as an account with nothing in it.
    pub(crate) fn start(answer: impl Fn(&Asked) -> Option<Answer> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, answer) = (Arc::default(), Arc::new(answer));
        let all: Arc<Mutex<Vec<Asked>>> = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (all, answer) = (Arc::clone(&all), Arc::clone(&answer));
                std::thread::spawn(move || {
                    let stream = stream.unwrap();
                    let mut reader = BufReader::new(stream.try_clone().unwrap());
                    while let Some(one) = read(&mut reader) {
                        all.lock().unwrap().push(one.clone());
                        let answer = answer(&one).unwrap_or_else(|| nothing(&one));
                        if !write(&stream, answer) {
                            break;
                        }
                    }
                });
            }
        });
        Self { address, asked }
    }

    /// Fails one call like this, as often as it is made.
    pub(crate) fn failing(action: &'static str, answer: Answer) -> Self {
        Self::start(move |asked| (asked.action == action).then(|| answer.clone()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn actions(&self) -> Vec<String> {
        self.asked.lock().unwrap().iter().map(|asked| asked.action.clone()).collect()
    }
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut line, mut target, mut length) = (String::new(), String::new(), 0);
    reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
    let mut words = line.split(' ');
    let (method, path) = (words.next()?.to_owned(), words.next()?.to_owned());
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok().filter(|read| *read > 0)?;
        let Some((name, value)) = header.trim().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap(),
            "x-amz-target" => value.trim().clone_into(&mut target),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    let body = String::from_utf8_lossy(&body).into_owned();
    Some(Asked { action: name(&method, &path, &target, &body) })
}

fn name(method: &str, path: &str, target: &str, body: &str) -> String {
    let targets = [
        ("AmazonEC2ContainerRegistry", "ecr"),
        ("DynamoDB", "dynamodb"),
        ("Logs", "logs"),
        ("GraniteServiceVersion", "cloudwatch"),
    ];
    if let Some((_, service)) = targets.iter().find(|(start, _)| target.starts_with(start)) {
        return format!("{service}.{}", target.rsplit('.').next().unwrap());
    }
    if let Some(rest) = body.strip_prefix("Action=") {
        let action = rest.split('&').next().unwrap();
        let service = match action {
            "GetCallerIdentity" | "AssumeRole" => "sts",
            _ => "iam",
        };
        return format!("{service}.{action}");
    }
    let path = path.split('?').next().unwrap();
    match (method, path.rsplit('/').next().unwrap()) {
        ("GET", "policy") => "lambda.GetPolicy".to_owned(),
        ("GET", "url") => "lambda.GetFunctionUrlConfig".to_owned(),
        ("GET", "account-settings") => "lambda.GetAccountSettings".to_owned(),
        ("GET", _) if path.starts_with("/2015-03-31/functions/") => "lambda.GetFunction".to_owned(),
        _ => format!("{method} {path}"),
    }
}

/// An account in which nothing is.
fn nothing(asked: &Asked) -> Answer {
    let refused = |status, code: &str| refused(asked, status, code, "there is no such thing");
    let fine = |body: Value| Some((200, "application/json", body.to_string()));
    match asked.action.as_str() {
        "sts.GetCallerIdentity" => Some((200, "text/xml", identity())),
        "iam.GetRole" => refused(404, "NoSuchEntity"),
        "ecr.DescribeRepositories" | "ecr.DescribeImages" => {
            refused(400, "RepositoryNotFoundException")
        }
        "dynamodb.DescribeTable" => refused(400, "ResourceNotFoundException"),
        "logs.DescribeLogGroups" => fine(json!({"logGroups": []})),
        "cloudwatch.GetDashboard" => refused(404, "DashboardNotFoundError"),
        "cloudwatch.DescribeAlarms" => fine(json!({"MetricAlarms": []})),
        "lambda.GetAccountSettings" => fine(json!({"AccountLimit": {
            "ConcurrentExecutions": 1000, "UnreservedConcurrentExecutions": 1000,
        }})),
        action if action.starts_with("lambda.Get") => refused(404, "ResourceNotFoundException"),
        _ => refused(400, "InvalidAction"),
    }
}

fn identity() -> String {
    "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
     <GetCallerIdentityResult><Arn>arn:aws:iam::123456789012:user/u</Arn><UserId>U</UserId>\
     <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>"
        .to_owned()
}

/// A refusal, in the form of the service that was asked.
pub(crate) fn refused(asked: &Asked, status: u16, code: &str, message: &str) -> Answer {
    let xml = asked.action.starts_with("sts.") || asked.action.starts_with("iam.");
    if xml {
        let escaped = message.replace('&', "&amp;").replace('<', "&lt;");
        let code = code.strip_suffix("Exception").unwrap_or(code);
        let body = format!(
            "<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{escaped}\
             </Message></Error><RequestId>0a1b2c3d-0000-1111-2222-333344445555</RequestId>\
             </ErrorResponse>"
        );
        return Some((status, "text/xml", body));
    }
    let body = json!({"__type": code, "message": message, "Message": message});
    Some((status, "application/json", body.to_string()))
}

fn write(mut stream: &TcpStream, answer: Answer) -> bool {
    let Some((status, kind, body)) = answer else { return false };
    // Lambda names its errors in a header.
    let code = serde_json::from_str::<Value>(&body).ok();
    let code =
        code.and_then(|body| Some(format!("x-amzn-errortype: {}\r\n", body["__type"].as_str()?)));
    let code = code.unwrap_or_default();
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{code}content-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_ok()
}
