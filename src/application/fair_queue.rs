//! A bounded queue that serves clients round-robin.

use std::{
    collections::{HashMap, VecDeque},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::application::error::AppError;

/// Grants a few permits, to waiting clients in turn (round-robin), so that one client delays another by one turn at
/// most.
///
/// One client may fill the queue. A request of another client then displaces the newest request of the client with the
/// most waiting requests.
pub(crate) struct FairQueue {
    max_waiting: usize,
    state: Mutex<State>,
}

struct State {
    free: usize,
    waiting: usize,
    /// The requests of each waiting client, oldest first.
    requests: HashMap<IpAddr, VecDeque<oneshot::Sender<Permit>>>,
    /// Every waiting client once, in the order of their turns.
    turns: VecDeque<IpAddr>,
}

/// The right to run one request. Dropping it passes it to the next client's request.
pub(crate) struct Permit {
    /// `None` once the permit was passed on.
    queue: Option<Arc<FairQueue>>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(queue) = self.queue.take() {
            queue.release();
        }
    }
}

impl FairQueue {
    /// A queue with this number of permits, in which at most `max_waiting` requests wait.
    pub(crate) fn new(permits: usize, max_waiting: usize) -> Arc<Self> {
        let state = State { free: permits, waiting: 0, requests: HashMap::new(), turns: VecDeque::new() };
        Arc::new(Self { max_waiting, state: Mutex::new(state) })
    }

    /// Waits for the client's turn. [`AppError::Overloaded`] if the queue is full, or if another client's request
    /// displaces this one.
    pub(crate) async fn acquire(self: &Arc<Self>, client: IpAddr) -> Result<Permit, AppError> {
        let turn = {
            let mut state = self.lock();
            if state.free > 0 {
                state.free -= 1;
                return Ok(Permit { queue: Some(Arc::clone(self)) });
            }
            if state.waiting >= self.max_waiting {
                state.make_room(client)?;
            }
            state.push(client)
        };
        turn.await.map_err(|_| AppError::Overloaded)
    }

    fn release(self: &Arc<Self>) {
        let mut state = self.lock();
        while let Some(request) = state.pop() {
            match request.send(Permit { queue: Some(Arc::clone(self)) }) {
                Ok(()) => return,
                // The request was dropped: the next one gets the permit.
                Err(mut permit) => drop(permit.queue.take()),
            }
        }
        state.free += 1;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn push(&mut self, client: IpAddr) -> oneshot::Receiver<Permit> {
        let (request, turn) = oneshot::channel();
        let requests = self.requests.entry(client).or_default();
        if requests.is_empty() {
            self.turns.push_back(client);
        }
        requests.push_back(request);
        self.waiting += 1;
        turn
    }

    /// Removes the oldest request of the client whose turn it is.
    fn pop(&mut self) -> Option<oneshot::Sender<Permit>> {
        let client = self.turns.pop_front()?;
        let requests = self.requests.get_mut(&client)?;
        let request = requests.pop_front();
        if requests.is_empty() {
            self.requests.remove(&client);
        } else {
            self.turns.push_back(client);
        }
        self.waiting -= usize::from(request.is_some());
        request
    }

    /// Frees a place for a request of `client`: removes dropped requests, or else the newest request of the client with
    /// the most. [`AppError::Overloaded`] unless that client has at least two requests more than `client`.
    fn make_room(&mut self, client: IpAddr) -> Result<(), AppError> {
        self.requests.values_mut().for_each(|requests| requests.retain(|request| !request.is_closed()));
        self.requests.retain(|_, requests| !requests.is_empty());
        self.turns.retain(|client| self.requests.contains_key(client));
        let waiting = self.requests.values().map(VecDeque::len).sum();
        if waiting < self.waiting {
            self.waiting = waiting;
            return Ok(());
        }
        let own = self.requests.get(&client).map_or(0, VecDeque::len);
        let longest = self.requests.values_mut().max_by_key(|requests| requests.len());
        let longest = longest.filter(|requests| requests.len() > own + 1).ok_or(AppError::Overloaded)?;
        // Dropping the sender ends the request.
        longest.pop_back();
        self.waiting -= 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::Pin};

    use futures::FutureExt;

    use super::*;

    type Turn = Pin<Box<dyn Future<Output = Result<Permit, AppError>> + Send>>;

    fn client(number: u8) -> IpAddr {
        [192, 0, 2, number].into()
    }

    /// A request that waits.
    fn wait(queue: &Arc<FairQueue>, number: u8) -> Turn {
        let queue = Arc::clone(queue);
        let mut turn: Turn = Box::pin(async move { queue.acquire(client(number)).await });
        assert!((&mut turn).now_or_never().is_none());
        turn
    }

    fn begin(queue: &Arc<FairQueue>, number: u8) -> Permit {
        queue.acquire(client(number)).now_or_never().unwrap().unwrap()
    }

    fn is_overloaded(turn: &mut Turn) -> bool {
        matches!(turn.now_or_never(), Some(Err(AppError::Overloaded)))
    }

    #[test]
    fn one_client_delays_another_by_one_turn() {
        let queue = FairQueue::new(1, 100);
        let first = begin(&queue, 1);
        let mut many: Vec<_> = (0..50).map(|_| wait(&queue, 1)).collect();
        let mut other = wait(&queue, 2);
        drop(first);
        let second = (&mut many[0]).now_or_never().unwrap().unwrap();
        drop(second);
        assert!((&mut other).now_or_never().unwrap().is_ok());
    }

    #[test]
    fn a_full_queue_makes_room_for_other_clients() {
        let queue = FairQueue::new(1, 4);
        let working = begin(&queue, 1);
        let mut many: Vec<_> = (0..4).map(|_| wait(&queue, 1)).collect();
        // A request of the client that fills the queue is refused.
        assert!(matches!(queue.acquire(client(1)).now_or_never(), Some(Err(AppError::Overloaded))));
        let mut others = [wait(&queue, 2), wait(&queue, 3)];
        assert!(is_overloaded(&mut many[3]) && is_overloaded(&mut many[2]));
        assert!(matches!(queue.acquire(client(2)).now_or_never(), Some(Err(AppError::Overloaded))));
        drop(working);
        let permit = (&mut many[0]).now_or_never().unwrap().unwrap();
        drop(permit);
        for other in &mut others {
            assert!(other.now_or_never().unwrap().is_ok());
        }
        assert!((&mut many[1]).now_or_never().unwrap().is_ok());
        begin(&queue, 4);
    }

    #[test]
    fn dropped_requests_take_no_turn_and_no_room() {
        let queue = FairQueue::new(1, 2);
        let working = begin(&queue, 1);
        drop((wait(&queue, 1), wait(&queue, 1)));
        let dropped = wait(&queue, 2);
        let mut last = wait(&queue, 3);
        drop(dropped);
        drop(working);
        let permit = (&mut last).now_or_never().unwrap().unwrap();
        // A granted permit that isn't received is released.
        let unseen = wait(&queue, 1);
        drop(permit);
        drop(unseen);
        begin(&queue, 4);
    }
}
