//! Is a key taken for what it is, and nobody let in without one?

#![expect(clippy::unwrap_used, reason = "a test that cannot build its input has to fail")]

use function::access::{AccessDecision, AccessMode, ProxyKey, ProxyKeys, Shown};
use function::caller::User;
use function::failover::identity::Fingerprint;

#[test]
fn a_new_key_has_256_bits_and_is_read_again() {
    let key = ProxyKey::from_random(std::array::from_fn(|index| u8::try_from(index * 8).unwrap()));
    let digits = "0008101820283038404850586068707880889098a0a8b0b8c0c8d0d8e0e8f0f8";
    assert_eq!(key.reveal(), format!("ccp_{digits}"));
    assert_eq!(key.reveal().parse::<ProxyKey>().unwrap().digest(), key.digest());
}

#[test]
fn the_digest_of_a_key_is_the_sha256_of_its_whole_text() {
    // printf 'ccp_%064d' 0 | sha256sum
    let key: ProxyKey = format!("ccp_{:064}", 0).parse().unwrap();
    let digest = "56622d25c2663d92c3bb6141f916abf66b1489a9a90de6fb8ea9dcef2b47a330";
    assert_eq!(key.digest().to_string(), digest);
    assert_eq!(Fingerprint::from_hex(digest), Some(key.digest()));
}

#[test]
fn a_digest_is_64_lower_case_hexadecimal_digits() {
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(Fingerprint::from_hex(digest), Fingerprint::of(&[b"abc"]));
    let upper = digest.to_uppercase();
    for bad in ["", "ba", &digest[1..], &format!("{digest}00"), &upper, &"g".repeat(64)] {
        assert_eq!(Fingerprint::from_hex(bad), None, "{bad}");
    }
}

#[test]
fn only_a_text_of_the_right_shape_is_a_key() {
    for length in [43, 44, 64] {
        assert!(
            format!("ccp_{}", "aZ0-_".repeat(13).split_at(length).0).parse::<ProxyKey>().is_ok()
        );
    }
    let rest = "a".repeat(64);
    for bad in [
        String::new(),
        "ccp_".to_owned(),
        format!("ccp_{}", &rest[..42]),
        format!("ccp_{rest}a"),
        format!("CCP_{rest}"),
        format!("ccp-{rest}"),
        format!(" ccp_{}", &rest[1..]),
        format!("ccp_{} ", &rest[1..]),
        format!("ccp_{}+", &rest[1..]),
        format!("ccp_{}\u{e9}", &rest[2..]),
        rest,
    ] {
        assert!(bad.parse::<ProxyKey>().is_err(), "{bad}");
    }
}

#[test]
fn a_key_is_not_shown_by_accident() {
    let key = ProxyKey::from_random([0xab; 32]);
    assert!(!format!("{key:?} {:?}", "ccp_abab".parse::<ProxyKey>()).contains("ab"));
}

#[test]
fn in_key_mode_only_a_known_key_is_let_in() {
    let mode = AccessMode::Key(ProxyKeys::new(vec![
        (user("alice"), digest("1")),
        (user("bob"), digest("2")),
    ]));
    assert_eq!(mode.decide(&shown("1")), AccessDecision::Granted(Some(user("alice"))));
    assert_eq!(mode.decide(&shown("2")), AccessDecision::Granted(Some(user("bob"))));
    assert_eq!(mode.decide(&shown("3")), AccessDecision::Ask(digest("3")), "the store may know it");
    assert_eq!(mode.decide(&Shown::Nothing), AccessDecision::Denied);
    assert_eq!(mode.decide(&Shown::Malformed), AccessDecision::Denied);
}

#[test]
fn the_other_modes_ask_for_no_key() {
    for mode in [AccessMode::Open, AccessMode::Organization(vec!["ours".to_owned()])] {
        for shown in [Shown::Nothing, Shown::Malformed, shown("1")] {
            assert_eq!(mode.decide(&shown), AccessDecision::Granted(None), "{mode:?} {shown:?}");
        }
    }
}

#[test]
fn the_same_key_twice_is_one_and_two_keys_are_none() {
    let (one, two) = (format!("ccp_{:064}", 1), format!("ccp_{:064}", 2));
    let of = |texts: &[&str]| Shown::of(texts.iter().map(|text| text.as_bytes()));
    assert_eq!(of(&[]), Shown::Nothing);
    assert_eq!(of(&[&one]), shown("1"));
    assert_eq!(of(&[&one, &one]), shown("1"));
    assert_eq!(of(&[&one, &two]), Shown::Malformed);
    assert_eq!(of(&[&one, "x"]), Shown::Malformed);
    assert_eq!(of(&["x", &one]), Shown::Malformed);
    assert_eq!(Shown::of([&b"\xff"[..]]), Shown::Malformed);
}

fn user(name: &str) -> User {
    name.parse().unwrap()
}

fn digest(number: &str) -> Fingerprint {
    format!("ccp_{number:0>64}").parse::<ProxyKey>().unwrap().digest()
}

fn shown(number: &str) -> Shown {
    Shown::Key(digest(number))
}
