//! What AWS takes, as types: a value that exists is one that AWS does not refuse.
//!
//! What a person typed is checked when it is parsed, what stands in the source when it is compiled:
//! a constant out of bounds is no program. Nothing here knows a stack.

use std::fmt;
use std::str::FromStr;

use super::Account;

/// A number that AWS bounds.
macro_rules! bounded {
    ($(#[$doc:meta])* $name:ident, $from:literal..=$to:literal $unit:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(i32);

        impl $name {
            /// A constant: a number out of bounds does not compile.
            #[must_use]
            pub const fn new(number: i32) -> Self {
                assert!(number >= $from && number <= $to, "out of AWS's bounds");
                Self(number)
            }

            /// The number.
            #[must_use]
            pub const fn get(self) -> i32 {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                let number = text.parse().ok().filter(|number| ($from..=$to).contains(number));
                number.map(Self).ok_or_else(|| {
                    format!("AWS takes a whole number from {} to {} {}", $from, $to, $unit)
                })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

bounded!(
    /// The function's memory, in MiB.
    Memory, 128..=10_240 "MiB"
);
bounded!(
    /// How long one request may take, in seconds.
    Timeout, 1..=900 "seconds"
);
bounded!(
    /// How many requests the function answers at once, at most and at least.
    Concurrency, 0..=100_000 "requests"
);

/// How long log lines are kept, in days: only certain numbers exist (`PutRetentionPolicy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention(i32);

impl Retention {
    const DAYS: [i32; 22] = [
        1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557,
        2922, 3288, 3653,
    ];

    /// A constant: a number that `CloudWatch` does not have does not compile.
    #[must_use]
    pub const fn days(days: i32) -> Self {
        let mut index = 0;
        while index < Self::DAYS.len() {
            if Self::DAYS[index] == days {
                return Self(days);
            }
            index += 1;
        }
        panic!("CloudWatch has no such retention")
    }

    /// In days.
    #[must_use]
    pub const fn get(self) -> i32 {
        self.0
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let days = text.parse().ok().filter(|days| Self::DAYS.contains(days));
        days.map(Self).ok_or_else(|| {
            let all: Vec<_> = Self::DAYS.iter().map(i32::to_string).collect();
            format!("CloudWatch knows these numbers of days only: {}", all.join(", "))
        })
    }
}

impl fmt::Display for Retention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The ARN of a policy that bounds what the role may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boundary(pub String);

impl fmt::Display for Boundary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Boundary {
    type Err = &'static str;

    /// What stands in a tag may have 256 characters, and not all that a policy's name may have
    /// (IAM, *Tagging IAM resources*).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = |byte: u8| byte.is_ascii_alphanumeric() || b"_+=.@-/".contains(&byte);
        let of_policy = |path: &str| {
            let name = path.rsplit_once('/').map_or(path, |(_, name)| name);
            let parts = path.split('/').all(|part| !part.is_empty());
            name.len() <= 128 && path.bytes().all(known) && parts
        };
        let parts = text.splitn(6, ':').collect::<Vec<_>>();
        let good = match parts[..] {
            ["arn", partition, "iam", "", account, resource] => {
                let digits = account.len() == 12 && account.bytes().all(|b| b.is_ascii_digit());
                let path = resource.strip_prefix("policy/");
                partition.starts_with("aws")
                    && partition.bytes().all(known)
                    && (digits || account == "aws")
                    && path.is_some_and(of_policy)
            }
            _ => false,
        };
        (good && text.len() <= 256).then(|| Self(text.to_owned())).ok_or(
            "a boundary is the ARN of a policy, such as arn:aws:iam::123456789012:policy/NAME, of \
             at most 256 of A-Z a-z 0-9 _ + = . @ - / :",
        )
    }
}

impl Boundary {
    /// Why a role of this account cannot have it, if it cannot.
    #[must_use]
    pub fn misfit(&self, account: &Account) -> Option<String> {
        let mut parts = self.0.split(':').skip(1);
        let (partition, owner) = (parts.next()?, parts.nth(2)?);
        let fits = partition == account.partition && (owner == account.id || owner == "aws");
        let Account { id, partition, .. } = account;
        (!fits).then(|| {
            format!(
                "the boundary {self} is not of this account: IAM takes a policy of \
                 arn:{partition}:iam::{id}, or one of AWS's own"
            )
        })
    }
}

/// A word that stands in the source, of the letters that AWS takes for it.
macro_rules! word {
    ($(#[$doc:meta])* $name:ident, 1..=$most:literal and $marks:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct $name(&'static str);

        impl $name {
            /// A constant: a word that AWS would refuse does not compile.
            #[must_use]
            pub const fn new(word: &'static str) -> Self {
                assert!(is_word(word, $most, $marks), "AWS would refuse this word");
                Self(word)
            }

            /// The word.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.0)
            }
        }
    };
}

word!(
    /// The name of a policy inside a role (IAM, `PutRolePolicy`).
    PolicyName, 1..=128 and b"+=,.@-_"
);
word!(
    /// The id of a statement in a function's policy (Lambda, `AddPermission`).
    StatementId, 1..=100 and b"-_"
);
word!(
    /// An attribute of a table's items, without what an expression would trip over (DynamoDB).
    Attribute, 1..=255 and b"_"
);

/// The number of an account: twelve digits (AWS, *View AWS account identifiers*).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(String);

impl FromStr for AccountId {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        if good { Ok(Self(text.to_owned())) } else { Err("an account has twelve digits") }
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One to `most` letters, digits and `marks`.
const fn is_word(word: &str, most: usize, marks: &[u8]) -> bool {
    let bytes = word.as_bytes();
    let mut index = 0;
    while index < bytes.len() {
        let mut good = bytes[index].is_ascii_alphanumeric();
        let mut mark = 0;
        while mark < marks.len() {
            good |= bytes[index] == marks[mark];
            mark += 1;
        }
        if !good {
            return false;
        }
        index += 1;
    }
    !bytes.is_empty() && bytes.len() <= most
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_not_empty_nor_too_long_nor_of_strange_letters() {
        assert!(is_word("Bedrock-2", 9, b"-"));
        for (word, most) in [("", 9), ("Bedrock-22", 9), ("a b", 9), ("ä", 9)] {
            assert!(!is_word(word, most, b"-"), "{word}");
        }
    }
}
