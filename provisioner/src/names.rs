//! What is everything called, and how is it marked as ours?
//!
//! Names and tags are all the state there is: both derive from `--name`, the account and the
//! region, so that two runs on two machines agree. No name is ever looked for by searching.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// The tag that says which tool takes care of a resource, and its value.
pub const MANAGED_BY: (&str, &str) = ("managed-by", "claude-proxy-provisioner");
/// The tag that carries `--name`.
pub const NAME_TAG: &str = "claude-proxy:name";
/// The tag that tells stacks of one name in different accounts and regions apart.
pub const STACK_ID_TAG: &str = "claude-proxy:stack-id";

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

/// The account that is worked on, as STS and the AWS settings name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    pub region: String,
    /// `aws`, `aws-us-gov`, `aws-cn`, …: from the caller's own ARN, never guessed.
    pub partition: String,
}

impl Account {
    /// An ARN of this account.
    #[must_use]
    pub fn arn(&self, service: &str, resource: &str) -> String {
        let Self { id, region, partition } = self;
        format!("arn:{partition}:{service}:{region}:{id}:{resource}")
    }

    /// The ARN of a policy that AWS itself maintains.
    #[must_use]
    pub fn policy_of_aws(&self, path: &str) -> String {
        format!("arn:{}:iam::aws:policy/{path}", self.partition)
    }

    /// The ARN of something of IAM, which knows no regions.
    #[must_use]
    pub fn iam_arn(&self, resource: &str) -> String {
        format!("arn:{}:iam::{}:{resource}", self.partition, self.id)
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

/// The tags that are put on everything at its creation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tags {
    name: Name,
    stack_id: String,
}

/// Whose is what was found?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// It carries our tags, or belongs to something that does.
    Ours,
    /// It is never changed or deleted.
    Foreign(Foreign),
}

/// Why something is not ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Foreign {
    /// Our tags are missing: `--adopt` would take it over.
    Untagged,
    /// It belongs to a stack of another name.
    OtherName(String),
    /// It belongs to the stack of this name in another region or account.
    OtherStack,
    /// It could never become ours, whatever its tags.
    Unfit(&'static str),
}

impl Foreign {
    /// Whether `--adopt` may take it over.
    #[must_use]
    pub const fn adoptable(&self) -> bool {
        matches!(self, Self::Untagged | Self::OtherName(_))
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untagged => f.write_str("it does not carry our tags"),
            Self::OtherName(name) => write!(f, "it belongs to the stack named \"{name}\""),
            Self::OtherStack => {
                f.write_str("it belongs to the stack of this name in another region or account")
            }
            Self::Unfit(why) => f.write_str(why),
        }
    }
}

impl Tags {
    /// The tags of the stack `name` in `account`.
    #[must_use]
    pub fn new(name: &Name, account: &Account) -> Self {
        let key = format!("{},{},{name}", account.id, account.region);
        let stack_id = hex::encode(Sha256::digest(key))[..12].to_owned();
        Self { name: name.clone(), stack_id }
    }

    /// Keys and values, as they should be.
    #[must_use]
    pub fn wanted(&self) -> [(&'static str, &str); 3] {
        [MANAGED_BY, (NAME_TAG, self.name.as_str()), (STACK_ID_TAG, &self.stack_id)]
    }

    /// Judges by `live`, the tags that something carries. Ours is what carries `managed-by` and our
    /// name, and no other stack's id.
    #[must_use]
    pub fn judge(&self, live: &BTreeMap<String, String>) -> Ownership {
        let get = |key: &str| live.get(key).map(String::as_str);
        let foreign = match (get(MANAGED_BY.0), get(NAME_TAG), get(STACK_ID_TAG)) {
            (Some(by), Some(name), id) if by == MANAGED_BY.1 && name == self.name.as_str() => {
                if id.is_none_or(|id| id == self.stack_id) {
                    return Ownership::Ours;
                }
                Foreign::OtherStack
            }
            (Some(by), Some(name), _) if by == MANAGED_BY.1 => Foreign::OtherName(name.to_owned()),
            _ => Foreign::Untagged,
        };
        Ownership::Foreign(foreign)
    }
}
