//! What is everything called, and how is it marked as ours?
//!
//! Names and tags are all the state there is: both derive from `--name`, the account and the
//! region, so that two runs on two machines agree. No name is ever looked for by searching.

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

use crate::aws::Account;
use crate::aws::regions::REGIONS;
use crate::engine::Tags;

/// The tag that says which tool takes care of a resource, and its value.
const MANAGED_BY: (&str, &str) = ("managed-by", "claude-proxy-provisioner");
/// The tag that carries `--name`.
const NAME_TAG: &str = "claude-proxy:name";
/// The tag that tells stacks of one name in different accounts and regions apart.
const STACK_ID_TAG: &str = "claude-proxy:stack-id";

/// The name of a stack, from which all other names derive.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(String);

/// A name that AWS would refuse somewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no name: write 2 to 40 of a-z, 0-9 and single hyphens between them, starting with a letter"
)]
pub struct BadName;

impl Name {
    const SHORTEST: usize = 2;
    const LONGEST: usize = 40;

    /// The name itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = BadName;

    /// Takes what all services accept: role names end at 64 characters (IAM), repositories are
    /// lower case without double hyphens (ECR).
    fn from_str(text: &str) -> Result<Self, BadName> {
        let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let good = (Self::SHORTEST..=Self::LONGEST).contains(&text.len())
            && text.bytes().all(letters)
            && text.starts_with(|first: char| first.is_ascii_lowercase())
            && !text.ends_with('-')
            && !text.contains("--");
        if good { Ok(Self(text.to_owned())) } else { Err(BadName) }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The names of all resources of one stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    pub name: Name,
    pub repository: String,
    pub function: String,
    pub role: String,
    pub table: String,
    pub log_group: String,
}

/// What is put around the name, and how much AWS takes of the whole, in characters: a name that
/// could be too long somewhere does not compile.
const FUNCTION: Affix = Affix::new("", "-api", 64);
const ROLE: Affix = Affix::new("", "-api-role", 64);
const TABLE: Affix = Affix::new("", "-rate-limits", 255);
const LOG_GROUP: Affix = Affix::new("/aws/lambda/", "-api", 512);

struct Affix(&'static str, &'static str);

impl Affix {
    const fn new(before: &'static str, after: &'static str, most: usize) -> Self {
        assert!(before.len() + Name::LONGEST + after.len() <= most, "longer than AWS takes");
        Self(before, after)
    }

    fn around(&self, name: &Name) -> String {
        format!("{}{name}{}", self.0, self.1)
    }
}

impl From<&Name> for Names {
    fn from(name: &Name) -> Self {
        Self {
            name: name.clone(),
            repository: name.to_string(),
            function: FUNCTION.around(name),
            role: ROLE.around(name),
            table: TABLE.around(name),
            log_group: LOG_GROUP.around(name),
        }
    }
}

/// The tags of the stack `name` in `account`.
#[must_use]
pub fn tags(name: &Name, account: &Account) -> Tags {
    let id = stack_id(name, &account.id, &account.region);
    Tags::new(MANAGED_BY, (NAME_TAG, name.as_str()), (STACK_ID_TAG, &id))
}

fn stack_id(name: &Name, account: &str, region: &str) -> String {
    hex::encode(Sha256::digest(format!("{account},{region},{name}")))[..12].to_owned()
}

/// The region of the stack of this name that has this id, if it is in this account: roles belong to
/// all regions at once, so each sees the others'.
#[must_use]
pub fn region_of(id: &str, name: &Name, account: &Account) -> Option<&'static str> {
    REGIONS.into_iter().find(|region| stack_id(name, &account.id, region) == id)
}
