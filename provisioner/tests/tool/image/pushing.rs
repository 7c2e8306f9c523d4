//! Does a push end with the image in the registry, whatever happens on the way, or with a sentence
//! that says why not?

use std::collections::BTreeMap;

use provisioner::image::push::{PushError, Pushed, Registry, push};
use provisioner::image::{Architecture, OciImage};
use testing::elf::{AARCH64, program};
use tokio::task::JoinSet;

use super::registry::{Cut, Fake, Mood, PASSWORD, errors};

/// What a first push asks of a registry that knows nothing.
const FIRST_PUSH: [&str; 12] = [
    "GET login",
    "GET login",
    "HEAD manifest",
    "GET manifest",
    "HEAD blob",
    "POST upload",
    "PUT upload",
    "HEAD blob",
    "POST upload",
    "PUT upload",
    "PUT manifest",
    "HEAD manifest",
];

#[tokio::test]
async fn a_first_push_sends_both_blobs_and_then_the_manifest() {
    let (fake, image) = (Fake::start(Mood::default()).await, image());
    let pushed = push(&image, &fake.registry(), |_, _| {}).await.unwrap();
    let [layer, config] = image.blobs().map(|blob| blob.content().clone());
    let expected = Pushed {
        digest: image.digest().clone(),
        uploaded_bytes: (layer.len() + config.len()) as u64,
        skipped_blobs: 0,
    };
    assert_eq!(pushed, expected);
    assert_eq!(fake.requests(), FIRST_PUSH);
    let (kind, manifest) = fake.manifest(image.tag()).unwrap();
    assert_eq!((kind.as_str(), &manifest), (image.media_type(), image.manifest()));
    for blob in image.blobs() {
        assert_eq!(fake.blob(blob.digest().as_str()).as_ref(), Some(blob.content()));
    }
}

#[tokio::test]
async fn a_second_push_sends_nothing() {
    let (fake, image) = (Fake::start(Mood::default()).await, image());
    push(&image, &fake.registry(), |_, _| {}).await.unwrap();
    fake.in_mood(Mood::default());
    let pushed = push(&image, &fake.registry(), |_, _| {}).await.unwrap();
    assert_eq!((pushed.uploaded_bytes, pushed.skipped_blobs), (0, 2));
    assert_eq!(fake.requests(), ["GET login", "GET login", "HEAD manifest", "HEAD manifest"]);
}

#[tokio::test]
async fn only_what_is_missing_is_sent() {
    let (fake, image) = (Fake::start(Mood::default()).await, image());
    push(&image, &fake.registry(), |_, _| {}).await.unwrap();
    let [_, config] = image.blobs();
    fake.forget_manifests();
    fake.forget_blob(config.digest().as_str());
    let pushed = push(&image, &fake.registry(), |_, _| {}).await.unwrap();
    assert_eq!((pushed.uploaded_bytes, pushed.skipped_blobs), (config.content().len() as u64, 1));
    assert!(fake.manifest(image.tag()).is_some());
}

#[tokio::test]
async fn a_connection_cut_at_any_request_does_no_harm() {
    let mut pushes = JoinSet::new();
    for cut in [Cut::Before, Cut::Within, Cut::After] {
        // Only a request with a body can break in its middle.
        let breaks = |at: &usize| cut != Cut::Within || FIRST_PUSH[*at].starts_with("PUT");
        pushes.extend((0..FIRST_PUSH.len()).filter(breaks).map(|request| async move {
            let (case, image) = (format!("{cut:?} {}", FIRST_PUSH[request]), image());
            let cuts = BTreeMap::from([(request, cut)]);
            let fake = Fake::start(Mood { cuts, ..Mood::default() }).await;
            let pushed = push(&image, &fake.registry(), |_, _| {}).await;
            let pushed = pushed.unwrap_or_else(|error| panic!("{case}: {error}"));
            assert_eq!((&pushed.digest, pushed.skipped_blobs), (image.digest(), 0), "{case}");
            assert!(fake.manifest(image.tag()).is_some(), "{case}");
            assert!(fake.requests().len() > FIRST_PUSH.len(), "{case}: nothing was cut");
        }));
    }
    pushes.join_all().await;
}

/// The client by itself would go on without a login.
#[tokio::test]
async fn a_login_that_breaks_is_no_refusal() {
    let cuts = [0, 2, 4].map(|request| (request, Cut::Before)).into();
    let (fake, image) = (Fake::start(Mood { cuts, ..Mood::default() }).await, image());
    let pushed = push(&image, &fake.registry(), |_, _| {}).await;
    assert_eq!(pushed.map(|pushed| pushed.digest), Ok(image.digest().clone()));
}

#[tokio::test]
async fn a_registry_that_never_answers_is_given_up_after_five_attempts() {
    let cuts = (2..100).map(|request| (request, Cut::Before)).collect();
    let fake = Fake::start(Mood { cuts, ..Mood::default() }).await;
    let error = push(&image(), &fake.registry(), |_, _| {}).await.unwrap_err();
    assert!(matches!(error, PushError::Unreachable { .. }), "{error}");
    assert_eq!(fake.requests().iter().filter(|asked| *asked == "HEAD manifest").count(), 5);
    fake.in_mood(Mood::default());
    assert!(push(&image(), &fake.registry(), |_, _| {}).await.is_ok(), "a later run converges");
}

#[tokio::test]
async fn an_overloaded_registry_is_asked_again() {
    for status in [408, 429, 500, 503] {
        let busy = Some((4, status, String::new()));
        let fake = Fake::start(Mood { answer: busy, ..Mood::default() }).await;
        let image = image();
        let registry = fake.registry();
        let pushing = push(&image, &registry, |_, _| {});
        let recovery = async {
            tokio::time::sleep(std::time::Duration::from_millis(400)).await;
            fake.in_mood(Mood::default());
        };
        let (pushed, ()) = tokio::join!(pushing, recovery);
        assert_eq!(pushed.map(|pushed| pushed.digest), Ok(image.digest().clone()), "{status}");
    }
}

#[tokio::test]
async fn progress_only_grows_and_ends_with_all() {
    let code = (0..1_000_000_u64).map(|at| (at.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8);
    let binary = program(AARCH64, &code.collect::<Vec<_>>()).bytes();
    let image = OciImage::from_binary(&binary, Architecture::Arm64).unwrap();
    let cuts = BTreeMap::from([(6, Cut::Within)]);
    let fake = Fake::start(Mood { cuts, ..Mood::default() }).await;
    let mut seen = Vec::new();
    push(&image, &fake.registry(), |done, total| seen.push((done, total))).await.unwrap();
    assert!(seen.len() > 2, "{seen:?}");
    assert!(seen.is_sorted_by(|one, next| one.0 < next.0), "{seen:?}");
    assert!(seen.iter().all(|(_, total)| *total == image.size()), "{seen:?}");
    assert_eq!(seen.last(), Some(&(image.size(), image.size())));
}

#[tokio::test]
async fn a_wrong_or_expired_password_is_named_but_never_shown() {
    let fake = Fake::start(Mood::default()).await;
    let wrong = Registry { password: "expired-secret".to_owned(), ..fake.registry() };
    let error = push(&image(), &wrong, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, PushError::Denied { .. }), "{error}");
    // ECR's way to say it, in a registry that repeats what it was told.
    let said = errors("DENIED", &format!("authorization token has expired: {PASSWORD}"));
    fake.in_mood(Mood { answer: Some((2, 403, said)), ..Mood::default() });
    let registry = fake.registry();
    let error = push(&image(), &registry, |_, _| {}).await.unwrap_err();
    assert!(matches!(error, PushError::Denied { .. }), "{error}");
    for shown in [error.to_string(), format!("{error:?}"), format!("{registry:?}")] {
        assert!(!shown.contains(PASSWORD), "{shown}");
    }
    assert!(error.to_string().contains("has expired: ***"), "{error}");
}

#[tokio::test]
async fn a_missing_repository_is_named() {
    let fake = Fake::start(Mood::default()).await;
    let elsewhere = Registry { repository: "elsewhere".to_owned(), ..fake.registry() };
    let error = push(&image(), &elsewhere, |_, _| {}).await.unwrap_err();
    assert!(
        matches!(&error, PushError::NoRepository { repository, .. } if repository == "elsewhere"),
        "{error}"
    );
}

#[tokio::test]
async fn a_registry_with_another_digest_is_not_believed() {
    let other = "sha256:0000".to_owned();
    let fake = Fake::start(Mood { digest: Some(other.clone()), ..Mood::default() }).await;
    let error = push(&image(), &fake.registry(), |_, _| {}).await.unwrap_err();
    assert!(matches!(&error, PushError::WrongDigest { found, .. } if *found == other), "{error}");
}

#[tokio::test]
async fn a_refusal_is_told_in_the_registrys_words_and_not_repeated() {
    let image = image();
    let said = errors("MANIFEST_INVALID", "no such platform");
    let fake = Fake::start(Mood { answer: Some((10, 400, said)), ..Mood::default() }).await;
    let error = push(&image, &fake.registry(), |_, _| {}).await.unwrap_err();
    assert!(matches!(error, PushError::Refused { .. }), "{error}");
    assert!(error.to_string().contains("no such platform"), "{error}");
    assert_eq!(fake.requests(), FIRST_PUSH[..11]);
    assert!(fake.manifest(image.tag()).is_none(), "nothing half-pushed is tagged");
}

#[tokio::test]
async fn plain_http_is_refused_before_anything_is_sent() {
    let fake = Fake::start(Mood::default()).await;
    let port = fake.registry().endpoint.rsplit(':').next().unwrap().to_owned();
    let endpoint = format!("http://registry.example:{port}");
    let error = push(&image(), &Registry { endpoint, ..fake.registry() }, |_, _| {}).await;
    assert_eq!(error, Err(PushError::PlainHttp { host: "registry.example".to_owned() }));
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_registry_without_trusted_encryption_gets_nothing() {
    let fake = Fake::start(Mood::default()).await;
    let endpoint = fake.registry().endpoint.replace("http://", "https://");
    let error = push(&image(), &Registry { endpoint, ..fake.registry() }, |_, _| {}).await;
    assert!(matches!(&error, Err(PushError::Unreachable { .. })), "{error:?}");
    assert!(fake.requests().is_empty());
}

#[tokio::test]
async fn a_blob_that_is_sent_elsewhere_takes_no_password_along() {
    let other = Fake::start(Mood::default()).await;
    let upload_at = Some(other.registry().endpoint);
    let fake = Fake::start(Mood { upload_at, ..Mood::default() }).await;
    let error = push(&image(), &fake.registry(), |_, _| {}).await.unwrap_err();
    // The other registry demands a login, and must not get this one's.
    assert!(matches!(error, PushError::Denied { .. }), "{error}");
    assert_eq!(other.requests(), ["PUT upload"]);
}

#[test]
fn a_push_can_be_awaited_on_any_thread() {
    fn sendable(_: impl Send) {}
    let registry = Registry {
        endpoint: String::new(),
        repository: String::new(),
        user: String::new(),
        password: String::new(),
    };
    sendable(push(&image(), &registry, |_, _| {}));
}

fn image() -> OciImage {
    let binary = program(AARCH64, b"code").bytes();
    OciImage::from_binary(&binary, Architecture::Arm64).unwrap()
}
