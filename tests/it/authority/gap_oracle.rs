//! Allocations that come, end, are returned and are undone at random, against an oracle that asks for every second
//! whether the carrier has held a number without a gap since it was delegated.

use std::ops::Range;

use tn_authority::authority::{ChangeError, NewAllocation, NewDelegation};
use tn_authority::domain::clock::rfc3339;
use tn_authority::domain::inventory::{Allocation, Basis, Delegation};
use tn_authority::domain::{NumberRange, Time};
use tn_authority::tables::Format;
use uuid::Uuid;

use super::imports::{CONFIRMED, import};
use super::undo::mistake;
use crate::support::{World, clock_starts, numbers, wait};

both! {
    what_is_held_with_a_gap_does_not_come_back,
}

/// Blocks of four numbers, each with a story of its own.
const BLOCKS: u64 = 20;
const SECONDS: i64 = 24;
const NUMBERS: u64 = 4;

/// A small generator, so that a failure can be repeated.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.0 >> 33) % sides
    }

    fn seconds(&mut self, sides: i64) -> i64 {
        i64::try_from(self.roll(sides.unsigned_abs())).expect("a few seconds")
    }

    /// A part of the four numbers; most often all of them.
    fn part(&mut self) -> Range<u64> {
        match self.roll(4) {
            0 => 0..2,
            1 => 1..NUMBERS,
            _ => 0..NUMBERS,
        }
    }
}

/// What the oracle knows of an allocation: its part of the block and its window.
#[derive(Debug)]
struct Held {
    part: Range<u64>,
    from: i64,
    until: i64,
    row: Option<Allocation>,
    job: Option<Uuid>,
}

#[derive(Debug)]
struct Lent {
    part: Range<u64>,
    made: i64,
    from: i64,
    account: String,
    /// Numbers that were returned since, and when they had left.
    returned: Vec<(Range<u64>, i64)>,
}

#[derive(Debug, Default)]
struct Story {
    held: Vec<Held>,
    lent: Vec<Lent>,
}

impl Story {
    fn holds(&self, number: u64, second: i64) -> bool {
        let mut held = self.held.iter();
        held.any(|one| one.part.contains(&number) && (one.from..one.until).contains(&second))
    }

    /// Whether a delegation counts for a number at a second.
    fn counts(&self, lent: &Lent, number: u64, second: i64) -> bool {
        let mut returned = lent.returned.iter();
        let start = lent.from.max(lent.made);
        lent.part.contains(&number)
            && start <= second
            && (start..=second).all(|second| self.holds(number, second))
            && !returned.any(|(part, at)| part.contains(&number) && *at <= second)
    }
}

fn second(world: &World) -> i64 {
    (world.now() - clock_starts()).num_seconds()
}

fn time(second: i64) -> Time {
    clock_starts() + chrono::TimeDelta::seconds(second)
}

fn first(block: u64) -> u64 {
    12_125_550_000 + block * 10
}

fn text(block: u64, part: &Range<u64>) -> String {
    format!("+{}+{}", first(block) + part.start, part.end - part.start)
}

/// An allocation, by POST or as a table of one line.
fn allocates(world: &World, block: u64, story: &Story, dice: &mut Dice) -> Option<Held> {
    let now = second(world);
    let (part, from) = (dice.part(), now + dice.seconds(8));
    let until = match dice.roll(3) {
        0 => i64::MAX,
        _ => from + 1 + dice.seconds(8),
    };
    let mut held = story.held.iter();
    if held.any(|one| one.part == part && one.from == from) {
        // A table would not add this one, but end the other.
        return None;
    }
    let valid_until = (until < i64::MAX).then(|| time(until));
    if dice.roll(3) > 0 {
        let made = world.allocates(NewAllocation {
            spc: "1234".parse().expect("a code"),
            numbers: numbers(&text(block, &part)),
            basis: Basis::Block,
            valid_from: Some(time(from)),
            valid_until,
        });
        let row = match made {
            Ok(row) => Some(row),
            Err(ChangeError::Overlap { .. }) => return None,
            Err(other) => panic!("{other}"),
        };
        return Some(Held {
            part,
            from,
            until,
            row,
            job: None,
        });
    }
    let (start, count) = (first(block) + part.start, part.end - part.start);
    let end = valid_until.map(|at| rfc3339(&at)).unwrap_or_default();
    let from_text = rfc3339(&time(from));
    let table = format!(
        "start,count,spc,basis,valid_from,valid_until\n+{start},{count},1234,block,{from_text},{end}\n"
    );
    let done = import(world, Format::Allocations, &table, CONFIRMED).ok()?;
    let job = Some(done.job?);
    Some(Held {
        part,
        from,
        until,
        row: None,
        job,
    })
}

fn delegates(world: &World, block: u64, dice: &mut Dice) -> Option<(Lent, Delegation)> {
    let now = second(world);
    let part = dice.part();
    let from = now
        + if dice.roll(2) == 0 {
            0
        } else {
            dice.seconds(10)
        };
    let account = format!("acme-{block}-{}", dice.roll(1_000_000));
    let made = world.delegates(NewDelegation {
        valid_from: Some(time(from)),
        ..world.loan(&account, &text(block, &part))
    });
    let lent = Lent {
        part,
        made: now,
        from,
        account,
        returned: Vec::new(),
    };
    Some((lent, made.ok()?))
}

/// An allocation that has begun is returned; one that a table added is undone.
fn takes_back(world: &World, story: &mut Story, dice: &mut Dice) {
    let now = second(world);
    let sides = u64::try_from(story.held.len()).expect("a few");
    if sides == 0 {
        return;
    }
    let n = usize::try_from(dice.roll(sides)).expect("a few");
    let held = &mut story.held[n];
    let by = world.provisioner();
    if let Some(job) = held.job {
        if wait(world.authority.undo_import(&by, job, mistake())).is_err() {
            return;
        }
        // What was delegated on its account is left as it is, if it goes on with another one.
        (held.until, held.job) = (held.until.min(now), None);
        if held.from >= now {
            story.held.remove(n);
        }
    } else if let Some(row) = held
        .row
        .as_ref()
        .filter(|_| held.from <= now && now < held.until)
    {
        world.returns(row, None);
        held.until = now;
        for lent in &mut story.lent {
            lent.returned.push((held.part.clone(), now));
        }
    }
}

fn what_is_held_with_a_gap_does_not_come_back(world: World) {
    let mut dice = Dice(20_260_101);
    let mut stories: Vec<Story> = (0..BLOCKS).map(|_| Story::default()).collect();
    let (mut counted, mut ended, mut more) = (0, 0, 0);
    for _ in 0..SECONDS {
        for (block, story) in (0..).zip(&mut stories) {
            for _ in 0..2 {
                match dice.roll(10) {
                    0..3 => {
                        let made = allocates(&world, block, story, &mut dice);
                        story.held.extend(made);
                    }
                    3..5 => {
                        let made = delegates(&world, block, &mut dice);
                        story.lent.extend(made.map(|(lent, _)| lent));
                    }
                    5 => takes_back(&world, story, &mut dice),
                    _ => {}
                }
            }
        }
        for (block, story) in (0..).zip(&stories) {
            for number in 0..NUMBERS {
                let asked = format!("+{}", first(block) + number);
                let found = world.looks_up(&asked, None).accounts;
                for lent in &story.lent {
                    let says = found.iter().any(|account| account.as_str() == lent.account);
                    let counts = story.counts(lent, number, second(&world));
                    let told = || format!("{asked} of {lent:?} at {}: {story:?}", second(&world));
                    assert!(counts || !says, "counts again: {}", told());
                    // What starts later can end earlier, to be sure; what starts at once does not.
                    let at_once = lent.from <= lent.made;
                    assert!(says || !counts || !at_once, "ended: {}", told());
                    counted += i32::from(counts && says);
                    more += i32::from(counts && !says);
                    ended += i32::from(!counts && story.holds(number, second(&world)));
                }
            }
        }
        world.seconds_pass(1);
    }
    assert!(
        counted > 100 && ended > 100 && more < counted / 10,
        "{counted} {ended} {more}"
    );
    let all: Vec<NumberRange> = vec![numbers("+12125550000+1000")];
    let open = world.authority.store().read(|tx| {
        let ever = tn_authority::store::Versions::HoldingIn {
            from: clock_starts(),
            until: None,
        };
        tx.departures_touching(&all, ever, 100_000)
    });
    assert!(open.expect("departures").len() > 20);
}
