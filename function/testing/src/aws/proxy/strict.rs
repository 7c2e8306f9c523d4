//! How AWS is slow and strict where the emulators are neither.
//!
//! What has just been made is not seen, assumable or ready for the next few questions; what is being
//! changed refuses to be changed again. Counted in calls, so that no test needs a clock.

use std::collections::{BTreeMap, BTreeSet};

use http::StatusCode;
use serde_json::{Value, json};

use super::call::{Call, Refusal};

/// For how many calls something lasts.
const FEW: u32 = 2;

#[derive(Debug, Default)]
pub(super) struct Strict {
    /// What counts down: `KIND NAME`.
    left: BTreeMap<String, u32>,
    /// Tables whose expiry was changed within the hour.
    expiring: BTreeSet<String>,
    /// The role's id by its ARN, and for each function the role and the id that its variables are
    /// encrypted for.
    roles: BTreeMap<String, String>,
    pub(super) grants: BTreeMap<String, (String, String)>,
}

impl Strict {
    /// What AWS would answer instead of the emulator.
    pub(super) fn refuse(&mut self, call: &Call) -> Option<Refusal> {
        let (service, action) = call.name.split_once('.')?;
        match service {
            "iam" => self.iam(call, action),
            "dynamodb" => self.dynamodb(call, action),
            "lambda" => self.lambda(call, action),
            "ecr" => {
                let name = call.field("repositoryName");
                let put = action.starts_with("Put") || action.starts_with("Set");
                let unseen = put && self.takes("repository", &name);
                unseen.then(|| Refusal::new(400, "RepositoryNotFoundException", "not seen yet"))
            }
            "logs" => {
                let put = action == "PutRetentionPolicy";
                let unseen = put && self.takes("group", &call.field("logGroupName"));
                unseen.then(|| Refusal::new(400, "ResourceNotFoundException", "not seen yet"))
            }
            _ => None,
        }
    }

    fn iam(&mut self, call: &Call, action: &str) -> Option<Refusal> {
        let asks = ["GetRole", "PutRolePolicy", "AttachRolePolicy"].contains(&action);
        let unseen = asks && self.takes("role", &call.field("RoleName"));
        unseen.then(|| Refusal::new(404, "NoSuchEntity", "The role cannot be found."))
    }

    fn dynamodb(&mut self, call: &Call, action: &str) -> Option<Refusal> {
        let name = call.field("TableName");
        let missing = || Refusal::new(400, "ResourceNotFoundException", "Table not found");
        let used = |what| Refusal::new(400, "ResourceInUseException", what);
        let invalid = |what| Refusal::new(400, "ValidationException", what);
        match action {
            "DescribeTable" if self.takes("unseen", &name) => Some(missing()),
            "CreateTable" if self.has("deleting", &name) => Some(used("Table is being deleted")),
            "UpdateTimeToLive" | "DeleteTable" if self.has("creating", &name) => {
                Some(used("Table is being created"))
            }
            "UpdateTimeToLive" => {
                let known = self.expiring.contains(&name);
                known.then(|| invalid("TimeToLive is already enabled"))
            }
            _ => None,
        }
    }

    fn lambda(&mut self, call: &Call, action: &str) -> Option<Refusal> {
        let name = call.function();
        let missing = || Refusal::new(404, "ResourceNotFoundException", "not found");
        let conflict = || {
            let what = "The operation cannot be performed at this time. An update is in progress";
            Refusal::new(409, "ResourceConflictException", what)
        };
        match action {
            "CreateFunction" | "UpdateFunctionConfiguration" => {
                let role = call.field("Role");
                let role = role.rsplit_once('/').map_or(role.as_str(), |(_, name)| name);
                let said = "The role defined for the function cannot be assumed by Lambda.";
                if self.takes("trust", role) {
                    return Some(Refusal::new(400, "InvalidParameterValueException", said));
                }
                self.has("changing", &name).then(conflict)
            }
            "UpdateFunctionCode" | "DeleteFunction" => self.has("changing", &name).then(conflict),
            "GetFunction" => self.takes("function", &name).then(missing),
            "GetPolicy" => self.takes("policy", &name).then(missing),
            "GetFunctionUrlConfig" => self.takes("url", &name).then(missing),
            _ => None,
        }
    }

    /// What follows from a call that the emulator has answered; changes the answer to what AWS says.
    pub(super) fn note(&mut self, call: &Call, status: StatusCode, answer: &mut Value) {
        let Some((service, action)) = call.name.split_once('.') else { return };
        if !status.is_success() {
            return;
        }
        let (table, function) = (call.field("TableName"), call.function());
        match (service, action) {
            ("iam", "CreateRole") => {
                self.lasts("role", &call.field("RoleName"), 1);
                self.lasts("trust", &call.field("RoleName"), FEW);
            }
            ("ecr", "CreateRepository") => {
                self.lasts("repository", &call.field("repositoryName"), 1);
            }
            ("logs", "CreateLogGroup") => self.lasts("group", &call.field("logGroupName"), 1),
            ("dynamodb", "CreateTable") => {
                self.lasts("unseen", &table, FEW);
                self.lasts("creating", &table, FEW);
                self.lasts("untagged", &table, FEW);
            }
            ("dynamodb", "UpdateTimeToLive") => drop(self.expiring.insert(table)),
            ("dynamodb", "DescribeTable") if self.takes("creating", &table) => {
                answer["Table"]["TableStatus"] = "CREATING".into();
            }
            ("dynamodb", "DeleteTable") => {
                self.lasts("deleting", &table, FEW + 1);
                self.expiring.remove(&table);
            }
            ("dynamodb", "ListTagsOfResource") => {
                let arn = call.field("ResourceArn");
                let table = arn.rsplit_once('/').map_or("", |(_, name)| name);
                if self.takes("untagged", table) {
                    *answer = json!({"Tags": []});
                }
            }
            ("lambda", "CreateFunction") => {
                self.lasts("function", &function, 1);
                self.lasts("changing", &function, FEW);
                self.lasts("pending", &function, FEW);
            }
            ("lambda", "UpdateFunctionCode" | "UpdateFunctionConfiguration") => {
                self.lasts("changing", &function, FEW);
            }
            ("lambda", "GetFunction") if self.takes("changing", &function) => {
                match self.takes("pending", &function) {
                    true => answer["Configuration"]["State"] = "Pending".into(),
                    false => answer["Configuration"]["LastUpdateStatus"] = "InProgress".into(),
                }
            }
            ("lambda", "AddPermission") => self.lasts("policy", &function, 1),
            ("lambda", "CreateFunctionUrlConfig") => self.lasts("url", &function, 1),
            _ => {}
        }
    }

    /// A table that is gone for the emulator is still being deleted.
    pub(super) fn haunts(&mut self, call: &Call) -> Option<Value> {
        let name = call.field("TableName");
        let haunts = call.name == "dynamodb.DescribeTable" && self.takes("deleting", &name);
        haunts.then(|| json!({"Table": {"TableName": name, "TableStatus": "DELETING"}}))
    }

    /// Keeps the books on whose role a function's variables are encrypted for.
    pub(super) fn encrypt(&mut self, call: &Call, status: StatusCode, body: &str) {
        if !status.is_success() {
            return;
        }
        let between = |start: &str, end: &str| {
            let rest = body.split_once(start)?.1;
            Some(rest.split_once(end)?.0.to_owned())
        };
        if call.name == "iam.CreateRole"
            && let Some(id) = between("<RoleId>", "<")
        {
            self.roles.insert(call.field("RoleName"), id);
        }
        if ["lambda.CreateFunction", "lambda.UpdateFunctionConfiguration"]
            .contains(&call.name.as_str())
        {
            let role = call.field("Role");
            let role = role.rsplit_once('/').map_or("", |(_, name)| name).to_owned();
            let id = self.roles.get(&role).cloned().unwrap_or_default();
            let grant = self.grants.entry(call.function()).or_default();
            if grant.0 != role {
                *grant = (role, id);
            }
        }
    }

    /// Whether the function can decrypt its variables under the role that has the name now.
    pub(super) fn decrypts(&self, function: &str) -> bool {
        let grant = self.grants.get(function);
        grant.is_some_and(|(role, id)| self.roles.get(role) == Some(id))
    }

    fn lasts(&mut self, what: &str, name: &str, calls: u32) {
        self.left.insert(format!("{what} {name}"), calls);
    }

    fn has(&self, what: &str, name: &str) -> bool {
        self.left.get(&format!("{what} {name}")).is_some_and(|left| *left > 0)
    }

    /// Whether it still lasts; one call less from now on.
    fn takes(&mut self, what: &str, name: &str) -> bool {
        match self.left.get_mut(&format!("{what} {name}")) {
            Some(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }
}
