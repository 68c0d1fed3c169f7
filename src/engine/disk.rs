//! The disk threads: each owns one [`Worker`] and with it every piece whose number falls to it.
#![allow(clippy::disallowed_methods, reason = "this file starts the disk threads")]

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::task::Poll;
use std::thread::{Builder, JoinHandle};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::mail::{DISK_JOBS_MAX, DiskJob, TorrentMail, TorrentMailbox};
use crate::disk::{Done, Job};
use crate::storage::{Worker, WorkerConfig};

/// Jobs of one torrent that a thread takes from its queue before it reports what they led to.
const JOBS_PER_REPORT: usize = 16;

/// The disk threads of a session. Dropping it ends them once their queues are empty.
#[derive(Debug)]
pub(crate) struct DiskPool {
    threads: Vec<DiskThread>,
}

#[derive(Debug)]
struct DiskThread {
    jobs: Option<Sender<DiskJob>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskPool {
    /// Starts `thread_count` disk threads.
    pub(crate) fn start(thread_count: usize, config: &WorkerConfig) -> io::Result<Self> {
        let threads = (0..thread_count.max(1))
            .map(|index| {
                let (jobs, queue) = channel(DISK_JOBS_MAX);
                let worker = Worker::new(config.clone());
                let thread = Builder::new().name(format!("magnes-disk-{index}")).spawn(move || run(worker, queue))?;
                Ok(DiskThread { jobs: Some(jobs), thread: Some(thread) })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// How many disk threads there are.
    pub(crate) fn thread_count(&self) -> usize {
        self.threads.len()
    }

    /// A handle for one torrent.
    pub(crate) fn client(&self, reply_to: TorrentMailbox) -> DiskClient {
        let jobs = self.threads.iter().filter_map(|thread| thread.jobs.clone());
        let queues = jobs.map(|jobs| Queue { jobs, waiting: VecDeque::new() }).collect();
        DiskClient { queues, reply_to }
    }
}

impl Drop for DiskPool {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.jobs = None;
        }
        for thread in &mut self.threads {
            if let Some(thread) = thread.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// Sends the jobs of one torrent to the threads that own its pieces, without ever waiting for one.
///
/// What a queue has no room for, because of other torrents, stays here in its order and is offered again. The machine bounds
/// how much that is: what it wants written by its credit, what it wants read by its read budget.
#[derive(Debug)]
pub(crate) struct DiskClient {
    queues: Vec<Queue>,
    reply_to: TorrentMailbox,
}

/// The way to one thread.
#[derive(Debug)]
struct Queue {
    jobs: Sender<DiskJob>,
    waiting: VecDeque<DiskJob>,
}

/// The disk thread ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a disk thread ended")]
pub(crate) struct DiskGone;

impl DiskClient {
    /// A job for one thread. Where its queue is full, the job waits here: see [`DiskClient::room`].
    pub(crate) fn send_to(&mut self, thread: usize, job: Job) -> Result<(), DiskGone> {
        let queue = &mut self.queues[thread];
        queue.waiting.push_back(DiskJob { job, reply_to: self.reply_to.clone() });
        queue.offer()
    }

    /// Offers the jobs that found no room once more.
    pub(crate) fn offer(&mut self) -> Result<(), DiskGone> {
        self.queues.iter_mut().try_for_each(Queue::offer)
    }

    /// Waits until a queue for which jobs wait has room; forever while none do.
    pub(crate) async fn room(&self) {
        let waiting = self.queues.iter().filter(|queue| !queue.waiting.is_empty());
        let mut rooms: Vec<_> = waiting.map(|queue| Box::pin(queue.jobs.reserve())).collect();
        let any = poll_fn(|context| match rooms.iter_mut().any(|room| room.as_mut().poll(context).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        });
        pin!(any).await;
    }
}

impl Queue {
    fn offer(&mut self) -> Result<(), DiskGone> {
        while let Some(job) = self.waiting.pop_front() {
            match self.jobs.try_send(job) {
                Ok(()) => {}
                Err(TrySendError::Full(job)) => {
                    self.waiting.push_front(job);
                    break;
                }
                Err(TrySendError::Closed(_)) => return Err(DiskGone),
            }
        }
        Ok(())
    }
}

fn run(mut worker: Worker, mut queue: Receiver<DiskJob>) {
    let mut held = None;
    while let Some(DiskJob { job, reply_to }) = held.take().or_else(|| queue.blocking_recv()) {
        let mut done: Vec<Done> = Vec::new();
        worker.handle(job, &mut done);
        // What waits already is done first, so that the torrent is woken once for all of it.
        for _ in 1..JOBS_PER_REPORT {
            match queue.try_recv() {
                Ok(next) if next.reply_to.same_channel(&reply_to) => worker.handle(next.job, &mut done),
                Ok(other) => {
                    held = Some(other);
                    break;
                }
                Err(_) => break,
            }
        }
        // A torrent that is gone does not want to know.
        if !done.is_empty() {
            let _ = reply_to.blocking_send(TorrentMail::Disk(done));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_job_that_finds_no_room_waits_in_its_order_and_ends_nothing() {
        let (jobs, mut thread) = channel(2);
        let (reply_to, _inbox) = crate::engine::mail::channel_of_torrent();
        let mut client = DiskClient { queues: vec![Queue { jobs, waiting: VecDeque::new() }], reply_to };
        for number in 0..6 {
            client.send_to(0, Job::Sync { store: number }).expect("a full queue is no error");
        }
        let mut seen = Vec::new();
        while seen.len() < 6 {
            let DiskJob { job, .. } = thread.recv().await.unwrap();
            let Job::Sync { store } = job else { panic!("{job:?}") };
            seen.push(store);
            if seen.len() < 4 {
                client.room().await;
            }
            client.offer().unwrap();
        }
        assert_eq!(seen, [0, 1, 2, 3, 4, 5]);
        drop(thread);
        assert_eq!(client.send_to(0, Job::Sync { store: 7 }), Err(DiskGone));
    }
}
