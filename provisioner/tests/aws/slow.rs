//! AWS is slower and stricter than the emulators: the tool waits, says what for, and arrives.

use testing::aws::emulator::Emulator::{MiniStack, Moto};
use testing::aws::proxy::{Fault, Refusal};
use testing::aws::world::World;

use crate::behind::{delete_role, roles};

#[test]
fn what_is_not_visible_yet_is_waited_for() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.proxy.be_strict();
        let up = world.up(&[]);
        up.expect(0);
        for said in [
            "waiting: IAM PutRolePolicy: The role cannot be found.; trying again\n",
            "waiting: table is not visible yet\n",
            "waiting: table is CREATING\n",
            "waiting: Lambda CreateFunction: The role defined for the function cannot be assumed \
             by Lambda.; trying again\n",
            "waiting: function is not visible yet\n",
            "waiting: function is Pending: ",
        ] {
            assert!(up.stderr.contains(said), "{emulator:?}, {said}: {}", up.stderr);
        }
        assert!(up.stdout.contains("\nURL  http"), "{}", up.stdout);
        world.proxy.take_journal();
        world.up(&[]).expect(0);
        assert_eq!(world.proxy.take_journal(), [""; 0]);
        let update = world.up(&["--memory", "512", "--binary", &world.path("two")]);
        update.expect(0);
        // MiniStack's functions are Pending while they are updated.
        let waits = ["waiting: function's update is in progress\n", "waiting: function is Pending"];
        assert!(waits.iter().any(|wait| update.stderr.contains(wait)), "{}", update.stderr);
        let down = world.run(&["down", "--yes"]);
        down.expect(0);
        assert!(down.stderr.contains("waiting: table is DELETING\n"), "{}", down.stderr);
        assert!(world.is_gone());
    }
}

#[test]
fn a_crash_where_aws_is_slow_is_no_worse() {
    let world = World::new(MiniStack);
    world.proxy.be_strict();
    for nth in [1, 4, 9, 13, 17] {
        world.proxy.arm(nth, Fault::KillAfter);
        world.up(&[]);
    }
    world.proxy.disarm();
    world.up(&[]).expect(0);
    world.proxy.arm(5, Fault::KillAfter);
    world.run(&["down", "--yes"]);
    world.proxy.disarm();
    // The table is still being deleted: a new one has to wait for it.
    world.up(&[]).expect(0);
    world.run(&["down", "--yes"]).expect(0);
    assert!(world.is_gone());
}

#[test]
fn what_never_comes_is_given_up_with_a_sentence() {
    let world = World::new(MiniStack);
    let said = "The role defined for the function cannot be assumed by Lambda.";
    let refusal = Refusal::new(400, "InvalidParameterValueException", said);
    world.proxy.refuse("lambda.CreateFunction", refusal);
    let up = world.up(&[]);
    up.expect(5);
    let lines: Vec<_> = up.error().lines().collect();
    assert_eq!(lines[0], format!("error: lambda/{}-api was not created", world.name));
    assert!(lines[1].starts_with("caused by: Lambda CreateFunction: gave up after "), "{lines:?}");
    let end = "(region us-east-1, InvalidParameterValueException, request 0a1b2c3d-refused)";
    assert!(lines[1].ends_with(&format!(" tries: {said} {end}")), "{lines:?}");
    assert_eq!(lines.last(), Some(&"hint: run it again: what is done already stays done"));
    assert!(world.proxy.relent() > 40);
    world.up(&[]).expect(0);
}

#[test]
fn a_table_whose_expiry_was_changed_a_moment_ago_is_left_for_an_hour() {
    let world = World::new(MiniStack);
    let said = "Time to live has been modified multiple times within a fixed interval";
    let refusal = Refusal::new(400, "ValidationException", said);
    world.proxy.refuse("dynamodb.UpdateTimeToLive", refusal);
    let up = world.up(&[]);
    up.expect(5);
    assert!(
        up.error().contains("AWS takes one change of a table's expiry an hour"),
        "{}",
        up.stderr
    );
    world.proxy.relent();
    world.up(&[]).expect(0);
}

#[test]
fn a_role_that_was_made_anew_decrypts_the_functions_settings_again() {
    for emulator in [MiniStack, Moto] {
        let world = World::new(emulator);
        world.up(&["--env", "LOG_LEVEL=debug"]).expect(0);
        let function = format!("{}-api", world.name);
        assert!(world.proxy.decrypts(&function));
        delete_role(&world);
        // `up` makes the role anew, or somebody else does: the function is part of the plan.
        let plan = world.plan();
        let both = [format!("iam-role/{function}-role"), format!("lambda/{function}")];
        assert_eq!(plan.keys().cloned().collect::<Vec<_>>(), both);
        world.proxy.arm(4, Fault::KillAfter);
        world.up(&[]);
        assert!(world.proxy.disarm());
        assert!(!world.proxy.decrypts(&function));
        let plan = world.plan();
        assert_eq!(plan.keys().cloned().collect::<Vec<_>>(), both[1..], "{emulator:?}");
        // Whatever is interrupted on the way, the next run mends it.
        let mut kills = 0;
        loop {
            world.proxy.arm(1, Fault::KillAfter);
            let ended = world.up(&[]);
            if !world.proxy.disarm() {
                ended.expect(0);
                break;
            }
            kills += 1;
            assert!(kills < 20, "{}", ended.stderr);
        }
        assert!(world.proxy.decrypts(&function), "{emulator:?}");
        assert!(world.plan().is_empty());
        world.run(&["down", "--yes"]).expect(0);
        assert_eq!(roles(&world), [""; 0]);
    }
}

#[test]
fn a_stand_in_that_was_left_goes_with_the_role() {
    let world = World::new(MiniStack);
    world.up(&[]).expect(0);
    delete_role(&world);
    world.proxy.arm(4, Fault::KillAfter);
    world.up(&[]);
    // The stand-in is made, and no more.
    world.proxy.arm(1, Fault::KillAfter);
    world.up(&[]);
    assert!(world.proxy.disarm());
    assert_eq!(roles(&world).len(), 2);
    world.run(&["down", "--yes"]).expect(0);
    assert_eq!(roles(&world), [""; 0]);
}
