//! Write lanes: one transaction decides all waiting commands of a kind (write batching).
//!
//! Commands of a kind wait in one bounded [inbox]. A batch takes all commands that wait, decides them in one
//! transaction, and answers each of them after the commit. No timer delays a batch: it consists of the commands that
//! arrived during the transaction before it. It starts when that transaction commits or its slot times out. If many
//! commands wait, it starts beside that transaction.
//!
//! Commands that would conflict have the same conflict key and are never in two concurrent batches of an instance. That
//! saves retries. Correctness doesn't depend on it, since other instances have their own lanes.
//!
//! A command may carry an idempotency key: its answer is recorded in the transaction of the effect. Repeated keys are
//! rare, so the lane assumes that each key is new, and the unique index refuses a recorded one. Then the transaction is
//! rolled back, and the batch is repeated with a look-up of its keys: recorded answers are replayed. The lane remembers
//! the [latest keys](keys) and looks these up at once, so that a replay causes no failed attempt.
//!
//! Where to look next: [work] is the contract, [reply] has the typed replies, [lanes] starts batches, and [batch] runs
//! their transactions.

mod batch;
mod inbox;
mod keys;
mod lanes;
mod reply;
mod work;

pub(super) use self::lanes::DUPLICATE_KEY_TIMEOUT;
pub use self::{
    keys::{IdempotencyKey, RenderAnswer},
    lanes::{Lanes, with_lane_wait},
    reply::{Decision, Reply, ReplyTo},
    work::{Decisions, LanePorts, LaneSettings, LaneWork},
};
