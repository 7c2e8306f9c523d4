//! The engine without AWS: a shelf of jars is a whole account, and anything can go wrong with it.
//!
//! This is also how something else than the proxy is provisioned: a resource, what is wanted of it,
//! and a list of parts.

#![expect(clippy::unwrap_used, reason = "helpers of tests may fail as loudly as tests")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use proptest::prelude::*;
use provisioner::engine::part::{self, Pair, Part};
use provisioner::engine::plan::{self, Action, Change, Fields, Plan, Style};
use provisioner::engine::walk::{self, Applied};
use provisioner::engine::{
    Address, Changed, CloudError, Foreign, Kind, Marks, Ownership, Pace, Reader, Resource, Say,
    Stop, Tags, Writer,
};
use tokio::sync::watch;

/// A jar on the shelf: its size, and the labels on it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Live {
    size: u32,
    labels: BTreeMap<String, String>,
    nailed: bool,
}

/// The account: jars by name, and what goes wrong.
#[derive(Debug, Clone, Default)]
struct Shelf(Rc<RefCell<World>>);

#[derive(Debug, Default)]
struct World {
    jars: BTreeMap<String, Live>,
    /// What was written, in order.
    journal: Vec<String>,
    /// The writes, counted from 0, that fail, and how.
    faults: BTreeMap<usize, Fault>,
    /// Whoever says stop after so many writes.
    stop: Option<(usize, watch::Sender<bool>)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    /// Refused, without an effect.
    Before(Kind),
    /// The effect is there, the answer is not.
    After(Kind),
    /// Somebody else has put a jar of theirs there.
    Swapped,
}

impl Shelf {
    /// Writes `what` to the jar `name`, unless it goes wrong.
    fn write(&self, what: &str, name: &str, jar: Option<Live>) -> Result<(), CloudError> {
        let mut world = self.0.borrow_mut();
        let number = world.journal.len();
        world.journal.push(format!("{what} {name}"));
        if let Some((after, stop)) = &world.stop
            && number + 1 >= *after
        {
            stop.send_replace(true);
        }
        let fault = world.faults.remove(&number);
        let mut put = |jar| match jar {
            Some(jar) => drop(world.jars.insert(name.to_owned(), jar)),
            None => drop(world.jars.remove(name)),
        };
        match fault {
            None => put(jar),
            Some(Fault::Before(kind)) => return Err(CloudError::new(kind, "no")),
            Some(Fault::After(kind)) => {
                put(jar);
                return Err(CloudError::new(kind, "perhaps"));
            }
            Some(Fault::Swapped) => {
                put(Some(theirs()));
                return Err(CloudError::new(Kind::Exists, "somebody was quicker"));
            }
        }
        Ok(())
    }

    fn take_journal(&self) -> Vec<String> {
        std::mem::take(&mut self.0.borrow_mut().journal)
    }
}

/// What finds a jar. What is wanted of it is a size, and which jars stand below it.
#[derive(Debug, Clone)]
struct Jar(&'static str);

#[derive(Debug, Clone)]
struct JarSpec {
    size: u32,
    below: Vec<&'static str>,
}

fn tags() -> Tags {
    Tags::new(("managed-by", "toys"), ("name", "shelf"), ("stack", "1"))
}

fn ours(size: u32) -> Live {
    Live { size, labels: tags().with(&Marks::new()), nailed: false }
}

fn theirs() -> Live {
    Live { size: 99, labels: [("owner".to_owned(), "other".to_owned())].into(), nailed: false }
}

impl Resource<Shelf> for Jar {
    type Spec = JarSpec;
    type Live = Live;

    fn address(&self) -> Address {
        Address::new("jar", self.0)
    }

    fn ownership(&self, live: &Live) -> Ownership {
        tags().judge(&live.labels)
    }

    fn refers_to(&self, spec: &JarSpec) -> Vec<Address> {
        spec.below.iter().map(|name| Address::new("jar", *name)).collect()
    }

    fn diff(&self, spec: &JarSpec, live: Option<&Live>) -> Change {
        let before = live.map(|live| live.size);
        let fields = Fields::new().field("Size", before, spec.size);
        match live {
            None => Change::create(self.address(), fields),
            Some(_) => Change::compare(self.address(), fields),
        }
    }

    async fn refuses_removal(
        &self,
        live: &Live,
        _cloud: &Reader<Shelf>,
    ) -> Result<Option<String>, CloudError> {
        Ok(live.nailed.then(|| "it is nailed down".to_owned()))
    }

    async fn read(&self, cloud: &Reader<Shelf>) -> Result<Option<Live>, CloudError> {
        tokio::task::yield_now().await;
        Ok(cloud.clients().0.borrow().jars.get(self.0).cloned())
    }

    async fn apply(
        &self,
        spec: &JarSpec,
        live: Option<Live>,
        cloud: &Writer<Shelf>,
    ) -> Result<(), CloudError> {
        let what = if live.is_some() { "update" } else { "create" };
        tokio::task::yield_now().await;
        cloud.clients().write(what, self.0, Some(ours(spec.size)))
    }

    async fn delete(&self, _live: Live, cloud: &Writer<Shelf>) -> Result<(), CloudError> {
        cloud.clients().write("delete", self.0, None)
    }
}

/// A stack of three jars and one on top of two of them, as it would be declared.
struct Stack {
    jars: [Jar; 4],
    spec: [JarSpec; 4],
}

fn stack(size: u32) -> Stack {
    let jar = |below: &[&'static str]| JarSpec { size, below: below.to_vec() };
    Stack {
        jars: ["top", "left", "right", "alone"].map(Jar),
        spec: [jar(&["left", "right"]), jar(&[]), jar(&[]), jar(&[])],
    }
}

impl Stack {
    async fn observe(&self, shelf: &Shelf) -> [Option<Live>; 4] {
        let mut there = [const { None }; 4];
        for (jar, there) in self.jars.iter().zip(&mut there) {
            *there = part::read(jar, &reader(shelf)).await.unwrap();
        }
        there
    }

    fn parts<'a>(&'a self, there: &'a [Option<Live>; 4]) -> Vec<Box<dyn Part<Shelf> + 'a>> {
        let all = self.jars.iter().zip(&self.spec).zip(there);
        all.map(|((resource, spec), live)| -> Box<dyn Part<Shelf> + 'a> {
            Box::new(Pair { resource, spec: Some(spec), live: live.as_ref() })
        })
        .collect()
    }

    /// Plans and walks, as `up` does; what `meanwhile` does happens in between.
    async fn up(&self, shelf: &Shelf, meanwhile: impl FnOnce(&Shelf)) -> (Plan, Applied) {
        let there = self.observe(shelf).await;
        let parts = self.parts(&there);
        let plan = Plan { changes: parts.iter().map(|part| part.diff()).collect() };
        meanwhile(shelf);
        let applied = walk::up(&parts, &plan, &writer(shelf), false).await;
        (plan, applied)
    }
}

fn reader(shelf: &Shelf) -> Reader<Shelf> {
    Reader::new(shelf.clone(), Pace(Duration::ZERO))
}

fn writer(shelf: &Shelf) -> Writer<Shelf> {
    let (say, heard) = watch::channel(false);
    if let Some((_, stop)) = &mut shelf.0.borrow_mut().stop {
        *stop = say;
    }
    let quiet = (Say::new(|_| ()), Stop::new(heard));
    Writer::new(shelf.clone(), reader(shelf), Changed::default(), quiet)
}

fn run<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.unwrap().block_on(work)
}

#[test]
fn what_others_name_is_made_first_wherever_it_stands_in_the_list() {
    let (shelf, stack) = (Shelf::default(), stack(1));
    let (plan, applied) = run(stack.up(&shelf, |_| ()));
    assert!(applied.failed.is_none() && applied.left.is_empty());
    let journal = shelf.take_journal();
    assert_eq!((journal.len(), journal.last().unwrap().as_str()), (4, "create top"));
    insta::assert_snapshot!(plan::text(&plan, Style::Plain), @r"
    Create
      + jar/top
      + jar/left
      + jar/right
      + jar/alone

    Plan: 4 to create.
    ");
    // Again: nothing is left to do.
    let (plan, _) = run(stack.up(&shelf, |_| ()));
    assert!(plan.is_empty() && shelf.take_journal().is_empty());
}

#[test]
fn after_the_first_failure_nothing_more_begins() {
    for number in 0..4 {
        let (shelf, stack) = (Shelf::default(), stack(1));
        shelf.0.borrow_mut().faults.insert(number, Fault::Before(Kind::Denied));
        let (_, applied) = run(stack.up(&shelf, |_| ()));
        assert_eq!(applied.failed.as_ref().map(|error| error.kind), Some(Kind::Denied));
        assert!(applied.failed.unwrap().address.is_some());
        assert_eq!(applied.done.len() + applied.left.len(), 4, "{number}");
        // Those side by side had begun; what waits for them does not begin.
        let top = shelf.take_journal().contains(&"create top".to_owned());
        assert_eq!(top, number == 3, "{number}");
    }
}

#[test]
fn a_stop_in_the_middle_leaves_what_has_not_begun() {
    let (shelf, stack) = (Shelf::default(), stack(1));
    let (say, _) = watch::channel(false);
    shelf.0.borrow_mut().stop = Some((1, say));
    let (_, applied) = run(stack.up(&shelf, |_| ()));
    assert!(applied.failed.is_none());
    assert!(applied.left.contains(&Address::new("jar", "top")), "{applied:?}");
    shelf.0.borrow_mut().stop = None;
    run(stack.up(&shelf, |_| ()));
    assert!(run(stack.up(&shelf, |_| ())).0.is_empty());
}

/// Between two tries an hour passes here.
#[test]
fn a_stop_is_heard_by_whoever_waits() {
    for untagged in [true, false] {
        let (shelf, stack) = (Shelf::default(), stack(1));
        let (say, heard) = watch::channel(false);
        let there = run(stack.observe(&shelf));
        let parts = stack.parts(&there);
        let plan = Plan { changes: parts.iter().map(|part| part.diff()).collect() };
        match untagged {
            true => {
                let bare = Live { labels: BTreeMap::new(), ..ours(1) };
                shelf.0.borrow_mut().jars.insert("left".to_owned(), bare);
            }
            false => {
                shelf.0.borrow_mut().faults.insert(0, Fault::Before(Kind::Stale));
            }
        }
        let slow = Reader::new(shelf.clone(), Pace(Duration::from_hours(1)));
        let quiet = (Say::new(|_| ()), Stop::new(heard));
        let cloud = Writer::new(shelf.clone(), slow, Changed::default(), quiet);
        let stop = async {
            tokio::time::sleep(Duration::from_millis(20)).await;
            say.send_replace(true);
        };
        let walk = walk::up(&parts, &plan, &cloud, false);
        let both = futures_util::future::join(walk, stop);
        let (applied, ()) =
            run(async { tokio::time::timeout(Duration::from_mins(1), both).await }).unwrap();
        assert_eq!(applied.failed.map(|error| error.kind), Some(Kind::Interrupted));
        assert!(applied.left.contains(&Address::new("jar", "top")), "{:?}", applied.left);
    }
}

#[test]
fn what_somebody_has_just_made_is_judged_again() {
    let (shelf, stack) = (Shelf::default(), stack(1));
    shelf.0.borrow_mut().faults.insert(0, Fault::Swapped);
    let (_, applied) = run(stack.up(&shelf, |_| ()));
    assert_eq!(applied.failed.map(|error| error.kind), Some(Kind::Foreign));
    let world = shelf.0.borrow();
    assert_eq!(world.jars.values().filter(|jar| **jar == theirs()).count(), 1);
}

#[test]
fn whoever_is_always_slower_gives_up_after_six_rounds() {
    let (shelf, mut stack) = (Shelf::default(), stack(1));
    stack.spec[0].below.clear();
    for number in 0..100 {
        shelf.0.borrow_mut().faults.insert(number, Fault::Before(Kind::Stale));
    }
    let (_, applied) = run(stack.up(&shelf, |_| ()));
    assert_eq!(applied.failed.map(|error| error.kind), Some(Kind::Busy));
    let journal = shelf.take_journal();
    assert_eq!(journal.iter().filter(|write| *write == "create top").count(), 6);
}

#[test]
fn what_was_there_and_is_gone_is_not_made_anew() {
    let (shelf, stack) = (Shelf::default(), stack(2));
    for jar in &stack.jars {
        shelf.0.borrow_mut().jars.insert(jar.0.to_owned(), ours(1));
    }
    let remove = |shelf: &Shelf| drop(shelf.0.borrow_mut().jars.remove("alone"));
    let (_, applied) = run(stack.up(&shelf, remove));
    assert_eq!(applied.failed.map(|error| error.kind), Some(Kind::Stale));
    assert!(!shelf.0.borrow().jars.contains_key("alone"));
}

#[test]
fn what_is_removed_is_read_and_judged_at_that_moment() {
    let (shelf, stack) = (Shelf::default(), stack(1));
    run(stack.up(&shelf, |_| ()));
    shelf.take_journal();
    let there = run(stack.observe(&shelf));
    let parts = stack.parts(&there);
    let nailed = Live { nailed: true, ..ours(1) };
    for (name, jar, kind) in [("top", theirs(), Kind::Foreign), ("left", nailed, Kind::Held)] {
        shelf.0.borrow_mut().jars.insert(name.to_owned(), jar.clone());
        let part = parts.iter().find(|part| part.address() == Address::new("jar", name)).unwrap();
        let kept = run(walk::delete(&parts, part.as_ref(), &writer(&shelf))).unwrap_err();
        assert_eq!((kept.kind, shelf.0.borrow().jars.get(name)), (kind, Some(&jar)));
    }
    assert_eq!(shelf.take_journal(), [""; 0]);
    let part = parts.last().unwrap();
    run(walk::delete(&parts, part.as_ref(), &writer(&shelf))).unwrap();
    assert_eq!(shelf.take_journal(), ["delete alone"]);
}

#[test]
fn a_survey_says_what_is_not_ours() {
    let (shelf, stack) = (Shelf::default(), stack(1));
    shelf.0.borrow_mut().jars.insert("left".to_owned(), theirs());
    let there = run(stack.observe(&shelf));
    let survey = part::survey(&stack.parts(&there));
    let foreign = survey.into_iter().filter_map(|found| found.foreign).collect::<Vec<_>>();
    assert_eq!(foreign, [Foreign::Untagged]);
}

fn faults() -> impl Strategy<Value = BTreeMap<usize, Fault>> {
    let kinds = [Kind::Exists, Kind::Stale, Kind::Denied, Kind::Busy, Kind::Unreachable];
    let kind = prop::sample::select(kinds.to_vec());
    let fault = (kind, any::<bool>());
    let fault = fault.prop_map(|(kind, before)| match before {
        true => Fault::Before(kind),
        false => Fault::After(kind),
    });
    prop::collection::btree_map(0_usize..24, fault, 0..8)
}

proptest! {
    /// Whatever goes wrong wherever, and whatever somebody else does between plan and walk: run
    /// again, it ends, and nothing of theirs is touched.
    #[test]
    fn any_run_can_be_finished_by_the_next(
        faults in faults(),
        before in prop::collection::vec(prop::option::of(0_u32..3), 4),
        meanwhile in prop::collection::vec(0_u32..8, 4),
    ) {
        let (shelf, stack) = (Shelf::default(), stack(1));
        for (jar, size) in stack.jars.iter().zip(before) {
            if let Some(size) = size {
                shelf.0.borrow_mut().jars.insert(jar.0.to_owned(), ours(size));
            }
        }
        shelf.0.borrow_mut().faults = faults;
        let meddle = |shelf: &Shelf| {
            let mut world = shelf.0.borrow_mut();
            for (jar, what) in stack.jars.iter().zip(meanwhile) {
                match what {
                    0 => drop(world.jars.insert(jar.0.to_owned(), theirs())),
                    1 => drop(world.jars.remove(jar.0)),
                    2 => drop(world.jars.insert(jar.0.to_owned(), ours(7))),
                    _ => {}
                }
            }
        };
        run(stack.up(&shelf, meddle));
        let foreign: Vec<String> = {
            let world = shelf.0.borrow();
            let all = world.jars.iter().filter(|(_, jar)| **jar == theirs());
            all.map(|(name, _)| name.clone()).collect()
        };
        shelf.0.borrow_mut().faults.clear();
        // Whoever finds something of theirs stops before any change, so they take it away.
        for name in &foreign {
            prop_assert_eq!(shelf.0.borrow().jars.get(name).cloned(), Some(theirs()));
            shelf.0.borrow_mut().jars.remove(name);
        }
        run(stack.up(&shelf, |_| ()));
        shelf.take_journal();
        let (plan, _) = run(stack.up(&shelf, |_| ()));
        prop_assert!(plan.changes.iter().all(|change| change.action == Action::Keep));
        prop_assert_eq!(shelf.take_journal().len(), 0);
    }
}
