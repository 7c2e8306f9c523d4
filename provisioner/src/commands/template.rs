//! `template`: the stack as whoever approves it reads it. Changes nothing and compares nothing.

use std::io::ErrorKind;

use super::refuse::{refuse_boundary, refuse_settings};
use super::{Exit, Failure, Session};
use crate::aws::{Account, Cloud};
use crate::cli::{Format, TemplateArgs};
use crate::resources::image::ImageSpec;
use crate::stack::template::Wanted;
use crate::stack::{self, Observed};

pub(super) async fn run(session: &mut Session, args: TemplateArgs) -> Result<Exit, Failure> {
    if args.format == Some(Format::Yaml) && session.printer.is_json() {
        return Err(Failure::new(Exit::Usage, "--json and --format yaml are two forms: say one"));
    }
    let settings = session.settings(&args.stack)?;
    let account = account(session, &args).await?;
    refuse_boundary(&settings, &account)?;
    // The same whoever asks, whatever is there.
    let there = Observed::default();
    let declared = stack::declare(&settings, &account, &there, ImageSpec::NotCompared);
    refuse_settings(&declared, &settings, false)?;
    let template = declared.template(&account, Wanted { retain: args.retain });
    let text = match args.format.unwrap_or_default() {
        Format::Json => format!("{template:#}"),
        Format::Yaml => serde_saphyr::to_string(&template)
            .map_err(|error| Failure::new(Exit::Failed, format!("no YAML: {error}")))?,
    };
    match session.printer.line(text.trim_end()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let message = format!("the template could not be written: {error}");
            Err(Failure::new(Exit::Failed, message).hint("write it where there is room"))
        }
        Ok(()) | Err(_) => Ok(Exit::Done),
    }
}

/// For which account: the one that is named, else that of the credentials.
async fn account(session: &Session, args: &TemplateArgs) -> Result<Account, Failure> {
    match &args.account {
        Some(id) => Ok(Cloud::unseen(id, &session.place()).await?),
        None => Ok(session.connect().await?.account),
    }
}
