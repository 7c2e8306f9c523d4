//! The tool is stopped at every call that changes something. Run again, the end is the same.

use crate::emulator::Emulator::{self, MiniStack, Moto};
use crate::proxy::Fault;
use crate::world::{Ended, World};

#[test]
fn an_up_that_is_killed_at_any_call_is_finished_by_the_next() {
    ups(MiniStack, &[Fault::KillAfter]);
}

#[test]
fn an_up_that_loses_any_answer_ends_whole() {
    ups(MiniStack, &[Fault::DropAfter]);
}

#[test]
fn an_update_that_is_stopped_at_any_call_is_finished_by_the_next() {
    updates(MiniStack, &[Fault::KillAfter, Fault::DropAfter]);
}

#[test]
fn a_down_that_is_stopped_at_any_call_is_finished_by_the_next() {
    downs(MiniStack, &[Fault::KillAfter, Fault::DropAfter]);
}

#[test]
fn a_dashboard_that_is_stopped_at_any_call_is_whole_or_gone_after_the_next_up() {
    dashboards(MiniStack, &[Fault::KillAfter]);
}

#[test]
#[ignore = "minutes: scripts/crash-matrix runs it"]
fn the_whole_matrix() {
    let all =
        [Fault::DropBefore, Fault::DropAfter, Fault::KillBefore, Fault::KillAfter, Fault::Throttle];
    for emulator in [MiniStack, Moto] {
        ups(emulator, &all);
        updates(emulator, &all);
        downs(emulator, &all);
        dashboards(emulator, &all);
    }
}

/// A first `up`, stopped at each of its mutating calls.
fn ups(emulator: Emulator, faults: &[Fault]) {
    let check = |world: &World| {
        world.up(&[]).expect(0);
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        // A retried call may have been made twice; nothing may be left of that.
        world.run(&["down", "--yes"]).expect(0);
        assert!(world.is_gone());
    };
    let run = |world: &World| world.up(&[]);
    Matrix { what: "up", emulator, faults }.each(|_| (), run, check);
}

/// An `up` that changes image, memory and a setting, stopped at each of its mutating calls.
fn updates(emulator: Emulator, faults: &[Fault]) {
    let more = ["--memory", "512", "--env", "LOG_LEVEL=debug"];
    let update = |world: &World| {
        let two = world.binary("two");
        world.up(&[&more[..], &["--binary", two.to_str().unwrap()]].concat())
    };
    let check = |world: &World| {
        update(world).expect(0);
        world.proxy.take_journal();
        update(world).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
    };
    let prepare = |world: &World| world.up(&[]).expect(0);
    Matrix { what: "update", emulator, faults }.each(prepare, update, check);
}

fn downs(emulator: Emulator, faults: &[Fault]) {
    let down = |world: &World| world.run(&["down", "--yes"]);
    let check = |world: &World| {
        down(world).expect(0);
        assert!(world.is_gone(), "{:?}", world.states());
    };
    let prepare = |world: &World| world.up(&[]).expect(0);
    Matrix { what: "down", emulator, faults }.each(prepare, down, check);
}

/// A dashboard that is asked for, and one that is given up. The next `up` says nothing of it.
fn dashboards(emulator: Emulator, faults: &[Fault]) {
    let check = |world: &World| {
        world.up(&[]).expect(0);
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        let states = world.states();
        assert!(states.values().all(|state| state == "ready"), "{states:?}");
        assert!([9, 12].contains(&states.len()), "{states:?}");
    };
    let run = |world: &World| world.up(&["--dashboard"]);
    let prepare = |world: &World| world.up(&[]).expect(0);
    Matrix { what: "up --dashboard", emulator, faults }.each(prepare, run, check);
    let run = |world: &World| world.up(&["--no-dashboard"]);
    let prepare = |world: &World| world.up(&["--dashboard"]).expect(0);
    Matrix { what: "up --no-dashboard", emulator, faults }.each(prepare, run, check);
}

struct Matrix<'a> {
    what: &'a str,
    emulator: Emulator,
    faults: &'a [Fault],
}

impl Matrix<'_> {
    /// Breaks call after call until there is none left to break.
    #[expect(clippy::print_stdout, reason = "how many calls there are belongs into the README")]
    fn each(
        &self,
        prepare: impl Fn(&World),
        run: impl Fn(&World) -> Ended,
        check: impl Fn(&World),
    ) {
        for fault in self.faults {
            let mut nth = 0;
            loop {
                nth += 1;
                let world = World::new(self.emulator);
                prepare(&world);
                world.proxy.arm(nth, *fault);
                let ended = run(&world);
                if !world.proxy.disarm() {
                    ended.expect(0);
                    break;
                }
                // What passes is no reason to give up.
                if !matches!(fault, Fault::KillBefore | Fault::KillAfter) {
                    ended.expect(0);
                }
                check(&world);
            }
            println!("{:?} {}: {fault:?} at {} calls", self.emulator, self.what, nth - 1);
        }
    }
}
