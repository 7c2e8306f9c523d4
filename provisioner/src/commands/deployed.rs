//! What of a stack that must be there is there: its table, its function, its URL.
//!
//! Whatever a command is about to read or change by name is looked at first: a stranger's table of
//! our name is not ours.

use std::collections::BTreeMap;

use function::settings::Settings as FunctionSettings;

use super::{Exit, Failure, Session};
use crate::aws::{Clients, Cloud, CloudError, Reader, Writer};
use crate::engine::Address;
use crate::engine::Resource;
use crate::engine::{Foreign, Ownership};
use crate::proxy::items::Items;
use crate::resources::function::{Function, FunctionLive};
use crate::stack::names::Names;
use crate::stack::settings::Environment;
use crate::stack::{Stack, cure_of};

/// The stack of the session's name, as the account has it.
pub(super) struct Deployed {
    pub(super) names: Names,
    pub(super) stack: Stack,
    pub(super) cloud: Cloud,
    pub(super) reader: Reader,
}

impl Deployed {
    /// Finds out who asks. Whether there is a stack is found out by what is asked for next.
    pub(super) async fn connect(session: &Session) -> Result<Self, Failure> {
        let cloud = session.connect().await?;
        let name = &session.global.name;
        let stack = Stack::named(name, &cloud.account);
        Ok(Self { names: Names::from(name), stack, reader: cloud.reader(), cloud })
    }

    /// A way in that may change things.
    pub(super) fn writer(&self, session: &Session) -> Writer {
        self.cloud.writer(session.printer.say(), session.stop.clone())
    }

    /// The items of the stack's table.
    pub(super) async fn items(&self) -> Result<Items, Failure> {
        let table = &self.stack.table;
        self.ours(table, table.read(&self.reader).await)?;
        Ok(Items::of(table.name.clone()))
    }

    /// The stack's function.
    pub(super) async fn function(&self) -> Result<FunctionLive, Failure> {
        let name = &self.names.function;
        let address = Address::new("lambda", name);
        let found = Function::find(name, &self.reader).await.map_err(|e| e.at(&address))?;
        let Some(live) = found else { return Err(self.absent(&address)) };
        match self.stack.function.ownership(&live) {
            Ownership::Ours => Ok(live),
            Ownership::Foreign(why) => Err(self.foreign(&address, &why)),
        }
    }

    /// What the function is set to, as it would read it itself.
    pub(super) async fn settings(&self) -> Result<FunctionSettings, Failure> {
        Self::settings_of(&self.function().await?.environment)
    }

    /// As [`Self::settings`], of variables that were read already.
    pub(super) fn settings_of(
        environment: &BTreeMap<String, String>,
    ) -> Result<FunctionSettings, Failure> {
        Environment::read_whole(environment).map_err(|problems| {
            Failure::new(Exit::Failed, problems.join("\n"))
                .hint("the function cannot start with these settings: `config set` mends them")
        })
    }

    /// Where clients reach the function, without a slash at its end.
    pub(super) async fn url(&self) -> Result<String, Failure> {
        let url = &self.stack.url;
        let live = self.ours(url, url.read(&self.reader).await)?;
        Ok(live.url.trim_end_matches('/').to_owned())
    }

    /// What was read of a resource that must be there and ours.
    pub(super) fn ours<R: Resource<Clients>>(
        &self,
        resource: &R,
        read: Result<Option<R::Live>, CloudError>,
    ) -> Result<R::Live, Failure> {
        let address = resource.address();
        let live = read.map_err(|error| error.at(&address))?;
        let Some(live) = live else { return Err(self.absent(&address)) };
        match resource.ownership(&live) {
            Ownership::Ours => Ok(live),
            Ownership::Foreign(why) => Err(self.foreign(&address, &why)),
        }
    }

    fn foreign(&self, address: &Address, why: &Foreign) -> Failure {
        let failure = Failure::new(Exit::Refused, format!("{address} is not ours: {why}"));
        let hint = cure_of(&[why], true, (&self.names.name, &self.cloud.account));
        Failure { resource: Some(address.clone()), ..failure.hint(hint) }
    }

    fn absent(&self, address: &Address) -> Failure {
        let Self { names, cloud, .. } = self;
        let (name, account) = (&names.name, &cloud.account);
        let message = format!(
            "there is no stack named {name} in account {}, region {}: {address} does not exist",
            account.id, account.region
        );
        let failure = Failure::new(Exit::Failed, message);
        let hint = "make it (provisioner up), or name another: --name, --region, --profile";
        Failure { resource: Some(address.clone()), ..failure.hint(hint) }
    }
}

/// A failure of something that may have been done in part.
pub(super) fn partly(error: CloudError, writer: &Writer) -> Failure {
    let failure = Failure::from(error);
    match writer.has_changed() && failure.exit != Exit::Interrupted {
        true => failure.unfinished(),
        false => failure,
    }
}
