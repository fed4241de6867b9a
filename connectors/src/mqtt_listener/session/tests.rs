use super::*;

struct Room {
    sessions: Sessions,
    published: Mutex<Vec<String>>,
}

impl Room {
    fn new(bytes_max: usize, sessions_max: usize) -> Room {
        let ledger = Arc::new(Ledger::new(bytes_max));
        Room { sessions: Sessions::new(sessions_max, ledger), published: Mutex::default() }
    }

    fn join(&self, client: &str, connect: &Connect) -> (Joined, Arc<Live>) {
        let live = Arc::new(Live::default());
        let publish = |_: &Arc<str>, will: Will| self.published.lock().push(will.topic);
        (self.sessions.join(&client.into(), connect, (&Access::Open, live.clone()), &publish), live)
    }

    fn leave(&self, client: &str, joined: &Joined, is_clean: bool, expiry_s: u32) {
        let publish = |_: &Arc<str>, will: Will| self.published.lock().push(will.topic);
        let left = Left { is_clean, expiry_s };
        self.sessions.leave(&client.into(), joined.generation, left, &publish);
    }

    fn pass(&self, after_s: u64) {
        let publish = |_: &Arc<str>, will: Will| self.published.lock().push(will.topic);
        self.sessions.pass(Instant::now() + Duration::from_secs(after_s), &publish);
    }

    fn published(&self) -> Vec<String> {
        std::mem::take(&mut *self.published.lock())
    }
}

fn connect(topic: &str, delay_s: u32, is_clean: bool, expiry_s: u32) -> Connect {
    let will = Will { access: Access::Open, topic: topic.into(), payload: Vec::new(), delay_s };
    let client_id = String::new();
    Connect {
        is_v5: true,
        client_id,
        is_clean,
        keep_alive_s: 0,
        expiry_s,
        will: Some(will),
        secret: None,
    }
}

#[test]
fn a_will_is_published_when_its_delay_or_its_session_is_over() {
    let room = Room::new(1 << 20, 100);
    // (delay, expiry of the session, clean end, what is published at once, after so many seconds)
    let cases = [
        (0, 0, false, 1, 0),
        (0, 100, false, 1, 0),
        (10, 0, false, 1, 0),
        (10, 100, false, 0, 10),
        (100, 10, false, 0, 10),
        (u32::MAX, EXPIRY_NEVER, false, 0, u64::from(u32::MAX)),
        (0, 100, true, 0, 0),
        (10, 100, true, 0, 0),
    ];
    for (at, (delay_s, expiry_s, is_clean, at_once, after_s)) in cases.into_iter().enumerate() {
        let client = format!("c{at}");
        let (joined, _) = room.join(&client, &connect("w", delay_s, true, expiry_s));
        room.leave(&client, &joined, is_clean, expiry_s);
        assert_eq!(room.published().len(), at_once, "case {at}");
        if after_s > 0 {
            room.pass(after_s - 5);
            assert!(room.published().is_empty(), "case {at}");
            room.pass(after_s + 5);
            assert_eq!(room.published(), ["w"], "case {at}");
        }
        room.pass(u64::from(u32::MAX));
        assert!(room.published().is_empty(), "case {at}");
    }
}

#[test]
fn a_client_that_came_back_in_time_takes_its_will_back() {
    let room = Room::new(1 << 20, 100);
    let (first, _) = room.join("a", &connect("old", 10, true, 100));
    room.leave("a", &first, false, 100);
    let (second, _) = room.join("a", &connect("new", 10, false, 100));
    assert!(second.session_present);
    room.leave("a", &second, true, 100);
    room.pass(50);
    assert!(room.published().is_empty(), "it was back, and left cleanly");

    // A clean start ends the session, and with it the wait.
    let (third, _) = room.join("a", &connect("third", 10, false, 100));
    room.leave("a", &third, false, 100);
    let (fourth, _) = room.join("a", &connect("fourth", 0, true, 0));
    assert_eq!((room.published(), fourth.session_present), (vec!["third".to_owned()], false));
}

#[test]
fn a_take_over_publishes_the_will_unless_it_waits_and_the_session_goes_on() {
    // (delay and expiry of the old connection, clean start of the new one, published)
    let cases = [
        (0, 100, false, 1),
        (10, 100, false, 0),
        (10, 100, true, 1),
        (10, 0, false, 1),
        (0, 0, true, 1),
    ];
    for (delay_s, expiry_s, is_clean, count) in cases {
        let room = Room::new(1 << 20, 100);
        let (old, live) = room.join("a", &connect("old", delay_s, true, expiry_s));
        let (new, _) = room.join("a", &connect("new", 0, is_clean, 0));
        assert_eq!(room.published().len(), count, "{delay_s} {expiry_s} {is_clean}");
        assert_eq!(live.ended(), Some(reason::TAKEN_OVER));
        assert_eq!(new.session_present, !is_clean && expiry_s > 0);
        // The end of the old connection changes nothing any more.
        room.leave("a", &old, false, expiry_s);
        assert!(room.published().is_empty());
        room.leave("a", &new, false, 0);
        assert_eq!(room.published(), ["new"]);
    }
}

#[test]
fn sessions_go_by_least_use_with_their_wills_published() {
    let room = Room::new(10_000, 100);
    for at in 0..50 {
        let client = format!("c{at}");
        let (joined, _) = room.join(&client, &connect(&client, 1_000, false, EXPIRY_NEVER));
        joined.qos2.lock().insert(7, 1, 0);
        room.leave(&client, &joined, false, EXPIRY_NEVER);
    }
    assert!(room.sessions.ledger.bytes() <= 10_000);
    let gone = room.published();
    let expected: Vec<String> = (0..gone.len()).map(|at| format!("c{at}")).collect();
    assert!(gone.len() > 10 && gone == expected, "{gone:?}");
    let (first, _) = room.join("c0", &connect("x", 0, false, EXPIRY_NEVER));
    let (last, _) = room.join("c49", &connect("x", 0, false, EXPIRY_NEVER));
    assert!(!first.session_present && last.session_present);
    assert_eq!(last.qos2.lock().look_up(7, 1), super::super::qos2::Known::Stored);

    let room = Room::new(1 << 20, 3);
    for at in 0..5 {
        let client = format!("c{at}");
        let (joined, _) = room.join(&client, &connect(&client, 1_000, false, EXPIRY_NEVER));
        room.leave(&client, &joined, false, EXPIRY_NEVER);
    }
    assert_eq!(room.published(), ["c0", "c1"]);
}
