//! The disk threads: each owns one [`Worker`] and with it every piece whose number falls to it.
#![allow(clippy::disallowed_methods, reason = "this file starts the disk threads")]

use std::io;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{Builder, JoinHandle};

use super::mail::{DISK_JOBS_MAX, DiskJob, TorrentMail, TorrentMailbox};
use crate::storage::{Done, Job, Worker, WorkerConfig};

/// Jobs of one torrent that a thread takes from its queue before it reports what they led to.
const JOBS_PER_REPORT: usize = 16;

/// The disk threads of a session. Dropping it ends them once their queues are empty.
#[derive(Debug)]
pub(crate) struct DiskPool {
    threads: Vec<DiskThread>,
}

#[derive(Debug)]
struct DiskThread {
    jobs: Option<SyncSender<DiskJob>>,
    thread: Option<JoinHandle<()>>,
}

impl DiskPool {
    /// Starts `thread_count` disk threads.
    pub(crate) fn start(thread_count: usize, config: &WorkerConfig) -> io::Result<Self> {
        let threads = (0..thread_count.max(1))
            .map(|index| {
                let (jobs, queue) = sync_channel(DISK_JOBS_MAX);
                let worker = Worker::new(config.clone());
                let thread = Builder::new().name(format!("magnes-disk-{index}")).spawn(move || run(worker, &queue))?;
                Ok(DiskThread { jobs: Some(jobs), thread: Some(thread) })
            })
            .collect::<io::Result<_>>()?;
        Ok(Self { threads })
    }

    /// A handle for one torrent.
    pub(crate) fn client(&self, reply_to: TorrentMailbox) -> DiskClient {
        let queues = self.threads.iter().filter_map(|thread| thread.jobs.clone()).collect();
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

/// Sends the jobs of one torrent to the threads that own its pieces.
#[derive(Debug)]
pub(crate) struct DiskClient {
    queues: Vec<SyncSender<DiskJob>>,
    reply_to: TorrentMailbox,
}

/// A disk thread ended, or its queue is full although credit should have kept it from filling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the disk thread does not take jobs")]
pub(crate) struct DiskRefused;

impl DiskClient {
    pub(crate) fn thread_count(&self) -> usize {
        self.queues.len()
    }

    /// A job for one thread.
    pub(crate) fn send_to(&self, thread: usize, job: Job) -> Result<(), DiskRefused> {
        let job = DiskJob { job, reply_to: self.reply_to.clone() };
        self.queues[thread].try_send(job).map_err(|_| DiskRefused)
    }
}

fn run(mut worker: Worker, queue: &Receiver<DiskJob>) {
    let mut held = None;
    while let Some(DiskJob { job, reply_to }) = held.take().or_else(|| queue.recv().ok()) {
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
