//! `plan`: what `up` would do. Only ever reads.

use super::{
    Exit, Failure, Session, heading, refuse_foreign, refuse_missing_image, refuse_settings, source,
};
use crate::cli::PlanArgs;
use crate::engine::plan;

pub(super) async fn run(session: &mut Session, args: PlanArgs) -> Result<Exit, Failure> {
    let settings = session.settings(&args.stack)?;
    let image = source(&args.image, args.no_build, session.printer).await?;
    let cloud = session.connect().await?;
    let (stack, there) = session.look(&cloud, &settings, image).await?;
    let plan = stack.plan(&there);
    session.report = plan.json();
    refuse_foreign(&stack.survey(&there), settings.adopt)?;
    refuse_missing_image(&stack, &there)?;
    refuse_settings(&stack)?;
    let printer = session.printer;
    if !plan.is_empty() {
        printer.text(format!("{}\n", heading(&session.scope(&cloud), printer.stdout_style())));
    }
    printer.text(plan::text(&plan, printer.stdout_style()).trim_end());
    if args.no_build {
        printer.progress("The image was not compared (--no-build).");
    }
    Ok(if args.exit_code && !plan.is_empty() { Exit::Pending } else { Exit::Done })
}
