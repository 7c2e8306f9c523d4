//! What every command works with: who asks, may it be done, is it time to stop.

use std::io::{self, BufRead as _, Read as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use serde_json::{Map, Value};

use super::up::{Planned, since};
use super::{Exit, Failure, room};
use crate::aws::{Cloud, CloudError, ConnectOptions, Pace, Reader, Stop};
use crate::build::{self, Workspace};
use crate::cli::{Global, ImageArgs, StackArgs};
use crate::engine::plan::{self, Action, Plan, Style};
use crate::engine::resource::TAG_LOOKS;
use crate::engine::{Foreign, Resource as _, part};
use crate::image::{Architecture, Digest, OciImage};
use crate::resources::image::ImageSpec;
use crate::stack::cost::Estimate;
use crate::stack::settings::{Environment, Settings};
use crate::stack::{self, Declaration, Observed, Stack};
use crate::view::Scope;
use crate::view::printer::Printer;

/// What a command works with.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) global: Global,
    pub(super) printer: Printer,
    pub(super) stop: Stop,
    /// A question stands: no step is under way.
    pub(super) asking: Arc<AtomicBool>,
    /// The object that `--json` prints, as far as it is known.
    pub(super) report: Map<String, Value>,
}

/// Whoever waits so long is told for what.
const SILENCE: Duration = Duration::from_secs(5);

/// As much of an answer is read, in bytes.
const LONGEST_ANSWER: u64 = 1024;

/// Where the image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ImageSource {
    /// It is built from this source.
    Built(Workspace),
    /// The bytes of a ready binary.
    Binary(Vec<u8>),
    /// One that the repository still has.
    Kept(Digest),
    /// It is not looked at.
    NotCompared,
}

impl Session {
    /// Where the stack is, for texts.
    pub(super) fn scope<'a>(&'a self, cloud: &'a Cloud) -> Scope<'a> {
        Scope { global: &self.global, account: &cloud.account }
    }

    /// Which region and profile, as far as they were typed: nothing between quotes is nothing.
    pub(super) fn place(&self) -> ConnectOptions {
        let typed = |word: &Option<String>| word.clone().filter(|word| !word.trim().is_empty());
        let Global { region, profile, .. } = &self.global;
        ConnectOptions { region: typed(region), profile: typed(profile) }
    }

    pub(super) async fn connect(&self) -> Result<Cloud, Failure> {
        Ok(self.try_connect().await??)
    }

    /// As `connect`, for whoever has more to say of a failure.
    pub(super) async fn try_connect(&self) -> Result<Result<Cloud, CloudError>, Failure> {
        let place = self.place();
        let pace = Pace(Duration::from_millis(self.global.wait_unit_ms));
        let calls = self.printer.is_verbose().then(|| self.printer.say());
        let mut connect = Box::pin(Cloud::connect(&place, pace, calls));
        let connected = async {
            if let Ok(connected) = tokio::time::timeout(SILENCE, &mut connect).await {
                return Ok(connected);
            }
            self.printer.waiting("for credentials, and AWS's first answer");
            Ok(connect.await)
        };
        self.unless_stopped(connected).await
    }

    /// Gives up at the first Ctrl-C: only for what changes nothing.
    pub(super) fn unless_stopped<T>(
        &self,
        asking: impl Future<Output = Result<T, Failure>>,
    ) -> impl Future<Output = Result<T, Failure>> {
        let asking = Box::pin(asking);
        async move {
            tokio::select! {
                asked = asking => asked,
                () = self.stop.wait() => Err(Failure::new(Exit::Interrupted, "interrupted")),
            }
        }
    }

    /// Asks for a yes.
    pub(super) async fn consent(&self, question: &str) -> Result<(), Failure> {
        if self.global.yes {
            return Ok(());
        }
        if !self.printer.can_ask() {
            self.printer.progress("");
            let message = "nobody is there to say yes: this is no terminal, so nothing was changed";
            return Err(Failure::new(Exit::Refused, message).hint("--yes says it beforehand"));
        }
        let line = self.ask(&format!("{question} [y/N] ")).await?;
        match line.trim().to_lowercase().as_str() {
            "y" | "yes" => Ok(()),
            _ => Err(Failure::new(Exit::Refused, "nothing was changed: the answer was not yes")),
        }
    }

    /// Shows a plan until somebody says yes to it and it is still what would be done: `look` makes
    /// it again after each yes, with what else was read for it.
    pub(super) async fn agree<T>(
        &self,
        question: impl Fn(&T) -> String,
        look: impl AsyncFn() -> Result<(Plan, T), Failure>,
    ) -> Result<(Plan, T), Failure> {
        let (printer, mut shown) = (self.printer, look().await?);
        let style = printer.stderr_style();
        while !shown.0.is_empty() {
            printer.progress(plan::text(&shown.0, style).trim_end());
            self.consent(&question(&shown.1)).await?;
            let now = look().await?;
            if now.0 == shown.0 {
                return Ok(now);
            }
            printer.progress(&format!("\n{}\n", since(&shown.0, &now.0)));
            if self.global.yes {
                printer.progress(plan::text(&now.0, style).trim_end());
                return Ok(now);
            }
            shown = now;
        }
        Ok(shown)
    }

    /// Asks somebody who is there. The answer has its end of line, unless nothing more will come.
    pub(super) async fn ask(&self, question: &str) -> Result<String, Failure> {
        drop(write!(io::stderr(), "\n{question}"));
        let line = tokio::task::spawn_blocking(|| {
            let mut line = String::new();
            io::stdin().lock().take(LONGEST_ANSWER).read_line(&mut line).map(|_| line)
        });
        let read = async { Ok(line.await.ok().and_then(Result::ok).unwrap_or_default()) };
        self.asking.store(true, Relaxed);
        let line = self.unless_stopped(read).await;
        self.asking.store(false, Relaxed);
        let line = line.map_err(|failure| {
            drop(writeln!(io::stderr()));
            Failure::new(failure.exit, "interrupted: nothing was changed")
        })?;
        if !line.ends_with('\n') {
            // The question stays to be read.
            drop(writeln!(io::stderr()));
        }
        Ok(line)
    }

    pub(super) fn settings(&self, args: &StackArgs) -> Result<Settings, Failure> {
        let environment = Environment::parse(args.env.iter().map(String::as_str));
        let environment = environment
            .map_err(|problems| Failure::new(Exit::Usage, problems.join("\n")))
            .map_err(|failure| failure.hint("README.md lists the settings and what they take"))?;
        Ok(Settings {
            name: self.global.name.clone(),
            memory: args.memory,
            timeout: args.timeout,
            retention: args.log_retention_days,
            concurrency: args.reserved_concurrency,
            boundary: args.permissions_boundary.clone(),
            architecture: args.architecture,
            dashboard: args.wants_dashboard(),
            environment,
            adopt: args.adopt,
        })
    }

    /// Makes the image, if one is to be made, for the processors that are asked for or deployed.
    pub(super) async fn image(
        &self,
        cloud: &Cloud,
        settings: &Settings,
        image_source: ImageSource,
    ) -> Result<ImageSpec, Failure> {
        let binary = match image_source {
            ImageSource::Kept(digest) => return Ok(ImageSpec::Kept(digest)),
            ImageSource::NotCompared => return Ok(ImageSpec::NotCompared),
            image_source @ (ImageSource::Built(_) | ImageSource::Binary(_)) => image_source,
        };
        self.unless_stopped(async {
            let stack = Stack::named(&settings.name, &cloud.account);
            let function = part::read(&stack.function, &cloud.reader()).await?;
            let there = Observed { function, ..Observed::default() };
            made(binary, stack::architecture(settings, &stack, &there), self.printer).await
        })
        .await
    }

    /// What is there, and what is wanted where that is there.
    pub(super) async fn declare(
        &self,
        cloud: &Cloud,
        settings: &Settings,
        image: &ImageSpec,
    ) -> Result<(Declaration, Observed), Failure> {
        let reader: Reader = cloud.reader();
        self.unless_stopped(async {
            let stack = Stack::named(&settings.name, &cloud.account);
            let there = self.observe(&stack, &reader).await?;
            let there = if settings.dashboard.is_some() { there.whole()? } else { there };
            let declared = stack::declare(settings, &cloud.account, &there, image.clone());
            let declared = room::fitted(declared, &there, settings, &reader).await?;
            Ok((declared, there))
        })
        .await
    }

    /// As [`Self::declare`], without an image and without patience for tags.
    pub(super) async fn declare_at_once(
        &self,
        cloud: &Cloud,
        settings: &Settings,
    ) -> Result<(Declaration, Observed), Failure> {
        let reader = cloud.reader();
        let stack = Stack::named(&settings.name, &cloud.account);
        let there = self.unless_stopped(async { Ok(stack.observe(&reader).await?) }).await?;
        let there = if settings.dashboard.is_some() { there.whole()? } else { there };
        let declared = stack::declare(settings, &cloud.account, &there, ImageSpec::NotCompared);
        Ok((declared, there))
    }

    /// Reads all of it. Tags may come later than what carries them, so what shows none of ours is
    /// looked at again before it counts as somebody else's.
    pub(super) async fn observe(
        &self,
        stack: &Stack,
        cloud: &Reader,
    ) -> Result<Observed, CloudError> {
        let unwanted = stack.clone().unwanted();
        let mut there = stack.observe(cloud).await?;
        for _ in 1..TAG_LOOKS {
            let foreign = unwanted.foreign(&there);
            let Some((address, _)) = foreign.iter().find(|(_, why)| *why == Foreign::Untagged)
            else {
                break;
            };
            self.printer.waiting(&format!("{address} shows no tags of ours: looking again"));
            cloud.rest(1.0).await;
            there = stack.observe(cloud).await?;
        }
        Ok(there)
    }
}

/// A plan as a person reads it: with every field where more is wanted, and what a new stack will
/// cost.
pub(super) fn shown(planned: &Planned, printer: Printer, style: Style) -> String {
    let Planned { declared, plan, .. } = planned;
    let text = match printer.is_verbose() {
        true => plan::whole(plan, style),
        false => plan::text(plan, style),
    };
    let function = declared.stack.function.address();
    let new = plan.pending().any(|c| c.address == function && c.action == Action::Create);
    let cost = Estimate::of(declared).filter(|_| new);
    let cost = cost.map(|cost| format!("Costs, estimated: {cost}.\n(Bedrock's tokens apart.)\n"));
    format!("{text}{}{}", cost.unwrap_or_default(), declared.noted())
}

/// What a plan is for.
pub(super) fn heading(scope: &Scope<'_>, style: Style) -> String {
    style.paint("1", format!("Plan for the {scope}"))
}

/// 256 bits of the operating system's random numbers.
pub(super) fn random_bytes() -> Result<[u8; 32], Failure> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| {
        Failure::new(Exit::Failed, format!("the system gives no random numbers: {error}"))
    })?;
    Ok(bytes)
}

/// Reads what the image is to be made of.
pub(super) async fn image_source(
    args: &ImageArgs,
    no_build: bool,
    printer: Printer,
) -> Result<ImageSource, Failure> {
    match args {
        _ if no_build => Ok(ImageSource::NotCompared),
        ImageArgs { image: Some(digest), .. } => Ok(ImageSource::Kept(digest.clone())),
        ImageArgs { binary: Some(path), .. } => build::read(path)
            .map(ImageSource::Binary)
            .map_err(|error| Failure::new(Exit::Usage, error.to_string()).hint(error.hint())),
        ImageArgs { image: None, binary: None } => {
            Ok(ImageSource::Built(Workspace::find(Path::new("."), printer).await?))
        }
    }
}

/// Makes the image of a binary, which may have to be built first.
async fn made(
    image_source: ImageSource,
    architecture: Architecture,
    printer: Printer,
) -> Result<ImageSpec, Failure> {
    let binary = match image_source {
        ImageSource::Built(workspace) => workspace.build(architecture, printer).await?,
        ImageSource::Binary(bytes) => bytes,
        ImageSource::Kept(digest) => return Ok(ImageSpec::Kept(digest)),
        ImageSource::NotCompared => return Ok(ImageSpec::NotCompared),
    };
    let image = OciImage::from_binary(&binary, architecture);
    image.map(ImageSpec::Ready).map_err(|error| {
        Failure::new(Exit::Preflight, error.to_string())
            .hint("build it for that processor, or name another with --architecture")
    })
}
