//! Somebody says stop: the first time the step ends, the second time nothing is waited for.

use testing::aws::emulator::Emulator::MiniStack;
use testing::aws::proxy::{Fault, Refusal};
use testing::aws::world::World;

#[test]
fn the_first_signal_ends_the_step_and_nothing_more() {
    for signal in ["INT", "TERM"] {
        let world = World::new(MiniStack);
        world.proxy.arm(1, Fault::Signal(signal));
        let ended = world.up(&["--json"]);
        ended.expect(130);
        assert_eq!(ended.json()["error"]["message"], "interrupted");
        assert!(ended.stderr.contains("stopping after the step that is under way"));
        assert!(ended.error().ends_with("hint: run it again to finish the job\n"));
        // What stood side by side with it may have ended too; what comes after has not begun.
        let journal = world.proxy.take_journal();
        assert!(!journal.contains(&"lambda.CreateFunction".to_owned()), "{journal:?}");
        world.up(&[]).expect(0);
        world.proxy.arm(2, Fault::Signal(signal));
        let ended = world.run(&["down", "--yes", "--json"]);
        ended.expect(130);
        assert!(!ended.json()["remaining"].as_array().unwrap().is_empty());
        world.proxy.disarm();
        world.run(&["down", "--yes"]).expect(0);
        assert!(world.is_gone());
    }
}

#[test]
fn a_wait_ends_with_the_first_signal() {
    let world = World::new(MiniStack);
    let said = "The role defined for the function cannot be assumed by Lambda.";
    let refusal = Refusal::new(400, "InvalidParameterValueException", said);
    world.proxy.refuse("lambda.CreateFunction", refusal);
    let mut command =
        world.command(&world.words_of_up().iter().map(String::as_str).collect::<Vec<_>>());
    command.env("PROVISIONER_WAIT_UNIT_MS", "60000");
    let ended = world.interrupt(command, "trying again", &["INT"]);
    ended.expect(130);
}

#[test]
fn the_second_signal_waits_for_nothing() {
    let world = World::new(MiniStack);
    world.proxy.swallow("dynamodb.CreateTable");
    let words = world.words_of_up();
    let command = world.command(&words.iter().map(String::as_str).collect::<Vec<_>>());
    let ended = world.interrupt(command, "creating dynamodb/", &["INT", "TERM"]);
    ended.expect(130);
    assert!(ended.error().starts_with("error: interrupted in the middle of a step\n"), "{ended:?}");
    world.proxy.swallow("");
    world.up(&[]).expect(0);
}

#[test]
fn a_question_can_be_left() {
    let world = World::new(MiniStack);
    world.proxy.swallow("iam.GetRole");
    let command = world.command(&["plan", "--no-build", "-v"]);
    let ended = world.interrupt(command, "aws: Lambda GetFunction", &["TERM"]);
    ended.expect(130);
}
