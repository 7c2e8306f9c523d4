//! Which account is worked on, and how are things in it named to AWS?

use super::values::AccountId;

/// The account that is worked on, as STS and the AWS settings name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    pub region: String,
    /// `aws`, `aws-us-gov`, `aws-cn`, …: from the caller's own ARN, never guessed.
    pub partition: String,
}

/// How many requests at once Lambda answers in an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    pub all: i32,
    /// Not reserved for any function.
    pub free: i32,
}

impl Room {
    /// Lambda keeps so many for all functions without a reservation, or all where there are fewer
    /// (AWS, *Configuring reserved concurrency*).
    const KEPT: i32 = 100;

    /// The most that can be reserved for a function that has `already`.
    #[must_use]
    pub fn most(self, already: i32) -> i32 {
        (self.free + already - self.all.min(Self::KEPT)).max(already)
    }

    /// Whether `number` can be reserved for a function that has `already`.
    #[must_use]
    pub fn takes(self, number: i32, already: i32) -> bool {
        number <= already || self.free + already - number >= self.all.min(Self::KEPT)
    }
}

impl Account {
    /// Of the regions that are not of the partition `aws`, how each begins.
    /// Source: partitions.json of botocore 1.43.106.
    const PARTITIONS: [(&str, &str); 7] = [
        ("cn-", "aws-cn"),
        ("us-gov-", "aws-us-gov"),
        ("us-iso-", "aws-iso"),
        ("us-isob-", "aws-iso-b"),
        ("eu-isoe-", "aws-iso-e"),
        ("us-isof-", "aws-iso-f"),
        ("eusc-", "aws-eusc"),
    ];

    /// An account that nobody has been asked about: its partition follows from the region.
    #[must_use]
    pub fn unseen(id: &AccountId, region: &str) -> Self {
        let of_region = Self::PARTITIONS.into_iter().find(|(start, _)| region.starts_with(start));
        let partition = of_region.map_or("aws", |(_, partition)| partition).to_owned();
        Self { id: id.to_string(), region: region.to_owned(), partition }
    }

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
