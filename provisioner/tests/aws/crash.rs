//! The tool is stopped at every call that changes something. Run again, the end is the same.
//!
//! There is no state but the account's, so a tool that is killed at its first change, run after
//! run, has been killed at every change; and one run that loses every answer once has lost each of
//! them. The whole matrix breaks one call at a time, each in an account of its own.

use testing::aws::emulator::Emulator::{self, MiniStack, Moto};
use testing::aws::proxy::Fault;
use testing::aws::world::{Ended, World};

type Run = fn(&World) -> Ended;

#[test]
fn an_up_that_is_killed_at_any_call_is_finished_by_the_next() {
    let world = World::new(MiniStack);
    // What goes side by side may end together.
    assert!(kill_at_every_call(&world, up) > 10);
    assert!(world.plan().is_empty(), "{:?}", world.plan());
    assert!(kill_at_every_call(&world, update) > 4);
    down(&world).expect(0);
    assert!(world.is_gone(), "{:?}", world.states());
}

#[test]
fn a_down_that_is_killed_at_any_call_is_finished_by_the_next() {
    let world = World::new(MiniStack);
    up(&world).expect(0);
    assert!(kill_at_every_call(&world, down) > 9);
    assert!(world.is_gone(), "{:?}", world.states());
}

#[test]
fn a_run_that_loses_every_answer_ends_whole() {
    for run in [up, update, down] as [Run; 3] {
        let world = World::new(MiniStack);
        if run as usize != up as Run as usize {
            up(&world).expect(0);
        }
        world.proxy.lose_every_answer();
        run(&world).expect(0);
        assert!(world.proxy.disarm());
        world.proxy.take_journal();
        run(&world).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
    }
}

/// Kills the tool at the first change of each run until there is nothing left to change; how often.
fn kill_at_every_call(world: &World, run: Run) -> usize {
    for kills in 0.. {
        world.proxy.kill_at_first_effect();
        let ended = run(world);
        if !world.proxy.disarm() {
            ended.expect(0);
            return kills;
        }
        assert_eq!(ended.code, None, "{}", ended.stderr);
        assert!(kills < 100, "it does not end");
    }
    unreachable!("the loop ends by itself")
}

#[test]
fn an_up_and_a_down_at_once_leave_what_the_next_run_finishes() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        up(&world).expect(0);
        let two = world.binary("two").display().to_string();
        let mut change = world.words_of_up();
        *change.last_mut().unwrap() = two;
        let gone = ["down", "--yes"].map(str::to_owned);
        for ended in world.both(&change, &gone) {
            assert!(matches!(ended.code, Some(0 | 1 | 5)), "{ended:?}");
        }
        up(&world).expect(0);
        assert!(world.plan().is_empty(), "{:?}", world.plan());
        world.both(&world.words_of_up(), &gone);
        down(&world).expect(0);
        assert!(world.is_gone(), "{:?}", world.states());
    }
}

fn up(world: &World) -> Ended {
    world.up(&[])
}

/// Another image, memory and setting.
fn update(world: &World) -> Ended {
    let two = world.binary("two");
    let more = ["--memory", "512", "--env", "LOG_LEVEL=debug", "--binary", two.to_str().unwrap()];
    world.up(&more)
}

fn down(world: &World) -> Ended {
    world.run(&["down", "--yes"])
}

#[test]
fn a_dashboard_that_is_stopped_at_any_call_is_whole_or_gone_after_the_next_up() {
    dashboards(MiniStack, Fault::KillAfter);
}

/// A dashboard that is asked for, and one that is given up. The next `up` says nothing of it.
fn dashboards(emulator: Emulator, fault: Fault) {
    for words in [["--dashboard", "--no-dashboard"], ["--no-dashboard", "--dashboard"]] {
        for nth in 1.. {
            let world = World::new(emulator);
            world.up(&words[1..]).expect(0);
            world.proxy.arm(nth, fault);
            world.up(&words[..1]);
            if !world.proxy.disarm() {
                break;
            }
            world.up(&[]).expect(0);
            assert!(world.plan().is_empty(), "{:?}", world.plan());
            let states = world.states();
            assert!(states.values().all(|state| state == "ready"), "{states:?}");
            assert!([9, 12].contains(&states.len()), "{states:?}");
        }
    }
}

#[test]
#[ignore = "an hour: scripts/crash-matrix runs it"]
fn the_whole_matrix() {
    let all =
        [Fault::DropBefore, Fault::DropAfter, Fault::KillBefore, Fault::KillAfter, Fault::Throttle];
    // One world for each fault goes on its own; the emulators serve them side by side.
    std::thread::scope(|scope| {
        for emulator in [MiniStack, Moto] {
            scope.spawn(move || {
                for fault in all {
                    Matrix { emulator, fault }.every_run();
                    dashboards(emulator, fault);
                }
            });
        }
    });
}

struct Matrix {
    emulator: Emulator,
    fault: Fault,
}

impl Matrix {
    fn every_run(&self) {
        self.each(
            "up",
            |_| (),
            up,
            |world| {
                down(world).expect(0);
                assert!(world.is_gone(), "{:?}", world.states());
            },
        );
        self.each("update", |world| up(world).expect(0), update, |_| ());
        self.each(
            "down",
            |world| up(world).expect(0),
            down,
            |world| {
                assert!(world.is_gone(), "{:?}", world.states());
            },
        );
    }

    /// Breaks call after call until there is none left to break. Run again, nothing is left to do.
    #[expect(clippy::print_stdout, reason = "docs/figures.md says how many calls there are")]
    fn each(&self, what: &str, prepare: impl Fn(&World), run: Run, check: impl Fn(&World)) {
        let Self { emulator, fault } = *self;
        for nth in 1.. {
            let world = World::new(emulator);
            prepare(&world);
            world.proxy.arm(nth, fault);
            let ended = run(&world);
            if !world.proxy.disarm() {
                ended.expect(0);
                println!("{emulator:?} {what}: {fault:?} at {} calls", nth - 1);
                return;
            }
            // What passes is no reason to give up.
            if !matches!(fault, Fault::KillBefore | Fault::KillAfter) {
                ended.expect(0);
            }
            run(&world).expect(0);
            world.proxy.take_journal();
            run(&world).expect(0);
            assert_eq!(world.proxy.take_journal(), [""; 0], "{what}, {fault:?} at {nth}");
            check(&world);
        }
    }
}
