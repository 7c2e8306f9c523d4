//! Who gets a permit, and who does not: the shares of a room as rules.

use function::room::{BodyPermit, Capacity, ClientId, Full, Permit, Room, may_take};
use proptest::prelude::*;

const MIB: usize = 1 << 20;

#[test]
fn alone_one_takes_half_of_a_room_and_no_more() {
    let room = room(8, MIB);
    let (alice, bob) = (client(&room, "alice"), client(&room, "bob"));
    let requests = taken(&room, alice);
    assert_eq!((requests.len(), room.enter(alice).err()), (4, Some(Full::Share)));
    assert_eq!(taken(&room, bob).len(), 2, "another one takes half of the rest");
    drop(requests);
    assert_eq!(room.free().requests, 8, "all that is given back is free again");
}

#[test]
fn the_last_permits_are_for_who_has_none() {
    let room = room(16, MIB);
    let names: Vec<String> = (0..16).map(|n| format!("user {n}")).collect();
    let all: Vec<Permit> =
        names.iter().flat_map(|name| taken(&room, client(&room, name))).collect();
    assert_eq!(room.free().requests, 16 - all.len());
    assert_eq!(room.free().requests, 0);
    assert_eq!(room.enter(client(&room, "late")).err(), Some(Full::All));
    drop(all);
    let everybody: Vec<Permit> =
        names.iter().filter_map(|name| room.enter(client(&room, name)).ok()).collect();
    assert_eq!(everybody.len(), 16, "where nobody asks for more, everybody has one");
}

#[test]
fn bytes_are_shared_like_permits_and_small_bodies_are_not_counted() {
    let room = room(8, 4 * MIB);
    let permit = room.enter(client(&room, "alice")).expect("there is room");
    let mut small = permit.hold();
    small.grow(64 << 10).expect("it is small");
    assert_eq!(room.free().bytes, 4 * MIB);
    let mut bodies: Vec<BodyPermit> = (0..3).map(|_| permit.hold()).collect();
    assert_eq!(bodies[0].grow(MIB), Ok(()));
    assert_eq!(bodies[0].grow(2 * MIB), Ok(()), "a body grows");
    assert_eq!(bodies[1].grow(MIB), Err(Full::Share), "half is what one may hold");
    assert_eq!(bodies[2].grow(3 * MIB), Err(Full::All));
    let other = room.enter(client(&room, "bob")).expect("there is room");
    assert_eq!(other.hold().grow(2 * MIB), Ok(()), "the rest is for others");
    bodies.clear();
    assert_eq!(room.free().bytes, 4 * MIB);
}

#[test]
fn a_body_is_counted_until_it_is_dropped_also_without_its_permit() {
    let room = room(2, MIB);
    let permit = room.enter(client(&room, "alice")).expect("there is room");
    let mut body = permit.hold();
    body.grow(MIB / 2).expect("there is room");
    drop(permit);
    assert_eq!(room.free(), Capacity { requests: 1, bytes: MIB / 2 });
    drop(body);
    assert_eq!(room.free(), Capacity { requests: 2, bytes: MIB });
}

#[test]
fn there_are_fewer_permits_where_there_are_few_files() {
    for (files, requests) in [(0, 1), (64, 1), (256, 48), (1024, 240), (4160, 1024), (20_000, 1024)]
    {
        assert_eq!(Capacity::for_files(files).requests, requests, "{files}");
    }
}

#[test]
fn a_client_is_who_shows_the_same() {
    let room = room(1, 1);
    assert_eq!(room.client(&[b"a", b""]), room.client(&[b"a", b""]));
    assert_ne!(room.client(&[b"a", b""]), room.client(&[b"", b"a"]));
    assert_ne!(room.client(&[b"ab"]), room.client(&[b"a", b"b"]));
}

proptest! {
    /// Whatever people take and give back, nothing is lost, nobody has more than half, and where
    /// somebody has nothing, they get something as long as there is any.
    #[test]
    fn shares_hold_in_any_order(
        whole in 1_usize..40,
        steps in prop::collection::vec((0_usize..6, any::<bool>()), 0..200),
    ) {
        let room = room(whole, MIB);
        let mut held: Vec<Vec<Permit>> = (0..6).map(|_| Vec::new()).collect();
        for (who, takes) in steps {
            if !takes {
                held[who].pop();
                continue;
            }
            let free = room.free().requests;
            let name = client(&room, &who.to_string());
            match room.enter(name) {
                Ok(permit) => {
                    prop_assert!(held[who].is_empty() || held[who].len() < free);
                    held[who].push(permit);
                }
                Err(Full::All) => prop_assert_eq!(free, 0),
                Err(Full::Share) => {
                    prop_assert!(!held[who].is_empty() && held[who].len() >= free);
                }
            }
            prop_assert!(held[who].len() <= whole.div_ceil(2));
            prop_assert_eq!(room.free().requests + held.iter().map(Vec::len).sum::<usize>(), whole);
        }
        drop(held);
        prop_assert_eq!(room.free(), Capacity { requests: whole, bytes: MIB });
    }

    #[test]
    fn nobody_takes_more_than_is_there(mine in 0_usize..99, more in 1_usize..99, free in 0_usize..99) {
        prop_assert_eq!(may_take(mine, more, free), more <= free && (mine == 0 || mine + more <= free));
        prop_assert!(!may_take(mine, more, free) || more <= free);
    }
}

fn room(requests: usize, bytes: usize) -> Room {
    Room::new(Capacity { requests, bytes })
}

fn client(room: &Room, name: &str) -> ClientId {
    room.client(&[name.as_bytes()])
}

/// All the requests that one can get.
fn taken(room: &Room, client: ClientId) -> Vec<Permit> {
    std::iter::from_fn(|| room.enter(client).ok()).collect()
}
