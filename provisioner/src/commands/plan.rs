//! `plan`: what `up` would do. Only ever reads.

use super::session::shown;
use super::up::planned;
use super::{Exit, Failure, Session, heading, image_source, template};
use crate::cli::{PlanArgs, TemplateArgs};

pub(super) async fn run(session: &mut Session, args: PlanArgs) -> Result<Exit, Failure> {
    if args.template {
        let wanted = TemplateArgs { stack: args.stack, ..TemplateArgs::default() };
        return template::run(session, wanted).await;
    }
    let settings = session.settings(&args.stack)?;
    let image_source = image_source(&args.image, args.no_build, session.printer).await?;
    let cloud = session.connect().await?;
    let image = session.image(&cloud, &settings, image_source).await?;
    let planned = planned(session, &cloud, &settings, &image).await?;
    let plan = &planned.plan;
    let printer = session.printer;
    if !plan.is_empty() {
        printer.text(format!("{}\n", heading(&session.scope(&cloud), printer.stdout_style())));
    }
    printer.text(shown(&planned, printer, printer.stdout_style()).trim_end());
    if args.no_build {
        printer.progress("The image was not compared (--no-build).");
    }
    Ok(if args.exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
}
