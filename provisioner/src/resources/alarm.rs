//! An alarm on a metric that the function writes. What it does when it rings (mail, a pager) is
//! somebody else's to say: actions that are there stay.

use std::collections::BTreeMap;

use function::telemetry::metrics::NAMESPACE;
use serde_json::{Map, Value, json};

use super::function::Function;
use crate::aws::direct::{Ask, CLOUDWATCH};
use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::plan::{Change, Fields};
use crate::engine::{Ownership, Tags};

/// What it watches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Watches {
    /// More than half of all requests were answered by Bedrock, for a quarter of an hour.
    FallbackShare,
    /// Bedrock failed more than five times in five minutes.
    BedrockErrors,
    /// So many percent of the cap on all users, of the month or the day, are used.
    ///
    /// An alarm sees seven days at most; the function itself says how full a month is.
    BudgetUsed(u8),
}

impl Watches {
    /// Each has an alarm; those on a cap only where there is one.
    pub const ALL: [Self; 4] =
        [Self::FallbackShare, Self::BedrockErrors, Self::BudgetUsed(80), Self::BudgetUsed(100)];
}

/// The alarm of this function on that; what it is like follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alarm {
    pub function: String,
    pub watches: Watches,
    pub tags: Tags,
}

/// What is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlarmLive {
    pub arn: String,
    /// The alarm, under the names of AWS.
    pub fields: Map<String, Value>,
    pub tags: BTreeMap<String, String>,
}

/// What somebody else decides about an alarm.
const OTHERS: [&str; 4] =
    ["ActionsEnabled", "AlarmActions", "OKActions", "InsufficientDataActions"];

impl Alarm {
    /// The alarm of `function`.
    #[must_use]
    pub fn of(function: &Function, watches: Watches) -> Self {
        Self { function: function.name.clone(), watches, tags: function.tags.clone() }
    }

    /// Its name, which derives from the function's.
    #[must_use]
    pub fn name(&self) -> String {
        let what = match self.watches {
            Watches::FallbackShare => "fallbacks".to_owned(),
            Watches::BedrockErrors => "bedrock-errors".to_owned(),
            Watches::BudgetUsed(percent) => format!("budget-{percent}"),
        };
        format!("{}-{what}", self.function)
    }

    /// What `PutMetricAlarm` is told, but for tags and actions.
    #[must_use]
    pub fn fields(&self) -> Map<String, Value> {
        if let Watches::BudgetUsed(percent) = self.watches {
            return self.budget(percent);
        }
        let common = |description: &str, periods: u32, threshold: f64| {
            json!({
                "AlarmName": self.name(), "AlarmDescription": description,
                "EvaluationPeriods": periods, "DatapointsToAlarm": periods,
                "ComparisonOperator": "GreaterThanThreshold", "Threshold": threshold,
                "TreatMissingData": "notBreaching",
            })
        };
        let (mut fields, metrics) = match self.watches {
            Watches::FallbackShare => (
                common("More than half of the requests were answered by Bedrock", 3, 50.0),
                // Of a few requests a share says nothing.
                json!([
                    self.metric("requests", "Requests", false),
                    self.metric("fallbacks", "Fallbacks", false),
                    {
                        "Id": "share", "Label": "Answered by Bedrock, in percent",
                        "Expression": "IF(requests >= 10, 100 * FILL(fallbacks, 0) / requests, 0)",
                        "ReturnData": true,
                    },
                ]),
            ),
            Watches::BedrockErrors | Watches::BudgetUsed(_) => (
                common("Bedrock failed more than five times in five minutes", 1, 5.0),
                json!([self.metric("errors", "BedrockErrors", true)]),
            ),
        };
        fields["Metrics"] = metrics;
        fields.as_object().cloned().unwrap_or_default()
    }

    /// It stays as it is while nobody falls back: a cap that is used up is not free again because
    /// nobody asks.
    fn budget(&self, percent: u8) -> Map<String, Value> {
        let mut metric = self.metric("used", "TotalBudgetUsed", true);
        metric["MetricStat"]["Stat"] = "Maximum".into();
        let description = match percent {
            100 => "The cap on what all users may spend on Bedrock is used up".to_owned(),
            percent => format!("{percent} % of what all users may spend on Bedrock is used"),
        };
        let fields = json!({
            "AlarmName": self.name(), "AlarmDescription": description,
            "EvaluationPeriods": 1, "DatapointsToAlarm": 1,
            "ComparisonOperator": "GreaterThanOrEqualToThreshold",
            "Threshold": f64::from(percent), "TreatMissingData": "ignore", "Metrics": [metric],
        });
        fields.as_object().cloned().unwrap_or_default()
    }

    fn metric(&self, id: &str, name: &str, shown: bool) -> Value {
        let dimensions = [json!({"Name": "FunctionName", "Value": self.function})];
        let metric = json!({"Namespace": NAMESPACE, "MetricName": name, "Dimensions": dimensions});
        let stat = json!({"Metric": metric, "Period": 300, "Stat": "Sum"});
        json!({"Id": id, "MetricStat": stat, "ReturnData": shown})
    }

    fn differences(&self, live: &AlarmLive) -> Fields {
        let fields = self.fields().into_iter().fold(Fields::new(), |fields, (key, after)| {
            let before = live.fields.get(&key).cloned().unwrap_or_default();
            if is_as_told(&before, &after) { fields } else { fields.field(key, before, after) }
        });
        fields.at_least("Tags", &live.tags, self.tags.pairs())
    }

    fn owned_tags(&self) -> Value {
        self.tags
            .pairs()
            .map(|(key, value)| json!({"Key": key, "Value": value}))
            .into_iter()
            .collect()
    }
}

/// Whether what AWS gives back is what it was told: more than that may stand in it, metrics may
/// come in another order, and a whole number as a fraction.
fn is_as_told(there: &Value, wanted: &Value) -> bool {
    match (there, wanted) {
        (Value::Object(there), Value::Object(wanted)) => {
            let is = |(key, value): (&String, &Value)| {
                there.get(key).is_some_and(|there| is_as_told(there, value))
            };
            wanted.iter().all(is)
        }
        (Value::Array(there), Value::Array(wanted)) => {
            there.len() == wanted.len()
                && wanted.iter().all(|one| there.iter().any(|there| is_as_told(there, one)))
        }
        (Value::Number(there), Value::Number(wanted)) => there.as_f64() == wanted.as_f64(),
        (there, wanted) => there == wanted,
    }
}

impl Resource<Clients> for Alarm {
    /// That it is there.
    type Spec = ();
    type Live = AlarmLive;
    const OPTIONAL: bool = true;

    fn address(&self) -> Address {
        Address::new("alarm", self.name())
    }

    fn refers_to(&self, (): &()) -> Vec<Address> {
        vec![Function::address_of(&self.function)]
    }

    fn ownership(&self, live: &AlarmLive) -> Ownership {
        self.tags.judge(&live.tags)
    }

    fn diff(&self, (): &(), live: Option<&AlarmLive>) -> Change {
        match live {
            None => {
                let change =
                    Change::create(self.address(), self.differences(&AlarmLive::default()));
                change.about("rings nowhere until somebody says where")
            }
            Some(live) => Change::compare(self.address(), self.differences(live)),
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<AlarmLive>, CloudError> {
        let ask = json!({"AlarmNames": [self.name()], "AlarmTypes": ["MetricAlarm"]});
        let direct = &cloud.clients().direct;
        let found = direct.call(Ask::action(CLOUDWATCH, "DescribeAlarms", &ask)).await?;
        let Some(fields) = found["MetricAlarms"][0].as_object().cloned() else { return Ok(None) };
        let arn = fields.get("AlarmArn").and_then(Value::as_str).unwrap_or_default().to_owned();
        let ask = Ask::action(CLOUDWATCH, "ListTagsForResource", &json!({"ResourceARN": arn}));
        let Some(found) = super::tags(direct.call(ask).await).or_absent()? else {
            return Ok(None);
        };
        let text = |tag: &Value, key: &str| tag[key].as_str().unwrap_or_default().to_owned();
        let tags = found["Tags"].as_array().into_iter().flatten();
        let tags = tags.map(|tag| (text(tag, "Key"), text(tag, "Value"))).collect();
        Ok(Some(AlarmLive { arn, fields, tags }))
    }

    async fn apply(
        &self,
        (): &(),
        live: Option<AlarmLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let mut fields = self.fields();
        // Tags count at the creation only; what somebody else decided is told again, or it is gone.
        fields.insert("Tags".to_owned(), self.owned_tags());
        if let Some(live) = &live {
            fields.remove("Tags");
            let others = OTHERS.into_iter().filter_map(|key| Some((key, live.fields.get(key)?)));
            fields.extend(others.map(|(key, value)| (key.to_owned(), value.clone())));
        }
        let fields = Value::Object(fields);
        let put = async || {
            let ask = Ask::action(CLOUDWATCH, "PutMetricAlarm", &fields);
            cloud.clients().direct.call(ask).await
        };
        cloud.persist(put).await?;
        let Some(live) = live else { return Ok(()) };
        if Fields::new().at_least("", &live.tags, self.tags.pairs()) == Fields::new() {
            return Ok(());
        }
        let tags = json!({"ResourceARN": live.arn, "Tags": self.owned_tags()});
        let tag = async || {
            cloud.clients().direct.call(Ask::action(CLOUDWATCH, "TagResource", &tags)).await
        };
        cloud.persist(tag).await.map(drop)
    }

    async fn delete(&self, _live: AlarmLive, cloud: &Writer) -> Result<(), CloudError> {
        let names = json!({"AlarmNames": [self.name()]});
        let delete = async || {
            let ask = Ask::action(CLOUDWATCH, "DeleteAlarms", &names);
            cloud.clients().direct.call(ask).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_that_aws_writes_otherwise_is_the_same() {
        let wanted = json!([{"Id": "a", "Period": 300}, {"Id": "b", "Label": "x"}]);
        let there = json!([
            {"Id": "b", "Label": "x", "ReturnData": true},
            {"Id": "a", "Period": 300.0, "AccountId": "1"},
        ]);
        assert!(is_as_told(&there, &wanted));
        for other in [
            json!([{"Id": "a", "Period": 300}]),
            json!([{"Id": "a", "Period": 60}, {"Id": "b", "Label": "x"}]),
            json!([{"Id": "a", "Period": 300}, {"Id": "b"}]),
            json!([{"Id": "a", "Period": 300}, {"Id": "b", "Label": "x"}, {"Id": "c"}]),
            json!(null),
        ] {
            assert!(!is_as_told(&other, &wanted), "{other}");
        }
    }
}
