//! One page of graphs in `CloudWatch`, made of the metrics that the function writes.
//!
//! Dashboards have no tags, so the marks of ownership stand in the first widget, as a comment of
//! its Markdown: whoever keeps the widget keeps the owner. Names are the account's, whatever the
//! region, so the region is part of the name. Whether there is one is what says whether the alarms
//! are wanted too: it is made before them.

use std::collections::BTreeMap;

use function::telemetry::metrics::NAMESPACE;
use serde_json::{Value, json};

use super::function::Function;
use crate::aws::Account;
use crate::aws::direct::{Ask, CLOUDWATCH};
use crate::aws::{Clients, CloudError, OrAbsent as _, Reader, Writer};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::plan::{Change, Fields};
use crate::engine::{Ownership, Tags};

/// The dashboard of this function; what is on it follows from it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dashboard {
    pub name: String,
    pub function: String,
    pub region: String,
    pub tags: Tags,
}

/// What it is to show besides its graphs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DashboardSpec {
    /// The ARNs of alarms.
    pub alarms: Vec<String>,
}

/// What is there: its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DashboardLive(pub Value);

impl Dashboard {
    /// The dashboard of `function`.
    #[must_use]
    pub fn of(function: &Function, account: &Account) -> Self {
        Self {
            name: format!("{}-{}", function.name, account.region),
            function: function.name.clone(),
            region: account.region.clone(),
            tags: function.tags.clone(),
        }
    }

    /// What is on the page. Widgets are placed on a grid of 24 columns.
    #[must_use]
    pub fn body(&self, spec: &DashboardSpec) -> Value {
        let (half, full) = (12, 24);
        let graphs = [
            ("Requests in 5 minutes", self.requests()),
            ("Fallbacks to Bedrock, by reason", self.by_reason()),
            ("First byte, median and 90 %, in ms", self.first_byte()),
            ("Tokens in 5 minutes", self.tokens()),
            ("Limits remembered, errors of Bedrock", self.trouble()),
            ("Dollars in 5 minutes", self.dollars()),
            ("Bedrock not asked for want of budget", self.refusals()),
        ];
        let graph = |(number, (title, metrics)): (usize, (&str, Value))| {
            json!({
                "type": "metric", "x": number % 2 * half, "y": 2 + number / 2 * 6, "width": half,
                "height": 6,
                "properties": {
                    "title": title, "metrics": metrics, "region": self.region, "view": "timeSeries",
                    "stat": "Sum", "period": 300, "yAxis": {"left": {"min": 0}},
                },
            })
        };
        let text = json!({
            "type": "text", "x": 0, "y": 0, "width": full, "height": 2,
            "properties": {"markdown": self.heading()},
        });
        let alarms = json!({
            "type": "alarm", "x": half, "y": 20, "width": half, "height": 6,
            "properties": {"title": "Alarms", "alarms": spec.alarms},
        });
        let graphs = graphs.into_iter().enumerate().map(graph);
        let widgets: Vec<_> = [text].into_iter().chain(graphs).chain([alarms]).collect();
        json!({"widgets": widgets})
    }

    fn heading(&self) -> String {
        let marks = self.tags.pairs().map(|(key, value)| format!("{key}={value}")).join(" ");
        let function = &self.function;
        format!("# {function}\nMade by `provisioner up --dashboard`.\n\n{COMMENT}{marks})")
    }

    /// One line of a graph: a metric of the function, with more dimensions if any.
    fn metric(&self, name: &str, more: &[&str], properties: Value) -> Value {
        let mut line = vec![NAMESPACE, name, "FunctionName", &self.function];
        line.extend(more);
        let mut line: Vec<Value> = line.into_iter().map(Value::from).collect();
        line.push(properties);
        line.into()
    }

    fn requests(&self) -> Value {
        json!([
            self.metric("Requests", &[], json!({"label": "all"})),
            self.metric("Fallbacks", &[], json!({"label": "answered by Bedrock"})),
        ])
    }

    fn by_reason(&self) -> Value {
        let reasons = ["rate_limited", "cooldown", "overloaded", "server_error", "unreachable"];
        reasons
            .map(|reason| self.metric("Fallbacks", &["reason", reason], json!({"label": reason})))
            .into_iter()
            .collect()
    }

    /// By nobody's name: a metric has no person in it.
    fn dollars(&self) -> Value {
        let hidden =
            |name: &str, id: &str| self.metric(name, &[], json!({"id": id, "visible": false}));
        let shown = |id: &str, label: &str| {
            let expression = format!("{id} / 1000000");
            json!([{"expression": expression, "label": label}])
        };
        json!([
            hidden("BedrockCostMicroUSD", "all"),
            hidden("AssumedCostMicroUSD", "assumed"),
            shown("all", "Bedrock"),
            shown("assumed", "of it priced by assumption"),
        ])
    }

    fn refusals(&self) -> Value {
        let of = |budget: &str, label: &str| {
            self.metric("BudgetRefusals", &["budget", budget], json!({"label": label}))
        };
        json!([of("used_up", "used up"), of("unavailable", "table not to be read")])
    }

    fn first_byte(&self) -> Value {
        let lines = UPSTREAMS.into_iter().flat_map(|upstream| {
            ["p50", "p90"].map(|stat| {
                let properties = json!({"stat": stat, "label": format!("{upstream} {stat}")});
                self.metric("FirstByte", &["upstream", upstream], properties)
            })
        });
        lines.collect()
    }

    fn tokens(&self) -> Value {
        let lines = UPSTREAMS.into_iter().flat_map(|upstream| {
            [("InputTokens", "in"), ("OutputTokens", "out")].map(|(name, word)| {
                let properties = json!({"label": format!("{upstream} {word}")});
                self.metric(name, &["upstream", upstream], properties)
            })
        });
        lines.collect()
    }

    fn trouble(&self) -> Value {
        json!([
            self.metric("LimitsRemembered", &[], json!({"label": "limits"})),
            self.metric("BedrockErrors", &[], json!({"label": "errors of Bedrock"})),
        ])
    }
}

const UPSTREAMS: [&str; 2] = ["anthropic", "bedrock"];

/// How a comment begins in Markdown: nobody sees it.
const COMMENT: &str = "[//]: # (";

/// The marks of ownership in a dashboard's body, whoever wrote it.
fn marks(body: &Value) -> BTreeMap<String, String> {
    let widgets = body["widgets"].as_array().into_iter().flatten();
    let texts = widgets.filter_map(|widget| widget["properties"]["markdown"].as_str());
    let comments = texts.flat_map(|text| text.split(COMMENT).skip(1));
    let marks = comments.filter_map(|rest| rest.split(')').next());
    let pairs = marks.flat_map(str::split_whitespace).filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

impl Resource<Clients> for Dashboard {
    type Spec = DashboardSpec;
    type Live = DashboardLive;
    const OPTIONAL: bool = true;

    fn address(&self) -> Address {
        Address::new("dashboard", &self.name)
    }

    fn refers_to(&self, _: &DashboardSpec) -> Vec<Address> {
        vec![Function::address_of(&self.function)]
    }

    fn ownership(&self, live: &DashboardLive) -> Ownership {
        self.tags.judge(&marks(&live.0))
    }

    fn diff(&self, spec: &DashboardSpec, live: Option<&DashboardLive>) -> Change {
        let fields = |before: Value| Fields::new().field("DashboardBody", before, self.body(spec));
        match live {
            None => Change::create(self.address(), fields(Value::Null)),
            Some(live) => Change::compare(self.address(), fields(live.0.clone())),
        }
    }

    async fn read(&self, cloud: &Reader) -> Result<Option<DashboardLive>, CloudError> {
        let ask = Ask::action(CLOUDWATCH, "GetDashboard", &json!({"DashboardName": self.name}));
        let Some(found) = cloud.clients().direct.call(ask).await.or_absent()? else {
            return Ok(None);
        };
        let body = found["DashboardBody"].as_str().unwrap_or_default();
        Ok(Some(DashboardLive(serde_json::from_str(body).unwrap_or_default())))
    }

    async fn apply(
        &self,
        spec: &DashboardSpec,
        _live: Option<DashboardLive>,
        cloud: &Writer,
    ) -> Result<(), CloudError> {
        let body = self.body(spec).to_string();
        let body = json!({"DashboardName": self.name, "DashboardBody": body});
        let put = async || {
            let ask = Ask::action(CLOUDWATCH, "PutDashboard", &body);
            cloud.clients().direct.call(ask).await
        };
        cloud.persist(put).await.map(drop)
    }

    async fn delete(&self, _live: DashboardLive, cloud: &Writer) -> Result<(), CloudError> {
        let names = json!({"DashboardNames": [self.name]});
        let delete = async || {
            let ask = Ask::action(CLOUDWATCH, "DeleteDashboards", &names);
            cloud.clients().direct.call(ask).await.or_absent()
        };
        cloud.persist(delete).await.map(drop)
    }
}
