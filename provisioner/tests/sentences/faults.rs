//! Every fault that is known, in the first call and in a later one, as text and as an object.

use std::net::TcpListener;

use crate::fake::{Answer, Fake, refused};
use crate::run::{Ended, command, finish};

/// What may be answered in the place of an answer.
fn answers() -> Vec<(&'static str, Answer)> {
    let page = "<html><head><title>502 Bad Gateway</title></head><body>canary</body></html>";
    let html = |status| Some((status, "text/html", page.to_owned()));
    let json = |status, body: &str| Some((status, "application/json", body.to_owned()));
    let long = "canary ".repeat(100_000);
    vec![
        ("a page of a gateway", html(502)),
        ("a page of a proxy", html(407)),
        ("a page that is fine", html(200)),
        ("a page of a portal", html(403)),
        ("something gone", html(404)),
        ("nothing", Some((200, "text/xml", String::new()))),
        ("half of an object", json(200, "{\"token\": \"canary")),
        (
            "half of a document",
            Some((200, "text/xml", "<GetCallerIdentityResponse><Arn".to_owned())),
        ),
        ("another document", Some((200, "text/xml", "<Foo a=\"canary\"><Bar/></Foo>".to_owned()))),
        ("no text", Some((200, "application/json", "\u{0}\u{1b}[2J canary".to_owned()))),
        ("a long page", Some((500, "text/plain", long))),
        ("a broken connection", None),
    ]
}

/// A call of each protocol: XML, paths, JSON, and one that is made without a client of its own.
const CALLS: [&str; 5] = [
    "sts.GetCallerIdentity",
    "iam.GetRole",
    "lambda.GetFunction",
    "dynamodb.DescribeTable",
    "cloudwatch.GetDashboard",
];

#[test]
fn whatever_answers_in_the_place_of_aws_is_told_in_a_few_words() {
    std::thread::scope(|scope| {
        for action in CALLS {
            scope.spawn(move || answers_to(action));
        }
    });
}

fn answers_to(action: &'static str) {
    for (what, answer) in answers() {
        let fake = Fake::failing(action, answer);
        let case = format!("{what} for {action}");
        // Nothing is an answer to some questions.
        let ended = fails(&["plan", "--no-build"], &fake.url(), &case);
        if ended.code != 0 {
            assert!(matches!(ended.code, 1 | 3 | 4), "{case}: {ended:?}");
            let (_, name) = action.split_once('.').unwrap();
            assert!(ended.error().contains(name), "{case}: {}", ended.error());
            if !ended.error().contains("does not carry") {
                assert!(ended.error().contains("127.0.0.1"), "{case}: {}", ended.error());
            }
        }
    }
}

/// Runs it as text and for an object, and looks at both.
#[track_caller]
fn fails(words: &[&str], url: &str, case: &str) -> Ended {
    let text = finish(&mut command(words, url));
    text.is_fit(case);
    let object = finish(&mut command(&[words, &["--json"]].concat(), url));
    object.is_fit(case);
    assert_eq!(text.code, object.code, "{case}");
    if text.code != 0 {
        let error = &object.json()["error"];
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{case}: {error}");
    }
    text
}

#[test]
fn no_way_to_aws_names_what_is_in_the_way() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let tls = format!("https://{}", Fake::start(|_| None).address);
    for (url, named, code) in [
        (
            "http://nowhere.invalid",
            &["nowhere.invalid", "eu-west-3", "STS", "GetCallerIdentity"][..],
            4,
        ),
        ("http://127.0.0.1:1", &["127.0.0.1:1", "eu-west-3", "nobody listens"], 4),
        (&tls, &["127.0.0.1", "eu-west-3"], 4),
        (&self_made(), &["127.0.0.1", "TLS", "certificate"], 4),
        ("localhost:4566", &["localhost:4566", "http://"], 4),
        ("localhost", &["localhost", "http://"], 4),
        ("//localhost", &["localhost", "http://"], 4),
        ("http://user:canary@", &["http://"], 4),
        ("http://user:canary@127.0.0.1:1", &["127.0.0.1:1", "nobody listens"], 4),
        ("http://127.0.0.1:", &["127.0.0.1:", "no address"], 4),
        ("http://127.0.0.1:70000", &["127.0.0.1:70000", "no address"], 4),
        ("http://[::1]:1", &["[::1]:1", "nobody listens"], 4),
        ("ftp://a", &["ftp://a"], 4),
    ] {
        let ended = fails(&["status"], url, url);
        assert_eq!(ended.code, code, "{ended:?}");
        for word in named {
            assert!(ended.error().contains(word), "{url} does not name {word}: {}", ended.error());
        }
    }
    drop(silent);
}

#[test]
fn one_service_s_address_is_looked_at_as_well() {
    let fake = Fake::start(|_| None);
    for variable in ["STS", "IAM", "ECR", "DYNAMODB", "LAMBDA", "CLOUDWATCH_LOGS", "CLOUDWATCH"] {
        let variable = format!("AWS_ENDPOINT_URL_{variable}");
        let mut command = command(&["status"], &fake.url());
        let ended = finish(command.env(&variable, "localhost:1"));
        ended.is_fit(&variable);
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.error().contains(&variable), "{}", ended.error());
        assert_eq!(fake.actions(), [""; 0]);
    }
}

/// What has no client of its own goes by the same settings as what has one.
#[test]
fn a_service_with_an_address_of_its_own_is_asked_there_and_nowhere_else() {
    let (all, own) = (Fake::start(|_| None), Fake::start(|_| None));
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    let text = format!(
        "[default]\nservices = local\n[services local]\ncloudwatch =\n  endpoint_url = {}\n",
        own.url()
    );
    std::fs::write(&config, text).unwrap();
    let words = ["plan", "--no-build", "--dashboard"];
    let (mut variable, mut profile) = (command(&words, &all.url()), command(&words, &all.url()));
    variable.env("AWS_ENDPOINT_URL_CLOUDWATCH", own.url());
    // A variable for all services comes before a profile's.
    profile.env_remove("AWS_ENDPOINT_URL").env("AWS_CONFIG_FILE", &config);
    for service in ["STS", "IAM", "ECR", "DYNAMODB", "LAMBDA", "CLOUDWATCH_LOGS"] {
        profile.env(format!("AWS_ENDPOINT_URL_{service}"), all.url());
    }
    for mut command in [variable, profile] {
        let before = own.actions().len();
        let ended = finish(&mut command);
        assert_eq!(ended.code, 0, "{ended:?}");
        let there = own.actions();
        assert!(there.len() > before, "nothing was asked there");
        assert!(there.iter().all(|action| action.starts_with("cloudwatch.")), "{there:?}");
        let elsewhere = all.actions();
        assert!(!elsewhere.iter().any(|action| action.starts_with("cloudwatch.")), "{elsewhere:?}");
    }
}

/// AWS's libraries then ask nobody, and say so in words of their own.
#[test]
fn an_address_of_one_s_own_beside_another_kind_of_aws_s_is_named() {
    let fake = Fake::start(|_| None);
    for variable in ["AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"] {
        let ended = finish(command(&["status"], &fake.url()).env(variable, "true"));
        ended.is_fit(variable);
        assert_eq!(ended.code, 4, "{ended:?}");
        assert!(ended.error().contains(&format!("unset {variable}")), "{}", ended.error());
        assert_eq!(fake.actions(), [""; 0]);
    }
}

#[test]
fn what_sts_says_of_credentials_is_told_with_the_profile() {
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("config");
    std::fs::write(
        &config,
        "[profile team]\naws_access_key_id=AKIAIOSFODNN7EXAMPLE\naws_secret_access_key=x\n",
    )
    .unwrap();
    for (code, said, hint) in [
        ("ExpiredToken", "The security token included in the request is expired", "credentials"),
        (
            "InvalidClientTokenId",
            "The security token included in the request is invalid.",
            "credentials",
        ),
        ("SignatureDoesNotMatch", "Signature expired: 1 is now earlier than 2", "clock"),
        (
            "AccessDenied",
            "MultiFactorAuthentication failed with invalid MFA one time pass code.",
            "",
        ),
    ] {
        let fake = Fake::start(move |asked| {
            (asked.action == "sts.GetCallerIdentity").then(|| refused(asked, 403, code, said))
        });
        let mut command = command(&["status", "--profile", "team"], &fake.url());
        let ended = finish(command.env("AWS_CONFIG_FILE", &config));
        ended.is_fit(code);
        assert_eq!(ended.code, 4, "{ended:?}");
        for word in [said, "team", "eu-west-3", "STS", "GetCallerIdentity", hint] {
            assert!(ended.error().contains(word), "{code}: {word} is not in {}", ended.error());
        }
    }
}

#[test]
fn a_long_sentence_of_aws_s_is_cut_unless_all_is_wanted() {
    let shown =
        format!("The thing {} is not what it was, PROXY_KEYS=alice:canary", "abc ".repeat(100));
    let fake = Fake::start(move |asked| {
        (asked.action == "iam.GetRole").then(|| refused(asked, 400, "ValidationError", &shown))
    });
    let whole = "abc ".repeat(100);
    let text = fails(&["status"], &fake.url(), "long");
    assert!(!text.stderr.contains(&whole), "{text:?}");
    assert!(text.error().contains("…"), "{text:?}");
    let object = finish(&mut command(&["status", "--json"], &fake.url()));
    assert!(object.json()["error"]["message"].as_str().unwrap().contains(&whole), "{object:?}");
    let verbose = finish(&mut command(&["status", "-v"], &fake.url()));
    assert!(verbose.stderr.contains(&whole), "{verbose:?}");
    for ended in [text, object, verbose] {
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
}

#[test]
fn an_answer_without_an_end_has_one() {
    use std::io::{Read as _, Write as _};
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            std::thread::spawn(move || {
                let mut stream = stream.unwrap();
                drop(stream.read(&mut [0; 4096]));
                let head = "HTTP/1.1 200 OK\r\ncontent-type: text/xml\r\n\r\n";
                let mut more = stream.write_all(head.as_bytes());
                while more.is_ok() {
                    more = stream.write_all(&[b'x'; 1 << 16]);
                }
            });
        }
    });
    let ended = fails(&["status"], &url, "an endless answer");
    assert_eq!(ended.code, 4, "{ended:?}");
    assert!(ended.error().contains("its answer goes on for ever"), "{ended:?}");
}

/// A server with a certificate that nobody knows.
fn self_made() -> String {
    use rustls::pki_types::PrivatePkcs8KeyDer;
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let ring = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let config =
        rustls::ServerConfig::builder_with_provider(ring).with_safe_default_protocol_versions();
    let config = config.unwrap().with_no_client_auth();
    let config = config.with_single_cert(vec![made.cert.der().clone()], key.into()).unwrap();
    let config = std::sync::Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut tls = rustls::ServerConnection::new(std::sync::Arc::clone(&config)).unwrap();
            let mut stream = stream.unwrap();
            while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
        }
    });
    url
}
